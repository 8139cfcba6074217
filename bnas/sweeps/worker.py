"""What happens on a worker: one job, from a JSON text to a JSON text, on one thread."""

import json
import platform
import time
import traceback
from importlib import import_module
from importlib.metadata import version

from bnas import __version__
from bnas.errors import InputError
from bnas.kernels.threads import limited
from bnas.runs.files import to_json


def carry_out(function, text):
    """Call a function, named "package.module:name", with the job in a JSON text; returns the answer, a JSON text.

    An answer has "seconds", "versions" and "host", and either "result", what the function gave, or "error" with
    its "type", "message" and "traceback". A job computes on one thread, of BLAS and Numba alike, so that what it
    gives does not depend on where it runs.
    """
    start = time.perf_counter()
    about = {"versions": versions(), "host": platform.node()}
    try:
        with limited(1):
            result = resolve(function)(json.loads(text))
        if not isinstance(result, dict):
            raise TypeError(f"{function} must give a dict that JSON can hold, gave {result!r:.60}")
        return to_json(
            {"result": result, "seconds": time.perf_counter() - start, **about}, "the result"
        )
    except (Exception, SystemExit) as error:
        found = {
            "type": type(error).__name__,
            "message": str(error),
            "traceback": traceback.format_exc(),
        }
        return to_json(
            {"error": found, "seconds": time.perf_counter() - start, **about}, "the error"
        )


def versions():
    """{name: version} of what computes here."""
    packages = {name: version(name) for name in ("numpy", "numba")}
    return {"bnas": __version__, "python": platform.python_version(), **packages}


def resolve(function):
    """The function called "package.module:name"; InputError where there is none."""
    module, _, name = function.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"there is no function {function!r} for the jobs of a sweep ({error}); expected "
            '"package.module:name", which every worker can import'
        ) from error
    return found


def name_of(function):
    """How a function of a module is called by `resolve`; `function` may be that name already."""
    if isinstance(function, str):
        resolve(function)
        return function
    module, name = function.__module__, function.__qualname__
    if module == "__main__" or not name.isidentifier():  # within a function, a class, or a lambda
        raise InputError(
            f"{name} is defined in {module}, where workers cannot import it; expected a function at the top "
            "of a module, in a file of its own"
        )
    resolve(f"{module}:{name}")
    return f"{module}:{name}"
