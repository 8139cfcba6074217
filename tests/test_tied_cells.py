"""One cell for both kinds: normal and reduction cells share their α and their genotype."""

import numpy as np
import pytest
from helpers.jobs import DIGITS, assert_same_outcome, finish, finish_with_interruptions
from hypothesis import given, settings
from hypothesis import strategies as st

from bnas import fused, nn
from bnas.autodiff import grad
from bnas.config import STRATEGIES, SearchConfig
from bnas.runs.jobs import Silent
from bnas.search.decoupled import weight_norms
from bnas.search.evolution import mutate
from bnas.search.objectives import nas_loss
from bnas.search.strategies import new_search
from bnas.space import BINARY, REAL, Supernet, parse_genotype, random_genotype

SIZE = {"limit": 64, "channels": 2, "layers": 3, "nodes": 2, "batch_size": 32, "tied_cells": True}
SHORT = {"rounds": 1, "parent_epochs": 1, "child_epochs": 2}
OWN = {
    "dcp": {**SHORT, "selection": "perturbation"},
    "cp": SHORT,
    "bnas": {"supernet_epochs": 2},
    "darts": {"supernet_epochs": 2, "order": 2},
    "shared": {"supernet_epochs": 2, "samples": 3},
    "random": {"individuals": 2, "individual_epochs": 1},
    "evolution": {"individuals": 5, "individual_epochs": 1, "population": 2, "tournament": 2},
}


def config_of(strategy):
    return SearchConfig(strategy=strategy, **SIZE, **OWN[strategy])


def supernets(precision, compiled=False):
    """A tied supernet, and an untied one of the same weights and twice the same α."""
    tied, free = (
        Supernet(1, 10, 2, 3, 2, precision, np.random.default_rng(0), tied=tied)
        for tied in (True, False)
    )
    free.inherit_weights(tied)
    free.alpha.data = np.repeat(tied.alpha.data, 2, axis=0)
    return [fused.compile(supernet) if compiled else supernet for supernet in (tied, free)]


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("precision", [REAL, BINARY], ids=["real", "binary"])
def test_the_gradient_is_the_sum_of_both_kinds(precision, compiled):
    tied, free = supernets(precision, compiled)
    assert tied.alpha.shape == (1, 5, 8)
    images, labels = DIGITS.train.images[:16], DIGITS.train.labels[:16]
    losses = [nas_loss(supernet(images), labels) for supernet in (tied, free)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    (one,), (two,) = (grad(loss, [supernet.alpha]) for loss, supernet in zip(losses, (tied, free)))
    np.testing.assert_allclose(one[0], two.sum(axis=0), rtol=1e-4, atol=1e-7)
    assert (np.abs(two).sum(axis=(1, 2)) > 0).all()  # both kinds have a part in it


def test_norms_are_the_mean_over_all_cells():
    tied, free = supernets(REAL)
    kinds = np.array([cell.reduction for cell in tied.cells])
    by_kind = weight_norms(free)
    mean = (by_kind[0] * (~kinds).sum() + by_kind[1] * kinds.sum()) / len(kinds)
    np.testing.assert_allclose(weight_norms(tied)[0], mean, rtol=1e-6)


def test_what_is_left_out_is_left_out_of_both_kinds():
    tied, free = supernets(REAL)
    mask = np.zeros((1, 5, 8), bool)
    mask[..., [1, 4]] = True
    images = DIGITS.train.images[:8]
    with tied.restricted(mask), free.restricted(np.repeat(mask, 2, axis=0)):
        assert len(tied.active_modules()) == len(free.active_modules())
        assert len(tied.active_modules()) < len(tied.modules())
        with nn.evaluating(tied), nn.evaluating(free):
            np.testing.assert_array_equal(tied(images).data, free(images).data)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_finds_one_cell(strategy):
    search = new_search(config_of(strategy), DIGITS)
    for number in range(search.epochs):
        record = search.run_epoch(number, Silent())
        if record["genotype"] is not None:
            genotype = parse_genotype(record["genotype"])
            assert genotype.normal == genotype.reduce
    assert search.genotype().normal == search.genotype().reduce


def test_a_run_resumes_and_its_history_has_both_kinds(tmp_path):
    def new():
        return new_search(config_of("dcp"), DIGITS)

    history, checkpoint = finish(new(), tmp_path / "whole")
    parts = finish_with_interruptions(new, tmp_path / "parts", new().epochs)
    assert_same_outcome((history, checkpoint), parts)
    alpha = np.array([record["alpha"] for record in history])
    assert alpha.shape == (3, 2, 5, 8)
    np.testing.assert_array_equal(alpha[:, 0], alpha[:, 1])


@given(seed=st.integers(0, 1000), nodes=st.integers(1, 4))
@settings(max_examples=40)
def test_a_tied_genotype_is_drawn_as_its_normal_cell_and_stays_tied(seed, nodes):
    operations = ("skip_connect", "max_pool_3x3", "sep_conv_3x3")
    tied, free = (
        random_genotype(nodes, np.random.default_rng(seed), operations, tied=tied)
        for tied in (True, False)
    )
    assert tied.normal == tied.reduce == free.normal
    changed = mutate(tied, np.random.default_rng(seed), operations, tied=True)
    assert changed.normal == changed.reduce != tied.normal
