"""Rooflines of a search step and of a packed network: what their kernels reach, and what the machine allows.

After Williams, Waterman and Patterson, *Roofline* (2009). A kernel that makes I operations for each byte that it
has to read or write makes no more than min(P, I B) of them a second, where P is the peak of arithmetic and B how
fast the memory is read, or the cache, that holds its data. `bnas.bench.counts` says what an operation is. All is
measured on one thread.
"""

from collections import Counter
from itertools import groupby
from time import perf_counter

import numpy as np

from bnas.bench.counts import CONVOLUTIONS, count_plan, count_task, task_kind
from bnas.bench.networks import CELLS, CLASSES, SHAPE
from bnas.bench.peak import multiply_adds, popcounts, reading
from bnas.bench.steps import NETWORKS, our_step, scale_named
from bnas.bench.timing import race, threads
from bnas.bench.watch import watched_plan, watched_tasks
from bnas.kernels.packing import WORD
from bnas.packed import PackedNetwork
from bnas.packed.plan import Plan
from bnas.space import BINARY, PUBLISHED, Network

SIZES = {"16 KiB": 2**14, "256 KiB": 2**18, "256 MiB": 2**28}  # of what is read again and again
PYTHON, WHOLE = "Python and NumPy", "all"
NETWORK = "DARTS_V2"


def roofs():
    """What one core does at most, in a second.

    {"floats": multiply-adds, "signs": products, 64 to a popcount, "read": {size of what is read: bytes}}.
    """
    words, count = popcounts(1)
    measured = {"floats": multiply_adds(), "signs": (WORD * words, count)}
    measured |= {name: reading(size) for name, size in SIZES.items()}
    found = race({name: call for name, (_, call) in measured.items()}, repeats=15)
    rates = {name: number / found[name].low for name, (number, _) in measured.items()}
    return {
        "floats": rates["floats"],
        "signs": rates["signs"],
        "read": {name: rates[name] for name in SIZES},
    }


def step_table(title, name, network, quick, repeats=None):
    """The table of a step of the Parent or the Child at a scale; repeats: in place of the scale's own."""
    scale = scale_named(name, quick)
    step, samples = our_step(network, scale), []

    def sampled():
        parts = Counter()

        def see(kernel, arguments, seconds):
            parts[task_kind(kernel)[0]] += seconds

        with watched_tasks(see):
            start = perf_counter()
            step()
            samples.append((perf_counter() - start, parts))

    counted = []
    step()  # which imports what is to be watched
    with watched_tasks(lambda kernel, arguments, _: counted.append(count_task(kernel, arguments))):
        step()
    race({"step": sampled}, 1 if quick else repeats or scale.repeats)
    return {
        "part": "steps",
        "title": title,
        "note": f"{scale}, random images.",
        "rows": _rows(counted, *_typical(samples)),
    }


def network_table(title, channels, batch, quick):
    """The table of a packed network of so many channels."""
    rng = np.random.default_rng(0)
    network = Network(PUBLISHED[NETWORK], SHAPE[0], CLASSES, channels, CELLS, BINARY, rng)
    packed = PackedNetwork.pack(network, SHAPE, np.zeros(SHAPE[0]), np.ones(SHAPE[0]))
    images = rng.standard_normal((batch, *SHAPE)).astype(np.float32)
    counted = list(count_plan(Plan(packed.model, SHAPE)))
    parts = []
    for kind, calls in groupby(range(len(counted)), lambda number: counted[number][0]):
        numbers = list(calls)
        parts.append((kind, range(numbers[0], numbers[-1] + 1)))

    def contender(images, parts, samples):
        def call():
            found = Counter()

            def see(kind, seconds):
                found[kind] += seconds

            with watched_plan(parts, see):
                start = perf_counter()
                packed(images)
                samples.append((perf_counter() - start, found))

        return call

    samples, whole, apart = [], [], []
    contenders = {
        "all": contender(images, parts, samples),
        "one, whole": contender(images[:1], [(WHOLE, range(len(counted)))], whole),
        "one, in parts": contender(images[:1], parts, apart),
    }
    race(contenders, 1 if quick else 9, least=0.05)
    seconds, found = _typical(samples)
    # Going from part to part takes Python some time, which is none of the network's: as long as
    # the fastest calls say, which nothing else on the machine has slowed down.
    slower, faster = (min(total for total, _ in calls) for calls in (apart, whole))
    each = max(0, slower - faster) / (len(parts) - 1)
    for kind, _ in parts:
        found[kind] -= batch * each
    return {
        "part": "networks",
        "title": title,
        "note": f"{CELLS} cells, {'x'.join(map(str, SHAPE))}, random weights, one image after another.",
        "rows": _rows(batch * counted, seconds - batch * len(parts) * each, found),
    }


def _typical(samples):
    """The mean of the middle half of samples (seconds, {kind: seconds of these}), by their seconds."""
    samples = sorted(samples, key=lambda sample: sample[0])
    middle = samples[len(samples) // 4 : len(samples) - len(samples) // 4]
    parts = Counter()
    for _, found in middle:
        parts.update(found)
    mean = {kind: seconds / len(middle) for kind, seconds in parts.items()}
    return sum(seconds for seconds, _ in middle) / len(middle), mean


def _rows(counted, seconds, parts):
    """Rows of kinds, the longest first, what is no kernel's, and all; counted: (kind, operations, bytes) of calls.

    The operations of the last are those of convolutions.
    """
    rows = [
        _row(kind, seconds, parts[kind], [call for call in counted if call[0] == kind])
        for kind in sorted(parts, key=parts.get, reverse=True)
    ]
    rows.append(_row(PYTHON, seconds, seconds - sum(parts.values()), []))
    whole = _row(WHOLE, seconds, seconds, counted)
    whole["operations"] = sum(n for kind, n, _ in counted if kind in CONVOLUTIONS)
    return [*rows, whole]


def _row(name, whole, seconds, calls):
    return {
        "name": name,
        "seconds": seconds,
        "share": seconds / whole,
        "calls": len(calls),
        "operations": sum(operations for _, operations, _ in calls),
        "bytes": sum(moved for _, _, moved in calls),
    }


def rooflines(scales, quick, tell, repeats, keep):
    """Call keep(results) after the table of each step at these scales, and of each packed network.

    The results are {"roofs": those of `roofs`, "tables": [table, ...]}; the other arguments: see `cases.run_all`.
    """
    with threads(1):
        tell("Peaks of one core ...")
        found = {"roofs": roofs(), "tables": []}

        def add(title, make, *arguments):
            tell(f"Roofline: {title} ...")
            found["tables"].append(make(title, *arguments))
            keep(found)

        for name in scales:
            for network in NETWORKS[: 1 if quick else 2]:
                title = f"Search step, {name} scale, {network}"
                add(title, step_table, name, network, quick, repeats)
        for channels in (16,) if quick else (16, 36):
            for batch in (1,) if quick else (1, 8):
                title = f"Packed {NETWORK}, {channels} channels, batch {batch}"
                add(title, network_table, channels, batch, quick)
