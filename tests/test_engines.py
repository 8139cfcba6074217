"""The engines and kernels that a search and a training can be told to use."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from helpers.commands import TINY, bnas, fail, succeed
from helpers.jobs import DIGITS

from bnas import backend, kernels
from bnas.config import LATER, SearchConfig, TrainConfig, config_from_dict
from bnas.runs import RunFolder, Silent
from bnas.search.dcp import Search
from bnas.space import PUBLISHED, Supernet, format_genotype
from bnas.train import Training

SEARCH = SearchConfig(
    limit=96,
    channels=2,
    layers=2,
    nodes=1,
    batch_size=32,
    rounds=1,
    parent_epochs=1,
    child_epochs=1,
)
TRAIN = TrainConfig(
    format_genotype(PUBLISHED["DARTS_V2"]), limit=96, channels=2, layers=2, epochs=1
)
PLAIN = {"engine": "plain"}
NUMPY = {"engine": "plain", "kernels": "numpy"}


def first_epoch(job):
    return {k: v for k, v in job.run_epoch(0, Silent()).items() if isinstance(v, float)}


JOBS = {"search": (Search, SEARCH), "training": (Training, replace(TRAIN, precision="real"))}


@pytest.mark.slow
@pytest.mark.parametrize("job, config", JOBS.values(), ids=JOBS)
def test_all_engines_take_the_same_first_epoch(job, config):
    """In float32, where later epochs of a 1-bit network part over single signs."""
    expected = first_epoch(job(config, DIGITS))
    for settings in (PLAIN, NUMPY):
        found = first_epoch(job(replace(config, **settings), DIGITS))
        for name in ("loss", "train_accuracy"):
            assert found[name] == pytest.approx(expected[name], rel=2e-3), name


def test_the_plain_engine_runs_the_modules_that_are_read(monkeypatch):
    calls, forward = [], Supernet.forward
    monkeypatch.setattr(Supernet, "forward", lambda *args: calls.append(1) or forward(*args))
    first_epoch(Search(SEARCH, DIGITS))
    assert not calls
    search = Search(replace(SEARCH, **PLAIN), DIGITS)
    assert type(search.parent) is type(search.child) is Supernet
    first_epoch(search)
    assert calls


def test_plain_numpy_compiles_nothing(monkeypatch):
    for name in kernels.__all__:
        monkeypatch.setattr(kernels, name, None)
    first_epoch(Search(replace(SEARCH, **NUMPY), DIGITS))
    first_epoch(Training(replace(TRAIN, **NUMPY), DIGITS))
    assert backend.kernels() is kernels


@pytest.mark.slow
def test_on_the_command_line(tmp_path):
    path = tmp_path / "run"
    small = *TINY, "--batch-size", "32"
    command = ["search", "--out", path, *small, "--engine", "plain", "--kernels", "numpy"]
    status, out, err = bnas(*command)
    assert status == 0 and "Next: bnas train" in out
    assert "s a step, so " in err and "--engine fused is faster" in err
    saved = json.loads((path / "config.json").read_text())
    assert (saved["engine"], saved["kernels"]) == ("plain", "numpy")
    fail("search", "--out", path, "--resume", "--engine", "fused", says="engine: the run has plain")
    succeed("train", path, *TINY, "--engine", "plain")
    assert "Found 1-bit network" in succeed("evaluate", path)


def test_numpy_kernels_belong_to_the_plain_engine(tmp_path):
    fail("search", "--out", tmp_path / "run", "--kernels", "numpy", says="give --engine plain too")
    assert not (tmp_path / "run").exists()


def test_a_search_space_on_the_command_line(tmp_path):
    path, names = tmp_path / "run", ("skip_connect", "max_pool_3x3", "sep_conv_3x3")
    status, out, err = bnas("search", "--out", path, *TINY, "--operations", ",".join(names))
    assert status == 0 and "nothing is backtracked; give a smaller --tau" in err
    with RunFolder.open(path) as run:
        assert np.shape(run.history()[0]["alpha"])[2] == 3
        assert run.config["operations"] == "skip_connect, max_pool_3x3, sep_conv_3x3"
    chosen = [word for word in out.replace('"', " ").split() if "_" in word and word[-1] != "="]
    assert {word for word in chosen if word in SEARCH.operation_names} <= set(names)


@pytest.mark.parametrize(
    "operations, says",
    [
        ("none", "at least one other than 'none'"),
        ("skip_connect,skip_connect", "'skip_connect' twice"),
        ("skip_connect,conv_9x9", "unknown operation 'conv_9x9'.*register_operation"),
        ("", "unknown operation ''"),
    ],
)
def test_what_is_no_search_space_is_refused(tmp_path, operations, says):
    fail("search", "--out", tmp_path / "run", "--operations", operations, says=says)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("config", [SEARCH, TRAIN])
def test_the_configuration_of_an_older_run_means_what_it_meant(config):
    older = {name: value for name, value in asdict(config).items() if name not in LATER}
    assert config_from_dict(type(config), older) == config
