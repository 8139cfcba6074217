"""The experiments by name: what each asks, and the searches that it takes, from the files in `specs/`."""

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import tomllib

from bnas.config import SearchConfig
from bnas.errors import InputError

SPECS = Path(__file__).resolve().parent / "specs"
COMMON = "common"  # what all of them share
DATASETS = ("digits", "fashion")
QUICK = {"rounds": 1, "parent_epochs": 1, "child_epochs": 1, "samples": 20, "limit": 256}
QUICK_SEEDS = 2
# Seconds of a search on one core of the machine of docs/study.md, for the forecast.
SECONDS = {"digits": 30, "fashion": 90}


@dataclass(frozen=True)
class Experiment:
    """What an experiment asks, and how.

    Attributes:
        name: as `bnas reproduce` calls it.
        title, question: for people.
        kind: "searches", "ranking" or "optima": the module of bnas.study that knows how.
        runs: {name: settings}, the searches that are compared.
        reference: name of the run that the others are compared with; None if nothing is.
        seeds: how many seeds each has.
        simulated: names of the strategies that ask the table, and simulated_seeds, how many seeds they have.
    """

    name: str
    title: str
    question: str
    kind: str
    runs: dict
    reference: str | None
    seeds: int
    simulated: tuple = ()
    simulated_seeds: int = 0

    def settings(self, run, dataset, seed, quick=False):
        """The settings of a search: those of the run, on top of those that all searches share."""
        own = self.runs[run]
        common = _read(COMMON)
        settings = {
            "dataset": dataset,
            "seed": seed,
            **common["all"],
            **common[dataset],
            **common.get(own["strategy"], {}),
            **(QUICK if quick else {}),
            **own,
        }
        known = {f for f in asdict(SearchConfig())}
        if own["strategy"] != "shared":
            settings.pop("samples", None)
        if not settings.keys() <= known:
            odd = ", ".join(sorted(settings.keys() - known))
            raise InputError(f"the spec of {self.name} has settings that no search has: {odd}")
        return settings

    def jobs(self, datasets, seeds=None, quick=False):
        """{key: job} of all searches, seed by seed, so that what is there of a study begun is balanced.

        A job holds the settings that all share and those that differ from their defaults. What two experiments
        have in common is one job, under one key.
        """
        found = {}
        for dataset in datasets:
            for seed in range(self.seeds if seeds is None else seeds):
                for run in self.runs:
                    key, job = job_of(self.settings(run, dataset, seed, quick))
                    found[key] = job
        return found


def job_of(settings):
    """(key, job) of a search: the key tells the strategy, and what is set beside the common settings."""
    common = _read(COMMON)
    dataset, strategy, seed = (settings[name] for name in ("dataset", "strategy", "seed"))
    shared = common["all"] | common[dataset] | common.get(strategy, {})
    defaults = asdict(SearchConfig(strategy=strategy))
    job = {
        name: value
        for name, value in settings.items()
        if name in shared or name in ("dataset", "strategy", "seed") or value != defaults[name]
    }
    own = [
        f"{name}={value}"
        for name, value in sorted(job.items())
        if name not in ("dataset", "strategy", "seed") and shared.get(name, ()) != value
    ]
    return slug("-".join([dataset, strategy, *own, f"seed={seed}"])), job


def slug(text):
    """A text as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9_+=.,-]+", "-", text)


def names():
    """The names of all experiments, in order."""
    return ORDER


def experiment(name):
    """The Experiment of that name; InputError if there is none."""
    if name not in ORDER:
        raise InputError(f"there is no experiment {name!r:.60}; expected {', '.join(ORDER)}")
    spec = _read(name)
    shared = spec.get("settings", {})
    runs = {
        run["name"]: {**shared, **{k: v for k, v in run.items() if k != "name"}}
        for run in spec.get("runs", [])
    }
    simulated = spec.get("simulated", {})
    return Experiment(
        name,
        spec["title"],
        spec["question"],
        spec.get("kind", "searches"),
        runs,
        spec.get("reference"),
        spec["seeds"],
        tuple(simulated.get("strategies", ())),
        simulated.get("seeds", 0),
    )


ORDER = (
    "strategies",
    "losses",
    "distances",
    "lambda-mu",
    "decoupling",
    "curvature",
    "tangent",
)


def forecast(chosen, datasets=DATASETS, workers=None):
    """About how many seconds an experiment takes on so many workers, each with a core of its own."""
    workers = workers or os.cpu_count() or 1
    jobs = chosen.jobs(datasets).values()
    return sum(SECONDS[job["dataset"]] for job in jobs) / workers


def _read(name):
    with open(SPECS / f"{name}.toml", "rb") as file:
        return tomllib.load(file)
