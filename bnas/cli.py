"""The command line: `bnas search`, `train`, `evaluate`, `export`, `predict`, `plot` and more.

Here errors become messages; bnas.options reads the options, bnas.commands does the work. Only the standard
library is imported before that, so that --help is quick and --threads comes in time: NumPy's BLAS,
SciPy's own BLAS and Numba start their threads when they are first imported.
"""

import argparse
import importlib
import os
import sys
from contextlib import ExitStack, contextmanager, suppress

from bnas.errors import DivergedError, InputError
from bnas.options import build_parser, whole_number

# What a library reads before OMP_NUM_THREADS when it is imported.
OWN_VARIABLES = (
    "NUMBA_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# Where the function of a command's name is, if not in bnas.commands.
ROOMS = {
    "handout": "bnas.grading.commands",
    "grade": "bnas.grading.commands",
    "table": "bnas.tabular.commands",
    "sweep": "bnas.sweeps.commands",
    "reproduce": "bnas.study.commands",
}


def main(arguments=None):
    """Run one command; without any, print the help.

    Returns:
        The exit status: 0, 1 (a run diverged, a gradient is wrong, a submission lacks points), 2 (bad input),
        130 (Ctrl-C) or 141 (nobody reads the output).
    """
    with _streams():
        return _run(arguments)


def _run(arguments):
    options = None
    try:
        with _output():
            parser = build_parser()
            options = parser.parse_args(arguments)
            if options.command is None:
                parser.print_help()
                return 0
            with _threads(options.threads):
                module = importlib.import_module(ROOMS.get(options.command, "bnas.commands"))
                return getattr(module, options.command)(options) or 0
    except BrokenPipeError:  # `bnas ... | head`
        return 141
    except KeyboardInterrupt:
        kept = ""
        if options and "resume" in options:
            kept = "; finished epochs are kept, go on with --resume"
        elif options and "workers" in options:
            kept = "; finished jobs are kept, the same command goes on"
        return _fail(f"interrupted{kept}", 130)
    except DivergedError as error:
        return _fail(error, 1)
    except InputError as error:
        return _fail(error.on_command_line(), 2)
    except OSError as error:
        return _fail(error, 2)
    except MemoryError as error:  # files that claim too much end as an InputError
        learns = options and options.command in ("search", "train")
        advice = (
            "try fewer --channels or a smaller --batch-size"
            if learns
            else "close other programs, or give fewer images"
        )
        return _fail(f"out of memory ({error}); {advice}", 2)


@contextmanager
def _threads(count):
    """Run the body on `count` threads, of Numba and of BLAS alike, but on no more than there are cores.

    Without a count, on as many as OMP_NUM_THREADS says, which by itself reaches BLAS alone; but where
    a library's own variable is set, or none at all, each is left to what it finds.
    """
    if count is None and not any(os.environ.get(name) for name in OWN_VARIABLES):
        with suppress(KeyError, argparse.ArgumentTypeError):
            count = whole_number(1)(os.environ["OMP_NUM_THREADS"])
    if count is None:
        yield
        return
    variables = dict.fromkeys(("OMP_NUM_THREADS", *OWN_VARIABLES), str(count))
    if "numba" in sys.modules:  # it would refuse to compile once its variable changes
        del variables["NUMBA_NUM_THREADS"]
    os.environ.update(variables)
    from bnas.kernels.threads import available, limited

    with limited(min(count, available())):  # NumPy or Numba may have been imported before
        yield


def _fail(message, status):
    with suppress(OSError):  # the status tells it where stderr cannot be written
        print(f"bnas: {message}", file=sys.stderr, flush=True)
    return status


@contextmanager
def _streams():
    """Stand-ins for what a process was started without (`>&-`, or by a daemon): Python then has None there.

    Else a file of the run would get the stream's number, and what a library prints by itself would go into it.
    """
    with ExitStack() as restore:
        for number in range(3):
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None or getattr(stream, "closed", False):
                nowhere = restore.enter_context(open(os.devnull, "w"))
                restore.callback(setattr, sys, name, stream)
                setattr(sys, name, nowhere)
        yield


@contextmanager
def _output():
    """Print what the terminal can show, and print it all while an error can still be told."""
    with suppress(AttributeError):  # in a notebook, say, stdout is no file
        sys.stdout.reconfigure(errors="replace")
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # what is left would fail again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise
