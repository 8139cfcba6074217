"""Training a found network, 1-bit or real, in one stage or two; the report on networks."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.jobs import (
    DIGITS,
    Steps,
    assert_same_bits,
    assert_same_outcome,
    assert_unchanged,
    finish,
    finish_with_interruptions,
    outcome,
)

from bnas import evaluation, nn
from bnas.autodiff import Tensor
from bnas.config import TrainConfig
from bnas.data import Augmentation
from bnas.errors import DivergedError, InputError
from bnas.evaluation import NEIGHBOUR, accuracy, predict, report
from bnas.runs.jobs import Silent
from bnas.search.objectives import teacher_probabilities
from bnas.space import Genotype, format_genotype
from bnas.train import Training, build_network, join, trained_network

GENOTYPE = format_genotype(
    Genotype(
        (("sep_conv_3x3", 0), ("skip_connect", 1)),
        (2,),
        (("max_pool_3x3", 0), ("dil_conv_3x3", 1)),
        (2,),
    )
)
TRAIN = TrainConfig(genotype=GENOTYPE, limit=96, channels=4, layers=3, epochs=4, batch_size=32)


def train(settings, tmp_path, name="run", teacher=None):
    return finish(Training(replace(TRAIN, **settings), DIGITS, teacher), tmp_path / name)


def test_a_training_augments_as_its_dataset_says_whatever_its_name():
    augmentation = Augmentation(crop_padding=1, flip=True, cutout=3)
    mine = replace(DIGITS, name="mine", augmentation=augmentation)
    assert Training(TRAIN, mine).augment == augmentation
    assert Training(replace(TRAIN, augment=False), mine).augment is None


def test_training_takes_train_and_validation_images_but_no_test_image():
    split = Training(TRAIN, DIGITS).split
    expected = [DIGITS.train.images, DIGITS.validation.images]
    np.testing.assert_array_equal(split.images, np.concatenate(expected))
    assert len(split.labels) == 96 + 32


def test_validation_images_can_be_held_out():
    split = Training(replace(TRAIN, hold_out=True), DIGITS).split
    np.testing.assert_array_equal(split.images, DIGITS.train.images)
    np.testing.assert_array_equal(split.labels, DIGITS.train.labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    "hold_out, key", [(True, "validation_accuracy"), (False, "evaluation_accuracy")]
)
def test_every_epoch_ends_with_the_accuracy_on_the_validation_images(tmp_path, hold_out, key):
    """Called a validation accuracy only where they are held out, and without a trace in the training."""
    settings = {"hold_out": hold_out, "drop_path": 0.3, "stages": 2}
    job = Training(replace(TRAIN, **settings), DIGITS)
    history, (arrays, _) = finish(job, tmp_path / "run")
    keys = {"validation_accuracy", "evaluation_accuracy"}
    assert [keys & record.keys() for record in history] == [{key}] * 4
    assert history[-1][key] == accuracy(job.network, DIGITS.validation)
    assert len({record[key] for record in history}) > 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bnas.train.accuracy", lambda network, split: 0.0)
        blind, (others, _) = train(settings, tmp_path, "blind")
    assert [record | {key: 0.0} for record in history] == blind
    assert_same_bits(arrays, others)


@pytest.mark.parametrize("precision", ["binary", "real"])
def test_the_loss_falls_and_the_history_is_complete(tmp_path, precision):
    settings = {"precision": precision, "epochs": 10, "augment": False}
    history, _ = train(settings, tmp_path)
    assert [record["epoch"] for record in history] == list(range(1, 11))
    assert history[-1]["loss"] < 0.85 * history[0]["loss"]
    assert history[-1]["train_accuracy"] > history[0]["train_accuracy"] + 0.2


def test_in_two_stages_activations_come_first_and_weights_later(tmp_path):
    job = Training(replace(TRAIN, stages=2, epochs=5), DIGITS)
    layers = [m for m in job.network.modules() if isinstance(m, nn.XnorConv2d)]
    seen, optimisers = [], []

    def look(label):
        seen.append({layer.binary_weights for layer in layers})
        optimisers.append(job.optimiser)

    history, _ = finish(job, tmp_path / "run", Steps(look))
    assert layers and seen == [{False}] * 2 + [{True}] * 3
    assert [r["stage"] for r in history] == ["activations"] * 2 + ["binary"] * 3
    first, second = optimisers[1], optimisers[-1]  # each stage has one of its own
    assert first is not second and [o is second for o in optimisers] == [False] * 2 + [True] * 3


def test_in_one_stage_all_is_1_bit_from_the_start(tmp_path):
    job = Training(replace(TRAIN, epochs=1), DIGITS)
    finish(job, tmp_path / "run")
    layers = [m for m in job.network.modules() if isinstance(m, nn.XnorConv2d)]
    assert layers and all(layer.binary_weights for layer in layers)


def test_distillation_mixes_cross_entropy_and_divergence_from_the_teacher():
    teacher = build_network(replace(TRAIN, precision="real", seed=9), DIGITS)
    before = teacher.state_dict()
    images, labels = DIGITS.train.images[:8], DIGITS.train.labels[:8]
    p = teacher_probabilities(teacher, images).data

    def loss(**settings):
        job = Training(replace(TRAIN, **settings), DIGITS, teacher)
        logits, value, penalty = job.loss(images, labels)
        return np.float64(logits.data), value.item(), penalty

    logits, plain, penalty = loss()
    assert penalty is None
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    kl = (p * (np.log(p) - log_p)).sum(axis=1).mean()
    assert math.isclose(plain, -log_p[range(8), labels].mean(), rel_tol=1e-5)
    assert math.isclose(loss(distil=1.0)[1], kl, rel_tol=1e-5)
    assert math.isclose(loss(distil=0.3)[1], 0.7 * plain + 0.3 * kl, rel_tol=1e-5)
    L_R = sum(
        m.reconstruction_loss().item()
        for m in build_network(TRAIN, DIGITS).modules()
        if isinstance(m, nn.XnorConv2d)
    )
    assert loss(mu=0.2)[1] == plain
    assert math.isclose(loss(mu=0.2)[2].item(), 0.2 * L_R, rel_tol=1e-5)
    assert_unchanged(teacher, before)
    with pytest.raises(InputError, match="needs the real twin"):
        Training(replace(TRAIN, distil=0.5), DIGITS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"stages": 2, "drop_path": 0.3, "beta": "learned", "mu": 1e-3},
        {"surrogate": "tanh"},
        {"precision": "real", "drop_path": 0.3},
    ],
    ids=["two-stages", "tanh", "real"],
)
def test_a_training_interrupted_in_every_epoch_ends_in_the_same_bits(tmp_path, settings):
    whole = train(settings, tmp_path, "whole")

    def make_job():
        return Training(replace(TRAIN, **settings), DIGITS)

    assert_same_outcome(whole, finish_with_interruptions(make_job, tmp_path / "pieces", 4))


@pytest.mark.parametrize("stages, epochs_done", [(1, 1), (2, 1), (2, 2)])
def test_a_loaded_training_predicts_as_the_trained_network_did(stages, epochs_done):
    """In the first of two stages too, where the weights are still real."""
    config = replace(TRAIN, stages=stages, epochs=2, beta="learned")
    job, fresh = Training(config, DIGITS), Training(config, DIGITS)
    for number in range(epochs_done):
        job.run_epoch(number, Silent())
    fresh.load_state(job.state(), epochs_done)
    expected = predict(job.network, DIGITS.test.images)
    np.testing.assert_array_equal(predict(fresh.network, DIGITS.test.images), expected)


def test_a_training_that_diverges_says_where(tmp_path):
    job = Training(TRAIN, DIGITS)

    def poison(label):
        if label == "epoch 2 of 4":
            job.network.classifier.bias.data[0] = np.inf

    with pytest.raises(DivergedError, match="epoch 2 of 4, step 2 of 4"):
        finish(job, tmp_path / "run", Steps(poison))
    assert outcome(tmp_path / "run")[1][1]["epochs_done"] == 1


# Evaluation


class Always3(nn.Module):
    """Says 3 to everything; has one parameter, a buffer of two numbers and a 1-bit convolution."""

    def __init__(self):
        self.scale = nn.Parameter(np.ones(1, np.float32))
        self.buffer = np.zeros(2, np.float32)
        self.conv = nn.XnorConv2d(2, 3, 3, rng=np.random.default_rng(0))

    def forward(self, images):
        logits = np.zeros((len(images), 10), np.float32)
        logits[:, 3] = 1
        return Tensor(logits)


def test_the_numbers_of_the_report():
    text, figures = report([("always 3", Always3())], DIGITS)
    n, hits = len(DIGITS.test), int((DIGITS.test.labels == 3).sum())
    row, p, z = figures["always 3"], hits / n, 1.959963984540054
    assert row["test_accuracy"] == p and row["test_images"] == n
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert math.isclose(row["low"], (centre - spread) / (1 + z * z / n))
    assert math.isclose(row["high"], (centre + spread) / (1 + z * z / n))
    assert row["parameters"] == 1 + 54
    assert row["bits"] == 32 * (1 + 2) + 54 + 32 * 3
    head, line, neighbour = text.splitlines()
    assert f"{n} test images" in head and "test accuracy" in head
    assert "always 3" in line and f"{100 * p:.2f} %" in line
    assert f"{100 * figures[NEIGHBOUR]['test_accuracy']:.2f} %" in neighbour


@pytest.mark.parametrize("block", [7, 4096])
def test_the_nearest_neighbour_is_that_of_all_distances(monkeypatch, block):
    monkeypatch.setattr(evaluation, "BLOCK", block)
    known = join(DIGITS.train, DIGITS.validation)
    flat, images = (
        a.reshape(len(a), -1).astype(np.float64) for a in (known.images, DIGITS.test.images)
    )
    squares = ((images[:, None] - flat[None]) ** 2).sum(axis=2)
    expected = known.labels[squares.argmin(axis=1)]
    pairs = [(split.images, split.labels) for split in (DIGITS.train, DIGITS.validation)]
    np.testing.assert_array_equal(evaluation.nearest_labels(pairs, DIGITS.test.images), expected)
    share = (expected == DIGITS.test.labels).mean()
    assert evaluation.neighbour_accuracy(DIGITS) == share
    monkeypatch.setattr(evaluation, "PRODUCTS", len(flat) * images.size // 4)  # a quarter of them
    assert 0.1 < evaluation.neighbour_accuracy(DIGITS) < share


def test_a_state_of_something_else_is_refused():
    job = Training(TRAIN, DIGITS)
    with pytest.raises(ValueError, match=r"unknown \['x'\]"):
        job.load_state({**job.state(), "x": np.zeros(1)}, 1)
    with pytest.raises(ValueError, match=r"unknown \['x'\]"):
        trained_network(TRAIN, DIGITS, {**job.state(), "x": np.zeros(1)})


def test_a_network_that_predicts_nan_has_no_accuracy():
    network = build_network(TRAIN, DIGITS)
    network.classifier.bias.data[3] = np.nan
    with pytest.raises(DivergedError, match="a prediction of the 1-bit network became NaN"):
        report([("1-bit network", network)], DIGITS)
