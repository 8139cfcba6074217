"""What a job of a sweep does: a whole search, or a whole training, in memory."""

import sys
from dataclasses import fields

from bnas import nn
from bnas.config import SearchConfig, TrainConfig, reads
from bnas.data import load_dataset
from bnas.errors import InputError
from bnas.evaluation import accuracy
from bnas.runs.jobs import run_in_memory
from bnas.search.strategies import new_search
from bnas.space import format_genotype
from bnas.train import Training

INHERITED = ("dataset", "data_dir", "limit", "seed")  # by a training, from its search


def search(job):
    """Search, then train what was found if the job says so.

    Args:
        job: the fields of a SearchConfig, and "train": those of a TrainConfig, but for `INHERITED` and
            "genotype", or None.

    Returns:
        {"genotype": its text, "history": the records of all epochs, "validation_accuracy": the last one in them,
        or None, "training": what `train` gives, or None}.
    """
    settings = dict(job)
    training = settings.pop("train")
    config = SearchConfig(**settings)
    searching = new_search(config, load_dataset(config.dataset, config.data_dir, config.limit))
    history = run_in_memory(searching)
    found = searching.genotype()
    if found is None:
        raise InputError(
            f"{config.strategy} has ended without a genotype: its method genotype() must return one after "
            "the last epoch"
        )
    genotype = format_genotype(found)
    if training is not None:
        inherited = {name: settings[name] for name in INHERITED}
        training = train({**training, **inherited, "genotype": genotype})
    shares = [r["validation_accuracy"] for r in history if r["validation_accuracy"] is not None]
    return {
        "genotype": genotype,
        "history": history,
        "validation_accuracy": shares[-1] if shares else None,
        "training": training,
    }


def train(job):
    """Train a network from scratch.

    Args:
        job: the fields of a TrainConfig.

    Returns:
        {"history": the records of all epochs, "test_accuracy", "validation_accuracy": after the last epoch, or
        None where those images were trained on, "parameters", "bits"}.
    """
    config = TrainConfig(**job)
    dataset = load_dataset(config.dataset, config.data_dir, config.limit)
    training = Training(config, dataset)
    history = run_in_memory(training)
    return {
        "history": history,
        "test_accuracy": accuracy(training.network, dataset.test),
        "validation_accuracy": history[-1].get("validation_accuracy"),
        "parameters": nn.parameter_count(training.network),
        "bits": nn.size_in_bits(training.network),
    }


# What makes a job short, and lets it compile all the same.
SHORT = {
    "rounds": 1,
    "parent_epochs": 1,
    "child_epochs": 1,
    "supernet_epochs": 1,
    "individuals": 2,
    "individual_epochs": 1,
    "population": 1,
    "tournament": 1,
    "samples": 1,
    "samplings": 1,
    "epochs": 2,
}
STEPS = 4  # batches of an epoch, of a short job


def warm_up(jobs):
    """Short jobs that compile what the jobs, a list of dicts, need: one for each choice of settings.

    Settings that are numbers are no choice, as machine code is the same for all of them.
    """
    short = {}
    for job in jobs:
        tiny = _shortened(job)
        if job.get("train"):
            tiny["train"] = _shortened(job["train"])
        short.setdefault(repr(_choices(tiny)), tiny)
    return list(short.values())


def _shortened(job):
    known = {f.name: f for f in fields(SearchConfig)}
    strategy = job.get("strategy", SearchConfig.strategy)
    tiny = dict(job)
    for name in SHORT.keys() & job.keys():
        if name == "epochs" or reads(strategy, known[name]):
            tiny[name] = SHORT[name]
    if "limit" in job:
        tiny["limit"] = min(STEPS * job["batch_size"], job["limit"] or sys.maxsize)
    return tiny


def _choices(job):
    """The settings of a job that are texts or truth values."""
    found = {}
    for name, value in job.items():
        if isinstance(value, dict):
            found[name] = _choices(value)
        elif isinstance(value, (str, bool)) and name not in ("genotype", "data_dir"):
            found[name] = value
    return found
