"""bnas table build: trainings as jobs, what they cost, and a table that repeats to the bit."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import fail

from bnas import nn
from bnas.config import TrainConfig
from bnas.data import load_dataset
from bnas.errors import InputError
from bnas.evaluation import accuracy
from bnas.runs.jobs import Silent
from bnas.space import BINARY, REAL, Network, parse_genotype
from bnas.tabular import architectures, load
from bnas.tabular.build import build
from bnas.tabular.costs import cost_entries, measure
from bnas.tabular.entries import SEEDS, SETTINGS, entries, train_entry
from bnas.train import Training

OPERATIONS = ("skip_connect",)  # three architectures
TINY = {"digits": {"channels": 2, "layers": 3, "epochs": 2, "batch_size": 64, "lr": 0.02}}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    build(folder, folder / "out", ["digits"], OPERATIONS, TINY, workers=0)
    return folder


def results(folder):
    return {path.stem: path for path in (Path(folder) / "results").glob("*.json")}


def test_every_entry_of_the_real_table_can_be_trained():
    for dataset, settings in SETTINGS.items():
        found = entries(dataset)
        assert len(found) == 648 * 4
        configs = {TrainConfig(**job) for job in found.values()}
        assert len(configs) == len(found)
        assert all(config.hold_out for config in configs)
        assert {config.epochs for config in configs} == {settings["epochs"]}


def test_an_entry_is_the_training_that_its_settings_say():
    job = entries("digits", OPERATIONS, TINY["digits"])["digits-001-real-0"]
    found, digits = train_entry(job), load_dataset("digits")
    training = Training(TrainConfig(**job), digits)
    for epoch in range(2):
        record = training.run_epoch(epoch, Silent())
        assert found["loss"][epoch] == record["loss"]
        assert found["validation"][epoch] == round(record["validation_accuracy"] * 362)
        assert found["test"][epoch] == round(accuracy(training.network, digits.test) * 364)
    assert 0 < found["seconds"] < 60


def test_the_table_holds_what_the_trainings_gave(built):
    table = load(built / "out")
    assert len(table) == 3 and table.operations == OPERATIONS
    for number in range(3):
        for precision, seeds in SEEDS.items():
            for seed in seeds:
                path = results(built)[f"digits-{number:03}-{precision}-{seed}"]
                result = json.loads(path.read_text())["result"]
                for epoch in (1, 2):
                    entry = table.query(number, "digits", epoch, seed, precision)
                    assert entry.test_accuracy == result["test"][epoch - 1] / 364
                    assert entry.validation_accuracy == result["validation"][epoch - 1] / 362
                    assert entry.training_loss == pytest.approx(result["loss"][epoch - 1])
    assert table.provenance["settings"] == TINY
    with pytest.raises(InputError, match="seed is 1"):
        table.query(0, "digits", seed=1, precision="real")


def test_a_build_goes_on_where_it_was_and_gives_the_same_table(built):
    before = {name: path.read_bytes() for name, path in results(built).items()}
    first = (built / "out" / "digits.npz").read_bytes()
    name = "digits-002-binary-1"
    results(built)[name].unlink()
    build(built, built / "again", ["digits"], OPERATIONS, TINY, workers=0)
    after = {name: path.read_bytes() for name, path in results(built).items()}
    assert {key for key in before if before[key] != after[key]} <= {name}
    arrays, others = (np.load(built / part / "digits.npz") for part in ("out", "again"))
    for key in arrays:
        if "seconds" not in key:
            np.testing.assert_array_equal(arrays[key], others[key], err_msg=key)
    assert first == (built / "out" / "digits.npz").read_bytes()


def test_a_training_that_does_not_repeat_is_told(built, tmp_path):
    (tmp_path / "results").mkdir()
    for path in results(built).values():
        record = json.loads(path.read_text())
        if "loss" in record["result"]:
            record["result"]["test"][-1] ^= 1
        (tmp_path / "results" / path.name).write_text(json.dumps(record))
    with pytest.raises(InputError, match="trained once more, has other values of test"):
        build(tmp_path, tmp_path / "out", ["digits"], OPERATIONS, TINY, workers=0)
    assert not (tmp_path / "out").exists()


def test_a_training_that_fails_is_named_and_the_others_are_kept(tmp_path):
    broken = {"digits": TINY["digits"] | {"lr": -1.0}}
    with pytest.raises(
        InputError, match="12 of 12 failed, digits-000-binary-0 with InputError: lr"
    ):
        build(tmp_path, tmp_path / "out", ["digits"], OPERATIONS, broken, workers=0)


def test_costs_by_hand():
    job = cost_entries("digits", OPERATIONS, TINY["digits"])["digits-000-costs"]
    assert job["genotype"] == job["reference"]
    costs = measure(job)
    network = Network(architectures(OPERATIONS)[0], 1, 10, 2, 3, BINARY, np.random.default_rng(0))
    assert costs["parameters"] == nn.parameter_count(network)
    assert costs["bits"] == nn.size_in_bits(network)
    assert costs["packed_bytes"] > costs["bits"] / 8
    assert 0.5 < costs["packed_latency"] < 2  # the reference itself
    # Stem 3×3 to 6 channels at 8×8; three cells of 2, 4, 8 channels, whose inputs are real 1×1s: cell 0 takes
    # 6 and 6 channels at 8×8, cell 1 6 and 4 at 8×8, cell 2 4 (by a FactorizedReduce to 4×4) and 8 at 4×4.
    stem, linear = 9 * 6 * 64, 16 * 10
    inputs = (6 + 6) * 2 * 64 + (6 + 4) * 4 * 64 + 8 * 8 * 16
    halving = (
        4 * 4 * 16 + 4 * 4 * 25
    )  # the second of its convolutions looks a pixel further, at 5×5 places
    assert costs["real_macs"] == stem + linear + inputs + halving
    # Skips of stride 2: four in each reduction cell, each half of the channels to 4×4 (2×2) and to 5×5 (3×3).
    assert costs["binary_macs"] == 4 * (4 * 2 * (16 + 25) + 8 * 4 * (4 + 9))


def test_multiply_adds_of_layers():
    conv = nn.XnorConv2d(4, 6, 3, stride=2, padding=1, groups=2)
    assert nn.multiply_adds(conv, (4, 8, 8)) == {"1-bit": 6 * 16 * 2 * 9, "real": 0}
    conv.binary_weights = False
    assert nn.multiply_adds(conv, (4, 8, 8)) == {"1-bit": 0, "real": 6 * 16 * 2 * 9}
    body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    assert nn.multiply_adds(body, (1, 5, 5)) == {"1-bit": 0, "real": 2 * 9 * 9}
    assert body.training and "forward" not in vars(body[0])
    np.testing.assert_array_equal(body[1].running_mean, 0)


def test_the_real_twin_does_as_many_multiply_adds():
    genotype = parse_genotype(cost_entries("digits")["digits-500-costs"]["genotype"])
    counts = [
        nn.multiply_adds(
            Network(genotype, 1, 10, 4, 3, precision, np.random.default_rng(0)), (1, 8, 8)
        )
        for precision in (BINARY, REAL)
    ]
    assert sum(counts[0].values()) == counts[1]["real"]


@pytest.mark.slow
def test_on_the_command_line(tmp_path):
    fail("table", "build", "--dataset", "mnist", says="--dataset mnist: expected digits or fashion")
    fail("table", "build", "--operations", "none, skip_connect", says="names none")
    fail("table", "build", "--operations", "skip", says="skip")
