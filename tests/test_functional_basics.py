"""The small operations (arithmetic, shapes, dropout, mixed sum), and what operations refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from helpers.arrays import normal, seeds

import bnas.functional as F
from bnas.autodiff import Tensor, grad



def ones(*shape, dtype=np.float32):
    return Tensor(np.ones(shape, dtype), requires_grad=True)


def same(got, want):
    """Equal up to rounding, with equal shapes (NumPy's assertions broadcast)."""
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(got.data, want, rtol=1e-6)


# ------------------------------------------------------------------------- elementwise and matrices

POSITIVE = np.abs(normal(0, 2, 3, 4)) + 0.1
ANY = np.array([-2.0, -0.5, -0.0, 0.0, 0.5, 2.0])


@pytest.mark.parametrize(
    "ours, theirs, x",
    [
        (Tensor.exp, np.exp, ANY),
        (Tensor.log, np.log, POSITIVE),
        (Tensor.tanh, np.tanh, ANY),
        (Tensor.relu, lambda x: np.where(x > 0, x, 0), ANY),
        (lambda x: -x, np.negative, ANY),
        (lambda x: x**3, lambda x: x**3, ANY),
        (lambda x: x**-0.5, lambda x: x**-0.5, POSITIVE),
        (lambda x: x.clip(-0.5, 1), lambda x: np.clip(x, -0.5, 1), ANY),
        (lambda x: x.clip(max=0.1), lambda x: np.minimum(x, 0.1), ANY),
        (lambda x: x.T, np.transpose, POSITIVE),
        (lambda x: x.transpose(2, 0, 1), lambda x: x.transpose(2, 0, 1), POSITIVE),
        (lambda x: x.transpose((0, -1, 1)), lambda x: x.transpose(0, 2, 1), POSITIVE),
        (lambda x: x.reshape(4, -1), lambda x: x.reshape(4, -1), POSITIVE),
        (lambda x: x.reshape((6, 4)), lambda x: x.reshape(6, 4), POSITIVE),
    ],
)
def test_elements_and_shapes_as_in_numpy(ours, theirs, x):
    for dtype in (np.float32, np.float64):
        got = ours(Tensor(x.astype(dtype)))
        same(got, theirs(x.astype(dtype)))
        assert got.dtype == dtype


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, -3), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_as_in_numpy(name, axis, keepdims):
    x = normal(1, 2, 3, 4)
    got = getattr(Tensor(x), name)(axis, keepdims)
    same(got, getattr(np, name)(x, axis=axis, keepdims=keepdims))


def test_ties_share_the_gradient_of_max():
    x = Tensor([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]], requires_grad=True)
    x.max(axis=1).sum().backward()
    np.testing.assert_array_equal(x.grad, [[0, 0.5, 0.5], [1, 0, 0]])


@pytest.mark.parametrize(
    "a, b",
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((3,), (5, 3, 2)),
     ((5, 2, 3), (3,)), ((5, 1, 2, 3), (4, 3, 2))],
)  # fmt: skip
def test_matmul_as_in_numpy_with_gradients(a, b):
    a, b = Tensor(normal(0, *a), requires_grad=True), Tensor(normal(1, *b), requires_grad=True)
    y = a @ b
    same(y, a.data @ b.data)
    da, db = grad(y, [a, b], dy := normal(2, *y.shape))
    for gradient, swap in ((da, lambda v: v @ b.data), (db, lambda v: a.data @ v)):
        v = normal(3, *gradient.shape)  # linear in each operand: ⟨dy, y(v)⟩ = ⟨gradient, v⟩
        assert np.vdot(gradient, v) == pytest.approx(np.vdot(dy, swap(v)))


def test_linear_and_prelu():
    x, w, bias = normal(0, 2, 5, 3), normal(1, 4, 3), normal(2, 4)
    same(F.linear(Tensor(x), w, bias), x @ w.T + bias)
    y, slopes = normal(3, 2, 3, 4), np.array([0.1, -0.2, 3.0])
    same(F.prelu(Tensor(y), slopes), np.where(y > 0, y, slopes[:, None] * y))
    same(F.prelu(Tensor(y), slopes[:1]), np.where(y > 0, y, 0.1 * y))


# ------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_concat_joins_and_its_backward_cuts(axis):
    shapes = [[2, 3, 4] for _ in range(3)]
    for length, shape in zip((1, 2, 5), shapes):
        shape[axis] = length
    parts = [Tensor(normal(i, *shape), requires_grad=True) for i, shape in enumerate(shapes)]
    y = F.concat(parts, axis)
    np.testing.assert_array_equal(y.data, np.concatenate([p.data for p in parts], axis))
    dy = normal(9, *y.shape)
    np.testing.assert_array_equal(np.concatenate(grad(y, parts, dy), axis), dy)


@pytest.mark.parametrize("widths", [(1, 2), (0, 0), (1, 0, 0, 3), (1, 2, 3, 0, 2, 1)])
def test_pad_counts_from_the_last_axis(widths):
    x = Tensor(normal(0, 2, 3, 4), requires_grad=True)
    pairs = [widths[i : i + 2] for i in range(0, len(widths), 2)][::-1]
    full = [(0, 0)] * (3 - len(pairs)) + pairs
    y = F.pad(x, widths, value=-7.0)
    np.testing.assert_array_equal(y.data, np.pad(x.data, full, constant_values=-7))
    inside = np.pad(np.ones(x.shape), full)
    dy = normal(1, *y.shape)
    np.testing.assert_array_equal(grad(y, [x], dy)[0].ravel(), dy[inside == 1])


@pytest.mark.parametrize(
    "index",
    [0, -1, np.int64(1), slice(None), slice(None, None, -2), (..., 1), (slice(1), None, 2),
     (1, 2, 3), [0, 0, 1], np.array([1, 1]), np.array(1), (slice(None), [0, 2, 0]),
     ([0, 1, 0], [2, 2, 2]), np.array([True, False]), (slice(None), np.array([True, False, True]), 0)],
    ids=repr,
)  # fmt: skip
def test_indexing_as_in_numpy_and_back(index):
    x = Tensor(normal(0, 2, 3, 4), requires_grad=True)
    y = x[index]
    assert y.shape == x.data[index].shape
    np.testing.assert_array_equal(y.data, x.data[index])
    dy = normal(1, *y.shape)
    want = np.zeros(x.shape)
    np.add.at(want, index, dy)
    np.testing.assert_allclose(grad(y, [x], dy)[0], want)


# ------------------------------------------------------------------------------ dropout, mixed sum


@pytest.mark.parametrize("drop, per_sample", [(F.dropout, False), (F.drop_path, True)])
def test_dropout_and_drop_path(drop, per_sample):
    x, p = ones(4000, 3, 2), 0.3
    y = drop(x, p, rng=np.random.default_rng(0))
    kept = y.data != 0
    np.testing.assert_array_equal(y.data[kept], np.float32(1) / np.float32(0.7))
    assert y.dtype == np.float32
    independent = 4000 if per_sample else y.size
    assert abs(kept.mean() - 0.7) < 4 * (0.3 * 0.7 / independent) ** 0.5  # standard errors
    whole = (kept == kept[:, :1, :1]).all(axis=(1, 2))
    assert whole.all() == per_sample
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)  # the mask of the forward

    again = drop(x, p, rng=np.random.default_rng(0))
    other = drop(x, p, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(again.data, y.data)
    assert (other.data != y.data).any()


@pytest.mark.parametrize("drop", [F.dropout, F.drop_path])
def test_no_dropping_in_evaluation_or_at_p_zero(drop):
    x, rng = ones(5, 2), np.random.default_rng(0)
    before = rng.bit_generator.state
    assert drop(x, 0.5, training=False) is x and drop(x, 0.0, rng=rng) is x
    assert rng.bit_generator.state == before
    for p in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=rf"{drop.__name__}: p must lie in \[0, 1\)"):
            drop(x, p, rng=rng)
    with pytest.raises(ValueError, match=f"{drop.__name__}: pass rng="):
        drop(x, 0.5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.integers(1, 3), max_size=3), seeds)
def test_mixed_sum_and_each_samples_share(operations, batch, rest, seed):
    """A copy of s for each sample: the same output, and shares that add up to ∂/∂s (Eq. 4.36)."""
    outputs = [
        Tensor(normal(seed + m, batch, *rest), requires_grad=True) for m in range(operations)
    ]
    s = normal(seed + 9, operations)
    shared = Tensor(s, requires_grad=True)
    each = Tensor(np.tile(s, (batch, 1)), requires_grad=True)
    y, z = F.mixed_sum(shared, outputs), F.mixed_sum(each, outputs)
    want = sum(factor * output.data for factor, output in zip(s, outputs))
    np.testing.assert_allclose(y.data, want, atol=1e-12)
    np.testing.assert_array_equal(z.data, y.data)
    dy = normal(seed + 10, *y.shape)
    (ds, *douts), (shares, *others) = grad(y, [shared, *outputs], dy), grad(z, [each, *outputs], dy)
    np.testing.assert_allclose(shares.sum(axis=0), ds, atol=1e-12)
    for b in range(batch):
        for m in range(operations):
            assert shares[b, m] == pytest.approx(np.vdot(dy[b], outputs[m].data[b]), abs=1e-12)
    np.testing.assert_array_equal(douts, others)
    np.testing.assert_allclose(douts, s.reshape(-1, *[1] * dy.ndim) * dy)


def test_mixed_sum_with_weights_of_each_sample():
    rows = Tensor([[1.0, 0.0], [0.5, 2.0]])
    y = F.mixed_sum(rows, [Tensor([[1.0], [10.0]]), Tensor([[5.0], [100.0]])])
    np.testing.assert_array_equal(y.data, [[1], [205]])


# ---------------------------------------------------------------------------------- what is refused

IMAGE, KERNEL = ones(2, 4, 5, 5), ones(4, 4, 3, 3)
LOGITS, LABELS = ones(3, 4), np.array([0, 1, 3])
STATISTICS = np.zeros(4, np.float32), np.ones(4, np.float32)

REFUSED = {  # what: (call, error, what the message must say)
    "conv of rank 3": (lambda c: c(ones(4, 5, 5), KERNEL), ValueError, "4 axes"),
    "kernel of rank 2": (lambda c: c(IMAGE, ones(4, 4)), ValueError, "4 axes"),
    "other channels": (lambda c: c(ones(2, 3, 5, 5), KERNEL), ValueError, "x has 3 channels"),
    "groups of 2": (lambda c: c(IMAGE, ones(3, 2, 3, 3), groups=2), ValueError, "groups=2"),
    "groups 0": (lambda c: c(IMAGE, KERNEL, groups=0), ValueError, "groups must be"),
    "groups real": (lambda c: c(IMAGE, KERNEL, groups=1.0), ValueError, "groups must be"),
    "stride 0": (lambda c: c(IMAGE, KERNEL, stride=0), ValueError, "stride must be .* at least 1"),
    "stride negative": (lambda c: c(IMAGE, KERNEL, stride=(1, -1)), ValueError, "stride must be"),
    "stride real": (lambda c: c(IMAGE, KERNEL, stride=1.0), ValueError, "stride must be an int"),
    "padding negative": (lambda c: c(IMAGE, KERNEL, padding=-1), ValueError, "padding must be"),
    "three paddings": (lambda c: c(IMAGE, KERNEL, padding=(1, 1, 1)), ValueError, "padding must"),
    "dilation 0": (lambda c: c(IMAGE, KERNEL, dilation=0), ValueError, "dilation must be"),
    "kernel too large": (lambda c: c(IMAGE, KERNEL, dilation=3), ValueError, r"\(7, 7\).*\(5, 5\)"),
    "wrong extra": (lambda c: c(IMAGE, KERNEL, ones(3)), ValueError, r"shape \(4,\), got \(3,\)"),
    "int images": (lambda c: c(np.ones((2, 4, 5, 5), int), KERNEL), TypeError, "int64.*astype"),
    "mixed dtypes": (lambda c: c(IMAGE, ones(4, 4, 3, 3, dtype=float)), TypeError, "32 and float64"),
}  # fmt: skip


@pytest.mark.parametrize("convolution", [F.conv2d, F.xnor_conv2d])
@pytest.mark.parametrize("what", REFUSED)
def test_convolutions_refuse(what, convolution):
    call, error, message = REFUSED[what]
    name = "conv2d" if convolution is F.conv2d else "(xnor_conv2d|XnorConv2d)"
    with pytest.raises(error, match=f"(?i)^{name}.*{message}"):
        call(convolution)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: F.max_pool2d(ones(4, 5, 5), 2), "max_pool2d: expected 4 axes"),
        (lambda: F.max_pool2d(IMAGE, 6), r"max_pool2d: .*\(6, 6\).*does not fit"),
        (lambda: F.max_pool2d(IMAGE, 2, stride=0), "max_pool2d: stride"),
        (lambda: F.max_pool2d(IMAGE, 3, padding=2), "at most half"),
        (lambda: F.avg_pool2d(IMAGE, 0), "avg_pool2d: kernel_size"),
        (lambda: F.global_avg_pool2d(ones(2, 3)), "global_avg_pool2d: expected 4 axes"),
        (lambda: F.batch_norm(ones(2, 4, 3), *STATISTICS), "batch_norm: expected"),
        (lambda: F.batch_norm(ones(2, 3, 2, 2), *STATISTICS), r"running_mean .*\(3,\)"),
        (lambda: F.batch_norm(IMAGE, *STATISTICS, ones(1)), r"weight .*\(4,\), got \(1,\)"),
        (lambda: F.batch_norm(IMAGE, None, None), "evaluation needs running_mean"),
        (lambda: F.batch_norm(ones(1, 4), *STATISTICS, training=True), "1 value per channel"),
        (lambda: F.batch_norm(ones(0, 4, 5, 5), *STATISTICS, training=True), "0 value"),
        (lambda: F.cross_entropy(ones(3, 4, 1), LABELS), r"logits \(B, N\)"),
        (lambda: F.cross_entropy(LOGITS, LABELS[:2]), r"labels \(B,\)"),
        (lambda: F.cross_entropy(LOGITS, [0, 4, 1]), "label 4 of sample 1 .* 0 to 3"),
        (lambda: F.cross_entropy(LOGITS, [0, 1, -1]), "label -1 of sample 2"),
        (lambda: F.cross_entropy(LOGITS, LABELS, np.ones(3)), r"weight .*\(4,\)"),
        (lambda: F.cross_entropy(LOGITS, LABELS, reduction="avg"), "reduction must be .*'avg'"),
        (lambda: F.cross_entropy(ones(0, 4), np.zeros(0, int)), "the batch is empty"),
        (lambda: F.cross_entropy(ones(0, 4), np.zeros(0, int), reduction="sum"), "batch is empty"),
        (lambda: F.cross_entropy(LOGITS, [2, 2, 2], ignore_index=2), "all of it is ignored"),
        (lambda: F.kl_div(LOGITS, ones(3, 1)), "kl_div: .* one shape"),
        (lambda: F.kl_div(LOGITS, LOGITS, reduction="batch"), "kl_div: reduction"),
        (lambda: F.kl_div(ones(0, 4), ones(0, 4)), "kl_div: the batch is empty"),
        (lambda: F.softmax(LOGITS, 2), "softmax: axis 2 is out of range for 2 axes"),
        (lambda: F.softmax(LOGITS, None), "softmax: axis must be a single int"),
        (lambda: F.log_softmax(LOGITS, (0, 1)), "log_softmax: axis must be a single int"),
        (lambda: F.concat([LOGITS, LOGITS], axis=None), "concat: axis must be a single int"),
        (lambda: F.concat([LOGITS, LOGITS], axis=-3), "concat: axis -3"),
        (lambda: F.concat([LOGITS, ones(2, 3)], axis=1), r"Concat: .*\(3, 4\), \(2, 3\)"),
        (lambda: F.concat([]), "concat: no tensors"),
        (lambda: LOGITS.sum(axis=2), "sum: axis 2 is out of range"),
        (lambda: LOGITS.mean(axis=(0, -2)), "mean: .* twice"),
        (lambda: LOGITS.mean(axis=0.5), "mean: axis 0.5"),
        (lambda: ones(0, 4).mean(), "mean: nothing to reduce"),
        (lambda: ones(3, 0).max(axis=1), "max: nothing to reduce"),
        (lambda: LOGITS.transpose(0), "transpose: .* once"),
        (lambda: F.pad(LOGITS, (1,)), "pad: expected pairs"),
        (lambda: F.pad(LOGITS, (0, -1)), "pad: expected pairs"),
        (lambda: F.pad(LOGITS, (1,) * 6), "at most 2 axes"),
        (lambda: LOGITS @ LOGITS, r"matmul: shapes \(3, 4\) and \(3, 4\)"),
        (lambda: F.linear(LOGITS, ones(2, 3)), "linear: x .* does not match w"),
        (lambda: F.linear(LOGITS, ones(2, 4), ones(1)), "linear: bias"),
        (lambda: F.prelu(IMAGE, ones(3)), r"prelu: weight .* \(1,\) or \(4,\)"),
        (lambda: LOGITS.clip(1, 0), "clip: min 1 is greater than max 0"),
        (lambda: F.mixed_sum(ones(2), []), "mixed_sum: no tensors"),
        (lambda: F.mixed_sum(ones(2), [LOGITS, ones(3, 3)]), "share one shape"),
        (lambda: F.mixed_sum(ones(3), [LOGITS, LOGITS]), r"\(2,\) or \(3, 2\), got \(3,\)"),
        (lambda: F.sign_ste(LOGITS, "clipp"), "surrogate must be one of .*'clipp'"),
        (lambda: F.sign_ste(LOGITS, "tanh", 0), "temperature must be positive"),
        (lambda: F.reconstruction_loss(KERNEL, ones(3)), r"beta must have shape \(4,\)"),
        (lambda: F.reconstruction_loss(KERNEL, None, KERNEL), "pairs of them, got 1 more"),
    ],
)  # fmt: skip
def test_operations_refuse_values(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: F.avg_pool2d(np.ones((1, 1, 4, 4), int), 2), "avg_pool2d: .*int64"),
        (lambda: F.cross_entropy(LOGITS, [0.0, 1.0, 2.0]), "integers, got float64"),
        (lambda: LOGITS**LOGITS, "pow: the exponent must be a number"),
        (lambda: LOGITS + [1, 2], "add: expected a Tensor .* got list"),
    ],
)
def test_operations_refuse_types(call, message):
    with pytest.raises(TypeError, match=message):
        call()
