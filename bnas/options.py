"""The options of every command, read by argparse. The help texts are in `usage`."""

import argparse
import difflib
import re
from contextlib import suppress
from dataclasses import fields

from bnas import __version__, usage
from bnas.config import (
    BENCH_PARTS,
    BENCH_SCALES,
    PRECISIONS,
    QUICK_SEARCH,
    QUICK_TRAIN,
    SearchConfig,
    TrainConfig,
    module_of,
)
from bnas.errors import option


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

    What it reads has `command`, the name of a function of the module that bnas.cli finds for it.
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

    _table(command)
    _study(command)
    _grading(command)

    data = command(
        "data", "look at a data set and its splits", usage.DATA, epilog=usage.DATA_EPILOG
    )
    _settings(data, SearchConfig, only=("dataset", "data_dir", "limit"))
    return parser


def _table(command):
    """The command for the table of architectures, with its actions."""
    table = command(
        "table",
        "ask the table of all architectures of a small space",
        usage.TABLE,
        usage="bnas table ACTION [options]",
        epilog=usage.TABLE_EPILOG,
    )
    actions = table.add_subparsers(
        title="actions", metavar="ACTION ...", dest="action", required=True, prog="bnas table"
    )

    def action(name, summary, description):
        return actions.add_parser(name, help=summary, description=description)

    query = action("query", "what is known of an architecture", usage.TABLE_QUERY)
    query.add_argument(
        "architecture", metavar="ARCHITECTURE", help="its number, or a file with its genotype"
    )
    query.add_argument("--epoch", type=whole_number(1), metavar="N", help="after so many (all)")
    query.add_argument("--seed", type=whole_number(0), metavar="N", help="of this training (all)")
    query.add_argument(
        "--precision", choices=PRECISIONS, help="(both; with --seed or --epoch binary)"
    )

    best = action("best", "the best architectures", usage.TABLE_BEST)
    best.add_argument(
        "--by", choices=("test", "validation"), default="test", help="by which accuracy (test)"
    )
    best.add_argument(
        "-n", "--count", type=whole_number(1), default=10, metavar="N", help="how many (10)"
    )
    best.add_argument("--precision", choices=PRECISIONS, default="binary", help="(binary)")

    check = action("check", "check its files, and print what it can tell", usage.TABLE_CHECK)

    plot = action("plot", "draw the landscape", usage.TABLE_PLOT)
    plot.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        default="landscape.png",
        help="the PNG file (./landscape.png)",
    )
    plot.add_argument(
        "--by",
        metavar="NAME",
        default="convolutions",
        help="colour by the number of these: an operation's name (convolutions)",
    )
    build = action("build", "train all architectures, and write a table", usage.TABLE_BUILD)
    build.add_argument(
        "--runs", metavar="DIR", default="runs/table", help="the trainings (runs/table)"
    )
    build.add_argument("-o", "--out", metavar="DIR", help="the table (DIR of --runs)")
    build.add_argument(
        "--operations", metavar="NAMES", help="another space than that of bnas: names, with commas"
    )
    build.add_argument(
        "--workers", type=whole_number(0), metavar="N", help="processes (one a core)"
    )
    build.add_argument(
        "--scheduler", metavar="WHERE", help="as of bnas sweep (dask if it is installed)"
    )
    build.add_argument(
        "--dataset", metavar="NAME", help="a table of this one alone: digits or fashion (both)"
    )
    for added in (query, best, plot):
        added.add_argument("--dataset", metavar="NAME", help="digits or fashion (all)")
    for added in (query, best, check, plot):
        added.add_argument(
            "--table", metavar="DIR", dest="folder", help="another than that of bnas"
        )


def _study(command):
    """The command for the experiments of the study."""
    reproduce = command(
        "reproduce",
        "repeat an experiment: is DCP-NAS better?",
        usage.REPRODUCE,
        threads=False,
        usage="bnas reproduce [NAME] [options]",
        epilog=usage.REPRODUCE_EPILOG,
    )
    reproduce.add_argument(
        "name", metavar="NAME", nargs="?", help="of an experiment; without it, all are listed"
    )
    reproduce.add_argument(
        "-o", "--out", metavar="DIR", default="study", help="folder for all results (study)"
    )
    reproduce.add_argument(
        "--dataset",
        choices=("digits", "fashion"),
        help="digits or fashion (both, as far as the table has them)",
    )
    reproduce.add_argument(
        "--seeds", type=whole_number(2), metavar="N", help="of each search (what the spec says)"
    )
    reproduce.add_argument(
        "--workers",
        type=whole_number(0),
        metavar="N",
        help="processes, one thread each (one a core)",
    )
    reproduce.add_argument("--table", metavar="DIR", help="another table than that of bnas")
    reproduce.add_argument(
        "--quick", action="store_true", help="a trial: few images, an epoch a phase, 2 seeds"
    )


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
