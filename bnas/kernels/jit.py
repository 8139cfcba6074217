"""How the kernels are compiled: Numba, with a cache that never serves stale machine code.

Numba compiles the helpers that a function calls into it, but looks for edits only in the
function's own file. Here an entry of the cache is valid for exactly the sources of all kernels as
they are now, and for one setting of bounds checking.
"""

import hashlib
from pathlib import Path

import numba
from numba.core import config
from numba.core.caching import FunctionCache


def _digest(folder):
    digest = hashlib.sha256()
    for path in [*sorted(folder.glob("*.py")), folder.parent / "reference.py"]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


SOURCES = _digest(Path(__file__).parent)


class _KernelCache(FunctionCache):
    def _index_key(self, signature, codegen):
        return *super()._index_key(signature, codegen), SOURCES, config.BOUNDSCHECK


def jit(function=None, allocates=True, **options):
    """numba.njit whose machine code is kept on disk until any kernel source changes.

    Use as @jit or with Numba's options: parallel=True for a loop over all threads; forceinline=True
    for a helper of a few lines in an inner loop, where a call would cost more than the work. Kernels
    hold no Python objects, so they let go of the interpreter's lock.

    allocates: False for a function that makes no array, as all helpers with forceinline are taken to be.
        It then counts no references to the arrays that it is given: in a small function that takes
        longer than the work.
    """
    if function is None:
        return lambda function: jit(function, allocates, **options)
    counts_references = allocates and not options.get("forceinline")
    dispatcher = numba.njit(nogil=True, _nrt=counts_references, **options)(function)
    dispatcher._cache = _KernelCache(function)  # what cache=True does, with a cache of ours
    return dispatcher
