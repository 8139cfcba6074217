"""1-bit kernels, and the real convolution built like them, against their twins and definitions."""

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

import bnas.functional as F
from bnas import kernels, reference
from bnas.kernels import threads, tiles
from bnas.kernels.packing import packed_planes
from bnas.kernels.windows import Window
from bnas.kernels.xnor import multiply, prepare

CHANNELS = [1, 2, 63, 64, 65, 70, 130]
PLAIN = ((1, 1), (0, 0), (1, 1))  # stride, padding, dilation
EDGES = [1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 97]  # around a vector of words, a panel, two panels
filters = st.integers(1, 9)  # whole tiles of 4 output channels, and parts of one


def words(seed, rows, length, bits):
    """Random packed vectors, uint64 (rows, length), of which only the first `bits` may be set."""
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 2**64, (rows, length), np.uint64, endpoint=False)
    for j in range(length):
        used = min(max(bits - 64 * j, 0), 64)
        array[:, j] &= np.uint64(2**used - 1)
    return array


# --------------------------------------------------------------------------------------- packing


@some
@given(st.sampled_from(CHANNELS), st.integers(1, 3), disguises, dtypes, seeds)
def test_packing(channels, groups, how, dtype, seed):
    x = disguise(awkward(seed, 2, groups * channels, 3, 2, dtype=dtype), how)
    packed = assert_twins("pack_bits", x, groups)
    assert packed.shape == (2, groups, 3, 2, -(-channels // 64))
    signs = assert_twins("unpack_bits", packed, channels, dtype)
    np.testing.assert_array_equal(signs, np.where(x > 0, 1, -1))


@pytest.mark.parametrize("pixels", EDGES)
def test_packing_around_whole_vectors_of_pixels(pixels):
    assert_twins("pack_bits", awkward(pixels, 2, 65, 1, pixels))


def test_packed_bits_stand_where_they_should():
    x = np.full((1, 66, 1, 2), -1.0)
    x[0, 3, 0, 0] = x[0, 65, 0, 1] = 0.5
    x[0, :3, 0, 0] = 0.0, -0.0, np.nan
    assert kernels.pack_bits(x)[0, 0, 0].tolist() == [[8, 0], [0, 2]]


# ---------------------------------------------------------------------------------------- matmul


@some
@given(
    st.integers(0, 9), st.integers(0, 70), st.integers(0, 5), st.integers(0, 320), disguises, seeds
)
def test_xnor_matmul(m, n, length, bits, how, seed):
    bits = min(bits, 64 * length)
    a, b = (words(seed + k, rows, length, bits) for k, rows in enumerate((m, n)))
    a, b = (disguise(array[None, None], how)[0, 0] for array in (a, b))
    assert_twins("xnor_matmul", a, b, bits)


def test_xnor_matmul_is_the_product_of_the_signs():
    x, y = awkward(0, 6, 70, 1, 1), awkward(1, 5, 70, 1, 1)
    a, b = (kernels.pack_bits(array).reshape(len(array), -1) for array in (x, y))
    signs = [np.where(array[:, :, 0, 0] > 0, 1, -1) for array in (x, y)]
    np.testing.assert_array_equal(kernels.xnor_matmul(a, b, 70), signs[0] @ signs[1].T)
    np.testing.assert_array_equal(
        kernels.xnor_matmul(a[::-2], b[1:], 70)[0], (signs[0][5] @ signs[1].T)[1:]
    )


@pytest.mark.parametrize(
    "a, b, bits, message",
    [
        (np.zeros((2, 1), np.int64), np.zeros((2, 1), np.uint64), 3, "uint64"),
        (np.zeros((2, 1), np.uint64), np.zeros((2, 1)), 3, "float64"),
        (np.zeros(2, np.uint64), np.zeros((2, 1), np.uint64), 3, r"\(2,\)"),
        (np.zeros((2, 1), np.uint64), np.zeros((1, 2, 1), np.uint64), 3, r"\(1, 2, 1\)"),
        (np.zeros((2, 1), np.uint64), np.zeros((2, 2), np.uint64), 3, r"\(2, 1\).*\(2, 2\)"),
        (np.zeros((2, 1), np.uint64), np.zeros((2, 1), np.uint64), 65, "65 bits"),
        (np.zeros((2, 1), np.uint64), np.zeros((2, 1), np.uint64), -1, "-1 bits"),
    ],
)
def test_xnor_matmul_refuses(a, b, bits, message):
    with pytest.raises(ValueError, match=message):
        kernels.xnor_matmul(a, b, bits)


@pytest.mark.parametrize("count_tile", [tiles._plain, tiles._carry_save])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 8, 75])
def test_both_ways_to_count_a_tile(count_tile, length):
    """Private names, as every machine uses only one of the two."""
    panel, weights = words(0, length + 2, 32, 64 * 32), words(1, length + 3, 4, 64 * 4)
    counts = np.full(4 * 32, -1, np.int32)
    count_tile(panel.reshape(-1), 2 * 32, weights.reshape(-1), 3 * 4, length, counts)
    want = tiles.naive_counts(panel[2:], weights[3:])
    np.testing.assert_array_equal(counts.reshape(4, 32), want)


# ----------------------------------------------------------------------------------- convolution


@some
@given(
    windows(widest=70),
    st.sampled_from(CHANNELS),
    st.integers(1, 2),
    filters,
    disguises,
    dtypes,
    seeds,
)
def test_xnor_conv2d(window, channels, groups, filters, how, dtype, seed):
    size, (kernel, *rest) = window
    x = disguise(awkward(seed, 2, groups * channels, *size, dtype=dtype), how)
    w = disguise(awkward(seed + 1, groups * filters, channels, *kernel, dtype=dtype), how)
    assert_twins("xnor_conv2d", x, w, None, *rest, groups)


@some
@given(windows(widest=140), st.integers(1, 3), st.integers(1, 3), disguises, dtypes, seeds)
def test_xnor_conv2d_depthwise(window, channels, multiplier, how, dtype, seed):
    size, (kernel, *rest) = window
    x = disguise(awkward(seed, 2, channels, *size, dtype=dtype), how)
    w = awkward(seed + 1, channels * multiplier, 1, *kernel, dtype=dtype)
    assert_twins("xnor_conv2d", x, w, None, *rest, channels)


@pytest.mark.usefixtures("two_threads")  # of which the largest case makes use
@pytest.mark.parametrize("groups", [1, 2, 66])
@pytest.mark.parametrize("pixels", EDGES)
def test_xnor_conv2d_around_whole_panels(pixels, groups):
    x, w = awkward(pixels, 3, 66, 1, pixels), awkward(1, 66, 66 // groups, 1, 1)
    assert_twins("xnor_conv2d", x, w, None, *PLAIN, groups)
    x = x.reshape(3, 66, pixels, 1)
    assert_twins(
        "xnor_conv2d", x, awkward(2, *w.shape[:2], 3, 3), None, (1, 1), (1, 1), (1, 1), groups
    )


@pytest.mark.parametrize("kernel", [(1, 127), (127, 1), (1, 128), (12, 11), (16, 16), (1, 600)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_depthwise_windows_with_more_taps_than_a_byte_counts(kernel, sign):
    """Every tap agrees, or none: the largest sums there are."""
    x, (h, w) = np.ones((1, 2, *np.add(kernel, 2))), kernel
    weights = np.ones((4, 1, h, w))
    weights[2:] = -1
    y = assert_twins("xnor_conv2d", sign * x, weights, None, (1, 1), (1, 0), (1, 1), 2)
    assert y[0, :, 1, 0].tolist() == [sign * h * w, sign * h * w, -sign * h * w, -sign * h * w]


@pytest.mark.parametrize("dilation", [31, 32, 50])
def test_xnor_depthwise_window_at_and_beyond_a_word(dilation):
    x, w = normal(0, 1, 2, 3, 150), normal(1, 2, 1, 2, 3)
    assert_twins("xnor_conv2d", x, w, None, (1, 1), (1, 40), (1, dilation), 2)


@some
@given(windows(widest=40), st.sampled_from(["dense", "groups", "depthwise"]), dtypes, seeds)
def test_beta_multiplies_the_finished_integers(window, kind, dtype, seed):
    """To the bit, whatever the scale; in its dtype, whatever that of x."""
    size, (kernel, *rest) = window
    groups = {"dense": 1, "groups": 2, "depthwise": 6}[kind]
    x = awkward(seed, 2, 6, *size, dtype=np.float32)
    w = awkward(seed + 1, 6, 6 // groups, *kernel)
    rng = np.random.default_rng(seed)
    beta = rng.choice([0, -0.0, 1 / 3, -1.5, 1e-40, 1e30, rng.standard_normal()], 6).astype(dtype)
    for scale in (beta, beta[::-1]):
        y = assert_twins("xnor_conv2d", x, w, scale, *rest, groups)
        dots = reference.xnor_conv2d(x, w, None, *rest, groups)
        assert y.dtype == dtype
        assert y.tobytes() == (dots.astype(dtype) * scale[:, None, None]).tobytes()


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (5, 5)])
@pytest.mark.parametrize("channels", [1, 2, 14, 15, 64, 70, 200])
def test_packed_weights_have_the_mean_that_numpy_has(channels, kernel, groups):
    """To the bit, so that it makes no difference who computes beta."""
    for dtype in (np.float32, np.float64):
        w = normal(channels, 6, channels, *kernel, dtype=dtype)
        got = kernels.pack_weights(w, groups).beta
        assert got.dtype == dtype and got.tobytes() == F.channel_scale(w).tobytes()


@pytest.mark.parametrize(
    "shape, groups", [((4, 2, 3), 1), ((4, 2, 3, 3), 3), ((0, 2, 3, 3), 1), ((4, 2, 3, 3), 0)]
)
def test_pack_weights_refuses(shape, groups):
    with pytest.raises(ValueError, match="pack_weights: expected w"):
        kernels.pack_weights(np.ones(shape, np.float32), groups)


@some
@given(windows(), st.sampled_from([1, 2, 65]), st.integers(1, 2), filters, st.data(), seeds)
def test_wider_margins_and_skipped_outputs(window, channels, groups, filters, data, seed):
    """What packed networks ask for: one packed image for several windows, and the reduction's shift."""
    size, (kernel, stride, padding, dilation) = window
    margin = tuple(p + data.draw(st.integers(0, 3)) for p in padding)
    skip = data.draw(st.integers(0, 1))
    x = awkward(seed, 2, groups * channels, *size)
    w = awkward(seed + 1, groups * filters, channels, *kernel)
    beta = normal(seed, len(w), dtype=np.float32)
    rest = (stride, padding, dilation, groups)
    whole = reference.xnor_conv2d(x, w, None, *rest)[:, :, skip:, skip:]
    window = Window(kernel, stride, padding, dilation, skip)
    product, planes = prepare(w, size, window, groups, margin), packed_planes(x, groups, margin)
    y = multiply(product, planes)
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, whole.reshape(y.shape))
    y = multiply(product, planes, beta)
    assert y.tobytes() == (whole.astype(np.float32) * beta[:, None, None]).tobytes()


# ------------------------------------------------------------------------------ unusual and wrong


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float16, ">f4", ">i2"])
def test_any_real_dtype(dtype, groups):
    values = [0, 1] if dtype == bool else [0, 1, 100] if dtype == np.uint8 else [-3, -1, 0, 1, 100]
    x, w = (np.random.default_rng(k).choice(values, (4, 4, 5, 6)).astype(dtype) for k in (0, 1))
    w = w[:, : 4 // groups, :3, :3]
    assert_twins("pack_bits", x, groups)
    assert_twins("xnor_conv2d", x, w, None, *PLAIN, groups)
    assert_twins("xnor_conv2d", x, w.astype(float), normal(2, 4), *PLAIN, groups)
    assert_twins("xnor_conv2d", x.astype(float), w, None, *PLAIN, groups)


@pytest.mark.parametrize("shape", [(0, 4, 5, 5), (2, 4, 0, 5), (2, 4, 0, 0)])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("beta", [None, np.ones(4), np.ones(4, np.float32)])
def test_no_images_or_images_without_pixels(shape, groups, beta):
    x, w = np.empty(shape), np.ones((4, 4 // groups, 3, 3))
    assert_twins("pack_bits", x, groups)
    assert_twins("xnor_conv2d", x, w, beta, (1, 1), (2, 2), (1, 1), groups)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5, 6), ()])
def test_packing_refuses_a_wrong_rank(shape):
    with pytest.raises(ValueError, match="pack_bits: expected"):
        kernels.pack_bits(np.ones(shape))


@pytest.mark.parametrize("groups", [-1, 0, 2, 4])
def test_packing_refuses_groups_that_do_not_fit(groups):
    with pytest.raises(ValueError, match=f"multiple of {groups} groups"):
        kernels.pack_bits(np.ones((1, 3, 2, 2)), groups)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"x": (4, 6, 6)}, r"expected x \(N, Cin, H, W\)"),
        ({"w": (4, 4, 3)}, r"expected x \(N, Cin, H, W\)"),
        ({"w": (4, 3, 3, 3)}, "no 1 groups of 3 channels"),
        ({"w": (4, 2, 3, 3)}, "no 1 groups of 2 channels"),
        ({"groups": 2}, "no 2 groups of 4 channels"),
        ({"w": (5, 2, 3, 3), "groups": 2}, "no 2 groups"),
        ({"groups": 0}, "0 groups"),
        ({"groups": -1}, "-1 groups"),
        ({"w": (0, 4, 3, 3)}, "got"),
        ({"w": (4, 4, 0, 3)}, "got"),
        ({"beta": (3,)}, r"beta must have shape \(4,\), got \(3,\)"),
        ({"beta": (4, 1)}, r"beta must have shape \(4,\)"),
        ({"beta": ()}, r"beta must have shape \(4,\)"),
        ({"stride": (0, 1)}, "stride and dilation must be at least 1"),
        ({"stride": (1, -1)}, "stride and dilation must be at least 1"),
        ({"dilation": (1, 0)}, "stride and dilation must be at least 1"),
        ({"padding": (-1, 0)}, "padding at least 0"),
        ({"w": (4, 4, 7, 3)}, "does not fit the padded image"),
        ({"w": (4, 4, 3, 9), "padding": (0, 1)}, "does not fit the padded image"),
        ({"dilation": (1, 3)}, "does not fit the padded image"),
        ({"x": (2, 4, 0, 6)}, "does not fit the padded image"),
    ],
)
@pytest.mark.parametrize("depthwise", [False, True])
def test_xnor_conv2d_refuses(changes, message, depthwise):
    shapes = {"x": (2, 4, 6, 6), "w": (4, 4, 3, 3), "beta": (4,)}
    window = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    if depthwise:
        if "groups" in message or message == "got":
            pytest.skip("these are about groups themselves")
        shapes["w"], window["groups"] = (4, 1, 3, 3), 4
        changes = {k: (4, 1, *v[2:]) if k == "w" else v for k, v in changes.items()}
    shapes.update((k, v) for k, v in changes.items() if k in shapes)
    window.update((k, v) for k, v in changes.items() if k in window)
    arrays = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match="xnor_conv2d: .*" + message):
        kernels.xnor_conv2d(**arrays, **window)


# ------------------------------------------------------------------------------ real convolution


@some
@given(
    windows(widest=70),
    st.integers(1, 3),
    st.integers(1, 2),
    filters,
    st.booleans(),
    disguises,
    dtypes,
    seeds,
)
def test_conv2d(window, channels, groups, filters, bias, how, dtype, seed):
    size, (kernel, *rest) = window
    x = disguise(normal(seed, 2, groups * channels, *size, dtype=dtype), how)
    w = disguise(normal(seed + 1, groups * filters, channels, *kernel, dtype=dtype), how)
    b = normal(seed + 2, len(w), dtype=dtype) if bias else None
    assert_twins("conv2d", x, w, b, *rest, groups, tolerance=10 * tolerance(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conv2d_keeps_nan_and_infinity_where_they_are(dtype):
    x, w = awkward(0, 2, 2, 6, 35, dtype=dtype), normal(1, 5, 2, 3, 3, dtype=dtype)
    x[:, :, :, 10:] = np.where(np.isfinite(x[:, :, :, 10:]), x[:, :, :, 10:], 0)
    assert_twins("conv2d", x, w, None, (1, 1), (1, 1), (1, 1), 1, tolerance=10 * tolerance(dtype))


@some
@given(windows(widest=40), st.integers(1, 2), dtypes, seeds)
def test_conv2d_of_an_image_does_not_depend_on_its_batch(window, groups, dtype, seed):
    size, (kernel, *rest) = window
    x = normal(seed, 5, 3 * groups, *size, dtype=dtype)
    w, bias = normal(seed + 1, 6, 3, *kernel, dtype=dtype), normal(seed + 2, 6, dtype=dtype)
    whole = kernels.conv2d(x, w, bias, *rest, groups)
    for some_images in ([3], [4, 0], slice(1, 4), slice(None, None, -1)):
        part = kernels.conv2d(x[some_images], w, bias, *rest, groups)
        assert part.tobytes() == whole[some_images].tobytes()


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("groups", [1, 3])
def test_small_work_shared_between_threads(batch, groups, monkeypatch):
    x = normal(0, batch, 6, 5, 11, dtype=np.float32)
    w, beta = normal(1, 9, 6 // groups, 3, 3, dtype=np.float32), normal(2, 9, dtype=np.float32)
    depthwise = normal(3, 12, 1, 3, 3, dtype=np.float32)
    packed = words(0, 40, 3, 192)

    def results():
        window = ((1, 2), (1, 1), (1, 1))
        return [
            kernels.pack_bits(x, groups),
            kernels.xnor_matmul(packed[:7], packed, 192),
            kernels.xnor_conv2d(x, w, beta, *window, groups),
            kernels.xnor_conv2d(x, depthwise, None, *window, 6),
            kernels.conv2d(x, w, beta, *window, groups),
        ]

    alone = results()  # far below what sharing is worth
    monkeypatch.setattr(threads, "WORTH_SHARING", 0)
    for count in (2, 3, 7):
        monkeypatch.setattr(numba, "get_num_threads", lambda: count)
        for _ in range(3):
            for one, several in zip(alone, results(), strict=True):
                assert one.tobytes() == several.tobytes()


@pytest.mark.parametrize("twin", ["conv2d", "xnor_conv2d"])
def test_convolutions_refuse_weights_of_other_channels(twin):
    x, w = normal(0, 1, 1, 4, 4), normal(1, 2, 400, 3, 3)
    with pytest.raises(ValueError, match=f"{twin}: x .* has no 1 groups of 400 channels"):
        getattr(kernels, twin)(x, w, None, (1, 1), (1, 1), (1, 1), 1)


def test_more_taps_than_a_short_integer_counts():
    x, w = np.ones((1, 2, 1, 33_000), np.float32), np.ones((2, 1, 1, 33_000), np.float32)
    y = kernels.xnor_conv2d(x, w, None, (1, 1), (0, 0), (1, 1), 2)
    assert y.ravel().tolist() == [33_000, 33_000]
