"""What `bnas reproduce` does, with the options that bnas.options has read."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bnas.errors import InputError
from bnas.plots import draw_study, optima_figure, ranking_figure, study_figure
from bnas.runs import atomic_write, explain
from bnas.runs.files import to_json
from bnas.study import optima, ranking, report, searches
from bnas.study.experiments import DATASETS, QUICK_SEEDS, experiment, forecast, names
from bnas.study.jobs import search
from bnas.sweeps import read_failures, read_results, run_jobs
from bnas.tabular import load


class Kind(NamedTuple):
    """How experiments of a kind are carried out.

    Attributes:
        function: of a job.
        folder: of its results.
        jobs, analyse: functions as in `bnas.study.searches`.
        page: the function that tells in Markdown what was found; figure: the one that draws it.
    """

    function: Callable
    folder: str
    jobs: Callable
    analyse: Callable
    page: Callable
    figure: Callable


KINDS = {
    "searches": Kind(
        search, "searches", searches.jobs, searches.analyse, report.page, study_figure
    ),
    "ranking": Kind(
        ranking.measure, "ranking", ranking.jobs, ranking.analyse, ranking.page, ranking_figure
    ),
    "optima": Kind(
        optima.measure, "optima", optima.jobs, optima.analyse, optima.page, optima_figure
    ),
}


def reproduce(options):
    """Carry out an experiment; without a name, list them all."""
    if options.name is None:
        print(listing(options.workers))
        return
    chosen = experiment(options.name)
    datasets = DATASETS if options.dataset == "both" else (options.dataset,)
    seeds = options.seeds or (QUICK_SEEDS if options.quick else None)
    table = load(options.table)
    for dataset in datasets:
        table.seeds(dataset)  # refuses one that is not there
    kind = KINDS[chosen.kind]
    jobs = kind.jobs(chosen, datasets, seeds, options.quick)
    folder = Path(options.out)
    with explain("make the folder", folder, "choose one that can be written"):
        folder.mkdir(parents=True, exist_ok=True)
    results = run(kind.function, jobs, folder / kind.folder, options.workers)
    figures = kind.analyse(chosen, table, results, datasets, seeds, options.quick)
    page = kind.page(chosen, figures)
    atomic_write(folder / f"{chosen.name}.json", to_json(figures, "the figures") + "\n")
    atomic_write(folder / f"{chosen.name}.md", page)
    draw_study(kind.figure(figures), folder / f"{chosen.name}.png")
    print(page)
    for suffix in ("md", "png", "json"):
        print(folder / f"{chosen.name}.{suffix}")


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


def listing(workers=None):
    """All experiments, with what each asks and about how long it takes."""
    lines = []
    for name in names():
        one = experiment(name)
        hours = forecast(one, workers=workers) / 3600
        count = len(KINDS[one.kind].jobs(one, DATASETS))
        lines += [f"{name:12} {one.question}", f"{'':12} {count} searches, about {hours:.1f} hours"]
    lines.append("\nSearches that two experiments have in common run once, in one folder.")
    return "\n".join(lines)
