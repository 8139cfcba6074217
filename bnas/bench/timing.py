"""Races: several ways to compute the same, timed in turns, so that a busy moment hits them all."""

import gc
import math
import sys
import time
from contextlib import ExitStack, contextmanager, nullcontext
from typing import NamedTuple

import numba
import numpy as np

from bnas.errors import InputError
from bnas.kernels.threads import limited

SETTLE = 0.05  # seconds: threads of ONNX Runtime go on spinning for 40 milliseconds after a call
LONG = 2.0  # seconds of a call that is too dear to be made only to warm up


class Timing(NamedTuple):
    """Seconds that one call takes: the median of `repeats` measurements, and their quartiles."""

    seconds: float
    low: float  # lower quartile
    high: float  # upper quartile
    repeats: int


def race(contenders, repeats=7, least=0.005, threads_of=None, clock=time.perf_counter, settle=0):
    """Time all contenders, one measurement of each in every repetition.

    Everybody is warmed up first (compiled, caches filled: what is measured is the steady state).
    One measurement is as many calls in a row as last `least` seconds. The order rotates from one
    repetition to the next, so that nobody always runs in the wake of the same other. Of a contender
    whose call takes LONG the last of the warm-up is the first measurement: no call is wasted.

    Args:
        contenders: {label: function without arguments}.
        repeats: measurements of each contender.
        least: shortest duration of a measurement, in seconds.
        threads_of: {label: number of threads}, set by `threads` off the clock; the others run on
            what is set when race is called.
        clock: returns the time in seconds.
        settle: seconds to wait before each measurement, so that no thread of another still spins.

    Returns:
        {label: Timing}, in the order of `contenders`.

    Raises InputError for repeats below 1 and for more threads than there are.
    """
    if repeats < 1:
        raise InputError(f"a race needs at least 1 repetition, not {repeats}")

    def setting(label):
        count = (threads_of or {}).get(label)
        return nullcontext() if count is None else threads(count)

    labels = list(contenders)
    calls, samples = {}, {label: [] for label in labels}
    for label, function in contenders.items():
        with setting(label):
            elapsed = _warm_up(function, clock)
            if elapsed >= max(LONG, least):
                calls[label], samples[label] = 1, [elapsed]
            else:
                calls[label] = _calls_lasting(least, function, clock)
    for repetition in range(repeats):
        first = repetition % max(len(labels), 1)
        for label in labels[first:] + labels[:first]:
            if len(samples[label]) > repetition:
                continue
            with setting(label):
                time.sleep(settle)
                elapsed = _measure(contenders[label], calls[label], clock)
            samples[label].append(elapsed / calls[label])
    return {label: _summary(values) for label, values in samples.items()}


def _measure(function, calls, clock):
    """Seconds of so many calls, which Python's collector of cycles does not interrupt."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        for _ in range(calls):
            function()
        return clock() - start
    finally:
        if enabled:
            gc.enable()


def _warm_up(function, clock):
    """Call until a call no longer takes less than half the time of the one before; its seconds."""
    before, now = math.inf, _measure(function, 1, clock)
    while now < before / 2:
        before, now = now, _measure(function, 1, clock)
    return now


def _calls_lasting(least, function, clock):
    """How many calls in a row last at least `least` seconds."""
    calls = 1
    while (elapsed := _measure(function, calls, clock)) < least:
        # A fifth more than needed, but ten times at most: the clock is coarse for a short call.
        calls = math.ceil(calls * min(10, 1.2 * least / elapsed if elapsed > 0 else 10))
    return calls


def _summary(samples):
    low, median, high = np.percentile(samples, [25, 50, 75]).tolist()
    return Timing(median, low, high, len(samples))


@contextmanager
def threads(count):
    """Run the body on `count` threads: Numba, PyTorch and BLAS together; restored afterwards.

    PyTorch is set when it is imported, NumPy's and SciPy's BLAS when threadpoolctl is installed
    (without it BLAS keeps what OPENBLAS_NUM_THREADS and the like said at the start; the record of
    the machine tells). Raises InputError for a count outside 1 to NUMBA_NUM_THREADS.
    """
    available = numba.config.NUMBA_NUM_THREADS
    if not 1 <= count <= available:
        raise InputError(
            f"cannot run on {count} threads: this process has 1 to {available}; "
            "set NUMBA_NUM_THREADS (or give --threads) for more"
        )
    with ExitStack() as restore:
        restore.enter_context(limited(count))
        torch = sys.modules.get("torch")  # a peer, never imported by us
        if torch is not None:
            restore.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(count)
        yield
