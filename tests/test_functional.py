"""What the operations compute, against SciPy, plain loops and (where it is installed) PyTorch.

Gradients are the business of test_gradcheck.py; here they are compared with PyTorch's, and for
linear operations with the adjoint identity ⟨dy, f(v)⟩ = ⟨dx, v⟩.
"""

import numpy as np
import pytest
from helpers.arrays import normal, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d
from scipy.special import log_softmax, rel_entr, softmax

import bnas.functional as F
from bnas.autodiff import Tensor, grad

some = settings(max_examples=40, deadline=None)
few = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module


def close(got, want):
    got = got.data if isinstance(got, Tensor) else got
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-10)


def same_in_torch(torch, ours, theirs, *arrays):
    """Output and all gradients agree, for a random cotangent."""
    mine = [None if a is None else Tensor(a, requires_grad=True) for a in arrays]
    other = [None if a is None else torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*mine), theirs(*other)
    close(y, z.detach().numpy())
    dy = np.random.default_rng(0).standard_normal(y.shape)
    present = [t for t in mine if t is not None]
    z.backward(torch.tensor(dy))
    for got, want in zip(grad(y, present, dy), (t for t in other if t is not None)):
        close(got, want.grad.numpy())


# ------------------------------------------------------------------------------ small operations

VALUES = np.array([[-2.0, -0.5, 0.0], [0.5, 0.5, 3.0]])
OTHERS = np.array([[1.0, -0.5, -1.0], [0.5, 2.0, 2.0]])  # some equal, some smaller, some larger
MASK = np.array([[True, False, True], [False, True, False]])


@pytest.mark.parametrize(
    "ours, theirs, arrays",
    [
        (F.abs, "abs", [VALUES]),
        (F.sqrt, "sqrt", [np.abs(VALUES) + 0.1]),
        (F.sin, "sin", [VALUES]),
        (F.cos, "cos", [VALUES]),
        (F.sigmoid, "sigmoid", [20 * VALUES]),
        (F.clone, "clone", [VALUES]),
        (F.minimum, "minimum", [VALUES, OTHERS]),
        (F.maximum, "maximum", [VALUES, OTHERS]),
        (F.maximum, "maximum", [VALUES, OTHERS[:, :1]]),
        (lambda a, b: F.stack([a, b], 1), lambda t, a, b: t.stack([a, b], 1), [VALUES, OTHERS]),
        (lambda a, b: F.cat([a, b], 1), lambda t, a, b: t.cat([a, b], 1), [VALUES, OTHERS]),
        (
            lambda a, b: F.where(MASK, a, b),
            lambda t, a, b: a.where(t.tensor(MASK), b),
            [VALUES, OTHERS[0]],
        ),
        (lambda a: a.where(a > 0, a * 3.0), lambda t, a: a.where(a > 0, a * 3.0), [VALUES]),
        (lambda a: a.permute(1, 0), lambda t, a: a.permute(1, 0), [VALUES]),
        (lambda a: a.flatten(), lambda t, a: a.flatten(), [VALUES]),
        (lambda a: a.unsqueeze(1).squeeze(), lambda t, a: a.unsqueeze(1).squeeze(), [VALUES]),
        (lambda a: a.var(), lambda t, a: a.var(), [VALUES]),
        (lambda a: a.var(1, correction=0), lambda t, a: a.var(1, correction=0), [VALUES]),
        (
            lambda a: a.std((0, 1), keepdims=True),
            lambda t, a: a.std((0, 1), keepdim=True),
            [VALUES],
        ),
        (lambda a: a.std(0), lambda t, a: a.std(0), [VALUES]),
    ],
)
def test_small_operations_against_torch(torch, ours, theirs, arrays):
    """On kinks too: 0 in abs, ties in minimum and maximum."""

    def other(*tensors):
        return theirs(torch, *tensors) if callable(theirs) else getattr(torch, theirs)(*tensors)

    same_in_torch(torch, ours, other, *arrays)


@pytest.mark.parametrize("correction", [0, 1])
def test_std_of_equal_values_against_torch(torch, correction):
    """Its slope is undefined there; 0 is what PyTorch takes."""
    x = np.array([[0.1, 0.1, 0.1], [1.0, 5.0, 2.0]])
    same_in_torch(
        torch,
        lambda x: x.std(1, correction=correction),
        lambda x: x.std(1, correction=correction),
        x,
    )


@pytest.mark.parametrize("cotangent", [1.0, -1.0, 0.0])
def test_sqrt_at_zero_has_the_slope_of_torch(torch, cotangent):
    """Infinite; times 0 it is NaN."""
    x, z = Tensor([0.0, 4.0], requires_grad=True), torch.tensor([0.0, 4.0], requires_grad=True)
    z.sqrt().backward(torch.tensor([cotangent, 1.0]))
    with np.errstate(divide="ignore", invalid="ignore"):
        got = grad(x.sqrt(), [x], np.array([cotangent, 1.0]))[0]
    np.testing.assert_array_equal(got, z.grad.numpy())


@pytest.mark.parametrize("low", [True, False])
def test_astype_against_torch(torch, low):
    """A graph of two dtypes, a float32 leaf and a float64 one."""
    kinds = (np.float32, torch.float64) if low else (np.float64, torch.float32)
    x = VALUES.astype(kinds[0])
    mine, other = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = (mine.astype(np.float64 if low else np.float32).sin() * 0.1).sum()
    z = (other.to(kinds[1]).sin() * 0.1).sum()
    z.backward()
    y.backward()
    assert mine.grad.dtype == other.grad.numpy().dtype
    np.testing.assert_allclose(mine.grad, other.grad.numpy(), rtol=1e-6)


# ------------------------------------------------------------------------------------- convolution


@st.composite
def convolutions(draw, most=6):
    """(x shape, w shape, window arguments): anything that fits, ints and pairs alike."""
    either = draw(st.booleans())

    def int_or_pair(low, high):
        one = st.integers(low, high)
        return draw(one if either else st.tuples(one, one))

    groups = draw(st.integers(1, 4))
    channels = (
        draw(st.one_of(st.integers(1, most), st.just(70)))
        if groups == 1
        else groups * draw(st.integers(1, 3))
    )
    out = groups * draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride, padding, dilation = int_or_pair(1, 3), int_or_pair(0, 3), int_or_pair(1, 3)
    size = [
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 5))
        for k, p, d in zip(kernel, both(padding), both(dilation))
    ]
    x_shape = (draw(st.integers(1, 3)), channels, *size)
    return x_shape, (out, channels // groups, *kernel), (stride, padding, dilation, groups)


def both(value):
    return value if isinstance(value, tuple) else (value, value)


def scipy_conv2d(x, w, stride, padding, dilation, groups):
    """Dilate the kernel, pad the image, correlate plane by plane, keep every stride-th output."""
    (sh, sw), (ph, pw), (dh, dw) = both(stride), both(padding), both(dilation)
    wide = np.zeros((*w.shape[:2], dh * (w.shape[2] - 1) + 1, dw * (w.shape[3] - 1) + 1))
    wide[:, :, ::dh, ::dw] = w
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    inputs, outputs = w.shape[1], w.shape[0] // groups
    y = [
        [
            sum(
                correlate2d(image[o // outputs * inputs + c], wide[o, c], "valid")
                for c in range(inputs)
            )
            for o in range(w.shape[0])
        ]
        for image in x
    ]
    return np.array(y)[:, :, ::sh, ::sw]


@some
@given(convolutions(), seeds)
def test_conv2d_against_scipy_and_its_adjoints(problem, seed):
    x_shape, w_shape, window = problem
    x, w, bias = normal(seed, *x_shape), normal(seed + 1, *w_shape), normal(seed + 2, w_shape[0])
    leaves = [Tensor(a, requires_grad=True) for a in (x, w, bias)]
    y = F.conv2d(*leaves, *window)
    close(y, scipy_conv2d(x, w, *window) + bias[:, None, None])
    dy = normal(seed + 3, *y.shape)
    dx, dw, dbias = grad(y, leaves, dy)
    v, u = normal(seed + 4, *x_shape), normal(seed + 5, *w_shape)
    assert np.vdot(dx, v) == pytest.approx(np.vdot(dy, scipy_conv2d(v, w, *window)), abs=1e-8)
    assert np.vdot(dw, u) == pytest.approx(np.vdot(dy, scipy_conv2d(x, u, *window)), abs=1e-8)
    close(dbias, dy.sum(axis=(0, 2, 3)))


@given(convolutions(), seeds, st.booleans())
@some
def test_conv2d_against_torch(torch, problem, seed, with_bias):
    x_shape, w_shape, window = problem
    bias = normal(seed + 2, w_shape[0]) if with_bias else None
    same_in_torch(
        torch,
        lambda *a: F.conv2d(*a, *window),
        lambda *a: torch.nn.functional.conv2d(*a, *window),
        normal(seed, *x_shape),
        normal(seed + 1, *w_shape),
        bias,
    )


def bits(x):
    return np.where(x > 0, 1.0, -1.0)


@some
@given(convolutions(most=130), seeds, st.sampled_from([np.float32, np.float64]))
def test_xnor_conv2d_is_the_convolution_of_signs_to_the_integer(problem, seed, dtype):
    """Zeros of both signs count as -1, padded taps as 0; β multiplies the finished sum."""
    x_shape, w_shape, window = problem
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.5, -0.0, 0.0, 1e-30, 0.3], x_shape).astype(dtype)
    w = rng.choice([-0.7, -0.0, 0.0, 0.2], w_shape).astype(dtype)
    dot = scipy_conv2d(bits(x), bits(w), *window).astype(dtype)
    one = Tensor(np.ones(w_shape[0], dtype))
    got = F.xnor_conv2d(Tensor(x), Tensor(w), one, *window)
    np.testing.assert_array_equal(got.data, dot)
    assert got.dtype == dtype
    beta = rng.standard_normal(w_shape[0]).astype(dtype)
    scaled = F.xnor_conv2d(Tensor(x), Tensor(w), Tensor(beta), *window)
    np.testing.assert_array_equal(scaled.data, dot * beta[:, None, None])
    closed = F.xnor_conv2d(Tensor(x), Tensor(w), None, *window)
    np.testing.assert_array_equal(closed.data, dot * np.abs(w).mean(axis=(1, 2, 3))[:, None, None])


@few
@given(convolutions(), seeds)
def test_gradients_of_xnor_conv2d_are_clipped_float_gradients(problem, seed):
    """Eqs. 4.34, 4.35: those of the convolution of signs, cut off where |x| > 1 or |w| > 1."""
    x_shape, w_shape, window = problem
    x, w, beta = (
        Tensor(1.3 * normal(seed + i, *s)) for i, s in enumerate((x_shape, w_shape, w_shape[:1]))
    )
    sx, sw = Tensor(bits(x.data)), Tensor(bits(w.data))
    for t in (x, w, beta, sx, sw):
        t.requires_grad = True
    y, z = F.xnor_conv2d(x, w, beta, *window), F.conv2d(sx, sw, None, *window)
    dy = normal(seed + 3, *y.shape)
    dx, dw, dbeta = grad(y, [x, w, beta], dy)
    dsx, dsw = grad(z, [sx, sw], dy * beta.data[:, None, None])
    close(dx, dsx * (np.abs(x.data) <= 1))
    close(dw, dsw * (np.abs(w.data) <= 1))
    close(dbeta, (dy * z.data).sum(axis=(0, 2, 3)))


def test_beta_of_cancelling_taps_is_zero_exactly():
    """Inside the sum ±0.1 would cancel to ±eps."""
    x, w = np.ones((1, 10, 1, 1), np.float32), np.full((1, 10, 1, 1), 0.1, np.float32)
    w[0, ::2] *= -1
    assert F.xnor_conv2d(Tensor(x), Tensor(w)).data.tolist() == [[[[0.0]]]]


def test_sign_of_zeros_and_reconstruction_loss():
    x = Tensor([-2.0, -0.0, 0.0, 1e-38, 3.0, np.nan])
    np.testing.assert_array_equal(F.sign_ste(x).data, [-1, -1, -1, 1, 1, -1])
    w, beta = normal(1, 3, 2, 3, 3), np.array([0.5, 1.0, 2.0])
    for scale, given_beta in ((np.abs(w).mean(axis=(1, 2, 3)), None), (beta, Tensor(beta))):
        close(F.channel_scale(w), np.abs(w).mean(axis=(1, 2, 3)))
        want = ((w - scale[:, None, None, None] * bits(w)) ** 2).sum()
        assert F.reconstruction_loss(Tensor(w), given_beta).item() == pytest.approx(want)


# ----------------------------------------------------------------------------------------- pooling


@st.composite
def pools(draw):
    """(x shape, kernel, stride, padding): anything that fits, empty batches too."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    stride = draw(
        st.one_of(st.none(), st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
    )
    size = [max(1, k - 2 * p) + draw(st.integers(0, 5)) for k, p in zip(kernel, padding)]
    return (
        (draw(st.integers(0, 2)), draw(st.sampled_from([1, 3, 70])), *size),
        kernel,
        stride,
        padding,
    )


def windows(x, kernel, stride, padding):
    """Values of every window, NaN where it hangs over the border: (N, C, Ho, Wo, Kh·Kw)."""
    (ph, pw), (sh, sw) = padding, both(kernel if stride is None else stride)
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=np.nan)
    seen = np.lib.stride_tricks.sliding_window_view(x, kernel, (2, 3))[:, :, ::sh, ::sw]
    return seen.reshape(*seen.shape[:4], kernel[0] * kernel[1])


@some
@given(pools(), seeds)
def test_pools_against_their_windows(problem, seed):
    x_shape, *window = problem
    x, v = np.round(2 * normal(seed, *x_shape)), normal(seed + 1, *x_shape)
    seen = windows(x, *window)
    close(F.max_pool2d(Tensor(x), *window), np.nanmax(seen, axis=-1, initial=-np.inf))
    close(F.avg_pool2d(Tensor(x), *window), np.nansum(seen, axis=-1) / seen.shape[-1])
    inside = (~np.isnan(seen)).sum(axis=-1)
    leaf = Tensor(x, requires_grad=True)
    y = F.avg_pool2d(leaf, *window, count_include_pad=False)
    close(y, np.nansum(seen, axis=-1) / inside)
    dy = normal(seed + 2, *y.shape)
    want = np.vdot(dy, np.nansum(windows(v, *window), axis=-1) / inside)
    assert np.vdot(grad(y, [leaf], dy)[0], v) == pytest.approx(want, abs=1e-9)


@given(pools(), seeds)
@some
def test_pools_against_torch(torch, problem, seed):
    x_shape, *window = problem
    x, T = np.round(2 * normal(seed, *x_shape)), torch.nn.functional
    same_in_torch(torch, lambda x: F.max_pool2d(x, *window), lambda x: T.max_pool2d(x, *window), x)
    for count in (True, False):
        same_in_torch(
            torch,
            lambda x: F.avg_pool2d(x, *window, count_include_pad=count),
            lambda x: T.avg_pool2d(x, *window, count_include_pad=count),
            x,
        )


def test_global_avg_pool2d_and_dilated_max_pool2d():
    x = normal(0, 2, 3, 7, 6)
    close(F.global_avg_pool2d(Tensor(x)), x.mean(axis=(2, 3)))
    corners = [x[:, :, i : i + 5, j : j + 4] for i in (0, 2) for j in (0, 2)]
    close(F.max_pool2d(Tensor(x), 2, stride=1, dilation=2), np.max(corners, axis=0))


@pytest.mark.parametrize("batch", [0, 1])
def test_an_empty_batch_gives_an_empty_result_and_zero_weight_gradients(batch):
    x = Tensor(np.ones((batch, 4, 5, 5)), requires_grad=True)
    for kernel, groups in (((3, 3), 1), ((1, 1), 1), ((3, 3), 2), ((3, 3), 4)):
        w = Tensor(np.ones((4, 4 // groups, *kernel)), requires_grad=True)
        for convolve in (F.conv2d, F.xnor_conv2d):
            y = convolve(x, w, groups=groups)
            assert y.shape[0] == batch and y.ndim == 4
            dx, dw = grad(y, [x, w], np.ones(y.shape))
            assert dx.shape == x.shape and dw.any() == bool(batch)
    weights = Tensor([1.0, 2.0], requires_grad=True, dtype=np.float64)
    y = F.mixed_sum(weights, [x, x])
    assert grad(y, [weights], np.ones(y.shape))[0].tolist() == [batch * 100] * 2


# ---------------------------------------------------------------------------------- normalisation


@few
@given(
    st.tuples(st.integers(2, 4), st.sampled_from([1, 3, 70]), st.integers(1, 4), st.integers(1, 4)),
    seeds,
)
def test_batch_norm_against_its_formula(shape, seed):
    x, gamma, beta = (
        3 * normal(seed, *shape) + 5,
        normal(seed + 1, shape[1]),
        normal(seed + 2, shape[1]),
    )
    mean, var = normal(seed + 3, shape[1]), normal(seed + 4, shape[1]) ** 2
    m, v = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    n = x.size // shape[1]

    def formula(m, v):
        scale = gamma / np.sqrt(v + 1e-3)
        return (x - m[:, None, None]) * scale[:, None, None] + beta[:, None, None]

    args = Tensor(x), mean.copy(), var.copy(), gamma, beta
    close(F.batch_norm(*args, training=True, momentum=0.2, eps=1e-3), formula(m, v))
    close(args[1], 0.8 * mean + 0.2 * m)
    close(args[2], 0.8 * var + 0.2 * v * n / (n - 1))
    close(F.batch_norm(*args, eps=1e-3), formula(args[1], args[2]))
    flat = F.batch_norm(Tensor(x[:, :, 0, 0]), mean, var, gamma, beta, eps=1e-3)
    close(
        flat,
        F.batch_norm(Tensor(x[:, :, :1, :1]), mean, var, gamma, beta, eps=1e-3).data[:, :, 0, 0],
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", ["both", "weight", "bias", "neither"])
def test_batch_norm_against_torch(torch, training, affine):
    ours, theirs = (
        (np.arange(3.0), np.arange(1.0, 4)),
        (
            torch.arange(3.0).double(),
            torch.arange(1.0, 4).double(),
        ),
    )
    weight = normal(1, 3) if affine in ("both", "weight") else None
    bias = normal(2, 3) if affine in ("both", "bias") else None
    same_in_torch(
        torch,
        lambda x, w, b: F.batch_norm(x, *ours, w, b, training),
        lambda x, w, b: torch.nn.functional.batch_norm(x, *theirs, w, b, training),
        normal(0, 4, 3, 5, 2),
        weight,
        bias,
    )
    for a, b in zip(ours, theirs):
        close(a, b.numpy())


def test_a_recorded_evaluation_keeps_the_statistics_it_used():
    """Training in between moves the running arrays in place."""
    x, gamma = Tensor(normal(0, 4, 2, 3, 3)), Tensor(np.ones(2), requires_grad=True)
    mean, var = np.zeros(2), np.ones(2)
    y = F.batch_norm(x, mean, var, gamma)
    want = (x.data / np.sqrt(1 + 1e-5)).sum(axis=(0, 2, 3))
    F.batch_norm(x + 7.0, mean, var, training=True)
    close(grad(y, [gamma], np.ones(y.shape))[0], want)


# ------------------------------------------------------------------------------ softmax and losses


@few
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data(), seeds)
def test_softmax_family_against_scipy(shape, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = 5000 * normal(seed, *shape)  # would overflow without the shift
    close(F.softmax(Tensor(x), axis), softmax(x, axis))
    close(F.log_softmax(Tensor(x), axis), log_softmax(x, axis))


@st.composite
def classified(draw):
    """(logits, labels, keywords) with at least one label that counts."""
    batch, classes = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(seeds))
    ignored = draw(st.sampled_from([-100, -1, 0, 1]))
    labels = rng.choice([*range(classes), ignored], batch)
    labels[0] = classes - 1 if ignored != classes - 1 else 0
    return (
        rng.standard_normal((batch, classes)),
        labels,
        {
            "weight": draw(st.sampled_from([None, rng.uniform(0.1, 2, classes)])),
            "ignore_index": ignored,
            "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
        },
    )


@some
@given(classified())
def test_cross_entropy_against_a_loop(problem):
    x, labels, options = problem
    smoothing, classes = options["label_smoothing"], x.shape[1]
    weight = np.ones(classes) if options["weight"] is None else options["weight"]
    losses, total = np.zeros(len(x)), 0.0
    for b, label in enumerate(labels):
        if label != options["ignore_index"]:
            q = (1 - smoothing) * np.eye(classes)[label] + smoothing / classes
            losses[b] = -(q * weight * log_softmax(x[b])).sum()
            total += weight[label]
    for reduction, want in (
        ("none", losses),
        ("sum", losses.sum()),
        ("mean", losses.sum() / total),
    ):
        close(F.cross_entropy(Tensor(x), labels, reduction=reduction, **options), np.asarray(want))


@given(classified(), st.sampled_from(["none", "sum", "mean"]))
@some
def test_cross_entropy_against_torch(torch, problem, reduction):
    x, labels, options = problem
    theirs = {
        **options,
        "weight": None if options["weight"] is None else torch.tensor(options["weight"]),
    }
    same_in_torch(
        torch,
        lambda x: F.cross_entropy(x, labels, reduction=reduction, **options),
        lambda x: torch.nn.functional.cross_entropy(
            x, torch.tensor(labels), reduction=reduction, **theirs
        ),
        x,
    )


def test_kl_div_and_its_reductions():
    p, q = softmax(normal(0, 3, 4), axis=1), softmax(normal(1, 3, 4), axis=1)
    p[0, 0] = 0.0  # contributes nothing
    losses = rel_entr(p, q)
    wants = {
        "none": losses,
        "sum": losses.sum(),
        "mean": losses.sum() / 12,
        "batchmean": losses.sum() / 3,
    }
    for reduction, want in wants.items():
        close(F.kl_div(Tensor(np.log(q)), p, reduction=reduction), np.asarray(want))
    close(F.kl_div(Tensor(np.log(q)), p), np.asarray(wants["mean"]))


@pytest.mark.parametrize("reduction", ["none", "sum", "batchmean"])
def test_kl_div_against_torch(torch, reduction):
    p, q = softmax(normal(0, 3, 4), axis=1), softmax(normal(1, 3, 4), axis=1)
    same_in_torch(
        torch,
        lambda x, p: F.kl_div(x, p, reduction=reduction),
        lambda x, p: torch.nn.functional.kl_div(x, p, reduction=reduction),
        np.log(q),
        p,
    )


def test_kl_div_of_equal_distributions_is_zero_and_flat():
    logits = Tensor(normal(0, 3, 4), requires_grad=True)
    loss = F.kl_div(F.log_softmax(logits, 1), softmax(logits.data, axis=1), reduction="batchmean")
    assert abs(loss.item()) < 1e-12 and np.abs(grad(loss, [logits])[0]).max() < 1e-12
