"""The tutorials run, show what they ran, hold what each must hold, and their exercises can be checked."""

import ast
import io
import os
import re
import textwrap

import jupytext
import nbformat
import numpy as np
import pytest
from helpers import ROOT
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from bnas.plots import Figure
from tutorials import build
from tutorials.exercises import check, difference

SOURCES = build.sources()
every_tutorial = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)

EXERCISES = (1, 2, 3)
LONGEST_CELL = 25  # lines
LIMIT = 60  # seconds of computing, whatever else the machine does
READER = "somebody-who-reads"  # who runs the notebooks, here
FIRST_CELL = ("**You will be able to**", "**It assumes**")
SECTIONS = ("## What goes wrong", "## Exercises", "## Where to read on")
# Absolute paths of all systems; a fraction such as 1/2 or a command such as /loads is none.
PATH = re.compile(
    r"(?<![\w.~/*)\]])(?:/(?:home|root|Users|tmp|usr|opt|work|mnt|var|etc)\b|[A-Z]:\\)"
)
ANSI = re.compile(r"\x1b\[[\d;]*m")


def code_cells(notebook, tag=None):
    """The code cells, or those with the tag."""
    chosen = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in chosen if tag is None or tag in build.tags(cell)]


def text_of(output):
    """All that an output says."""
    parts = [output.get("text", ""), *output.get("traceback", ())]
    data = output.get("data", {})
    parts += [str(value) for mime, value in data.items() if not mime.startswith("image/")]
    return ANSI.sub("", "\n".join(parts))


def said(cell):
    """What a cell has printed and shown."""
    return "".join(map(text_of, cell.outputs))


def faults_of_form(notebook, number):
    """What a tutorial with this number lacks, or has too long; one sentence each."""
    first, faults = notebook.cells[0].source, []
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    if not re.match(rf"# {number}\. \S", first):
        faults.append(f"the first cell does not begin with the title '# {number}. ...'")
    faults += [f"the first cell lacks {part}" for part in FIRST_CELL if part not in first]
    headings = re.findall(r"^## .*$", "\n".join(prose), re.MULTILINE)
    found = [heading for heading in headings if heading in SECTIONS]
    faults += [f"there is no section {part}" for part in SECTIONS if part not in found]
    if headings[-1:] != [SECTIONS[-1]]:
        faults.append(f"the last section is not {SECTIONS[-1]}")
    for tag in (f"{what}-{n}" for n in EXERCISES for what in ("exercise", "check")):
        if len(code_cells(notebook, tag)) != 1:
            faults.append(f"{len(code_cells(notebook, tag))} cells have the tag {tag}, not one")
    for cell in code_cells(notebook):
        if cell.source.count("\n") >= LONGEST_CELL:
            faults.append(f"{cell.id} is longer than {LONGEST_CELL} lines")
    return faults


def faults_of_outputs(notebook, names=()):
    """What the outputs should not hold, one sentence each; names: of users."""
    faults = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            text = text_of(output)
            if output.output_type == "error":
                faults.append(f"{cell.id} raised {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                faults.append(f"{cell.id} wrote to stderr: {text}")
            if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
                faults.append(f"{cell.id} shows a widget")
            faults += [f"{cell.id} shows a path: {text}"] if PATH.search(text) else []
            faults += [f"{cell.id} names a user" for name in names if name in text]
    return faults


def faults_of_figures(notebook):
    """Every figure without a sentence after it, one sentence each."""
    following = dict(zip((cell.id for cell in notebook.cells), notebook.cells[1:]))
    return [
        f"after the figure of {cell.id} nothing says what to see"
        for cell in code_cells(notebook)
        if any("image/png" in output.get("data", ()) for output in cell.outputs)
        if cell.id not in following or following[cell.id].cell_type != "markdown"
    ]


def statements(source):
    """What a cell says, without comments and layout: the bodies of its functions, or all statements."""
    body = ast.parse(source).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    parts = [node.body for node in functions] or [body]
    return ["\n".join(map(ast.unparse, part)) for part in parts]


def solved(notebook, solutions):
    """Every answer that stands in the notebook, one sentence each."""
    texts = [
        ast.unparse(ast.parse(cell.source)) if cell.cell_type == "code" else cell.source
        for cell in notebook.cells
    ]
    texts = [textwrap.dedent(re.sub(r"^ +", "", text, flags=re.MULTILINE)) for text in texts]
    return [
        f"{cell.id} holds the answer to {build.tags(answer)[0]}"
        for answer in solutions.cells
        if any(tag.startswith("exercise-") for tag in build.tags(answer))
        for body in statements(answer.source)
        for cell, text in zip(notebook.cells, texts)
        if re.sub(r"^ +", "", body, flags=re.MULTILINE) in text
    ]


def with_answers(notebook, solutions):
    """The notebook, then each exercise with the right answer and two wrong ones; ids tell which."""
    extended = new_notebook(cells=[*notebook.cells])
    for n in EXERCISES:
        for tag in (f"exercise-{n}", f"wrong-{n}a", f"wrong-{n}b"):
            (answer,), (checked,) = code_cells(solutions, tag), code_cells(notebook, f"check-{n}")
            extended.cells.append(new_code_cell(answer.source, id=f"{tag}-answer"))
            extended.cells.append(new_code_cell(checked.source, id=tag))
    return extended


def faults_of_checks(executed):
    """What the check cells of `with_answers`, executed, said wrongly; one sentence each."""
    wanted = {}
    for n in EXERCISES:
        (stub,) = code_cells(executed, f"check-{n}")
        wanted[stub.id] = f"Exercise {n}: not answered yet\\."
        wanted[f"exercise-{n}"] = f"Exercise {n}: right\\."
        wanted[f"wrong-{n}a"] = wanted[f"wrong-{n}b"] = f"Exercise {n}: not yet: \\S.*"
    heard = {cell.id: said(cell).strip() for cell in code_cells(executed)}
    return [
        f"{place}: {heard[place]!r}, expected {pattern!r}"
        for place, pattern in wanted.items()
        if not re.fullmatch(pattern, heard[place])
    ]


def read_solutions(path):
    return jupytext.read(path.parent / "solutions" / path.name, fmt="py:percent")


# The tutorials ------------------------------------------------------------------------------------


def test_tutorials_are_counted_from_one():
    assert [int(path.name[:2]) for path in SOURCES] == [*range(1, len(SOURCES) + 1)]
    for place, pattern in ((".", "*.ipynb"), ("solutions", "*.py")):
        found = sorted(path.stem for path in (build.FOLDER / place).glob(pattern))
        assert found == [path.stem for path in SOURCES], place


@every_tutorial
def test_a_tutorial_has_all_its_parts(path):
    faults = faults_of_form(build.read_source(path), int(path.name[:2]))
    assert not faults, "\n".join(faults)


@every_tutorial
def test_a_notebook_is_its_source_with_outputs_that_tell_nothing_of_where_it_ran(path):
    notebook, source = build.read_notebook(path.with_suffix(".ipynb")), build.read_source(path)
    assert build.cells(notebook) == build.cells(source), "run tutorials/build.py"
    assert notebook.metadata == source.metadata
    faults = faults_of_outputs(notebook) + faults_of_figures(notebook)
    assert not faults, "\n".join(faults)
    for png in build.pictures(notebook):
        assert (path.parent / "images" / f"{path.stem}.png").read_bytes() == png


@every_tutorial
def test_a_notebook_holds_no_solution(path):
    faults = solved(build.read_source(path), read_solutions(path))
    assert not faults, "\n".join(faults)


@pytest.mark.slow
@every_tutorial
def test_a_tutorial_runs_and_its_checks_know_right_from_wrong(path):
    solutions, own = read_solutions(path), {"LOGNAME": READER, "USER": READER}
    own.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")  # another test runs on the other core
    for _ in range(2):  # the first time kernels may have to be compiled
        source = build.read_source(path)
        executed = with_answers(source, solutions)
        before = os.times()
        build.execute(executed, path.parent, own)
        after = os.times()  # of the kernel, which has ended
        seconds = after.children_user + after.children_system
        seconds -= before.children_user + before.children_system
        if seconds <= LIMIT:
            break
    assert 0 < seconds <= LIMIT
    faults = faults_of_outputs(executed, [READER]) + faults_of_checks(executed)
    assert not faults, "\n".join(faults)
    committed = build.read_notebook(path.with_suffix(".ipynb"))
    assert build.outputs(committed) == build.outputs(source), "run tutorials/build.py --write"


# What they are held to, tried on small notebooks with one fault each ------------------------------


def cell_list(*texts):
    """Cells with ids, in order; code unless a text begins with #, and with a tag after @."""
    made = []
    for position, text in enumerate(texts):
        text, _, tag = text.partition("@")
        make = new_markdown_cell if text.startswith("#") else new_code_cell
        made.append(make(text, id=f"cell-{position:02}"))
        made[-1].metadata.update({"tags": [tag]} if tag else {})
    return made


GOOD = [
    "# 7. Doubling\n\n**You will be able to**\n* double\n\n**It assumes** 1.",
    "def double(x):\n    return x + x",
    "## What goes wrong",
    "## Exercises",
    *(f"answer = None@exercise-{n}|print('Exercise {n}')@check-{n}" for n in EXERCISES),
    "## Where to read on",
]


def good(change=lambda texts: texts):
    texts = [part for text in GOOD for part in text.split("|")]
    return new_notebook(cells=cell_list(*change(texts)))


def replace(old, new):
    return lambda texts: [text.replace(old, new) for text in texts]


def test_the_form_accepts_a_notebook_in_order():
    assert faults_of_form(good(), 7) == []


@pytest.mark.parametrize(
    "change, fault",
    [
        (replace("# 7.", "# 8."), "title"),
        (replace("**You will be able to**", ""), "You will be able to"),
        (replace("**It assumes**", ""), "It assumes"),
        (replace("## What goes wrong", "## What goes right"), "What goes wrong"),
        (replace("## Exercises", "# Exercises"), "## Exercises"),
        (replace("## Where to read on", "## The end"), "Where to read on"),
        (lambda texts: [*texts, "## One more thing"], "last section"),
        (replace("@check-2", ""), "check-2"),
        (replace("@exercise-3", "@exercise-2"), "exercise-3"),
        (lambda texts: [*texts, "\n".join(["x = 1"] * 26)], "longer than 25 lines"),
    ],
)
def test_a_fault_of_form_is_noticed(change, fault):
    assert any(fault in found for found in faults_of_form(good(change), 7))


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def value(**data):
    return new_output("execute_result", data=data)


@pytest.mark.parametrize(
    "output, fault",
    [
        (stream("1/2 of it, /s, a / b, bnas/nn/, (n)/root, 5 it/s"), None),
        (value(**{"text/plain": "3", "image/png": "/home/AAAA"}), None),
        (stream("saved as /home/anna/x.npz"), "path"),
        (stream("'/tmp/x'"), "path"),
        (stream("in C:\\Users"), "path"),
        (value(**{"text/html": "<a>/root/.cache</a>"}), "path"),
        (stream("hello anna"), "user"),
        (stream("Warning: ...", "stderr"), "stderr"),
        (new_output("error", ename="ValueError", evalue="no", traceback=[]), "raised ValueError"),
        (value(**{"application/vnd.jupyter.widget-view+json": "{}"}), "widget"),
    ],
)
def test_what_an_output_should_not_hold_is_noticed(output, fault):
    notebook = good()
    notebook.cells[1].outputs = [output]
    faults = faults_of_outputs(notebook, ["anna"])
    assert faults == [] if fault is None else len(faults) >= 1 and fault in faults[0]


def test_a_figure_that_no_sentence_follows_is_noticed():
    notebook = good()
    notebook.cells[1].outputs = [value(**{"image/png": ""})]
    assert faults_of_figures(notebook) == []
    del notebook.cells[2:4]
    assert len(faults_of_figures(notebook)) == 1


@pytest.mark.parametrize(
    "solution, fault",
    [
        ("def twice(y):\n    # as above\n    return (y+y)", False),
        ("def twice(x):\n    # as above\n    return (x+x)", True),
        ("answer = None", True),
        ("answer = 2", False),
    ],
)
def test_a_solution_in_the_notebook_is_noticed(solution, fault):
    solutions = new_notebook(cells=cell_list(solution + "@exercise-1"))
    assert bool(solved(good(), solutions)) == fault


def test_a_notebook_that_differs_from_its_source_is_noticed(tmp_path):
    path = tmp_path / "07_doubling.py"
    jupytext.write(good(), path, fmt="py:percent")
    source = build.read_source(path)
    assert build.cells(source) == build.cells(good())
    assert build.cells(source) != build.cells(good(replace("x + x", "2 * x")))
    assert build.cells(source) != build.cells(good(replace("@check-1", "@check-9")))
    assert build.cells(source) != build.cells(good(lambda texts: texts[:-1]))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(the folder of a tutorial, what building it said); its third exercise checks nothing."""
    folder = tmp_path_factory.mktemp("tutorials")
    checks = "def right(x):\n    return None if x == 1 else 'no'@|"
    checks = (
        "from tutorials.exercises import check@|" + checks + "check({n}, answer, right)@check-{n}"
    )
    cells = [f"answer = None@exercise-{n}|" + checks.replace("{n}", str(n)) for n in (1, 2)]
    cells += ["answer = None@exercise-3|print('Exercise 3: right.')@check-3"]
    cells += [
        "from bnas.plots import Figure\nFigure(figsize=(1, 1))@picture",
        "# A picture.",
    ]
    notebook = new_notebook(cells=cell_list(*"|".join(cells).split("|")))
    jupytext.write(notebook, folder / "07_checks.py", fmt="py:percent")
    return folder


@pytest.mark.slow
def test_building_writes_a_notebook_once(built, capsys):
    path = built / "07_checks.ipynb"
    assert build.main([], built) == 0
    out = capsys.readouterr().out
    assert "written" in out and "1 of 1 ran without error" in out
    first, when = path.read_bytes(), path.stat().st_mtime_ns
    (png,) = build.pictures(build.read_notebook(path))
    assert (built / "images" / "07_checks.png").read_bytes() == png
    assert build.main(["07"], built) == 0 and path.stat().st_mtime_ns == when
    assert "as before" in capsys.readouterr().out
    without = build.read_notebook(path)
    without.cells[-2].outputs = []  # missing: it is written again
    nbformat.write(without, path)
    assert build.main(["7"], built) == 0 and path.read_bytes() == first


@pytest.mark.slow
def test_a_cell_that_raises_is_told_and_nothing_is_written(tmp_path, capsys):
    broken = new_notebook(cells=cell_list("# 1. Broken", "print(1)\n1 / 0"))
    jupytext.write(broken, tmp_path / "01_broken.py", fmt="py:percent")
    assert build.main([], tmp_path) == 1
    out = capsys.readouterr().out
    assert "ZeroDivisionError" in out and "0 of 1 ran without error" in out
    assert not (tmp_path / "01_broken.ipynb").exists()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        build.execute(broken, tmp_path)


def test_a_figure_with_fewer_colours_is_smaller_and_looks_the_same():
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot(np.sin(np.arange(50)), color="#0072B2", linewidth=3)
    png = io.BytesIO()
    figure.savefig(png)
    small = build.smaller(png.getvalue())
    before, after = (Image.open(io.BytesIO(data)) for data in (png.getvalue(), small))
    assert len(small) < 0.7 * len(png.getvalue()) and before.size == after.size
    error = np.subtract(before.convert("RGB"), after.convert("RGB"), dtype=float)
    assert np.abs(error).mean() < 0.5  # of 255
    assert len(build.smaller(small)) <= len(small)


def test_building_refuses_a_number_that_there_is_not(tmp_path, capsys):
    for words in (["99"], ["one"]):
        with pytest.raises(SystemExit) as stopped:
            build.main(words, tmp_path)
        assert stopped.value.code == 2 and "expected numbers" in capsys.readouterr().err


@pytest.mark.slow
def test_a_check_that_does_not_tell_right_from_wrong_is_noticed(built):
    answers = ("answer = {}@exercise-{n}", "answer = {}@wrong-{n}a", "answer = {}@wrong-{n}b")
    cells = [t.format(k, n=n) for n in EXERCISES for t, k in zip(answers, (1, 2, 3))]
    cells[5] = "answer = 1@wrong-2b"  # which is right
    executed = with_answers(
        build.read_source(built / "07_checks.py"), new_notebook(cells=cell_list(*cells))
    )
    build.execute(executed, built)
    told = " ".join(faults_of_checks(executed))
    assert [tag for tag in ("wrong-2a", "wrong-2b", "wrong-3a", "wrong-3b") if tag in told] == [
        "wrong-2b",
        "wrong-3a",
        "wrong-3b",
    ]
    assert len(faults_of_checks(executed)) == 4  # the stub of the third as well


@pytest.mark.slow
def test_a_kernel_has_no_settings_of_the_user_and_finds_bnas_and_the_exercises():
    code = (
        "import bnas, exercises, getpass, IPython.paths, sys\n"
        "print(bnas.__file__, exercises.__file__, getpass.getuser(), IPython.paths.get_ipython_dir())\n"
        "print('to stderr', file=sys.stderr)"
    )
    notebook = new_notebook(cells=cell_list(code))
    build.execute(notebook, variables={"LOGNAME": READER})
    text = said(notebook.cells[0])
    assert str(ROOT / "bnas" / "__init__.py") in text and str(build.FOLDER) in text
    assert ".ipython" not in text
    faults = " ".join(faults_of_outputs(notebook, [READER]))
    assert "names a user" in faults and "stderr" in faults
    assert build.outputs(notebook) == {"cell-00": {"stdout", "stderr"}}


# The checks of exercises --------------------------------------------------------------------------


def verdict(capsys, answer, examine):
    check(1, answer, examine)
    return capsys.readouterr().out


def is_double(f):
    return difference(f(np.arange(3.0)), 2 * np.arange(3.0))


def stub(x): ...


def documented(x):
    """Twice x."""


def passing(x):
    pass


def described(x):
    """Twice x,

    for an array of any shape.
    """
    ...


@pytest.mark.parametrize("answer", [None, ..., stub, documented, passing, described])
def test_a_stub_is_not_an_answer(capsys, answer):
    assert verdict(capsys, answer, is_double) == "Exercise 1: not answered yet.\n"


def without_return(x):
    x = x + x


def raising(x):
    y = x + x
    return y @ np.ones(7)


@pytest.mark.parametrize(
    "answer, told",
    [
        (lambda x: x + x, "right."),
        (lambda x: x, "not yet: entry (1,) is 1, expected 2 (2 of 3 entries are wrong)"),
        (lambda x: x[:2], "not yet: the shape is (2,), expected (3,)"),
        (lambda x: (x + x)[:, None], "not yet: the shape is (3, 1), expected (3,)"),
        (lambda x: [0, 2, np.nan], "not yet: entry (2,) is nan, expected 4 (1 of 3 "),
        (lambda x: "024", "not yet: a number or an array of numbers was expected, not"),
        (without_return, "not yet: your function returned nothing; is a `return` missing?"),
        (raising, "not yet: line 3 of your function raised ValueError: "),
        (3, "not yet: with your answer the check raised TypeError: 'int' object is not callable"),
    ],
)
def test_a_verdict_says_what_is_wrong(capsys, answer, told):
    assert verdict(capsys, answer, is_double).startswith(f"Exercise 1: {told}")


def test_differences_of_numbers():
    assert difference(0.1 + 0.2, 0.3) is None and difference([], np.zeros(0)) is None
    assert difference(1.0, 2) == "it is 1, expected 2"
    assert difference(np.float32(0.1), 0.1) == "it is 0.100000001, expected 0.1"
    assert difference(1.0, -0.0) == "it is 1, expected 0"
    assert difference([1e-12, 1.0], [0.0, 1.0]) is None  # rounding, as seen from the largest entry
