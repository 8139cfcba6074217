"""What is not to be compared, and what has to be done before it is."""

from dataclasses import asdict

import numpy as np

from bnas.config import TrainConfig
from bnas.contents import BASELINES, TRAINED, command_line, train_command
from bnas.errors import InputError, option


def require_searches(runs):
    """Raise InputError unless all are searches."""
    for run in runs:
        if isinstance(run.config, TrainConfig):
            raise InputError(
                f"{run.path} holds one trained network, no search; give the folder above it"
            )
        if run.config is None:
            raise InputError(
                f"{run.path} holds trained networks without a search, and what is compared here are searches; "
                "leave it out"
            )


def require_ready(runs, name):
    """Raise InputError, with all commands that it takes, unless every run has the evaluated training."""
    there = sorted({name for run in runs for name in run.trainings})
    if name not in (*TRAINED, *BASELINES, *there):
        raise InputError(
            f"no run has a training called {name}; there are {', '.join(there) or 'none at all'}"
        )
    like = next((run.trainings[name].config for run in runs if name in run.trainings), None)
    faults, commands = [], []
    for run in runs:
        missing = _missing_step(run, name, like)
        if missing:
            faults.append(missing[0])
            commands += missing[1]
    if faults:
        raise InputError(f"{'; '.join(faults)}. Do first: {' && '.join(commands)}")


def _missing_step(run, name, like):
    """(what is missing, [the commands that mend it]) in a run, or None."""
    evaluate, train = command_line("evaluate", run.path), train_command(run.path, name, like)
    if run.genotype is None:
        resume = command_line("search", run.path, "--resume")
        return f"the search in {run.path} is not finished", [resume, train, evaluate]
    training = run.trainings.get(name)
    if training is None:
        return f"{run.path / name} is missing", [train, evaluate]
    epochs = training.config.epochs
    done = training.history.epochs
    if done < epochs:
        resume = f"{train_command(run.path, name)} --resume"
        return f"{training.path} has {done} of {epochs} epochs", [resume, evaluate]
    accuracy = training.history.get("validation_accuracy", [np.nan])[-1]
    if training.config.hold_out and np.isnan(accuracy):
        raise InputError(
            f"{training.path / 'history.jsonl'} has no validation accuracy of the last epoch, though the "
            "training held images out; restore it from a copy"
        )
    if run.evaluation is None:
        return f"{run.path} has not been evaluated", [evaluate]
    if training.evaluation is None:
        return f"{training.path} has not been evaluated since it was trained", [evaluate]
    return None


def require_comparable(runs, name):
    """Raise InputError unless all runs share the data, and all trainings the settings."""
    for setting in ("dataset", "limit"):
        _require_same(
            {run.path: getattr(run.config, setting) for run in runs},
            f"were searched with another {option(setting)}",
            "compare runs on the same images",
        )
    first = runs[0].trainings[name]
    for run in runs:
        training = run.trainings[name]
        if name not in BASELINES and training.genotype != run.genotype:
            raise InputError(
                f"{training.path} is a network of another genotype than {run.path / 'genotype.txt'}; move it away "
                f"and train that one: {train_command(run.path, name, training.config)}"
            )
        differing = [
            setting
            for setting, value in asdict(training.config).items()
            if setting not in ("genotype", "seed", "data_dir")
            and value != getattr(first.config, setting)
        ]
        if differing:
            values = [
                ", ".join(f"{option(s)} {getattr(one.config, s)}" for s in differing)
                for one in (first, training)
            ]
            raise InputError(
                f"{first.path} was trained with {values[0]} and {training.path} with {values[1]}, so that their "
                f"difference is not one of the searches; move {training.path} away and train it again: "
                f"{train_command(run.path, name, first.config)}"
            )
    images = [run.trainings[name].evaluation.get("test_images") for run in runs]
    if None in images:  # evaluated by an earlier version, on as many as the largest limit leaves
        images = [_largest_limit(run) for run in runs]
    _require_same(
        dict(zip((run.path for run in runs), images)),
        "were evaluated on another number of test images (of a run with several trainings, those of the largest "
        "--limit)",
        "evaluate them again with the same trainings in each: "
        + " && ".join(command_line("evaluate", run.path) for run in runs),
    )


def _largest_limit(run):
    limits = [run.config.limit, *(training.config.limit for training in run.trainings.values())]
    return None if None in limits else max(limits)


def _require_same(values, what, advice):
    """Raise InputError unless all of {path: value} are equal."""
    (first, expected), *others = values.items()
    for path, value in others:
        if value != expected:
            raise InputError(
                f"{first} and {path} {what}: {'all' if expected is None else expected} and "
                f"{'all' if value is None else value}; {advice}"
            )


def require_distinct_seeds(group):
    """Raise InputError if two runs of a Group have the same seed."""
    seen = {}
    for run in group.runs:
        seed = run.config.seed
        if seed in seen:
            raise InputError(
                f"{seen[seed]} and {run.path} are the same search with the same seed {seed}, which would count "
                "twice; leave one of them out"
            )
        seen[seed] = run.path


def require_same_training_seeds(pairs, name):
    """Raise InputError unless the trainings of each pair of runs have the same seed."""
    for first, second in pairs:
        one, other = first.trainings[name], second.trainings[name]
        seed = one.config.seed
        if other.config.seed != seed:
            again = f"{train_command(second.path, name, one.config)} --seed {seed}"
            raise InputError(
                f"{one.path} was trained with seed {seed} and {other.path} with seed {other.config.seed}, though "
                f"both searches had seed {first.config.seed}: a pair has the same seeds in both; move "
                f"{other.path} away and train it again: {again}"
            )
