"""1-bit kernels: packing of signs into 64-bit words, and convolutions by XNOR and popcount.

For n bits, the dot product of +1/-1 vectors is n - 2 popcount(a xor b). Only taps inside the image
are counted, so zero padding adds exactly 0 and the result equals the float convolution to the
integer, for any number of channels.
"""

from functools import lru_cache

import numpy as np
from numba import njit, prange, types
from numba.extending import intrinsic

from bnas.kernels.planes import copy, geometry, ready, taps_inside, valid_taps
from bnas.kernels.threads import share
from bnas.reference import WORD, output_size, unpack_bits

__all__ = ["pack_bits", "unpack_bits", "xnor_conv2d"]

ONE = np.uint64(1)
BLOCK = 128  # output pixels (in whole rows) that one task of the convolution works on
PLANES = 16  # channel planes that one task of the depthwise convolution works on


@intrinsic  # at module level: from inside a function it would never be found in Numba's cache
def _popcount(typingctx, word):
    """Number of ones in a uint64, as int64: one machine instruction, also in vectors."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


# ---------------------------------------------------------------------------------------- packing


@njit(cache=True)
def _pack_word(planes, words):
    """Signs of up to 64 planes (channels, pixels) into words (pixels,), bit k from plane k."""
    for i in range(words.size):
        words[i] = np.uint64(0)
    for k in range(planes.shape[0]):
        plane = planes[k]
        for i in range(words.size):
            words[i] |= np.uint64(plane[i] > 0) << np.uint64(k)


@njit(cache=True, parallel=True)
def _pack(x, packed):
    """x (N groups, channels, pixels) -> packed (N groups, words, pixels)."""
    per_image = packed.shape[1]
    for task in prange(packed.shape[0] * per_image):
        image, j = divmod(np.int64(task), per_image)
        _pack_word(x[image, j * WORD : (j + 1) * WORD], packed[image, j])


def _pack_planes(x, groups):
    """x (N, C, H, W) -> uint64 (N, groups, words, H W): as `pack_bits`, but pixels innermost."""
    n, c, h, w = x.shape
    words = -(-(c // groups) // WORD)
    packed = np.empty((n * groups, words, h * w), np.uint64)
    planes = ready(x).reshape(n * groups, c // groups, h * w)
    share(_pack, planes.size, planes, packed)
    return packed.reshape(n, groups, words, h * w)


def pack_bits(x, groups=1):
    """Signs of x, 64 channels to a word.

    x (N, C, H, W) of any float dtype -> uint64 (N, groups, H, W, ceil(C / groups / 64)).
    Bit k of word j is 1 iff channel 64 j + k of the group is > 0, so that 0, -0.0 and NaN count
    as -1. Unused bits are 0.
    """
    packed = np.ascontiguousarray(_pack_planes(x, groups).swapaxes(2, 3))
    return packed.reshape(x.shape[0], groups, *x.shape[2:], packed.shape[3])


# ------------------------------------------------------------------------------------ convolution


@njit(cache=True)
def _subtract_differing(y, x, w, inside):
    """y -= 2 popcount(x xor w), for words x and one word w, in the bits that are inside."""
    for k in range(y.size):
        y[k] -= 2 * _popcount((x[k] ^ w) & inside[k])


@njit(cache=True)
def _gather_taps(x, g, row, patch, inside):
    """Lay out, tap by tap, the words that a block of output rows from `row` on sees.

    x (words, H W) -> patch (taps, words, rows, Wo); inside (taps, rows, Wo) is all ones where the
    tap lies inside the image. Both come in zeroed.
    """
    for t in range(g.kh * g.kw):
        i, j = divmod(t, g.kw)
        for r in range(inside.shape[1]):
            h = (row + r) * g.sh - g.ph + i * g.dh
            if 0 <= h < g.h:
                for q in range(g.out_w):
                    w = q * g.sw - g.pw + j * g.dw
                    if 0 <= w < g.w:
                        inside[t, r, q] = ~np.uint64(0)
                        for k in range(x.shape[0]):
                            patch[t, k, r, q] = x[k, h * g.w + w]


@njit(cache=True)
def _conv_block(x, w, n_valid, g, row, y):
    """One block of output rows: x (words, H W), w (Cout, taps, words) -> y (Cout, pixels)."""
    taps, words, pixels = w.shape[1], w.shape[2], y.shape[1]
    shape = (pixels // g.out_w, g.out_w)
    patch = np.zeros((taps, words, *shape), np.uint64)
    inside = np.zeros((taps, *shape), np.uint64)
    _gather_taps(x, g, row, patch, inside)
    patch, inside = patch.reshape(taps, words, pixels), inside.reshape(taps, pixels)
    dots = np.empty(pixels, np.int64)  # in the words' own width: twice as fast as int32
    for o in range(w.shape[0]):
        copy(dots, n_valid)
        for t in range(taps):
            for k in range(words):
                _subtract_differing(dots, patch[t, k], w[o, t, k], inside[t])
        copy(y[o], dots)


@njit(cache=True, parallel=True)
def _conv(x, w, n_valid, g, block, y):
    """x (N, groups, words, H W), w (groups, Cout, taps, words) -> y (N, groups, Cout, Ho Wo)."""
    groups = x.shape[1]
    blocks = -(-g.out_h // block)
    for task in prange(x.shape[0] * groups * blocks):
        image, b = divmod(np.int64(task), blocks)
        n, group = divmod(image, groups)
        row, end = b * block, min((b + 1) * block, g.out_h)
        pixels = slice(row * g.out_w, end * g.out_w)
        _conv_block(x[n, group], w[group], n_valid[pixels], g, row, y[n, group, :, pixels])


# -------------------------------------------------------------------------- depthwise convolution


@njit(cache=True)
def _pack_string(pixels, skip, string):
    """Signs of the pixels into one long bit string, from bit `skip` on."""
    for j in range(string.size):
        start = max(j * WORD - skip, 0)
        chunk = pixels[start : max((j + 1) * WORD - skip, 0)]
        word, shift = np.uint64(0), np.uint64(start + skip - j * WORD)
        for i in range(chunk.size):
            word |= np.uint64(chunk[i] > 0) << (np.uint64(i) + shift)
        string[j] = word


@njit(cache=True)
def _slide(string, views):
    """views[k] is the 64 bits of the string from bit k on: a funnel shift over two words."""
    for j in range(string.size - 1):
        low, high = string[j], string[j + 1] << ONE  # one now, the rest later: never by 64
        target = views[j * WORD : (j + 1) * WORD]
        for k in range(WORD):
            target[k] = low >> np.uint64(k) | high << np.uint64(WORD - 1 - k)


@njit(cache=True)
def _pick(views, where, windows):
    for k in range(windows.size):
        windows[k] = views[where[k]]


@njit(cache=True)
def _depthwise_task(x, w, tables, skip, first, y):
    """The planes `first`, first + 1, ... of one task, through the same scratch."""
    where, inside, n_valid, starts = tables
    words = (x.shape[1] + 2 * skip) // WORD + 1
    string, views = np.empty(words + 1, np.uint64), np.empty(words * WORD, np.uint64)
    windows, dots = np.empty(where.size, np.uint64), np.empty(n_valid.size, np.int64)
    for plane in range(first, min(first + PLANES, x.shape[0])):
        _pack_string(x[plane], skip, string)
        _slide(string, views)
        _pick(views, where, windows)
        w_bits = w[plane % w.shape[0]]
        for o in range(w.shape[1]):
            copy(dots, n_valid)
            for i in range(starts.size):
                a, b = starts[i], starts[i] + dots.size
                _subtract_differing(dots, windows[a:b], w_bits[o, i], inside[a:b])
            copy(y[plane, o], dots)


@njit(cache=True, parallel=True)
def _depthwise(x, w, tables, skip, y):
    """x (N C, H W), w (C, m, Kh) -> y (N C, m, Ho Wo)."""
    for task in prange(-(-x.shape[0] // PLANES)):
        _depthwise_task(x, w, tables, skip, np.int64(task) * PLANES, y)


def _spaced_bits(flags, spacing):
    """flags (..., K) -> uint64 (...,): flag k in bit k * spacing, the pixels that tap k sees."""
    shifts = np.arange(flags.shape[-1], dtype=np.uint64) * np.uint64(spacing)
    return (flags.astype(np.uint64) << shifts).sum(axis=-1, dtype=np.uint64)


@lru_cache(maxsize=128)
def _depthwise_tables(size, kernel, stride, padding, dilation):
    """What the depthwise convolution of images of `size` needs to know of its geometry.

    A window is what one kernel row sees at one output column. There is one for every row of the
    padded plane, sorted by row modulo the stride, so that the windows which one kernel row needs
    for all outputs are neighbours. For each window: `where` (uint64), the bit of the plane at
    which it starts, and `inside` (uint64), the bits that lie in its row, none for a padded row.
    For each output: `n_valid` (int64), the taps inside the image. For each kernel row: `starts`
    (int64), the window of the first output.
    """
    (h, w), (sh, sw), (ph, _) = size, stride, padding
    cols_inside = taps_inside(size[1], kernel[1], stride[1], padding[1], dilation[1])
    phase_rows, out_w = -(-(h + 2 * ph) // sh), len(cols_inside)
    row = (np.arange(sh)[:, None] + np.arange(phase_rows) * sh - ph).reshape(-1, 1)
    real = (row >= 0) & (row < h)
    where = np.where(real, row * w + np.arange(out_w) * sw, 0).astype(np.uint64)
    inside = np.where(real, _spaced_bits(cols_inside, dilation[1]), np.uint64(0))
    tap_rows = np.arange(kernel[0]) * dilation[0]
    starts = (tap_rows % sh * phase_rows + tap_rows // sh) * out_w
    n_valid = valid_taps(size, kernel, stride, padding, dilation)
    return where.ravel(), inside.ravel(), n_valid.ravel(), starts


def _xnor_depthwise(x, w, stride, padding, dilation):
    """Depthwise 1-bit convolution: pixels packed along the width, a kernel row per popcount."""
    (n, c, *size), (c_out, _, *kernel) = x.shape, w.shape
    out_h, out_w = map(output_size, size, kernel, stride, padding, dilation)
    tables = _depthwise_tables(tuple(size), tuple(kernel), stride, padding, dilation)
    w_bits = _spaced_bits(w > 0, dilation[1]).reshape(c, c_out // c, kernel[0])
    y = np.empty((n * c, c_out // c, out_h * out_w), np.int32)
    planes = ready(x).reshape(n * c, size[0] * size[1])
    share(_depthwise, y.size * kernel[0], planes, w_bits, tables, padding[1], y)
    return y.reshape(n, c_out, out_h, out_w)


def xnor_conv2d(x, w, stride, padding, dilation, groups):
    """The 1-bit convolution before its scale: sign(x) * sign(w), Eq. 4.22 without beta.

    x (N, Cin, H, W), w (Cout, Cin / groups, Kh, Kw) -> int32 (N, Cout, Ho, Wo), exact. A padded
    tap adds 0. sign is +1 above 0, otherwise -1.
    """
    n, (c_out, channels) = x.shape[0], w.shape[:2]
    if channels == 1 and (w.shape[3] - 1) * dilation[1] < WORD:
        return _xnor_depthwise(x, w, stride, padding, dilation)
    g = geometry(x.shape, w.shape[2:], stride, padding, dilation)
    w_bits = pack_bits(w).reshape(groups, c_out // groups, g.kh * g.kw, -1)
    n_valid = channels * valid_taps(x.shape[2:], w.shape[2:], stride, padding, dilation).ravel()
    y = np.empty((n, groups, c_out // groups, g.out_h * g.out_w), np.int32)
    work = y.size * w_bits[0, 0].size  # words of a window for every output
    packed = _pack_planes(x, groups)
    share(_conv, work, packed, w_bits, n_valid, g, max(1, BLOCK // g.out_w), y)
    return y.reshape(n, c_out, g.out_h, g.out_w)
