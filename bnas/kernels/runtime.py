"""Numba's runtime, started without LLVM's compiler where nothing is compiled.

The runtime counts references to arrays. Numba compiles its few functions before the first kernel, also before one
that comes from the cache and has them in its machine code already. That reads 27 MiB of LLVM from disk and takes
50 milliseconds, half of what the first kernel of a command waits for.
"""

from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import nrtdynmod, rtsys


class _LateRuntime(type(rtsys)):
    """The runtime, whose functions are compiled when first asked for: by whatever is compiled."""

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


def start_late():
    """Have Numba's runtime compile its functions late, if this Numba has the parts that it takes."""
    known = all(hasattr(type(rtsys), name) for name in ("initialize", "library", "_init_guard"))
    if known and hasattr(nrtdynmod, "compile_nrt_functions"):
        rtsys.__class__ = _LateRuntime
