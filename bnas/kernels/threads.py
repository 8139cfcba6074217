"""Running kernels on several threads: when that pays, and how the threads get their work.

The threads are those of Python's threading module; their number is Numba's setting. Giving work to another
thread costs some tens of microseconds while it runs, a hundred once it sleeps, and a whole time slice of the
operating system, milliseconds, where another program holds that core. A search makes hundreds of thousands
of calls, and most of them are shorter than that: those stay on the thread that makes them.

Fork while no other thread of the process computes. A forked process has none of the threads, and starts its
own; but what another thread held at that moment nobody gives back. While a kernel is compiled that is Numba's
lock, and a child that needs it waits for ever.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread

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


class _Job:
    """A kernel call for another thread. To give it out or to wait for it twice does no more than once.

    So whoever is interrupted on the way, by Ctrl-C, can do both again.
    """

    def __init__(self, worker, kernel, arguments):
        self.worker, self.kernel, self.arguments = worker, kernel, arguments
        self.begun, self.ended, self.error = False, False, None
        self._running = Lock()
        self._running.acquire()

    def give(self):
        self.number = self.worker.give(self)

    def run(self):
        """On the worker's thread: call the kernel, unless that was done."""
        if self.begun:
            return
        self.begun = True
        try:
            self.kernel(*self.arguments)
        except BaseException as error:
            self.error = error
        self.ended = True
        self._running.release()

    def wait(self):
        """Return once the kernel has returned or raised."""
        if not self.ended:
            _spin_wait(self.worker.signals, DONE, self.number, NO_PAUSE)
        while not self.ended:
            self._running.acquire()


class _Worker(Thread):
    """A thread that makes kernel calls one after another, as another thread gives them to it.

    Waking a sleeping thread takes up to a hundred microseconds, a fifth of a typical call. So whoever waits,
    the worker for a job or the caller for its end, first reads a signal in memory over and over (a spin-wait),
    without holding Python's lock, and sleeps only after that. The signals are only about time: jobs go through
    a queue, and their ends through a lock each, which are correct whatever the signals say.
    """

    def __init__(self):
        super().__init__(name="bnas", daemon=True)
        self.jobs, self.signals, self.given = SimpleQueue(), np.zeros(16, np.int64), 0
        self.start()

    def run(self):
        number = 0
        while True:
            _finish(self.signals, number)
            number, job = self.jobs.get()
            job.run()
            del job  # or its arrays would live until the next one

    def give(self, job):
        """Have the job run on this thread; returns its number."""
        self.given += 1
        number = self.given
        self.jobs.put((number, job))
        self.signals[GIVEN] = number
        return number


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
    jobs = [
        _Job(_worker(os.getpid(), i), kernel, (*arguments, cuts[i], cuts[i + 1]))
        for i in range(1, workers)
    ]
    try:
        for job in jobs:
            job.give()
        kernel(*arguments, 0, cuts[1])
        for job in jobs:
            job.wait()
    except BaseException:  # Ctrl-C, or an error on this thread: no other may go on writing
        while not all(job.ended for job in jobs):
            with suppress(KeyboardInterrupt):  # another one; the first is raised
                for job in jobs:
                    job.give()
                    job.wait()
        raise
    for job in jobs:
        if job.error is not None:
            raise job.error
