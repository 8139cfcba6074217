"""What holds for every test, however the tests are started."""

import os

import pytest

# Two processes of tests on two cores: BLAS reads this when NumPy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
pytest.register_assert_rewrite("helpers")
