"""Many searches or trainings: on the cores of this machine, or on a cluster, by Dask.

Read `spec` (what a sweep is told), `jobs` (what its jobs do), `engine` (how many jobs are run and their results
kept), `pools` (where they run), `worker` (what happens there). `bnas.sweep` is `sweep.sweep`.
"""

from bnas.sweeps.engine import Counts, read_failures, read_results, run_jobs
from bnas.sweeps.spec import Spec, read_spec
from bnas.sweeps.sweep import Sweep, load, sweep

__all__ = [
    "Counts",
    "Spec",
    "Sweep",
    "load",
    "read_failures",
    "read_results",
    "read_spec",
    "run_jobs",
    "sweep",
]
