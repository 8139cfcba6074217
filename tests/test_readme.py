"""What the README shows runs as it stands."""

import re

import pytest
from helpers import ROOT
from helpers.processes import run_python

pytestmark = pytest.mark.slow

PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
SNIPPETS = PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8"))
FIRST_STEPS = (ROOT / "docs" / "first-steps.md").read_text(encoding="utf-8")
OWN = next(code for code in SNIPPETS if "register_operation" in code)


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(code, tmp_path):
    done = run_python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_an_operation_of_ones_own_goes_all_the_way(tmp_path):
    """Searched over, discretised, trained, evaluated and drawn, in the file of who wrote it."""
    own = OWN.replace("none,skip_connect,conv_5x5", "none,conv_5x5")
    assert own != OWN
    rest = """
for command in (["train", "runs/own", "--quick"], ["evaluate", "runs/own"], ["plot", "runs/own"]):
    assert cli.main(command) == 0, command
assert cli.main(["export", "runs/own"]) == 2
"""
    done = run_python("-c", own + rest, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '("conv_5x5", 0)' in done.stdout
    assert "class Conv5x5, of which no packed form is known" in done.stderr
    figures = {path.name for path in (tmp_path / "runs" / "own" / "figures").iterdir()}
    assert {"cells.png", "operations.png", "alpha_normal.png"} <= figures


def test_a_run_with_an_operation_that_is_not_registered_says_what_to_do(tmp_path):
    assert run_python("-c", OWN, cwd=tmp_path).returncode == 0
    done = run_python("-m", "bnas", "plot", "runs/own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for command in (["search", "--resume", "--out", "runs/own"], ["evaluate", "runs/own"]):
        done = run_python("-m", "bnas", *command, cwd=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "conv_5x5" in done.stderr and "register" in done.stderr


def test_the_first_steps_are_one_program(tmp_path):
    """Its snippets one after another, as a newcomer pastes them; what they print is as the page says."""
    done = run_python("-c", "\n".join(PYTHON.findall(FIRST_STEPS)), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "w [ 1.  -2.   0.5]" in done.stdout
    accuracies = [float(share) for share in re.findall(r"test (\d+\.\d)%", done.stdout)]
    assert len(accuracies) == 2 and min(accuracies) > 90
    assert "XnorConv2d has a slope of 0 almost everywhere" in done.stdout
