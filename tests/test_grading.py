"""Grading: what is told of a wrong result, what an assignment's folder gives, a class, and schools' formats."""

import csv
import json
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from helpers.processes import run_python
from hypothesis import given
from hypothesis import strategies as st

from bnas.cli import main
from bnas.errors import InputError
from bnas.grading import Assignment, Failure, close, equal, find, grade, hand_out, starter_of
from bnas.grading.classroom import grade_all, submissions
from bnas.grading.grade import share_for_speed
from bnas.grading.imports import refusal
from bnas.grading.report import GradingReport, Outcome, TaskResult
from bnas.grading.schools import bundle, classroom50, gradescope, prairielearn
from bnas.grading.suite import shown
from bnas.plots import points_figure

# A small assignment: double numbers, and count them.
README = "# Assignment 1: doubling\n\nDouble numbers.\n"
REFERENCE = '''"""Doubling."""

import numpy as np


def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return x + x
    ### END SOLUTION


def count(x):
    """How many there are."""
    ### BEGIN SOLUTION
    return x.size
    ### END SOLUTION
'''
PUBLIC = '''
import numpy as np
from bnas.grading import Task, close, equal, test

TASKS = [Task("double", "Task 1, double", points=10), Task("count", "Task 2, count", points=4)]

@test("double")
def small(student, rng):
    """Three numbers."""
    close(student.double(np.arange(3.0)), np.array([0.0, 2.0, 4.0]))

@test("count")
def three(student, rng):
    """Three numbers."""
    equal(student.count(np.arange(3.0)), 3)
'''
HIDDEN = '''
from bnas.grading import Race, close, race, test

@test("double")
def any_size(student, rng, reference):
    """Any size."""
    for size in (1, 2, 40):
        x = rng.standard_normal(size)
        close(student.double(x), reference.double(x), causes={"squared, not doubled": lambda: x * x})

@race("double")
def many(rng):
    """Many numbers."""
    return Race("double", [[rng.standard_normal(10)] for _ in range(3)])
'''


@pytest.fixture
def assignments(tmp_path):
    folder = tmp_path / "assignments" / "01_double"
    (folder / "instructor" / "alternatives").mkdir(parents=True)
    texts = {"README.md": README, "public_tests.py": PUBLIC, "starter.py": starter_of(REFERENCE)}
    texts |= {"instructor/reference.py": REFERENCE, "instructor/hidden_tests.py": HIDDEN}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder.parent


@pytest.fixture
def assignment(assignments):
    return Assignment(assignments / "01_double")


def submission(folder, old="", new=""):
    path = folder / "submission.py"
    path.write_text(REFERENCE.replace(old, new) if old else REFERENCE)
    return path


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


# The command line ---------------------------------------------------------------------------------


def test_grade_prints_writes_and_tells_by_its_exit_status(assignments, tmp_path, capsys):
    command = ["grade", "1", str(submission(tmp_path)), "--assignments", str(assignments)]
    assert main([*command, "--json", str(tmp_path / "r.json")]) in (0, 1)  # speed may be short
    assert "14 points" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["assignment"] == "01_double"
    assert main([*command, "--public"]) == 0
    submission(tmp_path, "x + x", "x")
    assert main([*command, "--public"]) == 1


def test_the_secret_comes_from_a_file_or_from_the_environment(
    assignments, tmp_path, capsys, monkeypatch
):
    path = submission(tmp_path, "x + x", "x + 2 * x")
    command = ["grade", "1", str(path), "--assignments", str(assignments)]
    (tmp_path / "secret.txt").write_text("\n")
    assert main([*command, "--secret", str(tmp_path / "secret.txt")]) == 2
    assert "is empty" in capsys.readouterr().err
    (tmp_path / "secret.txt").write_text("a\n")
    outputs = []
    for extra in (["--secret", str(tmp_path / "secret.txt")], [], []):
        main([*command, *extra])
        outputs.append(capsys.readouterr().out)
        monkeypatch.setenv("BNAS_GRADING_SECRET", "b" if len(outputs) == 1 else "a")
    assert outputs[0] == outputs[2] != outputs[1]


@pytest.mark.parametrize(
    "words, told",
    [
        (["1"], "which submission"),
        (["7", "x.py"], "names no assignment"),
        (["1", "nowhere.py"], "expected a Python file"),
        (["1", "x.py", "--jobs", "2"], "--jobs was given where there is one submission"),
        (["1", "x.py", "--out", "d"], "--out was given where there is one submission"),
        (["all", "."], "expected STUDENT/ASSIGNMENT.py"),
        (["all", "nowhere"], "is no folder"),
        (["all", ".", "--json", "f"], "--json was given with `grade all DIR`"),
        (["1", "x.py", "--github", "f.yml"], "SUBMISSION was given with --github"),
        (["1", "--github", "f.yml", "--nbgrader", "g.ipynb"], "expected one of"),
        (["1", "x.py", "--secret", "nowhere"], "expected a file of text"),
        (["1", "x.py", "--secret", "empty"], "the file is empty"),
        (["1", "x.py", "--secret", "filled", "--public"], "no hidden test is run: --public"),
        (["1", "--github", "f.yml", "--secret", "filled"], "does not take it along"),
        (["1", "--nbgrader", "f.ipynb", "--secret", "filled"], "does not take it along"),
    ],
)
def test_what_cannot_be_graded_is_said(assignments, tmp_path, capsys, monkeypatch, words, told):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name, text in (("empty", "\n"), ("filled", "a secret")):
        Path(name).write_text(text)
    assert main(["grade", *words, "--assignments", str(assignments)]) == 2
    assert told in capsys.readouterr().err


def test_handout_writes_and_names_what_it_wrote(assignments, tmp_path, capsys):
    command = ["handout", str(tmp_path / "course"), "--assignments", str(assignments)]
    assert main([*command, "--only", "double"]) == 0
    assert "01_double" in capsys.readouterr().out
    assert main(command) == 2 and "exists already" in capsys.readouterr().err


def test_nothing_is_written_into_the_folder_of_an_assignment(assignments, tmp_path, capsys):
    inside, options = str(assignments / "01_double" / "x"), ["--assignments", str(assignments)]
    for command in (
        ["handout", inside],
        ["grade", "1", "--gradescope", inside],
        ["grade", "1", "--prairielearn", inside],
    ):
        assert main([*command, *options]) == 2 and "is within" in capsys.readouterr().err
    assert not Path(inside).exists()


def test_what_was_handed_out_makes_no_grader_with_hidden_tests(assignments, tmp_path, capsys):
    (handed,) = hand_out(tmp_path / "course", folder=assignments)
    assert main(["grade", str(handed), "--gradescope", str(tmp_path / "out.zip")]) == 2
    assert "has no instructor part" in capsys.readouterr().err
    (tmp_path / "secret").write_text("a")
    command = ["grade", str(handed), str(submission(tmp_path))]
    assert main([*command, "--secret", str(tmp_path / "secret")]) == 2
    assert "has none" in capsys.readouterr().err and main(command) == 0


# A class ------------------------------------------------------------------------------------------


def test_a_class_is_graded_into_a_table_a_figure_and_reports(assignments, tmp_path, capsys):
    submission(tmp_path)
    for name, text in (
        ("anna/01_double.py", REFERENCE),
        ("ben/1.py", starter_of(REFERENCE)),
        ("01/cleo.py", "import os\nos._exit(0)"),
    ):
        path = tmp_path / "class" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    command = [
        "grade",
        "all",
        str(tmp_path / "class"),
        "--assignments",
        str(assignments),
        "--jobs",
        "2",
    ]
    assert main([*command, "--public"]) == 0
    out = tmp_path / "class-graded"
    with open(out / "grades.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["student"], row["task"]): float(row["earned"]) for row in rows}
    assert found["anna", "all"] == 14 and found["ben", "all"] == 0 and found["cleo", "all"] == 0
    assert (out / "points.png").read_bytes().startswith(b"\x89PNG")
    assert "line 1 imports os" in (out / "reports" / "cleo" / "01_double.txt").read_text()
    assert json.loads((out / "reports" / "anna" / "01_double.json").read_text())["earned"] == 14
    told = capsys.readouterr().out
    assert "3 submissions, mean 33 %, 1 with all points (public tests alone)" in told
    assert "0 of 14; line 1 imports os" in told


def class_of(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(REFERENCE)
    return folder


@pytest.mark.parametrize(
    "names, told",
    [
        (["anna/double.py", "ben/hw.py"], ["double.py names no assignment", "hw.py names no"]),
        (["01.py"], ["01.py names no assignment"]),
        (["01/1.py"], ["01/1.py names two assignments"]),
        (["anna/1.py", "01/anna.py"], ["anna/1.py is of the same student", "as 01/anna.py"]),
        (["a/anna/1.py", "b/anna/1.py"], ["b/anna/1.py is of the same student"]),
    ],
)
def test_files_that_cannot_be_told_whose_they_are_are_all_named(assignments, tmp_path, names, told):
    with pytest.raises(InputError) as error:
        submissions(class_of(tmp_path / "class", *names), assignments)
    assert all(text in str(error.value) for text in [*told, "rename"])


def test_names_of_students_and_files_that_are_none(assignments, tmp_path, monkeypatch):
    folder = class_of(
        tmp_path / "01", "Zoë Groß.py", "2.py", "3/01_double.py", "anna.ipynb", ".x/._1.py"
    )
    monkeypatch.chdir(folder)
    found, others = submissions(".", assignments)
    assert [s.student for s in found] == ["2", "3", "Zoë Groß"]
    assert [path.name for path in others] == ["anna.ipynb"]


def test_an_interruption_ends_what_is_being_graded_and_keeps_what_is_graded(assignments, tmp_path):
    folder = class_of(tmp_path / "class", "01/anna.py", "01/ben.py")
    (folder / "01" / "ben.py").write_text(REFERENCE.replace("return x + x", "while True: pass"))
    found, _ = submissions(folder, assignments)

    def interrupt(line):
        if line.startswith("anna"):
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        grade_all(found[::-1], tmp_path / "out", False, "", 2, interrupt)
    assert time.monotonic() - start < 15  # a call may take 20 s
    assert "anna,01_double,all,14" in (tmp_path / "out" / "grades.csv").read_text()
    assert (
        "2 of 2 public tests"
        in (tmp_path / "out" / "reports" / "anna" / "01_double.txt").read_text()
    )


def test_names_of_students_can_be_written(assignments, tmp_path):
    found, _ = submissions(class_of(tmp_path / "class", "ren\udce9/1.py", "zoë/1.py"), assignments)
    assert [each.student for each in found] == ["ren\N{REPLACEMENT CHARACTER}", "zoë"]


def test_the_figure_of_points_has_a_row_for_a_task_and_a_dot_for_a_student():
    shares = {"01_double": {"double": [1, 0.5, 1], "count": [0, 0, 1]}, "02_x": {"only": [0.3]}}
    first, second = points_figure(shares).axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["double", "count"]
    students, mean, *_ = first.get_lines()
    np.testing.assert_allclose(students.get_xdata(), [1, 0.5, 1])
    assert len(set(students.get_ydata())) == 3  # equal ones lie apart
    np.testing.assert_allclose(mean.get_xdata(), 2.5 / 3)
    assert "1 submission" in second.get_title(loc="left")


# Schools ------------------------------------------------------------------------------------------


@pytest.fixture
def report():
    wrong = Outcome("small", "Three numbers.", False, 0.0, "got 1, expected 2")
    double = TaskResult("double", "Task 1", 10, [wrong, Outcome("any", "Any.", True, 1.0)])
    count = TaskResult("count", "Task 2", 4, [], "the process ended by itself")
    return GradingReport("01_double", "Doubling", [double, count], True, ["user: nobody"])


def test_gradescope_gets_what_its_specification_asks_for(report):
    content = json.loads(json.dumps(gradescope.result(report)))
    assert content["score"] == 5
    assert sum(test["max_score"] for test in content["tests"]) == 14
    assert [test["status"] for test in content["tests"]] == ["failed", "passed", "failed"]
    for test in content["tests"]:
        assert 0 <= test["score"] <= test["max_score"] and test["output_format"] == "text"
        assert test["visibility"] in ("visible", "hidden", "after_due_date", "after_published")
    assert "got 1, expected 2" in content["tests"][0]["output"]
    assert "ended by itself" in content["tests"][2]["output"]


def test_classroom50_gets_whole_numbers_and_what_was_graded(report):
    variables = {
        "CLASSROOM": "cs",
        "ASSIGNMENT": "hw1",
        "SUBMISSION_TAG": "submit/1",
        "COMMIT_URL": "c",
    }
    content = classroom50.result(report, variables | {"RELEASE_URL": "r"})
    assert content.pop("datetime").endswith("Z")
    assert content.pop("tests") == [
        {"test-name": "Task 1", "passed": False, "score": 5, "max-score": 10},
        {"test-name": "Task 2", "passed": False, "score": 0, "max-score": 4},
    ]
    assert content == {
        "schema": "classroom50/result/v1",
        "classroom": "cs",
        "assignment": "hw1",
        "submission": "submit/1",
        "commit": "c",
        "release": "r",
        "review": "c",
        "score": 5,
        "max-score": 14,
    }


def test_prairielearn_gets_a_score_up_to_1_and_less_than_a_megabyte(report):
    report.tasks[0].tests[0].message = "x" * 5_000_000
    content = prairielearn.result(report)
    assert content["score"] == pytest.approx(5 / 14) and content["gradable"] is True
    assert [test["points"] for test in content["tests"]] == [5, 0]
    assert len(json.dumps(content)) < 1 << 20


@pytest.mark.parametrize(
    "names, chosen",
    [
        (["anna.py"], "anna.py"),
        (["a/public_tests.py", "a/starter.py"], "a/starter.py"),
        (["starter.py", "submission.py", "x.py"], "submission.py"),
        (["a/starter.py", "b/starter.py"], None),
    ],
)
def test_the_file_that_was_handed_in_is_found(tmp_path, names, chosen):
    class_of(tmp_path, *names)
    if chosen is not None:
        assert bundle.submitted(tmp_path) == tmp_path / chosen
        return
    with pytest.raises(LookupError, match="a/starter.py, b/starter.py"):
        bundle.submitted(tmp_path)


def run_there(folder, *arguments, cwd=None, **variables):
    """Run the grader of a bundle as the school's system does: from the bundle alone."""
    variables["PYTHONPATH"] = str(folder)
    words = ("-m", "bnas.grading.schools", *arguments)
    done = run_python(*words, cwd=cwd or folder, variables=variables)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_a_zip_for_gradescope_grades_and_always_answers(assignments, tmp_path):
    path, submitted = tmp_path / "out.zip", tmp_path / "submission"
    (tmp_path / "secret").write_text("a secret of ours")
    command = ["grade", "1", "--gradescope", str(path), "--assignments", str(assignments)]
    assert main([*command, "--secret", str(tmp_path / "secret")]) == 0 and main(command) == 2
    with zipfile.ZipFile(path) as file:
        assert {"setup.sh", "run_autograder", "bnas/grading/worker.py"} <= set(file.namelist())
        assert all(
            file.getinfo(name).external_attr >> 16 & 0o111
            for name in ("setup.sh", "run_autograder")
        )
        assert "a secret of ours" in file.read("secret.txt").decode()
        assert "numba>=" in file.read("setup.sh").decode()
        file.extractall(tmp_path / "source")
    submitted.mkdir()
    results = tmp_path / "results.json"
    run_there(tmp_path / "source", "gradescope", "01_double", submitted, results)
    assert "hand in one Python file" in json.loads(results.read_text())["output"]
    (submitted / "mine.py").write_text(REFERENCE.replace("x.size", "0"))
    run_there(tmp_path / "source", "gradescope", "01_double", submitted, results)
    content = json.loads(results.read_text())
    assert 6 <= content["score"] <= 10 and len(content["tests"]) == 4
    (tmp_path / "source" / "01_double" / "public_tests.py").write_text("1 / 0")
    run_there(tmp_path / "source", "gradescope", "01_double", submitted, results)
    content = json.loads(results.read_text())
    assert content["score"] == 0 and "ZeroDivisionError" in content["output"]


def test_the_folder_for_classroom50_has_nothing_secret_and_grades(assignments, tmp_path):
    folder, checkout = tmp_path / "grader", tmp_path / "checkout"
    assert (
        main(["grade", "1", "--classroom50", str(folder), "--assignments", str(assignments)]) == 0
    )
    assert not list((folder / "01_double").rglob("instructor"))
    compile((folder / "autograder.py").read_text(), "autograder.py", "exec")
    checkout.mkdir()
    (checkout / "starter.py").write_text(REFERENCE)
    run_there(folder, "classroom50", folder / "01_double", ".", cwd=checkout, CLASSROOM="cs")
    content = json.loads((checkout / "result.json").read_text())
    assert (content["score"], content["max-score"], content["classroom"]) == (14, 14, "cs")


def test_the_question_for_prairielearn_grades(assignments, tmp_path):
    folder, student = tmp_path / "question", tmp_path / "student"
    assert (
        main(["grade", "1", "--prairielearn", str(folder), "--assignments", str(assignments)]) == 0
    )
    info = json.loads((folder / "info.json").read_text())
    assert info["gradingMethod"] == "External" and info["externalGradingOptions"]["timeout"] <= 600
    shown = [path.name for path in (folder / "clientFilesQuestion").iterdir()]
    assert sorted(shown) == ["README.md", "starter.py"]
    student.mkdir()
    results = tmp_path / "results.json"
    run_there(folder / "tests", "prairielearn", "01_double", student, results)
    assert json.loads(results.read_text())["gradable"] is False
    (student / "submission.py").write_text(starter_of(REFERENCE))
    run_there(folder / "tests", "prairielearn", "01_double", student, results)
    assert json.loads(results.read_text())["score"] == 0


def test_the_workflow_for_github_runs_the_public_tests(assignments, tmp_path):
    yaml = tmp_path / "grade.yml"
    assert main(["grade", "1", "--github", str(yaml), "--assignments", str(assignments)]) == 0
    text = yaml.read_text()
    assert "bnas grade 01_double 01_double/starter.py --public" in text and "{" not in text.replace(
        "${{", ""
    )
    assert "\t" not in text and "on: [push, workflow_dispatch]" in text


def test_the_notebook_for_nbgrader_grades_each_task(assignments, tmp_path, monkeypatch):
    import nbformat

    path = tmp_path / "double.ipynb"
    assert main(["grade", "1", "--nbgrader", str(path), "--assignments", str(assignments)]) == 0
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    kinds = [cell.metadata.nbgrader for cell in notebook.cells]
    assert all(kind.schema_version == 3 for kind in kinds)
    assert len({kind.grade_id for kind in kinds}) == len(kinds)
    graded = [cell for cell in notebook.cells if cell.metadata.nbgrader.grade]
    assert [cell.metadata.nbgrader.points for cell in graded] == [10, 4]
    assert all("### BEGIN HIDDEN TESTS" in cell.source for cell in graded)
    (answer,) = [cell for cell in notebook.cells if cell.metadata.nbgrader.solution]
    magic, _, code = answer.source.partition("\n")
    assert magic == "%%writefile submission.py" and code == REFERENCE
    monkeypatch.chdir(tmp_path)
    (tmp_path / "submission.py").write_text(code)
    *statements, value = graded[1].source.splitlines()
    scope = {}
    exec("\n".join(statements), scope)
    assert eval(value, scope) == 4.0


def test_the_commands_of_the_guides_are_those_of_the_command_line():
    guide = (ROOT / "tutorials" / "assignments" / "instructors.md").read_text(encoding="utf-8")
    for word in ("--gradescope", "--classroom50", "--prairielearn", "--github", "--nbgrader"):
        assert f"bnas grade 1 {word} " in guide
