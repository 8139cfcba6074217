"""The PyTorch reference takes the same search steps as we do, from the same weights.

The Child needs care. An XNOR convolution gives integers times β; where one of them is the mean of its
channel, PyTorch's batch norm leaves ± a rounding error, of which the next 1-bit convolution takes the
sign. That happens in most networks, and the sign is a matter of the order of summation. Ours leaves an
exact 0 there, so these tests let PyTorch see 0 too (`ties_to_zero`).
"""

from dataclasses import replace

import numpy as np
import pytest
from helpers.jobs import DIGITS

from bnas import nn
from bnas.config import SearchConfig
from bnas.errors import InputError
from bnas.search.dcp import Search
from bnas.search.tangent import tangent_direction

torch = pytest.importorskip("torch")
from bnas.bench import torch_reference  # noqa: E402

pytestmark = pytest.mark.slow

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
TOLERANCE = {np.float64: 1e-8, np.float32: 1e-4}
# In float32 a ReLU whose input is a rounding error may be open on one side only. That changes one
# of many terms of a weight's gradient (seen: 4e-3 of it), so weights get room and one step.
STATE_TOLERANCE = {np.float64: 1e-8, np.float32: 1e-2}
STEPS = {np.float64: 3, np.float32: 1}
TIE = {np.float64: 1e-12, np.float32: 1e-5}  # above the rounding errors of a batch norm
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


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


def ties_to_zero(network, dtype):
    """Let the 1-bit depthwise convolutions of a PyTorch network that read a norm of integers times β read 0
    for what is no larger than TIE[dtype]. The others read what has no ties."""

    def patched(forward):
        def forward_without_ties(x):
            x.data[abs(x.data) <= TIE[dtype]] = 0  # the data alone: the gradient passes as ever
            return forward(x)

        return forward_without_ties

    for name, module in network.named_modules():
        if name.endswith("second.depthwise"):
            module.forward = patched(module.forward)


def assert_close(theirs, ours, tolerance, name):
    """Close relative to the largest entry of ours."""
    ours = np.asarray(ours)
    limit = tolerance * max(np.abs(ours).max(), 1e-12)
    np.testing.assert_allclose(np.asarray(theirs), ours, rtol=0, atol=limit, err_msg=name)


def assert_same_steps(phase, their_step, their_supernet, dtype):
    """Steps on both sides: figures, gradients for α, and all weights and statistics after them."""
    for step in range(STEPS[dtype]):
        size = phase.config.batch_size
        train_batch, validation_batch = (batch_of(dtype, s, size) for s in (step, 50 + step))
        ours = our_step(phase, train_batch, validation_batch)
        theirs = their_step(train_batch, validation_batch)
        assert theirs.keys() == ours.keys()
        for name, figure in ours.items():
            assert_close(theirs[name], figure, TOLERANCE[dtype], f"{name} in step {step}")
        state = their_supernet.state_dict()
        for name, array in phase.supernet.state_dict().items():
            if "running_mean" in name:  # of what is centred already it is a rounding error
                array, state[name] = array + dtype(1), state[name] + 1
            assert_close(state[name], array, STATE_TOLERANCE[dtype], f"{name} after step {step}")


# Blocks are of 16 images in float32, of 8 in float64: batches fill a half, all, or all but some.
agreements = pytest.mark.parametrize(
    "dtype, memory_format, settings",
    [
        pytest.param(dtype, memory_format, settings, id=f"{dtype.__name__}-{memory_format}-{name}")
        for dtype in TOLERANCE
        for memory_format, name, settings in (
            *((f, f"tau {tau:g}", {"tau": tau}) for f in FORMATS for tau in TAUS),
            ("NCHW", "full blocks", {"tau": TAUS[0], "batch_size": 32}),
            ("NCHW", "ragged blocks", {"tau": TAUS[1], "batch_size": 19}),
            ("NCHW", "plain", {"tau": TAUS[0], "engine": "plain"}),
        )
    ],
)


@agreements
def test_the_parent_takes_the_same_steps(dtype, memory_format, settings):
    search = search_of(dtype, **settings)
    reference = torch_reference.TorchSearch(search, FORMATS[memory_format])
    phase = search.train_parent(1)
    assert_same_steps(phase, reference.parent_step, reference.parent.supernet, dtype)


@agreements
def test_the_child_takes_the_same_steps(dtype, memory_format, settings):
    search = search_of(dtype, **settings)
    reference = torch_reference.TorchSearch(search, FORMATS[memory_format])
    ties_to_zero(reference.child.supernet, dtype)
    phase = search.train_child(1)
    assert_same_steps(phase, reference.child_step, reference.child.supernet, dtype)


def read_by_1bit_convolutions(monkeypatch, layer_class):
    """A list that fills with the arrays that 1-bit convolutions read, call by call."""
    forward, log = layer_class.forward, []

    def logged(self, x):
        log.append(x.data if layer_class is nn.XnorConv2d else x.detach().numpy())
        return forward(self, x)

    monkeypatch.setattr(layer_class, "forward", logged)
    return log


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_without_help_signs_differ_in_ties_alone(dtype, monkeypatch):
    """What `ties_to_zero` hides is no more than it says: the first signs to differ are those of
    rounding errors. What comes later differs for their sake."""
    ours = read_by_1bit_convolutions(monkeypatch, nn.XnorConv2d)
    theirs = read_by_1bit_convolutions(monkeypatch, torch_reference.TorchXnorConv2d)
    search = search_of(dtype, engine="plain")
    reference = torch_reference.TorchSearch(search)
    images, _ = batch_of(dtype, 0)
    search.child(images)
    reference.child.supernet(torch.tensor(images))
    assert len(ours) == len(theirs) > 50
    for mine, other in zip(ours, theirs):
        assert_close(other, mine, TOLERANCE[dtype], "input of a 1-bit convolution")
        differ = (mine > 0) != (other > 0)
        if differ.any():
            assert np.abs(mine[differ]).max() < TIE[dtype]
            break


@pytest.mark.parametrize(
    "option, value",
    [("surrogate", "tanh"), ("beta", "learned"), ("distance", "l1"), ("curvature", "hvp")],
)
def test_a_search_that_the_reference_does_not_cover_is_refused(option, value):
    search = Search(replace(TINY, **{option: value}), DIGITS)
    with pytest.raises(InputError, match=f"{option}=.* only, not '{value}'"):
        torch_reference.TorchSearch(search)
