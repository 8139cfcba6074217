"""Why a search finds what it finds: how its supernets rank architectures, by shared weights and by α.

A fixed sample of the table's architectures is judged with the weights that the supernet shares among them, on the
validation images, at the end of each phase. Nothing of that flows back into the search.
"""

from itertools import accumulate

import numpy as np

from bnas.comparison import bootstrap_interval
from bnas.config import SearchConfig
from bnas.data import load_dataset
from bnas.runs.jobs import Silent
from bnas.search.paths import restricted_accuracy
from bnas.search.strategies import new_search
from bnas.search.strategy import Cost
from bnas.space.alpha import genotype_mask, mixing_weights
from bnas.space.genotype import discretise
from bnas.space.operations import WEIGHTLESS
from bnas.study.jobs import number_of
from bnas.study.words import share, table
from bnas.tabular import architectures, ndcg, rank_correlation

SAMPLE = 60  # architectures that are ranked
QUICK_SAMPLE = 8
MEASURES = ("tau_weights", "ndcg_weights", "tau_alpha", "ndcg_alpha")
ACCURACIES = ("supernet", "path", "alone")


def jobs(experiment, datasets, seeds=None, quick=False):
    """{key: job} of all searches: what `Experiment.jobs` gives, with "architectures" and "at"."""
    size, found = QUICK_SAMPLE if quick else SAMPLE, {}
    drawn = np.random.default_rng(0).choice(len(architectures()), size, replace=False)
    for key, job in experiment.jobs(datasets, seeds, quick).items():
        phases = job["rounds"] * [job["parent_epochs"], job["child_epochs"]]
        found[key] = {
            **job,
            "architectures": sorted(drawn.tolist()),
            "at": list(accumulate(phases)),
        }
    return found


def measure(job):
    """A search, and how its supernet ranks the architectures `job["architectures"]` after the epochs `job["at"]`.

    The rest of the job are settings of SearchConfig. Returns {"measured": [records]}, a record with the "epoch",
    from 1, its "phase", and of the supernet that learnt in it: "weights", the validation accuracy of each
    architecture with the shared weights; "alpha", Σ ln softmax(α) over its operations, or None where α has not
    learnt; "supernet", the accuracy of all candidates together; "path" and "architecture", that of its discretised
    α alone and its number, or of the answer where there is no α.
    """
    settings = {k: v for k, v in job.items() if k not in ("architectures", "at")}
    config = SearchConfig(**settings)
    search = new_search(config, load_dataset(config.dataset, config.data_dir, config.limit))
    genotypes = [architectures()[number] for number in job["architectures"]]
    measured = []
    for epoch in range(1, search.epochs + 1):
        record = search.run_epoch(epoch - 1, Silent())
        if epoch in job["at"]:
            measured.append({"epoch": epoch, **_measured(search, record, genotypes)})
    return {"measured": measured}


def _measured(search, record, genotypes):
    supernet, validation = search.phase.supernet, search.dataset.validation
    names = search.config.operation_names
    masks = [genotype_mask(genotype, names)[: len(supernet.alpha)] for genotype in genotypes]

    def accuracy(mask):
        return restricted_accuracy(supernet, mask, validation, Cost())

    learnt = record["alpha"] is not None
    answer = search.genotype()
    if learnt:
        answer = discretise(np.float64(supernet.alpha.data), names)
        logs = np.log(mixing_weights(supernet.alpha.data))
    path = None if answer is None else genotype_mask(answer, names)[: len(supernet.alpha)]
    return {
        "phase": record["phase"],
        "weights": [accuracy(mask) for mask in masks],
        "alpha": [float(logs[mask].sum()) for mask in masks] if learnt else None,
        "supernet": record["validation_accuracy"] if learnt else None,
        "path": None if path is None else accuracy(path),
        "architecture": None if answer is None else number_of(answer),
    }


def analyse(experiment, table, results, datasets, seeds=None, quick=False):
    """All figures: {"experiment", "datasets": {name: {run: [of each measured epoch a dict]}}}.

    Of an epoch: "epoch", "phase", and lists with an entry for each seed, of which some are None: MEASURES
    (Kendall's τ and NDCG of the table's test accuracies, by shared weights and by α), ACCURACIES on validation
    images ("alone": of the architecture trained by itself), and "weightless", of the four operations.
    """
    found = {}
    count = experiment.seeds if seeds is None else seeds
    sample = next(iter(jobs(experiment, datasets, seeds, quick).values()))["architectures"]
    for dataset in datasets:
        values = table.accuracies(dataset, "test").mean(axis=1)
        alone = table.accuracies(dataset, "validation").mean(axis=1)
        found[dataset] = {}
        for run in experiment.runs:
            measured = [
                results[experiment.key(run, dataset, seed, quick)]["measured"]
                for seed in range(count)
            ]
            found[dataset][run] = [
                _epoch(table, values, alone, sample, records) for records in zip(*measured)
            ]
    return {"experiment": experiment.name, "architectures": len(sample), "datasets": found}


def _epoch(table, values, alone, sample, records):
    """What the seeds' records of one epoch say."""
    numbers = [record["architecture"] for record in records]
    cells = [None if number is None else table.arch(number).normal for number in numbers]
    told = {name: [record[name] for record in records] for name in ("supernet", "path")}
    told["alone"] = [None if number is None else float(alone[number]) for number in numbers]
    told["weightless"] = [
        None if cell is None else sum(name in WEIGHTLESS for name, _ in cell) for cell in cells
    ]
    for name in ("weights", "alpha"):
        told[f"tau_{name}"] = [_or_none(rank_correlation, r[name], values[sample]) for r in records]
        told[f"ndcg_{name}"] = [_or_none(ndcg, r[name], values[sample]) for r in records]
    return {"epoch": records[0]["epoch"], "phase": records[0]["phase"], **told}


def _or_none(measure, scores, values):
    """A measure of a ranking, or None where there is none, or all scores are equal."""
    if scores is None:
        return None
    value = measure(scores, values)
    return None if np.isnan(value) else value


_NOTE = """\
{} architectures of the table are ranked at the end of each phase: by their validation accuracy with the weights of
the supernet, and by Σ ln softmax(α) over their operations. τ is Kendall's rank correlation of that with their mean
test accuracy in the table, NDCG as in AceNAS; means over the seeds, with 95 % bootstrap intervals. The accuracies
of the second table are on validation images, those of an architecture trained alone from the table."""


def page(experiment, figures):
    """The page of the experiment, Markdown."""
    lines = [f"# {experiment.title}", "", experiment.question, ""]
    for dataset, runs in figures["datasets"].items():
        rows = []
        for run, epochs in runs.items():
            for one in epochs:
                rows.append([run, one["epoch"], one["phase"]])
                rows[-1] += [_mean_interval(one[name]) for name in MEASURES]
        head = [
            "search",
            "epoch",
            "supernet",
            "τ by weights",
            "NDCG by weights",
            "τ by α",
            "NDCG by α",
        ]
        lines += [f"## {dataset}", "", *table(head, rows), ""]
        rows = [
            [
                run,
                one["epoch"],
                one["phase"],
                *(_mean(one[name], share) for name in ACCURACIES),
                _mean(one["weightless"], "{:.1f}".format),
            ]
            for run, epochs in runs.items()
            for one in epochs
        ]
        head = ["search", "epoch", "supernet", "all candidates", "its path, shared weights"]
        head += ["that architecture trained alone", "skips and poolings, of 4"]
        lines += [*table(head, rows), ""]
    lines.append(_NOTE.format(figures["architectures"]))
    return "\n".join(lines) + "\n"


def _mean_interval(values):
    values = np.array([value for value in values if value is not None])
    if not len(values):
        return "-"
    low, high = bootstrap_interval(values)
    between = "" if low is None else f" ({low:.2f} to {high:.2f})"
    return f"{values.mean():.2f}{between}"


def _mean(values, form):
    values = [value for value in values if value is not None]
    return form(float(np.mean(values))) if values else "-"
