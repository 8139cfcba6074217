"""The kernels of fused training, on images in lanes, against their NumPy twins."""

from functools import partial

import numpy as np
import pytest
from helpers.arrays import normal, seeds
from helpers.twins import assert_twins, dtypes, some, tolerance
from hypothesis import given, settings
from hypothesis import strategies as st

from bnas.fused import kernels, reference
from bnas.fused.kernels.lanes import lanes_of
from bnas.kernels.windows import Window

assert_lane_twins = partial(assert_twins, modules=(kernels, reference))


@st.composite
def images_in_lanes(draw, largest=9):
    """(x (blocks, C, H, W, L), batch): any size up to `largest`, the last block full or not."""
    dtype, batch = draw(dtypes), draw(st.integers(1, 20))
    channels = draw(st.integers(1, 6))
    size = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    x = normal(draw(seeds), batch, channels, *size, dtype=dtype)
    return reference.to_lanes(x), batch


def like(x, seed, *shape):
    return normal(seed, *(shape or x.shape), dtype=x.dtype)


def assert_close(ours, theirs, dtype):
    """Close relative to the largest entry."""
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    limit = 10 * tolerance(dtype) * max(np.abs(theirs).max(initial=0), 1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=limit)


@some
@given(seeds, dtypes, st.integers(0, 40), st.integers(1, 4), st.integers(1, 4))
def test_into_lanes_and_back(seed, dtype, batch, channels, size):
    x = normal(seed, batch, channels, size, size + 1, dtype=dtype)
    lanes = assert_lane_twins("to_lanes", x)
    np.testing.assert_array_equal(assert_lane_twins("from_lanes", lanes, batch), x)
    if batch:
        image = batch - 1
        block, lane = divmod(image, lanes_of(dtype))
        np.testing.assert_array_equal(lanes[block, ..., lane], x[image])


@some
@given(images_in_lanes(), st.integers(1, 4), seeds, st.booleans())
def test_weighted_sums_lane_sums_and_scaling(case, terms, seed, with_base):
    x, _ = case
    blocks, channels, *_, lanes = x.shape
    xs = tuple(like(x, seed + m) for m in range(terms))
    means, factors = normal(seed, terms, channels), like(x, seed, terms, blocks, channels, lanes)
    loose = 20 * tolerance(x.dtype)
    base, offset = x if with_base else None, like(x, seed + 9, blocks, channels, lanes)
    assert_lane_twins("weighted_sum", base, xs, means, factors, offset, tolerance=loose)
    assert_lane_twins("lane_sums", x, xs, means, tolerance=loose)
    assert_lane_twins("scale_lanes", x, factors[0])
    slopes = (like(x, seed + i, blocks, channels, lanes) for i in range(3))
    norm = means[0], like(x, seed, channels), *slopes
    assert_lane_twins("norm_gradient", x, xs[0], *norm, tolerance=loose)


@some
@given(images_in_lanes(), seeds, st.booleans(), st.sampled_from([0.0, 0.1]))
def test_statistics_of_a_batch(case, seed, scaled, momentum):
    x, batch = case
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    if batch * pixels < 2:
        return
    sums, squares = assert_lane_twins("moments", x, tolerance=20 * tolerance(x.dtype))
    scale = abs(like(x, seed, channels)) if scaled else np.empty(0, x.dtype)
    results = []
    for module in (kernels, reference):
        running = np.zeros(channels, x.dtype), np.ones(channels, x.dtype)
        found = module.batch_statistics(
            sums, squares, batch, pixels, scale, 1e-5, *running, momentum
        )
        results.append((*found, *running))
    for ours, theirs in zip(*results):
        assert_close(ours, theirs, x.dtype)
    z = reference.from_lanes(x, batch).astype(np.float64) * (scale[:, None, None] if scaled else 1)
    np.testing.assert_allclose(results[0][0], z.mean(axis=(0, 2, 3)), atol=1e-5)
    expected = 1 / np.sqrt(z.var(axis=(0, 2, 3)) + 1e-5)
    np.testing.assert_allclose(results[0][1], expected, rtol=1e-3)
    moved = z.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(results[0][3], 1 + momentum * (moved - 1), rtol=1e-4)


@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_moments_of_data_far_from_zero(offset):
    """E[z²] - m² in float32 would leave nothing of a variance of 1 at a mean of 10,000."""
    x = normal(0, 32, 3, 8, 8) + offset
    sums, squares = kernels.moments(reference.to_lanes(x.astype(np.float32)))
    running = np.zeros(3, np.float32), np.ones(3, np.float32)
    nothing = np.empty(0, np.float32)
    _, inverse = kernels.batch_statistics(sums, squares, 32, 64, nothing, 0.0, *running, 0.1)
    exact = x.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(inverse, 1 / exact.std(axis=(0, 2, 3)), rtol=1e-4)


def test_the_mean_of_integers_is_subtracted_exactly():
    """Else the next sign of a 1-bit unit would depend on the order of summation."""
    dot = np.random.default_rng(0).integers(-9, 10, (24, 2, 3, 3)).astype(np.float32)
    dot[:, 1] -= dot[:, 1].mean()
    dot = np.concatenate([dot, -dot]) + np.float32([0, 3])[:, None, None]  # means 0 and 3
    dot = np.round(dot)
    assert dot.mean(axis=(0, 2, 3), dtype=float).tolist() == [0, 3]
    scale = np.float32([0.1, 0.3])
    sums, squares = kernels.moments(kernels.to_lanes(dot))
    running = np.zeros(2, np.float32), np.ones(2, np.float32)
    mean, _ = kernels.batch_statistics(sums, squares, 48, 9, scale, 1e-5, *running, 0.1)
    centred = dot * scale[:, None, None] - mean[:, None, None]
    ties = dot == np.float32([0, 3])[:, None, None]
    assert ties.any() and not centred[ties].any()


@some
@given(images_in_lanes(), seeds, st.booleans())
def test_slopes_of_a_norm(case, seed, training):
    x, batch = case
    blocks, channels, height, width, lanes = x.shape
    sums = [normal(seed + i, blocks, channels, lanes) for i in range(2)]
    factor, inverse = like(x, seed, blocks, lanes), abs(like(x, seed, channels))
    count = batch * height * width if training else 0
    loose = 20 * tolerance(x.dtype)
    a, e, f = assert_lane_twins(
        "norm_slopes", *sums, factor, inverse, count, batch, tolerance=loose
    )
    for part in (a, e, f):
        assert not part.transpose(0, 2, 1).reshape(blocks * lanes, -1)[batch:].any()
    assert e.any() == training


@some
@given(images_in_lanes(), seeds, st.booleans(), st.sampled_from([(3, 1, 1), (3, 2, 1), (2, 1, 1)]))
def test_pooling_in_lanes(case, seed, largest, window):
    x, _ = case
    x = np.round(x, 1)  # so that there are ties
    y = assert_lane_twins("pool_lanes", x, largest, *window, tolerance=tolerance(x.dtype))
    dy = like(y, seed)
    loose = 5 * tolerance(x.dtype)
    assert_lane_twins("pool_lanes_dx", dy, y, x, largest, *window, tolerance=loose)


@st.composite
def unit_windows(draw):
    kind = draw(st.sampled_from(["depthwise", "pointwise", "second pixels", "shifted"]))
    if kind == "pointwise":
        return Window((1, 1))
    if kind == "second pixels":
        return Window((1, 1), (2, 2))
    if kind == "shifted":
        return Window((1, 1), (2, 2), (1, 1), skip=1)
    k, dilation = draw(st.sampled_from([(3, 1), (3, 2), (5, 1), (5, 2), (2, 1)]))
    kernel, stride = (k, draw(st.sampled_from([k, 3]))), draw(st.integers(1, 3))
    padding = tuple(dilation * (n - 1) // 2 for n in kernel)
    return Window(
        kernel, (stride, draw(st.sampled_from([stride, 1]))), padding, (dilation, dilation)
    )


@settings(max_examples=24, deadline=None)
@given(
    st.one_of(images_in_lanes(), images_in_lanes(largest=40)),  # in one stripe, and in several
    unit_windows(),
    st.integers(1, 9),
    seeds,
    st.sampled_from(["real", "real, of 1-bit inputs", "1-bit"]),
    st.data(),
)
def test_units_and_their_gradients(case, window, outputs, seed, weights, data):
    x, batch = case
    blocks, channels, height, width, lanes = x.shape
    if min(height, width) == 1 and window.kernel[0] == 2:  # does not fit
        window = window._replace(kernel=(3, 3), padding=window.dilation)
    depthwise = None if window.kernel == (1, 1) else like(x, seed + 1, channels, 1, *window.kernel)
    pointwise = like(x, seed + 2, outputs, channels, 1, 1)
    binary = weights != "real"
    if binary:
        arguments = depthwise, pointwise, weights == "1-bit"
        unit, other = (m.binary_unit(*arguments) for m in (kernels, reference))
    else:
        unit, other = (m.real_unit(depthwise, pointwise) for m in (kernels, reference))
    for mine, twin in zip(unit, other):
        np.testing.assert_allclose(mine, twin, rtol=1e-6)
    norm = normal(seed + 3, channels), *(like(x, seed + i, channels) for i in (4, 11))
    arguments = x, norm, other, window
    ours, theirs = kernels.separable(*arguments), reference.separable(*arguments)
    for mine, twin in zip(ours, theirs):
        assert_close(mine, twin, x.dtype)
    if weights == "1-bit":  # integers, times β
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])

    z, dy = theirs[0], np.repeat(like(theirs[0], seed + 5), 2, axis=1)[:, ::2]  # not contiguous
    after = (
        normal(seed + 6, outputs),
        like(x, seed + 12, outputs),
        *(like(x, seed + i, blocks, outputs, lanes) for i in (7, 8, 9)),
    )
    slope = data.draw(st.sampled_from(["clip", "identity", "polynomial"] if binary else ["relu"]))
    learns, given, summed = (data.draw(st.booleans(), s) for s in ("learns", "given dx", "summed"))
    results = []
    for module in (kernels, reference):
        dx = like(x, seed + 10) if given else None
        sums = normal(seed, 2, blocks, channels, lanes) if summed else None
        settings = slope, learns, dx, sums
        results.append((*module.separable_gradients(dy, z, after, *arguments, *settings), sums))
        assert not given or results[-1][0] is dx
    assert learns == (results[0][1] is not None)
    for mine, twin in zip(*results):
        if twin is not None:
            assert_close(mine, twin, x.dtype)


def assert_1_bit_unit(x, depthwise, pointwise, **window):
    """That a 1-bit unit of these latent weights gives the bits of its twin and, of finite z, its gradients.

    window: of the depthwise convolution, all but its kernel; a padding that keeps the size, if not given.
    """
    channels, outputs, kernel = x.shape[1], len(pointwise), 1
    if depthwise is not None:
        kernel = depthwise.shape[-1]
    norm = normal(1, channels), *(like(x, i, channels) for i in (2, 3))
    unit = reference.binary_unit(depthwise, pointwise)
    window = Window((kernel, kernel), **{"padding": (kernel // 2, kernel // 2), **window})
    arguments = x, norm, unit, window
    ours, theirs = kernels.separable(*arguments), reference.separable(*arguments)
    for mine, twin in zip(ours[:2], theirs):
        np.testing.assert_array_equal(mine, twin)
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-12, atol=1e-9)
    if not (np.isfinite(x).all() and np.isfinite(theirs[0]).all()):
        return
    slopes = (like(x, i, len(x), outputs, x.shape[-1]) for i in (4, 5, 6))
    after = normal(7, outputs), like(x, 8, outputs), *slopes
    z, dy = theirs[0], like(theirs[0], 9)
    gradients = (
        module.separable_gradients(dy, z, after, *arguments, "polynomial", True)
        for module in (kernels, reference)
    )
    for mine, twin in zip(*gradients):
        assert_close(mine, twin, x.dtype)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("channels", [7, 8, 9, 17, 40, 255, 256])
def test_units_of_many_signs(channels, kernel):
    """Eight channels are counted together, in up to eight digits; beyond, and for other kernels, in floats."""
    dtype = np.float32 if channels % 2 else np.float64
    x = reference.to_lanes(normal(0, 9, channels, 5, 4, dtype=dtype))
    depthwise = None if kernel == 1 else like(x, 1, channels, 1, kernel, kernel)
    assert_1_bit_unit(x, depthwise, like(x, 2, 3, channels, 1, 1))
    if kernel > 1:  # with β of 0 all signs are alike, and the sums as large as they can be
        alike = np.ones((1, channels, 1, 1), dtype)
        assert_1_bit_unit(x, 0 * depthwise, np.concatenate([alike, -alike]))


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(
    "window",
    [
        {"padding": (5, 5)},  # outputs that see nothing of the image
        {"padding": (1, 30)},
        {"padding": (9, 0), "stride": (4, 2)},
        {"padding": (8, 8), "dilation": (4, 2)},
        {"padding": (120, 120), "dilation": (60, 60)},
        {"padding": (2, 2), "stride": (3, 5)},
        {"padding": (1, 1), "stride": (2, 2), "skip": 1},
    ],
)
def test_1_bit_units_of_unusual_windows(window, kernel):
    x = reference.to_lanes(normal(0, 5, 9, 6, 7, dtype=np.float32))
    depthwise = None if kernel == 1 else like(x, 1, 9, 1, kernel, kernel)
    assert_1_bit_unit(x, depthwise, like(x, 2, 3, 9, 1, 1), **window)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("value", [0.0, -0.0, np.nan, np.inf])
def test_signs_of_what_is_no_number_and_of_zeros(value, kernel):
    """The sign of 0 and of NaN is -1, also of a sum times a β of 0."""
    x = normal(0, 16, 4, 6, 6, dtype=np.float32)
    depthwise = like(x, 1, 4, 1, kernel, kernel)
    depthwise[1] = value
    pointwise = like(x, 2, 5, 4, 1, 1)
    x[:, 2] = value
    if np.isfinite(value):
        x[:, :, ::2], pointwise[2] = value, value
    assert_1_bit_unit(reference.to_lanes(x), None if kernel == 1 else depthwise, pointwise)


@pytest.mark.parametrize("slope", ["relu", "clip", "polynomial"])
def test_an_activation_that_is_flat_lets_no_infinite_gradient_through(slope):
    x = reference.to_lanes(np.full((8, 1, 1, 1), -2.0, np.float32))
    pointwise, ones = np.ones((1, 1, 1, 1), np.float32), np.ones(1, np.float32)
    unit = kernels.binary_unit(None, pointwise, True)
    if slope == "relu":
        unit = kernels.real_unit(None, pointwise)
    norm, lane = (np.zeros(1), ones, 0 * ones), np.ones((1, 1, 16), np.float32)[..., : x.shape[-1]]
    after = np.zeros(1), ones, lane, 0 * lane, 0 * lane
    dy = np.full_like(x, np.inf)
    dx, *_ = kernels.separable_gradients(dy, x, after, x, norm, unit, Window((1, 1)), slope, False)
    assert not reference.from_lanes(dx, 8).any()
