"""Grading: what is told of a wrong result, what an assignment's folder gives, and the report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.doubling import HIDDEN, PUBLIC, REFERENCE, submission, write_doubling
from hypothesis import given
from hypothesis import strategies as st

from bnas.errors import InputError
from bnas.grading import Assignment, Failure, close, equal, find, grade, hand_out, starter_of
from bnas.grading.grade import share_for_speed
from bnas.grading.imports import refusal
from bnas.grading.suite import shown


@pytest.fixture
def assignments(tmp_path):
    return write_doubling(tmp_path / "assignments")


@pytest.fixture
def assignment(assignments):
    return Assignment(assignments / "01_double")


# Comparisons --------------------------------------------------------------------------------------


def told(compare, got, expected, **options):
    with pytest.raises(Failure) as failure:
        compare(got, expected, **options)
    return str(failure.value)


@given(st.integers(0, 5), st.integers(0, 5), st.sampled_from("fiBb"))
def test_what_is_right_passes_and_one_wrong_entry_does_not(rows, columns, kind):
    rng = np.random.default_rng(rows + 10 * columns)
    expected = (30 * rng.random((rows, columns))).astype({"b": "?"}.get(kind, kind))
    compare = close if kind == "f" else equal
    compare(expected.copy(), expected)
    if expected.size:
        wrong = expected.copy()
        at = tuple(rng.integers(wrong.shape))
        wrong[at] = ~wrong[at] if kind == "b" else wrong[at] + 1
        text = told(compare, wrong, expected)
        assert f"[{at[0]}, {at[1]}]" in text and "1 of" in text


X = np.array([[1.0, 2.0], [3.0, 5.0]])


@pytest.mark.parametrize(
    "got, text",
    [
        (-X, "the sign is wrong everywhere"),
        (X.T, "the last two axes are transposed"),
        (3 * X, "every entry is 3 times what it should be"),
        (0 * X, "all entries are 0"),
        (np.where(X == 5, np.nan, X), "not a number"),
        (X[0], "got the shape (2,), expected (2, 2)"),
        (X.astype(int), "got entries of int64, expected floats"),
        ([1.0], "got [1.0], expected an array of shape (2, 2)"),
        ([[1, 2], [3]], "got [[1, 2], [3]], expected"),
        ((1.0,), "got (1.0,), expected"),
        (1000 * X + 0.25, "[3000.25, 5000.25]"),
        (X * [1, 1e-9], "e-09"),
        (None, "got None"),
        ("text", "got 'text'"),
        (X**2, "squared"),
        (X * np.array([1, 1 + 1e-6]), "2 of 4 entries are wrong"),
    ],
)
def test_a_failure_says_what_is_wrong(got, text):
    assert text in told(close, got, X, causes={"squared": X**2})


@pytest.mark.parametrize(
    "value, text",
    [
        ([1, "a"], "[1, 'a']"),
        ((1, 2), "(1, 2)"),
        ((1,), "(1,)"),
        ([(1,), []], "[(1,), []]"),
        ((), "()"),
        (np.float64(0.5), "0.5"),
        (np.zeros(24), "[" + ", ".join(24 * ["0."]) + "]"),
        (np.zeros(25), "float64 array of shape (25,)"),
        (list(range(30)), "[" + ", ".join(map(str, range(24))) + ", ...]"),
    ],
)
def test_values_are_shown_as_python_writes_them(value, text):
    assert " ".join(shown(value).split()) == text


def test_numbers_that_look_alike_are_shown_with_more_digits():
    text = told(close, np.array([0.0025000001]), np.array([0.0025]))
    assert "got      [0.0025000001]" in text and "expected [0.0025]" in text
    assert "got      [0.25]" in told(close, np.array([0.25]), np.array([0.5]))


def test_that_there_are_nans_is_no_cause():
    text = told(close, np.where(X == 5, np.nan, X), X)
    assert "\nsome entries are not a number (NaN)" in text and "likely cause" not in text


def test_entries_at_the_border_are_told():
    expected = np.arange(25.0).reshape(1, 1, 5, 5) + 1
    got = expected.copy()
    got[..., 0, :] += 3
    got[..., -1] += 2
    assert "only entries at the border" in told(close, got, expected)
    assert "border" not in told(close, got[0, 0], expected[0, 0])  # a table, not an image
    got[..., 2, 2] += 1
    assert "border" not in told(close, got, expected)


COUNTS = np.array([[300, -5], [-7, 2]])


@pytest.mark.parametrize(
    "got, kind, text",
    [
        (COUNTS.astype(np.uint64), None, "unsigned integers have no negative numbers"),
        (COUNTS.astype(np.uint64), "i", "unsigned integers have no negative numbers"),
        (COUNTS.astype(np.uint64), "i", "got entries of uint64, expected signed integers"),
        (COUNTS, "u", "got entries of int64, expected unsigned integers"),
        (COUNTS.astype(np.uint8).astype(int), None, "a count in uint8 has run over"),
        (COUNTS + [[512, 0], [-256, 0]], None, "a count in uint8 has run over"),
        (COUNTS.astype(np.uint8), None, "a count in uint8 has run over"),
        (COUNTS * 1.0, None, "expected integers\nlikely cause: NumPy makes float64 of int64 with"),
    ],
)
def test_faults_of_integer_types_are_told(got, kind, text):
    assert text in told(equal, got, COUNTS, kind=kind)


def test_other_wrong_integers_are_not_told_to_be_of_a_wrong_type():
    for got in (COUNTS + 1, COUNTS + [[256, 1], [0, 0]], (COUNTS + 1).astype(np.uint64)):
        assert "cause" not in told(equal, got, COUNTS)


@pytest.mark.parametrize(
    "ratio, share", [(0.1, 1), (1.2, 1), (1.25, 0.8), (2, 0.5), (9.9, 1 / 9.9), (10, 0), (1e9, 0)]
)
def test_the_share_for_speed(ratio, share):
    assert share_for_speed(ratio) == pytest.approx(share)


# An assignment's folder ---------------------------------------------------------------------------


def test_a_starter_lacks_the_marked_parts_alone():
    starter = starter_of(REFERENCE)
    assert starter.count('    raise NotImplementedError("this part is yours")\n') == 2
    assert "x + x" not in starter and "SOLUTION" not in starter and '"""Twice x."""' in starter
    compile(starter, "starter.py", "exec")


@pytest.mark.parametrize(
    "text", ["### BEGIN SOLUTION\n", "### END SOLUTION\n", 2 * "### BEGIN SOLUTION\n"]
)
def test_marks_that_do_not_pair_are_refused(text):
    with pytest.raises(InputError, match="SOLUTION"):
        starter_of(text)


@pytest.mark.parametrize(
    "text, fault",
    [
        ("import numpy as np\nfrom math import pi\nimport numba", None),
        ("import bnas", "line 1 imports bnas"),
        ("x = 1\nfrom bnas.functional import xnor_conv2d", "line 2 imports bnas.functional"),
        ("import numpy, os", "line 1 imports os"),
        ("from . import x", "line 1 imports ."),
        ("def f():\n    import subprocess", "line 2 imports subprocess"),
        ("x = = 1", "line 1: a syntax error: invalid syntax"),
        ("x = 1\n  y = 2", "line 2: a syntax error: unexpected indent"),
        ("\ufeffimport numpy", None),  # the mark that some editors write first
        ("\ufeffimport os", "line 1 imports os"),
        ("# coding: utf-7\n+AGkAbQBwAG8AcgB0- os", "line 2 imports os"),
        ("# coding: utf-7\n#+AAo-import os", "line 3 imports os"),
    ],
)
def test_imports_that_are_not_allowed_are_named(text, fault):
    found = refusal(text.encode())
    assert found is None if fault is None else found.startswith(fault)
    assert "<unknown>" not in (found or "")


@pytest.mark.parametrize("name", ["1", "01", "01_double", "double"])
def test_an_assignment_is_found_by_number_or_name(assignments, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for other in ("1", "01"):  # of submissions, say
        Path(other).mkdir()
    assert find(name, assignments) == assignments / "01_double"


def test_a_number_means_an_assignment_and_a_name_a_folder_if_there_is_one(
    assignments, tmp_path, monkeypatch
):
    (assignments / "01_double").rename(assignments / "double")
    shutil.copytree(assignments / "double", assignments / "1_triple")
    monkeypatch.chdir(tmp_path)
    for name in ("1", "double"):
        (tmp_path / name).mkdir()
    assert find("1", assignments).name == "1_triple"
    assert find("double", assignments) == tmp_path / "double"


def test_an_assignment_named_twice_is_handed_out_once(assignments, tmp_path):
    written = hand_out(tmp_path / "course", ["1", "double"], assignments)
    assert written == [tmp_path / "course" / "01_double"]


def test_what_is_no_assignment_is_refused(assignments, tmp_path):
    with pytest.raises(InputError, match="none in .*nowhere"):
        find("1", tmp_path / "nowhere")
    for name in ("2", "halve"):
        with pytest.raises(InputError, match="01_double"):
            find(name, assignments)
    with pytest.raises(InputError, match="holds no assignment"):
        Assignment(tmp_path)


def test_a_handout_lacks_the_instructors_part(assignments, tmp_path):
    (written,) = hand_out(tmp_path / "course", folder=assignments)
    names = sorted(path.relative_to(tmp_path / "course").as_posix() for path in written.rglob("*"))
    assert names == ["01_double/README.md", "01_double/public_tests.py", "01_double/starter.py"]
    report = grade(Assignment(written), submission(tmp_path))
    assert (
        not report.hidden and report.earned == report.points and "public tests alone" in str(report)
    )
    with pytest.raises(InputError, match="exists already"):
        hand_out(tmp_path / "course", folder=assignments)
    with pytest.raises(InputError, match="no assignments"):
        hand_out(tmp_path / "other", folder=tmp_path / "nowhere")


# A grading ----------------------------------------------------------------------------------------


def test_points_are_shared_among_the_tests_of_a_task(assignment, tmp_path):
    report = grade(
        assignment, submission(tmp_path, "return x + x", "return x * x if len(x) != 3 else x + x")
    )
    double, count = report.tasks
    assert (double.earned, count.earned) == (pytest.approx(10 / 3, abs=0.05), 4)
    assert "likely cause: squared, not doubled" in str(report) and "not timed" in str(report)


def test_public_tests_alone_do_not_tell_of_points_and_measure_no_time(assignment, tmp_path):
    public = assignment.folder / "public_tests.py"
    race = HIDDEN[HIDDEN.index("@race") :]
    public.write_text(PUBLIC.replace("equal, test", "equal, race, Race, test") + race)
    path = submission(tmp_path)
    text = str(grade(Assignment(assignment.folder, hidden=False), path))
    assert "3 of 3 public tests are right" in text and "hidden tests" in text
    assert "of 14 points" not in text and "of 10 points" not in text
    assert "--public does not measure the time" in text
    path.write_text(REFERENCE.replace("x + x", "x"))
    assert "1 of 3 public tests are right" in str(
        grade(Assignment(assignment.folder, hidden=False), path)
    )


@pytest.mark.parametrize("text", ["x = = 1", "import numpy as np\n1 / 0"])
def test_a_fault_of_the_whole_file_is_told_once(assignment, tmp_path, text):
    path = tmp_path / "submission.py"
    path.write_text(text)
    for hidden in (True, False):
        told = str(grade(Assignment(assignment.folder, hidden), path)).lower()
        assert told.count("nothing earned") == 1 and "<unknown>" not in told


def test_the_same_secret_makes_the_same_report_and_another_one_other_inputs(assignment, tmp_path):
    path = submission(tmp_path, "x + x", "x + 2 * x")
    first, again, other = (str(grade(assignment, path, secret)) for secret in ("a", "a", "b"))
    assert first == again != other


def test_a_report_as_json_has_all_that_the_text_tells(assignment, tmp_path):
    report = grade(assignment, submission(tmp_path, "x.size", "1 / 0"))
    content = json.loads(json.dumps(report.as_dict()))
    assert content["earned"] == report.earned <= 10 and content["points"] == 14
    (test,) = content["tasks"][1]["tests"]
    assert test["share"] == 0 and "line 16 of your file raised ZeroDivisionError" in test["message"]


def test_a_function_that_changes_its_argument_or_returns_a_view_is_told(assignment, tmp_path):
    report = grade(assignment, submission(tmp_path, "return x + x", "x += x\n    return x.copy()"))
    assert "double changed its first argument" in str(report) and report.tasks[0].earned == 0
    report = grade(assignment, submission(tmp_path, "return x + x", "return x[:]"))
    assert "returned a view of its first argument" in str(report)


def test_a_result_of_another_kind_than_a_test_expects_is_told_and_costs_its_test_alone(
    assignment, tmp_path
):
    public = assignment.folder / "public_tests.py"
    public.write_text(
        PUBLIC.replace("student.count(np.arange(3.0))", "student.count(np.arange(3.0)).sum()")
    )
    report = grade(
        Assignment(assignment.folder), submission(tmp_path, "return x.size", "return None")
    )
    assert "the result cannot be examined (AttributeError" in str(report)
    assert report.tasks[1].earned == 0 and report.tasks[0].earned > 6


def test_a_message_of_a_test_is_printable_whatever_it_quotes(assignment, tmp_path):
    public = assignment.folder / "public_tests.py"
    careless = PUBLIC.replace("equal(student", "raise Failure(student").replace(", 3)", ")")
    public.write_text("from bnas.grading import Failure\n" + careless)
    path = submission(tmp_path, "return x.size", r"return '\x1b[2J\ud800' + 9999 * 'x'")
    report = grade(Assignment(assignment.folder), path)
    (test,) = report.tasks[1].tests
    assert "\n\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}xxx" in test.message
    assert len(test.message) < 5000 and str(report).encode()


def test_a_reference_that_fails_in_a_race_costs_nobody_points(assignment, tmp_path):
    hidden = assignment.folder / "instructor" / "hidden_tests.py"
    hidden.write_text(HIDDEN.replace('Race("double"', 'Race("halve"'))
    path = submission(tmp_path)
    path.write_text(REFERENCE + "\ndef halve(x):\n    return x / 2\n")
    with pytest.raises(InputError, match="01_double: the reference failed: .* no function halve"):
        grade(Assignment(assignment.folder), path)


def test_windows_is_told_where_grading_works(assignment, tmp_path, monkeypatch):
    path = submission(tmp_path)
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(InputError, match="needs Linux or macOS"):
        grade(assignment, path)
