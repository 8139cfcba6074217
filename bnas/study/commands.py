"""What `bnas reproduce` does, with the options that bnas.options has read."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bnas.commands import import_matplotlib
from bnas.errors import InputError, argument
from bnas.runs import atomic_write, explain
from bnas.runs.files import to_json
from bnas.study import optima, ranking, report, searches
from bnas.study.experiments import DATASETS, QUICK_SEEDS, experiment, forecast, names
from bnas.study.jobs import search
from bnas.sweeps import read_failures, read_results, run_jobs
from bnas.tabular import OPERATIONS, load


class Kind(NamedTuple):
    """How experiments of a kind are carried out.

    Attributes:
        function: of a job.
        folder: of its results.
        jobs, analyse: functions as in `bnas.study.searches`.
        page: the function that tells in Markdown what was found.
        figure: the name of the one that draws it, in `bnas.plots`.
    """

    function: Callable
    folder: str
    jobs: Callable
    analyse: Callable
    page: Callable
    figure: str


KINDS = {
    "searches": Kind(
        search, "searches", searches.jobs, searches.analyse, report.page, "study_figure"
    ),
    "ranking": Kind(
        ranking.measure, "ranking", ranking.jobs, ranking.analyse, ranking.page, "ranking_figure"
    ),
    "optima": Kind(
        optima.measure, "optima", optima.jobs, optima.analyse, optima.page, "optima_figure"
    ),
}


def reproduce(options):
    """Carry out an experiment; without a name, list them all."""
    if options.name is None:
        print(listing(datasets_of(load(options.table), options.dataset), options.workers))
        return
    chosen = experiment(options.name)
    if options.seeds is not None and chosen.kind == "optima":
        raise InputError(argument("seeds"), f": {options.name} has one search; leave it out")
    seeds = options.seeds or (QUICK_SEEDS if options.quick else None)
    table = load(options.table)
    datasets = datasets_of(table, options.dataset)
    kind = KINDS[chosen.kind]
    jobs = kind.jobs(chosen, datasets, seeds, options.quick)
    folder = Path(options.out)
    with explain("make the folder", folder, "choose one that can be written"):
        folder.mkdir(parents=True, exist_ok=True)
    import_matplotlib()
    from bnas import plots

    picture = folder / f"{chosen.name}.png"
    plots.run.require_own_figure(picture)  # before the searches
    results = run(kind.function, jobs, folder / kind.folder, options.workers)
    figures = kind.analyse(chosen, table, results, datasets, seeds, options.quick)
    page = f"{kind.page(chosen, figures)}\n{made_by(options)}\n"
    atomic_write(folder / f"{chosen.name}.json", to_json(figures, "the figures") + "\n")
    atomic_write(folder / f"{chosen.name}.md", page)
    plots.draw_study(getattr(plots, kind.figure)(figures), picture)
    print(page)
    for suffix in ("md", "png", "json"):
        print(folder / f"{chosen.name}.{suffix}")


def datasets_of(table, dataset):
    """The data sets to search: the one that is given, or all that both the study and the table have.

    Raises InputError if the table has none of them, or is over other operations than the searches.
    """
    if table.operations != OPERATIONS:
        raise InputError(
            f"the table is over {', '.join(table.operations)}, and the searches of the study are over "
            f"{', '.join(OPERATIONS)}; give a table of these"
        )
    found = tuple(name for name in DATASETS if name in table.datasets and dataset in (None, name))
    if not found:
        raise InputError(
            f"the table has no data set {dataset or ' or '.join(DATASETS)}; it has "
            f"{', '.join(table.datasets)}"
        )
    return found


def made_by(options):
    """The command that makes a page, as a sentence, and what a trial is worth."""
    command = f"bnas reproduce {options.name}"
    for name in ("dataset", "seeds", "table"):
        value = getattr(options, name)
        command += "" if value is None else f" --{name} {value}"
    if options.quick:
        return f"`{command} --quick` makes this page and its figure: a trial, whose figures say nothing."
    return f"`{command}` makes this page and its figure."


def run(function, jobs, place, workers):
    """Run those of the jobs that have no result in the folder `place` yet; returns {key: result} of them all.

    Raises InputError if any fails.
    """
    run_jobs(function, jobs, place, workers, "processes")
    found = read_results(place, jobs)
    if len(found) < len(jobs):
        failures = read_failures(place)
        key = next(key for key in jobs if key not in found)
        error = failures[key]["error"]
        raise InputError(
            f"{len(jobs) - len(found)} of {len(jobs)} searches failed; {place / 'failures'} tells why, {key} for "
            f"instance with {error['type']}: {error['message']:.200}. Start again to try them again"
        )
    return {key: record["result"] for key, record in found.items()}


def listing(datasets, workers=None):
    """All experiments, with what each asks and about how long it takes."""
    lines = []
    for name in names():
        one = experiment(name)
        jobs = KINDS[one.kind].jobs(one, datasets)
        count = "1 search" if len(jobs) == 1 else f"{len(jobs)} searches"
        minutes = forecast(jobs, workers) / 60
        time = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{max(minutes, 1):.0f} min"
        lines += [f"{name:12} {one.question}", f"{'':12} {count}, about {time}"]
    lines.append("\nSearches that two experiments have in common run once, in one folder.")
    return "\n".join(lines)
