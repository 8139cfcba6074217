"""Running kernels on several threads: when that pays, and how the threads get their work.

The threads are those of Python's threading module; their number is Numba's setting. Giving work to another
thread costs some tens of microseconds while it runs, a hundred once it sleeps, and a whole time slice of the
operating system, milliseconds, where another program holds that core. A search makes hundreds of thousands
of calls, and most of them are shorter than that: those stay on the thread that makes them.
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

WORTH_SHARING = (
    2_000_000  # multiply-adds or the like: about a quarter of a millisecond on one thread
)


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
    """How many threads to use: as many as cores that this process may run on, or fewer if Numba is set so."""
    return min(numba.config.NUMBA_DEFAULT_NUM_THREADS, numba.config.NUMBA_NUM_THREADS)


def pool(count):
    """A pool of `count` threads, the same ones each time; a forked process gets its own.

    Packed networks give each thread whole images; kernels use `run_tasks` instead. A task in the pool must
    not wait for another task in it, or all threads might wait.
    """
    return _pool(os.getpid(), count)


@cache
def _pool(process, count):
    return ThreadPoolExecutor(count, thread_name_prefix="bnas")


SPINS = 2_000_000  # reads of a signal in a spin-wait, some 400 microseconds, before a thread sleeps
PAUSE = np.int64(
    100_000
)  # reads, some 20 microseconds: until the other thread has released Python's lock
NO_PAUSE = np.int64(0)
GIVEN, DONE = np.int64(0), np.int64(8)  # indices in `signals`, far enough apart for two cache lines


@jit(allocates=False)
def _spin_wait(signals, place, number, pause):
    """Return once signals[place] has reached `number`, after `pause` more reads, or when SPINS are over."""
    for _ in range(SPINS):
        if latest(signals, place) >= number:
            for _ in range(pause):
                latest(signals, place)
            return


@jit(allocates=False)
def _finish(signals, number):
    """Signal that the job of that number is done, and spin-wait for the next."""
    signals[DONE] = number
    _spin_wait(signals, GIVEN, number + 1, PAUSE)


class _Worker(Thread):
    """A thread that makes kernel calls one after another, as another thread gives them to it.

    Waking a sleeping thread takes up to a hundred microseconds, a fifth of a typical call. So whoever waits,
    the worker for a job or the caller for its end, first reads a signal in memory over and over (a spin-wait),
    without holding Python's lock, and sleeps only after that. The signals are only about time: jobs and
    results go through queues, which are correct whatever the signals say.
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
        """Start kernel(*arguments) on this thread; returns a function that waits for its end.

        That function returns the exception that was raised, or None.
        """
        self.given += 1
        number, done = self.given, SimpleQueue()
        self.jobs.put((number, kernel, arguments, done))
        self.signals[GIVEN] = number

        def result():
            _spin_wait(self.signals, DONE, number, NO_PAUSE)
            return done.get()

        return result


@cache
def _worker(process, number):
    """The worker of that number; a forked process gets its own."""
    return _Worker()


def run_tasks(kernel, work, tasks, *arguments):
    """Call kernel(*arguments, first, end) so that the tasks 0 to tasks - 1 are done, on all threads if it pays.

    work: the number of inner operations of all tasks; below WORTH_SHARING all run on this thread. Otherwise
    each thread takes one range of neighbouring tasks, and this one the first. Tasks must not write to the
    same memory. What is raised on any thread is raised here, once all have ended.
    """
    # Kernels release Python's lock, so Python's threads run them at the same time. Numba's own parallel loops
    # would double the time that a kernel takes to compile.
    workers = min(numba.get_num_threads(), tasks) if work >= WORTH_SHARING else 1
    if workers <= 1:
        kernel(*arguments, 0, tasks)
        return
    cuts = [tasks * i // workers for i in range(workers + 1)]
    results = []
    try:
        for number in range(1, workers):
            part = *arguments, cuts[number], cuts[number + 1]
            results.append(_worker(os.getpid(), number).give(kernel, part))
        kernel(*arguments, 0, cuts[1])
    finally:
        errors = [result() for result in results]
    for error in errors:
        if error is not None:
            raise error
