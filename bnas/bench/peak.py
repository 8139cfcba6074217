"""The machine's peaks: popcounts and multiply-adds of numbers in registers, and reading of memory."""

import numpy as np

from bnas.kernels.buffers import ALIGNMENT
from bnas.kernels.jit import jit
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import broadcast, load, multiply_add, popcount, store

ROUNDS = 200_000
LANES = 16  # of float32 in a vector


@jit
def _count(rounds, out):
    """Eight independent chains of 8 lanes each, so that no popcount waits for another."""
    a = broadcast(np.uint64(rounds))
    b, c, d, e, f, g, h = a, a, a, a, a, a, a
    for _ in range(rounds):
        a, b, c, d = popcount(a), popcount(b), popcount(c), popcount(d)
        e, f, g, h = popcount(e), popcount(f), popcount(g), popcount(h)
    store(out, 0, a ^ b ^ c ^ d ^ e ^ f ^ g ^ h)


@jit
def _count_on_all(rounds, out, first, end):
    for worker in range(first, end):
        _count(rounds, out[worker])


def popcounts(threads):
    """(words, call): how many 64-bit words a call counts the ones of, and the call."""
    out, words = np.empty((threads, 8), np.uint64), threads * ROUNDS * 64
    return words, lambda: run_tasks(_count_on_all, words, threads, ROUNDS, out)


@jit(allocates=False)
def _multiply_add(rounds, factor, out):
    """Eight independent chains, as above."""
    by = broadcast(factor)
    a, b, c, d = load(out, 0), load(out, 16), load(out, 32), load(out, 48)
    e, f, g, h = load(out, 64), load(out, 80), load(out, 96), load(out, 112)
    for _ in range(rounds):
        a, b, c, d = (
            multiply_add(a, by, a),
            multiply_add(b, by, b),
            multiply_add(c, by, c),
            multiply_add(d, by, d),
        )
        e, f, g, h = (
            multiply_add(e, by, e),
            multiply_add(f, by, f),
            multiply_add(g, by, g),
            multiply_add(h, by, h),
        )
    store(out, 0, a + b + c + d + e + f + g + h)


def multiply_adds():
    """(number, call): how many multiply-adds of float32 a call makes on one thread, and the call."""
    out = np.arange(8 * LANES, dtype=np.float32)
    return ROUNDS * out.size, lambda: _multiply_add(ROUNDS, np.float32(0), out)


@jit(allocates=False)
def _read(x, rounds, out):
    for _ in range(rounds):
        a, b, c, d = load(out, 0), load(out, 16), load(out, 32), load(out, 48)
        e, f, g, h = load(out, 64), load(out, 80), load(out, 96), load(out, 112)
        for i in range(0, x.size, 128):
            a, b = a + load(x, i), b + load(x, i + 16)
            c, d = c + load(x, i + 32), d + load(x, i + 48)
            e, f = e + load(x, i + 64), f + load(x, i + 80)
            g, h = g + load(x, i + 96), h + load(x, i + 112)
        store(out, 0, a + b + c + d + e + f + g + h)


def reading(size):
    """(bytes, call): how many bytes a call reads on one thread, again and again the same `size`, and the call.

    size: bytes, a power of two from 512 on.
    """
    memory, out = np.ones((size + ALIGNMENT) // 4, np.float32), np.zeros(8 * LANES, np.float32)
    start = -memory.ctypes.data % ALIGNMENT // 4  # no vector straddles two cache lines
    x = memory[start : start + size // 4]
    rounds = max(1, 2**22 // size)
    return rounds * size, lambda: _read(x, rounds, out)
