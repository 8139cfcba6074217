"""The command line: `bnas search`, `train`, `evaluate`, `export`, `predict`, `plot` and more.

Here options are read and errors become messages; bnas.commands does the work. Only the standard
library is imported before that, so that --help is quick and --threads comes in time: NumPy's BLAS,
SciPy's own BLAS and Numba start their threads when they are first imported.
"""

import argparse
import difflib
import os
import re
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields

from bnas import __version__, usage
from bnas.config import (
    BENCH_PARTS,
    BENCH_SCALES,
    QUICK_SEARCH,
    QUICK_TRAIN,
    SearchConfig,
    TrainConfig,
    module_of,
)
from bnas.errors import DivergedError, InputError, option

# What a library reads before OMP_NUM_THREADS when it is imported.
OWN_VARIABLES = (
    "NUMBA_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


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
                if options.command in ("grade", "handout"):
                    from bnas.grading import commands
                elif options.command == "sweep":
                    from bnas.sweeps import commands
                else:
                    from bnas import commands

                return getattr(commands, options.command)(options) or 0
    except BrokenPipeError:  # `bnas ... | head`
        return 141
    except KeyboardInterrupt:
        kept = ""
        if options and "resume" in options:
            kept = "; finished epochs are kept, go on with --resume"
        elif options and options.command == "sweep":
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


class Parser(argparse.ArgumentParser):
    """A parser whose help keeps its line breaks, and whose errors take one line and guess what was meant."""

    def __init__(self, **options):
        super().__init__(formatter_class=_Formatter, **options)

    def parse_known_args(self, args=None, namespace=None):
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:  # said here, where it is known which command has no such option
            options = [name for action in self._actions for name in action.option_strings]
            guess = _guess(unknown[0].split("=")[0], options)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{guess}")
        return namespace, unknown

    def error(self, message):
        choice = re.search(r"invalid choice: '(.+?)' \(choose from (.+)\)$", message)
        if choice:
            message += _guess(choice[1], re.findall(r"[\w-]+", choice[2]))
        self.exit(2, f"bnas: {message}; see {self.prog} --help\n")


def _guess(word, known):
    """What may have been meant by a misspelt word, as a part of an error message."""
    nearest = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog):
        super().__init__(prog, max_help_position=26)


def build_parser():
    """The parser of all commands.

    What it reads has `command`, the name of a function of bnas.commands, bnas.grading.commands or
    bnas.sweeps.commands.
    """
    parser = Parser(
        prog="bnas",
        usage="bnas COMMAND [options]",
        description=usage.DESCRIPTION,
        epilog=usage.EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"bnas {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND ...", dest="command", prog="bnas"
    )

    def command(name, summary, description, threads=True, **texts):
        added = commands.add_parser(name, help=summary, description=description, **texts)
        if not threads:
            added.set_defaults(threads=None)
            return added
        added.add_argument(
            "--threads",
            type=whole_number(1),
            metavar="N",
            help="threads of Numba and BLAS, at most one a core (OMP_NUM_THREADS, or one a core)",
        )
        return added

    search = command(
        "search",
        "find an architecture, with DCP-NAS or another strategy",
        usage.SEARCH,
        usage="bnas search [RUN] [options]",
        epilog=usage.SEARCH_EPILOG,
    )
    search.add_argument(
        "folder",
        metavar="RUN",
        nargs="?",
        help="run folder (runs/DATASET-seedSEED; but for dcp runs/DATASET-STRATEGY-seedSEED)",
    )
    search.add_argument("--out", metavar="DIR", help="the same as RUN")
    _run_options(search, QUICK_SEARCH)
    _settings(search, SearchConfig)

    train = command(
        "train",
        "train it from scratch, 1-bit or real",
        usage.TRAIN,
        usage="bnas train RUN [options]",
        epilog=usage.TRAIN_EPILOG,
    )
    train.add_argument("folder", metavar="RUN", help="folder of a search, or any with --genotype")
    train.add_argument(
        "--genotype",
        metavar="G",
        dest="architecture",
        help="DARTS_V1, DARTS_V2, AmoebaNet, NASNet, or a file with a genotype; random or skips: a "
        "baseline for the run",
    )
    train.add_argument(
        "--name", metavar="NAME", help="its folder in RUN (else binary, real, random or skips)"
    )
    _run_options(train, QUICK_TRAIN)
    _settings(train, TrainConfig, skip=("genotype",))

    evaluate = command(
        "evaluate", "test accuracy, parameters and size of its networks", usage.EVALUATE
    )
    evaluate.add_argument("folder", metavar="RUN", help="run folder")
    evaluate.add_argument(
        "--data-dir", metavar="PATH", help="folder of the data (npz: the file), if it has moved"
    )

    compare = command(
        "compare",
        "compare what several searches have found",
        usage.COMPARE,
        usage="bnas compare RUN RUN ... [options]",
        epilog=usage.COMPARE_EPILOG,
    )
    compare.add_argument("folders", metavar="RUN", nargs="+", help="run folders")
    compare.add_argument(
        "--name", metavar="NAME", default="binary", help="of the training in each RUN (binary)"
    )
    compare.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        action="append",
        default=[],
        help="also write the table (.csv) or the figure (.png); may be given several times",
    )

    _sweep(command)

    export = command(
        "export",
        "compile the trained 1-bit network to bits",
        usage.EXPORT,
        usage="bnas export RUN [options]",
        epilog=usage.EXPORT_EPILOG,
    )
    export.add_argument("folder", metavar="RUN", help="run folder with a trained 1-bit network")
    export.add_argument("--name", metavar="NAME", help="the training of that name (binary)")
    export.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="the packed network (RUN/packed.npz, or packed-NAME.npz)",
    )
    export.add_argument(
        "--data-dir", metavar="PATH", help="folder of the data (npz: the file), if it has moved"
    )

    predict = command("predict", "classify images with a packed network", usage.PREDICT)
    predict.add_argument(
        "network", metavar="FILE", help="packed network, from bnas export or save()"
    )
    predict.add_argument("images", metavar="IMAGES", help="file of images")

    bench = command("bench", "race kernels, packed networks and search steps", usage.BENCH)
    bench.add_argument("--out", metavar="DIR", default="bench", help="folder for results (bench)")
    bench.add_argument("--quick", action="store_true", help="a trial: few repetitions and shapes")
    bench.add_argument(
        "--only",
        nargs="+",
        choices=BENCH_PARTS,
        default=BENCH_PARTS,
        metavar="PART",
        help=f"of {', '.join(BENCH_PARTS)} (all)",
    )
    bench.add_argument(
        "--scale",
        nargs="+",
        choices=BENCH_SCALES,
        default=BENCH_SCALES[:2],
        metavar="NAME",
        help=f"of search steps: {', '.join(BENCH_SCALES)} ({' '.join(BENCH_SCALES[:2])})",
    )
    bench.add_argument(
        "--repeats",
        type=whole_number(1),
        metavar="N",
        help="how often a search step is timed (9, 7 or 3 times, by scale)",
    )

    plot = command(
        "plot",
        "draw the figures of a run",
        usage.PLOT,
        usage="bnas plot RUN\n       bnas plot RUN RUN ... [-o FILE]\n       bnas plot --genotype G [-o FILE]",
        epilog=usage.PLOT_EPILOG,
    )
    plot.add_argument(
        "folders", metavar="RUN", nargs="*", help="run folder; several: those of searches"
    )
    plot.add_argument(
        "--genotype",
        metavar="G",
        dest="architecture",
        help="DARTS_V1, DARTS_V2, AmoebaNet, NASNet, or a file with a genotype",
    )
    plot.add_argument("-o", "--out", metavar="FILE", help="the PNG file (./runs.png; G.png)")

    gradcheck = command("gradcheck", "verify every backward pass", usage.GRADCHECK)
    gradcheck.add_argument(
        "file", metavar="FILE", nargs="?", help="a Python file with Functions of your own to check"
    )
    gradcheck.add_argument("--operation", metavar="NAME", help="only this one, for instance Conv2d")
    gradcheck.add_argument(
        "--seed", type=whole_number(0), default=0, metavar="N", help="seed of the inputs (0)"
    )
    gradcheck.add_argument("--quick", action="store_true", help="one case of each operation")

    _grading(command)

    data = command(
        "data", "look at a data set and its splits", usage.DATA, epilog=usage.DATA_EPILOG
    )
    _settings(data, SearchConfig, only=("dataset", "data_dir", "limit"))
    return parser


def _sweep(command):
    sweep = command(
        "sweep",
        "search or train many times, on all cores or a cluster",
        usage.SWEEP,
        threads=False,  # one a job
        usage="bnas sweep SPEC.toml [options]",
        epilog=usage.SWEEP_EPILOG,
    )
    sweep.add_argument("spec", metavar="SPEC.toml", help="what to run")
    sweep.add_argument("-o", "--out", metavar="DIR", help="for the results (SPEC)")
    sweep.add_argument(
        "--workers",
        type=whole_number(0),
        metavar="N",
        help="processes on this machine (one a core); 0: one job after another in this process",
    )
    sweep.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of Dask, tcp://HOST:8786, for a cluster; or dask or processes, for this machine (dask if it "
        "is installed)",
    )
    sweep.add_argument("--dry-run", action="store_true", help="list the jobs")


def _grading(command):
    """The commands for assignments."""
    handout = command(
        "handout",
        "write assignments for students",
        usage.HANDOUT,
        epilog=usage.HANDOUT_EPILOG,
    )
    handout.add_argument("folder", metavar="DIR", help="a folder that is new or empty")
    handout.add_argument(
        "--only", metavar="NAME", nargs="+", default=(), help="these, by number or name (all)"
    )

    grade = command(
        "grade",
        "grade a submission, or a class",
        usage.GRADE,
        usage="bnas grade ASSIGNMENT SUBMISSION.py [options]\n"
        "       bnas grade all DIR [-o DIR] [--jobs N]\n"
        "       bnas grade ASSIGNMENT --gradescope OUT.zip",
        epilog=usage.GRADE_EPILOG,
    )
    grade.add_argument(
        "assignment", metavar="ASSIGNMENT", help="number, name or folder; all: every file in DIR"
    )
    grade.add_argument("submission", metavar="SUBMISSION", nargs="?", help="file, or folder of all")
    grade.add_argument("--public", action="store_true", help="the public tests alone")
    grade.add_argument("--json", metavar="FILE", help="also write the report as JSON")
    grade.add_argument(
        "--secret",
        metavar="FILE",
        help="text from which the hidden tests draw their inputs (variable BNAS_GRADING_SECRET, or "
        "one that everybody knows)",
    )
    grade.add_argument("-o", "--out", metavar="DIR", help="for the results of a class (DIR-graded)")
    grade.add_argument(
        "--jobs", type=whole_number(1), metavar="N", help="submissions of a class at a time (1)"
    )
    schools = grade.add_argument_group("write what a school's system needs, instead of grading")
    for name, (metavar, text) in usage.SCHOOLS.items():
        schools.add_argument(f"--{name}", metavar=metavar, help=text)
    for added in (handout, grade):
        added.add_argument(
            "--assignments", metavar="DIR", help="folder of the assignments (that of the clone)"
        )


def whole_number(least):
    """A reader of whole numbers of at least `least`."""

    def read(text):
        with suppress(ValueError):
            if int(text) >= least:
                return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} up, got {text!r}")

    return read


def _run_options(parser, quick):
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in the folder, if there is one"
    )
    stands_for = ", ".join(f"{option(name)[2:]} {value}" for name, value in quick.items())
    parser.add_argument(
        "--quick", action="store_true", help=f"a trial of seconds: {stands_for}, unless given"
    )


def _settings(parser, kind, only=None, skip=()):
    """An option for every field of a configuration; those not given are left out of the result."""
    groups = {}
    for f in fields(kind):
        if f.name in skip or (only is not None and f.name not in only):
            continue
        of = f.metadata["of"]
        if of not in groups:
            title = f"settings of {', '.join(of)}" if of else "settings"
            groups[of] = parser.add_argument_group(f"{title} (with their defaults)")
        group = groups[of]
        common = {"dest": f.name, "default": argparse.SUPPRESS}
        text = f.metadata["help"]
        if f.type is bool:
            text = f"{text} ({'yes' if f.default else 'no'})"
            group.add_argument(
                option(f.name), action=argparse.BooleanOptionalAction, help=text, **common
            )
            continue
        choices = f.metadata["choices"]
        read, metavar = _READERS[f.type]
        if f.name == "operations":
            metavar = "NAME,..."
        if f.name == "strategy":
            read = module_of
        if choices:
            metavar = "|".join(map(str, choices))
        if f.default is not None:
            text = f"{text} ({f.default})"
        group.add_argument(
            option(f.name), type=read, choices=choices, metavar=metavar, help=text, **common
        )


# How a setting of a type is read, and how its value is called in the help.
_READERS = {
    int: (int, "N"),
    int | None: (int, "N"),
    float: (float, "X"),
    float | None: (float, "X"),
    str: (str, "NAME"),
    str | None: (str, "PATH"),
}
