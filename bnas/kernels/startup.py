"""What Numba does before its first kernel, without what a kernel from the cache does not need.

A search whose kernels are in the cache would take 40 MiB and a fifth of a second for it.
"""

import sys

from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import nrtdynmod, rtsys


class _LateRuntime(type(rtsys)):
    """Numba's runtime, which counts references to arrays; its functions are compiled with the first kernel.

    Numba compiles them before the first kernel is loaded, too, in which case they are in its machine code
    already. So no part of LLVM's compiler, 27 MiB, is read from disk where nothing is compiled.
    """

    @global_compiler_lock
    def initialize(self, context):
        if self._init:
            return
        compile_functions = nrtdynmod.compile_nrt_functions
        nrtdynmod.compile_nrt_functions = lambda context: None
        try:
            super().initialize(context)
        finally:
            nrtdynmod.compile_nrt_functions = compile_functions
        self._context = context

    @property
    @global_compiler_lock
    def library(self):
        self._init_guard()
        if self._library is None:
            self._library = nrtdynmod.compile_nrt_functions(self._context)
        return self._library


rtsys.__class__ = _LateRuntime


def without_scipy():
    """Import the modules for which Numba would import SciPy, but not SciPy; Numba's lock must be held.

    If there is a SciPy, Numba loads its linear algebra, 11 MiB, to know whether np.convolve and np.correlate
    may call BLAS in a kernel. Otherwise, as after this, they compute by themselves.
    """
    if "numba.np.arraymath" in sys.modules:
        return
    from numba.np import linalg

    def refuse():
        raise ImportError("not asked for")

    ensure_blas, linalg.ensure_blas = linalg.ensure_blas, refuse
    try:
        from numba.np import arraymath
    finally:
        linalg.ensure_blas = ensure_blas
    arraymath.ensure_blas = ensure_blas
