"""The graders, graded: every right answer earns all points, every wrong one less, and is told why."""

import pytest
from helpers.graders import ASSIGNMENTS, alternatives, graded, mutants, mutated, wrong_tasks

from bnas.grading import grade, starter_of

every_assignment = pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=lambda a: a.name)
every_alternative = pytest.mark.parametrize(
    "assignment, path",
    [
        pytest.param(a, path, id=f"{a.name[:2]}-{path.stem}")
        for a in ASSIGNMENTS
        for path in alternatives(a)
    ],
)


@every_assignment
def test_a_starter_is_made_from_the_reference(assignment):
    reference = assignment.reference_path.read_text(encoding="utf-8")
    starter = (assignment.folder / "starter.py").read_text(encoding="utf-8")
    assert starter == starter_of(reference), "run tutorials/assignments/starters.py"
    assert starter.count("NotImplementedError") == reference.count("### BEGIN SOLUTION") >= 1


@every_assignment
def test_the_reference_earns_all_points(assignment):
    report = grade(assignment, assignment.reference_path)
    assert report.points == 100 and not wrong_tasks(assignment, report), str(report)


@every_assignment
def test_the_starter_earns_nothing(assignment):
    report = grade(assignment, assignment.folder / "starter.py")
    assert report.earned == 0 and "not written yet" in str(report)


@pytest.mark.slow
@every_assignment
def test_mutants_fail_their_tasks_and_are_told_why_and_public_tests_find_half(assignment, tmp_path):
    """And there are at least twelve."""
    faults, found = [], 0
    for mutant in mutants(assignment):
        report = graded(assignment, mutated(assignment, mutant), tmp_path)
        wrong = wrong_tasks(assignment, report, mutant["fails"])
        if wrong != mutant["fails"] or mutant["told"] not in str(report):
            faults.append(f"{mutant['name']} fails {wrong}:\n{report}")
        found += any(
            test.share < 1 and not test.hidden for task in report.tasks for test in task.tests
        )
    assert not faults, "\n\n".join(faults)
    assert len(mutants(assignment)) >= 12 and 2 * found >= len(mutants(assignment))


@every_alternative
def test_an_alternative_earns_all_points(assignment, path):
    report = grade(assignment, path)
    assert not wrong_tasks(assignment, report), str(report)


@every_assignment
def test_there_is_another_right_answer(assignment):
    assert alternatives(assignment)
