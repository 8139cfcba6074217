"""Peak memory of one call, measured in a process of its own: a peak never falls again."""

import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from bnas.bench.timing import threads


def peak_of_call(make, count):
    """Bytes by which the first call of make() raises the peak of a new process.

    Args:
        make: a function of a module (or a partial of one) that does the set-up, which is not
            counted, and returns the function to call, without arguments.
        count: threads on which that runs.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_measure, make, count).result()


def _measure(make, count):
    call = make()
    with threads(count):
        before = _peak()
        call()
        return _peak() - before


def _peak():
    """The most bytes of memory that this process ever held at once."""
    if sys.platform == "linux":
        # Linux hands ru_maxrss down to every child: a large parent would hide what is measured.
        with open("/proc/self/status", encoding="utf-8") as status:
            line = next(line for line in status if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
