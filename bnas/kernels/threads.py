"""How many threads there are, how many of them a kernel call is worth, and kernels on several.

The threads are Python's, their number is Numba's setting. Handing work to another thread costs some tens of
microseconds while it is awake, a hundred once it sleeps, but a whole time slice of the scheduler,
milliseconds, where another program holds that core. A search makes hundreds of thousands of calls, most of
them tiny: those stay on the thread they are on.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from queue import SimpleQueue
from threading import Thread

import numba
import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.vectors import latest

WORTH_SHARING = 2_000_000  # multiply-adds or the like: about a quarter of a millisecond on one thread


@contextmanager
def limited(count):
    """Run the body on `count` threads, of Numba and of BLAS alike; restored afterwards.

    BLAS is that of NumPy and, if it is loaded, SciPy's own. It is set only where threadpoolctl is
    installed. Raises ValueError for a count outside 1 to NUMBA_NUM_THREADS.
    """
    with ExitStack() as restore:
        restore.callback(numba.set_num_threads, numba.get_num_threads())
        numba.set_num_threads(count)
        try:
            from threadpoolctl import threadpool_limits
        except ImportError:
            pass
        else:
            restore.enter_context(threadpool_limits(limits=count, user_api="blas"))
        yield


def available():
    """How many threads a process may use: one a core that it may run on, if Numba was told no less."""
    return min(numba.config.NUMBA_DEFAULT_NUM_THREADS, numba.config.NUMBA_NUM_THREADS)


def pool(count):
    """`count` threads to hand work to, the same ones each time; a forked process gets its own.

    For whole networks; kernels have `run_tasks`. What runs on them must not wait for them.
    """
    return _pool(os.getpid(), count)


@cache
def _pool(process, count):
    return ThreadPoolExecutor(count, thread_name_prefix="bnas")


LOOKS = 2_000_000  # at a number in memory, some 400 microseconds, before a thread sleeps
PAUSE = 100_000  # looks, some 20 microseconds: until the other thread has let go of Python's lock
GIVEN, DONE = 0, 8  # places in `signals`, in two cache lines


@jit(allocates=False)
def _wait(signals, place, value, own, reached, pause):
    """signals[own] = reached; then look whether signals[place] has come to the value, until LOOKS are done."""
    signals[own] = reached
    for _ in range(LOOKS):
        if latest(signals, place) >= value:
            for _ in range(pause):
                latest(signals, place)
            return


class _Helper(Thread):
    """A thread that computes what it is given: a kernel and its arguments, one call after another.

    To wake a sleeping thread takes up to a hundred microseconds, a fifth of a typical call. So both sides look
    out for each other for a while before they sleep, without Python's lock. What they find does not
    count: jobs and results go through queues.
    """

    def __init__(self):
        super().__init__(name="bnas", daemon=True)
        self.jobs, self.signals = SimpleQueue(), np.zeros(16, np.int64)
        self.start()

    def run(self):
        number = 0
        while True:
            _wait(self.signals, GIVEN, number + 1, DONE, number, PAUSE)
            kernel, arguments, done = self.jobs.get()
            try:
                kernel(*arguments)
            except BaseException as error:
                done.put(error)
            else:
                done.put(None)
            del kernel, arguments, done  # or the arrays would live until the next job
            number += 1

    def give(self, kernel, arguments):
        """Have it compute kernel(*arguments); what to hand to `result_of`."""
        done = SimpleQueue()
        self.jobs.put((kernel, arguments, done))
        self.signals[GIVEN] += 1
        return done

    def result_of(self, done):
        """What the last job that was given has raised, or None, once it has ended."""
        given = self.signals[GIVEN]
        _wait(self.signals, DONE, given, GIVEN, given, 0)
        return done.get()


@cache
def _helper(process, number):
    """The helper of that number; a forked process gets its own."""
    return _Helper()


def run_tasks(kernel, work, tasks, *arguments):
    """kernel(*arguments, first, end) for the tasks 0 to tasks - 1, on all threads if `work` is worth it.

    work: all inner operations together. Each thread takes one run of neighbouring tasks, which must not
    touch each other's results, and this one the first. What is raised on any thread is raised here, once
    all have ended. Kernels hold no lock of Python's, so threads of Python do: a parallel loop of Numba's
    starts some tens of microseconds faster, but takes twice as long to compile.
    """
    workers = min(numba.get_num_threads(), tasks) if work >= WORTH_SHARING else 1
    if workers <= 1:
        kernel(*arguments, 0, tasks)
        return
    cuts = [tasks * i // workers for i in range(workers + 1)]
    helpers = [_helper(os.getpid(), number) for number in range(1, workers)]
    given = [
        helper.give(kernel, (*arguments, *part))
        for helper, part in zip(helpers, zip(cuts[1:], cuts[2:]))
    ]
    try:
        kernel(*arguments, 0, cuts[1])
    finally:
        errors = [helper.result_of(done) for helper, done in zip(helpers, given)]
    for error in errors:
        if error is not None:
            raise error
