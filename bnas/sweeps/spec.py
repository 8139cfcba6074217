"""What a sweep is told: a TOML file, or the same as a dict.

kind = "search"             # or "train"
seeds = 10                  # 0 to 9; or a list: [3, 4, 5]

[settings]                  # of every run
channels = 8

[grid]                      # every combination of these
strategy = ["dcp", "darts"]
alpha_lr = [0.01, 0.02]

[[runs]]                    # or, instead of the grid, each by itself
name = "random"
strategy = "random"

[train]                     # kind search: train what each has found, with these settings
epochs = 20
"""

import difflib
import itertools
import re
from dataclasses import asdict, dataclass, fields

from bnas.config import SearchConfig, TrainConfig
from bnas.contents import named_genotype
from bnas.errors import InputError
from bnas.runs.files import read_toml
from bnas.search.strategies import strategy_named
from bnas.space import format_genotype, parse_genotype
from bnas.sweeps.jobs import INHERITED

KINDS = {"search": SearchConfig, "train": TrainConfig}
PARTS = ("kind", "seeds", "settings", "grid", "runs", "train")
LONGEST = 100  # characters of a configuration's name


@dataclass(frozen=True)
class Spec:
    """A sweep, checked.

    Attributes:
        kind: "search" or "train".
        seeds: whole numbers, a tuple.
        configurations: {name: {seed: the job, a dict}}.
    """

    kind: str
    seeds: tuple
    configurations: dict

    @property
    def jobs(self):
        """{key: the job}, seed by seed, so that all configurations are there after the first."""
        return {
            key_of(name, seed): jobs[seed]
            for seed in self.seeds
            for name, jobs in self.configurations.items()
        }


def key_of(name, seed):
    """The key of a job: what its file is called."""
    return f"{name}-seed{seed}"


def read_spec(source):
    """The Spec of a TOML file, or of a dict that holds the same; InputError says what is wrong with it."""
    if isinstance(source, dict):
        return _spec(source)
    spec = read_toml(source, "give the TOML file of a sweep")
    try:
        return _spec(spec)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _spec(source):
    _refuse_unknown(source, PARTS, "a part of a sweep")
    kind = source.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f'kind must be "search" or "train", got {kind!r:.60}')
    seeds = _seeds(source.get("seeds", 1))
    known = [f.name for f in fields(KINDS[kind]) if f.name != "seed"]
    common = _table(source, "settings", known)
    if "grid" in source and "runs" in source:
        raise InputError("expected [grid] or [[runs]], got both")
    if "runs" in source:
        chosen = _listed(source["runs"], known)
    else:
        chosen = _product(_table(source, "grid", known))
    training = _training(source, kind)
    configurations = {}
    for name, own in chosen.items():
        twice = sorted(common.keys() & own.keys())
        if "grid" in source and twice:
            raise InputError(
                f"{twice[0]} is in [settings] and in [grid]; expected it in one of them"
            )
        try:
            configurations[name] = {
                seed: _job(kind, {**common, **own, "seed": seed}, training) for seed in seeds
            }
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    return Spec(kind, seeds, configurations)


def _seeds(given):
    if type(given) is int and given >= 1:
        return tuple(range(given))
    numbers = isinstance(given, list) and all(type(seed) is int and seed >= 0 for seed in given)
    if not numbers or not given:
        raise InputError(
            "seeds must be how many, a whole number from 1 up, or a list of whole numbers from 0 up; "
            f"got {given!r:.60}"
        )
    twice = [seed for seed in given if given.count(seed) > 1]
    if twice:
        raise InputError(f"seeds has {twice[0]} twice; expected each once")
    return tuple(given)


def _table(source, part, known):
    table = source.get(part, {})
    if not isinstance(table, dict):
        raise InputError(f"[{part}] must be a table of settings, got {table!r:.60}")
    _refuse_unknown(table, known, f"a setting, in [{part}],")
    return table


def _refuse_unknown(table, known, what):
    for name in table:
        if name == "seed":
            raise InputError("seed is given as a setting; expected seeds = ..., above all tables")
        if name not in known:
            nearest = difflib.get_close_matches(str(name), known, n=1)
            guess = f" (did you mean {nearest[0]}?)" if nearest else ""
            raise InputError(f"{name!r:.60} is not {what} that there is{guess}")


def _product(grid):
    """{name: settings} of every combination; without a grid of one, called "run"."""
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{name} in [grid] must be a list of values, got {values!r:.60}")
        if any(values.count(value) > 1 for value in values):
            raise InputError(f"{name} in [grid] has a value twice: {values!r:.60}")
    found = {}
    for combination in itertools.product(*grid.values()):
        settings = dict(zip(grid, combination, strict=True))
        name = ",".join(f"{key}={value}" for key, value in settings.items()) or "run"
        name = re.sub(r"[^A-Za-z0-9_+=.,-]+", "-", name)
        if len(name) > LONGEST or name in found:
            name = f"run{len(found)}"
        found[name] = settings
    return found


def _listed(runs, known):
    """{name: settings} of [[runs]]."""
    if not isinstance(runs, list) or not runs or not all(isinstance(run, dict) for run in runs):
        raise InputError(f"[[runs]] must be a list of tables, got {runs!r:.60}")
    found = {}
    for number, run in enumerate(runs, start=1):
        name = run.get("name")
        if not isinstance(name, str) or not re.fullmatch(
            r"[A-Za-z0-9_+=-][A-Za-z0-9_+=.,-]*", name
        ):
            raise InputError(
                f"number {number} of [[runs]] needs a name of letters, digits and -_+=., ; got {name!r:.60}"
            )
        if len(name) > LONGEST:
            raise InputError(f"{name[:20]}... must have at most {LONGEST} characters")
        if name.lower() in map(str.lower, found):
            raise InputError(f"{name} names two of [[runs]]; give each a name of its own")
        found[name] = {key: value for key, value in run.items() if key != "name"}
        _refuse_unknown(found[name], known, f"a setting, in {name},")
    return found


def _training(source, kind):
    """The settings in [train], or None."""
    if "train" not in source:
        return None
    if kind != "search":
        raise InputError("[train] goes with kind search alone; expected the settings in [settings]")
    table = _table(source, "train", [f.name for f in fields(TrainConfig)])
    inherited = [name for name in (*INHERITED, "genotype") if name in table]
    if inherited:
        raise InputError(f"{inherited[0]} in [train] is that of the search; leave it out")
    return table


def _job(kind, settings, training):
    if kind == "train":
        if not isinstance(settings.get("genotype"), str):
            raise InputError(
                'genotype is missing; expected its text, the name of a published one as "DARTS_V1", or a file'
            )
        return _checked_training({**settings, "genotype": _genotype(settings["genotype"])})
    config = SearchConfig(**settings)
    strategy_named(config.strategy)  # or each job would tell that there is none
    job = asdict(config)
    inherited = {name: job[name] for name in INHERITED}
    if training is None:
        return {**job, "train": None}
    return {**job, "train": _checked_training({**training, **inherited})}


def _genotype(text):
    if "(" in text:
        return format_genotype(parse_genotype(text))
    return named_genotype(text)


def _checked_training(settings):
    config = TrainConfig(**settings)
    if config.distil:
        raise InputError("distil needs the real twin, which a sweep does not train; leave it out")
    return asdict(config)
