"""What `bnas bench` races: kernels, whole networks and search steps, each on one thread and on all."""

import importlib.util

import numba

from bnas.bench import kernels, networks, steps
from bnas.bench.machine import machine_record


def run_all(quick, tell):
    """Race everything; returns the results that bnas.bench describes.

    quick: one shape of each kind, few repetitions. tell: called with a line before every table.
    """
    machine = machine_record()
    torch = importlib.util.find_spec("torch") is not None
    everything = sorted({1, numba.get_num_threads()})
    peak = kernels.popcount_peak(everything)
    tables = []
    for threads in everything:
        for make in (*kernels.TABLES, *networks.TABLES, *steps.TABLES):
            if threads > 1 and make in kernels.ONE_THREAD_ONLY:
                continue
            tell(f"{make.__doc__.splitlines()[0]} On {threads} thread{'s' * (threads > 1)} ...")
            tables.append(make(threads, torch, quick))
    return {"machine": machine, "peak": peak, "tables": tables}
