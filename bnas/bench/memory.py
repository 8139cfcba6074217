"""Peak memory of one call, measured in a process of its own: a peak never falls again."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from bnas.bench.timing import threads
from bnas.runs.memory import peak_memory


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
        before = peak_memory()
        call()
        return peak_memory() - before
