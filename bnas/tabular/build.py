"""Building the table: train every architecture, measure what it costs, check, and write it all to files."""

import platform
from pathlib import Path

import numpy as np

from bnas.config import PRECISIONS
from bnas.data import load_dataset
from bnas.errors import InputError
from bnas.sweeps import read_failures, read_results, run_jobs
from bnas.tabular import files
from bnas.tabular.costs import cost_entries, measure
from bnas.tabular.entries import SEEDS, SETTINGS, entries, train_entry
from bnas.tabular.space import OPERATIONS, architectures

CHECKED = 4  # trainings of each data set that are done once more
CURVES = "loss", "validation", "test"


def build(
    folder,
    out,
    datasets,
    operations=OPERATIONS,
    settings=SETTINGS,
    workers=None,
    scheduler=None,
):
    """Build the table of `datasets`, going on with what is in `folder`.

    Args:
        folder: where each training has its file; the trainings that are missing are done.
        out: where the table is written.
        datasets: names, of `settings`.
        operations: that the edges of an architecture choose from.
        settings: {name of a data set: settings of its trainings}, of bnas.config.TrainConfig.
        workers, scheduler: as of `bnas.sweeps.run_jobs`, for the trainings. Costs are measured in this process.

    Raises InputError for trainings that fail, and for a training that differs from itself when it is done again.
    """
    arrays, versions, hosts = {}, set(), set()
    for dataset in datasets:
        own = operations, settings[dataset]
        trainings, costs = entries(dataset, *own), cost_entries(dataset, *own)
        _finish(train_entry, trainings, folder, workers=workers, scheduler=scheduler)
        _finish(measure, costs, folder, workers=0)
        found = read_results(folder, trainings | costs)
        results = {key: record["result"] for key, record in found.items()}
        arrays[dataset] = assemble(dataset, len(architectures(operations)), results)
        _repeat(trainings, results)
        versions |= {tuple(record["versions"].items()) for record in found.values()}
        hosts |= {record["host"] for record in found.values()}
    provenance = {
        "settings": {dataset: settings[dataset] for dataset in datasets},
        "seeds": SEEDS,
        "versions": [dict(one) for one in sorted(versions)],
        "hosts": len(hosts),
        "machine": f"{platform.machine()}, {_processor()}",
    }
    files.write(out, operations, arrays, provenance)


def assemble(dataset, count, results):
    """{array name: array} of a data set, as bnas/tabular/files.py tells, from {key: result} of all its entries.

    count: how many architectures there are.
    """
    splits = load_dataset(dataset).splits
    arrays = {f"{name}_images": np.int64(len(splits[name])) for name in ("validation", "test")}
    for precision in PRECISIONS:
        rows = [
            [results[f"{dataset}-{number:03}-{precision}-{seed}"] for seed in SEEDS[precision]]
            for number in range(count)
        ]
        for name in CURVES:
            kind = np.float32 if name == "loss" else np.uint16
            curves = [[training[name] for training in row] for row in rows]
            arrays[f"{precision}_{name}"] = np.array(curves, kind)
        seconds = [[training["seconds"] for training in row] for row in rows]
        arrays[f"{precision}_seconds"] = np.array(seconds, np.float32)
    costs = [results[f"{dataset}-{number:03}-costs"] for number in range(count)]
    for name in files.COSTS:
        kind = np.float32 if name == "packed_latency" else np.int64
        arrays[name] = np.array([cost[name] for cost in costs], kind)
    return arrays


def _finish(function, jobs, folder, **where):
    counts = run_jobs(function, jobs, folder, **where)
    if counts.failed:
        failures = read_failures(folder)
        key = next(key for key in failures if key in jobs)
        error = failures[key]["error"]
        raise InputError(
            f"{counts.failed} of {len(jobs)} failed, {key} with {error['type']}: {error['message']}; all of it is "
            f"in {Path(folder) / 'failures'}. The same command tries them again, and keeps the others"
        )


def _repeat(trainings, results):
    """Train a few entries again; InputError where one is another training than before."""
    keys = np.random.default_rng(0).choice(list(trainings), CHECKED, replace=False)
    for key in keys.tolist():
        again, before = train_entry(trainings[key]), results[key]
        different = [name for name in CURVES if again[name] != before[name]]
        if different:
            raise InputError(
                f"{key}, trained once more, has other values of {', '.join(different)}: it was trained by "
                "another version of bnas or NumPy, or on a processor that rounds otherwise; build in a new folder"
            )


def _processor():
    """The name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
