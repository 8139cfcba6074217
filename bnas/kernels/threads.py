"""How many threads a kernel call is worth.

Handing work to another thread costs some microseconds on an idle machine, but a whole time slice of
the scheduler, milliseconds, where another program holds that core. A search makes hundreds of
thousands of calls, most of them tiny: those stay on the thread they are on.
"""

from numba import get_num_threads, set_num_threads

WORTH_SHARING = 4_000_000  # multiply-adds or the like: about half a millisecond on one thread


def share(kernel, work, *arguments):
    """kernel(*arguments) on all threads if `work`, its inner operations, is worth it, else on one."""
    threads = get_num_threads()
    if threads == 1 or work >= WORTH_SHARING:
        kernel(*arguments)
        return
    set_num_threads(1)
    try:
        kernel(*arguments)
    finally:
        set_num_threads(threads)
