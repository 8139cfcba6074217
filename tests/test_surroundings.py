"""The command line where it is not started from a terminal: without streams, in a notebook, under nohup."""

import io
import os
import shlex
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
from helpers.commands import TINY, fail, succeed
from helpers.processes import run_python, start_python

from bnas.cli import main
from bnas.packed import PackedNetwork
from bnas.runs import RunFolder

SEARCH = ("search", *TINY, "--nodes", "1", "--threads", "1", "--out")
STAND_IN = "no-such-backend"  # for that of a notebook, where it is not installed


@pytest.fixture
def no_figures(monkeypatch):
    """They are nine tenths of the time of a search this small."""
    monkeypatch.setattr("bnas.plots.draw_run", lambda *_: ["a figure"])


# Streams


def whole_session(run):
    """[arguments] of every command that works on a run, in an order that works."""
    np.save(run.parent / "images.npy", np.zeros((3, 1, 8, 8), np.float32))
    train = ("--channels", "2", "--layers", "2", "--epochs", "1")
    return [
        (*SEARCH, run),
        ("train", run, *train),
        ("evaluate", run),
        ("compare", run),
        ("export", run, "-o", run.parent / "net.npz"),
        ("predict", run.parent / "net.npz", run.parent / "images.npy"),
        ("plot", run),
        ("data",),
        ("gradcheck", "--quick", "--operation", "Add"),
        ("search", "--dataset", "npz", "--data-dir", run / "none.npz"),  # an error, to be told
    ]


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.slow
@pytest.mark.parametrize("missing", [lambda: None, closed], ids=["none", "closed"])
def test_every_command_works_without_streams(tmp_path, missing, no_figures):
    run, out, err = tmp_path / "run", missing(), missing()
    statuses = []
    for arguments in whole_session(run):
        with redirect_stdout(out), redirect_stderr(err):
            statuses.append(main([str(argument) for argument in arguments]))
            assert sys.stdout is out and sys.stderr is err  # as they were
    assert statuses == [0] * 9 + [2]
    assert PackedNetwork.load(tmp_path / "net.npz").shape == (1, 8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(2,), (0, 1, 2)], ids=str)
def test_a_search_whose_streams_were_closed_finishes(tmp_path, numbers):
    """The operating system gives their numbers to the next files that are opened: those of the run."""
    done = run_python(
        "-m",
        "bnas",
        *SEARCH,
        tmp_path / "run",
        before_start=lambda: [os.close(number) for number in numbers],
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    folder = RunFolder.open(tmp_path / "run")
    assert len(folder.history()) == folder.load()[1]["epochs_done"] > 0
    assert (tmp_path / "run" / "genotype.txt").exists() and list(folder.figures.glob("*.png"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_an_error_that_cannot_be_told_keeps_its_status():
    with open("/dev/full", "w") as full:
        done = run_python("-m", "bnas", "plot", "no-such-run", stderr=full)
    assert done.returncode == 2


# Notebooks


@pytest.mark.slow
def test_figures_are_drawn_whatever_the_backend_of_a_notebook(tmp_path):
    variables = {"MPLBACKEND": STAND_IN}
    done = run_python("-m", "bnas", *SEARCH, tmp_path / "run", variables=variables)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run" / "figures").glob("*.png"))
    (tmp_path / "file").write_text("")
    done = run_python("-m", "bnas", "bench", "--out", tmp_path / "file", variables=variables)
    assert done.returncode == 2 and "cannot make the folder" in done.stderr
    assert run_python("-m", "bnas", "reproduce", variables=variables).returncode == 0


BACKEND = """
import os, sys
from bnas.cli import main
main(["bench", "--out", sys.argv[1]])  # it imports Matplotlib, and cannot make its folder
import matplotlib
print(os.environ["MPLBACKEND"], matplotlib.rcParams["backend"].lower())
"""


@pytest.mark.slow
def test_a_backend_that_is_there_stays_in_force(tmp_path):
    (tmp_path / "file").write_text("")
    variables = {"MPLBACKEND": "svg"}
    done = run_python("-c", BACKEND, tmp_path / "file", variables=variables)
    assert done.stdout.split() == ["svg", "svg"], done.stderr


# Signals


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs Unix")
@pytest.mark.parametrize("ignored", [False, True])
def test_an_interrupt_that_arrives_ignored_stays_ignored(ignored):
    """As under nohup and from cron, for every program."""
    code = "import os, signal; from bnas.cli import main; print(flush=True); " + (
        "os.kill(os.getpid(), signal.SIGINT); main(['data'])"
    )
    how = signal.SIG_IGN if ignored else signal.SIG_DFL
    with start_python(
        "-c", code, before_start=lambda: signal.signal(signal.SIGINT, how)
    ) as process:
        output, errors = process.communicate(timeout=300)
    assert ("First image" in output) == ignored, errors
    assert ("KeyboardInterrupt" in errors) != ignored


# Commands to paste


@pytest.mark.parametrize("name", ["my runs/a b", "it's", "$HOME;#", "-x"])
def test_the_next_command_can_be_pasted(tmp_path, monkeypatch, name, no_figures):
    monkeypatch.chdir(tmp_path)
    out = succeed(*SEARCH[:-1], f"--out={name}")
    (line,) = [line for line in out.splitlines() if line.startswith("Next: ")]
    bnas, command, folder = shlex.split(line.removeprefix("Next: "))
    assert (bnas, command) == ("bnas", "train") and os.path.samefile(folder, tmp_path / name)
    assert not folder.startswith("-")

    train = ("--channels", "2", "--layers", "2", "--epochs", "1", "--limit", "96")
    out = succeed("train", folder, *train)
    assert shlex.split(out.splitlines()[-1])[1:] == ["bnas", "evaluate", folder]
    out = succeed("export", folder)
    *words, placeholder = shlex.split(out.splitlines()[-1])[1:]
    assert words == ["bnas", "predict", os.path.join(folder, "packed.npz")]
    assert placeholder == "IMAGES"


@pytest.mark.parametrize(
    "command, words",
    [
        (("evaluate", "a b"), ["bnas", "search", "a b"]),
        (("train", "a b"), ["bnas", "search", "a b"]),
        (("export", "a b"), ["bnas", "train", "a b"]),
    ],
)
def test_commands_in_errors_can_be_pasted(tmp_path, monkeypatch, command, words):
    monkeypatch.chdir(tmp_path)
    message = fail(*command, says="bnas " + words[1])
    assert shlex.join(words) in message
