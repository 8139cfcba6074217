"""Kernels on several threads: every task is done once, errors arrive, and a fork does no harm."""

import os
import signal
import threading
import time

import numba
import numpy as np
import pytest
from helpers.interrupts import interrupted_at_every_line
from helpers.processes import run_python

from bnas.kernels import threads
from bnas.kernels.jit import jit
from bnas.kernels.threads import WORTH_SHARING, run_tasks


@pytest.fixture
def use_threads(monkeypatch):
    return lambda count: monkeypatch.setattr(numba, "get_num_threads", lambda: count)


def noted(calls, done, first, end):
    """A kernel that notes who called it, and counts every task."""
    calls.append((first, end, threading.get_ident()))
    done[first:end] += 1


@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 7, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_task_is_done_once_by_as_many_threads_as_there_are_tasks_for(
    count, tasks, use_threads
):
    use_threads(count)
    for _ in range(3):
        calls, done = [], np.zeros(tasks, int)
        run_tasks(noted, WORTH_SHARING, tasks, calls, done)
        assert np.all(done == 1)
        assert len(calls) == max(min(count, tasks), 1)
        (first, *_, caller), *others = sorted(calls)
        assert first == 0 and caller == threading.get_ident()
        assert caller not in {other for *_, other in others}
        lengths = [end - first for first, end, _ in calls]
        assert max(lengths) - min(lengths) <= 1


def test_little_work_stays_on_its_thread(use_threads):
    use_threads(3)
    calls, done = [], np.zeros(9, int)
    run_tasks(noted, WORTH_SHARING - 1, 9, calls, done)
    assert calls == [(0, 9, threading.get_ident())] and np.all(done == 1)


@pytest.mark.parametrize("bad", range(4))
def test_an_error_arrives_once_all_others_have_ended(bad, use_threads):
    use_threads(4)
    ended = []

    def kernel(first, end):
        if first == bad:
            raise ZeroDivisionError(f"task {first}")
        time.sleep(0.05)
        ended.append(first)

    with pytest.raises(ZeroDivisionError, match=f"task {bad}"):
        run_tasks(kernel, WORTH_SHARING, 4)
    assert sorted(ended) == [task for task in range(4) if task != bad]


@jit
def _reciprocals(x, y, first, end):
    for i in range(first, end):
        if x[i] == 0:
            raise ValueError("no reciprocal")
        y[i] = 1 / x[i]


def test_an_error_of_compiled_code_arrives_from_every_thread(use_threads):
    use_threads(3)
    for bad in range(6):
        x, y = np.arange(1.0, 7), np.zeros(6)
        x[bad] = 0
        with pytest.raises(ValueError, match="no reciprocal"):
            run_tasks(_reciprocals, WORTH_SHARING, 6, x, y)
        others = np.arange(6) // 2 != bad // 2
        np.testing.assert_array_equal(y[others], 1 / x[others])


def test_several_threads_share_the_helpers(use_threads):
    """Each gets its own results, also after an error on a thread that had handed work out."""
    use_threads(3)
    wrong = []

    def caller(seed):
        for size in range(3, 60):
            x, y = np.arange(seed, seed + size, dtype=float), np.zeros(size)
            x[size // 2 :: 7] = 0 if size % 10 == seed else 1
            try:
                run_tasks(_reciprocals, WORTH_SHARING, size, x, y)
            except ValueError:
                continue
            if not np.array_equal(y, 1 / x):
                wrong.append((seed, size))

    callers = [threading.Thread(target=caller, args=(seed,)) for seed in range(1, 5)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_waits_for_the_threads_that_still_compute(times, use_threads, ctrl_c):
    use_threads(3)
    ended = []

    def kernel(first, end):
        if first == 1:
            for _ in range(times):
                time.sleep(0.05)
                os.kill(os.getpid(), signal.SIGINT)  # as a terminal does, to the process
        if first > 0:
            time.sleep(0.1)
        ended.append(first)

    with pytest.raises(KeyboardInterrupt):
        run_tasks(kernel, WORTH_SHARING, 3)
    assert sorted(ended) == [0, 1, 2]


def test_ctrl_c_at_any_line_leaves_no_thread_computing(use_threads):
    use_threads(3)
    events = []

    def kernel(first, end):
        events.append(("begin", first))
        if first > 0:
            time.sleep(0.003)
        events.append(("end", first))

    for _ in interrupted_at_every_line(lambda: run_tasks(kernel, WORTH_SHARING, 3), threads):
        found = list(events)
        begun, ended = ([n for what, n in found if what == kind] for kind in ("begin", "end"))
        assert sorted(begun) == sorted(ended)
        time.sleep(0.003)
        assert events == found  # nothing begins afterwards
        events.clear()


FORKING = """
import os, signal, time
import numba, numpy as np
from bnas.kernels.threads import WORTH_SHARING, run_tasks

numba.get_num_threads = lambda: 3

def add(done, first, end):
    time.sleep(0.05)  # so that no thread does the work of two
    done[first:end] += 1

def all_done():
    done = np.zeros(7)
    run_tasks(add, WORTH_SHARING, 7, done)
    return np.all(done == 1)

assert all_done()
child = os.fork()
if child == 0:
    signal.alarm(20)  # threads that are not there would be waited for without end
    os._exit(not all_done())
print(os.waitpid(child, 0)[1], all_done())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own():
    done = run_python("-W", "ignore", "-c", FORKING)
    assert done.stdout.split() == ["0", "True"], done.stderr
