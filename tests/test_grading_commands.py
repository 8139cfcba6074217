"""Grading from outside: `bnas grade` and `bnas handout`, a class, and schools' systems."""

import csv
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from helpers.doubling import REFERENCE, submission, write_doubling
from helpers.processes import run_python

from bnas.cli import main
from bnas.errors import InputError
from bnas.grading import Assignment, hand_out, starter_of
from bnas.grading.classroom import grade_all, submissions
from bnas.grading.report import GradingReport, Outcome, TaskResult
from bnas.grading.schools import bundle, classroom50, gradescope, prairielearn
from bnas.plots import points_figure


@pytest.fixture
def assignments(tmp_path):
    return write_doubling(tmp_path / "assignments")


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
        (["1", "filled", "--json", "no/such.json"], "its folder does not exist"),
        (["all", ".", "--out", "filled"], "filled is a file; expected a folder"),
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

    loaded = {s.folder: Assignment(s.folder, hidden=False) for s in found}
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        grade_all(found[::-1], loaded, tmp_path / "out", "", 2, interrupt)
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
    (assignments / "01_double" / "secret.txt").write_text("left here")
    folder, checkout = tmp_path / "grader", tmp_path / "checkout"
    assert (
        main(["grade", "1", "--classroom50", str(folder), "--assignments", str(assignments)]) == 0
    )
    assert not list((folder / "01_double").rglob("instructor"))
    assert not list(folder.rglob("secret.txt"))
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
