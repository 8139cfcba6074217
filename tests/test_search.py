"""A search runs algorithm 10 to its end, stops when it must, and resumes to the same bits."""

import json
import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.jobs import (
    DIGITS,
    Steps,
    assert_same_outcome,
    assert_unchanged,
    finish,
    finish_with_interruptions,
    outcome,
)

from bnas.config import CURVATURES, DISTANCES, SURROGATES, SearchConfig, TrainConfig
from bnas.data import Augmentation, batches
from bnas.errors import DivergedError, InputError
from bnas.runs import RunFolder
from bnas.runs.jobs import Silent, epoch_rng, fitting, run
from bnas.search.dcp import Search
from bnas.search.tangent import tangent_direction
from bnas.space import discretise

TINY = SearchConfig(
    limit=96,
    channels=2,
    layers=2,
    nodes=1,
    batch_size=32,
    rounds=2,
    parent_epochs=1,
    child_epochs=2,
)


# The loop of algorithm 10


def test_the_epochs_of_the_algorithm_in_order():
    config = replace(TINY, rounds=2, parent_epochs=1, child_epochs=2)
    once = [("parent", 0, 1), ("child", 0, 2), ("child", 1, 2)]
    schedule = Search(config, DIGITS).schedule
    found = [(epoch.round, epoch.step.name, epoch.index, epoch.step.epochs) for epoch in schedule]
    assert found == [(r, *e) for r in (0, 1) for e in once]


@pytest.mark.parametrize(
    "config, expected",
    [
        (TINY, Augmentation(crop_padding=1, flip=True)),  # cutout is for the found network alone
        (replace(TINY, augment=False), None),
    ],
)
def test_a_search_augments_as_its_dataset_says_whatever_its_name(config, expected):
    augmentation = Augmentation(crop_padding=1, flip=True, cutout=3)
    mine = replace(DIGITS, name="mine", augmentation=augmentation)
    assert Search(config, mine).augment == expected


def test_a_search_leaves_a_complete_and_finite_history(tmp_path):
    search = Search(TINY, DIGITS)
    history, (arrays, meta) = finish(search, tmp_path / "run")
    assert meta["epochs_done"] == search.epochs == len(history) == 6
    for number, (record, epoch) in enumerate(zip(history, search.schedule)):
        place = record["epoch"], record["round"], record["phase"]
        assert place == (number + 1, epoch.round, epoch.step.name)
        figures = {"loss", "train_accuracy", "validation_accuracy"}
        if epoch.step.name == "child":
            figures |= {"distance", "angle", "kl", "reconstruction", "objective"}
            assert record["kl"] >= 0 and record["distance"] >= 0 and 0 <= record["angle"] <= 180
        for name in figures:
            assert math.isfinite(record[name]), name
        for name in ("train_accuracy", "validation_accuracy"):
            assert 0 <= record[name] <= 1
        assert np.isfinite(record["alpha"]).all() and np.shape(record["alpha"]) == (2, 2, 8)
    np.testing.assert_array_equal(np.float32(history[-1]["alpha"]), arrays["child.alpha"])
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_the_genotype_is_the_discretised_alpha_of_the_child():
    search = Search(replace(TINY, nodes=3), DIGITS)
    rng = np.random.default_rng(0)
    search.child.alpha.data = rng.standard_normal(search.child.alpha.shape).astype(np.float32)
    search.child.alpha.data[..., 0] = 9  # none, which must not be chosen even so
    genotype = search.genotype()
    assert genotype == discretise(search.child.alpha.data)
    for pairs in (genotype.normal, genotype.reduce):
        assert len(pairs) == 2 * 3 and "none" not in [name for name, _ in pairs]
        assert all(a[1] != b[1] for a, b in zip(pairs[::2], pairs[1::2]))


def test_the_teacher_is_done_before_the_childs_graph_takes_memory(monkeypatch):
    search = Search(TINY, DIGITS)
    phase, calls = search.train_child(1), []
    forward = type(search.child).forward

    def noted(network, *args):
        calls.append("Child" if network is search.child else "Parent")
        return forward(network, *args)

    monkeypatch.setattr(type(search.child), "forward", noted)
    phase.weight_step(DIGITS.train.images[:8], DIGITS.train.labels[:8])
    assert calls == ["Parent", "Child"]


class Watched(Search):
    """Keeps a log of what is inherited before which epoch."""

    def __init__(self, *args):
        super().__init__(*args)
        self.log = []

    def run_epoch(self, number, progress):
        self.log.append(number)
        return super().run_epoch(number, progress)

    def inherit(self):
        super().inherit()
        self.log.append("inherit")

    def inherit_back(self):
        super().inherit_back()
        self.log.append("back")


def test_inheritance_and_tangent_come_at_the_right_moments():
    """Algorithm 10, steps 1, 2 and 4, watched from outside after every epoch."""
    search = Watched(TINY, DIGITS)
    for number, epoch in enumerate(search.schedule):
        parent, child = search.parent.state_dict(), search.child.state_dict()
        t = search.t.copy()
        at_first_step = Steps(lambda label: entered.append(search.phase.supernet.alpha.data.copy()))
        entered = []
        search.run_epoch(number, at_first_step)
        if epoch.step.name == "parent":
            assert_unchanged(search.child, child)
            assert not np.array_equal(search.parent.alpha.data, parent["alpha"])
            start = child["alpha"] if epoch.round > 0 else parent["alpha"]
            expected = tangent_direction(search.parent, batches(DIGITS.validation, 256))
            np.testing.assert_array_equal(search.t, expected)
        else:
            assert_unchanged(search.parent, parent)
            np.testing.assert_array_equal(search.t, t)
            start = parent["alpha"] if epoch.index == 0 else child["alpha"]
        assert np.abs(entered[0] - start).max() < 5 * TINY.alpha_lr  # a single step from there
    assert search.log == [0, 1, "inherit", 2, 3, "back", 4, "inherit", 5]


def test_inherit_gives_the_child_the_weights_and_alpha_of_the_parent():
    search = Search(TINY, DIGITS)
    search.run_epoch(0, Silent())
    search.inherit()
    assert_unchanged(search.child, search.parent.state_dict())
    assert search.child.alpha.data is not search.parent.alpha.data


@pytest.mark.slow
def test_a_search_interrupted_in_every_epoch_ends_in_the_same_bits(tmp_path):
    config = replace(TINY, parent_epochs=2, child_epochs=2, beta="learned")
    whole = finish(Search(config, DIGITS), tmp_path / "whole")
    pieces = finish_with_interruptions(lambda: Search(config, DIGITS), tmp_path / "pieces", 8)
    assert_same_outcome(whole, pieces)


def test_the_seed_decides_every_bit(tmp_path):
    config = replace(TINY, rounds=1)
    first, again, other = (
        finish(Search(replace(config, seed=seed), DIGITS), tmp_path / name)
        for name, seed in (("first", 3), ("again", 3), ("other", 4))
    )
    assert_same_outcome(first, again)
    assert first[0][-1]["alpha"] != other[0][-1]["alpha"]
    a, b = (Search(replace(config, seed=seed), DIGITS).parent.state_dict() for seed in (3, 4))
    assert not np.array_equal(a["stem.0.weight"], b["stem.0.weight"])


OPTIONS = [
    *({"distance": d, "curvature": c} for d in DISTANCES for c in CURVATURES),
    *({"surrogate": surrogate} for surrogate in SURROGATES),
    *({"beta": beta} for beta in ("closed", "learned")),
    *({"eta": 0.0}, {"tau": 0.0}, {"tau": 8.0}, {"mu": 0.0}, {"lam": 0.0}, {"augment": False}),
]


@pytest.mark.slow
def test_every_option_runs_and_makes_a_difference():
    """Only the defaults spelled out, and two ways not to backtrack, end in the same bits."""
    config = replace(TINY, rounds=1, child_epochs=1, lam=10.0, tau=4.0, eta=0.1)
    names_of = {}
    for options in OPTIONS:
        search = Search(replace(config, **options), DIGITS)
        for number in range(search.epochs):
            json.dumps(search.run_epoch(number, Silent()), allow_nan=False)
        state = search.child.state_dict()
        assert all(np.isfinite(array).all() for array in state.values())
        bits = tuple(state[key].tobytes() for key in ("alpha", "stem.0.weight"))
        names_of.setdefault(bits, []).append(json.dumps(options))
    default = {"distance": "frobenius", "curvature": "fisher"}
    groups = [default, {"surrogate": "clip"}, {"beta": "closed"}], [{"eta": 0.0}, {"tau": 8.0}]
    alike = [list(map(json.dumps, group)) for group in groups]
    assert sorted(names for names in names_of.values() if len(names) > 1) == sorted(alike)


def test_the_factor_multiplies_the_product_of_the_learning_rates():
    """0 is no backtracking, to the bit; 10 is ten times the step of 1, in every phase."""
    tiny = replace(TINY, rounds=1, child_epochs=1, tau=0.0, alpha_lr=0.5)

    def run_through(**settings):
        search, steps = Search(replace(tiny, **settings), DIGITS), []
        for number in range(search.epochs):
            search.run_epoch(number, Silent())
            steps.append(float(search.phase.decoupled.eta_before))
        return search.child.alpha.data.tobytes(), np.array(steps)

    (none, _), (same, no_step) = run_through(eta=0.0), run_through(eta_factor=0.0)
    (once, step), (tenfold, ten_steps) = run_through(), run_through(eta_factor=10.0)
    assert none == same and not no_step.any() and len({none, once, tenfold}) == 3
    np.testing.assert_allclose(ten_steps, 10 * step)
    assert (step > 0).all()
    with pytest.raises(InputError, match="eta_factor 10 .* which eta 0.5 takes the place of"):
        SearchConfig(eta_factor=10.0, eta=0.5)


def test_a_batch_size_above_the_size_of_the_data_takes_all_of_it():
    search = Search(replace(TINY, batch_size=1000), DIGITS)
    labels = []
    search.run_epoch(0, type("Count", (), {"step": lambda self, label, *_: labels.append(label)})())
    assert len(labels) == search.steps == 1


# Divergence


@pytest.mark.parametrize(
    "epoch, where", [(1, "epoch 2 of 6 (round 1, child)"), (3, "epoch 4 of 6 (round 2, parent)")]
)
def test_a_search_that_diverges_says_where_and_keeps_the_last_checkpoint(tmp_path, epoch, where):
    search = Search(TINY, DIGITS)

    def poison(label):
        if label == where:
            supernet = search.child if "child" in where else search.parent
            supernet.cells[0].edges[0][2].pointwise.weight.data[0, 0] = np.nan
            kept.append((tmp_path / "run" / "checkpoint.npz").read_bytes())

    kept = []
    with pytest.raises(
        DivergedError, match=f"α became NaN or infinite in {re.escape(where)}, step 2 of 3"
    ):
        finish(search, tmp_path / "run", Steps(poison))
    assert (tmp_path / "run" / "checkpoint.npz").read_bytes() == kept[0]
    history, (arrays, meta) = outcome(tmp_path / "run")
    assert meta["epochs_done"] == epoch == len(history)
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_weights_that_overflow_in_the_last_step_of_an_epoch_are_not_kept(tmp_path):
    search = Search(replace(TINY, batch_size=1000), DIGITS)  # one step an epoch

    def poison(label):
        if label == "epoch 3 of 6 (round 1, child)":
            search.child.stem[0].weight.data[0] = np.inf

    with pytest.raises(DivergedError, match="epoch 3 of 6"):
        finish(search, tmp_path / "run", Steps(poison))
    history, (arrays, meta) = outcome(tmp_path / "run")
    assert meta["epochs_done"] == len(history) == 2
    assert all(np.isfinite(array).all() for array in arrays.values())


# Configurations


@pytest.mark.parametrize(
    "kind, field, value",
    [
        (SearchConfig, "lam", -1),
        (SearchConfig, "lam", math.nan),
        (SearchConfig, "mu", math.inf),
        (SearchConfig, "lam", "1"),
        (SearchConfig, "lam", True),
        (SearchConfig, "seed", 1.5),
        (SearchConfig, "seed", -1),
        (SearchConfig, "seed", None),
        (SearchConfig, "limit", 0),
        (SearchConfig, "batch_size", 1),
        (SearchConfig, "lr", 0.0),
        (SearchConfig, "momentum", 1.0),
        (SearchConfig, "augment", 1),
        (SearchConfig, "distance", "l2"),
        (SearchConfig, "nodes", 0),
        (SearchConfig, "curvature", "exact"),
        (SearchConfig, "dataset", "imagenet"),
        (SearchConfig, "data_dir", 3),
        (SearchConfig, "clip", 0),
        (SearchConfig, "tau", -1),
        (TrainConfig, "stages", 3),
        (TrainConfig, "distil", 1.1),
        (TrainConfig, "drop_path", 0.95),
        (TrainConfig, "precision", "ternary"),
        (TrainConfig, "beta", "open"),
        (TrainConfig, "genotype", None),
        (TrainConfig, "epochs", 0),
        (TrainConfig, "clip", 0.0),
    ],
)
def test_a_bad_setting_is_refused_by_name(kind, field, value):
    with pytest.raises(InputError, match=f"^{field} must be") as caught:
        kind(**{field: value})
    name = "lambda" if field == "lam" else field.replace("_", "-")
    assert caught.value.on_command_line().startswith(f"--{name} must be")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"stages": 2, "epochs": 1}, "2 stages need"),
        ({"precision": "real", "stages": 2}, "for binary networks"),
        ({"precision": "real", "distil": 0.5}, "for binary networks"),
        ({"precision": "real", "mu": 0.5}, "for binary networks"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**settings)


def test_no_epoch_repeats_the_random_numbers_of_the_initial_weights():
    draws = [np.random.default_rng(3), *(epoch_rng(3, epoch) for epoch in range(3))]
    assert len({rng.random() for rng in draws}) == 4


# States that are not those of the search


def changed(state, name, array):
    return {n: a for n, a in {**state, name: array}.items() if a is not None}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A finished search, its state, and its folder."""
    search = Search(TINY, DIGITS)
    path = tmp_path_factory.mktemp("search") / "run"
    finish(search, path)
    return search, search.state(), path


@pytest.mark.parametrize(
    "name, array, says",
    [
        ("t", None, r"1 names are missing \['t'\]"),
        ("t", np.zeros(3, np.float32), "t has shape"),
        ("t", np.zeros((2, 2, 8)), "t has .*dtype float64, expected"),
        ("x", np.zeros(3), r"unknown \['x'\]"),
        ("phase.x", np.zeros(3), r"unknown \['x'\]"),
        ("phase.alpha.psi", None, r"missing \['psi'\]"),
        ("phase.alpha.mask", np.zeros((2, 2, 8)), "mask has .*float64, expected .* bool"),
        ("phase.alpha.optimiser.0.m", None, "0.m is missing"),
        ("child.x", np.zeros(1), r"unknown \['x'\]"),
        ("parent.alpha", np.zeros((2, 2, 9), np.float32), "alpha has shape"),
    ],
)
def test_a_state_of_something_else_is_refused(searched, name, array, says):
    search, state, _ = searched
    with pytest.raises(ValueError, match=says):
        search.load_state(changed(state, name, array), search.epochs)


@pytest.mark.parametrize("done", [None, 0, -1, 7, 10**30, True, 3.0, "3", [3], {}])
def test_a_checkpoint_of_impossible_epochs_is_refused(searched, tmp_path, done):
    search, state, path = searched
    copy = shutil.copytree(path, tmp_path / "run")
    with RunFolder.open(copy, write=True) as folder:
        folder.save(state, {} if done is None else {"epochs_done": done})
        with pytest.raises(InputError, match="checkpoint.npz has .* epochs done, expected 1 to 6"):
            run(search, folder, Silent())


def test_a_checkpoint_with_nan_is_refused(searched, tmp_path):
    search, state, path = searched
    copy = shutil.copytree(path, tmp_path / "run")
    with RunFolder.open(copy, write=True) as folder:
        for value in (np.nan, np.inf):
            poisoned = changed(state, "t", np.full_like(search.t, value))
            folder.save(poisoned, {"epochs_done": 1})
            with pytest.raises(InputError, match="holds NaN or infinity in t; restore"):
                run(search, folder, Silent())


def test_a_history_that_is_shorter_than_the_checkpoint_is_refused(searched, tmp_path):
    search, state, path = searched
    copy = shutil.copytree(path, tmp_path / "run")
    lines = (copy / "history.jsonl").read_text().splitlines(keepends=True)
    for text in ("", "".join(lines[:4]), "".join(lines)[:-1]):
        (copy / "history.jsonl").write_text(text)
        with RunFolder.open(copy, write=True) as folder:
            with pytest.raises(
                InputError, match="has [045] of the 6 epochs that the checkpoint has"
            ):
                run(search, folder, Silent())
        assert (copy / "history.jsonl").read_text() == text


def test_a_state_that_does_not_fit_is_blamed_on_what_it_is(searched):
    search, state, path = searched
    for name, array, says in (
        ("x", np.zeros(1), "checkpoint.npz does not hold the state of this run"),
        ("t", None, "checkpoint.npz does not hold the state of this run"),
        (
            "parent.classifier.bias",
            np.zeros(4, np.float32),
            "other channels or classes .*with data_dir",
        ),
    ):
        with pytest.raises(InputError, match=says), fitting(path):
            search.load_state(changed(state, name, array), search.epochs)
