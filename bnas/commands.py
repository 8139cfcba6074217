"""What the commands of `bnas` do: each is a function of the options that bnas.cli has read.

A run folder holds a search and, in binary/ and real/, the trained networks of its architecture. The
two can also stand in a folder without a search. All in a folder share data set and architecture.
"""

import os
import shlex
import sys
import time
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np

from bnas import functional, fused
from bnas.config import (
    QUICK_SEARCH,
    QUICK_TRAIN,
    SearchConfig,
    TrainConfig,
    config_from_dict,
    names_in,
)
from bnas.data import ascii_image, describe, load_dataset, read_images
from bnas.errors import InputError
from bnas.evaluation import predict as logits_of
from bnas.evaluation import report
from bnas.gradcheck import check_all, functions_of, gather_cases
from bnas.packed import PackedNetwork
from bnas.progress import Progress
from bnas.runs import RunFolder, explain, require_same_config, run
from bnas.runs.jobs import fitting, saved_state
from bnas.search.dcp import Search
from bnas.space import (
    PUBLISHED,
    format_genotype,
    parse_genotype,
    read_genotype,
    write_genotype,
)
from bnas.train import Training, trained_network

CHECKED = 1000  # images at most, on which an exported network is compared with the run's
TRAINED = {"binary": "1-bit network", "real": "Its real twin"}  # subfolder, also the precision


def search(options):
    given = _given(options, SearchConfig, QUICK_SEARCH)
    config = SearchConfig(**given)
    default = f"runs/{config.dataset}-seed{config.seed}"
    folders = [Path(folder) for folder in (options.folder, options.out) if folder is not None]
    if len(set(folders)) > 1:
        raise InputError(f"RUN is {folders[0]} and --out {folders[1]}; give one of them")
    path = folders[0] if folders else Path(default)
    resume = options.resume and _has_run(path)
    if resume:
        config = _resumed(SearchConfig, path, given)
    job = Search(config, load_dataset(config.dataset, config.data_dir, config.limit))
    if config.eta and config.tau >= len(config.operation_names):
        print(
            f"bnas: with --tau {config.tau:g} and {len(config.operation_names)} operations no rank is above "
            "τ, so nothing is backtracked; give a smaller --tau, or --eta 0",
            file=sys.stderr,
        )
    with _open(path, config, resume) as folder:
        _carry_out(job, folder)
        folder.require_hold()
        write_genotype(path / "genotype.txt", job.genotype())
        _draw(folder)
    print(
        f"{format_genotype(job.genotype())}\nThe search is in {path}, its figures in {folder.figures}."
    )
    print(f"Next: {_command('train', path)}")


def train(options):
    root = Path(options.folder)
    given = _given(options, TrainConfig, QUICK_TRAIN)
    if options.architecture is not None:
        given["genotype"] = _named_genotype(options.architecture)
    path = root / given.get("precision", TrainConfig.precision)
    resume = options.resume and _has_run(path)
    if resume:
        config = _resumed(TrainConfig, path, given)
    elif _has_run(path):
        raise InputError(
            f"{path} already holds a training; go on with --resume, or move it away to start anew"
        )
    else:
        config = TrainConfig(**{**_inherited(root), **given})
        _require_kinship(root, config)
    dataset = load_dataset(config.dataset, config.data_dir, config.limit)
    teacher = _trained(root, "real", dataset) if config.distil else None
    job = Training(config, dataset, teacher)
    with _open(path, config, resume) as folder:
        write_genotype(path / "genotype.txt", parse_genotype(config.genotype))
        _carry_out(job, folder)
        _draw(folder)
    print(f"The network is in {path}.\nNext: {_command('evaluate', root)}")


def evaluate(options):
    root = Path(options.folder)
    found = _runs(root)
    config = list(found.values())[-1]  # the data may have moved between two runs
    # The same test images for all: those of the run with the most.
    limits = [c.limit for c in found.values()]
    limit = None if None in limits else max(limits)
    dataset = load_dataset(config.dataset, options.data_dir or config.data_dir, limit)
    networks = []
    if root in found:
        job = Search(found[root], dataset)
        state = _finished(root, job.epochs, _command("search", root))
        with fitting(root):
            job.load_state(*state)
        networks += [("Parent (supernet)", job.parent), ("Child (supernet)", job.child)]
        genotype = format_genotype(job.genotype())
    else:
        genotype = config.genotype
    for name, label in TRAINED.items():
        if root / name in found:
            label = f"Found {label}" if root in found and name == "binary" else label
            networks.append((label, _trained(root, name, dataset)))
    table, figures = report(networks, dataset)
    print(f"{table}\n\n{genotype.rstrip()}")
    RunFolder(root).write_result("evaluation.json", figures)
    if root / "binary" not in found:
        print(f"\nNext: {_command('train', root)}")


def export(options):
    root = Path(options.folder)
    config = _saved(TrainConfig, root / "binary") if _has_run(root / "binary") else None
    if config is None:
        raise InputError(
            f"{root} has no trained 1-bit network; train it first with {_command('train', root)}"
        )
    path = root / "packed.npz" if options.out is None else Path(options.out)
    if path.exists() and not _is_packed(path):
        raise InputError(
            f"{path} is there and no packed network; move it away or give another -o FILE"
        )
    dataset = load_dataset(config.dataset, options.data_dir or config.data_dir, config.limit)
    network = _trained(root, "binary", dataset)
    packed = PackedNetwork.pack(
        network, dataset.image_shape, dataset.mean, dataset.std, config.genotype
    )
    images = dataset.validation.images[:CHECKED]
    want, got = logits_of(network, images), packed(images)
    same = int((want.argmax(axis=1) == got.argmax(axis=1)).sum())
    checked = (
        f"On {len(images)} validation images it predicts the class of the unpacked network {same} times; "
        f"logits differ by at most {np.abs(want - got).max() / np.abs(want).max():.1e} of the largest."
    )
    if same < len(images):  # never seen
        print(f"The packed network is wrong and was not written. {checked}")
        return 1
    packed.save(path)
    print(f"{packed.size_table()}\n\n{path}: {path.stat().st_size:,} bytes. {checked}")
    print(f"Next: {_command('predict', path, 'IMAGES')}")
    return 0


def _is_packed(path):
    try:
        PackedNetwork.load(path)
    except InputError:
        return False
    return True


def predict(options):
    network = PackedNetwork.load(options.network)
    images, labels = read_images(options.images)
    if images.shape[1:] != network.shape:
        raise InputError(
            f"{options.images} holds images of {images.shape[1:]} (channels, height, width), "
            f"the network expects {network.shape}"
        )
    start = time.perf_counter()
    logits = network(images)
    seconds = time.perf_counter() - start
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    classes = logits.argmax(axis=1)
    for i, label in enumerate(classes):
        print(f"{i:>6} {label:>3} {shares[i, label]:7.2%}")
    right = "" if labels is None else f", {(classes == labels).mean():.2%} of them right"
    print(f"{len(images):,} images in {seconds:.3g} s{right}")


def bench(options):
    _import_matplotlib()
    from bnas.bench import save_report, save_results, text_report
    from bnas.bench.cases import run_all

    with explain("make the folder", options.out, "choose one that can be written"):
        Path(options.out).mkdir(parents=True, exist_ok=True)  # now, not after some minutes
    # Hours may pass: what has been measured stays, whatever happens to the rest.
    results = run_all(
        options.quick,
        print,
        tuple(options.only),
        tuple(options.scale),
        options.repeats,
        lambda results: save_results(results, options.out),
    )
    print(text_report(results))
    print(*save_report(results, options.out), sep="\n")


def plot(options):
    root = Path(options.folder)
    drawn = [picture for path in _runs(root) for picture in _draw(RunFolder.open(path))]
    if not drawn:
        raise InputError(f"{root} has no finished epoch to draw yet; go on with the run first")
    print(*drawn, sep="\n")


def gradcheck(options):
    if options.file:
        functions, cases = functions_of(options.file, options.seed)
    else:
        functions = {**functional.operations(), **fused.operations()}
        cases = {
            **functional.gradient_cases(options.seed),
            **gather_cases([fused.gradient_cases], options.seed),
        }
    table, failures = check_all(functions, cases, options.operation, options.seed, options.quick)
    print(table)
    return 1 if failures else 0


def data(options):
    config = SearchConfig(**_given(options, SearchConfig))
    dataset = load_dataset(config.dataset, config.data_dir, config.limit)
    print(describe(dataset))
    for name, split in dataset.splits.items():
        print(f"\nFirst image of {name}, label {split.labels[0]}:\n{ascii_image(split.images[0])}")


# Settings


def _given(options, kind, quick=None):
    """The settings that the user gave, on top of those that --quick stands for."""
    names = {f.name for f in fields(kind)}
    given = {name: value for name, value in vars(options).items() if name in names}
    return {**quick, **given} if quick and options.quick else given


def _saved(kind, path):
    """The configuration of the run in the folder `path`."""
    values = RunFolder.open(path).config
    if kind is SearchConfig and "genotype" in values:
        raise InputError(f"{path} holds one trained network, no search; give the folder above it")
    try:
        return config_from_dict(kind, values)
    except InputError as error:
        raise InputError(f"{path / 'config.json'}: {error}") from error


def _resumed(kind, path, given):
    """The configuration of the run to go on with; its data may have moved, all else must agree."""
    saved = _saved(kind, path)
    if given.get("genotype", "") not in ("", getattr(saved, "genotype", "")):
        raise InputError(
            f"{path} trains another architecture; leave out --genotype, or give a new folder"
        )
    require_same_config(asdict(saved), {**asdict(saved), **given}, ignore=("data_dir",))
    return replace(saved, data_dir=given.get("data_dir", saved.data_dir))


def _inherited(root):
    """The settings that a training takes over from the search in `root`, if there is one."""
    inherited = {}
    if _has_run(root):
        searched = _saved(SearchConfig, root)
        inherited = {name: getattr(searched, name) for name in ("dataset", "data_dir", "limit")}
    if (root / "genotype.txt").exists():
        inherited["genotype"] = format_genotype(read_genotype(root / "genotype.txt"))
    return inherited


def _named_genotype(name):
    """The text of a published genotype, or of the one in a file."""
    if name in PUBLISHED:
        return format_genotype(PUBLISHED[name])
    if not Path(name).exists():
        known = ", ".join(PUBLISHED)
        raise InputError(f"{name} is no file and no published genotype; those are {known}")
    return format_genotype(read_genotype(name))


def _require_kinship(root, config):
    """Raise InputError unless a network of TrainConfig `config` may join what `root` holds."""
    searching = _has_run(root) and not (root / "genotype.txt").exists()
    if not config.genotype or searching:
        raise InputError(
            f"there is no {root / 'genotype.txt'}: finish the search with "
            f"{_command('search', root, '--resume')}, "
            "or name an architecture with --genotype in a new folder"
        )
    kin = _inherited(root)
    for name in TRAINED:
        if _has_run(root / name):
            kin |= asdict(_saved(TrainConfig, root / name))
    for name, what in (("dataset", "data set"), ("genotype", "architecture")):
        if kin.get(name, getattr(config, name)) != getattr(config, name):
            raise InputError(
                f"{root} holds networks of another {what}, and one folder compares like with like; "
                f"give a new one: bnas train NEW --genotype ... --dataset {config.dataset}"
            )


# Runs


def _command(*words):
    """A command of bnas as text that a shell takes apart into these words; paths among them stay paths."""
    words = [
        f".{os.sep}{w}" if isinstance(w, Path) and str(w).startswith("-") else str(w) for w in words
    ]
    return shlex.join(["bnas", *words])


def _has_run(path):
    return (path / "config.json").exists()


def _runs(root):
    """{folder: configuration} of the search in `root` and of the trained networks below it."""
    found = {root: _saved(SearchConfig, root)} if _has_run(root) else {}
    for name in TRAINED:
        if _has_run(root / name):
            found[root / name] = _saved(TrainConfig, root / name)
    if not found:
        raise InputError(f"{root} holds no run; make one with {_command('search', root)}")
    return found


def _open(path, config, resume):
    """The RunFolder at `path`, held for writing: the one there is to resume, or else a new one."""
    return RunFolder.open(path, write=True) if resume else RunFolder.create(path, asdict(config))


def _carry_out(job, folder):
    """Run what is left of a job, with a report of its progress."""
    _, done = saved_state(folder, job.epochs)
    with Progress(job, done) as progress:
        run(job, folder, progress)


def _finished(path, epochs, command):
    """(arrays, epochs) of the finished run in the folder `path`; `command` is what made it."""
    arrays, done = saved_state(RunFolder.open(path), epochs)
    if done < epochs:
        raise InputError(f"{path} has {done} of {epochs} epochs; go on with {command} --resume")
    return arrays, done


def _trained(root, name, dataset):
    """The trained Network in the folder root/name."""
    command = _command("train", root, "--precision", name)
    if not _has_run(root / name):
        raise InputError(f"{root / name} is missing; train it first with {command}")
    config = _saved(TrainConfig, root / name)
    arrays, _ = _finished(root / name, config.epochs, command)
    with fitting(root / name):
        return trained_network(config, dataset, arrays)


def _draw(folder):
    """Draw the figures of one folder; returns their paths."""
    _import_matplotlib()
    from bnas.plots import draw_run

    path, root = folder.path / "genotype.txt", folder.path
    if "genotype" in folder.config:  # a training, of a search or of its own
        root = root.parent
    operations = names_in(SearchConfig.operations)
    if _has_run(root):
        operations = _saved(SearchConfig, root).operation_names
    genotype = read_genotype(path, operations) if path.exists() else None
    return draw_run(folder.history(), genotype, folder.figures, operations)


def _import_matplotlib():
    """Import Matplotlib, which takes as long as all the rest, whatever MPLBACKEND says.

    Figures are drawn without any display. But Matplotlib refuses to be imported where the backend is not
    installed, and `!bnas` in a notebook inherits that of the notebook.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:  # as Matplotlib would have it, for what else this process may draw
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
