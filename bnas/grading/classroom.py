"""A class graded: every submission below a folder, a table, a figure, and a report for each."""

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bnas.errors import InputError
from bnas.grading.assignment import Assignment, known, number_of
from bnas.grading.grade import grade
from bnas.grading.process import legible

TABLE, FIGURE, REPORTS = "grades.csv", "points.png", "reports"


@dataclass(frozen=True)
class Submission:
    """Whose it is, the folder of its assignment, and the file."""

    student: str
    folder: Path
    path: Path


def submissions(folder, assignments):
    """The submissions below a folder, in order: STUDENT/ASSIGNMENT.py or ASSIGNMENT/STUDENT.py.

    ASSIGNMENT is a name or a number such as 01_popcount, 01 or 1. Raises InputError if a file names none, two are
    of the same student for the same assignment, or there are none.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder} is no folder; expected one of STUDENT/ASSIGNMENT.py")
    folder, names, found = Path(folder).resolve(), {}, {}
    for path in known(assignments):
        names[path.name], number = path, number_of(path)
        if number is not None:
            names[str(number)] = names[f"{number:02}"] = path
    for path in sorted(folder.rglob("*.py")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.stem in names and path.parent != folder:
            student, assigned = path.parent.name, names[path.stem]
        elif path.parent.name in names:
            student, assigned = path.stem, names[path.parent.name]
        else:
            raise InputError(
                f"{path} names no assignment; expected STUDENT/ASSIGNMENT.py or ASSIGNMENT/STUDENT.py "
                f"with ASSIGNMENT one of {', '.join(p.name for p in known(assignments))}"
            )
        submission = Submission(legible(student, 200), assigned, path)
        other = found.setdefault((submission.student, assigned), submission)
        if other is not submission:
            raise InputError(
                f"{other.path} and {path} are both {assigned.name} of {student}; expected one of them"
            )
    if not found:
        raise InputError(f"there is no submission in {folder}; expected STUDENT/ASSIGNMENT.py")
    return list(found.values())


def grade_all(found, out, hidden, secret, jobs, tell):
    """Grade submissions and write reports, table and figure; [(Submission, GradingReport)] in their order.

    jobs: how many at a time. tell: called with a line after each. What is graded when it is interrupted stays.
    """
    assignments = {folder: Assignment(folder, hidden) for folder in {s.folder for s in found}}
    results = []
    (out / REPORTS).mkdir(parents=True, exist_ok=True)

    def one(submission):
        return grade(assignments[submission.folder], submission.path, secret)

    try:
        with ThreadPoolExecutor(jobs) as pool:
            for submission, report in zip(found, pool.map(one, found)):
                results.append((submission, report))
                _write_report(out / REPORTS, submission, report)
                tell(
                    f"{submission.student:<20} {report.assignment:<28} {report.earned:g} of {report.points}"
                )
    finally:
        _write_table(out / TABLE, results)
    from bnas.plots.grades import points_figure

    points_figure(shares(results)).savefig(out / FIGURE, dpi=120)
    return results


def _write_report(folder, submission, report):
    folder = folder / submission.student
    folder.mkdir(exist_ok=True)
    (folder / f"{report.assignment}.txt").write_text(f"{report}\n", encoding="utf-8")
    text = json.dumps(report.as_dict(), indent=2) + "\n"
    (folder / f"{report.assignment}.json").write_text(text, encoding="utf-8")


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
        earned = [
            report.earned / report.points for _, report in results if report.assignment == name
        ]
        mean, full = 100 * sum(earned) / len(earned), sum(share == 1 for share in earned)
        lines.append(
            f"{name}: {len(earned)} submissions, mean {mean:.0f} %, {full} with all points"
        )
    return "\n".join(lines)
