"""The graders, graded: every right answer earns all points, every wrong one less, and is told why."""

import pytest
from helpers.graders import ASSIGNMENTS, alternatives, graded, mutants, mutated, wrong_tasks

from bnas.grading import Assignment, grade, starter_of

every_assignment = pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=lambda a: a.name)
every_mutant = pytest.mark.parametrize(
    "assignment, mutant",
    [
        pytest.param(a, m, id=f"{a.number}-{m['name'].replace(' ', '_')}")
        for a in ASSIGNMENTS
        for m in mutants(a)
    ],
)
every_alternative = pytest.mark.parametrize(
    "assignment, path",
    [
        pytest.param(a, path, id=f"{a.number}-{path.stem}")
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


@every_mutant
def test_a_mutant_fails_its_tasks_and_is_told_why(assignment, mutant, tmp_path):
    report = graded(assignment, mutated(assignment, mutant), tmp_path)
    assert wrong_tasks(assignment, report, mutant["fails"]) == mutant["fails"], str(report)
    assert mutant["told"] in str(report), str(report)
    assert report.earned < report.points


@every_alternative
def test_an_alternative_earns_all_points(assignment, path):
    report = grade(assignment, path)
    assert not wrong_tasks(assignment, report), str(report)


@every_assignment
def test_there_are_enough_mutants_and_public_tests_find_half(assignment, tmp_path):
    public = Assignment(assignment.folder, hidden=False)
    found = [
        mutant["name"]
        for mutant in mutants(assignment)
        if graded(public, mutated(assignment, mutant), tmp_path).earned < 100
    ]
    assert len(mutants(assignment)) >= 12 and len(alternatives(assignment)) >= 1
    assert 2 * len(found) >= len(mutants(assignment)), found
