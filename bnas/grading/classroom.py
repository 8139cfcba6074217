"""A class graded: every submission below a folder, a table, a figure, and a report for each."""

import csv
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from bnas.errors import InputError
from bnas.grading.assignment import known, number_of
from bnas.grading.grade import grade
from bnas.grading.process import Limits, legible

TABLE, FIGURE, REPORTS = "grades.csv", "points.png", "reports"


@dataclass(frozen=True)
class Submission:
    """Whose it is, the folder of its assignment, and the file."""

    student: str
    folder: Path
    path: Path


def submissions(folder, assignments):
    """(submissions, files that are none) below a folder, each in order.

    A submission is STUDENT/ASSIGNMENT.py or ASSIGNMENT/STUDENT.py; ASSIGNMENT is a name or a number such as
    01_popcount, 01 or 1. Hidden files, as systems leave them, are passed over. Raises InputError if a Python file
    names no assignment or may mean two, if a student has two files for one assignment, or if there are none.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder} is no folder; expected one of STUDENT/ASSIGNMENT.py")
    folder, names, found = Path(folder).resolve(), {}, {}
    others, faults = [], []
    for path in known(assignments):
        names[path.name], number = path, number_of(path)
        if number is not None:
            names[str(number)] = names[f"{number:02}"] = path
    for path in sorted(folder.rglob("*")):
        shown = path.relative_to(folder)
        if any(part.startswith(".") for part in shown.parts) or path.is_dir():
            continue
        if path.suffix != ".py" or path.is_symlink() or not path.is_file():
            others.append(path)
            continue
        # As (what names the assignment, whose it is).
        ways = [(path.parent.name, path.stem)]
        if len(shown.parts) > 1:
            ways.append((path.stem, path.parent.name))
        ways = [way for way in ways if way[0] in names]
        ways = [way for way in ways if way[0] == names[way[0]].name] or ways
        if len(ways) != 1:
            faults.append(f"{shown} {'names two assignments' if ways else 'names no assignment'}")
            continue
        submission = Submission(legible(ways[0][1], 200), names[ways[0][0]], path)
        other = found.setdefault((submission.student, submission.folder), submission)
        if other is not submission:
            faults.append(
                f"{shown} is of the same student and assignment as {other.path.relative_to(folder)}"
            )
    if faults:
        all_names = ", ".join(path.name for path in known(assignments)) or "none"
        raise InputError(
            f"{folder}: {'; '.join(faults)}. Expected STUDENT/ASSIGNMENT.py or ASSIGNMENT/STUDENT.py, one for "
            f"each student, with ASSIGNMENT one of {all_names}; rename these files or move them away"
        )
    if not found:
        raise InputError(f"there is no submission in {folder}; expected STUDENT/ASSIGNMENT.py")
    return list(found.values()), others


def grade_all(found, assignments, out, secret, jobs, tell):
    """Grade submissions and write reports, table and figure; [(Submission, GradingReport)] in their order.

    assignments: {folder: Assignment} of all that were submitted. jobs: how many at a time. tell: called with a
    line after each. When this is interrupted, those that are being graded are given up, and what is graded is
    written.
    """
    (out / REPORTS).mkdir(parents=True, exist_ok=True)
    limits, graded = Limits(interrupted=threading.Event()), {}

    def one(submission):
        return grade(assignments[submission.folder], submission.path, secret, limits)

    try:
        with ThreadPoolExecutor(jobs) as pool:
            futures = {pool.submit(one, submission): submission for submission in found}
            try:
                for future in as_completed(futures):
                    submission, report = futures[future], future.result()
                    graded[submission] = report
                    _write_report(out / REPORTS, submission, report)
                    tell(_line(submission, report))
            except BaseException:
                limits.interrupted.set()
                pool.shutdown(cancel_futures=True)
                tell(f"stopped: {len(graded)} of {len(found)} are graded and written")
                raise
    finally:
        order = sorted(graded, key=lambda s: (s.folder.name, s.student))
        results = [(submission, graded[submission]) for submission in order]
        _write_table(out / TABLE, results)
    from bnas.plots.grades import points_figure

    points_figure(shares(results)).savefig(out / FIGURE, dpi=120)
    return results


def _line(submission, report):
    line = f"{submission.student:<20} {report.assignment:<28} {report.earned:g} of {report.points}"
    faults = dict.fromkeys(task.fault for task in report.tasks if task.fault)
    return f"{line}; {'; '.join(faults)}" if faults else line


def _write_report(folder, submission, report):
    folder = folder / submission.student
    folder.mkdir(exist_ok=True)
    (folder / f"{report.assignment}.txt").write_text(f"{report}\n", encoding="utf-8")
    report.write_json(folder / f"{report.assignment}.json")


def _write_table(path, results):
    """A row for each task of each submission, and one for the whole."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["student", "assignment", "task", "earned", "points"])
        for submission, report in results:
            for task in report.tasks:
                table.writerow(
                    [submission.student, report.assignment, task.name, task.earned, task.points]
                )
            table.writerow(
                [submission.student, report.assignment, "all", report.earned, report.points]
            )


def shares(results):
    """{assignment: {task: shares of the points that were earned}}."""
    found = {}
    for _, report in results:
        for task in report.tasks:
            tasks = found.setdefault(report.assignment, {})
            tasks.setdefault(task.name, []).append(task.earned / task.points)
    return found


def summary(results):
    """How many submissions, and the mean of each assignment, as a text; results as of `grade_all`."""
    lines = []
    for name in sorted({report.assignment for _, report in results}):
        reports = [report for _, report in results if report.assignment == name]
        earned = [report.earned / report.points for report in reports]
        mean, full = 100 * sum(earned) / len(earned), sum(share == 1 for share in earned)
        count = f"{len(earned)} submission{'s' if len(earned) > 1 else ''}"
        kind = "" if reports[0].hidden else " (public tests alone)"
        lines.append(f"{name}: {count}, mean {mean:.0f} %, {full} with all points{kind}")
    return "\n".join(lines)
