"""Packing of signs into bits, 64 channels to a word, for 1-bit convolutions.

A packed image has one plane of 64-bit words for every 64 channels, and in a plane one word for each pixel. So
a vector of 8 words holds 64 channels of 8 neighbouring pixels.
"""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.planes import floats
from bnas.kernels.sites import sites
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import broadcast, sign_bits, store
from bnas.kernels.windows import POINT

WORD = 64  # bits in a packed word


@jit(forceinline=True)
def scatter(words, target, places, p, offset, count, spare):
    """target[places[p + i] + offset] = lane i of words, for the first `count` lanes.

    spare (8,) is scratch, through which single lanes leave the register.
    """
    if count == 8 and places[p + 7] - places[p] == 7:
        store(target, places[p] + offset, words)
    else:
        store(spare, 0, words)
        for i in range(count):
            target[places[p + i] + offset] = spare[i]


@jit(forceinline=True)
def _pack_strip(x, at, channels, pixels):
    """The signs of 32 pixels as four vectors of words; channel c of the first pixel is x[at + c pixels].

    Channels lie far apart in memory. Reading 32 pixels of a channel at a time uses whole cache lines.
    """
    zero = broadcast(np.uint64(0))
    a, b, c, d = zero, zero, zero, zero
    for k in range(channels):
        bit = np.uint64(k)
        a = a | sign_bits(x, at, bit)
        b = b | sign_bits(x, at + 8, bit)
        c = c | sign_bits(x, at + 16, bit)
        d = d | sign_bits(x, at + 24, bit)
        at += pixels
    return a, b, c, d


@jit(forceinline=True)
def _pack_eight(x, at, channels, pixels):
    """As `_pack_strip`, for 8 pixels."""
    words = broadcast(np.uint64(0))
    for k in range(channels):
        words = words | sign_bits(x, at + k * pixels, np.uint64(k))
    return words


@jit(forceinline=True)
def _pack_pixel(x, at, channels, pixels):
    word = np.uint64(0)
    for k in range(channels):
        word |= np.uint64(x[at + k * pixels] > 0) << np.uint64(k)
    return word


@jit
def pack_image(x, at, channels, places, planes, offset):
    """Pack the signs of up to 64 channels of one image into one plane of words.

    x (flat): the image starts at x[at], channel after channel. places (pixels,): the index of each pixel's
    word in `planes`, counted from `offset`.
    """
    pixels, spare = places.size, np.empty(8, np.uint64)
    p = 0
    while p + 32 <= pixels:
        a, b, c, d = _pack_strip(x, at + p, channels, pixels)
        scatter(a, planes, places, p, offset, 8, spare)
        scatter(b, planes, places, p + 8, offset, 8, spare)
        scatter(c, planes, places, p + 16, offset, 8, spare)
        scatter(d, planes, places, p + 24, offset, 8, spare)
        p += 32
    while p + 8 <= pixels:
        scatter(_pack_eight(x, at + p, channels, pixels), planes, places, p, offset, 8, spare)
        p += 8
    if p < pixels and pixels >= 8:  # the last eight: some of them once more
        p = pixels - 8
        scatter(_pack_eight(x, at + p, channels, pixels), planes, places, p, offset, 8, spare)
        return
    while p < pixels:
        planes[places[p] + offset] = _pack_pixel(x, at + p, channels, pixels)
        p += 1


@jit
def _pack(x, channels, places, plane, planes, first, end):
    """x (groups of channels) -> planes (groups, words), a task each: see `packed_planes`."""
    words = -(-channels // WORD)
    for task in range(first, end):
        group, j = divmod(task, words)
        at = (group * channels + j * WORD) * places.size
        pack_image(x, at, min(WORD, channels - j * WORD), places, planes, task * plane)


def packed_planes(x, groups, margin=(0, 0)):
    """x (N, C, H, W) -> flat uint64 planes (N, groups, words, H + 2 margin, W + 2 margin).

    Bit k of word plane j of a group is the sign of its channel 64 j + k; margins are 0.
    """
    n, c, h, w = x.shape
    x = floats(x)
    site = sites((h, w), POINT, margin)
    words = -(-(c // groups) // WORD)
    make = np.zeros if any(margin) else np.empty
    planes = make(n * groups * words * site.plane, np.uint64)
    if planes.size:
        run_tasks(
            _pack,
            x.size,
            n * groups * words,
            x.reshape(-1),
            c // groups,
            site.interior,
            site.plane,
            planes,
        )
    return planes


def pack_bits(x, groups=1):
    """Signs of x, 64 channels to a word.

    x (N, C, H, W) of any real dtype and layout -> uint64 (N, groups, H, W, ceil(C / groups / 64)).
    Bit k of word j is 1 iff channel 64 j + k of the group is > 0, so that 0, -0.0 and NaN count
    as -1. Unused bits are 0.

    Raises:
        ValueError: x has not 4 axes, or its channels do not divide into the groups.
    """
    if x.ndim != 4 or groups < 1 or x.shape[1] % groups:
        raise ValueError(
            f"pack_bits: expected (N, C, H, W) with C a multiple of {groups} groups, got {x.shape}"
        )
    n, c, h, w = x.shape
    words = -(-(c // groups) // WORD)
    planes = packed_planes(x, groups).reshape(n, groups, words, h, w)
    return np.ascontiguousarray(np.moveaxis(planes, 2, -1))


def unpack_bits(words, channels_per_group, dtype):
    """The inverse of `pack_bits` up to magnitude.

    uint64 (N, groups, H, W, words) -> +1 and -1 of `dtype`, (N, groups * channels_per_group, H, W).
    """
    n, groups, h, w, count = words.shape
    octets = np.ascontiguousarray(words.astype("<u8", copy=False)).view(np.uint8)
    bits = np.unpackbits(octets, axis=-1, count=channels_per_group, bitorder="little")
    signs = (2 * bits.astype(dtype) - 1).transpose(0, 1, 4, 2, 3)
    return np.ascontiguousarray(signs).reshape(n, groups * channels_per_group, h, w)
