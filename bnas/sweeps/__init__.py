"""Many searches or trainings: on the cores of this machine, or on a cluster, by Dask.

`engine` runs jobs and keeps their results.
"""

from bnas.sweeps.engine import Counts, read_failures, read_results, run_jobs

__all__ = ["Counts", "read_failures", "read_results", "run_jobs"]
