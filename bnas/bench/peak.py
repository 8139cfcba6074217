"""The machine's peak of plain vector popcounts: nothing else, on numbers in registers."""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import broadcast, popcount, store

ROUNDS = 200_000


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
