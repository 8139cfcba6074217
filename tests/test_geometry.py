"""Windows of any size, stride, padding and dilation, and arrays with empty axes, against plain loops."""

import math
from itertools import product

import numpy as np
import pytest
from helpers.arrays import rng, seeds
from hypothesis import example, given, settings
from hypothesis import strategies as st

import bnas.functional as F
from bnas import Tensor, nn
from bnas.backend import using
from bnas.fused import kernels
from bnas.fused.chains import REAL, Stage, fused_chain
from bnas.fused.layout import pool_lanes
from bnas.kernels.windows import Window

backends = pytest.mark.parametrize("backend", ["numba", "numpy"])
HUGE = 2**31, 2**32, 2**62, 2**70


def pairs(*numbers):
    return st.tuples(*[st.sampled_from(numbers)] * 2)


@st.composite
def windows(draw, channels=4):
    """(images' shape, (kernel, stride, padding, dilation)): small or huge, fitting or not."""
    shape = draw(st.integers(0, 2)), channels, draw(st.integers(0, 5)), draw(st.integers(0, 5))
    kernel = draw(pairs(1, 2, 3))
    padding = draw(st.one_of(pairs(0, 1, 2), pairs(0, 1, *HUGE)))
    stride, dilation = draw(pairs(1, 2, 3, 7, *HUGE)), draw(st.one_of(pairs(1, 2), pairs(1, *HUGE)))
    return shape, (kernel, stride, padding, dilation)


def seen(shape, window):
    """(row, column) of an output, (row, column) of a tap, (row, column) of the pixel that it sees, of all."""
    axes = []
    for n, k, s, p, d in zip(shape[2:], *window):
        starts = range(-p, n + p - d * (k - 1), s)
        taps = [[(t, at + t * d) for t in range(k) if 0 <= at + t * d < n] for at in starts]
        axes.append([(i, t, at) for i, found in enumerate(taps) for t, at in found])
    return [tuple(zip(row, column)) for row, column in product(*axes)]


def out_size(shape, window):
    return tuple(
        len(range(-p, n + p - d * (k - 1), s)) if p < 2**31 else math.inf
        for n, k, s, p, d in zip(shape[2:], *window)
    )


def fits(shape, window):
    return all(0 < n < math.inf for n in out_size(shape, window))


def convolution(x, w, dy, window, groups):
    """(y, dx, dw) of a convolution without a bias."""
    outputs, inputs = len(w), x.shape[1]
    whole = np.zeros((outputs, inputs, *w.shape[2:]))
    own = np.arange(inputs) // w.shape[1] == np.arange(outputs)[:, None] // (outputs // groups)
    whole[own] = w.reshape(-1, *w.shape[2:])
    y, dx, dw = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(whole.shape)
    for output, tap, pixel in seen(x.shape, window):
        y[(..., *output)] += x[(..., *pixel)] @ whole[(..., *tap)].T
        dx[(..., *pixel)] += dy[(..., *output)] @ whole[(..., *tap)]
        dw[(..., *tap)] += dy[(..., *output)].T @ x[(..., *pixel)]
    return y, dx, dw[own].reshape(w.shape)


def signs(x):
    return np.where(x > 0, 1.0, -1.0)


def assert_same(found, expected):
    for ours, right in zip(found, expected, strict=True):
        assert ours.shape == right.shape
        np.testing.assert_allclose(ours, right, rtol=1e-5, atol=1e-6)


@backends
@given(windows(), st.sampled_from([1, 2, 4]), st.booleans(), seeds)
@example(((1, 4, 4, 4), ((2, 2), (2**32, 2**32), (0, 0), (1, 1))), 4, False, 0)
@example(((1, 4, 4, 4), ((2, 2), (2**62, 1), (0, 0), (1, 1))), 4, True, 0)
@settings(max_examples=60, deadline=None)
def test_convolutions_of_any_geometry(backend, case, groups, binary, seed):
    """Real and 1-bit; one, two and as many groups as channels."""
    shape, window = case
    numbers = rng(seed)
    x = Tensor(numbers.integers(-3, 4, shape) / 2, requires_grad=True)
    w = Tensor(numbers.integers(-3, 4, (8, 4 // groups, *window[0])) / 2, requires_grad=True)

    def convolve():
        if binary:
            return F.xnor_conv2d(x, w, np.ones(8), *window[1:], groups)
        return F.conv2d(x, w, None, *window[1:], groups)

    with using(backend):
        if not fits(shape, window):
            with pytest.raises(ValueError, match="conv2d: .*(does not fit|do not fit into memory)"):
                convolve()
            return
        y = convolve()
        dy = numbers.integers(-3, 4, (shape[0], 8, *out_size(shape, window))).astype(float)
        y.backward(dy)
    if binary:
        expected, dx, dw = convolution(signs(x.data), signs(w.data), dy, window, groups)
        expected = expected, dx * (abs(x.data) <= 1), dw * (abs(w.data) <= 1)
    else:
        expected = convolution(x.data, w.data, dy, window, groups)
    assert_same((y.data, x.grad, w.grad), expected)


@backends
@given(windows() | windows(0), st.sampled_from(["max", "average", "average inside"]), seeds)
@example(((1, 4, 4, 4), ((2, 2), (2**32, 2**32), (0, 0), (1, 1))), "max", 0)
@example(((1, 4, 4, 4), ((2, 2), (2**62, 1), (1, 1), (1, 1))), "average", 0)
@settings(max_examples=60, deadline=None)
def test_poolings_of_any_geometry(backend, case, kind, seed):
    shape, window = case
    kernel, stride, padding, dilation = window
    if kind != "max":
        window = kernel, stride, padding, dilation = *window[:3], (1, 1)
    numbers = rng(seed)
    values = numbers.permuted(np.arange(math.prod(shape)).reshape(shape) / 2)
    x = Tensor(values, requires_grad=True)

    def pool():
        if kind == "max":
            return F.max_pool2d(x, *window)
        return F.avg_pool2d(x, *window[:3], count_include_pad=kind == "average")

    allowed = all(2 * p <= k for p, k in zip(padding, kernel)) and 0 not in shape[2:]
    with using(backend):
        if not (allowed and fits(shape, window)):
            with pytest.raises(ValueError, match="(max|avg)_pool2d: "):
                pool()
            return
        y = pool()
        dy = numbers.integers(-3, 4, (*shape[:2], *out_size(shape, window))).astype(float)
        y.backward(dy)
    dx, found = np.zeros(shape), {output: [] for output in np.ndindex(y.shape[2:])}
    for output, _, pixel in seen(shape, window):
        found[output].append(pixel)
    expected = np.full(y.shape, -np.inf if kind == "max" else 0.0)
    for (row, column), pixels in found.items():
        share = dy[:, :, row, column]
        if kind == "max" and pixels:
            largest = np.stack([values[(..., *pixel)] for pixel in pixels]).max(axis=0)
            expected[:, :, row, column] = largest
            for pixel in pixels:
                dx[(..., *pixel)] += share * (values[(..., *pixel)] == largest)
        elif kind != "max":
            count = math.prod(kernel) if kind == "average" else max(len(pixels), 1)
            expected[:, :, row, column] = sum(values[(..., *pixel)] for pixel in pixels) / count
            for pixel in pixels:
                dx[(..., *pixel)] += share / count
    assert_same((y.data, x.grad), (expected, dx))


@given(windows(), st.booleans(), seeds)
@example(((2, 4, 4, 4), ((2, 2), (2**62, 2**62), (0, 0), (1, 1))), True, 0)
@settings(max_examples=30, deadline=None)
def test_fused_poolings_of_any_geometry(case, largest, seed):
    """They are square, and the mean is over the pixels inside."""
    shape, window = case
    kernel, stride, padding, _ = (part[0] for part in window)
    if shape[0] == 0:
        return
    x = Tensor(rng(seed).standard_normal(shape), requires_grad=True)
    lanes = Tensor(kernels.to_lanes(x.data), requires_grad=True)
    try:
        if largest:
            y = F.max_pool2d(x, kernel, stride, padding)
        else:
            y = F.avg_pool2d(x, kernel, stride, padding, count_include_pad=False)
    except ValueError as error:
        with pytest.raises(ValueError, match="pool_lanes: ") as refusal:
            pool_lanes(lanes, largest, kernel, stride, padding)
        assert str(refusal.value).split(": ")[1][:20] == str(error).split(": ")[1][:20]
        return
    fused = pool_lanes(lanes, largest, kernel, stride, padding)
    dy = rng(seed + 1).standard_normal(y.shape)
    y.backward(dy)
    fused.backward(kernels.to_lanes(dy))
    found = (kernels.from_lanes(a, shape[0]) for a in (fused.data, lanes.grad))
    assert_same(found, (y.data, x.grad))


@given(windows(), seeds)
@example(((2, 4, 4, 4), ((2, 2), (2**62, 2**70), (0, 0), (1, 1))), 0)
@settings(max_examples=30, deadline=None)
def test_fused_units_of_any_geometry(case, seed):
    shape, window = case
    if 0 in shape:
        return
    numbers, norm = rng(seed), nn.BatchNorm2d(3, affine=False).eval()
    x = numbers.standard_normal(shape)
    weights = [numbers.standard_normal(s) for s in ((4, 1, *window[0]), (3, 4, 1, 1))]
    leaves = [Tensor(a, requires_grad=True) for a in (kernels.to_lanes(x), *weights)]
    if window[0] == (1, 1):
        weights[0] = None
        del leaves[1]

    def unit():
        norm.astype(np.float64)
        return fused_chain(
            leaves[0], leaves[1:], REAL, shape[0], (Stage((Window(*window),), norm),)
        )

    if not fits(shape, window):
        with pytest.raises(ValueError, match="(does not fit|do not fit into memory)"):
            unit()
        return
    y = unit()
    dy = numbers.standard_normal((shape[0], 3, *out_size(shape, window)))
    y.backward(kernels.to_lanes(dy))
    plain = [Tensor(a, requires_grad=True) for a in (x, *weights) if a is not None]
    z = F.relu(plain[0])
    if window[0] == (1, 1):
        z = F.conv2d(z, plain[-1], None, *window[1:])
    else:
        z = F.conv2d(F.conv2d(z, plain[1], None, *window[1:], 4), plain[-1])
    expected = norm(z)
    expected.backward(dy)
    found = [kernels.from_lanes(a, shape[0]) for a in (y.data, leaves[0].grad)]
    found += [t.grad for t in leaves[1:]]
    assert_same(found, [expected.data, *(t.grad for t in plain)])


# -------------------------------------------------------------------------------------- empty axes

EMPTY = [shape for shape in product((0, 2), (0, 3), (0, 1, 4)) if 0 in shape]


def leaves_of(*shapes):
    return [Tensor(np.ones(shape), requires_grad=True) for shape in shapes]


def assert_gradients(y, leaves):
    y.sum().backward()
    for t in leaves:
        assert t.grad.shape == t.shape and np.isfinite(t.grad).all()


@pytest.mark.parametrize("batch, inputs, outputs", EMPTY)
def test_matrix_products_with_empty_axes(batch, inputs, outputs):
    x, w, b = leaves = leaves_of((batch, inputs), (outputs, inputs), (outputs,))
    y = F.linear(x, w, b)
    np.testing.assert_array_equal(y.data, np.full((batch, outputs), inputs + 1.0))
    assert_gradients(y, leaves)
    expected = np.full(x.shape, outputs), np.full(w.shape, batch), np.full(outputs, batch)
    assert_same([t.grad for t in leaves], expected)
    a, c = leaves = leaves_of((2, batch, inputs), (inputs, outputs))
    y = a @ c
    np.testing.assert_array_equal(y.data, np.full((2, batch, outputs), float(inputs)))
    assert_gradients(y, leaves)


def normed(x):
    channels = x.shape[1]
    return F.batch_norm(
        x, np.zeros(channels), np.ones(channels), np.ones(channels), np.ones(channels)
    )


ELEMENTWISE = {
    "relu": F.relu,
    "sign_ste": F.sign_ste,
    "prelu": lambda x: F.prelu(x, np.ones(x.shape[1])),
    "flatten": lambda x: F.flatten(x, 1),
    "pad": lambda x: F.pad(x, (1, 2)),
    "transpose": lambda x: F.transpose(x),
    "stack": lambda x: F.stack([x, x]),
    "concat": lambda x: F.concat([x, x], axis=1),
    "slice": lambda x: x[:, :, :1],
    "sum": lambda x: F.sum(x, axis=1),
    "product": lambda x: x * np.ones(x.shape[-1]),
    "mixed_sum": lambda x: F.mixed_sum(np.ones(2), [x, x]),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", EMPTY)
def test_operations_on_arrays_with_empty_axes(name, shape):
    leaves = leaves_of(shape)
    assert_gradients(ELEMENTWISE[name](*leaves), leaves)


@pytest.mark.parametrize("reduction", ["mean", "max", "var", "std"])
@pytest.mark.parametrize("shape, axis", [(s, a) for s in EMPTY for a in range(3)])
def test_reductions_of_arrays_with_empty_axes(reduction, shape, axis):
    (x,) = leaves_of(shape)
    options = {"correction": 0} if reduction in ("var", "std") else {}
    if shape[axis] == 0:
        with pytest.raises(ValueError, match=f"{reduction}: .*(nothing|too few)"):
            getattr(F, reduction)(x, axis=axis, **options)
    else:
        y = getattr(F, reduction)(x, axis=axis, **options)
        assert y.shape == (*shape[:axis], *shape[axis + 1 :])
        assert_gradients(y, [x])


@backends
@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (2, 4, 0, 3), (2, 0, 3, 3), (0, 4, 0, 0)])
def test_norms_and_means_of_empty_images(backend, shape):
    leaves = leaves_of(shape)
    with using(backend):
        if shape[1]:
            assert_gradients(normed(*leaves), leaves)
            with pytest.raises(ValueError, match="batch_norm: 0 value per channel"):
                F.batch_norm(leaves[0], None, None, training=True)
        if 0 not in shape[2:]:
            leaves[0].grad = None
            assert_gradients(F.global_avg_pool2d(*leaves), leaves)


def test_a_transpose_in_the_middle_of_a_graph():
    """What it remembers must not take the place of what the engine remembers of its node."""
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    weights = np.arange(6.0).reshape(3, 2)
    (F.transpose(x * 2) * weights).sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * weights.T)


NOTHING = {
    "softmax": lambda: F.softmax(Tensor(np.ones((3, 0))), axis=1),
    "log_softmax": lambda: F.log_softmax(Tensor(np.ones((0, 3))), axis=0),
    "cross_entropy": lambda: F.cross_entropy(Tensor(np.ones((0, 0))), np.zeros(0, int)),
    "channel_scale": lambda: F.channel_scale(np.ones((3, 0))),
    "reconstruction_loss": lambda: F.reconstruction_loss(Tensor(np.ones((3, 0))), np.ones(3)),
    "conv2d": lambda: F.conv2d(Tensor(np.ones((1, 0, 3, 3))), np.ones((2, 0, 1, 1))),
}


@pytest.mark.parametrize("name", NOTHING)
def test_what_has_no_value_of_nothing_says_so(name):
    with pytest.raises(ValueError, match=rf"^{name}: .*\(\d, 0|axis 0"):
        NOTHING[name]()


@pytest.mark.parametrize("widths", [(0, 2**31 * 2**20), (2**62, 0), (2**70, 1), (1, 1, 2**63, 0)])
def test_padding_beyond_memory_is_refused(widths):
    with pytest.raises(ValueError, match="pad: .*memory"):
        F.pad(Tensor(np.ones((2, 3))), widths)


def test_modules_of_impossible_sizes_are_refused_by_name():
    for sizes, name in (
        ((0, 4, 3), "in_channels"),
        ((4, 0, 3), "out_channels"),
        ((4, -4, 3), "out_channels"),
    ):
        with pytest.raises(ValueError, match=f"convolution: {name}"):
            nn.Conv2d(*sizes, rng=rng())
    with pytest.raises(ValueError, match="convolution: groups"):
        nn.XnorConv2d(4, 4, 3, groups=0, rng=rng())
    with pytest.raises(ValueError, match="convolution: .*memory"):
        nn.Conv2d(4, 4, 2**40, rng=rng())
    with pytest.raises(ValueError, match="Linear: "):
        nn.Linear(-1, 3, rng=rng())
    assert nn.Linear(0, 3, rng=rng())(Tensor(np.ones((2, 0), np.float32))).shape == (2, 3)
