"""Jobs of sweeps that take no time, and misbehave as they are told."""

import os
import signal
import sys
import time
from pathlib import Path

import numba
import numpy as np
from threadpoolctl import threadpool_info


def work(job):
    """Log that it ran, then do what the job says; gives a result that tells of the process."""
    if "log" in job:
        with open(job["log"], "a") as file:
            file.write(f"{job['number']} {os.getpid()}\n")
    time.sleep(job.get("sleep", 0))
    if "raise" in job:
        raise ValueError(job["raise"])
    if "exit" in job:
        sys.exit(job["exit"])
    if job.get("die") == "always" or _first_time(job):
        os.kill(os.getpid(), signal.SIGKILL)
    found = threads(job)
    return {
        "third": job["number"] / 3,
        "draw": np.random.default_rng(job["number"]).normal(size=3).tolist(),
        "threads": [found["numba"], found["blas"], numba.config.NUMBA_NUM_THREADS],
    }


def _first_time(job):
    """Whether the job is to kill its worker the first time, and this is it."""
    if job.get("die") != "once":
        return False
    mark = Path(f"{job['log']}.died")
    first = not mark.exists()
    mark.touch()
    return first


def threads(job):
    """What a job finds: its threads of Numba and BLAS, and its process."""
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {"numba": numba.get_num_threads(), "blas": max(blas), "process": os.getpid()}


def bad(job):
    """Gives what JSON cannot hold."""
    return {"nan": {"loss": float("nan")}, "array": {"loss": np.zeros(2)}, "list": [1]}[job["kind"]]
