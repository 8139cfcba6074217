"""What a run folder holds, and what may join it.

A search, and below it trained networks of its architecture: in binary/, in real/, and in others that the user
named. Without a search it holds the networks alone. All share data set and architecture, but for the
baselines, whose genotypes were drawn to compare with.
"""

import difflib
import os
import re
import shlex
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from bnas.config import SearchConfig, TrainConfig, config_from_dict
from bnas.errors import InputError, option
from bnas.runs import RunFolder
from bnas.runs.files import read_json
from bnas.space import (
    PUBLISHED,
    format_genotype,
    parse_genotype,
    random_genotype,
    read_genotype,
    skip_genotype,
)

TRAINED = {"binary": "1-bit network", "real": "Its real twin"}  # subfolder, also the precision
BASELINES = {"random": "Random genotype", "skips": "Skips alone"}  # subfolder, also the --genotype
FOUND = "Found 1-bit network"
KINDS = {"binary": "1-bit", "real": "real"}  # of networks, by precision
FILES = "config.json history.jsonl checkpoint.npz genotype.txt evaluation.json packed.npz figures"
TAKEN = {*TRAINED, *BASELINES, *FILES.split()}  # what a training must not be called


def command_line(*words):
    """A command of bnas as text that a shell takes apart into these words; paths among them stay paths."""
    words = [
        f".{os.sep}{w}" if isinstance(w, Path) and str(w).startswith("-") else str(w) for w in words
    ]
    return shlex.join(["bnas", *words])


def has_run(path):
    """Whether the folder `path` is that of a search or of a training, begun at least."""
    return (path / "config.json").exists()


def runs_in(root):
    """{folder: configuration} of the search in `root` and of the trained networks below it."""
    found = {root: saved_config(SearchConfig, root)} if has_run(root) else {}
    found |= {root / name: config for name, config in trainings(root).items()}
    if not found:
        raise InputError(f"{root} holds no run; make one with {command_line('search', root)}")
    return found


def trainings(root):
    """{name: TrainConfig} of the trained networks in `root`: the usual two, the user's, the baselines."""
    names = [path.name for path in sorted(root.iterdir())] if root.is_dir() else []
    own = [n for n in names if n not in (*TRAINED, *BASELINES) and has_run(root / n)]
    own = [n for n in own if "genotype" in RunFolder.open(root / n).config]  # else it is a search
    usual = [[n for n in kind if has_run(root / n)] for kind in (TRAINED, BASELINES)]
    return {n: saved_config(TrainConfig, root / n) for n in (*usual[0], *own, *usual[1])}


def saved_config(kind, path):
    """The configuration of the run in the folder `path`."""
    values = RunFolder.open(path).config
    if kind is SearchConfig and "genotype" in values:
        raise InputError(f"{path} holds one trained network, no search; give the folder above it")
    try:
        return config_from_dict(kind, values)
    except InputError as error:
        raise InputError(f"{path / 'config.json'}: {error}") from error


def require_distinct(paths):
    """Raise InputError if two paths lead to the same folder."""
    seen = {}
    for path in paths:
        place = path.resolve()
        if place in seen:
            raise InputError(f"{seen[place]} and {path} are the same run; name each one once")
        seen[place] = path


def labels_of(paths):
    """{label: path} of the runs of several searches: strategy and seed if they tell them all apart, else folders.

    Raises InputError for a folder that is named twice.
    """
    require_distinct(paths)
    configs = [RunFolder.open(path).config for path in paths]
    told = [f"{c.get('strategy', 'dcp')}, seed {c.get('seed')}" for c in configs]
    for labels in (told, [path.resolve().name for path in paths]):
        if len(set(labels)) == len(paths):
            return dict(zip(labels, paths))
    return {str(path): path for path in paths}


def evaluation_of(root):
    """{label: figures} in the evaluation.json of the run in `root`; None if there is none."""
    path = root / "evaluation.json"
    if not path.exists():
        return None
    evaluation = read_json(path, f"{path} is missing")
    for label, figures in evaluation.items():
        figures = figures if isinstance(figures, dict) else {}
        share, source = figures.get("test_accuracy"), figures.get("training", "")
        number = type(share) in (int, float) and 0 <= share <= 1
        if not number or not isinstance(source, str):
            raise InputError(
                f"{path} has no test accuracy from 0 to 1 of the {label}, or no name of its training; write it "
                f"anew with {command_line('evaluate', root)}"
            )
    return evaluation


def train_command(root, name, like=None):
    """The command that trains the network `name` of the run in `root`.

    like: the TrainConfig of a training of another run, whose settings it shall have, but for genotype and seed.
    """
    kind = {**dict.fromkeys(TRAINED, "--precision"), **dict.fromkeys(BASELINES, "--genotype")}
    words = ["train", root, kind.get(name, "--name"), name]
    taken = {f.name: f.default for f in fields(TrainConfig)} | inherited(root)  # unless told
    if name in BASELINES and has_run(root / "binary"):
        taken |= asdict(saved_config(TrainConfig, root / "binary"))
    if name in TRAINED:
        taken["precision"] = name
    for setting, value in asdict(like).items() if like else ():
        if setting in ("genotype", "seed", "data_dir") or value in (None, taken[setting]):
            continue
        if isinstance(value, bool):
            words.append(option(setting) if value else option(f"no_{setting}"))
        else:
            words += [option(setting), value]
    return command_line(*words)


def inherited(root):
    """The settings that a training takes over from the search in `root`, if there is one."""
    settings = {}
    if has_run(root):
        searched = saved_config(SearchConfig, root)
        shared = ("dataset", "data_dir", "limit", "seed")
        settings = {name: getattr(searched, name) for name in shared}
    if (root / "genotype.txt").exists():
        settings["genotype"] = format_genotype(read_genotype(root / "genotype.txt"))
    return settings


def checked_name(name, baseline):
    """The --name of a training, if it may be the name of its folder in a run folder."""
    if name is None or name == baseline:
        return name
    if not re.fullmatch(r"[^\W_][\w.-]{0,99}", name):
        raise InputError(
            f"--name {name!r} cannot name a training; give letters, digits, _, - and ., at most 100, "
            "beginning with a letter or a digit"
        )
    if name.lower() in TAKEN:
        raise InputError(f"--name {name} means something else in a run folder; give another")
    return name


def architecture(root):
    """The Genotype that the networks in `root` share, but for the baselines; None if there is none yet."""
    if (root / "genotype.txt").exists():
        return read_genotype(root / "genotype.txt")
    # A training of an earlier version left no genotype.txt in the folder above it.
    configs = [config for name, config in trainings(root).items() if name not in BASELINES]
    return parse_genotype(configs[0].genotype) if configs else None


def drawn_genotype(root, baseline, seed):
    """The text of a genotype like that of the run, drawn with `seed`, or of skips alone."""
    reference = architecture(root)
    if reference is None:
        raise InputError(
            f"--genotype {baseline} is to be compared with the network of a run, and {root} has none; finish "
            f"the search with {command_line('search', root, '--resume')}, or train another --genotype first"
        )
    nodes = len(reference.normal) // 2
    if baseline == "skips":
        return format_genotype(skip_genotype(nodes))
    searched = saved_config(SearchConfig, root) if has_run(root) else SearchConfig()
    rng = np.random.default_rng(seed)
    return format_genotype(
        random_genotype(nodes, rng, searched.operation_names, searched.tied_cells)
    )


def named_genotype(name):
    """The text of a published genotype, or of the one in a file."""
    if name in PUBLISHED:
        return format_genotype(PUBLISHED[name])
    if not Path(name).exists():
        known = [*PUBLISHED, *BASELINES]
        nearest = difflib.get_close_matches(name, known, n=1)
        guess = f" (did you mean {nearest[0]}?)" if nearest else ""
        raise InputError(
            f"{name} is no file and no genotype that has a name{guess}; those are {', '.join(known)}"
        )
    return format_genotype(read_genotype(name))


def require_kinship(root, config, baseline):
    """Raise InputError unless a network of TrainConfig `config` may join what `root` holds.

    baseline: its name in BASELINES, which may have another architecture, or None.
    """
    searching = has_run(root) and not (root / "genotype.txt").exists()
    if not config.genotype and not searching:
        raise InputError(
            f"{root} holds no search; make one with {command_line('search', root)}, or name an architecture "
            "with --genotype"
        )
    if searching:
        raise InputError(
            f"there is no {root / 'genotype.txt'}: finish the search with "
            f"{command_line('search', root, '--resume')}, "
            "or name an architecture with --genotype in a new folder"
        )
    datasets = {inherited(root).get("dataset", config.dataset)}
    datasets |= {training.dataset for training in trainings(root).values()}
    same = baseline or architecture(root) in (None, parse_genotype(config.genotype))
    for alike, what in ((datasets == {config.dataset}, "data set"), (same, "architecture")):
        if not alike:
            raise InputError(
                f"{root} holds networks of another {what}, and one folder compares like with like; "
                f"give a new one: bnas train NEW --genotype ... --dataset {config.dataset}"
            )


def label_of(name, config, found, reference):
    """What the training `name` is called in the table; `found`: by a search in the same folder."""
    kind = KINDS[config.precision]
    if name in TRAINED:
        return FOUND if found and name == "binary" else TRAINED[name]
    if name in BASELINES:
        return f"{BASELINES[name]}, {kind}"
    other = "" if parse_genotype(config.genotype) == reference else "another genotype, "
    return f"{name} ({other}{kind})"
