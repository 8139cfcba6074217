"""Submissions to grade the graders with: references, starters, mutants, alternatives."""

import runpy

from bnas.grading import Assignment, grade, known

ASSIGNMENTS = [Assignment(folder) for folder in known()]


def mutants(assignment):
    return runpy.run_path(str(assignment.folder / "instructor" / "mutants.py"))["MUTANTS"]


def alternatives(assignment):
    return sorted((assignment.folder / "instructor" / "alternatives").glob("*.py"))


def mutated(assignment, mutant):
    """The reference with a mutant's fault; what is replaced has to stand there once."""
    text = assignment.reference_path.read_text(encoding="utf-8")
    assert text.count(mutant["old"]) == 1, f"{mutant['name']}: {mutant['old']!r}"
    return text.replace(mutant["old"], mutant["new"])


def graded(assignment, text, folder):
    """The report on a submission with that text."""
    path = folder / "submission.py"
    path.write_text(text, encoding="utf-8")
    return grade(assignment, path)


def wrong_tasks(assignment, report, timed=()):
    """The names of tasks that earned less than all points.

    A task with a race counts only if it earned nothing, or is among `timed`: a machine that does something else
    meanwhile may cost a right answer points, but not all.
    """
    races = {test.task for test, _ in assignment.tests if test.is_race} - set(timed)
    return [
        task.name
        for task in report.tasks
        if task.earned < task.points and (task.name not in races or task.earned == 0)
    ]
