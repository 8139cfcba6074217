"""The tests that you can run yourself: `bnas grade . starter.py --public`."""

import numpy as np

from bnas.grading import Task, equal, test

TASKS = [
    Task("windows", "Task 1, windows", points=20),
    Task("offsets", "Task 2, offsets", points=25),
    Task("xnor_conv", "Task 3, xnor_conv", points=40),
    Task("speed", "Task 4, the speed of xnor_conv", points=15),
]

CORNERS = (
    "counted the border twice at the corners: a tap there lies outside by its row and by its column, and "
    "is one tap"
)


def sign(x):
    return np.where(x > 0, 1, -1)


def packed(x):
    """Signs of (A, C, P, Q) as words of channels (A, P, Q, K)."""
    bits = np.moveaxis(x > 0, 1, -1)
    bits = np.pad(bits, [(0, 0)] * 3 + [(0, -bits.shape[-1] % 64)])
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8").astype(np.uint64)


def places(size, kernel, stride, padding):
    """The top left corners of all windows, in the coordinates of the image, row by row."""
    starts = (range(-padding, n + padding - k + 1, stride) for n, k in zip(size, kernel))
    return np.meshgrid(*starts, indexing="ij")


def by_definition(x, w, stride, padding, outside=0):
    """The convolution of signs as a sum of products, one tap after another; `outside` is what a tap there has."""
    rows, columns = places(x.shape[2:], w.shape[2:], stride, padding)
    y = np.zeros((len(x), len(w), *rows.shape), np.int64)
    for n, o, r, q in np.ndindex(*y.shape):
        for i, j in np.ndindex(*w.shape[2:]):
            row, column = rows[r, q] + i, columns[r, q] + j
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                y[n, o, r, q] += sign(x[n, :, row, column]) @ sign(w[o, :, i, j])
            else:
                y[n, o, r, q] += outside * sign(w[o, :, i, j]).sum()
    return y


def all_that_differ(x, w, stride, padding):
    """D of the README (N, O, Ho, Wo): the bits that differ, with bits of 0 outside of the image."""
    taps = w.shape[1] * w.shape[2] * w.shape[3]
    return (taps - by_definition(x, w, stride, padding, outside=-1)) // 2


@test("windows")
def a_row(student, rng):
    """An image of one row, 1 2 3 4 5 6; windows of 1×3, two apart, no padding."""
    image = np.arange(1, 7, dtype=np.uint64).reshape(1, 1, 6, 1)

    def row(*seen):
        return np.array(seen, np.uint64).reshape(1, 1, len(seen), 1, 3, 1)

    equal(
        student.windows(image, (1, 3), 2, 0),
        row([1, 2, 3], [3, 4, 5]),
        causes={
            "the stride is left out (it holds for rows *and* columns)": row(
                [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]
            ),
            "the words come last: (N, Ho, Wo, Kh, Kw, K)": np.moveaxis(
                row([1, 2, 3], [3, 4, 5]), -1, 3
            ),
            "the last column of windows is missing (equation 2)": row([1, 2, 3]),
            "a window that does not fit counts": row([1, 2, 3], [3, 4, 5], [5, 6, 0]),
        },
    )


@test("windows")
def padded_windows(student, rng):
    """Two rows of three pixels, padding 1; windows of 2×3."""
    image = np.arange(1, 7, dtype=np.uint64).reshape(1, 2, 3, 1)
    padded = np.zeros((4, 5), np.uint64)
    padded[1:3, 1:4] = [[1, 2, 3], [4, 5, 6]]
    seen = np.array([[padded[r : r + 2, q : q + 3] for q in range(3)] for r in range(3)])
    exchanged = np.array([[padded[r : r + 3, q : q + 2] for q in range(4)] for r in range(2)])
    equal(
        student.windows(image, (2, 3), 1, 1),
        seen[None, ..., None],
        causes={
            "rows and columns of a window are exchanged": lambda: seen.swapaxes(2, 3)[
                None, ..., None
            ],
            "the words come last: (N, Ho, Wo, Kh, Kw, K)": lambda: seen[None, :, :, None],
            "kernel is (Kh, Kw), rows first": exchanged[None, ..., None],
            "the last row of windows is missing (equation 2)": seen[None, :2, ..., None],
            "the last column of windows is missing (equation 2)": seen[None, :, :2, ..., None],
            "the last row and column of windows are missing: equation 2 ends with + 1, and counts padding "
            "on both sides": seen[None, :2, :2, ..., None],
            "the pixels that are added have words of 0": lambda: np.where(seen, seen, ~seen)[
                None, ..., None
            ],
        },
    )


@test("offsets")
def one_pixel(student, rng):
    """An image of one pixel with five channels, padding 1; a filter of 3×3 taps, each with the word 0b00001."""
    equal(
        student.offsets(np.full((1, 3, 3, 1), 0b00001, np.uint64), 5, (1, 1), 1, 1),
        np.array([[[21]]]),
        causes={
            "the border is left as it is, so a tap outside counts as -1": np.array([[[45]]]),
            "a tap outside has no channels to add, only taps inside have (equation 3)": np.array(
                [[[61]]]
            ),
            "a bit that was counted outside is in D once, so twice in 2D": np.array([[[13]]]),
            "where the image has bits of 0, the ones of the filter differ": np.array([[[69]]]),
            "counted the border twice": np.array([[[-3]]]),
            f"{CORNERS} (so for 2 q alone)": np.array([[[29]]]),
            CORNERS: np.array([[[9]]]),
            "n has to be the number of channels, not of bits in the words": np.array([[[80]]]),
        },
    )


@test("offsets")
def corners(student, rng):
    """An image of 2×3 pixels with five channels, padding 1, two filters of 3×3, against sums of products."""
    x, w = rng.standard_normal((1, 5, 2, 3)), rng.standard_normal((2, 5, 3, 3))
    different = all_that_differ(x, w, 1, 1)[0]
    right = by_definition(x, w, 1, 1)[0] + 2 * different
    minus = by_definition(x, w, 1, 1, outside=-1)[0] + 2 * different
    equal(
        student.offsets(packed(w), 5, (2, 3), 1, 1),
        right,
        causes={
            "the border is left as it is, so a tap outside counts as -1": minus,
            "counted the border twice": 2 * right - minus,
            CORNERS: lambda: right + _corner_taps(sign(w).sum(axis=1)),
            f"{CORNERS} (so for 2 q alone)": lambda: right + _corner_taps(2 * (w > 0).sum(axis=1)),
            "the border is corrected in the wrong direction": 2 * minus - right,
            "n has to be the number of channels, not of bits in the words": lambda: (
                right + 59 * _taps_inside(2, 3)
            ),
        },
    )


def _taps_inside(height, width):
    one = np.ones((1, 1, height, width))
    return by_definition(one, np.ones((1, 1, 3, 3)), 1, 1)[0, 0]


def _corner_taps(taps):
    """The sums of what those taps have that lie outside both by row and by column, for 2×3 pixels."""
    extra = np.zeros((len(taps), 2, 3), np.int64)
    for r, q in np.ndindex(2, 3):
        for i, j in np.ndindex(3, 3):
            if not 0 <= r + i - 1 < 2 and not 0 <= q + j - 1 < 3:
                extra[:, r, q] += taps[:, i, j]
    return extra


@test("offsets")
def strides_and_paddings(student, rng):
    """Images of 4×6 pixels with 70 channels, filters of 2×3, stride 2, padding 0 and 2."""
    x, w = rng.standard_normal((1, 70, 4, 6)), rng.standard_normal((2, 70, 2, 3))
    first = np.where(np.arange(70)[:, None, None] < 64, w, -1)  # no ones in the second word

    def of(w, stride, padding, outside=0):
        different = all_that_differ(x, w, stride, padding)[0]
        return by_definition(x, w, stride, padding, outside)[0] + 2 * different

    for padding in (0, 2):
        right = of(w, 2, padding)
        ones = (w > 0).sum(axis=(1, 2, 3))[:, None, None]
        causes = {
            "the border is left as it is, so a tap outside counts as -1": lambda p=padding: of(
                w, 2, p, outside=-1
            ),
            "the ones of all words count, not of the first alone": lambda p=padding: of(
                first, 2, p
            ),
            "the stride is left out (it holds for rows *and* columns)": lambda p=padding: of(
                w, 1, p
            ),
            "the stride holds for columns too": lambda p=padding: of(w, 1, p)[:, ::2],
            "the stride holds for rows too": lambda p=padding: of(w, 1, p)[:, :, ::2],
        }
        if not padding:
            empty = "inside[p:-p] is empty at p = 0, and all taps count as outside; write p : p + H"
            causes = {empty: 2 * ones + 0 * right} | causes
        equal(student.offsets(packed(w), 70, (4, 6), 2, padding), right, causes)


def compare(student, x, w, stride, padding):
    """The convolution against its definition, with the causes of the usual mistakes."""

    def of(x=x, w=w, stride=stride, outside=0):
        return by_definition(x, w, stride, padding, outside)

    equal(
        student.xnor_conv(x, w, stride, padding),
        of(),
        causes={
            "padding counted as -1, not as 0": lambda: of(outside=-1),
            "counted the border twice, so that padding counts as +1": lambda: of(outside=1),
            "sign(0) is -1": lambda: of(x + 0.5),
            "the filter is flipped": lambda: of(w=w[:, :, ::-1, ::-1]),
            "images and filters are exchanged": lambda: of().swapaxes(0, 1),
            "the stride is left out": lambda: of(stride=1),
            "the stride holds for columns too": lambda: of(stride=1)[:, :, ::stride],
            "the stride holds for rows too": lambda: of(stride=1)[..., ::stride],
        },
    )


@test("xnor_conv")
def one_window(student, rng):
    """A window as large as the image, by hand: three of four signs differ."""
    x = np.array([[[[0.5, -2.0], [1.0, 3.0]]]])
    w = np.array([[[[0.3, 1.0], [-2.0, -0.1]]]])
    equal(
        student.xnor_conv(x, w, 1, 0),
        np.array([[[[-2]]]]),
        causes={
            "n has to be the number of signs, not of bits in the words": np.array([[[[250]]]]),
            "the bits that differ count twice: n - 2d": np.array([[[[1]]]]),
        },
    )


@test("xnor_conv")
def small_images(student, rng):
    """Images of 3×4 pixels, three channels, some numbers 0; without padding and with 1."""
    for padding in (0, 1):
        x = rng.integers(-1, 2, (2, 3, 3, 4)).astype(float)
        w = rng.standard_normal((2, 3, 3, 3))
        compare(student, x, w, 1, padding)


@test("xnor_conv")
def with_stride(student, rng):
    """Stride 2 on an image of 5×4 pixels."""
    x, w = rng.standard_normal((1, 2, 5, 4)), rng.standard_normal((1, 2, 3, 3))
    compare(student, x, w, 2, 1)


@test("speed")
def right_at_size(student, rng):
    """A larger convolution is right: 70 channels, 6×5 pixels, padding 1; --public does not measure its time."""
    x, w = rng.standard_normal((2, 70, 6, 5)), rng.standard_normal((4, 70, 3, 3))
    compare(student, x, w, 1, 1)
