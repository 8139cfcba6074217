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
from helpers.references import TAUS, TINY, assert_close, batch_of, our_step, search_of

from bnas import nn
from bnas.errors import InputError
from bnas.search.dcp import Search

torch = pytest.importorskip("torch")
from bnas.bench import torch_reference  # noqa: E402

pytestmark = pytest.mark.slow

TOLERANCE = {np.float64: 1e-8, np.float32: 1e-4}
# In float32 a ReLU whose input is a rounding error may be open on one side only. That changes one
# of many terms of a weight's gradient (seen: 4e-3 of it), so weights get room and one step.
STATE_TOLERANCE = {np.float64: 1e-8, np.float32: 1e-2}
STEPS = {np.float64: 3, np.float32: 1}
TIE = {np.float64: 1e-12, np.float32: 1e-5}  # above the rounding errors of a batch norm
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


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


def test_without_an_eta_it_is_the_product_of_the_learning_rates():
    search = search_of(np.float64, eta=None, eta_factor=20.0, tau=TAUS[1])
    reference = torch_reference.TorchSearch(search)
    phase = search.train_parent(1)
    assert_same_steps(phase, reference.parent_step, reference.parent.supernet, np.float64)


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
