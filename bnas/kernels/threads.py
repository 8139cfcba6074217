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
PAUSE = np.int64(100_000)  # looks, some 20 microseconds: until the other thread has let go of Python's lock
NO_PAUSE = np.int64(0)
GIVEN, DONE = np.int64(0), np.int64(8)  # places in `signals`, in two cache lines


@jit(allocates=False)
def _look_out(signals, place, number, pause):
    """Until signals[place] has come to the number, or LOOKS are done; then for `pause` looks more."""
    for _ in range(LOOKS):
        if latest(signals, place) >= number:
            for _ in range(pause):
                latest(signals, place)
            return


@jit(allocates=False)
def _finish(signals, number):
    """Show that the job of that number is done, and look out for the next."""
    signals[DONE] = number
    _look_out(signals, GIVEN, number + 1, PAUSE)


class _Helper(Thread):
    """A thread that computes what it is given: a kernel and its arguments, one call after another.

    To wake a sleeping thread takes up to a hundred microseconds, a fifth of a typical call. So both sides
    look out for each other for a while before they sleep, without Python's lock. What they find does not
    count: jobs and results go through queues.
    """

    def __init__(self):
        super().__init__(name="bnas", daemon=True)
        self.jobs, self.signals, self.given = SimpleQueue(), np.zeros(16, np.int64), 0
        self.start()

    def run(self):
        number = 0
        while True:
            _finish(self.signals, number)
            number, kernel, arguments, done = self.jobs.get()
            try:
                kernel(*arguments)
            except BaseException as error:
                done.put(error)
            else:
                done.put(None)
            del kernel, arguments, done  # or the arrays would live until the next job

    def give(self, kernel, arguments):
        """Have it compute kernel(*arguments); returns a function that waits, and returns what was raised."""
        self.given += 1
        number, done = self.given, SimpleQueue()
        self.jobs.put((number, kernel, arguments, done))
        self.signals[GIVEN] = number

        def result():
            _look_out(self.signals, DONE, number, NO_PAUSE)
            return done.get()

        return result


@cache
def _helper(process, number):
    """The helper of that number; a forked process gets its own."""
    return _Helper()


def run_tasks(kernel, work, tasks, *arguments):
    """kernel(*arguments, first, end) for the tasks 0 to tasks - 1, on all threads if `work` is worth it.

    work: all inner operations together. Each thread takes one run of neighbouring tasks, which must not
    touch each other's results, and this one the first. What is raised on any thread is raised here, once
    all have ended. Kernels hold no lock of Python's, so threads of Python do; a parallel loop of Numba's
    would take twice as long to compile.
    """
    workers = min(numba.get_num_threads(), tasks) if work >= WORTH_SHARING else 1
    if workers <= 1:
        kernel(*arguments, 0, tasks)
        return
    cuts = [tasks * i // workers for i in range(workers + 1)]
    results = []
    try:
        for number in range(1, workers):
            part = *arguments, cuts[number], cuts[number + 1]
            results.append(_helper(os.getpid(), number).give(kernel, part))
        kernel(*arguments, 0, cuts[1])
    finally:
        errors = [result() for result in results]
    for error in errors:
        if error is not None:
            raise error
