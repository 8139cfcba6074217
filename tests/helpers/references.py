"""Steps of a small search, ours and those of a reference in another framework, to be compared."""

from dataclasses import replace

import numpy as np

from bnas.config import SearchConfig
from bnas.search.dcp import Search
from bnas.search.tangent import tangent_direction

from .jobs import DIGITS

# Small, with every part of a step large enough to be seen: D, clipping, backtracking.
TINY = SearchConfig(
    limit=96,
    channels=4,
    layers=3,
    nodes=2,
    batch_size=8,
    lam=1.0,
    clip=0.2,
    eta=0.1,
    psi_lr=5e4,
    weight_decay=0.01,
    alpha_weight_decay=0.1,
)


def batch_of(dtype, seed, size=TINY.batch_size):
    rng = np.random.default_rng(seed)
    shape = (size, *DIGITS.image_shape)
    return rng.standard_normal(shape).astype(dtype), rng.integers(0, 10, size)


TAUS = 3.0, 6.0  # the first tells skip from pooling, the second the convolutions apart


def search_of(dtype, **settings):
    """A search before its first Child phase."""
    search = Search(replace(TINY, **settings), DIGITS)
    for network in (search.parent, search.child):
        network.astype(dtype)
    search.t = tangent_direction(search.parent, [batch_of(dtype, 99)])
    search.inherit()
    return search


def our_step(phase, train_batch, validation_batch):
    """One step of a phase, as Phase.run_epoch takes it; its figures and its gradient for α."""
    seen, step = {}, phase.decoupled.step

    def watched(gradient):
        seen["alpha_gradient"] = gradient
        step(gradient)

    phase.decoupled.step = watched
    phase.supernet.train()
    figures = phase.alpha_step(*validation_batch)
    figures |= phase.weight_step(*train_batch)
    phase.decoupled.step = step
    return figures | seen


def assert_close(theirs, ours, tolerance, name):
    """Close relative to the largest entry of ours."""
    ours = np.asarray(ours)
    limit = tolerance * max(np.abs(ours).max(), 1e-12)
    np.testing.assert_allclose(np.asarray(theirs), ours, rtol=0, atol=limit, err_msg=name)
