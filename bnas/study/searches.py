"""Experiments that compare searches: what they found, looked up in the table when all is done.

An architecture is chosen by what the search says. Its test accuracy, a mean over the seeds of the table, has no
part in any choice.
"""

import numpy as np

from bnas.config import TrainConfig
from bnas.data import load_dataset
from bnas.errors import InputError
from bnas.space.operations import WEIGHTLESS
from bnas.study.statistics import (
    anytime,
    compare_paired,
    improvement,
    percentile_rank,
    regret,
)
from bnas.tabular.statistics import distinguishable, variance_components

POINTS = 200  # of the grid of an anytime curve
AVERAGE = "random architecture"  # the run that searches for nothing


def jobs(experiment, datasets, seeds=None, quick=False):
    """{key: job} of all searches."""
    return experiment.jobs(datasets, seeds, quick)


def analyse(experiment, table, results, datasets, seeds=None, quick=False):
    """All figures of an experiment, a dict that JSON can hold.

    Args:
        experiment: Experiment; table: bnas.tabular.Table.
        results: {key: result} of its jobs, all of them.
        datasets: names, each in the table; seeds: how many of the experiment's, all if None.
        quick: whether the jobs were those of a trial.

    Returns:
        {"experiment", "reference", "datasets": {name: {"optimum", "random", "deviation", "told_apart",
        "budget_seconds", "runs": {run: ...}, "anytime": {axis: ...}}}, "comparisons": {name: {run: ...}}}.
        Accuracies are shares. The comparisons of all data sets are one family of tests.
    """
    count = experiment.seeds if seeds is None else seeds
    found = {}
    for dataset in datasets:
        accuracies = table.accuracies(dataset, "test")
        values = accuracies.mean(axis=1)
        curves = {
            run: [
                search_curves(results[experiment.key(run, dataset, seed, quick)])
                for seed in range(count)
            ]
            for run in experiment.runs
        }
        budget = float(np.median([one["seconds"][-1] for run in curves.values() for one in run]))
        if experiment.simulated:
            curves |= simulated_curves(experiment, table, dataset, budget, count)
        found[dataset] = {
            "optimum": float(values.max()),
            "random": float(values.mean()),
            "deviation": float(values.std(ddof=1)),
            "told_apart": told_apart(accuracies),
            "budget_seconds": budget,
            "runs": {run: summary(table, values, searches) for run, searches in curves.items()},
            "anytime": {
                axis: anytime_curves(values, curves, axis) for axis in ("seconds", "gradient_steps")
            },
        }
    return {
        "experiment": experiment.name,
        "reference": experiment.reference,
        "datasets": found,
        "comparisons": comparisons(experiment.reference, found),
    }


def told_apart(accuracies):
    """The least difference of two values that is more than the noise between seeds; None for one seed."""
    seeds = accuracies.shape[1]
    return distinguishable(variance_components(accuracies).within, seeds) if seeds > 1 else None


def search_curves(result):
    """Cumulative cost of a search and what it would have answered with, from the result of its job."""
    epochs = result["epochs"]
    return {
        "seconds": np.cumsum([record["seconds"] for record in epochs]),
        "gradient_steps": np.cumsum([record["gradient_steps"] for record in epochs]),
        "architectures": [record["architecture"] for record in epochs],
    }


def simulated_curves(experiment, table, dataset, budget, seeds):
    """The same of strategies that ask the table, and of architectures that are drawn, {run: [curves]}.

    budget: seconds; one training is allowed in any case.
    """
    steps = training_steps(table, dataset)
    budget = max(budget, float(table.datasets[dataset]["binary_seconds"].max()))
    count = max(experiment.simulated_seeds, seeds)
    found = {}
    for strategy in experiment.simulated:
        found[f"{strategy} (table)"] = []
        for seed in range(count):
            went = table.simulate(strategy, budget, dataset, seed)
            found[f"{strategy} (table)"].append(
                {
                    "seconds": went.seconds,
                    "gradient_steps": steps * np.arange(1, len(went) + 1),
                    "architectures": went.incumbents.tolist(),
                }
            )
    found[AVERAGE] = [
        {
            "seconds": np.zeros(1),
            "gradient_steps": np.zeros(1, int),
            "architectures": [int(np.random.default_rng((seed, 1)).integers(len(table)))],
        }
        for seed in range(count)
    ]
    return found


def training_steps(table, dataset):
    """Gradient steps of one training of the table."""
    images = len(load_dataset(dataset).train)
    settings = table.provenance["settings"].get(dataset, {})
    batch = settings.get("batch_size", TrainConfig.batch_size)
    return table.epochs(dataset) * max(images // batch, 1)


def summary(table, values, searches):
    """What the searches of a run found, with one entry for each seed, and what they cost."""
    found = [curves["architectures"][-1] for curves in searches]
    if None in found:
        raise InputError(f"the search with seed {found.index(None)} ended without an answer")
    found = np.array(found)
    cells = [table.arch(number).normal for number in found.tolist()]
    return {
        "architectures": found.tolist(),
        "test_accuracy": values[found].tolist(),
        "regret": regret(values, found).tolist(),
        "percentile": percentile_rank(values, found).tolist(),
        "improvement": improvement(values, found).tolist(),
        "weightless": [sum(name in WEIGHTLESS for name, _ in cell) for cell in cells],
        "seconds": [float(curves["seconds"][-1]) for curves in searches],
        "gradient_steps": [int(curves["gradient_steps"][-1]) for curves in searches],
    }


def anytime_curves(values, curves, axis):
    """Quartiles and median of the regret over the seeds, on a grid of seconds or of gradient steps.

    Returns {"grid": [...], "runs": {run: [lower quartile, median, upper quartile]}}, each a list with None where a
    seed has no answer yet. The grid ends where the last search does.
    """
    last = max(float(one[axis][-1]) for run in curves.values() for one in run)
    grid = np.linspace(0, last, POINTS)
    found = {}
    for run, searches in curves.items():
        regrets = [(one[axis], regret_or_nan(values, one["architectures"])) for one in searches]
        rows = anytime(regrets, grid)
        found[run] = [[None if np.isnan(v) else float(v) for v in row] for row in rows]
    return {"grid": grid.tolist(), "runs": found}


def regret_or_nan(values, architectures):
    """The regret of each architecture; NaN where there is none yet."""
    known = [0 if number is None else number for number in architectures]
    missing = np.array([number is None for number in architectures])
    return np.where(missing, np.nan, regret(values, known))


def comparisons(reference, found):
    """Every run of every data set against the reference, by test accuracy, as one family; {dataset: {run: ...}}.

    The pairs are those of the seeds that both have, from 0.
    """
    if reference is None:
        return {}
    differences = {}
    for dataset, figures in found.items():
        runs = figures["runs"]
        own = np.array(runs[reference]["test_accuracy"])
        for run, one in runs.items():
            if run != reference:
                pairs = min(len(own), len(one["test_accuracy"]))
                differences[dataset, run] = np.array(one["test_accuracy"][:pairs]) - own[:pairs]
    told = {dataset: {} for dataset in found}
    for (dataset, run), paired in compare_paired(differences).items():
        told[dataset][run] = {**paired._asdict(), "verdict": paired.verdict}
    return told
