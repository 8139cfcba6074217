"""Tests with random inputs against the reference."""

import numpy as np

from bnas.grading import Race, equal, race, test

# (H, W), (Kh, Kw), stride, padding: the smallest first; squares come late.
CASES = (
    ((1, 1), (1, 1), 1, 0),
    ((1, 2), (1, 2), 1, 1),
    ((2, 3), (1, 1), 1, 1),  # whole windows lie outside
    ((3, 2), (2, 1), 1, 0),
    ((4, 3), (3, 2), 1, 1),
    ((5, 4), (3, 3), 2, 1),
    ((4, 6), (3, 3), 2, 1),
    ((6, 7), (2, 3), 3, 0),
    ((3, 5), (3, 5), 2, 2),
    ((5, 5), (3, 3), 1, 1),
    ((7, 7), (1, 1), 2, 0),
    ((8, 9), (5, 3), 4, 3),
)
CHANNELS = (1, 3, 64, 65, 130)


def words(rng, shape, channels):
    """Random words of signs, 0 beyond the channels: (*shape, K)."""
    bits = rng.integers(0, 2, (*shape, -(-channels // 64) * 64), np.uint8)
    bits[..., channels:] = 0
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8").astype(np.uint64)


@test("windows")
def sizes(student, rng, reference):
    """One image of one word: sizes, strides and paddings, squares and others."""
    for size, kernel, stride, padding in CASES:
        _compare_windows(student, rng, reference, (1, *size, 1), kernel, stride, padding)


@test("windows")
def images_and_words(student, rng, reference):
    """Several images of several words."""
    for images, k in ((2, 1), (1, 2), (3, 2)):
        for size, kernel, stride, padding in CASES[1:9]:
            _compare_windows(student, rng, reference, (images, *size, k), kernel, stride, padding)


def _compare_windows(student, rng, reference, shape, kernel, stride, padding):
    image = rng.integers(1, 1 << 64, shape, np.uint64)
    right = reference.windows(image, kernel, stride, padding)

    def unstrided():
        return reference.windows(image, kernel, 1, padding)

    equal(
        student.windows(image, kernel, stride, padding),
        right,
        causes={
            "the stride is left out": unstrided,
            "the stride holds for columns too": lambda: unstrided()[:, ::stride],
            "the stride holds for rows too": lambda: unstrided()[:, :, ::stride],
            "the last row of windows is missing (equation 2)": right[:, :-1],
            "the last column of windows is missing (equation 2)": right[:, :, :-1],
            "the last row and column of windows are missing: equation 2 ends with + 1, and counts padding "
            "on both sides": right[:, :-1, :-1],
            "padding is added on each of the four sides": lambda: reference.windows(
                image, kernel, stride, 0
            ),
            "rows and columns of a window are exchanged": right.swapaxes(3, 4),
            "the words come last: (N, Ho, Wo, Kh, Kw, K)": np.moveaxis(right, -1, 3),
            "the pixels that are added have words of 0": np.where(right, right, ~right),
        },
        kind="u",
    )


@test("offsets")
def tables(student, rng, reference):
    """Sizes, strides and paddings, with whole windows outside; one filter and several."""
    for i, (size, kernel, stride, padding) in enumerate(CASES):
        outputs, channels = 1 + i % 3, CHANNELS[i % 5]
        _compare_offsets(student, rng, reference, outputs, channels, size, kernel, stride, padding)


@test("offsets")
def channels_and_words(student, rng, reference):
    """From one channel to hundreds, whose counts do not fit into a byte."""
    for channels in (*CHANNELS, 600):
        for outputs in (1, 2):
            _compare_offsets(student, rng, reference, outputs, channels, (3, 4), (3, 3), 1, 1)


def _compare_offsets(student, rng, reference, outputs, channels, size, kernel, stride, padding):
    weights = words(rng, (outputs, *kernel), channels)
    right = reference.offsets(weights, channels, size, stride, padding)
    plain = channels * kernel[0] * kernel[1]
    ones = np.bitwise_count(weights).sum(axis=-1, dtype=np.int64)

    def per_tap(values, corners=False):
        """The sum of values (O, Kh, Kw) over the taps outside, or over those outside by row and by column."""
        rows, columns = (np.pad(np.zeros(n, bool), padding, constant_values=True) for n in size)
        outside = rows[:, None] & columns if corners else rows[:, None] | columns
        outside = np.lib.stride_tricks.sliding_window_view(outside, kernel)[::stride, ::stride]
        return np.einsum("rqij,oij->orq", outside, values)

    equal(
        student.offsets(weights, channels, size, stride, padding),
        right,
        causes={
            "the border is left as it is, so a tap outside counts as -1": np.full_like(
                right, plain
            ),
            "counted the border twice": 2 * right - plain,
            "counted the border twice at the corners: a tap there lies outside by its row and by its column, "
            "and is one tap": lambda: right + per_tap(2 * ones - channels, corners=True),
            "the border is corrected in the wrong direction": 2 * plain - right,
            "a tap outside has no channels to add, only taps inside have (equation 3)": lambda: (
                right + per_tap(channels + 0 * ones)
            ),
            "counts above 255 do not fit into a byte: sum with dtype=np.int64": lambda: (
                right + 2 * per_tap(ones % 256 - ones)
            ),
            "only the outermost pixels are taken for padding; it may be wider than 1": lambda: (
                reference.offsets(weights, channels, [n + 2 * padding - 2 for n in size], stride, 1)
            ),
            "n has to be the number of channels, not of bits in the words": lambda: (
                reference.offsets(weights, 64 * weights.shape[-1], size, stride, padding)
            ),
            "the stride is left out": lambda: reference.offsets(
                weights, channels, size, 1, padding
            ),
        },
    )


@test("xnor_conv")
def geometry(student, rng, reference):
    """Sizes, strides and paddings, squares and others; up to three images and filters."""
    for i, (size, kernel, stride, padding) in enumerate(CASES):
        images, outputs, channels = 1 + i % 2, 1 + i % 3, 1 + i
        _compare(student, rng, reference, images, channels, outputs, size, kernel, stride, padding)


@test("xnor_conv")
def channels_at_words(student, rng, reference):
    """Numbers of channels around whole words, and hundreds, whose counts do not fit into a byte."""
    for channels in (*CHANNELS, 600):
        _compare(student, rng, reference, 2, channels, 3, (3, 4), (3, 3), 1, 1)


@test("xnor_conv")
def zeros(student, rng, reference):
    """Zeros among the numbers of images and filters; float32 too."""
    for dtype in (np.float64, np.float32):
        for padding, stride in ((0, 1), (1, 1), (1, 2)):
            x = rng.integers(-1, 2, (2, 3, 4, 3)).astype(dtype)
            w = rng.integers(-1, 2, (2, 3, 3, 2)).astype(dtype)
            _compare_values(student, reference, x, w, stride, padding)


@test("xnor_conv")
def extremes(student, rng, reference):
    """All signs equal, and all opposite, of many channels: the largest and smallest integers."""
    for channels in (5, 300):
        x, w = np.ones((1, channels, 3, 4)), np.ones((2, channels, 3, 3))
        w[1] = -1
        _compare_values(student, reference, x, w, 1, 1)


def _compare(student, rng, reference, images, channels, outputs, size, kernel, stride, padding):
    x = rng.standard_normal((images, channels, *size))
    w = rng.standard_normal((outputs, channels, *kernel))
    _compare_values(student, reference, x, w, stride, padding)


def _compare_values(student, reference, x, w, stride, padding):
    border = [(0, 0), (0, 0), (padding, padding), (padding, padding)]

    def with_border(value):
        padded = np.pad(np.where(x > 0, 1.0, -1.0), border, constant_values=value)
        return reference.xnor_conv(padded, w, stride, 0)

    def of(x, w, stride=stride):
        return reference.xnor_conv(x, w, stride, padding)

    def offsets(stride=stride):
        filters = reference.pack(np.moveaxis(w > 0, 1, -1))
        return reference.offsets(filters, x.shape[1], x.shape[2:], stride, padding)

    def different():
        """D of equation 3."""
        return (offsets() - right) // 2

    right, minus = of(x, w), with_border(-1)
    rows, columns = right.shape[2:]
    unused = -x.shape[1] % 64
    equal(
        student.xnor_conv(x, w, stride, padding),
        right,
        causes={
            "padding counted as -1, not as 0": minus,
            "counted the border twice, so that padding counts as +1": 2 * right - minus,
            "the border is corrected in the wrong direction": 2 * minus - right,
            "sign(0) is -1": lambda: of(x + 0.5, w + 0.5),
            "sign(0) is -1 in images too": lambda: of(x + 0.5, w),
            "sign(0) is -1 in filters too": lambda: of(x, w + 0.5),
            "the filter is flipped": lambda: of(x, w[:, :, ::-1, ::-1]),
            "the stride is left out": lambda: of(x, w, 1),
            "the stride holds for columns too": lambda: of(x, w, 1)[:, :, ::stride],
            "the stride holds for rows too": lambda: of(x, w, 1)[..., ::stride],
            "images and filters are exchanged": lambda: right.swapaxes(0, 1),
            "bits beyond the channels are counted": lambda: right + unused * _taps_inside(of, x, w),
            "what D counts outside of the image has to be taken off again (equation 3)": lambda: (
                x.shape[1] * _taps_inside(of, x, w) - 2 * different()
            ),
            "the border is corrected as with stride 1": lambda: (
                right - offsets() + offsets(1)[:, :rows, :columns]
            ),
            "counts above 255 do not fit into a byte: sum with dtype=np.int64": lambda: (
                right + 2 * (different() // 256 * 256)
            ),
        },
        kind="i",
    )


def _taps_inside(of, x, w):
    return of(np.ones((1, 1, *x.shape[2:])), np.ones((1, 1, *w.shape[2:])))


@race("speed")
def large_layer(rng):
    """Two images of 256 channels and 14×14 pixels, 64 filters of 3×3, padding 1, stride 1."""
    inputs = []
    for _ in range(8):
        x = rng.standard_normal((2, 256, 14, 14), np.float32)
        inputs.append([x, rng.standard_normal((64, 256, 3, 3), np.float32), 1, 1])
    return Race("xnor_conv", inputs)
