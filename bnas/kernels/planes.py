"""Padded buffers in which a sliding window is a few long loops: for depthwise convolution and max pooling.

A chunk of images of one channel is copied into one flat zero-padded buffer. There each tap of the window is
a constant offset: output i reads element i + offset, whatever its row. So a tap is one multiply-add over the
whole buffer, a loop that compilers vectorise. The loop also computes elements between the rows, where a
window would run over the edge; these have no meaning and are never copied out. Neighbouring rows share
their padding: the zeros to the left of one row are those to the right of the row above.

A stride of s splits the padded image into s phases per axis, the pixels whose index has the same remainder
modulo s. Within a phase neighbouring outputs read neighbouring pixels, so the same loops do for every stride.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bnas.kernels.jit import jit

CHUNK = 2048  # elements of scratch per buffer: a few buffers fit the first-level cache


class Geometry(NamedTuple):
    """The sizes of one sliding-window operation, in pixels, and the layout of its padded buffer."""

    h: int
    w: int
    out_h: int
    out_w: int
    kh: int
    kw: int
    sh: int
    sw: int
    ph: int
    pw: int
    dh: int
    dw: int
    rows: int  # height and width of one image in one phase, the shared padding counted once
    cols: int
    phase_size: int  # elements of one phase, all images of a chunk
    images: int  # images per chunk
    chunks: int
    taps: (
        np.ndarray
    )  # int64 (T, 3): row, column and buffer offset of every tap that ever sees a pixel
    places: np.ndarray  # uint64 (H W,): the index in the buffer of each pixel of the first image


@lru_cache(maxsize=128)
def valid_taps(size, window):
    """int64 (Ho, Wo): how many taps of a Window lie inside an image of `size` (H, W), for each output."""
    rows, cols = window.bounded(size).taps_inside(size)
    return np.outer(rows.sum(axis=1), cols.sum(axis=1))


@lru_cache(maxsize=128)
def geometry(x_shape, window):
    """The Geometry of a Window without a skip over images of `x_shape` (N, C, H, W)."""
    n, _, h, w = x_shape
    window = window.bounded((h, w))
    (sh, sw), (ph, pw), (dh, dw) = window.stride, window.padding, window.dilation
    rows_inside, cols_inside = window.taps_inside((h, w))
    rows, cols = -(-(h + 2 * ph) // sh) - ph // sh, -(-(w + 2 * pw) // sw) - pw // sw
    images = max(1, min(n, CHUNK // (rows * cols)))
    phase_size = (images * rows + ph // sh + 1) * cols  # the last row's padding has no row below

    def place(row, col):
        """Index in the buffer of a pixel of the padded plane of the chunk's first image."""
        return (row % sh * sw + col % sw) * phase_size + row // sh * cols + col // sw

    # where images are smaller than the window, taps that see nothing but padding are left out
    taps = [
        (i, j, place(i * dh, j * dw))
        for i in np.flatnonzero(rows_inside.any(axis=0))
        for j in np.flatnonzero(cols_inside.any(axis=0))
    ]
    places = place(np.arange(h)[:, None] + ph, np.arange(w) + pw)
    return Geometry(
        h,
        w,
        len(rows_inside),
        len(cols_inside),
        *window.kernel,
        sh,
        sw,
        ph,
        pw,
        dh,
        dw,
        rows,
        cols,
        phase_size,
        images,
        -(-n // images),
        np.array(taps, np.int64).reshape(-1, 3),
        places.astype(np.uint64).ravel(),
    )


def ready(x):
    """x as an aligned, writeable C-contiguous array, copied only if it is not one.

    Numba compiles once more for every other kind of array; this keeps it to one per dtype.
    """
    return x if x.flags.carray else np.require(x, requirements=["C", "A", "W"])


def floats(x):
    """x for a kernel that reads signs: `ready`, and of another dtype than float32 or float64 as 0 and 1."""
    return (
        ready(x) if x.dtype in (np.float32, np.float64) else (x > 0).astype(np.float32, order="C")
    )


@jit(allocates=False)
def copy(target, source):
    """A plain loop over two slices: for short rows much faster than a slice assignment."""
    for k in range(target.size):
        target[k] = source[k]


@jit(allocates=False)
def padded_size(g):
    """Elements of the scratch buffer that holds all phases of a chunk."""
    return g.sh * g.sw * g.phase_size


@jit(allocates=False)
def dense_size(g, count):
    """Elements from the first output to the last of `count` images, with those between the rows."""
    return ((count - 1) * g.rows + g.out_h - 1) * g.cols + g.out_w


@jit(allocates=False)
def _scatter(target, source, places):
    for k in range(places.size):
        target[places[k]] = source[k]


@jit(allocates=False)
def _gather(target, source, places):
    for k in range(places.size):
        target[k] = source[places[k]]


@jit(allocates=False)
def load_padded(x, c, first, count, g, scratch):
    """Copy x[first:first + count, c] into the phases; the padding is left as it is."""
    for b in range(count):
        plane = scratch[b * g.rows * g.cols :]
        if g.sh == g.sw == 1:  # whole rows at a time: one phase holds them all
            for h in range(g.h):
                start = (h + g.ph) * g.cols + g.pw
                copy(plane[start : start + g.w], x[first + b, c, h])
        else:
            _scatter(plane, x[first + b, c].reshape(-1), g.places)


@jit(allocates=False)
def store_padded(scratch, c, first, count, g, x):
    """The reverse of `load_padded`: from the buffer into x[first:first + count, c]."""
    for b in range(count):
        plane = scratch[b * g.rows * g.cols :]
        if g.sh == g.sw == 1:
            for h in range(g.h):
                start = (h + g.ph) * g.cols + g.pw
                copy(x[first + b, c, h], plane[start : start + g.w])
        else:
            _gather(x[first + b, c].reshape(-1), plane, g.places)


@jit(allocates=False)
def load_dense(y, c, first, count, g, scratch):
    """Copy output-sized planes y[first:first + count, c] into a buffer; what lies between rows is left."""
    for b in range(count):
        for h in range(g.out_h):
            start = (b * g.rows + h) * g.cols
            copy(scratch[start : start + g.out_w], y[first + b, c, h])


@jit(allocates=False)
def store_dense(scratch, c, first, count, g, y):
    """The reverse of `load_dense`: from the buffer into y[first:first + count, c]."""
    for b in range(count):
        for h in range(g.out_h):
            start = (b * g.rows + h) * g.cols
            copy(y[first + b, c, h], scratch[start : start + g.out_w])
