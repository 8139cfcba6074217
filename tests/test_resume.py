"""A run that was killed, at whatever moment, ends in the bits of one that never was."""

import json
import signal
import time

import pytest
from helpers.jobs import StopAt, Stopped, assert_same_outcome, outcome
from helpers.processes import bnas_options, start_python

from bnas.config import SearchConfig, TrainConfig
from bnas.data import load_dataset
from bnas.runs import RunFolder
from bnas.runs.jobs import Silent, run
from bnas.search.dcp import Search
from bnas.space import PUBLISHED, format_genotype
from bnas.train import Training, trained_network

pytestmark = pytest.mark.slow

SEARCH = {
    "limit": 64,
    "batch_size": 32,
    "channels": 2,
    "layers": 2,
    "nodes": 1,
    "rounds": 2,
    "parent_epochs": 2,
    "child_epochs": 2,
}
TRAIN = {"limit": 64, "batch_size": 32, "channels": 2, "layers": 2, "epochs": 5}
GENOTYPE = format_genotype(PUBLISHED["DARTS_V2"])


def assert_same_run(path, reference):
    """All that a run must end with, bit for bit; what took how long may differ."""
    assert_same_outcome(outcome(path), outcome(reference))
    genotypes = [folder / "genotype.txt" for folder in (path, reference)]
    first, second = (file.read_text() if file.exists() else None for file in genotypes)
    assert first == second


# In this process: stopped in every epoch


def stop_everywhere(tmp_path, job, config):
    """Run a job, stopped at the last step of every epoch in turn; compare with the whole run."""
    values = {"name": type(config).__name__}
    reference = tmp_path / "reference"
    with RunFolder.create(reference, values) as folder:
        whole = job()
        run(whole, folder, Silent())
    for epoch in range(whole.epochs):
        path = tmp_path / f"stopped{epoch}"
        with RunFolder.create(path, values) as folder, pytest.raises(Stopped):
            run(job(), folder, StopAt((epoch + 1) * whole.steps))
        assert len(RunFolder.open(path).history()) == epoch, "more than the current epoch was lost"
        with RunFolder.open(path, write=True) as folder:
            run(job(), folder, Silent())
        assert_same_run(path, reference)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rounds": 1, "surrogate": "tanh", "beta": "learned", "curvature": "hvp", "mu": 0.0},
    ],
    ids=["defaults", "learned-beta"],
)
def test_a_search_stopped_in_any_epoch_ends_in_the_same_bits(tmp_path, settings):
    config = SearchConfig(**{**SEARCH, "lam": 0.1, "eta": 0.1, **settings})
    dataset = load_dataset(config.dataset, None, config.limit)
    stop_everywhere(tmp_path, lambda: Search(config, dataset), config)


@pytest.mark.parametrize(
    "settings",
    [
        {"drop_path": 0.3},
        {"stages": 2, "surrogate": "tanh", "beta": "learned", "mu": 0.01, "distil": 0.5},
        {"precision": "real"},
    ],
    ids=["drop-path", "two-stages-distilled", "real"],
)
def test_a_training_stopped_in_any_epoch_ends_in_the_same_bits(tmp_path, settings):
    config = TrainConfig(GENOTYPE, **TRAIN, **settings)
    dataset = load_dataset(config.dataset, None, config.limit)
    twin = Training(TrainConfig(GENOTYPE, precision="real", **TRAIN), dataset)
    teacher = trained_network(twin.config, dataset, twin.state())
    stop_everywhere(tmp_path, lambda: Training(config, dataset, teacher), config)


# Whole processes: killed, interrupted, resumed


def start_bnas(*arguments):
    """Start `bnas` in a process of its own, on one thread."""
    one = {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return start_python("-m", "bnas", *arguments, variables=one)


def finish_bnas(*arguments):
    process = start_bnas(*arguments)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def lines(path):
    """How many epochs the history tells of."""
    history = path / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.exists() else 0


def stop(process, path, epochs, number):
    """Send the signal `number` as soon as the history has so many epochs; (status, errors)."""
    limit = time.monotonic() + 300
    while lines(path) < epochs and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.001)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A search and a training that nothing disturbed."""
    path = tmp_path_factory.mktemp("reference") / "run"
    finish_bnas("search", "--out", path, *bnas_options(SEARCH))
    finish_bnas("train", path, *bnas_options(TRAIN))
    return path


def test_a_search_killed_again_and_again_ends_in_the_same_bits(tmp_path, reference):
    path = tmp_path / "run"
    command = ["search", "--out", path, *bnas_options(SEARCH), "--resume"]
    # After the first epoch; where the Child begins; within its phase; where round two begins.
    for epochs, number in [
        (1, signal.SIGKILL),
        (2, signal.SIGKILL),
        (3, signal.SIGINT),
        (4, signal.SIGKILL),
    ]:
        status, errors = stop(start_bnas(*command), path, epochs, number)
        if number == signal.SIGINT:
            assert status == 130
            assert errors.splitlines()[-1].startswith("bnas: interrupted") and "--resume" in errors
            assert "Traceback" not in errors
        else:
            assert status == -number, errors
        assert not (path / "genotype.txt").exists()
    finish_bnas("search", "--out", path, "--resume")  # what is left out comes from the run
    assert_same_run(path, reference)


def test_a_training_killed_again_and_again_ends_in_the_same_bits(tmp_path, reference):
    path = tmp_path / "run"
    path.mkdir()
    (path / "genotype.txt").write_text((reference / "genotype.txt").read_text())
    command = ["train", path, *bnas_options(TRAIN), "--resume"]
    for epochs, number in [(1, signal.SIGKILL), (3, signal.SIGINT)]:
        status, errors = stop(start_bnas(*command), path / "binary", epochs, number)
        assert status == (130 if number == signal.SIGINT else -number), errors
    finish_bnas("train", path, "--resume")
    assert_same_run(path / "binary", reference / "binary")


@pytest.mark.parametrize(
    "tail",
    [
        json.dumps({"epoch": 4, "phase": "child", "loss": 0.5}) + "\n",
        '{"epoch": 4, "phase": "chi',
    ],
    ids=["whole line", "torn line"],
)
def test_a_kill_between_history_and_checkpoint(tmp_path, tail):
    """A record without its checkpoint is dropped and its epoch runs again."""
    config = SearchConfig(**SEARCH)
    dataset = load_dataset(config.dataset, None, config.limit)
    reference, path = tmp_path / "reference", tmp_path / "run"
    with RunFolder.create(reference, {}) as folder:
        run(Search(config, dataset), folder, Silent())
    with RunFolder.create(path, {}) as folder, pytest.raises(Stopped):
        run(Search(config, dataset), folder, StopAt(3 * 2 + 1))
    with open(path / "history.jsonl", "a") as file:
        file.write(tail)
    with RunFolder.open(path, write=True) as folder:
        run(Search(config, dataset), folder, Silent())
    assert_same_run(path, reference)


def test_two_processes_never_write_to_one_run(tmp_path, reference):
    path = tmp_path / "run"
    process = start_bnas("search", "--out", path, *bnas_options(SEARCH), "--rounds=50")
    try:
        while not (path / "config.json").exists() and process.poll() is None:
            time.sleep(0.001)
        second = start_bnas("search", "--out", path, "--resume")
        _, errors = second.communicate(timeout=300)
    finally:
        process.kill()
        process.communicate()
    assert second.returncode == 2
    assert "another process is writing" in errors and "Traceback" not in errors
