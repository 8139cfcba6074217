"""What `bnas table` does: functions of the options that bnas.options has read."""

from pathlib import Path

from bnas.config import PRECISIONS, names_in
from bnas.errors import InputError
from bnas.space.operations import search_space
from bnas.space.text import format_genotype, read_genotype
from bnas.tabular.entries import SETTINGS
from bnas.tabular.files import COSTS
from bnas.tabular.space import OPERATIONS
from bnas.tabular.statistics import landscape
from bnas.tabular.table import load


def table(options):
    """Carry out `bnas table ACTION`."""
    return ACTIONS[options.action](options)


def query(options):
    """Print all that the table knows of an architecture."""
    found = load(options.folder)
    number, lines = _number(found, options.architecture), []
    precisions = PRECISIONS if options.seed is None and options.epoch is None else ("binary",)
    if options.precision is not None:
        precisions = (options.precision,)
    for dataset in _datasets(found, options.dataset):
        for precision in precisions:
            lines += _trainings(found, number, dataset, precision, options.epoch, options.seed)
        lines += [*_costs(found.costs(number, dataset)), ""]
    near = ", ".join(map(str, found.neighbour_numbers(number)))
    genotype = format_genotype(found.arch(number))
    print(
        f"Architecture {number} of {len(found)}\n\n{genotype}",
        *lines,
        f"Neighbours: {near}",
        sep="\n",
    )


def _trainings(found, number, dataset, precision, epoch, seed):
    """The lines that tell what the trainings of an architecture gave."""
    epochs = found.epochs(dataset, precision)
    epoch = found.check_epoch(epoch, dataset, precision)
    yield f"{dataset}, {precision}, after {epoch} of {epochs} epochs"
    yield f"{'seed':>6}{'training loss':>16}{'validation':>13}{'test':>10}{'seconds':>10}"
    seeds = list(range(found.seeds(dataset, precision))) if seed is None else [seed]
    for one in seeds + [None] * (len(seeds) > 1):
        entry = found.query(number, dataset, epoch, one, precision)
        accuracies = f"{entry.validation_accuracy:>13.2%}{entry.test_accuracy:>10.2%}"
        name = "mean" if one is None else one
        yield f"{name:>6}{entry.training_loss:>16.4f}{accuracies}{entry.seconds:>10.2f}"
    means = found.accuracies(dataset, "test", precision, epoch).mean(axis=1)
    place = 1 + int((means > means[number]).sum())
    yield f"By mean test accuracy it is number {place} of {len(found)}.\n"


def _costs(costs):
    """The lines that tell what a network costs."""
    for name, value in zip(COSTS, costs):
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
        yield f"{name.replace('_', ' ').replace('macs', 'multiply-adds'):22}{shown:>12}"


def best(options):
    """Print the best architectures of a data set."""
    found = load(options.folder)
    for dataset in _datasets(found, options.dataset):
        means = {
            split: found.accuracies(dataset, split, options.precision).mean(axis=1)
            for split in ("validation", "test")
        }
        bits = found.datasets[dataset]["bits"]
        print(f"{dataset}, {options.precision}, by mean {options.by} accuracy")
        print(f"{'':>4}{'number':>8}{'validation':>12}{'test':>9}{'bits':>10}  cell")
        order = (-means[options.by]).argsort(kind="stable")[: options.count]
        for place, number in enumerate(order, start=1):
            accuracies = f"{means['validation'][number]:>12.2%}{means['test'][number]:>9.2%}"
            cell = _one_line(found.arch(number))
            print(f"{place:>4}{number:>8}{accuracies}{bits[number]:>10,}  {cell}")
        print()


def check(options):
    """Check the files of the table, and print what it can tell."""
    found = load(options.folder)
    print(f"{len(found)} architectures over {', '.join(found.operations)}; all files are whole.")
    hours = found.total_seconds() / 3600
    print(f"All trainings together took {hours:.1f} hours on one core.")
    for dataset in found.datasets:
        print(f"\n{dataset}\n{_report(landscape(found, dataset))}")


def plot(options):
    """Draw the landscape."""
    path = Path(options.out)
    if path.suffix != ".png":
        raise InputError(f"-o {path} must end in .png")
    if not path.parent.is_dir():
        raise InputError(f"-o {path}: there is no folder {path.parent}; make it first")
    found = load(options.folder)
    datasets = _datasets(found, options.dataset)
    found.counts(options.by)  # refuses a kind that is not there
    from bnas.commands import import_matplotlib

    import_matplotlib()
    from bnas.plots.run import draw_landscape, require_own_figure

    require_own_figure(path)
    draw_landscape(found, {name: landscape(found, name) for name in datasets}, path, options.by)
    print(path)


def build(options):
    """Train what is missing, and write a table."""
    from bnas.tabular.build import build

    if options.dataset not in (None, *SETTINGS):
        raise InputError(f"--dataset {options.dataset}: expected {' or '.join(SETTINGS)}")
    datasets = tuple(SETTINGS) if options.dataset is None else (options.dataset,)
    out = options.out or options.runs
    operations = OPERATIONS
    if options.operations is not None:
        operations = search_space(names_in(options.operations))
        if "none" in operations:
            raise InputError(
                "--operations names none, which no edge of an architecture keeps; leave it out"
            )
    where = {"workers": options.workers, "scheduler": options.scheduler}
    build(options.runs, out, datasets, operations, **where)
    print(f"The table is in {out}; look at it with\nbnas table check --table {out}")


ACTIONS = {"query": query, "best": best, "check": check, "plot": plot, "build": build}


def _report(found):
    """The lines that tell a Landscape."""
    rows = {
        "1-bit test accuracy": f"{found.lowest:.2%} to {found.highest:.2%}, median {found.median:.2%}, "
        f"standard deviation {found.deviation:.2%}",
        "real test accuracy": f"{found.real_lowest:.2%} to {found.real_highest:.2%}, "
        f"median {found.real_median:.2%}",
    }
    if found.seeds > 1:
        components = found.components
        rows |= {
            "between architectures": f"{components.share:.1%} of the variance of one training, "
            f"{components.share_of_mean(found.seeds):.1%} of a mean over {found.seeds} seeds",
            "between seeds": f"standard deviation {found.noise:.2%}",
            "told apart (95 %)": f"means that differ by {found.distinguishable:.2%} or more; "
            f"{found.near_best} architectures are closer to the best, itself included",
            "two seeds rank alike": f"Spearman {found.spearman:.3f}, Kendall {found.kendall:.3f}",
        }
    rows |= {
        "best by validation": f"{found.exhaustive_regret:.2%} less than the best, if all are trained once",
        "validation and test": f"Kendall {found.validation_kendall:.3f} (means over the seeds)",
        "with convolutions": f"Spearman {found.convolutions:.3f}",
        "with parameters": f"Spearman {found.parameters:.3f}",
        "real twins rank alike": f"Kendall {found.twin_kendall:.3f}, NDCG {found.twin_ndcg:.3f}",
    }
    for kind, share in found.explained.items():
        number = "all operations" if kind == "operations" else kind
        rows[f"number of {number}"] = f"explains {share:.1%} of the variance between means"
    return "\n".join(f"  {name:27}{text}" for name, text in rows.items())


def _number(found, architecture):
    """The number of an architecture that is given as its number or as a file with its genotype."""
    if architecture.isascii() and architecture.isdigit():
        return found.index(int(architecture))
    if not Path(architecture).is_file():
        raise InputError(
            f"{architecture} is neither a number from 0 to {len(found) - 1} nor a file; expected an "
            "architecture of the table by its number, or a file with its genotype"
        )
    try:
        return found.index(read_genotype(architecture))
    except InputError as error:
        text = error.on_command_line()
        raise InputError(text if architecture in text else f"{architecture}: {text}") from None


def _datasets(found, dataset):
    """The data sets of the table, or the one that is given."""
    if dataset is None:
        return tuple(found.datasets)
    found.seeds(dataset)  # refuses one that is not there
    return (dataset,)


def _one_line(genotype):
    pairs = [f"{name}({predecessor})" for name, predecessor in genotype.normal]
    return f"{pairs[0]} + {pairs[1]}, {pairs[2]} + {pairs[3]}"
