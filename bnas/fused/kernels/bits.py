"""The 1-bit unit on bits: signs of 16 images are the bits of a word, sums of signs are counted in bit slices.

In lanes a vector holds 16 images. So the signs of a pixel are a word of 16 bits, and the sums of 512 outputs are
counted side by side, by logical instructions alone (`bnas.kernels.bitslices`): a sum of n products of signs is
2 c - n, where c is how many of them are +1 (XNOR). Floats come in where z is written, and in the backward, which
multiplies signs with gradients. Sums of signs are integers, so the results have the bits of those in floats.

All signs of a block of images, some kilobytes for a channel, lie in one padded plane of words: a row after
another, zeros between them for what a window sees beyond the image. An output is at the position of its first
tap. Counts are made for all positions, of which a stride uses some.
"""

from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from bnas.fused.kernels.lanes import affine
from bnas.kernels.bitslices import add_where, overflows, store_positive, store_slices, tally
from bnas.kernels.jit import jit
from bnas.kernels.vectors import (
    BITS,
    broadcast,
    element,
    lane_count,
    load,
    multiply_add,
    ravel,
    store,
    widen,
)

MOST_CHANNELS = 255  # that eight digits count
SPARSE = 8  # times as many words as pixels: wider dilations leave too much between them
TOGETHER = 8  # channels that are counted together; missing ones count for nothing
DIGITS = 5  # of counts up to the 25 taps of a kernel of 5×5
ONES, ZEROS = np.uint64(2**64 - 1), np.uint64(0)


class BitTable(NamedTuple):
    """Where the bits of a window over images of one size are; positions are in words.

    Attributes:
        kernel: 1, 3 or 5; 0 for a window that is left to floats.
        height, width, top, left, pitch: of an image within its padded plane: rows, columns, rows and columns
            before it, words from one row to the next.
        plane: words of a padded plane.
        span: positions that are counted, a multiple of a vector's words.
        row_step, column_step: from one tap to the one below, and to the one beside it.
        at: int64 (outputs,), the position of each output, row by row.
        first: int64 (vectors + 1,), the first output of each vector of positions.
        seen: int64 (outputs,), how many taps see the image.
        inside: words (plane,), ones in the image.
        addends: words (DIGITS span), what a count needs, in slices, to overflow where its sum is positive.
    """

    kernel: int
    height: int
    width: int
    top: int
    left: int
    pitch: int
    plane: int
    span: int
    row_step: int
    column_step: int
    at: np.ndarray
    first: np.ndarray
    seen: np.ndarray
    inside: np.ndarray
    addends: np.ndarray


def bit_table(unit, size, window, lanes):
    """The BitTable for a Unit and its Window over images of `size` (H, W), in words of so many bits.

    Its kernel is 0 where the unit is left to floats.
    """
    channels = unit.pointwise.size // max(1, unit.scale.size)
    if not (unit.binary and unit.scale.size and channels <= MOST_CHANNELS):
        return _no_bits(lanes)
    return _bit_table(bool(unit.inner.size), size, window, lanes)


@cache
def _no_bits(lanes):
    nothing, words = np.zeros(0, np.int64), np.zeros(0, _word(lanes))
    return BitTable(*[0] * 10, nothing, nothing, nothing, words, words)


def _word(lanes):
    return np.dtype(f"u{lanes // 8}")


@lru_cache(maxsize=256)
def _bit_table(depthwise, size, window, lanes):
    """The BitTable of a 1-bit unit, with a depthwise convolution or without."""
    (height, width), kernel = size, window.kernel[0]
    if window.kernel != (kernel, kernel) or kernel not in ((3, 5) if depthwise else (1,)):
        return _no_bits(lanes)
    # An output that sees no pixel has no place between the rows; nor has a 0 that no convolution makes a sign of.
    if not all(inside.any(axis=1).all() for inside in window.taps_inside(size)):
        return _no_bits(lanes)
    rows, columns = window.seen(size)
    top, left = max(0, -rows.min()), max(0, -columns.min(), columns.max() + 1 - width)
    pitch, word, in_vector = left + width, _word(lanes), BITS // lanes
    at = ((rows[:, :1] + top) * pitch + left + columns[:, 0]).reshape(-1)
    row_step, column_step = window.dilation[0] * pitch, window.dilation[1]
    span = -(-(at[-1] + 1) // in_vector) * in_vector
    plane = max(span + (kernel - 1) * (row_step + column_step), (top + height) * pitch)
    if plane > SPARSE * height * width + BITS:
        return _no_bits(lanes)
    inside = np.zeros(plane, bool)
    inside[: (top + height) * pitch].reshape(-1, pitch)[top:, left:] = True
    offsets = (i * row_step + j * column_step for i in range(kernel) for j in range(kernel))
    seen = sum(inside[offset : offset + span].astype(np.int64) for offset in offsets)
    # The sum is positive where more than half of the products are +1.
    needed = 2**DIGITS - (seen // 2 + 1)
    slices = [np.where(needed >> k & 1, -1, 0) for k in range(DIGITS)]
    return BitTable(
        kernel,
        height,
        width,
        int(top),
        int(left),
        int(pitch),
        int(plane),
        int(span),
        int(row_step),
        column_step,
        at,
        np.searchsorted(at, np.arange(0, span + 1, in_vector)),
        seen[at],
        np.where(inside, -1, 0).astype(word),
        np.concatenate(slices).astype(word),
    )


@jit(allocates=False)
def _flips(signs, row, padded, flips):
    """Rows of signs as words that a product with them is flipped by; the padding of a row flips nothing."""
    for i in range(flips.size):
        flips[i] = 0
    for i in range(signs.size):
        flips[i // row * padded + i % row] = ZEROS if signs[i] > 0 else ONES


@jit(allocates=False)
def _pack(x, at, norm, c, table, words, target):
    """The signs of the normed plane x[at...] of channel c to the padded plane words[target...]."""
    lanes = lane_count(x)
    middle, factor, offset = affine(norm, c)
    for row in range(table.height):
        to = target + (table.top + row) * table.pitch + table.left
        for column in range(table.width):
            normed = multiply_add(load(x, at) - middle, factor, offset)
            store_positive(words, to + column, normed)
            at += lanes


@jit(allocates=False)
def _depthwise(bits, c, table, beta):
    """The sums and signs of a channel of BlockBits from its words; the sign is that of the sum times β."""
    source, target, zeros = c * table.plane, c * table.span, broadcast(ZEROS)
    across, down, size = table.column_step, table.row_step, table.kernel
    for p in range(0, table.span, lane_count(bits.words)):
        counts = zeros, zeros, zeros, zeros, zeros
        for i in range(size):
            place, tap = p + i * down, (c * size + i) * size
            at = source + place
            if size == 3:  # how many taps must be a literal; else it is 5
                counts = tally(
                    counts, bits.words, at, table.inside, place, across, bits.flips, tap, 3
                )
            else:
                counts = tally(
                    counts, bits.words, at, table.inside, place, across, bits.flips, tap, 5
                )
        if bits.sums.size:
            store_slices(bits.sums, DIGITS * target + p, table.span, counts)
        positive = overflows(counts, table.addends, p, table.span)
        if not beta > 0:
            positive = zeros
        store_slices(bits.signs, target + p, 0, (positive,))


class BlockBits(NamedTuple):
    """The bits of one block of images, a channel after another; channels beyond the last are zeros.

    Attributes:
        flips: uint64 (C taps,), of the depthwise weights.
        words: padded planes of the input's signs.
        sums, signs: of the depthwise convolution, if there is one: the slices of the counts, if they are wanted,
            and the signs of the sums, for each position.
    """

    flips: np.ndarray
    words: np.ndarray
    sums: np.ndarray
    signs: np.ndarray


@jit
def block_bits(table, unit, channels, wants_sums):
    """Room for the BlockBits of a unit."""
    padded = (channels + TOGETHER - 1) // TOGETHER * TOGETHER
    spans = padded * table.span if unit.inner.size else 0
    flips = np.empty(unit.depthwise.size if table.kernel else 0, np.uint64)
    if flips.size:  # not of a unit in floats, whose weights are no signs
        _flips(unit.depthwise, 1, 1, flips)
    return BlockBits(
        flips,
        np.zeros(padded * table.plane, table.inside.dtype),
        np.zeros(DIGITS * spans if wants_sums else 0, table.inside.dtype),
        np.zeros(spans, table.inside.dtype),
    )


@jit(allocates=False)
def fill_bits(x, start, norm, unit, table, bits):
    """The BlockBits of the block of images that begins at x[start]."""
    image = table.height * table.width * lane_count(x)
    for c in range(norm[0].size):
        _pack(x, start + c * image, norm, c, table, bits.words, c * table.plane)
        if unit.inner.size:
            _depthwise(bits, c, table, unit.inner[c])


@jit(allocates=False)
def _pointwise(signs, plane, channels, table, flips, first, counts, digits, scale, zs, moments):
    """One output channel: z = β Σ signs for all pixels, and the sums of z / β and of its squares."""
    (z, start), (sums, squares, at) = zs, moments
    lanes, in_vector, real = lane_count(z), lane_count(signs), z.dtype.type
    zero, zeros = broadcast(real(0)), broadcast(ZEROS)
    least, by = broadcast(real(-channels)), broadcast(scale)
    two, sixteen = broadcast(real(2)), broadcast(real(16))
    total, square = widen(zero), widen(zero)
    for v in range(table.first.size - 1):
        begin, end = table.first[v], table.first[v + 1]
        if begin == end:
            continue
        slices = zeros, zeros, zeros, zeros, zeros, zeros, zeros, zeros
        for c in range(0, channels, TOGETHER):
            from_ = c * plane + v * in_vector
            slices = tally(slices, signs, from_, None, 0, plane, flips, first + c, TOGETHER)
        store_slices(counts, 0, in_vector, slices)
        some, some_squares = zero, zero  # integers below 2²⁴
        for q in range(begin, end):
            word = element(table.at, q) - v * in_vector
            value = add_where(counts, word, in_vector, two, least, 4)
            amount = sixteen
            for k in range(4, digits):
                amount = amount + amount
                value = add_where(counts, word + k * in_vector, 0, amount, value, 1)
            some = some + value
            some_squares = multiply_add(value, value, some_squares)
            store(z, start + q * lanes, value * by)
        total, square = total + widen(some), square + widen(some_squares)
    store(sums, at, total)
    count = widen(broadcast(real(table.at.size)))
    store(squares, at, square - total * total / count)


@jit
def forward_in_bits(x, norm, unit, table, z, sums, squares, first, end):
    """`separable` of the blocks from `first` to `end`, in bits."""
    lanes, (_, outputs, height, width, _) = lane_count(x), z.shape
    x, z = ravel(x), ravel(z)
    sums, squares = ravel(sums), ravel(squares)
    channels, pixels = norm[0].size, height * width
    bits = block_bits(table, unit, channels, False)
    padded = bits.words.size // table.plane
    counts = np.empty(8 * lane_count(bits.words), bits.words.dtype)
    pairs = np.empty(outputs * padded, np.uint64)
    _flips(unit.pointwise, channels, padded, pairs)
    source, plane = bits.words, table.plane
    if bits.signs.size:
        source, plane = bits.signs, table.span
    digits = 0
    while channels >> digits:
        digits += 1
    for block in range(first, end):
        start = block * channels * table.height * table.width * lanes
        fill_bits(x, start, norm, unit, table, bits)
        for o in range(outputs):
            at = (block * outputs + o) * lanes
            _pointwise(
                source,
                plane,
                channels,
                table,
                pairs,
                o * padded,
                counts,
                digits,
                unit.scale[o],
                (z, at * pixels),
                (sums, squares, at),
            )


@jit(forceinline=True)
def _one_or_minus(words, at, like):
    """The sign at a word, in lanes of the dtype of `like`."""
    real = like.dtype.type
    return add_where(words, at, 0, broadcast(real(2)), broadcast(real(-1)), 1)


@jit(allocates=False)
def spread_rows(bits, c, table, rows, planes, out, to):
    """The signs of the input's rows (first, end) as floats in lanes, to the plane out[to...] of a TapTable."""
    lanes = lane_count(out)
    at = c * table.plane + table.top * table.pitch + table.left
    for row in range(rows[0], rows[1]):
        word, place = at + row * table.pitch, to + (row * planes.pitch + planes.left) * lanes
        for i in range(table.width):
            store(out, place + i * lanes, _one_or_minus(bits.words, word + i, out))


@jit(allocates=False)
def spread_signs(bits, c, table, outputs, out, to):
    """The signs that the pointwise convolution sees, of the outputs (first, end), as floats to out[to...]."""
    words, plane = bits.words, table.plane
    if bits.signs.size:
        words, plane = bits.signs, table.span
    for q in range(outputs[0], outputs[1]):
        place = to + (q - outputs[0]) * lane_count(out)
        store(out, place, _one_or_minus(words, c * plane + element(table.at, q), out))


@jit(allocates=False)
def spread_sums(bits, c, table, outputs, out, to):
    """The depthwise sums of the outputs (first, end), as floats to out[to...]."""
    lanes, real = lane_count(out), out.dtype.type
    two, plane = broadcast(real(2)), DIGITS * c * table.span
    for q in range(outputs[0], outputs[1]):
        word, value = plane + element(table.at, q), broadcast(real(-element(table.seen, q)))
        value = add_where(bits.sums, word, table.span, two, value, DIGITS)
        store(out, to + (q - outputs[0]) * lanes, value)
