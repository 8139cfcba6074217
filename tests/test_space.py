"""The search space: candidates in both precisions, mixed cells, the supernet (Eqs. 4.27, 4.28)."""

import numpy as np
import pytest
from helpers.arrays import images, rng
from hypothesis import given, settings
from hypothesis import strategies as st

import bnas.functional as F
from bnas import fused, gradcheck, nn
from bnas.autodiff import Tensor, grad, no_grad
from bnas.space import OPERATIONS, PRIMITIVES, edges
from bnas.space.operations import BINARY, REAL, FactorizedReduce, Precision, Skip, make_operation
from bnas.space.skeleton import reduction_layers
from bnas.space.supernet import MixedCell, Supernet

PRECISIONS = {"real": REAL, "binary": BINARY, "learned": Precision(True, "polynomial", "learned")}
CONVOLUTIONS = (nn.Conv2d, nn.XnorConv2d)
both = pytest.mark.parametrize("precision", [REAL, BINARY], ids=["real", "binary"])


def supernet(precision=REAL, *, in_channels=1, classes=3, channels=2, layers=3, nodes=2, seed=0):
    return Supernet(in_channels, classes, channels, layers, nodes, precision, rng(seed))


def spread_alpha(net, seed=2):
    """Give α entries of size 1, so that no operation's weight is like another's."""
    net.alpha.data = rng(seed).standard_normal(net.alpha.shape).astype(net.alpha.dtype)
    return net


# Candidates


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_candidate_keeps_the_channels_and_halves_the_image_rounding_up(name, stride, precision):
    # Every reduction doubles the channels, so a stride of 2 never meets a single one.
    for channels in (stride, 5):
        candidate = make_operation(name, channels, stride, precision, True, rng())
        for height, width in ((8, 8), (7, 7), (5, 6), (1, 1)):
            y = candidate(Tensor(images(2, channels, height, width)))
            assert y.shape == (2, channels, -(-height // stride), -(-width // stride))
            assert y.dtype == np.float32 and np.isfinite(y.data).all()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_real_and_binary_candidates_have_the_same_state(name, stride):
    real, binary = (
        make_operation(name, 3, stride, precision, True, rng()).state_dict()
        for precision in (REAL, BINARY)
    )
    assert list(real) == list(binary)
    for key in real:
        np.testing.assert_array_equal(real[key], binary[key])  # the same rng, the same weights


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_candidate_takes_an_array_as_it_takes_a_tensor(name, stride):
    x = rng().standard_normal((2, 4, 6, 6)).astype(np.float32)
    operation = make_operation(name, 4, stride, REAL, True, rng())
    with no_grad():
        of_array, of_tensor = np.asarray(operation(x)), np.asarray(operation(Tensor(x)))
    assert of_array.shape == (2, 4, 6 // stride, 6 // stride)
    np.testing.assert_array_equal(of_array, of_tensor)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_candidate_is_the_operation_of_its_name(name):
    """Kernel sizes, dilations and strides of its convolutions, in DARTS's definition."""
    convolutions = [
        module
        for module in make_operation(name, 2, 2, BINARY, False, rng()).modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    assert all(isinstance(module, nn.XnorConv2d) for module in convolutions)
    found = [(m.weight.shape[2:], m.window.dilation, m.window.stride) for m in convolutions]
    k = int(name[-1]) if name[-1].isdigit() else None
    one, two = (1, 1), (2, 2)
    pointwise = one, one, one
    if name.startswith("sep_conv"):
        assert found == [((k, k), one, two), pointwise, ((k, k), one, one), pointwise]
    elif name.startswith("dil_conv"):
        assert found == [((k, k), two, two), pointwise]
    elif name == "conv_7x1_1x7":
        assert found == [((1, 7), one, (1, 2)), ((7, 1), one, (2, 1))]
    else:
        assert found == ([(one, one, two)] * 2 if name == "skip_connect" else [])


@pytest.mark.parametrize("name", [name for name in OPERATIONS if "conv" in name] + ["skip_connect"])
def test_real_candidates_begin_with_relu_and_1_bit_ones_with_sign(name):
    x = images(2, 2, 6, 6)
    real, binary = (
        make_operation(name, 2, 2, precision, False, rng()).eval() for precision in (REAL, BINARY)
    )
    np.testing.assert_array_equal(real(Tensor(-abs(x))).data, real(Tensor(0 * x)).data)
    assert not np.allclose(real(Tensor(3 * x)).data, real(Tensor(x)).data)
    np.testing.assert_array_equal(binary(Tensor(3 * x)).data, binary(Tensor(x)).data)
    assert not np.allclose(binary(Tensor(-x)).data, binary(Tensor(x)).data)


def test_none_is_zero_skip_is_the_input_and_pooling_is_normalised_pooling():
    x = Tensor(images(3, 2, 5, 5))
    assert not make_operation("none", 2, 1, REAL, False, rng())(x).data.any()
    assert make_operation("skip_connect", 2, 1, REAL, False, rng())(x) is x
    for name, pooled in (
        ("max_pool_3x3", F.max_pool2d(x, 3, 1, 1)),
        ("avg_pool_3x3", F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)),
    ):
        mean = pooled.data.mean(axis=(0, 2, 3), keepdims=True)
        std = np.sqrt(pooled.data.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
        y = make_operation(name, 2, 1, BINARY, False, rng())(x).data
        np.testing.assert_allclose(y, (pooled.data - mean) / std, atol=1e-5)


def test_factorized_reduce_sees_even_and_odd_pixels():
    """Its first half must depend on pixel (0, 0) alone, its second on (1, 1) alone."""
    reduce = FactorizedReduce(1, 2, REAL, False, rng()).eval()
    for pixel, changed in (((0, 0), [True, False]), ((1, 1), [False, True])):
        x = np.ones((1, 1, 4, 4), np.float32)
        before = reduce(Tensor(x)).data
        x[0, 0][pixel] = 5
        difference = reduce(Tensor(x)).data != before
        assert difference[0, :, 0, 0].tolist() == changed


def test_an_unknown_operation_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown operation 'conv_9x9'.*none, skip_connect"):
        make_operation("conv_9x9", 2, 1, REAL, False, rng())


# The supernet


@both
@settings(deadline=None, max_examples=8)
@given(
    nodes=st.integers(1, 4),
    layers=st.integers(1, 4),
    channels=st.integers(1, 3),
    size=st.integers(1, 9),
)
def test_a_supernet_of_any_size_gives_gradients(precision, nodes, layers, channels, size):
    net = supernet(precision, in_channels=3, channels=channels, layers=layers, nodes=nodes)
    assert net.alpha.shape == (2, len(edges(nodes)), len(PRIMITIVES))
    logits = net(images(2, 3, size, size))
    assert logits.shape == (2, 3)
    F.cross_entropy(logits, np.array([0, 2])).backward()
    for parameter in net.parameters():
        assert parameter.grad is not None and np.isfinite(parameter.grad).all()


@pytest.mark.parametrize(
    "layers, reductions",
    [(1, {0}), (2, {0, 1}), (3, {1, 2}), (4, {1, 2}), (8, {2, 5}), (20, {6, 13})],
)
def test_reductions_stand_at_one_and_two_thirds(layers, reductions):
    assert reduction_layers(layers) == reductions
    if layers <= 8:
        net = supernet(layers=layers, nodes=1)
        assert {i for i, cell in enumerate(net.cells) if cell.reduction} == reductions


@both
def test_in_the_child_the_candidates_alone_are_1_bit(precision):
    net = supernet(precision, layers=4)
    found = {True: set(), False: set()}
    for name, module in net.named_modules():
        if isinstance(module, CONVOLUTIONS):
            found[".edges." in name].add(type(module))
    assert found[False] == {nn.Conv2d}
    assert found[True] == {nn.Conv2d if precision is REAL else nn.XnorConv2d}
    assert type(net.classifier) is nn.Linear


def test_parent_and_child_have_the_same_state():
    parent, child = supernet(REAL).state_dict(), supernet(BINARY).state_dict()
    assert list(parent) == list(child)
    assert all(parent[name].shape == child[name].shape for name in parent)


@both
@pytest.mark.parametrize("reduction", [False, True])
def test_a_mixed_cell_is_the_sum_it_is_documented_to_be(precision, reduction):
    """Eqs. 4.27, 4.28, written out by hand from the cell's own candidates, "none" included."""
    cell = MixedCell((3, 5), 2, reduction, False, 2, precision, rng())
    older, newer = Tensor(images(2, 3, 6, 6)), Tensor(images(2, 5, 6, 6))
    logits = rng(3).standard_normal((5, 8)).astype(np.float32)
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    states = [cell.input0(older).data, cell.input1(newer).data]
    for j, first in ((2, 0), (3, 2)):
        arriving = [
            weights[first + i, m] * cell.edges[first + i][m](Tensor(states[i])).data
            for i in range(j)
            for m in range(8)
        ]
        states.append(sum(arriving))
    expected = np.concatenate(states[2:], axis=1)

    y = cell(older, newer, Tensor(weights)).data
    assert y.shape == ((2, 4, 3, 3) if reduction else (2, 4, 6, 6))
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_normal_and_reduction_cells_read_their_own_alpha():
    for kind, layers in ((0, 3), (1, 2)):  # of 3 cells one is normal; of 2 both are reductions
        net = supernet(layers=layers).astype(np.float64)
        logits = net(images(2, 1, 8, 8, dtype=np.float64))
        (gradient,) = grad(F.cross_entropy(logits, np.array([0, 1])), [net.alpha])
        assert gradient[kind].any()
        if layers == 2:
            assert not gradient[0].any()


def shift(candidate):
    """Let a candidate, called by itself, give 1 more; returns what undoes that."""
    forward = candidate.forward
    candidate.forward = lambda x: forward(x) + 1.0
    return lambda: delattr(candidate, "forward")


def shift_norm(candidate):
    """The same by the running mean of its last norm, which all ways to compute it read."""
    mean = [module for module in candidate.modules() if isinstance(module, nn.BatchNorm2d)][
        -1
    ].running_mean
    before = mean.copy()
    mean -= 1.0

    def undo():
        mean[...] = before

    return undo


@pytest.mark.slow
@both
@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("m", range(1, 8), ids=PRIMITIVES[1:])
def test_an_operation_without_weight_has_no_influence(precision, m, compiled):
    net = spread_alpha(supernet(precision)).eval()
    model = fused.compile(net) if compiled else net
    x = images(2, 1, 8, 8)
    candidates = [edge[m] for cell in net.cells for edge in cell.edges]
    if compiled:  # the identity has no norm, and nothing else to change
        candidates = [c for c in candidates if not isinstance(c, Skip)]

    def influence():
        before = model(x).data
        undo = [(shift_norm if compiled else shift)(candidate) for candidate in candidates]
        after = model(x).data
        for call in undo:
            call()
        return np.abs(after - before).max()

    assert influence() > 1e-3
    net.alpha.data[..., m] = -200  # its softmax underflows to an exact zero
    assert influence() == 0


@both
def test_equal_copies_of_alpha_for_every_sample_change_nothing(precision):
    net = spread_alpha(supernet(precision))
    x = images(5, 1, 8, 8)
    copies = Tensor(np.repeat(net.alpha.data[None], 5, axis=0))
    np.testing.assert_array_equal(net(x, copies).data, net(x).data)
    other = Tensor(copies.data[:, :, :, ::-1].copy())
    assert not np.allclose(net(x, other).data, net(x).data)


def test_the_alpha_of_a_sample_acts_on_that_sample_alone():
    """In evaluation mode, where batch norm does not couple the samples."""
    net = spread_alpha(supernet()).eval()
    x, copies = images(3, 1, 8, 8), np.repeat(net.alpha.data[None], 3, axis=0)
    copies[1] = -copies[1]
    changed = (net(x, Tensor(copies)).data != net(x).data).any(axis=1)
    assert changed.tolist() == [False, True, False]


@pytest.mark.slow
def test_the_gradients_of_the_supernet_match_finite_differences(monkeypatch):
    """Of every Parameter, α too, in training mode and float64; tanh for ReLU, which has kinks."""
    monkeypatch.setattr(F, "relu", F.tanh)
    monkeypatch.setattr(gradcheck, "SMALL_JACOBIAN", 0)  # random projections, to save time
    net = spread_alpha(supernet(nodes=1).astype(np.float64))
    gradcheck.check_gradients(net, images(4, 1, 5, 5, dtype=np.float64), rng())


def test_inheriting_copies_weights_and_buffers_but_not_alpha():
    parent, child = supernet(REAL, seed=0), supernet(BINARY, seed=1)
    parent(images(4, 1, 8, 8))  # moves the running statistics
    alpha = child.alpha.data.copy()
    child.inherit_weights(parent)
    given, taken = parent.state_dict(), child.state_dict()
    for name in given.keys() - {"alpha"}:
        np.testing.assert_array_equal(taken[name], given[name])
        assert not np.shares_memory(taken[name], given[name])
    np.testing.assert_array_equal(child.alpha.data, alpha)
    child.weight_parameters()[0].data[...] = 7
    assert not (parent.weight_parameters()[0].data == 7).any()


def test_inheriting_resets_a_learned_beta_to_its_closed_form():
    parent = supernet(REAL, seed=0)
    child = supernet(Precision(True, beta="learned"), seed=1)
    layers = [m for m in child.modules() if isinstance(m, nn.XnorConv2d)]
    for layer in layers:
        layer.beta.data = layer.beta.data + 3
    child.inherit_weights(parent)
    for layer in layers:
        expected = np.abs(layer.weight.data).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(layer.beta.data, expected, rtol=1e-6)


def test_a_padded_pixel_adds_nothing_to_the_1_bit_reduction():
    """On odd sizes the shifted half looks outside the image in the last row and column."""
    candidate = make_operation("skip_connect", 4, 2, BINARY, False, np.random.default_rng(0)).eval()
    y = candidate(Tensor(np.ones((1, 4, 7, 7), np.float32))).data
    assert not y[0, 2:, 3, :].any() and not y[0, 2:, :, 3].any()
    assert y[0, :2].all() and y[0, 2:, :3, :3].any()
