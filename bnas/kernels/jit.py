"""How the kernels are compiled: Numba, each once, with a cache that never serves stale machine code.

A kernel that another one calls is compiled into that one, as a *part*, and optimised there only. Numba would
optimise it on its own first, once more with each function around it, and make it callable from Python.

Numba compiles the functions that a kernel calls into that kernel, but looks for edits only in the kernel's
own file. Here an entry of the cache is valid for exactly the sources of all kernels as they are now, and for
one setting of bounds checking and of LLVM's optimisation. The first new entry removes the entries of other
sources. An entry ends with a digest of itself and of what it is for. If that does not agree, or the cache
cannot be written, a kernel is compiled as if there were no cache.
"""

import gc
import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from types import CodeType

import numba
from llvmlite.binding import parse_assembly
from numba.core import config, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.typed_passes import NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes

from bnas.kernels.runtime import start_late

start_late()


def _digest(package):
    """A digest of every file in a folder called kernels, wherever in the package it lies."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("kernels/*.py")):
        name = path.relative_to(package).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


SOURCES = _digest(Path(__file__).parents[1])
STARTED = time.time()
SEAL = hashlib.sha256().digest_size  # bytes
OPTIMISATION = config._OptLevel(2)  # LLVM's; 3 takes a third longer, for kernels that are no faster


class _Entry(IndexDataCacheFile):
    """The file of one entry: what Numba pickles, then a SHA-256 of that and of the entry's key.

    Numba has an index for all entries of a function, of which two processes that write at a time can make a
    muddle: a key of one that leads to the machine code of the other. It also runs what it reads unseen, and
    machine code with one bit flipped crashes or computes something else.
    """

    def __init__(self, folder, name, key):
        super().__init__(str(folder), name, None)
        self._name, self._key = f"{name}.nbc", key

    def load(self, key):
        data = Path(self._data_path(self._name)).read_bytes()
        if data[-SEAL:] == self._seal(data[:-SEAL]):
            return self._load_data(self._name)  # which pays no attention to the seal

    def save(self, key, data):
        self._save_data(self._name, data)

    def flush(self):
        Path(self._data_path(self._name)).unlink(missing_ok=True)

    def _dump(self, obj):
        data = super()._dump(obj)
        return data + self._seal(data)

    def _seal(self, data):
        return hashlib.sha256(self._key + hashlib.sha256(data).digest()).digest()


class _MachineCode(CompileResultCacheImpl):
    """What an entry holds of a kernel: its machine code, and the names that are defined in it.

    Numba stores LLVM's form of it as well, from which other kernels could be compiled. Loaded, that takes ten
    times what the machine code does, and here other kernels are compiled from parts.
    """

    def reduce(self, compiled):
        (name, kind, (code, _)), *rest = super().reduce(compiled)
        module = compiled.library._get_module_for_linking()
        functions, variables = (
            [each.name for each in found if not each.is_declaration]
            for found in (module.functions, module.global_variables)
        )
        lines = [f'define void @"{each}"() {{ ret void }}' for each in functions]
        lines += [f'@"{each}" = global i8 0' for each in variables]
        names = parse_assembly("\n".join(lines)).as_bitcode()
        return (name, kind, (code, names)), *rest


class _KernelCache(FunctionCache):
    """Numba's cache in a folder for these sources, each entry in a file of its own."""

    _impl_class = _MachineCode

    def __init__(self, function):
        super().__init__(function)
        self._folder = Path(self.cache_path) / f"kernels-{SOURCES[:16]}"

    def _index_key(self, signature, codegen):
        own = SOURCES, config.BOUNDSCHECK, int(config.OPT)
        return *super()._index_key(signature, codegen), *own

    def load_overload(self, signature, context):
        with suppress(Exception):  # none there, or just removed by another process
            return super().load_overload(signature, context)

    def _load_overload(self, signature, context):
        self._choose_file(signature, context.codegen())
        return super()._load_overload(signature, context)

    def save_overload(self, signature, compiled):
        with suppress(OSError):  # a full disk, or a folder that cannot be written
            super().save_overload(signature, compiled)

    def _save_overload(self, signature, compiled):
        self._folder.mkdir(parents=True, exist_ok=True)
        self._choose_file(signature, compiled.codegen)
        super()._save_overload(signature, compiled)
        _remove_others(self._folder)

    def _choose_file(self, signature, codegen):
        key = repr(self._index_key(signature, codegen)).encode()
        name = f"{self._impl.filename_base}.{hashlib.sha256(key).hexdigest()[:16]}"
        # Not in the name: code of an older file or of another Numba is to be replaced.
        key += repr((self._impl.locator.get_source_stamp(), numba.__version__)).encode()
        self._cache_file = _Entry(self._folder, name, key)


def _remove_others(folder):
    """Remove the entries of other sources, but for those of a process that may still be running."""
    for other in folder.parent.glob("kernels-*"):
        with suppress(OSError):  # another process was faster
            if other != folder and other.stat().st_mtime < STARTED:
                shutil.rmtree(other, ignore_errors=True)


class _KernelLibrary(JITCodeLibrary):
    """LLVM's code of a kernel, optimised once, together with its parts.

    Numba also optimises every function by itself before, and the whole a little for its counts of references.
    """

    def _optimize_functions(self, module):
        pass

    def _optimize_final_module(self):
        passes = self._codegen._module_pass_manager()
        # Numba up to 0.61 has the passes alone, without settings.
        passes, *settings = passes if isinstance(passes, tuple) else [passes]
        passes.run(self._final_module, *settings)


class _PartLibrary(_KernelLibrary):
    """LLVM's code of a part, as it comes from Numba."""

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):  # makes machine code
        self._finalized = True


class _KernelCompiler(Compiler):
    """Numba's, without two passes for what kernels do not have: closures, and sums of whole arrays."""

    library = _KernelLibrary

    def define_pipelines(self):
        (pipeline,) = super().define_pipelines()
        needless = InlineClosureLikes, NopythonRewrites
        pipeline.passes = [step for step in pipeline.passes if step[0] not in needless]
        return [pipeline]

    def _compile_core(self):
        codegen = self.state.targetctx.codegen()
        self.state.library = self.library(codegen, self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        return super()._compile_core()


class _PartCompiler(_KernelCompiler):
    library = _PartLibrary

    def _compile_core(self):
        context = self.state.targetctx  # a copy, for this compilation alone
        # Finished with all that it calls, it is a name to be called by: there is no machine code.
        context.get_executable = lambda library, *_: library.finalize() or object()
        return super()._compile_core()


def _at_our_level(compile_one):
    """`compile_one` with LLVM's optimisation at OPTIMISATION, unless NUMBA_OPT says otherwise.

    Meanwhile Python does not look for garbage: it finds none, in an eighth of the time.
    """

    def compile_signature(signature):
        with global_compiler_lock:  # of this setting, too, there is one for all threads
            before, collects = config.OPT, gc.isenabled()
            gc.disable()
            if "NUMBA_OPT" not in os.environ:
                config.OPT = OPTIMISATION
            try:
                return compile_one(signature)
            finally:
                config.OPT = before
                if collects:
                    gc.enable()

    return compile_signature


def jit(function=None, allocates=True, **options):
    """numba.njit whose machine code is kept on disk until any kernel source changes.

    Use as @jit or with Numba's options: forceinline=True for a helper of a few lines in an inner loop,
    where a call would cost more than the work. Kernels hold no Python objects, so they let go of the
    interpreter's lock, and `threads.run_tasks` runs them on several threads. They hold no function of their own
    either, such as a lambda, or before Python 3.12 a comprehension: TypeError.

    allocates: False for a function that makes no array, as all helpers with forceinline are taken to be.
        It then counts no references to the arrays that it is given: in a small function that takes
        longer than the work.
    """
    if function is None:
        return lambda function: jit(function, allocates, **options)
    if any(isinstance(constant, CodeType) for constant in function.__code__.co_consts):
        raise TypeError(
            f"{function.__qualname__}: a kernel cannot hold a function of its own (lambda, comprehension or "
            "def); write a loop, or a second kernel"
        )
    counts_references = allocates and not options.get("forceinline")
    options |= {"nogil": True, "_nrt": counts_references, "no_cfunc_wrapper": True}
    dispatcher = numba.njit(pipeline_class=_KernelCompiler, **options)(function)
    dispatcher.compile = _at_our_level(dispatcher.compile)
    part = numba.njit(pipeline_class=_PartCompiler, no_cpython_wrapper=True, **options)(function)
    part.add_overload = lambda result: part.overloads.update({result.signature.args: result})
    # These two Numba asks where another kernel calls the function.
    dispatcher.get_call_template = lambda arguments, named: part.get_call_template(
        [types.unliteral(kind) for kind in arguments],  # not once more for a literal 0 or 1
        {name: types.unliteral(kind) for name, kind in named.items()},
    )
    dispatcher.get_overload = part.get_overload
    with suppress(RuntimeError):  # Numba found no folder that can be written
        dispatcher._cache = _KernelCache(function)  # what cache=True does, with a cache of ours
    return dispatcher
