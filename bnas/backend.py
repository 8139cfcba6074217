"""Which array functions the operations compute with: compiled kernels, or their twins in plain NumPy.

Operations never name a kernel by itself; they ask `kernels()` for the module that is in force. That is
`bnas.kernels`, compiled by Numba, unless a `with using("numpy"):` block puts `bnas.reference` in its place:
the same names and signatures in plain NumPy, slow, and open to a debugger line by line.
"""

from contextlib import contextmanager
from contextvars import ContextVar

from bnas import kernels as compiled
from bnas import reference

_MODULES = {"numba": compiled, "numpy": reference}
_active = ContextVar("kernels", default=compiled)  # each thread has its own


def kernels():
    """The module whose array functions are in force, `bnas.kernels` or `bnas.reference`."""
    return _active.get()


@contextmanager
def using(name):
    """Inside this context operations compute with "numba" or "numpy"; afterwards as before.

    Raises:
        ValueError: another name.
    """
    if name not in _MODULES:
        raise ValueError(f"backend must be one of {', '.join(_MODULES)}, got {name!r}")
    token = _active.set(_MODULES[name])
    try:
        yield
    finally:
        _active.reset(token)
