"""Where jobs run: in this process, in processes of this machine, or on the workers of Dask.

Each pool is a context manager with one method, run(function, tasks): a generator that yields (key, answer) as the
tasks, a list of (key, text), end. An answer is that of `bnas.sweeps.worker.carry_out`, or a `Died`. Leaving the
pool ends its workers, whatever they are doing.
"""

import logging
import multiprocessing
import os
import signal
import threading
import uuid
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, CancelledError, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from multiprocessing import resource_tracker
from typing import NamedTuple

from bnas.errors import InputError
from bnas.sweeps.worker import carry_out

ATTEMPTS = 2  # at a job whose worker dies
# One thread a worker, of OpenMP, of each BLAS and of Numba. They read it when they are imported.
ENVIRONMENT = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)


class Died(NamedTuple):
    """The answer for a job without one: its worker died each time."""

    message: str


def has_dask():
    """Whether Dask is installed, with its scheduler."""
    return find_spec("distributed") is not None


def cores():
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class InProcess:
    """Jobs one after another in this process."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, function, tasks):
        for key, text in tasks:
            yield key, carry_out(function, text)


class Processes:
    """So many processes of this machine, by the standard library."""

    def __init__(self, count):
        self.count = count

    def __enter__(self):
        self.idle, self.running = [], {}
        return self

    def __exit__(self, *exception):
        for worker in (*self.idle, *(worker for worker, _ in self.running.values())):
            worker.end()

    def run(self, function, tasks):
        waiting, deaths = deque(tasks), Counter()
        while waiting or self.running:
            while waiting and len(self.running) < self.count:
                worker = self.idle.pop() if self.idle else _Process()
                task = waiting.popleft()
                self.running[worker.submit(function, task[1])] = worker, task
            for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                worker, (key, text) = self.running.pop(future)
                try:
                    answer = future.result()
                except BrokenProcessPool:
                    worker.end()
                    worker.require_started()
                    deaths[key] += 1
                    if deaths[key] < ATTEMPTS:
                        waiting.append((key, text))
                        continue
                    answer = Died(f"its process was killed, or ended by itself, {ATTEMPTS} times")
                else:
                    self.idle.append(worker)
                yield key, answer


class _Process:
    """A worker: an executor of one process, so that its death concerns one job alone.

    The process ends at once when the other end of a pipe is closed: by us, or because we were killed.
    """

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        theirs, self.ours = context.Pipe(duplex=False)
        self.executor = ProcessPoolExecutor(1, context, end_with, (theirs,))
        with _environment(), ctrl_c_blocked():
            self.started = self.executor.submit(os.getpid)
        theirs.close()

    def submit(self, function, text):
        return self.executor.submit(carry_out, function, text)

    def require_started(self):
        """Raise RuntimeError if the process has not even started."""
        if self.started.exception() is not None:
            raise RuntimeError(
                "a process for the jobs cannot be started; what it printed tells why. A script of your own "
                f"must start the sweep {_GUARD}"
            )

    def end(self):
        self.ours.close()
        self.executor.shutdown(cancel_futures=True)


def end_with(pipe):
    """On a worker: let this process end when the other end of the pipe is closed."""

    def watch():
        try:
            pipe.recv()
        except EOFError:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_GUARD = 'below `if __name__ == "__main__":`, since each worker imports that script'


def refuse_within_worker():
    """Raise RuntimeError where a worker that is starting imports a script that starts a sweep."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(f"start the sweep {_GUARD}")


@contextmanager
def _environment():
    """Processes started in the body get ENVIRONMENT; after it our own is as it was, whatever was set."""
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def ctrl_c_blocked():
    """Processes and threads started in the body never get Ctrl-C; ours waits until the end of the body.

    In a terminal it goes to all processes, and workers are for their parent to end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # or it would be started in the body, and lets Ctrl-C in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Dask:
    """The workers of a Dask cluster.

    Args:
        where: a distributed.Client, the address of a scheduler, or how many workers to start on this machine.
    """

    def __init__(self, where):
        if not has_dask():
            raise InputError(
                "Dask is not installed; expected it for a scheduler or a client: pip install 'bnas[dask]'"
            )
        self.where = where

    def __enter__(self):
        from distributed import Client, LocalCluster

        with ExitStack() as stack:
            where = self.where
            if isinstance(where, int):
                # To the end: Dask sets variables here at each start of a worker, and leaves them set.
                # With NUMBA_NUM_THREADS among them, Numba would refuse to compile here from then on.
                stack.enter_context(_environment())
                stack.enter_context(_local_settings())
                with ctrl_c_blocked():
                    where = stack.enter_context(
                        LocalCluster(
                            n_workers=where,
                            threads_per_worker=1,
                            processes=True,
                            dashboard_address=None,
                            silence_logs=logging.CRITICAL,
                        )
                    )
            if not isinstance(where, Client):
                try:
                    where = stack.enter_context(Client(where, set_as_default=False))
                except (OSError, ValueError) as error:
                    raise InputError(
                        f"no Dask scheduler answers at {where} ({error}); expected an address as "
                        "tcp://HOST:8786, which `dask scheduler` prints"
                    ) from error
            self.client = where
            self._leave = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self._leave.__exit__(*exception)

    def run(self, function, tasks):
        from distributed import KilledWorker, as_completed

        if not tasks:
            return
        sweep = uuid.uuid4().hex[:8]  # two sweeps with the same keys are not one to the scheduler
        keys = {f"bnas-{sweep}-{key}": key for key, _ in tasks}
        futures = self.client.map(
            carry_out,
            [function] * len(tasks),
            [text for _, text in tasks],
            key=list(keys),
            pure=False,
        )
        try:
            # With results: they are fetched at once, and not lost with a worker that the next job kills.
            answers = as_completed(
                futures, loop=self.client.loop, with_results=True, raise_errors=False
            )
            for future, answer in answers:
                if isinstance(answer, CancelledError):
                    raise InputError(
                        "the Dask scheduler has gone, or has cancelled the jobs; finished ones are kept, "
                        "start the sweep again to go on"
                    )
                if not isinstance(
                    answer, str
                ):  # what an error gives: (its type, the error, its traceback)
                    error = answer[1]
                    why = (
                        "" if isinstance(error, KilledWorker) else "no worker could begin with it: "
                    )
                    answer = Died(f"{why}{error}")
                yield keys[future.key], answer
        finally:
            self.client.cancel([future for future in futures if not future.done()])


def _local_settings():
    """What Dask is to read, as long as there is a LocalCluster of ours; a context manager."""
    import dask

    settings = {
        "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
        # A worker has one job at a time: what waits for a worker that dies is not taken for its killer.
        "distributed.scheduler.worker-saturation": 1.0,
        # A worker that dies twice within this time, 15 s by default, is not started anew.
        "distributed.deploy.lost-worker-timeout": "1000 days",
    }
    return dask.config.set(settings)
