"""What a packed network does: 1-bit layers whose inputs and outputs are bits, and the rest in floats.

Between two 1-bit layers nothing but a sign is needed, so batch norm and sign together are a threshold on
the count of differing bits: bit = (count < limit), flipped where the scale of a channel is negative. All
kernels here write into buffers that they are given, and run on one thread: packed networks share out images.

Buffers are flat. Floats: (images, channels, pixels); `x_at` is where the first image starts in x, `pitch` how far
apart images are. Bits: planes (images, words, plane) with a margin, as in `packing`. `add` is 1 to add to
what the target holds, 0 to replace it.
"""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.packing import pack_image, scatter
from bnas.kernels.panels import PANEL, ROWS, fill_panel
from bnas.kernels.tiles import count_tile
from bnas.kernels.vectors import (
    bits_below,
    broadcast,
    carry,
    load,
    load_first,
    maximum,
    scaled_like,
    select_equal,
    store,
    store_first,
)
from bnas.kernels.xnor import sixteen
from bnas.reference import WORD

__all__ = [
    "COUNTERS",
    "add_image",
    "conv_to_bits",
    "conv_to_floats",
    "depthwise_to_bits",
    "pack_images",
    "pad_images",
    "pool",
]

COUNTERS = 6  # bits of a count of taps: windows of up to 62 taps


@jit
def pack_images(x, x_at, pitch, channels, places, plane, images, planes):
    """Signs of float images into bit planes; places: where the pixels lie in a plane."""
    words = -(-channels // WORD)
    for image in range(images):
        for j in range(words):
            start = x_at + image * pitch + j * WORD * places.size
            target = (image * words + j) * plane
            pack_image(x, start, min(WORD, channels - j * WORD), places, planes, target)


@jit(forceinline=True)
def _flush(words, flips, j, planes, target, places, first):
    """Write out 32 pixels of word plane j, flipped, and start the next with zeros."""
    flip, zero = broadcast(flips[j]), broadcast(np.uint64(0))
    for p in range(0, PANEL, 8):
        count = min(places.size - first - p, 8)
        if count > 0:
            scatter(load(words, p) ^ flip, planes, places, first + p, target, count)
        store(words, p, zero)


@jit
def conv_to_bits(
    planes, site, where, tiles, limits, flips, images, out, out_plane, places, panel, counts, words
):
    """1-bit convolution, bits to bits: out bit = (count < limits[0, class, channel]) ^ flip.

    limits int32 (1, classes, Cout); flips uint64 (words of out,); places: where output pixels lie in a
    plane of `out`. panel, counts and words are scratch.
    """
    length, channels, panels = where.size, limits.shape[2], site.classes.shape[0]
    stored, out_words = planes.size // images, flips.size
    for task in range(images * panels):
        image, panel_number = divmod(task, panels)
        first = panel_number * PANEL
        fill_panel(planes, image * stored, site.base, first, where, np.uint64(0), panel)
        left, right = load(site.border, first), load(site.border, first + 16)
        start, end = site.classes[panel_number, 0], site.classes[panel_number, 1]
        for o in range(0, channels, ROWS):
            count_tile(panel, tiles, o * length, length, counts)
            for row in range(min(ROWS, channels - o)):
                bit = np.uint64((o + row) % WORD)
                limit = sixteen(limits, 0, o + row, left, start, end)
                a, b = bits_below(load(counts, row * PANEL), limit, bit)
                limit = sixteen(limits, 0, o + row, right, start, end)
                c, d = bits_below(load(counts, row * PANEL + 16), limit, bit)
                store(words, 0, load(words, 0) | a)
                store(words, 8, load(words, 8) | b)
                store(words, 16, load(words, 16) | c)
                store(words, 24, load(words, 24) | d)
            done = o + ROWS
            if done % WORD == 0 or done >= channels:
                j = o // WORD
                target = (image * out_words + j) * out_plane
                _flush(words, flips, j, out, target, places, first)


@jit
def conv_to_floats(
    planes,
    site,
    where,
    tiles,
    offsets,
    beta,
    scale,
    shift,
    images,
    y,
    y_at,
    pitch,
    add,
    panel,
    counts,
):
    """1-bit convolution, bits to floats: y = (beta dot) scale + shift, each step rounded by itself."""
    length, channels, panels = where.size, beta.size, site.classes.shape[0]
    stored = planes.size // images
    for task in range(images * panels):
        image, panel_number = divmod(task, panels)
        first = panel_number * PANEL
        fill_panel(planes, image * stored, site.base, first, where, np.uint64(0), panel)
        start, end = site.classes[panel_number, 0], site.classes[panel_number, 1]
        for o in range(0, channels, ROWS):
            count_tile(panel, tiles, o * length, length, counts)
            for row in range(min(ROWS, channels - o)):
                target = y_at + image * pitch + (o + row) * site.pixels + first
                a, b = broadcast(scale[o + row]), broadcast(shift[o + row])
                for p in range(0, min(PANEL, site.pixels - first), 16):
                    here = load(site.border, first + p)
                    offset = sixteen(offsets, 0, o + row, here, start, end)
                    count = load(counts, row * PANEL + p)
                    value = scaled_like(y, offset - count - count, beta[o + row]) * a + b
                    _put(y, target + p, value, site.pixels - first - p, add)


@jit(forceinline=True)
def _put(y, at, value, count, add):
    """Store, or add to what is there, the first `count` of 16 lanes (all if there are more)."""
    if count >= 16:
        store(y, at, load(y, at) + value if add else value)
    elif add:
        store_first(y, at, load_first(y, at, count) + value, count)
    else:
        store_first(y, at, value, count)


@jit(forceinline=True)
def _full_add(a, b, c):
    """Three bits as a sum and a carry, in every bit of the vectors."""
    partial = a ^ b
    total = partial ^ c
    return total, carry(a, partial, total)


@jit(forceinline=True)
def _ripple(counter, start, bits):
    """Add `bits`, each worth 2^start, to the counters."""
    c0, c1, c2, c3, c4, c5 = counter
    if start == 0:
        c0, bits = c0 ^ bits, c0 & bits
        c1, bits = c1 ^ bits, c1 & bits
        c2, bits = c2 ^ bits, c2 & bits
    c3, bits = c3 ^ bits, c3 & bits
    c4, bits = c4 ^ bits, c4 & bits
    return c0, c1, c2, c3, c4, c5 ^ bits


@jit(forceinline=True)
def _differ(panel, t, p, weights, at):
    """In which of 64 channels tap t of 8 pixels differs from the weights."""
    return load(panel, t * PANEL + p) ^ broadcast(weights[at + t])


@jit(forceinline=True)
def _count_taps(panel, p, taps, weights, at):
    """How many taps differ, for 8 pixels of 64 channels at once: six vectors of counter bits.

    Counter bit k of all 512 sums is one vector. Eight taps go through seven full adders, a tree that
    ends in one carry worth 8; a square of an odd number is a multiple of 8 plus 1.
    """
    zero = broadcast(np.uint64(0))
    counter = (zero, zero, zero, zero, zero, zero)
    t = 0
    while t + 8 <= taps:
        ones, twos, fours = counter[0], counter[1], counter[2]
        ones, a = _full_add(
            ones, _differ(panel, t, p, weights, at), _differ(panel, t + 1, p, weights, at)
        )
        ones, b = _full_add(
            ones, _differ(panel, t + 2, p, weights, at), _differ(panel, t + 3, p, weights, at)
        )
        twos, c = _full_add(twos, a, b)
        ones, a = _full_add(
            ones, _differ(panel, t + 4, p, weights, at), _differ(panel, t + 5, p, weights, at)
        )
        ones, b = _full_add(
            ones, _differ(panel, t + 6, p, weights, at), _differ(panel, t + 7, p, weights, at)
        )
        twos, d = _full_add(twos, a, b)
        fours, eights = _full_add(fours, c, d)
        counter = _ripple((ones, twos, fours, counter[3], counter[4], counter[5]), 3, eights)
        t += 8
    while t < taps:
        counter = _ripple(counter, 0, _differ(panel, t, p, weights, at))
        t += 1
    return counter


@jit
def depthwise_to_bits(
    planes, site, border, weights, limits, flips, images, out, out_plane, places, panel
):
    """1-bit depthwise convolution, bits to bits, for 64 channels at once.

    weights uint64 (words T,); border: site.border as uint64. limits uint64 (classes, words, COUNTERS):
    bit k of the limits of 64 channels. Out bit = (count < limit) ^ flip.
    """
    taps, panels, words = site.taps.size, site.classes.shape[0], flips.size
    for task in range(images * words * panels):
        plane, panel_number = divmod(task, panels)
        j, first = plane % words, panel_number * PANEL
        at = plane * site.plane
        fill_panel(planes, at, site.base, first, site.taps, np.uint64(0), panel)
        start, end = site.classes[panel_number, 0], site.classes[panel_number, 1]
        flip = broadcast(flips[j])
        for p in range(0, min(PANEL, site.pixels - first), 8):
            counter = _count_taps(panel, p, taps, weights, j * taps)
            below = broadcast(np.uint64(0))
            here = load(border, first + p)
            below = _compare(counter[0], limits, j, 0, here, start, end, below)
            below = _compare(counter[1], limits, j, 1, here, start, end, below)
            below = _compare(counter[2], limits, j, 2, here, start, end, below)
            below = _compare(counter[3], limits, j, 3, here, start, end, below)
            below = _compare(counter[4], limits, j, 4, here, start, end, below)
            below = _compare(counter[5], limits, j, 5, here, start, end, below)
            count = min(site.pixels - first - p, 8)
            scatter(below ^ flip, out, places, first + p, plane * out_plane, count)


@jit(forceinline=True)
def _compare(bits, limits, j, k, here, start, end, below):
    """count < limit, one more bit of the two known: where they differ in it, it decides."""
    limit = broadcast(limits[start, j, k])
    for c in range(start + 1, end):
        limit = select_equal(here, broadcast(np.uint64(c)), broadcast(limits[c, j, k]), limit)
    return below ^ ((bits ^ limit) & (below ^ limit))


@jit
def pad_images(x, x_at, pitch, channels, places, plane, images, planes):
    """Copy float images into planes with a margin; places: where the pixels lie in a plane."""
    pixels = places.size
    for image in range(images):
        for c in range(channels):
            start, target = x_at + image * pitch + c * pixels, (image * channels + c) * plane
            for i in range(pixels):
                planes[target + places[i]] = x[start + i]


@jit
def add_image(x, x_at, x_pitch, size, images, y, y_at, pitch, add):
    """y = x or y + x, `size` floats an image."""
    for image in range(images):
        a, b = x_at + image * x_pitch, y_at + image * pitch
        if add:
            for i in range(size):
                y[b + i] += x[a + i]
        else:
            for i in range(size):
                y[b + i] = x[a + i]


@jit
def pool(
    x, x_at, x_pitch, size, stride, divisors, scale, shift, images, y, y_at, pitch, add, plane, row
):
    """3×3 pooling with padding 1, then scale and shift: the maximum, or the mean if there are divisors.

    size: (height, width) of the images; divisors float32 (pixels of y,) or none for the maximum; plane
    (H + 2, W + 2 + slack) is scratch whose margin holds what must not count; row is scratch.
    """
    height, width = size
    cols, out_w = width + 2, -(-width // stride)
    out_h = -(-height // stride)
    for task in range(images * scale.size):
        image, c = divmod(task, scale.size)
        start = x_at + image * x_pitch + c * height * width
        for h in range(height):
            for w in range(width):
                plane[(h + 1) * cols + 1 + w] = x[start + h * width + w]
        target = y_at + image * pitch + c * out_h * out_w
        for h in range(out_h):
            for w in range(0, width, 16):
                at = h * stride * cols + w
                total = load(plane, at)
                for t in range(1, 9):
                    value = load(plane, at + t // 3 * cols + t % 3)
                    total = total + value if divisors.size else maximum(total, value)
                store(row, w, total)
            for w in range(out_w):
                value = row[w * stride]
                if divisors.size:
                    value = value / divisors[h * out_w + w]
                value = value * scale[c] + shift[c]
                y[target + w] = y[target + w] + value if add else value
            target += out_w
