"""The command line: `bnas search`, `train`, `evaluate`, `plot`, `gradcheck`, `data`.

Only the standard library is imported before a command runs, so that --help is quick and --threads can
still be set: NumPy and Numba read the number of threads when they are first imported.
"""

import argparse
import os
import sys
from dataclasses import MISSING, asdict, fields, replace

from bnas import __version__
from bnas.config import SearchConfig, TrainConfig, config_from_dict
from bnas.errors import DivergedError, InputError

THREAD_VARIABLES = (
    "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
FLAGS = {"lam": "--lambda"}  # the one symbol that is a Python keyword

QUICK_SEARCH = {
    "channels": 4, "layers": 3, "nodes": 2, "rounds": 1, "parent_epochs": 1, "child_epochs": 1,
    "limit": 256,
}  # fmt: skip
QUICK_TRAIN = {"channels": 8, "layers": 3, "epochs": 2, "limit": 256}

EPILOG = """\
A first session:
  bnas search --out runs/mine       find an architecture on the bundled digits
  bnas train runs/mine              train it from scratch as a 1-bit network
  bnas evaluate runs/mine           test accuracy, parameters, size
`bnas COMMAND --help` explains a command.
"""


def main(arguments=None):
    """Run one command; returns the exit status: 0, 1 (diverged), 2 (bad input) or 130 (Ctrl-C)."""
    options = build_parser().parse_args(arguments)
    if options.threads is not None:
        for variable in THREAD_VARIABLES:
            os.environ[variable] = str(options.threads)
    try:
        return options.run(options) or 0
    except InputError as error:
        print(f"bnas: {error}", file=sys.stderr)
        return 2
    except DivergedError as error:
        print(f"bnas: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbnas: interrupted; complete epochs are kept, --resume goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `bnas ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def build_parser():
    parser = argparse.ArgumentParser(
        prog="bnas",
        description="Binary neural architecture search: DCP-NAS in NumPy and Numba.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bnas {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    search = _command(
        commands, "search", run_search, "search an architecture with DCP-NAS",
        "Search with DCP-NAS: a real Parent and a 1-bit Child take turns; the architecture of the Child is "
        "the result. Every epoch is saved: Ctrl-C or a power cut costs the current one, --resume goes on. "
        "The folder gets config.json, history.jsonl, checkpoint.npz, genotype.txt and figures/.",
    )  # fmt: skip
    search.add_argument(
        "--out", metavar="DIR", help="run folder (default: runs/DATASET-seedSEED)"
    )
    _resume(search)
    _quick(search, QUICK_SEARCH)
    _settings(search, SearchConfig)

    train = _command(
        commands, "train", run_train, "train the found architecture from scratch",
        "Train the network of RUN/genotype.txt, or of --genotype, as a 1-bit network (into RUN/binary) or "
        "as its real twin (--precision real, into RUN/real). --distil needs the real twin to be there. "
        "Train and validation images train together; the test images wait for `bnas evaluate`.",
    )  # fmt: skip
    train.add_argument("folder", metavar="RUN", help="folder of a search, or a new one with --genotype")
    train.add_argument(
        "--genotype", metavar="G", dest="architecture",
        help="DARTS_V1, DARTS_V2, AmoebaNet, NASNet, or a file with a genotype",
    )  # fmt: skip
    _resume(train)
    _quick(train, QUICK_TRAIN)
    _settings(train, TrainConfig, skip=("genotype",))

    evaluate = _command(
        commands, "evaluate", run_evaluate, "test accuracy, parameters and size of all networks of a run",
        "Evaluate every network that the folder holds on the test split: the Parent and the Child "
        "supernet, the trained 1-bit network and its real twin. Also written to RUN/evaluation.json.",
    )  # fmt: skip
    evaluate.add_argument("folder", metavar="RUN", help="run folder")
    evaluate.add_argument("--data-dir", metavar="DIR", help="data files, if they have moved")

    plot = _command(
        commands, "plot", run_plot, "draw the figures of a run",
        "Draw the figures of a search and of its trained networks, finished or not, into their "
        "folders' figures/.",
    )  # fmt: skip
    plot.add_argument("folder", metavar="RUN", help="run folder")

    gradcheck = _command(
        commands, "gradcheck", run_gradcheck, "verify every backward pass by finite differences",
        "Compare the backward of every operation with finite differences in float64, on cases of many "
        "shapes, and print the worst relative error of each. Sign estimators are compared with the "
        "surrogate whose derivative they claim to be. Exit status 1 if any fails.",
    )  # fmt: skip
    gradcheck.add_argument("--operation", metavar="NAME", help="check this one only, for instance Conv2d")
    gradcheck.add_argument("--seed", type=int, default=0, help="seed of inputs and cotangents (0)")
    gradcheck.add_argument("--quick", action="store_true", help="the first case of each operation only")

    data = _command(
        commands, "data", run_data, "describe a data set and its splits",
        "Read a data set, print its splits and statistics, and show one image of each split.",
    )  # fmt: skip
    for name in ("dataset", "data_dir", "limit"):
        _setting(data, next(f for f in fields(SearchConfig) if f.name == name))
    return parser


def _command(commands, name, run, summary, description):
    parser = commands.add_parser(name, help=summary, description=description)
    parser.set_defaults(run=run)
    parser.add_argument("--threads", type=_positive, metavar="N", help="threads (default: all cores)")
    return parser


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _resume(parser):
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in the folder, if there is one"
    )


def _quick(parser, values):
    text = ", ".join(f"{name} {value}" for name, value in values.items())
    parser.add_argument(
        "--quick", action="store_true", help=f"a trial of a few seconds: {text}, unless given"
    )


def _settings(parser, config, skip=()):
    group = parser.add_argument_group("settings (default in brackets)")
    for f in fields(config):
        if f.name not in skip:
            _setting(group, f)


def _setting(parser, f):
    """One option for one field of a configuration; left out of the result unless given."""
    flag = FLAGS.get(f.name, "--" + f.name.replace("_", "-"))
    common = {"dest": f.name, "default": argparse.SUPPRESS}
    if f.type is bool or f.type == "bool":
        parser.add_argument(
            flag, action=argparse.BooleanOptionalAction, help=f"{f.metadata['help']} (yes)", **common
        )
        return
    default = "" if f.default is MISSING or f.default is None else f" ({f.default})"
    kind = {int: int, float: float, int | None: int}.get(f.type, str)
    choices = f.metadata["choices"]
    metavar = "|".join(str(c) for c in choices) if choices else kind.__name__.upper()
    parser.add_argument(
        flag, type=kind, choices=choices, metavar=metavar, help=f.metadata["help"] + default, **common
    )


def _given(options, config, quick):
    """The settings that the user gave, on top of those that --quick stands for."""
    names = {f.name for f in fields(config)}
    given = {name: value for name, value in vars(options).items() if name in names}
    return {**(quick if options.quick else {}), **given}


# The commands


def run_search(options):
    from bnas.data import load_dataset
    from bnas.genotypes import format_genotype
    from bnas.loop import run
    from bnas.runs import atomic_write
    from bnas.search.dcp import Search

    given = _given(options, SearchConfig, QUICK_SEARCH)
    config = SearchConfig(**given)
    path = options.out or f"runs/{config.dataset}-seed{config.seed}"
    folder, config = _open_run(path, SearchConfig, config, given, options.resume)
    with folder:
        job = Search(config, load_dataset(config.dataset, config.data_dir, config.limit))
        with Bar(job, folder) as bar:
            run(job, folder, bar)
        text = format_genotype(job.genotype())
        atomic_write(folder.path / "genotype.txt", text)
        _draw(folder)
    print(f"{text.rstrip()}\n\nThe search is in {path}, its figures in {folder.figures}.")
    print(f"Next: bnas train {path}")


def run_train(options):
    from bnas.data import load_dataset
    from bnas.loop import run
    from bnas.runs import RunFolder
    from bnas.train import Training

    given = _given(options, TrainConfig, QUICK_TRAIN)
    searched = RunFolder(options.folder).path / "config.json"
    if searched.exists():  # train on what was searched on, unless told otherwise
        saved = RunFolder.open(options.folder).config
        given = {**{k: saved[k] for k in ("dataset", "data_dir", "limit")}, **given}
    given["genotype"] = _genotype_text(options)
    config = TrainConfig(**given)
    path = searched.parent / config.precision
    folder, config = _open_run(path, TrainConfig, config, given, options.resume)
    with folder:
        dataset = load_dataset(config.dataset, config.data_dir, config.limit)
        teacher = None
        if config.distil:
            teacher = _trained(searched.parent / "real", dataset, "real", distil=True)
        job = Training(config, dataset, teacher)
        with Bar(job, folder) as bar:
            run(job, folder, bar)
        _draw(folder)
    print(f"The network is in {path}.\nNext: bnas evaluate {options.folder}")


def run_evaluate(options):
    from bnas.data import load_dataset
    from bnas.evaluation import report
    from bnas.runs import RunFolder

    root = RunFolder(options.folder)
    networks, genotype, config = [], None, None
    if (root.path / "config.json").exists():
        root = RunFolder.open(options.folder)
        config = config_from_dict(SearchConfig, root.config)
        dataset = _dataset(config, options.data_dir)
        search = _finished_search(root, config, dataset)
        networks += [("Parent (supernet)", search.parent), ("Child (supernet)", search.child)]
    for name, label in (("binary", "Found network, 1-bit"), ("real", "Its real twin")):
        path = root.path / name
        if (path / "config.json").exists():
            config = config_from_dict(TrainConfig, RunFolder.open(path).config)
            dataset = _dataset(config, options.data_dir)
            networks.append((label, _trained(path, dataset, name)))
            genotype = config.genotype
    if config is None:
        raise InputError(
            f"{options.folder} holds no run: expected config.json, binary/ or real/ in it; "
            f"make one with bnas search --out {options.folder}"
        )
    table, figures = report(networks, dataset)
    if (root.path / "genotype.txt").exists():
        genotype = (root.path / "genotype.txt").read_text()
    print(f"{table}\n\n{genotype.rstrip()}")
    root.write_result("evaluation.json", figures)
    if not any("1-bit" in label for label, _ in networks):
        print(f"\nNext: bnas train {options.folder}")


def run_plot(options):
    from bnas.runs import RunFolder

    root = RunFolder(options.folder)
    places = [root.path, root.path / "binary", root.path / "real"]
    places = [place for place in places if (place / "config.json").exists()]
    if not places:
        raise InputError(f"{options.folder} holds no run; make one with bnas search")
    for place in places:
        for figure in _draw(RunFolder.open(place)):
            print(figure)


def run_gradcheck(options):
    from bnas.gradcases import check_all

    table, failed = check_all(options.operation, options.seed, options.quick)
    print(table)
    return 1 if failed else 0


def run_data(options):
    from bnas.data import ascii_image, describe, load_dataset

    chosen = {n: getattr(options, n) for n in ("dataset", "data_dir", "limit") if hasattr(options, n)}
    config = SearchConfig(**chosen)
    dataset = load_dataset(config.dataset, config.data_dir, config.limit)
    print(describe(dataset))
    for name, split in dataset.splits.items():
        print(f"\nFirst image of {name}, label {split.labels[0]}:\n{ascii_image(split.images[0])}")


# What they share


class Bar:
    """A progress bar over all steps of a job: phase, epoch, loss, accuracy, time left."""

    def __init__(self, job, folder):
        from tqdm import tqdm

        done = folder.load()[1]["epochs_done"] if folder.has_checkpoint else 0
        self.bar = tqdm(
            total=job.epochs * job.steps, initial=done * job.steps, unit="step", dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}",
        )  # fmt: skip
        self.bar.set_description_str("compiling")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.bar.close()

    def step(self, label, loss, accuracy):
        self.bar.set_description_str(label, refresh=False)
        self.bar.set_postfix_str(f"loss {loss:.3f}, accuracy {100 * accuracy:.1f} %", refresh=False)
        self.bar.update()


def _open_run(path, kind, config, given, resume):
    """(RunFolder open for writing, its configuration): a new run, or with `resume` the one there is."""
    from bnas.runs import RunFolder, require_same_config

    if not (resume and os.path.exists(os.path.join(path, "config.json"))):
        return RunFolder.create(path, asdict(config)), config
    folder = RunFolder.open(path, write=True)
    saved = config_from_dict(kind, folder.config)
    moved = {"data_dir": given.get("data_dir", saved.data_dir)}
    asked = {**asdict(saved), **given}
    require_same_config(asdict(saved), asked, ignore=("data_dir",))
    return folder, replace(saved, **moved)


def _genotype_text(options):
    """The architecture that `bnas train` is to train, as text."""
    from pathlib import Path

    from bnas.genotypes import PUBLISHED, format_genotype, read_genotype

    found = Path(options.folder) / "genotype.txt"
    if options.architecture in PUBLISHED:
        return format_genotype(PUBLISHED[options.architecture])
    if options.architecture is not None:
        return format_genotype(read_genotype(options.architecture))
    if not found.exists():
        raise InputError(
            f"there is no {found}: finish the search with bnas search --out {options.folder} --resume, "
            "or name an architecture with --genotype"
        )
    return format_genotype(read_genotype(found))


def _dataset(config, data_dir):
    from bnas.data import load_dataset

    return load_dataset(config.dataset, data_dir or config.data_dir, config.limit)


def _finished_search(folder, config, dataset):
    from bnas.search.dcp import Search

    search = Search(config, dataset)
    _load_finished(search, folder, f"bnas search --out {folder.path} --resume")
    return search


def _trained(path, dataset, precision, distil=False):
    """The trained Network in the folder `path`."""
    from bnas.runs import RunFolder
    from bnas.train import Training

    command = f"bnas train {path.parent} --precision {precision}"
    if not (path / "config.json").exists():
        raise InputError(f"{path} is missing; train it first with {command}")
    folder = RunFolder.open(path)
    config = config_from_dict(TrainConfig, folder.config)
    job = Training(replace(config, distil=0.0), dataset)
    _load_finished(job, folder, f"{command} --resume")
    return job.network


def _load_finished(job, folder, command):
    if not folder.has_checkpoint:
        raise InputError(f"{folder.path} has no finished epoch yet; go on with {command}")
    arrays, meta = folder.load()
    if meta["epochs_done"] < job.epochs:
        raise InputError(
            f"{folder.path} has {meta['epochs_done']} of {job.epochs} epochs; go on with {command}"
        )
    job.load_state(arrays, meta["epochs_done"])


def _draw(folder):
    """Draw the figures of one folder; returns their paths."""
    from bnas.genotypes import read_genotype
    from bnas.plots import draw_run

    found = folder.path / "genotype.txt"
    genotype = read_genotype(found) if found.exists() else None
    return draw_run(folder.history(), genotype, folder.figures)
