"""The 1-bit layers of a packed network: convolutions whose inputs are bits, and whose outputs may be bits.

Between two 1-bit layers only the sign of a number is needed, so batch norm and sign together are a threshold
on the count of differing bits: bit = (count < limit), inverted where the scale of a channel is negative.

A packed image stands in planes of words with a margin of zeros, (words, plane), see `packing`; floats stand in
panels, see `floats`. As there, kernels write into buffers that they are given, and run on one thread.
"""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.packing import WORD, scatter
from bnas.kernels.panels import PANEL, ROWS, fill_panel
from bnas.kernels.vectors import (
    bits_below,
    broadcast,
    carry,
    element,
    load,
    load_even,
    popcount,
    scaled_like,
    select_equal,
    sign_bits,
    store,
)
from bnas.kernels.xnor import sixteen
from bnas.packed.kernels.floats import put

COUNTERS = 6  # bits of a count of taps: windows of up to 62 taps


@jit(allocates=False)
def pack_panels(x, x_at, x_pitch, channels, places, plane, planes, spare):
    """Signs of floats in panels, as planes of bits; places: the index of each pixel in a plane."""
    words, panels = -(-channels // WORD), -(-places.size // PANEL)
    for task in range(panels * words):
        number, j = divmod(task, words)
        target, first = j * plane, number * PANEL
        zero = broadcast(np.uint64(0))
        a, b, c, d = zero, zero, zero, zero
        at = x_at + number * x_pitch + j * WORD * PANEL
        for k in range(min(WORD, channels - j * WORD)):
            bit = np.uint64(k)
            a, b = a | sign_bits(x, at, bit), b | sign_bits(x, at + 8, bit)
            c, d = c | sign_bits(x, at + 16, bit), d | sign_bits(x, at + 24, bit)
            at += PANEL
        _scatter_four((a, b, c, d), planes, places, first, target, spare)


@jit(forceinline=True)
def _scatter_four(words, planes, places, first, target, spare):
    """32 words to their places, as many as there are pixels left."""
    left = places.size - first
    scatter(words[0], planes, places, first, target, min(left, 8), spare)
    scatter(words[1], planes, places, first + 8, target, min(left - 8, 8), spare)
    scatter(words[2], planes, places, first + 16, target, min(left - 16, 8), spare)
    scatter(words[3], planes, places, first + 24, target, min(left - 24, 8), spare)


@jit(forceinline=True)
def _fill_halves(planes, site, first, where, halves, panel, narrow):
    """What 32 output pixels from `first` on read, as int32 (H, 32) in `narrow`: the words' used halves.

    panel: scratch for the words, as uint64 and as int32; halves (H,): where in the latter each half begins.
    """
    fill_panel(planes, 0, site.base, site.steps, first, where, panel[0])
    for h in range(halves.size):
        store(narrow, h * PANEL, load_even(panel[1], halves[h]))
        store(narrow, h * PANEL + 16, load_even(panel[1], halves[h] + 32))


@jit(forceinline=True)
def _count_row(counts, x0, x1, word):
    w = broadcast(word)
    return counts[0] + popcount(x0 ^ w), counts[1] + popcount(x1 ^ w)


@jit(forceinline=True)
def _count_tile(narrow, length, tiles, tile):
    """How many bits differ between 32 pixels and four rows of weights: for each row two vectors of int32.

    As `bnas.kernels.tiles`, but of halves of words: their counts need no narrowing, which for the few words of
    these layers would take as long as the counting.
    """
    zero = broadcast(np.int32(0))
    r0, r1, r2, r3 = (zero, zero), (zero, zero), (zero, zero), (zero, zero)
    for h in range(length):
        x0, x1 = load(narrow, h * PANEL), load(narrow, h * PANEL + 16)
        w = tile + ROWS * h
        r0 = _count_row(r0, x0, x1, element(tiles, w))
        r1 = _count_row(r1, x0, x1, element(tiles, w + 1))
        r2 = _count_row(r2, x0, x1, element(tiles, w + 2))
        r3 = _count_row(r3, x0, x1, element(tiles, w + 3))
    return r0, r1, r2, r3


@jit(forceinline=True)
def _set_bits(words, counts, limits, o, here, start, end):
    """Flip bit o % 64 of the words of 32 pixels where a count is below the limit of output channel o, if there
    is one."""
    a, b, c, d = words
    if o < limits.shape[2]:
        bit = np.uint64(o % WORD)
        u, v = bits_below(counts[0], sixteen(limits, 0, o, here[0], start, end), bit)
        w, x = bits_below(counts[1], sixteen(limits, 0, o, here[1], start, end), bit)
        a, b, c, d = a ^ u, b ^ v, c ^ w, d ^ x
    return a, b, c, d


@jit(allocates=False)
def conv_to_bits(
    planes,
    site,
    where,
    halves,
    tiles,
    limits,
    flips,
    out,
    out_plane,
    places,
    panel,
    narrow,
    spare,
):
    """1-bit convolution, bits to bits: out bit = (count < limits[0, class, channel]) ^ flip.

    tiles int32 (Cout / 4 H 4,), limits int32 (1, classes, Cout); flips uint64 (words of out,); places: the
    index of each output pixel in a plane of `out`. halves, panel and narrow: see `_fill_halves`; spare is scratch.
    """
    channels, length = limits.shape[2], halves.size
    for number in range(site.classes.shape[0]):
        first = number * PANEL
        _fill_halves(planes, site, first, where, halves, panel, narrow)
        here = load(site.border, first), load(site.border, first + 16)
        start, end = site.classes[number, 0], site.classes[number, 1]
        for j in range(flips.size):
            flip = broadcast(flips[j])
            words = flip, flip, flip, flip
            for o in range(j * WORD, min((j + 1) * WORD, channels), ROWS):
                r0, r1, r2, r3 = _count_tile(narrow, length, tiles, o * length)
                words = _set_bits(words, r0, limits, o, here, start, end)
                words = _set_bits(words, r1, limits, o + 1, here, start, end)
                words = _set_bits(words, r2, limits, o + 2, here, start, end)
                words = _set_bits(words, r3, limits, o + 3, here, start, end)
            _scatter_four(words, out, places, first, j * out_plane, spare)


@jit(forceinline=True)
def _put_row(counts, o, offsets, here, start, end, affine, y, at, add):
    """y = (beta dot) scale + shift for output channel o, if there is one, each step rounded by itself."""
    beta, scale, shift = affine
    if o < beta.size:
        a, b, n0, n1 = broadcast(scale[o]), broadcast(shift[o]), counts[0], counts[1]
        dot0 = sixteen(offsets, 0, o, here[0], start, end) - n0 - n0
        dot1 = sixteen(offsets, 0, o, here[1], start, end) - n1 - n1
        left, right = scaled_like(y, dot0, beta[o]) * a + b, scaled_like(y, dot1, beta[o]) * a + b
        put(y, at + o * PANEL, left, right, add)


@jit(allocates=False)
def conv_to_floats(
    planes,
    site,
    where,
    halves,
    tiles,
    offsets,
    affine,
    y,
    y_at,
    y_pitch,
    add,
    panel,
    narrow,
):
    """1-bit convolution, bits to floats: y = (beta dot) scale + shift; affine: (beta, scale, shift), else as
    `conv_to_bits`."""
    length, channels = halves.size, affine[0].size
    for number in range(site.classes.shape[0]):
        first, at = number * PANEL, y_at + number * y_pitch
        _fill_halves(planes, site, first, where, halves, panel, narrow)
        here = load(site.border, first), load(site.border, first + 16)
        start, end = site.classes[number, 0], site.classes[number, 1]
        for o in range(0, channels, ROWS):
            r0, r1, r2, r3 = _count_tile(narrow, length, tiles, o * length)
            _put_row(r0, o, offsets, here, start, end, affine, y, at, add)
            _put_row(r1, o + 1, offsets, here, start, end, affine, y, at, add)
            _put_row(r2, o + 2, offsets, here, start, end, affine, y, at, add)
            _put_row(r3, o + 3, offsets, here, start, end, affine, y, at, add)


@jit(forceinline=True)
def _full_add(a, b, c):
    """Three bits as a sum and a carry, in every bit of the vectors."""
    partial = a ^ b
    total = partial ^ c
    return total, carry(a, partial, total)


@jit(forceinline=True)
def _ripple(counter, start, bits):
    """A ripple-carry addition: add `bits`, each worth 2^start (start 0 or 3), to the counters."""
    c0, c1, c2, c3, c4, c5 = counter
    if start == 0:
        c0, bits = c0 ^ bits, c0 & bits
        c1, bits = c1 ^ bits, c1 & bits
        c2, bits = c2 ^ bits, c2 & bits
    c3, bits = c3 ^ bits, c3 & bits
    c4, bits = c4 ^ bits, c4 & bits
    return c0, c1, c2, c3, c4, c5 ^ bits


@jit(forceinline=True)
def _differ(x, at, offsets, t, weights, first):
    """For 8 pixels, the bits of 64 channels in which tap t differs from the weights."""
    return load(x, at + offsets[t]) ^ broadcast(weights[first + t])


@jit(forceinline=True)
def _count_taps(x, at, offsets, weights, first):
    """How many taps differ, for 8 pixels of 64 channels at once: six vectors of counter bits.

    Tap t of the first pixel is x[at + offsets[t]], its weights are weights[first + t].

    Counter bit k of all 512 sums is one vector. Eight taps go through seven full adders, a tree that
    ends in one carry worth 8; a square of an odd number is a multiple of 8 plus 1.
    """
    taps = offsets.size
    zero = broadcast(np.uint64(0))
    counter = (zero, zero, zero, zero, zero, zero)
    t = 0
    while t + 8 <= taps:
        d0 = _differ(x, at, offsets, t, weights, first)
        d1 = _differ(x, at, offsets, t + 1, weights, first)
        d2 = _differ(x, at, offsets, t + 2, weights, first)
        d3 = _differ(x, at, offsets, t + 3, weights, first)
        d4 = _differ(x, at, offsets, t + 4, weights, first)
        d5 = _differ(x, at, offsets, t + 5, weights, first)
        d6 = _differ(x, at, offsets, t + 6, weights, first)
        d7 = _differ(x, at, offsets, t + 7, weights, first)
        ones, a = _full_add(counter[0], d0, d1)
        ones, b = _full_add(ones, d2, d3)
        ones, c = _full_add(ones, d4, d5)
        ones, d = _full_add(ones, d6, d7)
        twos, a = _full_add(counter[1], a, b)
        twos, b = _full_add(twos, c, d)
        fours, eights = _full_add(counter[2], a, b)
        counter = _ripple((ones, twos, fours, counter[3], counter[4], counter[5]), 3, eights)
        t += 8
    while t < taps:
        bits = _differ(x, at, offsets, t, weights, first)
        counter = _ripple(counter, 0, bits)
        t += 1
    return counter


@jit(allocates=False)
def depthwise_to_bits(
    planes,
    site,
    border,
    ranges,
    weights,
    limits,
    flips,
    out,
    out_plane,
    places,
    panel,
    eights,
    spare,
):
    """1-bit depthwise convolution, bits to bits, for 64 channels at once.

    weights uint64 (words T,); border: site.border as uint64, ranges int64 (pixels / 8, 2): the lowest
    class of every 8 pixels, and one past the highest. limits uint64 (classes, words, COUNTERS): bit k
    of the limits of 64 channels. Out bit = (count < limit) ^ flip.
    panel (T 8,) is scratch for 8 pixels that are no neighbours, eights (T,) where in it each tap begins.
    """
    taps, vectors = site.taps.size, -(-site.pixels // 8)
    for task in range(flips.size * vectors):
        j, number = divmod(task, vectors)
        at, first = j * site.plane, number * 8
        if site.steps[0, number] == 1:
            x, at, offsets = planes, at + site.base[first], site.taps
        else:
            _copy_eight(planes, at, site, first, panel)
            x, at, offsets = panel, 0, eights
        c0, c1, c2, c3, c4, c5 = _count_taps(x, at, offsets, weights, j * taps)
        start, end = ranges[number, 0], ranges[number, 1]
        below, here = broadcast(np.uint64(0)), load(border, first)
        below = _compare(c0, limits, j, 0, here, start, end, below)
        below = _compare(c1, limits, j, 1, here, start, end, below)
        below = _compare(c2, limits, j, 2, here, start, end, below)
        below = _compare(c3, limits, j, 3, here, start, end, below)
        if taps + 1 >= 16:  # else neither counts nor limits have more bits
            below = _compare(c4, limits, j, 4, here, start, end, below)
            below = _compare(c5, limits, j, 5, here, start, end, below)
        bits, count = below ^ broadcast(flips[j]), min(site.pixels - first, 8)
        scatter(bits, out, places, first, j * out_plane, count, spare)


@jit(forceinline=True)
def _copy_eight(planes, at, site, first, panel):
    """What 8 output pixels from `first` on read, tap after tap; the plane begins at planes[at]."""
    step = site.steps[0, first // 8]
    for t in range(site.taps.size):
        if step == 2:
            store(panel, t * 8, load_even(planes, at + site.base[first] + site.taps[t]))
        else:
            for i in range(8):
                panel[t * 8 + i] = planes[at + site.base[first + i] + site.taps[t]]


@jit(forceinline=True)
def _compare(bits, limits, j, k, here, start, end, below):
    """Compare count < limit bit by bit from the lowest up: where bit k differs, it overrules those below."""
    limit = broadcast(limits[start, j, k])
    for c in range(start + 1, end):
        limit = select_equal(here, broadcast(np.uint64(c)), broadcast(limits[c, j, k]), limit)
    return below ^ ((bits ^ limit) & (below ^ limit))
