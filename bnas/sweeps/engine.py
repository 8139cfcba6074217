"""Many jobs on many workers, each result a file: killed at any point, a sweep goes on where it was.

A job is a dict that JSON can hold, and its result another. Results lie in FOLDER/results/KEY.json, failures in
FOLDER/failures/KEY.json. This process alone writes, as workers of a cluster may see other disks.
"""

import json
import re
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from bnas.errors import InputError, argument
from bnas.runs.files import atomic_write, explain, read_json, remove_unfinished, to_json
from bnas.runs.lock import FolderLock
from bnas.sweeps.pools import (
    Dask,
    Died,
    InProcess,
    Processes,
    cores,
    has_dask,
    refuse_within_worker,
)
from bnas.sweeps.worker import name_of

KEY = re.compile(r"[A-Za-z0-9_+=-][A-Za-z0-9_+=.,-]{0,199}")


class Counts(NamedTuple):
    """How many jobs ended well now, had done so before, and failed now."""

    done: int
    before: int
    failed: int


def run_jobs(
    function,
    jobs,
    folder,
    workers=None,
    scheduler=None,
    client=None,
    warm=None,
    progress=True,
):
    """Run a function on every job that has no result in the folder yet.

    Each result is written as soon as it is there, whole or not at all, as FOLDER/results/KEY.json: {"job",
    "result", "seconds", "versions", "host"}. A job that raises, or whose worker dies again and again, is a
    failure, FOLDER/failures/KEY.json, with "error" instead of "result"; the others go on, and the next call
    tries it again. So after a kill, a power cut or Ctrl-C the same call repeats no job that has a result.

    Args:
        function: dict -> dict, both such that JSON can hold them: a function at the top of a module, or its name,
            "package.module:name". It computes on one thread.
        jobs: {key: dict}. Keys are names of files; the jobs start in this order.
        folder: made if need be. One process at a time can run jobs in it.
        workers: how many; one a core unless given. 0: no other process, one job after the other in this one.
        scheduler: "processes": of the standard library; "dask": of Dask, on this machine; or the address of a
            Dask scheduler, "tcp://HOST:8786". Unless given, "dask" if Dask is installed, else "processes".
        client: a distributed.Client, instead of a scheduler.
        warm: jobs, a list of dicts, that run before all others, one at a time, and whose results are thrown away:
            what they compile all workers find compiled. Unless given, the first of the jobs runs alone.
        progress: whether to show a bar with the time left, where stderr is a terminal.

    Returns:
        Counts.

    Raises:
        InputError: something given cannot be used; the folder is held by another process, or has a result under
            the key of another job; the scheduler has gone.
        RuntimeError: called while a script is imported by a worker of its own sweep.
    """
    refuse_within_worker()
    name, pool = name_of(function), _pool(workers, scheduler, client)
    texts = _texts(jobs)
    folder = Path(folder)
    for part in ("results", "failures"):
        with explain("make the folder", folder / part, "choose a folder that can be written"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder)
    try:
        for part in ("results", "failures"):
            remove_unfinished(folder / part, "*")
        finished = read_results(folder, jobs)
        tasks = [(key, text) for key, text in texts.items() if key not in finished]
        done = failed = 0
        with _bar(progress, len(texts), len(finished)) as bar:
            if not tasks:
                return Counts(0, len(finished), 0)
            with pool, closing(_warmed(pool, name, tasks, warm)) as answers:
                for key, answer in answers:
                    lock.require()
                    if _write(folder, key, jobs[key], answer):
                        done += 1
                    else:
                        failed += 1
                    if failed:
                        bar.set_postfix_str(f"{failed} failed", refresh=False)
                    bar.update()
        return Counts(done, len(finished), failed)
    finally:
        lock.release()


def read_results(folder, jobs=None):
    """{key: what its file holds} of the results in a folder, in the order of `jobs`, or sorted by key without.

    Raises InputError for a file that cannot be read, or one with the result of another job than jobs[key].
    """
    folder = Path(folder) / "results"
    with explain("read the folder", folder, "give the folder of a sweep"):
        there = {path.name.removesuffix(".json") for path in folder.glob("[!.]*.json")}
    found = {}
    for key in sorted(there) if jobs is None else [key for key in jobs if key in there]:
        path = folder / f"{key}.json"
        found[key] = read_json(path, f"{path} is gone; start again")
        if not {"job", "result"} <= found[key].keys():
            raise InputError(f"{path} holds no result of a job; remove it, and start again")
        if jobs is not None:
            _require_same_job(path, found[key]["job"], json.loads(to_json(jobs[key], key)))
    return found


def _require_same_job(path, saved, given):
    names = [name for name in {**saved, **given} if saved.get(name, ()) != given.get(name, ())]
    if names:
        told = "; ".join(
            f"{name}: {_shortened(saved, name)} there, {_shortened(given, name)} now"
            for name in names[:3]
        )
        raise InputError(
            f"{path} holds the result of another job ({told}); choose another folder for these jobs"
        )


def _shortened(job, name):
    return f"{job[name]!r:.60}" if name in job else "none"


def read_failures(folder):
    """{key: what its file holds} of the failures in a folder, sorted by key: "job" and "error", a dict."""
    paths = sorted((Path(folder) / "failures").glob("[!.]*.json"))
    return {path.name.removesuffix(".json"): read_json(path, f"{path} is gone") for path in paths}


def _write(folder, key, job, answer):
    """Write the answer for a job; returns whether it is a result."""
    if isinstance(answer, Died):
        error = {"type": "Died", "message": answer.message, "traceback": ""}
        record = {"job": job, "error": error}
    else:
        record = {"job": job, **json.loads(answer)}
    failures, name = folder / "failures", f"{key}.json"
    good = "result" in record
    text = to_json(record, f"the answer for {key}") + "\n"
    atomic_write((folder / "results" if good else failures) / name, text)
    if good:
        (failures / name).unlink(missing_ok=True)
    return good


def _warmed(pool, function, tasks, warm):
    """The answers for all tasks, after what compiles the machine code has run by itself."""
    if warm is None:
        yield from pool.run(function, tasks[:1])
        tasks = tasks[1:]
    elif len(tasks) > 1:
        for job in warm:
            for _ in pool.run(function, [("warm-up", to_json(job, "the warm-up"))]):
                pass
    yield from pool.run(function, tasks)


def _texts(jobs):
    """{key: the job as JSON}; InputError for a key that names no file."""
    names = {}
    for key in jobs:
        if not (isinstance(key, str) and KEY.fullmatch(key)):
            raise InputError(
                f"{key!r:.60} names no job: expected letters, digits and -_+=., at most 200, and no dot first"
            )
        other = names.setdefault(key.lower(), key)
        if other != key:
            raise InputError(f"{other} and {key} are one file on some systems; call one otherwise")
    return {key: to_json(job, f"job {key}") for key, job in jobs.items()}


def _pool(workers, scheduler, client):
    if client is not None and scheduler is not None:
        raise InputError("expected a client or a ", argument("scheduler"), ", got both")
    if workers is not None and (type(workers) is not int or workers < 0):
        raise InputError(argument("workers"), f" must be a whole number from 0 up, got {workers!r}")
    local = client is None and scheduler in (None, "processes", "dask")
    if not local:
        if workers is not None:
            raise InputError(
                argument("workers"),
                " is for this machine; the workers of a cluster are started there",
            )
        if client is None and "://" not in scheduler:
            raise InputError(
                argument("scheduler"),
                f" must be processes, dask, or the address of a scheduler, tcp://HOST:8786; got {scheduler!r}",
            )
        return Dask(scheduler if client is None else client)
    if workers == 0:
        return InProcess()
    workers = cores() if workers is None else workers
    if scheduler == "dask" or (scheduler is None and has_dask()):
        return Dask(workers)
    return Processes(workers)


def _bar(progress, total, before):
    return tqdm(
        desc="jobs",
        total=total,
        initial=before,
        dynamic_ncols=True,
        disable=None if progress else True,  # None: where stderr is no terminal
        bar_format="{desc} {n}/{total} |{bar}| {elapsed}, {remaining} left{postfix}",
    )
