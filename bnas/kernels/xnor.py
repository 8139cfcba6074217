"""1-bit products: matrix times matrix, and convolution, by XNOR and popcount.

Of two vectors of n signs, +1 and -1, that are packed into bits, the dot product is n - 2 popcount(a xor b):
each bit that differs turns a +1 into a -1. A convolution is the product of its weights with the words that
each output pixel reads; `panels` says how these are laid out, `tiles` how they are counted.
"""

from typing import NamedTuple

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.packing import WORD, packed_planes
from bnas.kernels.panels import PANEL, ROWS, fill_panel, tiled
from bnas.kernels.planes import floats, ready
from bnas.kernels.sites import Sites, require_convolution, sites
from bnas.kernels.threads import run_tasks
from bnas.kernels.tiles import count_tile
from bnas.kernels.vectors import (
    broadcast,
    load,
    scaled_like,
    select_equal,
    store,
    store_first,
)
from bnas.kernels.weights import pack_dense
from bnas.kernels.windows import POINT
from bnas.kernels.xnor_depthwise import MOST_TAPS, DepthwiseWeights, pack_depthwise, xnor_depthwise

CACHED = 96  # rows of 32 words, 256 bytes, of all panels that are filled together: half the first-level cache
WORTH = 64  # of a word operation, in the multiply-adds that `run_tasks` counts


@jit(forceinline=True)
def sixteen(table, group, o, here, start, end):
    """table[group, class of the pixel, o] (int32) for 16 pixels of the classes `here`.

    Most panels have two or three border classes, from `start` to before `end`. Comparing with each of them
    is quicker than sixteen look-ups.
    """
    found = broadcast(table[group, start, o])
    for c in range(start + 1, end):
        found = select_equal(here, broadcast(np.int32(c)), broadcast(table[group, c, o]), found)
    return found


@jit(forceinline=True)
def _store_row(counts, at, left, right, scale, y, target, pixels):
    """32 dot products, offset - 2 count, times the scale if y holds floats; the first `pixels`."""
    n0, n1 = load(counts, at), load(counts, at + 16)
    y0, y1 = scaled_like(y, left - n0 - n0, scale), scaled_like(y, right - n1 - n1, scale)
    if pixels >= PANEL:
        store(y, target, y0)
        store(y, target + 16, y1)
    else:
        store_first(y, target, y0, min(pixels, 16))
        store_first(y, target + 16, y1, max(pixels - 16, 0))


@jit
def _conv(planes, weights, offsets, beta, site, where, y, first_task, end_task):
    """Images and groups of planes (flat) -> y (flat), int32 or, times beta, float32. A task is a panel.

    As many panels as the first-level cache holds are filled together, and each tile of weights is multiplied
    by all of them: so results are written in long contiguous pieces, and weights are read less often.
    """
    length, (groups, channels), panels = where.size, beta.shape, site.classes.shape[0]
    stored = planes.size // (y.size // (channels * site.pixels))
    together = max(1, CACHED // length)
    panel = np.empty(together * length * PANEL, np.uint64)
    counts = np.empty(ROWS * PANEL, np.int32)
    task = first_task
    while task < end_task:
        image, number = divmod(task, panels)
        group, last = image % groups, min(number + together, panels, number + end_task - task)
        for j in range(number, last):
            at = (j - number) * length * PANEL
            fill_panel(planes, image * stored, site.base, site.steps, j * PANEL, where, panel, at)
        for o in range(0, channels, ROWS):
            tile = group * (weights.size // groups) + o * length
            for j in range(number, last):
                first, start, end = j * PANEL, site.classes[j, 0], site.classes[j, 1]
                count_tile(panel, (j - number) * length * PANEL, weights, tile, length, counts)
                left, right = load(site.border, first), load(site.border, first + 16)
                for row in range(min(ROWS, channels - o)):
                    offset0 = sixteen(offsets, group, o + row, left, start, end)
                    offset1 = sixteen(offsets, group, o + row, right, start, end)
                    target = (image * channels + o + row) * site.pixels + first
                    _store_row(
                        counts,
                        row * PANEL,
                        offset0,
                        offset1,
                        beta[group, o + row],
                        y,
                        target,
                        site.pixels - first,
                    )
        task += last - number


def border_offsets(ones, outside, channels):
    """For every border class and output channel: the offset in dot = offset - 2 count.

    ones (groups, Cout, T), outside (classes, T) -> int32 (groups, classes, Cout). The bits of a tap
    outside the image are all 0, so each 1 of its weights was counted and must be taken back.
    """
    inside = channels * (~outside).sum(axis=1)
    back = outside.astype(np.float64) @ ones.swapaxes(-1, -2)  # exact, and quicker than of integers
    return (inside[:, None] + 2 * back).astype(np.int32)


class Product(NamedTuple):
    """The weights of a 1-bit convolution, laid out for images of one size.

    Attributes:
        site: the Sites of its window.
        where: int64 (K,), the offset from a pixel's base of each word that it reads.
        tiles: uint64 (groups Cout / 4 K 4,), see `tiled`.
        offsets: int32 (groups, classes, Cout), see `border_offsets`.
    """

    site: Sites
    where: np.ndarray
    tiles: np.ndarray
    offsets: np.ndarray


def prepare(w, size, window, groups, margin=None):
    """The Product of weights w (Cout, Cin / groups, Kh, Kw) for images of `size` (H, W).

    window: a Window whose kernel is (Kh, Kw). margin: that of the packed images, by default the padding.
    """
    return lay_out(pack_dense(w, groups), sites(size, window, margin))


def lay_out(weights, site):
    """The Product of packed `Weights` for images that have these Sites; kept until it is asked for other Sites."""
    for product in weights.latest[:1]:
        if product.site is site:
            return product
    channels = weights.shape[1]
    where = site.taps[:, None] + np.arange(-(-channels // WORD)) * site.plane
    offsets = border_offsets(weights.ones, site.outside, channels)
    product = Product(site, where.reshape(-1), weights.tiles, offsets)
    weights.latest[:] = [product]
    return product


def multiply(product, planes, beta=None):
    """Packed images times the weights of a `Product`, all of them at once.

    planes: flat, from `packed_planes` with the product's margin; beta (groups Cout,) float32 or None
    -> (N, groups Cout, pixels), int32 or, times beta, float32.
    """
    site, (groups, _, channels) = product.site, product.offsets.shape
    images = planes.size // (site.plane * groups * (product.where.size // site.taps.size))
    y = np.empty((images, groups * channels, site.pixels), np.int32 if beta is None else np.float32)
    beta = np.ones(groups * channels, np.float32) if beta is None else ready(beta)
    if y.size:
        run_tasks(
            _conv,
            WORTH * y.size * product.where.size // 8,
            images * groups * len(site.classes),
            planes,
            product.tiles,
            product.offsets,
            beta.reshape(groups, channels),
            site,
            product.where,
            y.reshape(-1),
        )
    return y


def xnor_matmul(a, b, bits):
    """Products of +1/-1 vectors that are packed in words: y = a bᵀ as integers.

    a (M, K), b (N, K) uint64, of which the first `bits` bits count (the others must be equal in a and
    b, as zeros are) -> int32 (M, N): bits - 2 popcount(a xor b).

    Raises:
        ValueError: not uint64, shapes that do not fit, or more bits than the words have.
    """
    if (
        not a.dtype == b.dtype == np.uint64
        or a.ndim != 2
        or b.ndim != 2
        or a.shape[1] != b.shape[1]
    ):
        raise ValueError(
            f"xnor_matmul: expected uint64 (M, K) and (N, K), got {a.dtype} {a.shape} and "
            f"{b.dtype} {b.shape}; pack signs with pack_bits"
        )
    if not 0 <= bits <= 64 * a.shape[1]:
        raise ValueError(f"xnor_matmul: {a.shape[1]} words hold no {bits} bits")
    (m, length), n = a.shape, b.shape[0]
    if not b.size:
        return np.full((m, n), bits, np.int32)
    # b is an image of n pixels, and a the weights of a convolution with one border class. The words of
    # a pixel lie together, as those of a plane never do: they are its taps, and pixels have no neighbours.
    site, words = sites((1, n), POINT), np.arange(length)
    site = site._replace(
        plane=b.size, base=site.base * length, steps=np.zeros_like(site.steps), taps=words
    )
    product = Product(site, words, tiled(a), np.full((1, 1, m), bits, np.int32))
    return multiply(product, ready(b).reshape(-1)).reshape(m, n)


def pack_weights(w, groups):
    """The signs of floats w (Cout, Cin / groups, Kh, Kw), for `packed_xnor_conv2d`; `beta` is their mean|w|.

    Raises:
        ValueError: w has not 4 axes, no weights, or its channels do not divide into the groups.
    """
    if w.ndim != 4 or groups < 1 or 0 in w.shape or len(w) % groups:
        raise ValueError(
            f"pack_weights: expected w (Cout, Cin / groups, Kh, Kw) with Cout a multiple of {groups} groups, "
            f"got {w.shape}"
        )
    depthwise = w.shape[1] == 1 and groups > 1 and w[0].size < MOST_TAPS
    return (pack_depthwise if depthwise else pack_dense)(w, groups)


def xnor_conv2d(x, w, beta, stride, padding, dilation, groups):
    """The 1-bit convolution: sign(x) * sign(w), times beta if given (Eq. 4.22).

    x (N, Cin, H, W), w (Cout, Cin / groups, Kh, Kw) of any real dtype, beta (Cout,) or None
    -> (N, Cout, Ho, Wo). Without beta: int32, exact. With it: beta's dtype, each integer converted and
    multiplied. A padded tap adds 0. sign is +1 above 0, otherwise -1.

    Raises:
        ValueError: shapes that do not fit, stride or dilation below 1, negative padding, a window
            larger than the padded image.
    """
    require_convolution("xnor_conv2d", x, w.shape, stride, padding, dilation, groups)
    return packed_xnor_conv2d(x, pack_weights(w, groups), beta, stride, padding, dilation)


def packed_xnor_conv2d(x, weights, beta, stride, padding, dilation):
    """`xnor_conv2d` with what `pack_weights` has made of the weights."""
    shape, groups = weights.shape, weights.groups
    window, size = require_convolution("xnor_conv2d", x, shape, stride, padding, dilation, groups)
    if beta is not None and beta.shape != shape[:1]:
        raise ValueError(f"xnor_conv2d: beta must have shape {shape[:1]}, got {beta.shape}")
    if beta is not None and beta.dtype != np.float32:
        dot = packed_xnor_conv2d(x, weights, None, stride, padding, dilation)
        return dot.astype(beta.dtype) * beta[:, None, None]
    if not x.size:  # no images, or nothing but padding
        return np.zeros((len(x), shape[0], *size), np.int32 if beta is None else beta.dtype)
    x = floats(x)
    if isinstance(weights, DepthwiseWeights):
        return xnor_depthwise(x, weights, beta, window)
    product = lay_out(weights, sites(x.shape[2:], window))
    y = multiply(product, packed_planes(x, groups, padding), beta)
    return y.reshape(x.shape[0], shape[0], *size)
