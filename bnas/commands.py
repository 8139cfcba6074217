"""What the commands of `bnas` do: each is a function of the options that bnas.options has read."""

import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np

from bnas import functional, fused
from bnas.comparison import compare as compare_runs
from bnas.comparison import require_own_table
from bnas.config import (
    QUICK_SEARCH,
    QUICK_TRAIN,
    SearchConfig,
    TrainConfig,
    names_in,
    reads,
)
from bnas.contents import (
    BASELINES,
    FOUND,
    TRAINED,
    architecture,
    checked_name,
    command_line,
    drawn_genotype,
    has_run,
    inherited,
    label_of,
    labels_of,
    named_genotype,
    require_kinship,
    runs_in,
    saved_config,
    train_command,
    trainings,
)
from bnas.data import ascii_image, describe, load_dataset, read_images
from bnas.errors import InputError
from bnas.evaluation import predict as logits_of
from bnas.evaluation import report
from bnas.gradcheck import check_all, functions_of, gather_cases
from bnas.packed import PackedNetwork
from bnas.progress import Progress, announce
from bnas.runs import RunFolder, explain, require_same_config, run
from bnas.runs.files import checkpoint_digest
from bnas.runs.jobs import fitting, saved_state
from bnas.search.strategies import new_search
from bnas.space import (
    explain_genotype,
    format_genotype,
    parse_genotype,
    read_genotype,
    write_genotype,
)
from bnas.train import Training, trained_network

BITS = """\
Bits: a weight of a 1-bit convolution takes one; all else 32 a number, and in every network the stem, the 1x1
convolutions at the inputs of cells, batch norms and the classifier are real."""
CHILD = "Child (supernet)"
CHECKED = 1000  # images at most, on which an exported network is compared with the run's


def search(options):
    dataset, strategy, seed = (
        getattr(options, name, getattr(SearchConfig, name))
        for name in ("dataset", "strategy", "seed")
    )
    named = "" if strategy == "dcp" else strategy.replace(":", "-") + "-"
    default = f"runs/{dataset}-{named}seed{seed}"
    folders = [Path(folder) for folder in (options.folder, options.out) if folder is not None]
    if len(set(folders)) > 1:
        raise InputError(f"RUN is {folders[0]} and --out {folders[1]}; give one of them")
    path = folders[0] if folders else Path(default)
    resume = options.resume and has_run(path)
    if resume:  # what the settings given mean, depends on the strategy of the run
        strategy = getattr(options, "strategy", saved_config(SearchConfig, path).strategy)
    given = _given(options, SearchConfig, QUICK_SEARCH, strategy)
    config = _resumed(SearchConfig, path, given) if resume else SearchConfig(**given)
    job = new_search(config, load_dataset(config.dataset, config.data_dir, config.limit))
    if config.strategy == "dcp" and config.eta != 0 and config.tau >= len(config.operation_names):
        print(
            f"bnas: with --tau {config.tau:g} and {len(config.operation_names)} operations no rank is above "
            "τ, so nothing is backtracked; give a smaller --tau, or --eta 0",
            file=sys.stderr,
        )
    with _open(path, config, resume) as folder:
        _carry_out(job, folder)
        folder.require_hold()
        genotype = job.genotype()
        if genotype is None:
            raise InputError(
                f"{config.strategy} has ended without a genotype: its method genotype() must return one after "
                "the last epoch"
            )
        write_genotype(path / "genotype.txt", genotype)
        _draw(folder)
    print(
        f"{format_genotype(genotype)}\n{explain_genotype(genotype)}\n\n"
        f"The search is in {path}, its figures in {folder.figures}."
    )
    print(f"Next: {command_line('train', path)}")


def train(options):
    root = Path(options.folder)
    given = _given(options, TrainConfig, QUICK_TRAIN)
    precision = given.get("precision", TrainConfig.precision)
    baseline = options.architecture if options.architecture in BASELINES else None
    path = root / (checked_name(options.name, baseline) or baseline or precision)
    resume = options.resume and has_run(path)
    if not resume and has_run(path):
        raise InputError(
            f"{path} already holds a training; go on with --resume, move it away to start anew, "
            "or give another --name"
        )
    kin = asdict(saved_config(TrainConfig, path)) if resume else inherited(root)
    if baseline:
        if not resume and has_run(root / precision):  # trained as what it is compared with
            kin |= asdict(saved_config(TrainConfig, root / precision))
        seed = (kin if resume else {**kin, **given}).get("seed", 0)  # another is refused below
        given["genotype"] = drawn_genotype(root, baseline, seed)
    elif options.architecture is not None:
        given["genotype"] = named_genotype(options.architecture)
    if resume:
        config = _resumed(TrainConfig, path, given)
    else:
        config = TrainConfig(**{**kin, **given})
        require_kinship(root, config, baseline)
    dataset = load_dataset(config.dataset, config.data_dir, config.limit)
    teacher = _trained(root, "real", dataset) if config.distil else None
    if teacher and config.hold_out and not saved_config(TrainConfig, root / "real").hold_out:
        raise InputError(
            "the real twin has learnt the validation images; train one with --hold-out in another folder"
        )
    job = Training(config, dataset, teacher)
    with _open(path, config, resume) as folder:
        write_genotype(path / "genotype.txt", parse_genotype(config.genotype))
        if not (baseline or has_run(root) or (root / "genotype.txt").exists()):  # the first of all
            write_genotype(root / "genotype.txt", parse_genotype(config.genotype))
        _carry_out(job, folder)
        _draw(folder)
    print(f"The network is in {path}.\nNext: {command_line('evaluate', root)}")


def evaluate(options):
    root = Path(options.folder)
    found = runs_in(root)
    config = list(found.values())[-1]  # the data may have moved between two runs
    # The same test images for all: those of the run with the most.
    limits = [c.limit for c in found.values()]
    limit = None if None in limits else max(limits)
    dataset = load_dataset(config.dataset, options.data_dir or config.data_dir, limit)
    networks = []
    if root in found:
        job = _finished_search(root, found[root], dataset)
        networks += job.networks().items()
        reference = job.genotype()
    else:
        reference = architecture(root)
    configs, trained, sources = trainings(root), {}, {}
    for name, config in configs.items():
        label = label_of(name, config, root in found, reference)
        try:
            trained[name] = _trained(root, name, dataset)
        except InputError as error:
            if name in TRAINED:
                raise
            announce(f"Left out: {error.on_command_line()}", "")
            continue
        networks.append((label, trained[name]))
        digest = checkpoint_digest(root / name / "checkpoint.npz")
        sources[label] = {"training": name, "checkpoint": digest}
    table, figures = report(networks, dataset, lambda label: announce(f"Evaluating: {label}"))
    written = {label: {**row, **sources.get(label, {})} for label, row in figures.items()}
    RunFolder(root).write_result("evaluation.json", written)
    print(f"{table}\n\n{BITS}")
    if {CHILD, FOUND} <= figures.keys() and figures[FOUND]["bits"] > figures[CHILD]["bits"]:
        small, large = found[root], configs["binary"]
        print(
            f"The found network takes more than the Child, though it has fewer operations: it is built anew, with "
            f"{large.channels}\nchannels and {large.layers} cells to the Child's {small.channels} and "
            f"{small.layers}, and the real parts grow with both."
        )
    print(f"\n{format_genotype(reference)}\n{explain_genotype(reference)}")
    for name, network in trained.items():
        announce(f"Drawing: {name}")
        _draw_evaluation(network, dataset, root / name)
    if "binary" not in trained:
        print(f"\nNext: {command_line('train', root)}")
    missing = [name for name in BASELINES if name not in configs]
    if "binary" in trained and missing:
        print("\nIs that more than chance finds? Train the baselines, then evaluate again:")
        for name in missing:
            print(f"  {command_line('train', root, '--genotype', name)}")


def compare(options):
    paths = [Path(path) for path in options.out]
    for path in paths:  # before the work
        if path.suffix not in (".csv", ".png"):
            raise InputError(f"-o {path} must end in .csv (the table) or .png (the figure)")
        if not path.parent.is_dir():
            raise InputError(f"-o {path}: there is no folder {path.parent}; make it first")
        if path.suffix == ".csv":
            require_own_table(path)
        else:
            _plots().run.require_own_figure(path)
    comparison = compare_runs(options.folders, options.name)
    print(comparison)
    for path in paths:
        if path.suffix == ".csv":
            comparison.to_csv(path)
        else:
            _plots().draw_comparison(comparison, path)
    if paths:
        print("", *paths, sep="\n")


def export(options):
    root = Path(options.folder)
    name = options.name or "binary"
    if name not in trainings(root):
        there = ", ".join(trainings(root))
        raise InputError(
            f"{root} has no trained 1-bit network called {name} (but {there})"
            if options.name and there
            else f"{root} has no trained 1-bit network; train it first with {command_line('train', root)}"
        )
    config = saved_config(TrainConfig, root / name)
    path = root / ("packed.npz" if options.name is None else f"packed-{name}.npz")
    path = path if options.out is None else Path(options.out)
    if path.exists() and not _is_packed(path):
        raise InputError(
            f"{path} is there and no packed network; move it away or give another -o FILE"
        )
    dataset = load_dataset(config.dataset, options.data_dir or config.data_dir, config.limit)
    network = _trained(root, name, dataset)
    announce(f"Packing {root / name}")
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
    print(f"Next: {command_line('predict', path, 'IMAGES')}")
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
    import_matplotlib()
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
    if options.architecture is not None:
        _plot_genotype(options)
        return
    if len(options.folders) > 1:
        _plot_runs(options)
        return
    if not options.folders or options.out is not None:
        raise InputError(
            "name a RUN to draw; or several RUNs, or an architecture with --genotype, which -o goes with"
        )
    root = Path(options.folders[0])
    drawn = [picture for path in runs_in(root) for picture in _draw(RunFolder.open(path))]
    if not drawn:
        raise InputError(f"{root} has no finished epoch to draw yet; go on with the run first")
    print(*drawn, sep="\n")


def _plot_runs(options):
    paths = labels_of([Path(folder) for folder in options.folders])
    names = {k: saved_config(SearchConfig, path).operation_names for k, path in paths.items()}
    histories = {label: RunFolder.open(path).history() for label, path in paths.items()}
    for label, history in histories.items():
        if not history:
            raise InputError(
                f"{paths[label]} has no finished epoch to draw yet; go on with the run first"
            )
    announce(f"Drawing {len(paths)} searches side by side")
    path = options.out or "runs.png"
    _plots().draw_runs(histories, path, names)
    print(path)


def _plot_genotype(options):
    if options.folders:
        raise InputError("give a RUN or --genotype, not both")
    genotype = parse_genotype(named_genotype(options.architecture))
    path = options.out or f"{Path(options.architecture).stem}.png"
    _plots().draw_genotype(genotype, path)
    print(path)


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


def _given(options, kind, quick=None, strategy=SearchConfig.strategy):
    """The settings that the user gave, on top of those that --quick stands for and the strategy reads."""
    of_kind = {f.name: f for f in fields(kind)}
    given = {name: value for name, value in vars(options).items() if name in of_kind}
    if "operations" in given:  # as a run keeps them
        given["operations"] = ", ".join(names_in(given["operations"]))
    if not (quick and options.quick):
        return given
    return {n: v for n, v in quick.items() if reads(strategy, of_kind[n])} | given


def _resumed(kind, path, given):
    """The configuration of the run to go on with; its data may have moved, all else must agree."""
    saved = saved_config(kind, path)
    if given.get("genotype", "") not in ("", getattr(saved, "genotype", "")):
        raise InputError(
            f"{path} trains another architecture; leave out --genotype, or give a new folder"
        )
    require_same_config(asdict(saved), {**asdict(saved), **given}, ignore=("data_dir",))
    return replace(saved, data_dir=given.get("data_dir", saved.data_dir))


# Runs


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
        _refuse_unfinished(path, done, epochs, command)
    return arrays, done


def _finished_search(path, config, dataset):
    """The finished search in the folder `path`."""
    job = new_search(config, dataset)
    arrays, done = saved_state(RunFolder.open(path), job.epochs)
    if done:
        with fitting(path):
            job.load_state(arrays, done)
    if done < job.epochs and not job.stopped:
        _refuse_unfinished(path, done, job.epochs, command_line("search", path))
    return job


def _refuse_unfinished(path, done, epochs, command):
    raise InputError(f"{path} has {done} of {epochs} epochs; go on with {command} --resume")


def _trained(root, name, dataset):
    """The trained Network in the folder root/name."""
    command = train_command(root, name)
    if not has_run(root / name):
        raise InputError(f"{root / name} is missing; train it first with {command}")
    config = saved_config(TrainConfig, root / name)
    arrays, _ = _finished(root / name, config.epochs, command)
    with fitting(root / name):
        return trained_network(config, dataset, arrays)


def _draw(folder):
    """Draw the figures of one folder; returns their paths."""
    announce(f"Drawing the figures of {folder.path}")
    path, root = folder.path / "genotype.txt", folder.path
    if "genotype" in folder.config:  # a training, of a search or of its own
        root = root.parent
    operations = names_in(SearchConfig.operations)
    if has_run(root):
        operations = saved_config(SearchConfig, root).operation_names
    genotype = read_genotype(path, operations) if path.exists() else None
    return _plots().draw_run(folder.history(), genotype, folder.figures, operations)


def _draw_evaluation(network, dataset, path):
    """Draw what a trained network makes of the test images, into the figures of its folder."""
    predictions = logits_of(network, dataset.test.images).argmax(axis=1)
    folder = RunFolder.open(path).figures
    _plots().draw_evaluation(network, dataset, predictions, folder)
    print(f"Its confusions, mistakes and bits, and samples of the data, are drawn in {folder}.")


def _plots():
    """The module bnas.plots, imported when first asked for."""
    import_matplotlib()
    from bnas import plots

    return plots


def import_matplotlib():
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
