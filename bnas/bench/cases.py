"""What `bnas bench` measures: kernels, whole networks and search steps, raced on one thread and on all."""

import importlib.util

import numba

from bnas.bench import growth, kernels, networks, steps
from bnas.bench.machine import machine_record
from bnas.bench.roofline import rooflines
from bnas.config import BENCH_PARTS, BENCH_SCALES


def run_all(
    quick, tell, only=BENCH_PARTS, scales=BENCH_SCALES[:2], repeats=None, keep=lambda results: None
):
    """Measure the parts in `only`; returns the results that bnas.bench describes.

    Args:
        quick: one shape of each kind, few repetitions.
        tell: called with a line before every table.
        only: some of BENCH_PARTS. Memory and growth are measured on all threads, rooflines on one.
        scales: of search steps, their memory and their rooflines, some of BENCH_SCALES; quick takes the first.
        repeats: measurements of a search step, in place of what its scale says.
        keep: called with the results so far after every table but those of growth, which come last.
    """
    results = {"machine": machine_record(), "peak": {}, "tables": [], "memory": []}
    results |= {"roofline": {}, "growth": []}
    torch, jax = (importlib.util.find_spec(peer) is not None for peer in ("torch", "jax"))
    most = numba.get_num_threads()
    everything = sorted({1, most})
    scales = scales[:1] if quick else scales
    if "kernels" in only:
        results["peak"] = kernels.popcount_peak(everything)
    makers = [
        make
        for name, part in (("kernels", kernels), ("networks", networks))
        if name in only
        for make in part.TABLES
    ]

    def add(part, table):
        results[part].append(table)
        keep(results)

    for threads in everything:
        on = f"On {threads} thread{'s' * (threads > 1)} ..."
        for make in makers:
            if threads > 1 and make in kernels.ONE_THREAD_ONLY:
                continue
            tell(f"{make.__doc__.splitlines()[0]} {on}")
            add("tables", make(threads, torch, quick))
        for name in scales if "steps" in only else ():
            tell(f"A step of the search, {name} scale. {on}")
            add("tables", steps.step_table(name, threads, torch, quick, repeats, jax))
    if "memory" in only:
        tell("Peak memory of a step of the search ...")
        add("memory", steps.memory_table(scales, most, torch, quick))
    if "roofline" in only:

        def keep_rooflines(found):
            results["roofline"] = found
            keep(results)

        rooflines(scales, quick, tell, repeats, keep_rooflines)
    if "growth" in only:
        results["growth"] = growth.growth_tables(most, torch, quick, tell, repeats)
    return results
