"""What runs on a worker: one search, from its settings to what it answered after every epoch."""

from functools import cache

from bnas.config import SearchConfig
from bnas.data import load_dataset
from bnas.runs.jobs import run_in_memory
from bnas.search.strategies import new_search
from bnas.space import parse_genotype
from bnas.tabular import architectures, canonical

KEPT = (  # of a history record; the rest would fill the disk, or is on none
    "phase",
    "round",
    "genotype",
    "seconds",
    "gradient_steps",
    "images_seen",
    "loss",
    "train_accuracy",
    "validation_accuracy",
    "angle",
    "distance",
    "entropy",
    "max_alpha",
)


def search(job):
    """A search without a run folder.

    Args:
        job: settings of SearchConfig, a dict; the others are at their defaults. The space is that of the table.

    Returns:
        {"epochs": [records], "architecture": number in the table of what was found, "genotype": its text}. A
        record has the keys in KEPT; "architecture", the number of the genotype that the search would have answered
        with then, None as long as it has no answer; and "alpha", the rows of the normal cell, or None.
    """
    config = SearchConfig(**job)
    search = new_search(config, load_dataset(config.dataset, config.data_dir, config.limit))
    epochs = [record_of(record) for record in run_in_memory(search)]
    return {
        "epochs": epochs,
        "architecture": epochs[-1]["architecture"],
        "genotype": epochs[-1]["genotype"],
    }


def record_of(record):
    """What the study keeps of a history record."""
    alpha, genotype = record.get("alpha"), record["genotype"]
    return {
        **{name: record.get(name) for name in KEPT},
        "architecture": None if genotype is None else number_of(parse_genotype(genotype)),
        "alpha": None if alpha is None else [list(row) for row in alpha[0]],
    }


def number_of(genotype):
    """The number of a genotype's architecture in the table."""
    return _numbers()[canonical(genotype)]


@cache
def _numbers():
    return {genotype: number for number, genotype in enumerate(architectures())}
