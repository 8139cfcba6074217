"""The small operations (arithmetic, shapes, dropout, mixed sum), and what operations refuse."""

import operator
import warnings

import numpy as np
import pytest
from helpers.arrays import normal, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, softmax

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
        (Tensor.abs, np.abs, ANY),
        (abs, np.abs, ANY),
        (Tensor.sqrt, np.sqrt, POSITIVE),
        (Tensor.sin, np.sin, ANY),
        (Tensor.cos, np.cos, ANY),
        (Tensor.sigmoid, expit, np.array([-800.0, -20.0, *ANY, 20.0, 800.0])),
        (Tensor.clone, np.copy, ANY),
        (lambda x: x.pow(2), np.square, ANY),
        (lambda x: x.softmax(1), lambda x: softmax(x, 1), POSITIVE),
        (lambda x: x.log_softmax(-1), lambda x: log_softmax(x, -1), POSITIVE),
        (lambda x: x.matmul(x[0].T), lambda x: x @ x[0].T, POSITIVE),
        (Tensor.relu, lambda x: np.where(x > 0, x, 0), ANY),
        (lambda x: -x, np.negative, ANY),
        (lambda x: x**3, lambda x: x**3, ANY),
        (lambda x: x**-0.5, lambda x: x**-0.5, POSITIVE),
        (lambda x: x.clip(-0.5, 1), lambda x: np.clip(x, -0.5, 1), ANY),
        (lambda x: x.clip(max=0.1), lambda x: np.minimum(x, 0.1), ANY),
        (lambda x: x.T, np.transpose, POSITIVE),
        (lambda x: x.transpose(2, 0, 1), lambda x: x.transpose(2, 0, 1), POSITIVE),
        (lambda x: x.transpose((0, -1, 1)), lambda x: x.transpose(0, 2, 1), POSITIVE),
        (lambda x: x.permute(2, 0, 1), lambda x: x.transpose(2, 0, 1), POSITIVE),
        (lambda x: x.permute((0, -1, 1)), lambda x: x.transpose(0, 2, 1), POSITIVE),
        (lambda x: x[:, :1].squeeze(), lambda x: x[:, 0], POSITIVE),
        (lambda x: x[:1, :, :1].squeeze(-1), lambda x: x[:1, :, 0], POSITIVE),
        (lambda x: x[:1, :, :1].squeeze((0, 2)), lambda x: x[0, :, 0], POSITIVE),
        (lambda x: x.unsqueeze(1), lambda x: x[:, None], POSITIVE),
        (lambda x: x.unsqueeze(-1), lambda x: x[..., None], POSITIVE),
        (lambda x: x.flatten(), np.ravel, POSITIVE),
        (lambda x: x.flatten(1), lambda x: x.reshape(2, 12), POSITIVE),
        (lambda x: x.flatten(0, -2), lambda x: x.reshape(6, 4), POSITIVE),
        (lambda x: x[0, 0, 0].flatten(), lambda x: x[0, 0, :1], POSITIVE),
        (lambda x: x[:, :0].flatten(1), lambda x: x[:, :0, 0], POSITIVE),
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


@pytest.mark.parametrize("name", ["var", "std"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), ()])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_variances_as_in_numpy(name, axis, keepdims, dtype):
    x = normal(1, 2, 3, 4)
    corrections = (0,) if axis == () else (1, 0, 0.5)
    for correction in corrections:
        got = getattr(Tensor(x.astype(dtype)), name)(axis, keepdims=keepdims, correction=correction)
        same(got, getattr(np, name)(x, axis=axis, keepdims=keepdims, ddof=correction))
        assert got.dtype == dtype
    if axis != ():
        assert getattr(F, name)(x, axis).data == pytest.approx(getattr(np, name)(x, axis, ddof=1))


def test_equal_values_have_no_variance_and_std_no_slope_there():
    """0.1 + 0.1 + 0.1 is not 0.3: a mean that is rounded must not turn into a spread."""
    for dtype in (np.float32, np.float64):
        x = Tensor(np.array([[0.1, 0.1, 0.1], [1.0, 2.0, 3.0]], dtype), requires_grad=True)
        assert x.var(axis=1).data.tolist() == [0, 1]
        y = x.std(axis=1)
        assert y.data.tolist() == [0, 1]
        np.testing.assert_allclose(grad(y, [x], np.ones(2))[0], [[0, 0, 0], [-0.5, 0, 0.5]])


@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_argmax_as_in_numpy(axis, keepdims):
    x = np.round(normal(2, 3, 4))  # with ties: the first counts
    got = Tensor(x, requires_grad=True).argmax(axis, keepdims)
    np.testing.assert_array_equal(got, np.argmax(x, axis=axis, keepdims=keepdims), strict=True)
    assert got.dtype.kind == "i"


def test_ties_share_the_gradient_of_max():
    x = Tensor([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]], requires_grad=True)
    x.max(axis=1).sum().backward()
    np.testing.assert_array_equal(x.grad, [[0, 0.5, 0.5], [1, 0, 0]])


PAIRS = [((), ()), ((2, 3), ()), ((3,), (2, 3)), ((2, 1), (1, 3)), ((0, 3), (3,))]


@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_minimum_and_maximum_share_ties(shapes, largest, dtype):
    ours, theirs = (F.maximum, np.maximum) if largest else (F.minimum, np.minimum)
    a, b = (np.round(normal(i, *shape)).astype(dtype) for i, shape in enumerate(shapes))
    leaves = [Tensor(array, requires_grad=True) for array in (a, b)]
    y = ours(*leaves)
    np.testing.assert_array_equal(y.data, theirs(a, b), strict=True)
    dy = normal(3, *y.shape).astype(dtype)
    wins = a > b if largest else a < b
    share = np.where(a == b, 0.5, wins)
    for got, want in zip(grad(y, leaves, dy), (dy * share, dy * (1 - share))):
        ones = np.ones(y.shape) * want
        assert got.dtype == dtype and got.sum() == pytest.approx(ones.sum(), abs=1e-5)
    # From one operand's point of view, entry by entry.
    whole = Tensor(np.broadcast_to(a, y.shape).copy(), requires_grad=True)
    np.testing.assert_allclose(grad(ours(whole, b), [whole], dy)[0], dy * share)


def test_minimum_and_maximum_take_numbers_and_arrays():
    x = Tensor([-1.0, 0.5, 2.0])
    same(x.maximum(0), [0, 0.5, 2])
    same(F.minimum(1.0, x), [-1, 0.5, 1])
    same(x.minimum(np.zeros(3, np.float32)), [-1, 0, 0])


@settings(max_examples=40, deadline=None)
@given(
    seeds, st.lists(st.integers(1, 3), max_size=3), st.lists(st.booleans(), min_size=9, max_size=9)
)
def test_where_takes_each_entry_from_one_side(seed, shape, stretch):
    """Value and gradients, whatever of the three is stretched along which axes."""
    shapes = [tuple(1 if s else n for s, n in zip(stretch[3 * i :], shape)) for i in range(3)]
    condition = normal(seed, *shapes[0]) > 0
    a, b = (Tensor(normal(seed + i, *shapes[i]), requires_grad=True) for i in (1, 2))
    y = F.where(condition, a, b)
    np.testing.assert_array_equal(y.data, np.where(condition, a.data, b.data), strict=True)
    dy = normal(seed + 3, *y.shape)
    for gradient, leaf, chosen in zip(grad(y, [a, b], dy), (a, b), (condition, ~condition)):
        v = normal(seed + 4, *leaf.shape)  # ⟨gradient, v⟩ = ⟨dy, where it is chosen: v⟩
        assert np.vdot(gradient, v) == pytest.approx((dy * chosen * v).sum(), abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_where_lets_nothing_through_from_the_side_not_chosen(bad):
    a = Tensor([1.0, bad, 3.0], requires_grad=True)
    b = Tensor([bad, 2.0, bad], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = F.where(np.array([True, False, True]), a, b)
        assert y.data.tolist() == [1, 2, 3]
        da, db = grad(y, [a, b], np.array([5.0, 6.0, 7.0]))
    assert da.tolist() == [5, 0, 7] and db.tolist() == [0, 6, 0]
    for side, position in ((0, 1), (1, 0)):  # nor does a bad cotangent: 0 · ∞ is not 0
        cotangent = np.ones(3)
        cotangent[position] = bad
        chosen = F.where(np.array([True, False, True]), a, b)
        assert grad(chosen, [a, b], cotangent)[side][position] == 0


def test_where_as_a_method_and_with_numbers():
    x = Tensor([-1.0, 2.0], requires_grad=True)
    same(x.where(x > 0, 0.0), [0, 2])
    same(F.where(x > 0, 1, x), [-1, 1])
    assert F.where(x.sum() > 0, x, -x).data.tolist() == [-1, 2]
    assert F.where(x > 0, x, 0.0).dtype == np.float32


COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_comparisons_as_in_numpy(compare, dtype):
    a, b = np.array([0.1, 2.0, 2.0, np.nan], dtype), np.array([[0.1], [2.0]], dtype)
    x, y = Tensor(a, requires_grad=True), Tensor(b)
    wants = [
        (compare(x, y), compare(a, b)),
        (compare(x, b), compare(a, b)),
        (compare(b, x), compare(b, a)),
        (compare(x, 0.1), compare(a, dtype(0.1))),
        (compare(0.1, x), compare(dtype(0.1), a)),
        (compare(x, np.float64(0.1)), compare(a, dtype(0.1))),
        (compare(np.float64(0.1), x), compare(dtype(0.1), a)),
        (compare(x, 2), compare(a, 2)),
        (compare(x, np.arange(4)), compare(a, np.arange(4))),
    ]
    for got, want in wants:
        assert isinstance(got, np.ndarray) and got.dtype == bool
        np.testing.assert_array_equal(got, want, strict=True)


def test_comparisons_with_anything_else():
    x = ones(2)
    for other in (None, "1", [1.0, 1.0]):
        assert (x == other) is False and (x != other) is True
        with pytest.raises(TypeError, match="not supported"):
            x < other
    with pytest.raises(ValueError, match=r"\(2,\) \(3,\)"):
        x == ones(3)
    assert x.sum() == 2 and not x.sum() != 2  # of one element: usable in an if


@pytest.mark.parametrize(
    "a, b",
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3, 4)),
        ((3,), (5, 3, 2)),
        ((5, 2, 3), (3,)),
        ((5, 1, 2, 3), (4, 3, 2)),
    ],
)
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


def test_cat_is_concat():
    x = Tensor(normal(0, 2, 3), requires_grad=True)
    assert F.cat([x, x], 1).shape == (2, 6)
    assert F.cat((x, x)).shape == (4, 3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=3), st.integers(1, 4), st.data(), seeds)
def test_stack_puts_side_by_side_and_its_backward_takes_apart(shape, count, data, seed):
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    parts = [Tensor(normal(seed + i, *shape), requires_grad=True) for i in range(count)]
    y = F.stack(parts, axis)
    np.testing.assert_array_equal(y.data, np.stack([p.data for p in parts], axis), strict=True)
    dy = normal(seed + 9, *y.shape)
    np.testing.assert_array_equal(np.stack(grad(y, parts, dy), axis), dy)


def test_one_tensor_stacked_with_itself_gets_both_parts():
    x = Tensor(3.0, requires_grad=True)
    assert grad(F.stack([x, x]), [x], np.array([1.0, 10.0]))[0] == 11


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data(), seeds)
def test_unsqueeze_and_squeeze_undo_each_other(shape, data, seed):
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    x = Tensor(normal(seed, *shape), requires_grad=True)
    y = x.unsqueeze(axis)
    assert y.shape == np.expand_dims(x.data, axis).shape
    assert y.squeeze(axis).shape == x.shape
    assert x.squeeze().shape == np.squeeze(x.data).shape
    dy = normal(seed + 1, *y.shape)
    np.testing.assert_array_equal(grad(y, [x], dy)[0], dy.reshape(x.shape))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.data(), seeds)
def test_flatten_joins_neighbours(shape, data, seed):
    start = data.draw(st.integers(0, len(shape) - 1))
    end = data.draw(st.integers(start, len(shape) - 1))
    x = Tensor(normal(seed, *shape))
    want = (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])
    for y in (x.flatten(start, end), F.flatten(x, start - len(shape), end - len(shape))):
        np.testing.assert_array_equal(y.data, x.data.reshape(want), strict=True)


def test_a_clone_has_an_array_of_its_own():
    x = ones(3)
    y = x.clone()
    y.data[0] = 7
    assert x.data.tolist() == [1, 1, 1]
    assert grad(y, [x], np.array([1.0, 2.0, 3.0]))[0].tolist() == [1, 2, 3]


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
    [
        0,
        -1,
        np.int64(1),
        slice(None),
        slice(None, None, -2),
        (..., 1),
        (slice(1), None, 2),
        (1, 2, 3),
        [0, 0, 1],
        np.array([1, 1]),
        np.array(1),
        (slice(None), [0, 2, 0]),
        ([0, 1, 0], [2, 2, 2]),
        np.array([True, False]),
        (slice(None), np.array([True, False, True]), 0),
    ],
    ids=repr,
)
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
    "mixed dtypes": (
        lambda c: c(IMAGE, ones(4, 4, 3, 3, dtype=float)),
        TypeError,
        "32 and float64",
    ),
}


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
        (lambda: F.batch_norm(ones(2, 4, 3, 1, 1), *STATISTICS), "batch_norm: expected"),
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
        (lambda: F.stack([]), "stack: no tensors"),
        (lambda: F.stack([LOGITS, ones(3, 3)]), r"Stack: .*\(3, 4\), \(3, 3\)"),
        (lambda: F.stack([LOGITS], axis=3), "stack: axis 3 is out of range for 3 axes"),
        (lambda: LOGITS.permute(0), "permute: .* once"),
        (lambda: LOGITS.permute(0, 0), "permute: .* twice"),
        (lambda: LOGITS.permute(0, 2), "permute: axis .* out of range"),
        (lambda: LOGITS.squeeze(0), r"squeeze: axis 0 of shape \(3, 4\) is not of length 1"),
        (lambda: LOGITS.squeeze(2), "squeeze: axis 2 is out of range"),
        (lambda: LOGITS.unsqueeze(3), "unsqueeze: axis 3 is out of range for 3 axes"),
        (lambda: LOGITS.unsqueeze((0, 1)), "unsqueeze: axis must be a single int"),
        (lambda: LOGITS.flatten(1, 0), "flatten: start_axis 1 comes after end_axis 0"),
        (lambda: LOGITS.flatten(2), "flatten: axis 2 is out of range"),
        (
            lambda: ones(3, 1).var(axis=1),
            r"var: 1 values along axis 1 of shape \(3, 1\) are too few",
        ),
        (lambda: ones(3).std(correction=3), "std: 3 values .* smaller correction"),
        (lambda: ones(0, 3).std(axis=0, correction=0), "std: 0 values"),
        (lambda: LOGITS.var(correction=-1), "var: correction must be a number from 0 up, got -1"),
        (lambda: LOGITS.std(correction=float("nan")), "std: correction must be"),
        (lambda: LOGITS.var(2), "var: axis 2 is out of range"),
        (lambda: LOGITS.argmax((0, 1)), "argmax: axis must be a single int"),
        (lambda: ones(3, 0).argmax(1), "argmax: nothing to reduce"),
        (lambda: ones(0).argmax(), "argmax: nothing to reduce"),
        (lambda: F.where(np.ones((2, 2), bool), LOGITS, LOGITS), r"^Where: .*\(3, 4\)"),
        (lambda: F.maximum(LOGITS, ones(3)), r"^Maximum: .*\(3, 4\), \(3,\)"),
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
)
def test_operations_refuse_values(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: F.avg_pool2d(np.ones((1, 1, 4, 4), int), 2), "avg_pool2d: .*int64"),
        (lambda: F.cross_entropy(LOGITS, [0.0, 1.0, 2.0]), "integers, got float64"),
        (lambda: LOGITS**LOGITS, "pow: the exponent must be a number"),
        (lambda: F.permute(LOGITS, None), "not iterable"),
        (lambda: F.where(LOGITS, LOGITS, LOGITS), "where: the condition must be a bool .* float32"),
        (lambda: F.where(LABELS, LOGITS, LOGITS), "where: .* int64"),
        (lambda: F.where([True], LOGITS, LOGITS), "where: .* list"),
        (lambda: F.where(True, 1.0, 2.0), "where: expected a Tensor .* got float"),
        (lambda: F.where(True, LOGITS, np.ones(4)), "float32 and float64"),
        (lambda: LOGITS.maximum([1, 2]), "maximum: expected a Tensor .* got list"),
        (lambda: LOGITS.astype(np.int64), "astype: a Tensor holds float32 or float64, got .*int64"),
        (lambda: LOGITS.astype("float16"), "astype: .* float16"),
        (lambda: LOGITS.astype(None), "astype: .* None"),
        (lambda: LOGITS.sum(dim=1), "dim"),
        (lambda: LOGITS + [1, 2], "add: expected a Tensor .* got list"),
    ],
)
def test_operations_refuse_types(call, message):
    with pytest.raises(TypeError, match=message):
        call()
