"""What holds for every test, however the tests are started."""

import os
import signal

import pytest

# Two processes of tests share two cores, so each computes on one thread, unless a test is about
# threads. BLAS reads this when NumPy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # else no child's status can be known
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
pytest.register_assert_rewrite("helpers")


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz",
        type=int,
        default=0,
        metavar="N",
        help="try so many bad files of each kind, in tests/test_hostile_files.py, instead of some sixty",
    )


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import numba  # not before a test needs it

    numba.set_num_threads(1)


@pytest.fixture
def two_threads():
    """Large kernel calls are shared by two threads, as they are on a user's machine."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
    yield
    numba.set_num_threads(before)


@pytest.fixture
def ctrl_c():
    """SIGINT raises KeyboardInterrupt, also where the tests were started with it ignored (nohup, cron)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
