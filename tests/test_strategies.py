"""Every strategy: one interface, one history, the same bits after an interruption, and what each is in itself."""

import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from helpers.commands import bnas, fail, succeed
from helpers.jobs import (
    DIGITS,
    assert_same_bits,
    assert_same_outcome,
    assert_unchanged,
    finish,
    finish_with_interruptions,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import bnas.functional as F
from bnas import nn, plots
from bnas.autodiff import Tensor, frozen, grad, no_grad
from bnas.config import STRATEGIES, SearchConfig
from bnas.data import Split
from bnas.errors import InputError
from bnas.nn import evaluating, part_of
from bnas.optim import SGD, Adam, cosine_schedule
from bnas.results import load_run
from bnas.runs.jobs import Silent
from bnas.search.cp import CPSearch, drop_worst, sample_paths, score
from bnas.search.darts import DartsSearch, unrolled_gradient
from bnas.search.dcp import Search
from bnas.search.decoupled import DecoupledAlpha
from bnas.search.evolution import EvolutionSearch, mutate
from bnas.search.objectives import kl_to_teacher, reconstruction, teacher_probabilities
from bnas.search.paths import restricted_accuracy
from bnas.search.shared import PathPhase
from bnas.search.strategies import new_search, strategy_named
from bnas.search.strategy import PHASES, Cost
from bnas.space import parse_genotype, random_genotype, validate_genotype
from bnas.space.alpha import genotype_mask, mask_genotype, mixing_weights
from bnas.train import Training

SIZE = {"limit": 96, "channels": 2, "layers": 2, "nodes": 2, "batch_size": 32}
SHORT = {"rounds": 2, "parent_epochs": 1, "child_epochs": 2}
OWN = {  # settings that make a strategy short
    "dcp": SHORT,
    "cp": SHORT,
    "bnas": {"supernet_epochs": 3},
    "darts": {"supernet_epochs": 3},
    "shared": {"supernet_epochs": 3, "samples": 4},
    "random": {"individuals": 3, "individual_epochs": 2},
    "evolution": {"individuals": 5, "individual_epochs": 1, "population": 3, "tournament": 2},
}


def config_of(strategy, **settings):
    return SearchConfig(strategy=strategy, **{**SIZE, **OWN[strategy], **settings})


def run_all(search):
    return [search.run_epoch(number, Silent()) for number in range(search.epochs)]


# What all share

VARIANTS = [(name, {}) for name in STRATEGIES]
VARIANTS += [
    (
        "dcp",
        {"tangent_batches": "mean", "parent_epochs": 2, "tangent_scale": "relative", "lam": 0.3},
    ),
    ("darts", {"order": 2}),
    ("bnas", {"selection": "perturbation", "warmup": 0.5, "entropy": 0.1, "temperature": 0.5}),
    ("dcp", {"layers": 3, "stop_skips": 8, "temperature": 2.0, "entropy": -0.1}),
    ("cp", {"samplings": 2, "beta": "learned"}),
]


@pytest.mark.slow
@pytest.mark.parametrize("strategy, more", VARIANTS)
def test_interrupted_in_every_epoch_it_ends_in_the_same_bits(tmp_path, strategy, more):
    config = config_of(strategy, **more)
    search = new_search(config, DIGITS)
    whole = finish(search, tmp_path / "whole")
    pieces = finish_with_interruptions(
        lambda: new_search(config, DIGITS), tmp_path / "pieces", search.epochs
    )
    assert_same_outcome(whole, pieces)
    resumed = new_search(config, DIGITS)
    resumed.load_state(pieces[1][0], search.epochs)
    assert resumed.genotype() == search.genotype()


@pytest.fixture(scope="module")
def histories():
    """{strategy: its history}."""
    found = {}
    for name in STRATEGIES:
        records = run_all(new_search(config_of(name), DIGITS))
        found[name] = [{"epoch": k + 1, **record} for k, record in enumerate(records)]
    return found


def test_all_write_the_same_columns(histories):
    own = {"kl", "reconstruction", "objective", "active"}  # of the Child and of CP-NAS
    columns = {frozenset(record) - own for history in histories.values() for record in history}
    assert len(columns) == 1
    for history in histories.values():
        json.dumps(history, allow_nan=False)
        for record in history:
            assert 0 <= record["validation_accuracy"] <= 1 and np.isfinite(record["loss"])
            assert record["gradient_steps"] > 0 and record["images_seen"] > 0
            assert record["peak_memory"] > 2**20 and record["seconds"] > 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_last_epoch_has_the_genotype_that_the_search_answers_with(histories, strategy):
    genotype = parse_genotype(histories[strategy][-1]["genotype"])
    assert validate_genotype(genotype) == genotype and len(genotype.normal) == 4
    search = new_search(config_of(strategy), DIGITS)
    run_all(search)
    assert search.genotype() == genotype


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_entropy_and_alpha_are_recorded_where_there_is_an_alpha(histories, strategy):
    for record in histories[strategy]:
        if strategy in ("random", "shared", "evolution"):
            assert record["alpha"] is record["entropy"] is record["max_alpha"] is None
            continue
        alpha = np.array(record["alpha"])
        mask = np.array(record.get("active", np.ones(alpha.shape, bool)))
        weights = mixing_weights(alpha, record["temperature"], mask)
        logs = np.log(weights, where=weights > 0, out=np.zeros(alpha.shape))
        assert record["entropy"] == pytest.approx(-(weights * logs).sum(axis=-1).mean())
        assert record["max_alpha"] == np.abs(alpha[mask]).max()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_test_image_matters(histories, strategy):
    other = Split(np.zeros_like(DIGITS.test.images[:3]), np.zeros(3, np.int64))
    blind = run_all(new_search(config_of(strategy), replace(DIGITS, test=other)))
    varying = ("epoch", "seconds", "peak_memory")
    for record, seen in zip(blind, histories[strategy], strict=True):
        same = {k: v for k, v in record.items() if k not in varying}
        assert same == {k: v for k, v in seen.items() if k not in varying}


def test_cost_counts_every_pass(histories):
    """3 steps of 32 images an epoch; 32 validation images."""
    train, validation = 3 * 32, len(DIGITS.validation)
    alone = (6, 2 * train + validation)
    parent = (7, 2 * train + 2 * validation)  # the tangent direction is a gradient
    child = (6, 4 * train + validation)  # the Parent teaches in both steps
    costs = {
        name: [(r["gradient_steps"], r["images_seen"]) for r in history]
        for name, history in histories.items()
    }
    assert costs["dcp"] == [parent, child, child] * 2
    assert costs["bnas"] == costs["darts"] == [alone] * 3
    assert costs["random"] == [(3, train + validation)] * 6
    assert costs["evolution"] == [(3, train + validation)] * 5
    paths = (3, train + 8 * validation)
    assert costs["shared"] == [paths, paths, (3, paths[1] + 4 * validation)]
    # Of 8, after each of the four Child epochs 6, 4, 2 and 1 are left: what is scored before each drop.
    scored = [8 + 7, 6 + 5, 4 + 3, 2]
    expected = [(6, child[1] + 2 * count * validation) for count in scored]
    assert [cost for cost in costs["cp"] if cost != alone] == expected


def test_the_tangent_direction_costs_a_gradient_step_a_batch(monkeypatch):
    monkeypatch.setattr("bnas.search.dcp.BATCH", 12)  # of 32 images: 3 batches
    record = Search(config_of("dcp"), DIGITS).run_epoch(0, Silent())
    assert record["gradient_steps"] == 6 + 3
    assert record["images_seen"] == 2 * 3 * 32 + 2 * len(DIGITS.validation)


@pytest.mark.parametrize("batches", ["last", "mean"])
def test_the_tangent_direction_of_the_batches_of_the_parent(batches):
    search = new_search(config_of("dcp", tangent_batches=batches, parent_epochs=2), DIGITS)
    gradients, observed = [], search.train_parent

    def train_parent(epochs):
        phase = observed(epochs)
        alpha_gradient = phase.alpha_gradient

        def recording(images, labels):
            gradients.append(alpha_gradient(images, labels))
            return gradients[-1]

        phase.alpha_gradient = recording
        return phase

    search.schedule[0] = search.schedule[0]._replace(
        step=search.schedule[0].step._replace(do=train_parent)
    )
    search.schedule[1] = search.schedule[1]._replace(step=search.schedule[0].step)
    for number in range(2):
        search.run_epoch(number, Silent())
    directions = [-gradient for gradient, _ in gradients]
    expected = directions[-1] if batches == "last" else np.mean(directions, axis=0)
    np.testing.assert_allclose(search.t, expected, rtol=1e-5, atol=1e-9)


def test_second_order_curvatures_cost_what_they_cost():
    for name, strategy, more in (
        ((6 + 3 * 3), "darts", {"order": 2}),
        ((6 + 3 * 2), "dcp", {"curvature": "hvp"}),
        ((6 + 3 * 10), "dcp", {"curvature": "ggn"}),
    ):
        search = new_search(config_of(strategy, **more), DIGITS)
        records = [search.run_epoch(number, Silent()) for number in range(2)]
        assert records[-1]["gradient_steps"] == name


def test_an_alpha_at_the_defaults_is_bounded():
    """The phases of a search, 2,000 steps: with η = η₁η₂ α stays where softmax gradients bring it.

    At the defaults of the digits they are some 18 phases. ψ begins anew in each: one phase of 2,000 steps is
    bounded so at the scale of the digits, and not at ten times that.
    """
    scales = [1e-3, 1e-2, 0.1, 1.0]  # of ⟨upstream, o_m⟩; on the digits below 1
    cases = [(s, phases) for s in scales for phases in (1, 4, 16)]
    cases += [(10.0, phases) for phases in (4, 8, 16)]

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.sampled_from(cases), st.sampled_from([0.0, 1.0, 3.0]))
    def check(seed, case, noise):
        scale, phases = case
        assert largest_alpha(seed, scale, noise, phases, None) < 12

    check()


def test_an_alpha_with_the_fixed_step_of_old_is_not():
    assert largest_alpha(0, 0.1, 0.0, 4, 0.01) > 1e3


def largest_alpha(seed, scale, noise, phases, eta):
    """max |α| over 2,000 steps on losses Σ_m s_m u_m with noise, all entries being backtracked."""
    config, rng = SearchConfig(), np.random.default_rng(seed)

    class Logits:  # of a supernet without cells: all norms are equal, so every rank is above τ
        alpha = nn.Parameter((1e-3 * rng.standard_normal((2, 2, 8))).astype(np.float32))
        cells = ()

    u, length, largest = scale * rng.uniform(-1, 1, (2, 2, 8)), 2000 // phases, 0.0
    for _ in range(phases):
        adam = Adam(
            [Logits.alpha], config.alpha_lr, (0.5, 0.999), weight_decay=config.alpha_weight_decay
        )
        rate = [0.0]
        product = (lambda: rate[0] * adam.lr) if eta is None else eta
        decoupled = DecoupledAlpha(Logits, adam, product, config.psi_lr, config.tau)
        for step in range(length):
            rate[0] = cosine_schedule(step, length, config.lr)
            s = mixing_weights(Logits.alpha.data)
            v = u + noise * scale * rng.standard_normal(u.shape)
            slope = s * (v - (s * v).sum(axis=-1, keepdims=True))
            decoupled.step(slope.astype(np.float32))
            largest = max(largest, float(np.abs(Logits.alpha.data).max()))
    return largest


def test_eta_is_the_product_of_the_rates_in_force():
    """Eq. 4.50: the step taken by a search, by hand from the state before it."""
    search = new_search(config_of("dcp", tau=0.0), DIGITS)
    search.run_epoch(0, Silent())
    phase = search.phase
    search.parent.alpha.data = (
        np.random.default_rng(0).standard_normal((2, 5, 8)).astype(np.float32)
    )
    phase.optimiser.lr = 0.037
    before, twin = search.parent.alpha.data.copy(), nn.Parameter(search.parent.alpha.data.copy())
    adam = Adam([twin], 0.01, (0.5, 0.999), weight_decay=1e-3)
    adam.load_state_dict(phase.decoupled.optimiser.state_dict())
    gradient = np.random.default_rng(1).standard_normal((2, 5, 8)).astype(np.float32)
    phase.decoupled.step(gradient)
    twin.grad = gradient
    adam.step()
    expected = twin.data + 0.037 * 0.01 * phase.decoupled.psi[..., None] * before
    np.testing.assert_allclose(search.parent.alpha.data, expected, rtol=1e-6)


# One supernet


def test_4_24_and_4_25_direct_search_descends_cross_entropy_alone():
    search = new_search(config_of("bnas"), DIGITS)
    search.run_epoch(0, Silent())
    supernet, phase = search.supernet, search.phase
    assert any(isinstance(part, nn.XnorConv2d) for part in supernet.modules())
    images, labels = DIGITS.validation.images[:8], DIGITS.validation.labels[:8]
    gradient, _ = phase.alpha_gradient(images, labels)
    (expected,) = grad(F.cross_entropy(supernet(images), labels), [supernet.alpha])
    np.testing.assert_array_equal(gradient, expected)
    _, loss, penalty, _ = phase.weight_loss(images, labels)
    assert loss.item() == F.cross_entropy(supernet(images), labels).item() and penalty is None
    assert not phase.decoupled.eta  # nothing is backtracked


def test_4_26_the_child_of_cp_nas_learns_what_the_parent_predicts():
    search = new_search(config_of("cp"), DIGITS)
    for number in range(2):
        search.run_epoch(number, Silent())
    images, labels = DIGITS.validation.images[:8], DIGITS.validation.labels[:8]
    p = teacher_probabilities(search.parent, images)
    search.child.train()
    logits, loss, penalty, _ = search.phase.weight_loss(images, labels)
    assert loss.item() == pytest.approx(kl_to_teacher(logits, p).item())
    assert penalty.item() == pytest.approx(0.2 * reconstruction(search.child).item())
    gradient, figures = search.phase.alpha_gradient(images, labels)
    (expected,) = grad(kl_to_teacher(search.child(images), p), [search.child.alpha])
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    assert figures == {}  # no tangent, so no distance from it


def test_the_supernet_of_darts_is_real():
    search = new_search(config_of("darts"), DIGITS)
    assert not any(isinstance(part, nn.XnorConv2d) for part in search.supernet.modules())


def problem(seed, smooth):
    """(train_loss, validation_loss, alpha, weights): losses of a tiny model, quadratic in w unless smooth."""
    rng = np.random.default_rng(seed)
    x, y, xv, yv = (
        Tensor(rng.standard_normal(shape)) for shape in ((9, 4), (9, 3), (7, 4), (7, 3))
    )
    alpha = Tensor(rng.standard_normal(4), requires_grad=True)
    weights = [
        Tensor(rng.standard_normal((4, 3)), requires_grad=True),
        Tensor(rng.standard_normal(3), requires_grad=True),
    ]

    def loss(inputs, targets):
        mixed = inputs * F.softmax(alpha, axis=0)
        outputs = mixed @ weights[0] + weights[1]
        if smooth:
            outputs = F.tanh(outputs)
        return ((outputs - targets) ** 2).mean()

    return lambda: loss(x, y), lambda: loss(xv, yv), alpha, weights


@pytest.mark.parametrize("momentum, weight_decay", [(0.0, 0.0), (0.9, 0.1)])
@pytest.mark.parametrize("smooth, tolerance", [(False, 1e-8), (True, 1e-4)])
def test_second_order_darts_agrees_with_the_exact_unrolled_gradient(
    momentum, weight_decay, smooth, tolerance
):
    """Exact: the finite difference, in float64, of the validation loss after the step of the weights."""
    lr = 0.3
    train, validation, alpha, weights = problem(0, smooth)
    optimiser = SGD(weights, lr, momentum, weight_decay=weight_decay)
    train().backward()
    optimiser.step()  # so that there is a momentum
    optimiser.zero_grad()
    alpha.grad = None
    start, logits = [w.data.copy() for w in weights], alpha.data.copy()

    def step(gradients):
        return [
            optimiser.update(g, w.data, dict(state))
            for g, w, state in zip(gradients, weights, optimiser.state)
        ]

    found = unrolled_gradient(train, validation, alpha, weights, lr, step)
    for w, value in zip(weights, start):
        np.testing.assert_array_equal(w.data, value)  # restored
    assert alpha.grad is None and all(w.grad is None for w in weights)

    def after(logits):
        alpha.data = logits
        for w, value in zip(weights, step(grad(train(), weights))):
            w.data = value
        result = validation().item()
        for w, value in zip(weights, start):
            w.data = value
        return result

    exact = np.empty(4)
    for m in range(4):
        shift = 1e-5 * np.eye(4)[m]
        exact[m] = (after(logits + shift) - after(logits - shift)) / 2e-5
    alpha.data = logits
    scale = np.abs(exact).max()
    np.testing.assert_allclose(found, exact, atol=max(tolerance, 1e-8) * scale)
    with frozen(weights):
        (first_order,) = grad(validation(), [alpha])
    assert np.abs(first_order - exact).max() > 0.05 * scale  # the first order is another gradient


def test_unrolling_leaves_the_supernet_as_it_was():
    search = DartsSearch(config_of("darts", order=2), DIGITS)
    search.run_epoch(0, Silent())
    before = search.supernet.state_dict()
    images, labels = DIGITS.validation.images[:8], DIGITS.validation.labels[:8]
    unrolled, _ = search.phase.alpha_gradient(images, labels)
    assert_unchanged(search.supernet, before)
    plain, _ = type(search.phase).__mro__[1].alpha_gradient(search.phase, images, labels)
    assert np.abs(unrolled - plain).max() > 1e-3 * np.abs(plain).max()


# CP-NAS


def test_4_15_the_score_of_an_operation():
    assert score(0.9, 0.6, 0.5) == pytest.approx(0.75)
    assert score(0.9, 0.6, 0.0) == 0.6 and score(0.9, 0.6, 1.0) == pytest.approx(0.9)
    assert score(0.9, 0.6, 2.0) == pytest.approx(2 * (0.9 - 0.6) + 0.6)


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_paths_are_drawn_without_replacement_and_the_worst_goes(seed, edges, left):
    rng = np.random.default_rng(seed)
    active = rng.permuted(np.broadcast_to(np.arange(6) < left, (2, edges, 6)), axis=-1)
    paths = sample_paths(active, rng)
    assert all((path.sum(axis=-1) == 1).all() for path in paths)
    np.testing.assert_array_equal(np.sum(paths, axis=0), active)  # each operation once
    scores = rng.standard_normal(active.shape)
    after = drop_worst(active, scores)
    assert (after.sum(axis=-1) == left - 1).all() and not (after & ~active).any()
    gone = active & ~after
    lowest = np.where(active, scores, np.inf).min(axis=-1)
    np.testing.assert_array_equal(np.where(gone, scores, 0).sum(axis=-1), lowest)


def test_cp_ends_with_one_operation_an_edge(histories):
    left = [np.array(record["active"]) for record in histories["cp"]]
    counts = [{int(n) for n in active.sum(axis=-1).flat} for active in left]
    assert counts == [{8}, {6}, {4}, {4}, {2}, {1}]
    for earlier, later in zip(left, left[1:]):
        assert not (later & ~earlier).any()  # what was dropped never comes back
    names = SearchConfig().operation_names
    kept = genotype_mask(parse_genotype(histories["cp"][-1]["genotype"]), names)
    none = left[-1][..., 0]
    assert (kept <= left[-1])[~none].all()
    assert [histories["cp"][0]["genotype"]] == [None]


def test_operations_are_scored_by_the_accuracies_of_their_paths(monkeypatch):
    search = CPSearch(config_of("cp", samplings=2, beta_p=0.25), DIGITS)
    search.run_epoch(0, Silent())
    search.child.inherit_weights(search.parent)
    drawn = []
    monkeypatch.setattr(
        "bnas.search.cp.sample_paths", lambda *a: drawn.append(sample_paths(*a)) or drawn[-1]
    )
    scores = search.score_operations(np.random.default_rng(0))
    assert len(drawn) == 2 and drawn[0][0].any(axis=-1).all()
    totals = np.zeros(scores.shape)
    for path in (path for paths in drawn for path in paths):
        a_p, a_c = (
            restricted_accuracy(net, path, DIGITS.validation, Cost())
            for net in (search.parent, search.child)
        )
        totals += np.where(path, 0.25 * (a_p - a_c) + a_c, 0)
    np.testing.assert_allclose(scores, totals / 2)


def test_what_was_dropped_moves_no_more():
    search = CPSearch(config_of("cp"), DIGITS)
    for number in range(2):
        search.run_epoch(number, Silent())
    before, gone = search.child.state_dict(), ~search.active
    assert gone.any()
    search.run_epoch(2, Silent())
    after = search.child.state_dict()
    kinds = [int(cell.reduction) for cell in search.child.cells]
    for name in after:
        place = re.match(r"cells\.(\d+)\.edges\.(\d+)\.(\d+)\.", name)
        if place and gone[kinds[int(place[1])], int(place[2]), int(place[3])]:
            np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    left = reconstruction(search.child).item()
    with search.child.restricted(None):
        assert reconstruction(search.child).item() > left


@pytest.mark.parametrize("scale", [1, 10, 1e6])
def test_what_was_dropped_is_never_the_answer_however_far_apart_scores_lie(scale):
    """β_P has no bound, and a score may be any number."""
    rng = np.random.default_rng(0)
    search = CPSearch(config_of("cp"), DIGITS)
    search.scores = scale * rng.standard_normal(search.scores.shape)
    left = rng.integers(1, 8, search.active.shape[:2])  # none is dropped everywhere
    search.active = np.arange(8) == left[..., None]
    names = search.config.operation_names
    assert not (genotype_mask(search.genotype(), names) & ~search.active).any()
    search.active[0, 1] = np.arange(8) == 0  # into node 2, so that it is kept all the same
    genotype = genotype_mask(search.genotype(), names)
    assert genotype[0, 1].any() and not (genotype & ~search.active)[1].any()


def test_the_parent_of_cp_nas_teaches_as_it_was_trained_while_operations_are_dropped():
    """A drop changes the sums of its nodes, and until its next phase it learns nothing to make up for it."""
    search = CPSearch(config_of("cp", rounds=2, parent_epochs=1, child_epochs=2), DIGITS)
    counts, outputs = [], []
    for number in range(search.epochs):
        record = search.run_epoch(number, Silent())
        left = np.array(record["active"])[0, 0].sum()
        mask = search.parent.mixing[-1]
        counts.append((record["phase"], left, 8 if mask is None else mask[0, 0].sum()))
        with evaluating(search.parent), no_grad():
            outputs.append(search.parent(DIGITS.validation.images[:8]).data)
    phases, children, parents = zip(*counts)
    assert phases == ("parent", "child", "child") * 2 and children[0] == 8 and children[-1] == 1
    assert parents[:3] == (8, 8, 8) and parents[3:] == (children[2],) * 3 and children[2] < 8
    np.testing.assert_array_equal(outputs[0], outputs[2])
    np.testing.assert_array_equal(outputs[3], outputs[5])


def test_evaluation_leaves_out_supernets_of_which_candidates_were_dropped_since_they_learnt():
    """The running statistics of their batch norms are those of more candidates than are left."""
    search = CPSearch(config_of("cp"), DIGITS)
    assert search.networks() == {}
    labels = ["Parent (supernet)", "Child (supernet)"]
    assert list(Search(config_of("dcp"), DIGITS).networks()) == labels


def test_a_space_of_one_operation_leaves_nothing_to_drop():
    with pytest.raises(InputError, match="operations names skip_connect alone"):
        CPSearch(config_of("cp", operations="skip_connect"), DIGITS)


def test_dcp_without_lambda_and_eta_takes_the_steps_of_cp():
    """As long as CP-NAS has dropped nothing: weights, α, running statistics and optimisers, to the bit."""
    ours = Search(config_of("dcp", lam=0.0, eta=0.0, parent_epochs=2), DIGITS)
    theirs = CPSearch(config_of("cp", parent_epochs=2), DIGITS)
    for number in range(3):
        records = [search.run_epoch(number, Silent()) for search in (ours, theirs)]
        assert (
            records[0]["alpha"] == records[1]["alpha"] and records[0]["loss"] == records[1]["loss"]
        )
    first, second = ours.state(), theirs.state()
    for name in ("parent", "child", "phase"):
        assert_same_bits(part_of(first, name), part_of(second, name))
    other = Search(config_of("dcp", eta=0.0, lam=10.0, parent_epochs=2), DIGITS)
    for number in range(3):
        record = other.run_epoch(number, Silent())
    assert record["alpha"] != records[0]["alpha"]  # λ makes a difference


# Individuals


def test_an_individual_is_trained_as_a_network_of_its_own():
    """With the validation images held out, for its budget, from the seed of the search."""
    search = new_search(config_of("random"), DIGITS)
    records = run_all(search)
    for k in range(3):
        training = Training(search.train(k).config, DIGITS)
        assert training.config.hold_out and training.config.epochs == 2
        assert training.config.precision == "binary" and training.config.seed == 0
        figures = [training.run_epoch(number, Silent()) for number in range(2)]
        assert figures[-1]["validation_accuracy"] == search.accuracies[k]
        assert [f["loss"] for f in figures] == [r["loss"] for r in records[2 * k : 2 * k + 2]]
    best = int(np.argmax(search.accuracies))
    assert search.genotype() == search.individual(best)
    assert len({search.individual(k) for k in range(3)}) == 3


def test_the_answer_is_the_best_individual_that_has_ended():
    search = new_search(config_of("random"), DIGITS)
    found = [search.run_epoch(number, Silent())["genotype"] for number in range(search.epochs)]
    assert found[0] is None and found[1] is not None
    search.accuracies[:] = 0.2, 0.9, 0.9
    assert search.genotype() == search.individual(1)  # of equals, the first


def test_the_parent_is_the_best_of_a_tournament_among_the_youngest(monkeypatch):
    config = config_of("evolution", individuals=9, population=3, tournament=2)
    search, parents = EvolutionSearch(config, DIGITS), []
    monkeypatch.setattr(
        "bnas.search.evolution.mutate",
        lambda genotype, *a: parents.append(genotype) or mutate(genotype, *a),
    )
    scores = np.random.default_rng(0).random(9)
    scores[0] = 1.0  # the best of all dies of age
    rng = np.random.default_rng(1)
    for number in range(9):
        search.masks[number] = genotype_mask(search.propose(number, rng), config.operation_names)
        search.accuracies[number] = scores[number]
    drawn = [search.individual(k) for k in range(9)]
    assert len(parents) == 6
    for number, parent in enumerate(parents, start=3):
        living = drawn[number - 3 : number]
        assert parent in living
        worst = min(range(number - 3, number), key=lambda k: scores[k])
        assert parent != drawn[worst] or living.count(parent) > 1  # two are drawn, the better wins


def test_a_tournament_larger_than_the_population_is_refused():
    with pytest.raises(InputError, match="tournament draws 4 of a population of 3"):
        EvolutionSearch(config_of("evolution", tournament=4), DIGITS)
    with pytest.raises(InputError, match="individuals are 5, which a population of 5 takes up"):
        EvolutionSearch(config_of("evolution", population=5), DIGITS)


@given(st.integers(0, 10**6), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_mutation_changes_one_thing(seed, nodes):
    rng = np.random.default_rng(seed)
    names = SearchConfig().operation_names
    genotype = random_genotype(nodes, rng, names)
    mutant = mutate(genotype, rng, names)
    assert validate_genotype(mutant) == mutant and mutant != genotype
    genotype_mask(mutant, names)  # no edge twice
    changed = []
    for cell in ("normal", "reduce"):
        for node in range(nodes):
            old, new = (
                Counter(getattr(g, cell)[2 * node : 2 * node + 2]) for g in (genotype, mutant)
            )
            changed += list(zip((old - new).elements(), (new - old).elements(), strict=True))
    ((old_operation, old_input), (new_operation, new_input)) = changed[0]
    assert len(changed) == 1
    assert (old_operation == new_operation) != (old_input == new_input)


def test_mutations_are_of_both_kinds_and_both_cells():
    rng = np.random.default_rng(0)
    genotype = random_genotype(3, rng)
    seen = Counter()
    for _ in range(200):
        mutant = mutate(genotype, rng, SearchConfig().operation_names)
        cell = "normal" if mutant.normal != genotype.normal else "reduce"
        old, new = (Counter(i for _, i in getattr(g, cell)) for g in (genotype, mutant))
        seen[cell, old == new] += 1
    assert len(seen) == 4 and min(seen.values()) > 25


# Shared weights


def test_shared_weights_learn_on_one_path_a_step(monkeypatch):
    search = new_search(config_of("shared", supernet_epochs=1), DIGITS)
    before, paths, loss = search.supernet.state_dict(), [], PathPhase.weight_loss

    def spy(phase, images, labels):
        paths.append(phase.supernet.restriction.mask)
        return loss(phase, images, labels)

    monkeypatch.setattr(PathPhase, "weight_loss", spy)
    search.run_epoch(0, Silent())
    names = search.config.operation_names
    assert len(paths) == search.steps == len({mask_genotype(path, names) for path in paths})
    after, taken = search.supernet.state_dict(), np.any(paths, axis=0)
    np.testing.assert_array_equal(before["alpha"], after["alpha"])
    kinds = [int(cell.reduction) for cell in search.supernet.cells]
    moved = np.zeros_like(taken)
    for name in after:
        place = re.match(r"cells\.(\d+)\.edges\.(\d+)\.(\d+)\.", name)
        if place and not np.array_equal(before[name], after[name]):
            moved[kinds[int(place[1])], int(place[2]), int(place[3])] = True
    assert moved.any() and not (moved & ~taken).any()
    assert search.supernet.restriction is None


def test_the_best_of_the_drawn_paths_is_kept(monkeypatch):
    search = new_search(config_of("shared", supernet_epochs=1, samples=5), DIGITS)
    seen = []
    found = type(search).path_accuracy
    monkeypatch.setattr(
        search,
        "path_accuracy",
        lambda path: seen.append((found(search, path), path)) or seen[-1][0],
    )
    search.run_epoch(0, Silent())
    drawn = seen[-5:]
    assert len({path.tobytes() for _, path in drawn}) == 5
    best = max(accuracy for accuracy, _ in drawn)
    (chosen,) = [a for a, path in drawn if np.array_equal(path, search.best)]
    assert chosen == best


# Strategies of the user's own

MINE = '''
import numpy as np
from bnas.search.strategy import Strategy
from bnas.space import random_genotype

class Mine(Strategy):
    """The genotype whose name is shortest: nothing is trained."""
    epochs = 3

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.lengths = np.full(self.epochs, np.inf)
        self.found = None

    def search_epoch(self, number, rng, progress):
        drawn = random_genotype(self.config.nodes, np.random.default_rng(number))
        self.lengths[number] = len(str(drawn))
        progress.step("drawing", 0.0, 0.0)
        if self.found is None or self.lengths[number] == self.lengths.min():
            self.found = drawn
        return {"validation_accuracy": np.float32(0.5), "length": self.lengths[number]}

    def genotype(self):
        best = int(self.lengths.argmin())
        return random_genotype(self.config.nodes, np.random.default_rng(best))

    def state(self):
        return {"lengths": np.where(np.isfinite(self.lengths), self.lengths, -1)}

    def load_state(self, arrays, epochs_done):
        self.lengths = np.where(arrays["lengths"] < 0, np.inf, arrays["lengths"])

class NoStrategy:
    pass
'''


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    (tmp_path / "minestrategy.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "minestrategy", raising=False)
    return tmp_path


def test_a_strategy_of_ones_own_runs_and_resumes(own_file):
    options = ("--strategy", "minestrategy:Mine", "--limit", "96", "--nodes", "2")
    out = succeed("search", "run", *options)
    assert "Next: bnas train run" in out
    records = [json.loads(line) for line in Path("run/history.jsonl").read_text().splitlines()]
    assert [record["length"] for record in records] and records[-1]["phase"] == "search"
    assert records[-1]["alpha"] is None and records[-1]["gradient_steps"] == 0
    genotype = parse_genotype(Path("run/genotype.txt").read_text())
    assert genotype == parse_genotype(records[-1]["genotype"])
    succeed("search", "run", *options, "--resume")
    succeed(
        "search", "other", "--strategy", "minestrategy.py:Mine", "--limit", "96", "--nodes", "2"
    )
    assert parse_genotype(Path("other/genotype.txt").read_text()) == genotype


def test_the_strategy_of_the_docs_climbs(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (code,) = [block for block in blocks if "class HillClimber" in block]
    (tmp_path / "hill.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "hill", raising=False)
    settings = {**SIZE, "individuals": 4, "individual_epochs": 1}
    search = new_search(SearchConfig(strategy="hill:HillClimber", **settings), DIGITS)
    for number in range(search.epochs):
        best = search.genotype()
        search.run_epoch(number, Silent())
        if best is not None:
            drawn = search.individual(number)
            names = SearchConfig().operation_names
            different = genotype_mask(drawn, names) != genotype_mask(best, names)
            assert different.sum() == 2  # one operation or one predecessor


@pytest.mark.parametrize(
    "name, says",
    [
        ("nosuchmodule:Mine", "no module 'nosuchmodule'"),
        ("minestrategy:Yours", "no class 'Yours'"),
        ("minestrategy:NoStrategy", "no class 'NoStrategy' that is derived from"),
        ("minestrategy:", "no class ''"),
        (":Mine", "no module ''"),
        ("./minestrategy:Mine", "no module './minestrategy'"),
        ("minestrategy.more:Mine", "no module 'minestrategy.more'"),
        ("bnas.nosuchmodule:Mine", "no module 'bnas.nosuchmodule'"),
        ("mine", "must be one of dcp, cp, bnas"),
    ],
)
def test_what_is_no_strategy_is_refused(own_file, name, says):
    fail("search", "run", "--strategy", name, says=re.escape("--strategy") + ".*" + says)


@pytest.mark.parametrize(
    "code, error, says",
    [
        ("import nosuchpackage", ModuleNotFoundError, "nosuchpackage"),
        ("int('seven')", ValueError, "seven"),
        ("len(7)", TypeError, "has no len"),
    ],
)
def test_an_error_in_a_users_module_is_shown_as_it_is(own_file, code, error, says):
    (own_file / "brokenstrategy.py").write_text(code + "\n")
    with pytest.raises(error, match=says):
        strategy_named("brokenstrategy:Mine")


@pytest.mark.parametrize(
    "figure, says",
    [
        ("'epoch': 7", "gave a figure 'epoch', which is recorded anyway"),
        ("'seconds': 7.0", "gave a figure 'seconds', which is recorded anyway"),
        ("'phase': 'mine'", "gave the phase 'mine'; the figures know parent, child"),
    ],
)
def test_figures_that_no_history_holds_are_refused_in_the_first_epoch(own_file, figure, says):
    code = MINE.replace('"validation_accuracy": np.float32(0.5)', figure)
    assert figure in code
    (own_file / "minestrategy.py").write_text(code)
    options = ("--strategy", "minestrategy:Mine", "--limit", "96", "--nodes", "2")
    status, _, err = bnas("search", "run", *options)
    assert status == 2 and f"\nbnas: search_epoch of minestrategy:Mine {says}" in err
    assert not Path("run/checkpoint.npz").exists()


def test_all_phases_can_be_drawn():
    assert tuple(plots.epochs.PHASES) == PHASES


def test_a_strategy_that_ends_without_an_answer_is_named(own_file):
    code = MINE + "\n\nclass Silent(Mine):\n    def genotype(self):\n        return None\n"
    (own_file / "minestrategy.py").write_text(code)
    options = ("--strategy", "minestrategy:Silent", "--limit", "96", "--nodes", "2")
    status, _, err = bnas("search", "run", *options)
    assert status == 2
    assert "\nbnas: minestrategy:Silent has ended without a genotype: its method" in err


# On the command line


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_on_the_command_line(tmp_path, strategy):
    run = tmp_path / "run"
    sizes = [
        f"--{name.replace('_', '-')}={value}" for name, value in {**SIZE, **OWN[strategy]}.items()
    ]
    out = succeed("search", run, "--strategy", strategy, *sizes)
    assert "Next: bnas train" in out and (run / "genotype.txt").exists()
    assert (run / "figures" / "operations.png").exists()
    succeed("train", run, "--quick", "--epochs", "1", "--limit", "96")
    out = succeed("evaluate", run)
    labels = {"dcp": "Parent (supernet)", "bnas": "1-bit supernet", "darts": "Real supernet"}
    assert labels.get(strategy, "Found 1-bit network") in out
    records = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    results = load_run(run)
    assert results.genotype == parse_genotype(records[-1]["genotype"])
    assert set(results.history) == set().union(*records)
    assert results.history["loss"].tolist() == [record["loss"] for record in records]


def test_a_setting_of_another_strategy_is_refused(tmp_path):
    status, out, err = bnas("search", tmp_path / "run", "--strategy", "random", "--lambda", "0.1")
    assert status == 2 and "--lambda means nothing to the strategy random" in err
