"""Kernels against their NumPy twins, and the twins against definitions and against PyTorch.

The 1-bit kernels have a file of their own, `test_xnor`.
"""

import inspect

import numba
import numpy as np
import pytest
from helpers.arrays import normal, seeds
from helpers.twins import (
    assert_twins,
    awkward,
    disguise,
    disguises,
    dtypes,
    some,
    tolerance,
    windows,
)
from hypothesis import given
from hypothesis import strategies as st

from bnas import kernels, reference
from bnas.kernels import threads


def test_twins_have_the_same_signatures():
    for name in kernels.__all__:
        ours, theirs = getattr(kernels, name), getattr(reference, name)
        assert inspect.signature(ours) == inspect.signature(theirs), name


# ------------------------------------------------------------------------- depthwise convolution


@some
@given(
    windows(),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([1, 3, 40]),
    disguises,
    dtypes,
    seeds,
)
def test_depthwise_conv2d(window, channels, multiplier, batch, how, dtype, seed):
    size, (kernel, *rest) = window
    x = disguise(normal(seed, batch, channels, *size, dtype=dtype), how)
    w = disguise(normal(seed + 1, channels * multiplier, 1, *kernel, dtype=dtype), how)
    close = {"tolerance": 10 * tolerance(dtype)}
    y = assert_twins("depthwise_conv2d", x, w, *rest, **close)
    dy = disguise(normal(seed + 2, *y.shape, dtype=dtype), how)
    assert_twins("depthwise_conv2d_dx", dy, w, x.shape, *rest, **close)
    assert_twins("depthwise_conv2d_dw", dy, x, w.shape, *rest, **close)


@some
@given(windows(), st.integers(1, 3), seeds)
def test_depthwise_gradients_are_adjoint(window, multiplier, seed):
    size, (kernel, *rest) = window
    x, w = normal(seed, 2, 2, *size), normal(seed + 1, 2 * multiplier, 1, *kernel)
    y = reference.depthwise_conv2d(x, w, *rest)
    dy = normal(seed + 2, *y.shape)
    dx = reference.depthwise_conv2d_dx(dy, w, x.shape, *rest)
    dw = reference.depthwise_conv2d_dw(dy, x, w.shape, *rest)
    assert np.vdot(dx, x) == pytest.approx(np.vdot(dy, y), abs=1e-10)
    assert np.vdot(dw, w) == pytest.approx(np.vdot(dy, y), abs=1e-10)


# --------------------------------------------------------------------------------------- pooling


@some
@given(windows(), disguises, dtypes, seeds)
def test_max_pool2d(window, how, dtype, seed):
    size, window = window
    x = disguise(awkward(seed, 3, 2, *size, dtype=dtype), how)
    y, index = assert_twins("max_pool2d", x, *window)
    dy = disguise(normal(seed + 1, *y.shape, dtype=dtype), how)
    assert_twins("max_pool2d_dx", dy, disguise(index, how), x.shape, tolerance=tolerance(dtype))


def test_max_pool2d_takes_the_first_maximum_and_never_the_padding():
    x = np.array([[-3, -np.inf], [-2, -2.0]]).reshape(1, 1, 2, 2)
    y, index = kernels.max_pool2d(x, (2, 2), (1, 1), (1, 1), (1, 1))
    assert y[0, 0].tolist() == [[-3, -3, -np.inf], [-2, -2, -2], [-2, -2, -2]]
    assert index[0, 0].tolist() == [[0, 0, 1], [2, 2, 3], [2, 2, 3]]


def test_max_pool2d_of_a_window_that_sees_only_padding():
    y, index = kernels.max_pool2d(np.ones((1, 1, 1, 1)), (2, 2), (1, 1), (1, 1), (2, 2))
    assert y.item() == -np.inf and index.item() == -1
    assert kernels.max_pool2d_dx(np.ones_like(y), index, (1, 1, 1, 1)).item() == 0


@some
@given(windows(), st.booleans(), disguises, dtypes, seeds)
def test_avg_pool2d(window, count_include_pad, how, dtype, seed):
    size, (kernel, stride, padding, _) = window
    x = disguise(normal(seed, 3, 2, *size, dtype=dtype), how)
    rest, close = (kernel, stride, padding, count_include_pad), {"tolerance": tolerance(dtype)}
    if min(np.add(size, np.multiply(2, padding)) - kernel) < 0:
        return
    y = assert_twins("avg_pool2d", x, *rest, **close)
    dy = disguise(normal(seed + 1, *y.shape, dtype=dtype), how)
    dx = assert_twins("avg_pool2d_dx", dy, x.shape, *rest, **close)
    assert np.vdot(dx, x) == pytest.approx(np.vdot(dy, y), rel=1e-4, abs=1e-3)


# ----------------------------------------------------------------------------- batch normalisation


@some
@given(
    st.tuples(*[st.integers(1, 5)] * 4),
    st.sampled_from([0.0, 1e4]),
    st.booleans(),
    disguises,
    dtypes,
    seeds,
)
def test_batch_norm(shape, shift, affine, how, dtype, seed):
    x = disguise(shift + normal(seed, *shape, dtype=dtype), how)
    gamma, beta = (normal(seed + k, shape[1], dtype=dtype) for k in (1, 2))
    gamma, beta = (gamma, beta) if affine else (None, None)
    close = {"tolerance": 1e-3 if dtype == np.float32 and shift else 10 * tolerance(dtype)}
    y, mean, var = assert_twins("batch_norm", x, gamma, beta, 1e-2, **close)
    dy = disguise(normal(seed + 3, *shape, dtype=dtype), how)
    assert_twins("batch_norm_dx", dy, x, gamma, mean, var, 1e-2, **close)


def test_batch_norm_far_from_zero():
    noise = normal(0, 64, 3, 8, 8)
    x = (1e4 + noise).astype(np.float32)
    exact = x.astype(np.float64)
    y, mean, var = kernels.batch_norm(x, None, None, 1e-5)
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(var, exact.var(axis=(0, 2, 3)), rtol=1e-5)
    assert abs(y.mean(axis=(0, 2, 3), dtype=np.float64)).max() < 1e-6
    assert y.std(axis=(0, 2, 3), dtype=np.float64) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("twin", [kernels, reference])
def test_batch_norm_gradient_is_the_finite_difference(twin):
    x, gamma, beta, dy = normal(0, 3, 2, 2, 2), normal(1, 2), normal(2, 2), normal(3, 3, 2, 2, 2)
    _, mean, var = twin.batch_norm(x, gamma, beta, 1e-3)
    gradients = twin.batch_norm_dx(dy, x, gamma, mean, var, 1e-3)
    for position, gradient in enumerate(gradients):
        for i in range(gradient.size):
            ends = []
            for step in (1e-6, -1e-6):
                args = [x.copy(), gamma.copy(), beta.copy()]
                args[position].flat[i] += step
                ends.append(np.vdot(dy, twin.batch_norm(*args, 1e-3)[0]))
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(gradient.flat[i], abs=1e-7)


# ------------------------------------------------------------------------------------- all of them


def run_all(module, x, seed=0):
    """Outputs of every kernel on x (N, C, H, W)."""
    n, c = x.shape[:2]
    w = normal(seed, 2 * c, 1, 3, 3, dtype=x.dtype)
    dense = normal(seed, 4, c, 3, 3, dtype=x.dtype)
    window = ((2, 1), (1, 1), (1, 2))
    words = module.pack_bits(x)
    y = module.depthwise_conv2d(x, w, *window)
    pooled, index = module.max_pool2d(x, (3, 3), *window)
    average = module.avg_pool2d(x, (3, 3), (2, 2), (1, 1), False)
    normed, mean, var = module.batch_norm(x, None, None, 1e-5)
    return [
        words,
        module.unpack_bits(words, c, x.dtype),
        module.xnor_matmul(words[:, 0, 0, 0], words[:, 0, -1, -1], c),
        module.xnor_conv2d(x, dense, None, *window, 1),
        module.xnor_conv2d(x, w, None, *window, c),
        module.conv2d(x, dense, dense[:, 0, 0, 0], *window, 1),
        y,
        module.depthwise_conv2d_dx(y, w, x.shape, *window),
        module.depthwise_conv2d_dw(y, x, w.shape, *window),
        pooled,
        index,
        module.max_pool2d_dx(pooled, index, x.shape),
        average,
        module.avg_pool2d_dx(average, x.shape, (3, 3), (2, 2), (1, 1), True),
        normed,
        mean,
        var,
        *module.batch_norm_dx(normed, x, None, mean, var, 1e-5),
    ]


def test_work_that_is_split_into_several_tasks():
    x = normal(0, 9, 5, 30, 33)
    for ours, theirs in zip(run_all(kernels, x), run_all(reference, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("module", [kernels, reference])
def test_empty_batch(module):
    with np.errstate(all="raise"):
        outputs = run_all(module, np.empty((0, 3, 5, 4), np.float32))
    for array in outputs:
        assert array.size == 0 or not array.any()


@pytest.mark.parametrize("size", [3, 16])
def test_threads_do_not_change_a_bit(size, monkeypatch):
    x = normal(0, 70, 5, size, size, dtype=np.float32)
    alone = run_all(kernels, x)  # far below what sharing is worth
    monkeypatch.setattr(threads, "WORTH_SHARING", 0)
    for count in (1, 2, 3, 7):
        monkeypatch.setattr(numba, "get_num_threads", lambda: count)
        for _ in range(3):
            for a, b in zip(alone, run_all(kernels, x), strict=True):
                assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("module", [kernels, reference])
@pytest.mark.parametrize("stride, dilation", [((1, 1), (1, 1)), ((2, 1), (1, 2)), ((3, 2), (2, 1))])
def test_agrees_with_torch(module, stride, dilation):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    options = {"stride": stride, "padding": (1, 2), "dilation": dilation}
    window = tuple(options.values())

    def check(ours, theirs):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-10, atol=1e-10)

    x, w, dense = normal(0, 3, 4, 9, 8), normal(1, 8, 1, 3, 3), normal(2, 6, 2, 3, 3)
    tx, tw = (torch.tensor(a, requires_grad=True) for a in (x, w))
    y = functional.conv2d(tx, tw, groups=4, **options)
    dy = normal(3, *y.shape)
    tdx, tdw = torch.autograd.grad(y, (tx, tw), torch.tensor(dy))
    check(module.depthwise_conv2d(x, w, *window), y)
    check(module.depthwise_conv2d_dx(dy, w, x.shape, *window), tdx)
    check(module.depthwise_conv2d_dw(dy, x, w.shape, *window), tdw)
    for filters, groups in ((w, 4), (dense, 2)):
        signs = [torch.tensor(np.where(a > 0, 1.0, -1.0)) for a in (x, filters)]
        check(
            module.xnor_conv2d(x, filters, None, *window, groups),
            functional.conv2d(*signs, groups=groups, **options),
        )
        check(
            module.conv2d(x, filters, filters[:, 0, 0, 0], *window, groups),
            functional.conv2d(
                tx, *map(torch.tensor, (filters, filters[:, 0, 0, 0])), groups=groups, **options
            ),
        )

    x[0, 0, :2, :3] = np.nan  # several in a window
    x[1, 1] = np.round(x[1, 1])  # ties
    tx = torch.tensor(x, requires_grad=True)
    y, index = functional.max_pool2d(tx, (3, 4), return_indices=True, **options)
    ours, where = module.max_pool2d(x, (3, 4), *window)
    check(ours, y)
    check(where, index)
    dy = normal(4, *y.shape)
    check(module.max_pool2d_dx(dy, where, x.shape), torch.autograd.grad(y, tx, torch.tensor(dy))[0])

    x = normal(5, 3, 4, 9, 8)
    tx, gamma, beta = (torch.tensor(a, requires_grad=True) for a in (x, normal(6, 4), normal(7, 4)))
    for include in (True, False):
        y = functional.avg_pool2d(tx, (3, 4), stride, (1, 2), count_include_pad=include)
        dy = normal(8, *y.shape)
        check(module.avg_pool2d(x, (3, 4), stride, (1, 2), include), y)
        check(
            module.avg_pool2d_dx(dy, x.shape, (3, 4), stride, (1, 2), include),
            torch.autograd.grad(y, tx, torch.tensor(dy))[0],
        )

    y = functional.batch_norm(tx, None, None, gamma, beta, training=True, eps=1e-3)
    dy = normal(9, *y.shape)
    ours, mean, var = module.batch_norm(x, gamma.detach().numpy(), beta.detach().numpy(), 1e-3)
    check(ours, y)
    gradients = module.batch_norm_dx(dy, x, gamma.detach().numpy(), mean, var, 1e-3)
    for mine, other in zip(gradients, torch.autograd.grad(y, (tx, gamma, beta), torch.tensor(dy))):
        check(mine, other)
