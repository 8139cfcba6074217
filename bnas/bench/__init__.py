"""`bnas bench`: our kernels and networks beside their peers, in one process, on this machine.

A file of cases (kernels, networks, steps) makes tables; `race` times, `report` shows. A case is a
dict of functions without arguments that all compute the same; what they need is prepared outside of
them:

    timings = race({"bnas": ours, "NumPy": theirs, "naive": twin}, threads_of={"bnas": 1})
    row = {"name": "3x3, 64 channels", "work": 36_864,
           "figures": {label: timing._asdict() for label, timing in timings.items()}}

A table is plain data, as everything in the results:

    {"title": "1-bit convolution, 1 thread",
     "note": "a sentence or two on what is compared; may be empty",
     "unit": "us", "ms", "s", or None: the report chooses,
     "ours": ["bnas"],           # labels; the first is the one compared with the peers
     "peers": ["NumPy"],         # labels; the first that was measured is the main peer
     "better": "better torch",   # absent but where the peers compute one and the same: a name for the
     "rows": [row, ...]}         # best of them, row by row, which takes the main peer's place

A label that is in neither list (the naive twin) is shown and not compared. A row lacks the labels
that do not exist for it. What is to be a fair comparison belongs in one table: one thread against
one thread, all against all.

The results are

    {"machine": machine_record(),                       # taken before the first race
     "peak": {"name": "popcount of 64-bit words", "unit": "words/s",
              "rates": {"bnas": 1.2e10}},               # measured, by label; or {}
     "tables": [table, ...],
     "memory": [table, ...],     # peak memory of a search step; [] if not measured
     "roofline": {},             # or what `bnas.bench.roofline.rooflines` makes
     "growth": [table, ...]}     # how its seconds and bytes grow, by quantity; [] if not measured

A row of memory has "bytes", {label: bytes}, in place of "figures" and "work". One of growth has it
beside them, and "value", that of its table's "quantity" (such as "channels"), and "network",
"Parent" or "Child". Both kinds of tables have "better". A table of rooflines has a title, a note, "part"
("steps" or "networks") and for each kind of kernel, the longest first, what is in no kernel and the whole a row

    {"name": "units forward", "seconds": 0.39, "share": 0.21,  # of the whole
     "calls": 928, "operations": 7_800_000_000, "bytes": 2_490_000_000}

"work" is the number of operations of one call in the unit of the peak, or None where a share of the
peak means nothing. `text_report` prints them, with the ratios to the peers and all the cases in
which a peer is faster; `save_report` writes bench.json, bench.txt, bench.png, growth.png and the rooflines.
"""

from bnas.bench.machine import machine_record
from bnas.bench.report import save_report, save_results, text_report
from bnas.bench.timing import race, threads

__all__ = ["machine_record", "race", "save_report", "save_results", "text_report", "threads"]
