"""What `bnas grade` and `bnas handout` do: functions of the options that bnas.options has read."""

import os
import sys
from pathlib import Path

from bnas.errors import InputError
from bnas.grading import classroom, schools
from bnas.grading.assignment import FOLDER, Assignment, find, hand_out
from bnas.grading.grade import DEFAULT_SECRET, SECRET_VARIABLE, bounded_memory
from bnas.grading.grade import grade as graded


def handout(options):
    """Write what students get."""
    for folder in hand_out(options.folder, options.only, _folder(options)):
        print(folder)


def grade(options):
    """Grade one submission, or a class; or write what a school's system needs.

    Returns the exit status: 1 if one submission has not earned all points.
    """
    chosen = [name for name in schools.NAMES if getattr(options, name) is not None]
    if chosen:
        return _bundle(options, chosen)
    if options.submission is None:
        raise InputError("which submission? expected `bnas grade ASSIGNMENT SUBMISSION.py`")
    if options.assignment == "all":
        return _class(options)
    _refuse(
        "where there is one submission; expected only after `grade all DIR`",
        out=options.out,
        jobs=options.jobs,
    )
    assignment = Assignment(find(options.assignment, _folder(options)), hidden=not options.public)
    _hold_hidden(options, assignment)
    if options.json is not None and not Path(options.json).absolute().parent.is_dir():
        raise InputError(
            f"--json {options.json}: its folder does not exist; expected one that does"
        )
    with bounded_memory():
        report = graded(assignment, options.submission, _secret(options))
    print(report)
    if options.json is not None:
        report.write_json(options.json)
    return int(report.earned < report.points)


def _bundle(options, chosen):
    if len(chosen) > 1:
        raise InputError(f"expected one of {' and '.join('--' + name for name in chosen)}")
    _refuse(
        f"with --{chosen[0]}, which does not grade",
        submission=options.submission,
        json=options.json,
    )
    if chosen[0] not in schools.WITH_SECRET:
        _refuse(f"with --{chosen[0]}, which does not take it along", secret=options.secret)
    assignment = Assignment(find(options.assignment, _folder(options)))
    if not assignment.has_hidden and chosen[0] not in schools.PUBLIC:
        raise InputError(
            f"{assignment.folder} has no instructor part, which --{chosen[0]} needs; expected a folder of the "
            "repository, not one that was handed out"
        )
    if chosen[0] in schools.WITH_SECRET:
        _warn_of_default(options)
    path = Path(getattr(options, chosen[0]))
    if assignment.folder in path.resolve().parents:
        raise InputError(f"{path} is within the folder of the assignment; expected a place outside")
    for written in schools.write(chosen[0], assignment, path, _secret(options)):
        print(written)


def _class(options):
    _refuse("with `grade all DIR`, whose reports go into the folder of --out", json=options.json)
    out = Path(options.out or f"{Path(options.submission).resolve()}-graded")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; expected a folder, or a new one, for --out")
    submissions, others = classroom.submissions(options.submission, _folder(options))
    if others:
        below = Path(options.submission).resolve()
        names = ", ".join(str(path.relative_to(below)) for path in others)
        print(
            f"not graded, as only files that end in .py are, and no links: {names}", file=sys.stderr
        )
    folders = {submission.folder for submission in submissions}
    assignments = {folder: Assignment(folder, hidden=not options.public) for folder in folders}
    for assignment in assignments.values():
        _hold_hidden(options, assignment)
    if not options.public:
        _warn_of_default(options)
    jobs = options.jobs or 1
    with bounded_memory(jobs):
        results = classroom.grade_all(submissions, assignments, out, _secret(options), jobs, print)
    print(classroom.summary(results))
    print(f"{out / classroom.TABLE}, {out / classroom.FIGURE}, {out / classroom.REPORTS}")


def _warn_of_default(options):
    if _secret(options) == DEFAULT_SECRET:
        print(
            f"no --secret: the hidden tests draw their inputs from {DEFAULT_SECRET!r}, which everybody can know",
            file=sys.stderr,
        )


def _hold_hidden(options, assignment):
    if options.secret is not None and not assignment.has_hidden:
        why = "--public was given" if options.public else f"{assignment.folder} has none"
        raise InputError(
            f"--secret was given, and no hidden test is run: {why}; "
            "expected no --secret, or the instructor's folder of the assignments without --public"
        )


def _refuse(where, **given):
    for name, value in given.items():
        if value is not None:
            word = "SUBMISSION" if name == "submission" else f"--{name}"
            raise InputError(f"{word} was given {where}")


def _folder(options):
    return Path(options.assignments) if options.assignments else FOLDER


def _secret(options):
    """The instructor's secret: of a file, of the environment, or the one that everybody knows."""
    if options.secret is not None:
        try:
            secret = Path(options.secret).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"--secret {options.secret}: {error}; expected a file of text"
            ) from None
        if not secret:
            raise InputError(f"--secret {options.secret}: the file is empty; expected a text in it")
        return secret
    return os.environ.get(SECRET_VARIABLE) or DEFAULT_SECRET
