"""Remedies of a differentiable search: they do what their options say, and a search resumes with them."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from helpers.arrays import normal, rng, seeds
from helpers.commands import succeed
from helpers.jobs import (
    DIGITS,
    Steps,
    assert_same_outcome,
    assert_unchanged,
    finish,
    finish_with_interruptions,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bnas import commands, fused, nn
from bnas.autodiff import Tensor, no_grad
from bnas.config import SearchConfig
from bnas.data import Split
from bnas.errors import InputError
from bnas.runs import RunFolder, Silent, run
from bnas.search import remedies
from bnas.search.bnas import DirectSearch
from bnas.search.dcp import Search
from bnas.search.epochs import Step
from bnas.search.paths import batch_statistics, restricted_accuracy
from bnas.search.remedies import (
    entropy_gradient,
    perturbation_selection,
    temperature_at,
    too_many_skips,
)
from bnas.search.strategies import STRATEGIES as CLASSES
from bnas.search.strategy import Cost
from bnas.space import (
    PRIMITIVES,
    REAL,
    Supernet,
    discretise,
    parse_genotype,
    random_genotype,
    read_genotype,
)
from bnas.space.alpha import edge_entropies, genotype_mask, mask_genotype, mixing_weights
from bnas.space.genotype import edges

TINY = SearchConfig(
    strategy="bnas",
    limit=96,
    channels=2,
    layers=1,
    nodes=1,
    batch_size=32,
    supernet_epochs=3,
    operations="none, skip_connect, avg_pool_3x3",
)
DCP = replace(TINY, strategy="dcp", supernet_epochs=None, rounds=1)
SKIPS = {"operations": "skip_connect, sep_conv_3x3", "layers": 3, "stop_skips": 2}


class Notes(Steps):
    """Keeps the notes; `action(label)` comes at the first step of every epoch."""

    def __init__(self, action=lambda label: None):
        super().__init__(action)
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def supernet(seed=0, nodes=2, operations=PRIMITIVES):
    return Supernet(1, 10, 2, 2, nodes, REAL, rng(seed), operations)


# Paths


@pytest.mark.parametrize("make", [lambda net: net, fused.compile], ids=["plain", "fused"])
def test_batch_statistics_leave_no_trace(make):
    net = supernet()
    model, x = make(net), DIGITS.validation.images
    with no_grad():
        model.train()(x)  # running statistics of their own
    net.eval()
    net.cells[0].train()  # a part in another mode
    net.cells[0].input0.bn.eval()
    modes, before = [part.training for part in net.modules()], net.state_dict()
    outside = model(x[:5]).data
    with batch_statistics(model), no_grad():
        assert all(part.training for part in net.modules())
        inside = model(x[:5]).data
    assert not np.array_equal(inside, outside)
    for name, array in before.items():  # outside, a part was in training mode
        if not name.startswith("cells.0"):
            np.testing.assert_array_equal(net.state_dict()[name], array)
    assert [part.training for part in net.modules()] == modes
    before = net.state_dict()
    with pytest.raises(KeyError), batch_statistics(model), no_grad():
        model(x)
        assert not np.array_equal(net.stem[1].running_mean, before["stem.1.running_mean"])
        raise KeyError
    assert_unchanged(net, before)
    assert [part.training for part in net.modules()] == modes


@pytest.mark.parametrize("size, parts", [(32, [32]), (256, [256]), (257, [129, 128])])
def test_restricted_accuracy_is_that_of_the_path_in_training_mode(size, parts):
    net = fused.compile(supernet())
    mask = genotype_mask(random_genotype(2, rng(1)))
    split = Split(normal(2, size, 1, 8, 8, dtype=np.float32), rng(3).integers(0, 10, size))
    before, cost = net.state_dict(), Cost()
    found = restricted_accuracy(net.eval(), mask, split, cost)
    assert (cost.images_seen, cost.gradient_steps) == (size, 0)
    assert net.restriction is None and not net.training
    assert_unchanged(net, before)
    net.train().restrict(mask)
    right, start = 0, 0
    for count in parts:
        rows = slice(start, start + count)
        right += (net(split.images[rows]).data.argmax(axis=1) == split.labels[rows]).sum()
        start += count
    assert found == right / size


# Temperature


def test_the_temperature_goes_from_one_to_the_last_by_equal_factors():
    values = [temperature_at(k / 4, 0.0625) for k in range(5)]
    np.testing.assert_allclose(values, [1, 0.5, 0.25, 0.125, 0.0625], rtol=1e-12)
    assert temperature_at(0.3, 1.0) == 1


@pytest.mark.parametrize("config", [TINY, DCP], ids=["bnas", "dcp"])
def test_every_epoch_has_its_temperature(config):
    search = CLASSES[config.strategy](replace(config, temperature=0.125), DIGITS)
    records = [search.run_epoch(number, Silent()) for number in range(search.epochs)]
    found = [record["temperature"] for record in records]
    np.testing.assert_allclose(found, 0.125 ** np.linspace(0, 1, search.epochs), rtol=1e-12)
    for record in records:
        weights = mixing_weights(np.float32(record["alpha"]), record["temperature"])
        assert record["entropy"] == pytest.approx(edge_entropies(weights).mean(), rel=1e-12)
    answer = discretise(search.deciding.alpha.data / np.float64(0.125), config.operation_names)
    assert parse_genotype(records[-1]["genotype"]) == search.genotype() == answer


# Entropy


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), st.floats(0.2, 4), st.floats(-2, 2), seeds)
def test_the_entropy_gradient_is_that_of_the_entropy(nodes, count, temperature, reward, seed):
    alpha = normal(seed, 2, len(edges(nodes)), count)
    for mask in (None, rng(seed).random(alpha.shape) < 0.6):
        found = entropy_gradient(alpha, temperature, mask, reward)
        expected = np.zeros_like(alpha)
        for place in np.ndindex(alpha.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = alpha.copy()
                moved[place] += step
                weights = mixing_weights(moved, temperature, mask)
                ends.append(-reward * edge_entropies(weights).sum())
            expected[place] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
        if mask is not None:
            assert (found[~mask] == 0).all()


def test_the_entropy_gradient_of_decided_edges_is_finite():
    alpha = np.zeros((2, 2, 3), np.float32)
    alpha[..., 1] = 1000
    with np.errstate(all="raise", under="ignore"):
        gradient = entropy_gradient(alpha, 0.01, None, 1.0)
    assert gradient.dtype == np.float32 and (gradient == 0).all()


@pytest.mark.parametrize("config", [TINY, DCP], ids=["bnas", "dcp"])
def test_the_reward_falls_evenly_over_the_search(config, monkeypatch):
    rewards = []

    def spy(alpha, temperature, mask, reward):
        rewards.append(reward)
        return entropy_gradient(alpha, temperature, mask, reward)

    monkeypatch.setattr("bnas.search.phases.entropy_gradient", spy)
    search = CLASSES[config.strategy](replace(config, entropy=-0.5), DIGITS)
    for number in range(search.epochs):
        search.run_epoch(number, Silent())
    expected = -0.5 * (1 - np.arange(search.epochs) / search.epochs)
    np.testing.assert_allclose(rewards, np.repeat(expected, search.steps), rtol=1e-12)
    rewards.clear()
    CLASSES[config.strategy](config, DIGITS).run_epoch(0, Silent())
    assert not rewards


def test_a_reward_keeps_operations_in_competition_and_a_penalty_ends_it():
    entropies = {}
    for reward in (-10.0, 0.0, 10.0):
        search = DirectSearch(replace(TINY, entropy=reward, alpha_lr=0.2), DIGITS)
        search.supernet.alpha.data = normal(5, *search.supernet.alpha.shape, dtype=np.float32)
        for number in range(search.epochs):
            entropies[reward] = search.run_epoch(number, Silent())["entropy"]
    assert entropies[-10.0] < entropies[0.0] < entropies[10.0]


# Warm-up


@pytest.mark.parametrize(
    "config", [TINY, replace(DCP, parent_epochs=2, child_epochs=3)], ids=["bnas", "dcp"]
)
@pytest.mark.parametrize("settings_too", [{}, {"entropy": 1.0, "alpha_weight_decay": 0.1}])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_alpha_rests_in_the_first_epochs_of_each_phase_and_moves_in_the_others(
    config, settings_too, share
):
    search = CLASSES[config.strategy](replace(config, warmup=share, **settings_too), DIGITS)
    alpha = search.supernets()[0].alpha.data.tolist()  # which the Child inherits
    rested = []
    for number, epoch in enumerate(search.schedule):
        record = search.run_epoch(number, Silent())
        rests = epoch.index < int(share * epoch.step.epochs)
        assert search.rests(epoch) == rests
        assert (record["alpha"] == alpha) == rests
        alpha = record["alpha"]
        assert record["loss"] > 0 and not np.isnan(record["train_accuracy"])
        rested.append(rests)
    assert any(rested) == (share > 0) and not all(rested)


def test_a_warm_up_of_everything_is_refused():
    for share in (1, 1.5, -0.1):
        with pytest.raises(InputError, match="^warmup must be at"):
            replace(TINY, warmup=share)


@pytest.mark.parametrize("share, epochs, rested", [(0.5, 3, 1), (0.29, 100, 29), (0.58, 50, 29)])
def test_a_warm_up_is_whole_epochs_whatever_the_rounding(share, epochs, rested):
    """0.29 · 100 is 28.999999999999996 in floating point."""
    search = DirectSearch(replace(TINY, warmup=share, supernet_epochs=epochs), DIGITS)
    assert sum(search.rests(epoch) for epoch in search.schedule) == rested


def test_a_warm_up_of_no_epoch_is_refused():
    """Which would leave the search as it is without."""
    for config in (TINY, replace(DCP, parent_epochs=2, child_epochs=3)):
        with pytest.raises(InputError, match="^warmup 0.3.* less than an epoch of every phase"):
            CLASSES[config.strategy](replace(config, warmup=0.3), DIGITS)
    CLASSES["dcp"](replace(DCP, parent_epochs=2, child_epochs=4, warmup=0.3), DIGITS)


# Skips


def test_skips_of_the_normal_cell_are_counted():
    genotype = parse_genotype(
        "Genotype(normal=[('skip_connect', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
        "('sep_conv_3x3', 0)], normal_concat=[2, 3], reduce=[('skip_connect', 0), "
        "('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 1)], reduce_concat=[2, 3])"
    )
    assert [too_many_skips(genotype, most) for most in (1, 2, 3)] == [True, True, False]


class Forced(DirectSearch):
    """A search whose α has so many skips in the normal cell after each epoch."""

    SKIPS = (0, 1, 2, 2, 0)
    TRAINED = 0

    def algorithm(self):
        yield Step("supernet", self.train, len(self.SKIPS))

    def run_epoch(self, number, progress):
        type(self).TRAINED += 1
        return super().run_epoch(number, progress)

    def validation_accuracy(self, supernet, rng):
        epoch = self.epochs_run = getattr(self, "epochs_run", -1) + 1
        supernet.alpha.data[0] = [[0, 1], [0, 1]]
        supernet.alpha.data[0, : self.SKIPS[epoch], 0] = 2
        return super().validation_accuracy(supernet, rng)


@pytest.mark.parametrize(
    "stop_skips, warmup, epochs", [(1, 0, 2), (2, 0, 3), (2, 0.6, 4), (1, 0.8, 5), (3, 0, 5)]
)
def test_a_search_stops_when_its_normal_cell_skips_too_much(tmp_path, stop_skips, warmup, epochs):
    config = replace(TINY, **{**SKIPS, "stop_skips": stop_skips, "warmup": warmup})
    search = Forced(config, DIGITS)
    history, (arrays, meta) = finish(search, tmp_path / "run")
    assert len(history) == meta["epochs_done"] == epochs
    assert search.stopped == (epochs < 5)
    again = Forced(config, DIGITS)
    Forced.TRAINED = 0
    with RunFolder.open(tmp_path / "run", write=True) as folder:
        before = (tmp_path / "run" / "history.jsonl").read_bytes()
        run(again, folder, Silent())
    assert Forced.TRAINED == 0 and again.stopped == search.stopped
    assert (tmp_path / "run" / "history.jsonl").read_bytes() == before
    assert again.genotype() == search.genotype()


@pytest.mark.parametrize("strategy", ["shared", "cp"])
def test_a_search_without_an_answer_yet_goes_on(strategy):
    """Of a user's own, which reads any setting: ours of that kind refuse this one."""
    short = {"parent_epochs": 1, "child_epochs": 2, "supernet_epochs": 3, "stop_skips": 1}
    own = {**asdict(DCP), **SKIPS, **short, "strategy": "own:Own"}
    search = CLASSES[strategy](SearchConfig(**own), DIGITS)
    assert search.run_epoch(0, Silent())["genotype"] is None and not search.stopped
    search.run_epoch(1, Silent())


def test_the_skips_of_no_normal_cell_are_not_counted():
    for layers in (1, 2):
        with pytest.raises(InputError, match="stop_skips counts .* 3 or more layers"):
            DirectSearch(replace(TINY, layers=layers, stop_skips=1), DIGITS)


@pytest.mark.slow
def test_a_search_that_stopped_is_finished_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_draw_evaluation", lambda *_: None)
    path = tmp_path / "run"
    small = ("--channels", "2", "--limit", "96", "--batch-size", "64")
    options = (*small, "--nodes", "1", "--operations", "skip_connect,max_pool_3x3")
    command = ("search", path, "--stop-skips", "1", *options)
    succeed(*command, "--parent-epochs", "1", "--child-epochs", "40", "--alpha-lr", "0.5")
    lines = (path / "history.jsonl").read_text()
    assert 2 <= len(lines.splitlines()) < 82
    with RunFolder.open(path) as folder:
        *before, last = folder.history()
    found = parse_genotype(last["genotype"])
    assert read_genotype(path / "genotype.txt") == found and too_many_skips(found, 1)
    for record in before:
        if record["phase"] == "child":
            assert not too_many_skips(parse_genotype(record["genotype"]), 1)
    (path / "genotype.txt").unlink()
    out = succeed("search", path, "--resume")
    assert "Next: bnas train" in out and (path / "history.jsonl").read_text() == lines
    assert read_genotype(path / "genotype.txt") == found
    succeed("train", path, "--channels", "2", "--epochs", "1")
    assert "Found 1-bit network" in succeed("evaluate", path)


# Selection by perturbation


class Toy:
    """A stand-in for a supernet with an accuracy that is written down: `worth` of each candidate, summed."""

    def __init__(self, monkeypatch, nodes, operations, alpha, worth):
        self.operations, self.temperature = operations, 1.0
        self.cells = [type("Cell", (), {"nodes": nodes})]
        self.alpha = nn.Parameter(alpha)
        self.seen = []

        def accuracy(supernet, mask, split, cost):
            supernet.seen.append(mask.copy())
            return float((worth * mask).sum())

        monkeypatch.setattr(remedies, "restricted_accuracy", accuracy)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.sampled_from(PRIMITIVES), min_size=1, unique=True).filter(lambda o: o != ["none"]),
    st.integers(0, 3),
    seeds,
)
def test_what_is_missed_most_is_kept(nodes, operations, steps, seed):
    """Worths of few values, so that many are equal; of those α decides."""
    shape = 2, len(edges(nodes)), len(operations)
    alpha, worth = normal(seed, *shape), rng(seed).integers(0, steps + 1, shape) / 8
    with pytest.MonkeyPatch.context() as monkeypatch:
        toy = Toy(monkeypatch, nodes, operations, alpha, worth)
        found = perturbation_selection(toy, None, rng(seed), Cost())
        again = perturbation_selection(toy, None, rng(seed), Cost())
    np.testing.assert_array_equal(found, again)
    real = [m for m, name in enumerate(operations) if name != "none"]
    weights = mixing_weights(alpha)
    genotype = mask_genotype(found, operations)
    for kind, cell in enumerate((genotype.normal, genotype.reduce)):
        ranks = []
        for e in range(shape[1]):
            best = max(real, key=lambda m: (worth[kind, e, m], weights[kind, e, m]))
            ranks.append((worth[kind, e, best], weights[kind, e, best], operations[best]))
        for node in range(2, nodes + 2):
            into = [e for e, pair in enumerate(edges(nodes)) if pair[1] == node]
            kept = sorted(sorted(into, key=lambda e: ranks[e][:2], reverse=True)[:2])
            expected = tuple((ranks[e][2], edges(nodes)[e][0]) for e in kept)
            assert cell[2 * (node - 2) : 2 * (node - 1)] == expected
    assert (toy.seen[-1].sum(axis=-1) > 1).sum() <= 1  # what is settled is left out from then on
    net = Supernet(1, 2, 2, 1, nodes, REAL, rng(0), operations)
    for mask in toy.seen:  # each of them can be computed
        net.restrict(mask)


@pytest.mark.parametrize("needed", [2, 3])
def test_an_indispensable_operation_is_found_whatever_alpha_says(needed):
    """On one edge of a real supernet a pooling brings the class of the images, all other candidates noise."""
    operations = ("none", "skip_connect", "avg_pool_3x3")
    net, noise = Supernet(1, 2, 2, 1, 2, REAL, rng(0), operations), rng(0)
    net.classifier.bias.data[:] = 0
    labels = rng(1).integers(0, 2, 200)
    x = np.broadcast_to((2 * labels - 1)[:, None, None, None], (200, 1, 8, 8)).astype(np.float32)
    split = Split(x, labels)

    def garbage(x):
        return Tensor(noise.standard_normal((len(x), 4, 4, 4)).astype(np.float32))

    for e, candidates in enumerate(net.cells[0].edges):
        for m, candidate in enumerate(candidates):
            if (e, operations[m]) != (needed, "avg_pool_3x3"):
                candidate.forward = garbage
    only = np.zeros(net.alpha.shape, bool)
    only[0], only[1, :2, 0], only[1, needed, 2] = True, True, True
    if restricted_accuracy(net, only, split, Cost()) < 0.5:
        net.classifier.weight.data *= -1
    net.alpha.data[:] = 0
    net.alpha.data[1, needed, 2] = -1  # what magnitude would not choose
    state, cost = net.state_dict(), Cost()
    mask = perturbation_selection(net, split, rng(0), cost)
    assert mask[1, needed, 2] and mask_genotype(mask, operations)
    assert not genotype_mask(discretise(net.alpha.data, operations), operations)[1, needed, 2]
    assert cost.images_seen == 200 * (2 * 5 * 2 + 2 * 3) and net.restriction is None
    assert_unchanged(net, state)


@pytest.mark.parametrize("config", [TINY, DCP], ids=["bnas", "dcp"])
def test_the_selection_is_the_answer_and_resumes_to_the_same_bits(tmp_path, config):
    config = replace(config, nodes=3, selection="perturbation", warmup=0.5, entropy=0.1)
    make = CLASSES[config.strategy]
    whole = finish(search := make(config, DIGITS), tmp_path / "whole")
    assert mask_genotype(search.selection, config.operation_names) == search.genotype()
    assert parse_genotype(whole[0][-1]["genotype"]) == search.genotype()
    again = make(config, DIGITS)
    again.load_state(whole[1][0], search.epochs)
    assert again.genotype() == search.genotype()
    pieces = finish_with_interruptions(lambda: make(config, DIGITS), tmp_path / "x", search.epochs)
    assert_same_outcome(whole, pieces)


@pytest.mark.parametrize("config", [TINY, DCP], ids=["bnas", "dcp"])
def test_the_selection_goes_by_the_validation_images(config, monkeypatch):
    splits = []

    def spy(supernet, split, rng, cost):
        splits.append(split)
        return perturbation_selection(supernet, split, rng, cost)

    monkeypatch.setattr("bnas.search.epochs.perturbation_selection", spy)
    search = CLASSES[config.strategy](replace(config, selection="perturbation"), DIGITS)
    for number in range(search.epochs):
        search.run_epoch(number, Silent())
    assert len(splits) == 1 and splits[0] is DIGITS.validation


def test_a_search_that_stops_selects_too():
    search = Forced(replace(TINY, **SKIPS, selection="perturbation"), DIGITS)
    for number in range(3):
        assert not search.selection.any() and not search.stopped
        search.run_epoch(number, Silent())
    assert search.stopped
    assert mask_genotype(search.selection, search.config.operation_names) == search.genotype()


# Edges that are decided


def pushed(search, logit, at, edge=(1, 0, 1)):
    """Notes of a search; in its epoch number `at` a logit of the deciding supernet is set by hand."""

    def push(label):
        if label.startswith(f"epoch {at + 1} "):
            alpha = search.deciding.alpha.data
            alpha[edge[:2]] = 0
            alpha[edge] = logit

    progress = Notes(push)
    counts = []
    for number in range(search.epochs):
        search.run_epoch(number, progress)
        counts.append(len(progress.notes))
    return progress.notes, counts


def test_a_decided_edge_is_noted_once():
    config = replace(TINY, supernet_epochs=4)
    notes, counts = pushed(DirectSearch(config, DIGITS), 9, at=1)
    assert counts == [0, 1, 1, 1]
    assert notes[0].startswith("epoch 2 of 4 (round 1, supernet): edge 0 → 2 of the reduction cell")
    assert "skip_connect weighs 1.000" in notes[0]
    assert pushed(DirectSearch(config, DIGITS), 4, at=1)[0] == []
    single = replace(config, operations="skip_connect")
    assert pushed(DirectSearch(single, DIGITS), 9, at=1, edge=(1, 0, 0))[0] == []


def test_what_the_parent_decided_is_not_noted_again_of_the_child():
    search = Search(replace(DCP, parent_epochs=2, child_epochs=2, rounds=2), DIGITS)
    search.parent.alpha.data[0, 1, 2] = 9  # before the first epoch: worth a note too
    progress = Notes()
    for number in range(search.epochs):
        search.run_epoch(number, progress)
    (note,) = progress.notes
    assert note.startswith("epoch 1 of 8 (round 1, parent): edge 1 → 2 of the normal cell")


def test_what_a_falling_temperature_decides_is_noted():
    """Between two epochs too: here nothing moves within one."""
    config = replace(TINY, supernet_epochs=4, temperature=0.1, alpha_lr=1e-30)
    search = DirectSearch(replace(config, alpha_weight_decay=0.0), DIGITS)
    search.supernet.alpha.data[:] = 0
    search.supernet.alpha.data[1, 1, 2] = 2
    progress, counts = Notes(), []
    for number in range(search.epochs):
        search.run_epoch(number, progress)
        counts.append(len(progress.notes))
    alpha = search.supernet.alpha.data[1, 1]
    decided = [mixing_weights(alpha, 0.1 ** (k / 3))[2] >= 0.99 for k in range(4)]
    assert counts == [int(d) for d in decided] == [0, 0, 1, 1]


def test_a_resumed_search_does_not_repeat_its_notes(tmp_path):
    config = replace(TINY, supernet_epochs=4)
    search = DirectSearch(config, DIGITS)
    search.supernet.alpha.data[0, 0, 1] = 9
    progress = Notes()
    search.run_epoch(0, progress)
    assert len(progress.notes) == 1
    again = DirectSearch(config, DIGITS)
    again.load_state(search.state(), 1)
    again.run_epoch(1, progress)
    assert len(progress.notes) == 1
