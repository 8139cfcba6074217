"""The experiments by name: what each asks, and the searches that it takes, from the files in `specs/`.

A file, of ours or of the user's own:

title, question = "...", "..."  # for people
reference = "one"               # the run that the others are compared with, if any
seeds = 10                      # of each run

[settings]                      # of every run, on top of those of specs/common.toml
strategy = "dcp"

[[runs]]                        # each a search with settings of its own
name = "one"
lam = 0.0

[simulated]                     # strategies that ask the table, if any; 20 seeds each
strategies = ["random"]
seeds = 20
"""

import re
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

from bnas.config import SearchConfig, reads
from bnas.errors import InputError
from bnas.runs.files import read_toml
from bnas.sweeps.pools import cores
from bnas.tabular import OPERATIONS
from bnas.tabular.simulate import STRATEGIES

SPECS = Path(__file__).resolve().parent / "specs"
COMMON = "common"  # what all of them share
KINDS = ("searches", "ranking", "optima")  # the modules of bnas.study that know how
DATASETS = ("digits", "fashion")
PARTS = ("title", "question", "kind", "reference", "seeds", "settings", "runs", "simulated")
FIXED = {"dataset", "seed", "nodes", "tied_cells"}  # by the experiment and its table
# The strategies that have what an experiment of a kind looks at.
LOOKED_INTO = {"ranking": ("dcp", "bnas", "darts", "shared"), "optima": ("dcp",)}
QUICK = {"rounds": 1, "parent_epochs": 1, "child_epochs": 1, "samples": 20, "limit": 256}
QUICK_SEEDS = 2
# Seconds of a search on one core of the machine of docs/study.md, for the forecast.
SECONDS = {"digits": 18, "fashion": 45}


@dataclass(frozen=True)
class Experiment:
    """What an experiment asks, and how.

    Attributes:
        name: as its files are called.
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
        """The settings of a search: those of the run, on top of what all share of those it reads.

        Raises InputError for a run that is no search.
        """
        own = self.runs[run]
        if not isinstance(own["strategy"], str):
            raise InputError(f"run {run}: strategy must be a name, got {own['strategy']!r:.60}")
        fixed = sorted(own.keys() & FIXED)
        if fixed:
            raise InputError(f"run {run}: {fixed[0]} is not for a run to choose; leave it out")
        common = _read(COMMON)
        shared = {
            **common["all"],
            **common[dataset],
            **common.get(own["strategy"], {}),
            **(QUICK if quick else {}),
        }
        read = {f.name for f in fields(SearchConfig) if reads(own["strategy"], f)}
        settings = {
            "dataset": dataset,
            "seed": seed,
            **{name: value for name, value in shared.items() if name in read},
            **own,
        }
        odd = sorted(settings.keys() - _defaults().keys())
        if odd:
            raise InputError(f"run {run}: no search has a setting {odd[0]!r}")
        try:
            config = SearchConfig(**settings)
        except InputError as error:
            raise InputError(f"run {run}: {error}") from error
        other = sorted({*config.operation_names} - {*OPERATIONS, "none"})
        if other:
            raise InputError(
                f"run {run}: no architecture of the table has the operation {other[0]}; expected "
                f"{', '.join(OPERATIONS)}"
            )
        return settings

    def key(self, run, dataset, seed, quick=False):
        """The key of the job of a search."""
        return job_of(self.settings(run, dataset, seed, quick))[0]

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
    defaults = _defaults()
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
    """The Experiment of that name, or of a file of one's own, FILE.toml.

    Raises InputError if there is none, or for a file that does not hold one.
    """
    own = name.endswith(".toml")
    if not own and name not in ORDER:
        raise InputError(
            f"there is no experiment {name!r:.60}; expected {', '.join(ORDER)}, or a file of your own, FILE.toml"
        )
    spec = read_toml(name, "give the TOML file of an experiment") if own else _read(name)
    try:
        return _experiment(Path(name).stem, spec)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _experiment(name, spec):
    odd = sorted(spec.keys() - set(PARTS))
    if odd:
        raise InputError(f"{odd[0]!r} is no part of an experiment; expected {', '.join(PARTS)}")
    listed, shared = spec.get("runs"), spec.get("settings", {})
    good = isinstance(listed, list) and listed and all(isinstance(run, dict) for run in listed)
    if not good or not isinstance(shared, dict):
        raise InputError("expected [[runs]], each with a name, and at most one [settings]")
    runs = {}
    for run in listed:
        called = run.get("name")
        if not isinstance(called, str) or not called or called in runs:
            raise InputError(f"each of the runs needs a name of its own, got {called!r:.60}")
        runs[called] = {
            "strategy": "dcp",
            **shared,
            **{k: v for k, v in run.items() if k != "name"},
        }
    reference, seeds = spec.get("reference"), spec.get("seeds", 10)
    if reference is not None and reference not in runs:
        raise InputError(f"the reference {reference!r:.60} is none of the runs {', '.join(runs)}")
    if type(seeds) is not int or seeds < 1:
        raise InputError(f"seeds must be how many, a whole number from 1 up, got {seeds!r:.60}")
    kind = spec.get("kind", KINDS[0])
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r:.60}")
    able = LOOKED_INTO.get(kind)
    unable = [run for run, own in runs.items() if able and own["strategy"] not in able]
    if unable:
        raise InputError(f"run {unable[0]}: kind {kind} looks into {', '.join(able)} alone")
    if kind == "optima" and len(runs) > 1:
        raise InputError(f"kind optima takes one run, got {len(runs)}")
    asking, asking_seeds = _simulated(spec.get("simulated", {}))
    return Experiment(
        name,
        str(spec.get("title", name)),
        str(spec.get("question", "")),
        kind,
        runs,
        reference,
        seeds,
        asking,
        asking_seeds,
    )


def _simulated(given):
    """(strategies, seeds) of the part [simulated]."""
    if not isinstance(given, dict) or given.keys() - {"strategies", "seeds"}:
        raise InputError(f"[simulated] takes strategies and seeds, got {given!r:.60}")
    strategies, seeds = given.get("strategies", []), given.get("seeds", 20)
    if not isinstance(strategies, list) or not all(name in list(STRATEGIES) for name in strategies):
        raise InputError(
            f"[simulated] takes strategies, a list of {', '.join(STRATEGIES)}; got {strategies!r:.60}"
        )
    if type(seeds) is not int or seeds < 1:
        raise InputError(
            f"seeds in [simulated] must be a whole number from 1 up, got {seeds!r:.60}"
        )
    return tuple(strategies), seeds


ORDER = (
    "strategies",
    "losses",
    "distances",
    "lambda-mu",
    "decoupling",
    "curvature",
    "tangent",
    "ranking",
    "optima",
)


def forecast(jobs, workers=None):
    """About how many seconds jobs take on so many workers (one a core), each with a core of its own."""
    workers = cores() if workers is None else max(workers, 1)
    return sum(SECONDS[job["dataset"]] for job in jobs.values()) / workers


@cache
def _defaults():
    return asdict(SearchConfig())


@cache
def _read(name):
    return read_toml(SPECS / f"{name}.toml", "reinstall bnas")
