"""A compiled network computes what the plain one does: logits, all gradients, running statistics.

Over random sizes, batches, search spaces and genotypes, in float64 to rounding. 1-bit networks need no special
care: where an integer is the mean of its channel (a tie), both give the same sign.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bnas.functional as F
from bnas import fused, nn
from bnas.autodiff import Tensor, no_grad
from bnas.fused import compile as compiler
from bnas.space import (
    BINARY,
    OPERATIONS,
    PRIMITIVES,
    PUBLISHED,
    REAL,
    Genotype,
    Network,
    Operation,
    Precision,
    Supernet,
    register_operation,
)
from bnas.space.operations import Pool, Separable
from bnas.space.supernet import MixedCell

few = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**32 - 1)
PRECISIONS = {
    "real": REAL,
    "clip": BINARY,
    "polynomial": Precision(True, "polynomial"),
    "identity": Precision(True, "identity"),
    "tanh": Precision(True, "tanh"),
    "learned": Precision(True, beta="learned"),
}


def normal(seed, *shape, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class SwishConv(Operation):
    """An operation that nobody but this test knows."""

    def __init__(self, channels, stride, precision, affine, rng):
        self.conv = precision.conv(channels, channels, 3, stride=stride, padding=1, rng=rng)
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x):
        return F.tanh(self.bn(self.conv(x)))


@pytest.fixture(autouse=True, scope="module")
def own_operation():
    register_operation("swish_conv", SwishConv)
    yield
    del OPERATIONS["swish_conv"]


def passes(net, model, x, labels, alpha=None):
    """Logits, gradients and statistics of one pass of `model`, forward and backward."""
    logits = model(x) if alpha is None else model(x, alpha)
    F.cross_entropy(logits, labels).backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    if alpha is not None:
        gradients["alpha of each sample"] = alpha.grad
    state = {f"state {name}": array for name, array in net.state_dict().items()}
    return {"logits": logits.data, **gradients, **state}


def assert_same(ours, theirs, least):
    """Close relative to the largest entry, or to `least` where all are smaller."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        limit = 1e-8 * max(np.abs(expected).max(), least)
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=limit, err_msg=name)


search_spaces = st.one_of(
    st.just(PRIMITIVES),
    st.lists(
        st.sampled_from([*OPERATIONS, "swish_conv"]), min_size=1, max_size=5, unique=True
    ).filter(lambda names: names != ["none"]),
)


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
@few
@given(
    search_spaces, st.integers(2, 19), st.integers(4, 8), st.integers(2, 4), st.integers(1, 3),
    st.integers(2, 4), st.booleans(), st.booleans(), seeds,
)  # fmt: skip
def test_a_compiled_supernet_is_the_plain_one(
    precision, operations, batch, size, channels, nodes, layers, training, per_sample, seed
):
    x, labels = normal(seed, batch, 1, size, size), np.random.default_rng(seed).integers(0, 3, batch)
    results = []
    for make in (lambda net: net, fused.compile):
        rng = np.random.default_rng(seed)
        net = Supernet(1, 3, channels, layers, nodes, precision, rng, operations)
        model = make(net.astype(np.float64))
        alpha = None
        if per_sample:
            alpha = Tensor(normal(seed, batch, *net.alpha.shape), requires_grad=True)
        with no_grad():
            model(x)  # moves the running statistics
        results.append(passes(net, model.train(training), x, labels, alpha))
    assert_same(results[1], results[0], 1e-6)


@st.composite
def genotypes(draw):
    """Random genotypes of 1 or 2 nodes, of all operations but one of the poolings.

    1-bit operations give few values: means of the same ones in another order differ by rounding, and which
    of them is the maximum would be left to chance.
    """
    left_out = "none", draw(st.sampled_from(["max_pool_3x3", "avg_pool_3x3"]))
    names = [name for name in [*OPERATIONS, "swish_conv"] if name not in left_out]
    nodes = draw(st.integers(1, 2))

    def cell():
        return tuple(
            (draw(st.sampled_from(names)), predecessor)
            for node in range(nodes)
            for predecessor in draw(st.permutations(range(node + 2)))[:2]
        )

    concat = tuple(range(2, nodes + 2))
    return Genotype(cell(), concat, cell(), concat)


@pytest.mark.parametrize("binary_weights", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
@settings(max_examples=6, deadline=None)
@given(
    genotypes(), st.integers(2, 19), st.integers(4, 8), st.integers(1, 4), st.integers(1, 4),
    st.sampled_from([0, 0.3]), seeds,
)  # fmt: skip
def test_a_compiled_network_is_the_plain_one(
    precision, binary_weights, genotype, batch, size, channels, layers, drop_path, seed
):
    """With any γ and β."""
    x, labels = normal(seed, batch, 1, size, size), np.random.default_rng(seed).integers(0, 3, batch)
    results = []
    for make in (lambda net: net, fused.compile):
        rng = np.random.default_rng(seed)
        net = Network(genotype, 1, 3, 2 * channels, layers, precision, rng, drop_path)
        net.astype(np.float64)
        net.binarise_weights(binary_weights)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data, module.bias.data = rng.standard_normal((2, len(module.bias.data)))
        results.append(passes(net, make(net), x, labels))
    assert_same(results[1], results[0], 1e-3)  # two values a channel leave rounding errors alone
