"""Gradients are as exact as what they are gradients of: far from zero, for large deviations and large counts."""

import numpy as np
import pytest
from helpers.arrays import normal

import bnas.functional as F
from bnas import Tensor, nn
from bnas.backend import using
from bnas.fused import kernels
from bnas.fused.chains import REAL, Stage, fused_chain
from bnas.fused.edges import ChainPart, GivenPart, fused_edge
from bnas.kernels.windows import POINT

FAR = [(0, 1), (1e5, 0.1), (-3e6, 40), (0, 1e20), (1e12, 1e8)]  # mean and deviation of the data


def leaf(array):
    return Tensor(array, requires_grad=True)


def data_far_away(mean, deviation):
    """Images and a gradient for them, float32; a plain normalisation of them in float64 with its gradients."""
    x = (normal(0, 12, 2, 4, 4) * deviation + mean).astype(np.float32)
    dy = (normal(1, *x.shape) + 1).astype(np.float32)
    wide, axes, count = x.astype(np.float64), (0, 2, 3), x.size // 2
    inverse = 1 / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    normed = (wide - wide.mean(axes, keepdims=True)) * inverse
    dgamma, dbeta = ((dy * part).sum(axes, keepdims=True) for part in (normed, 1.0))
    dx = inverse * (dy - dbeta / count - normed * dgamma / count)
    return x, dy, (normed, dx, dgamma.ravel(), dbeta.ravel())


def assert_exact(found, expected, limit):
    for ours, right in zip(found, expected, strict=True):
        assert ours.shape == right.shape and ours.dtype == np.float32
        np.testing.assert_allclose(ours, right, rtol=0, atol=limit * np.abs(right).max())


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("mean, deviation", FAR)
def test_gradients_of_a_batch_norm_far_from_zero(backend, mean, deviation):
    x, dy, (_, *expected) = data_far_away(mean, deviation)
    leaves = leaf(x), leaf(np.ones(2, np.float32)), leaf(np.zeros(2, np.float32))
    with using(backend):
        F.batch_norm(leaves[0], None, None, *leaves[1:], training=True).backward(dy)
    assert_exact([t.grad for t in leaves], expected, 1e-6)


@pytest.mark.parametrize("before", ["nothing", "a pointwise convolution", "a pooling"])
@pytest.mark.parametrize("mean, deviation", FAR)
def test_fused_norms_far_from_zero(before, mean, deviation):
    """A norm alone, one after a unit, and one after a pooling in a mixed operation, of the same images."""
    x, dy, (normed, dx, dgamma, dbeta) = data_far_away(mean, deviation)
    images, lanes, affine = leaf(kernels.to_lanes(x)), kernels.to_lanes(dy), before != "a pooling"
    norm = nn.BatchNorm2d(2, affine=affine)
    parameters = [norm.weight, norm.bias] if affine else []
    if before == "nothing":
        y = fused_chain(images, parameters, REAL, 12, (Stage((), norm),))
    elif before == "a pooling":
        part = GivenPart(norm, kernels.moments(images.data))
        one, nothing = leaf(np.ones(1, np.float32)), Tensor(np.zeros_like(images.data))
        y = fused_edge(one, None, nothing, [images], 12, (part,))
        parameters, dgamma, dbeta = [one], np.reshape(dgamma.sum(), 1), None
    else:  # one that passes on what it gets, which its ReLU wants to be positive
        x = np.abs(x)
        unit = Tensor(np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1))
        images = leaf(kernels.to_lanes(x))
        plain = [leaf(x.astype(np.float64)), leaf(np.ones(2)), leaf(np.zeros(2))]
        expected = F.batch_norm(plain[0], None, None, *plain[1:], training=True)
        expected.backward(dy)
        normed, dx, dgamma, dbeta = expected.data, *(t.grad for t in plain)
        y = fused_chain(images, [unit, *parameters], REAL, 12, (Stage((POINT,), norm),))
    y.backward(lanes)
    found = y.data, images.grad
    assert_exact([kernels.from_lanes(a, 12) for a in found], (normed, dx), 1e-6)
    expected = [dgamma] if dbeta is None else [dgamma, dbeta]
    assert_exact([p.grad for p in parameters], expected, 1e-6)


COUNT = 4097  # rows of ones but for the first: in float32, 2²⁸ + 16 is 2²⁸


def ones(*shape):
    return np.ones(shape, np.float32)


def of_fused_norm(dy, images):
    norm = nn.BatchNorm2d(2, eps=0.0).eval()
    y = fused_chain(images, [norm.weight, norm.bias], REAL, COUNT, (Stage((), norm),))
    y.backward(kernels.to_lanes(dy))
    return norm.weight.grad, norm.bias.grad


def of_fused_weight(dy, images):
    norm, w = nn.BatchNorm2d(2, eps=0.0, affine=False).eval(), leaf(ones(2, 2, 1, 1))
    y = fused_chain(images, [w], REAL, COUNT, (Stage((POINT,), norm),))
    y.backward(kernels.to_lanes(dy))
    return (w.grad[:, 0].ravel(),)


def of_fused_edge(dy, images):
    weights = leaf(ones(2))
    parts = ChainPart(REAL, (), 0), GivenPart()
    y = fused_edge(weights, None, images, [images], COUNT, parts)
    y.backward(kernels.to_lanes(dy))
    return (weights.grad / 2,)


def gradient_of(function, *shapes):
    """The gradients for leaves of ones of these shapes, as pairs of numbers."""

    def gradients(dy):
        leaves = [leaf(ones(*shape)) for shape in shapes]
        function(*leaves).backward(dy)
        return [t.grad.reshape(2, -1)[:, 0] for t in leaves]

    return gradients


IMAGES = Tensor(ones(COUNT, 2, 1, 1))
SUMS = {
    "an addition": gradient_of(lambda b: IMAGES + b, (1, 2, 1, 1)),
    "the bias of a matrix product": gradient_of(
        lambda b: F.linear(IMAGES.reshape((COUNT, 2)), ones(2, 2), b).reshape(IMAGES.shape), (2,)
    ),
    "a convolution": gradient_of(lambda w, b: F.conv2d(IMAGES, w, b), (2, 2, 1, 1), (2,)),
    "a slope of PReLU": gradient_of(lambda a: F.prelu(-IMAGES, a) * -1, (2,)),
    "a norm in evaluation": gradient_of(
        lambda w, b: F.batch_norm(IMAGES, 0 * ones(2), ones(2), w, b, eps=0.0), (2,), (2,)
    ),
    "weights of a mixed operation": lambda dy: [
        g / 2 for g in gradient_of(lambda s: F.mixed_sum(s, [IMAGES, IMAGES]), (2,))(dy)
    ],
    "a fused norm": lambda dy: of_fused_norm(dy, Tensor(kernels.to_lanes(IMAGES.data))),
    "a fused weight": lambda dy: of_fused_weight(dy, Tensor(kernels.to_lanes(IMAGES.data))),
    "weights of a fused edge": lambda dy: of_fused_edge(dy, Tensor(kernels.to_lanes(IMAGES.data))),
}


@pytest.mark.parametrize("name", SUMS)
def test_gradients_that_are_sums_over_a_large_batch(name):
    dy = ones(COUNT, 2, 1, 1)
    dy[0] = 2**28
    for gradient in SUMS[name](dy):
        assert gradient.dtype == np.float32
        assert gradient.tolist() == [2**28 + COUNT - 1] * 2


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std"])
@pytest.mark.parametrize("mean, deviation", [(1, 0.3), (1e5, 0.1)])
def test_reductions_along_the_first_axis(name, mean, deviation):
    x = (normal(0, 200_000, 2) * deviation + mean).astype(np.float32)
    wide = x.astype(np.float64)
    options = {"ddof": 1} if name in ("var", "std") else {}
    expected = getattr(np, name)(wide, axis=0, **options)
    found = getattr(F, name)(Tensor(x), axis=0)
    assert found.dtype == np.float32
    scale = np.abs(wide).sum(axis=0) if name == "sum" else np.abs(expected) + deviation
    assert (np.abs(found.data - expected) <= 1e-6 * scale).all()


def test_a_standard_deviation_whose_square_is_beyond_float32():
    x = leaf((1e20 * normal(0, 40, 2)).astype(np.float32))
    y = F.std(x, axis=0)
    np.testing.assert_allclose(y.data, x.data.std(axis=0, ddof=1, dtype=np.float64), rtol=1e-6)
    y.sum().backward()
    assert np.isfinite(x.grad).all() and x.grad.any(axis=0).all()


def test_a_mean_of_more_ones_than_float32_can_count():
    rows = np.broadcast_to(ones(1, 2), (20_000_000, 2))  # a view, which takes no memory
    assert F.mean(Tensor(rows), axis=0).data.tolist() == [1, 1]
    assert F.sum(Tensor(rows), axis=0).data.tolist() == [2e7, 2e7]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_an_average_over_a_whole_image(backend):
    """The first pixel is so large that float32 would lose all others, one by one; so is the first gradient."""
    x, dy = ones(1, 2, 33, 33), ones(1, 2, 33, 33)
    x[..., 0, 0] = dy[..., 0, 0] = 2**28
    image, larger = leaf(x), leaf(np.pad(x, ((0, 0), (0, 0), (0, 32), (0, 32))))
    with using(backend):
        y = F.avg_pool2d(image, 33)
        F.avg_pool2d(larger, 33, 1).backward(dy * 33**2)
    assert (y.data * np.float32(33**2)).ravel().tolist() == [2**28 + 33**2 - 1] * 2
    assert larger.grad[0, :, 32, 32].tolist() == [2**28 + 33**2 - 1] * 2


def test_a_softmax_along_a_long_first_axis():
    y = F.softmax(Tensor(np.zeros((3_000_000, 2), np.float32)), axis=0)
    np.testing.assert_allclose(y.data.sum(axis=0, dtype=np.float64), 1, rtol=1e-6)


# ------------------------------------------------------------------------------------ shared state


def shared_arrays():
    """(what is shared, the arguments of batch_norm) where a running array lies in another's memory."""
    x, memory = ones(3, 2, 2, 2), ones(4)
    return {
        "weight": (x, memory[:2], ones(2), memory[:2], None),
        "bias": (x, ones(2), memory[1:3], None, memory[2:]),
        "running_var": (x, memory[:2], memory[1:3], None, None),
        "x": (x, ones(2), x[0, 0, 0], None, None),
    }


@pytest.mark.parametrize("name", ["weight", "bias", "running_var", "x"])
def test_a_running_statistic_in_the_memory_of_another_array_is_refused(name):
    arguments = shared_arrays()[name]
    before = [None if a is None else a.copy() for a in arguments]
    with pytest.raises(ValueError, match=f"shares memory with {name}"):
        F.batch_norm(*arguments, training=True)
    for array, copy in zip(arguments, before):
        np.testing.assert_array_equal(array, copy)


def test_running_statistics_in_the_columns_of_one_array_are_apart():
    columns = np.zeros((2, 4), np.float32)
    mean, var, weight, bias = columns.T
    weight[:] = var[:] = 1
    F.batch_norm(normal(0, 5, 2, 3, 3, dtype=np.float32), mean, var, weight, bias, training=True)
    assert mean.all() and (weight == 1).all() and not bias.any()


def test_a_fused_norm_refuses_shared_statistics():
    norm = nn.BatchNorm2d(2)
    norm.running_var = norm.weight.data
    images = Tensor(kernels.to_lanes(normal(0, 5, 2, 3, 3, dtype=np.float32)))
    with pytest.raises(
        ValueError, match="running_var moves in place and shares memory with weight"
    ):
        fused_chain(images, [norm.weight, norm.bias], REAL, 5, (Stage((), norm),))
