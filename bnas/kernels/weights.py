"""The weights of a 1-bit convolution: packed into bits, counted and summed up while they are read once.

Weights are floats, and there are as many of them as a product of a small image has multiply-adds for each
pixel. A layer whose weights are new at every call, as in training, spends most of its time here.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.packing import WORD, pack_image
from bnas.kernels.panels import ROWS
from bnas.kernels.planes import floats
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import magnitudes, popcount, store

BLOCK = 128  # numbers that NumPy sums up without halving


class Weights(NamedTuple):
    """Packed weights, for images of any size.

    Attributes:
        shape: of the weights, (groups Cout, channels, Kh, Kw).
        groups: how many.
        beta: (groups Cout,) floats, mean|w|.
        tiles: uint64 (groups Cout / 4 K 4,), as `panels.tiled` lays them out: K = taps words a pixel.
        ones: int32 (groups, Cout, taps), how many weights of each tap are positive.
        latest: what `xnor.lay_out` has made of them last, in a list; a layer sees images of one size mostly.
    """

    shape: tuple
    groups: int
    beta: np.ndarray
    tiles: np.ndarray
    ones: np.ndarray
    latest: list


@jit(forceinline=True)
def _short_sum(w, at, count, spare):
    """The sum of |w[at]|, ... of up to BLOCK numbers: eight sums side by side, which NumPy adds in pairs."""
    total, i = w.dtype.type(0), 0
    if count >= 8:
        sums, i = magnitudes(w, at), 8
        while i + 8 <= count:
            sums = sums + magnitudes(w, at + i)
            i += 8
        store(spare, 0, sums)
        left = (spare[0] + spare[1]) + (spare[2] + spare[3])
        total = left + ((spare[4] + spare[5]) + (spare[6] + spare[7]))
    while i < count:
        total += abs(w[at + i])
        i += 1
    return total


@lru_cache(maxsize=256)
def _blocks(count):
    """How NumPy adds `count` numbers: halves to halves, in blocks of up to BLOCK.

    int64 (blocks, 3): where each begins, how many numbers it has, and how many pairs of sums are complete with it.
    """
    found = []

    def visit(at, count, complete):
        if count <= BLOCK:
            found.append((at, count, complete))
            return
        half = count // 2 // 8 * 8
        visit(at, half, 0)
        visit(at + half, count - half, complete + 1)

    visit(0, count, 0)
    return np.array(found, np.int64)


@jit(forceinline=True)
def _sum(w, at, blocks, waiting, spare):
    """The sum of |w[at]|, ... in the order of NumPy's, so that it has the same bits; the others are scratch."""
    top = 0
    for i in range(len(blocks)):
        waiting[top] = _short_sum(w, at + blocks[i, 0], blocks[i, 1], spare)
        for _ in range(blocks[i, 2]):
            top -= 1
            waiting[top] += waiting[top + 1]
        top += 1
    return waiting[0]


@jit
def _pack_channels(w, channels, places, blocks, tiles, ones, beta, first, end):
    """A task is an output channel; places[t] is where in a tile the first word of tap t lies."""
    groups, outputs, taps = ones.shape
    waiting, spare = np.empty(64, w.dtype), np.empty(8, w.dtype)
    words, length = -(-channels // WORD), channels * taps
    for task in range(first, end):
        group, o = divmod(task, outputs)
        tile = group * (tiles.size // groups) + o // ROWS * ROWS * words * taps + o % ROWS
        # First what reads in order: the rest finds the weights in the first-level cache.
        beta[task] = _sum(w, task * length, blocks, waiting, spare) / w.dtype.type(length)
        for j in range(words):
            at = task * length + j * WORD * taps
            pack_image(w, at, min(WORD, channels - j * WORD), places, tiles, tile + j * ROWS)
        for t in range(taps):
            count = np.uint64(0)
            for j in range(words):
                count += popcount(tiles[tile + places[t] + j * ROWS])
            ones[group, o, t] = count


def pack_dense(w, groups):
    """The `Weights` of w (groups Cout, channels, Kh, Kw), of any real dtype; β is right for floats alone."""
    w = floats(w)
    (count, channels), taps = w.shape[:2], w.shape[2] * w.shape[3]
    outputs, words = count // groups, -(-channels // WORD)
    make = np.zeros if outputs % ROWS else np.empty  # what fills up the last tile is never stored
    tiles = make(groups * -(-outputs // ROWS) * ROWS * words * taps, np.uint64)
    ones, beta = np.empty((groups, outputs, taps), np.int32), np.empty(count, w.dtype)
    places = np.arange(taps) * (words * ROWS)
    flat, blocks = w.reshape(-1), _blocks(channels * taps)
    run_tasks(_pack_channels, w.size, count, flat, channels, places, blocks, tiles, ones, beta)
    return Weights(w.shape, groups, beta, tiles, ones, [])
