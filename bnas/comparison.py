"""Several runs in one table: groups of seeds, and their differences seed by seed."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bnas.config import TrainConfig
from bnas.contents import BASELINES, TRAINED, command_line, train_command
from bnas.errors import InputError, option
from bnas.results import Results, csv_table, load_run
from bnas.runs import atomic_write
from bnas.space.operations import WEIGHTLESS

RESAMPLES = 10_000  # of the pairs, for an interval
FEW = 6  # pairs below which chance alone puts all differences on one side in more than 5 % of cases
MEASURES = {"test_accuracy": "test accuracy", "validation_accuracy": "validation accuracy"}
COLUMNS = """\
search seeds test_accuracy test_accuracy_sd validation_accuracy validation_accuracy_sd weightless operations
seconds gradient_steps images_seen peak_memory pairs test_difference test_low test_high test_verdict
validation_difference validation_low validation_high validation_verdict""".split()
_TO_CHOOSE = """\
Choose by the validation accuracy: the networks were not trained on those images (the searches knew them).
What is chosen by its test accuracy has no test accuracy any more."""
_NOT_TO_CHOOSE = """\
Nothing here may be used to choose one of them: what is chosen by its test accuracy has no test accuracy
any more. Networks trained with --hold-out have a validation accuracy to choose by."""
_FEW_PAIRS = f"""\
With fewer than {FEW} pairs chance alone puts all differences on one side in more than 5 % of cases: such an
interval is too narrow, and that it lies beside 0 means little."""


def compare(paths, name="binary"):
    """Compare the trained networks of several searches.

    Runs that differ in nothing but the seed are one group. The groups stand in the order of the paths, and the
    first is what the others are compared with.

    Args:
        paths: folders of runs; in each the search is finished, the network trained and evaluated.
        name: of the training in each of them.

    Returns:
        Comparison.

    Raises:
        InputError: a run is not ready, two runs cannot be compared, or a file is missing or damaged.
    """
    if isinstance(paths, (str, Path)):
        raise TypeError(f"expected a list of run folders, got {paths!r} alone")
    paths = [Path(path) for path in paths]
    if not paths:
        raise InputError("there is no run to compare; name their folders")
    _require_distinct(paths)
    runs = [load_run(path) for path in paths]
    _require_searches(runs)
    _require_ready(runs, name)
    _require_comparable(runs, name)
    members = {}
    for run in runs:
        shared = {k: v for k, v in asdict(run.config).items() if k not in ("seed", "data_dir")}
        members.setdefault(tuple(shared.items()), []).append(run)
    settings = [dict(shared) for shared in members]
    groups = tuple(
        Group(_label(own, settings), tuple(runs), name)
        for own, runs in zip(settings, members.values())
    )
    for group in groups:
        _require_distinct_seeds(group)
    return Comparison(
        name,
        groups,
        tuple(difference for group in groups[1:] for difference in _differences(groups[0], group)),
        _notes(runs, groups, settings, name),
    )


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing but the seed.

    Attributes:
        label: the strategy, and the settings in which it differs from other groups of that strategy.
        runs: their Results.
        name: of the training in each that is compared.
    """

    label: str
    runs: tuple[Results, ...]
    name: str

    @property
    def seeds(self):
        """The seeds of the searches, a tuple in the order of `runs`."""
        return tuple(run.config.seed for run in self.runs)

    @property
    def trained(self):
        """The Results of the trainings."""
        return [run.trainings[self.name] for run in self.runs]

    @property
    def test_accuracy(self):
        """Shares of the test images, 0 to 1, float64 (seeds,)."""
        return np.array([training.evaluation["test_accuracy"] for training in self.trained])

    @property
    def validation_accuracy(self):
        """The same of the validation images after the last epoch; None if the networks learnt them too."""
        if not self.trained[0].config.hold_out:
            return None
        return np.array([training.history["validation_accuracy"][-1] for training in self.trained])

    @property
    def operations(self):
        """How many operations the two cells have."""
        return len(_operations(self.trained[0]))

    @property
    def weightless(self):
        """How many of them are skips and poolings, int64 (seeds,)."""
        counts = [sum(op in WEIGHTLESS for op in _operations(one)) for one in self.trained]
        return np.array(counts)

    def cost(self, name):
        """The mean over the seeds of what a search took, of "peak_memory" the largest; None if not recorded.

        name: "seconds", "gradient_steps", "images_seen" or "peak_memory" (bytes).
        """
        costs = [getattr(run, name) for run in self.runs]
        if None in costs:
            return None
        return max(costs) if name == "peak_memory" else float(np.mean(costs))


@dataclass(frozen=True, eq=False)
class Difference:
    """Accuracies of a group minus those of the first group, seed by seed.

    Attributes:
        label, reference: of the group and of the first.
        measure: "test_accuracy" or "validation_accuracy".
        seeds: that both groups have.
        values: float64 (seeds,).
        low, high: the 95 % bootstrap interval of their mean; None for one pair, or where all are equal.
    """

    label: str
    reference: str
    measure: str
    seeds: tuple[int, ...]
    values: np.ndarray
    low: float | None
    high: float | None

    @property
    def mean(self):
        """Of the differences; None if there is no pair."""
        return float(self.values.mean()) if len(self.values) else None

    @property
    def verdict(self):
        """What the interval says in a word or two."""
        if not len(self.values):
            return "no seed in common"
        if self.low is None:
            return "one pair, no interval" if len(self.values) == 1 else "all equal, no interval"
        if self.low <= 0 <= self.high:
            return "within noise"
        return "higher" if self.low > 0 else "lower"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` returns; `print` shows it as text.

    Attributes:
        name: of the trainings.
        groups: a tuple of Group; the first is what the others are compared with.
        differences: a tuple of Difference, for every other group one for each measure.
        notes: what a reader has to know, texts.
    """

    name: str
    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    def __str__(self):
        return "\n\n".join([*_text_tables(self), *self.notes])

    def to_csv(self, file):
        """Write the table, a row for each group, in the form of RFC 4180.

        The columns are in COLUMNS; accuracies and differences are shares, 0 to 1, with all their digits.

        Args:
            file: a path, whose file is replaced if it is such a table, or a text file opened with newline="".

        Raises:
            InputError: there is another file, or it cannot be written.
        """
        text = csv_table(COLUMNS, [self._row(group) for group in self.groups])
        if hasattr(file, "write"):
            file.write(text)
            return
        require_own_table(file)
        atomic_write(file, text)

    def _row(self, group):
        row = {"search": group.label, "seeds": len(group.seeds), "operations": group.operations}
        row["weightless"] = float(group.weightless.mean())
        for measure in MEASURES:
            row[measure], row[f"{measure}_sd"] = spread(getattr(group, measure))
        for name in ("seconds", "gradient_steps", "images_seen", "peak_memory"):
            row[name] = group.cost(name)
        for one in self.differences:
            if one.label == group.label:
                kind = one.measure.split("_")[0]
                row["pairs"] = len(one.values)
                row[f"{kind}_difference"], row[f"{kind}_verdict"] = one.mean, one.verdict
                row[f"{kind}_low"], row[f"{kind}_high"] = one.low, one.high
        return [row.get(column) for column in COLUMNS]


def require_own_table(file):
    """Raise InputError if there is a file at the path `file` that `Comparison.to_csv` did not write."""
    path = Path(file)
    head = csv_table(COLUMNS, []).encode()
    if path.exists() and not (path.is_file() and path.read_bytes().startswith(head)):
        raise InputError(
            f"{path} is there and no table of bnas compare; move it away or give another -o FILE"
        )


def spread(values):
    """(mean, standard deviation with n - 1) of an array; None for what there is not."""
    if values is None:
        return None, None
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def bootstrap_interval(values):
    """The 95 % percentile bootstrap interval of the mean of `values` (Efron, 1979): (low, high).

    The random numbers are the same each time. (None, None) for one value, or where all are equal: then every
    resample has the same mean, which tells nothing of how sure it is.
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return None, None
    from scipy.stats import bootstrap  # only now: it takes longer to import than all the rest

    interval = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=0.95,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _operations(training):
    """The names of all operations of a genotype."""
    return [name for name, _ in (*training.genotype.normal, *training.genotype.reduce)]


def _differences(first, group):
    """The Difference of each measure between a group and the first one."""
    others = dict(zip(first.seeds, first.runs))
    pairs = [(others[seed], run) for seed, run in zip(group.seeds, group.runs) if seed in others]
    for runs in pairs:
        seeds = [run.trainings[group.name].config.seed for run in runs]
        if seeds[0] != seeds[1]:
            trained = [run.trainings[group.name].path for run in runs]
            again = command_line("train", runs[1].path, "--seed", seeds[0])
            raise InputError(
                f"{trained[0]} was trained with seed {seeds[0]} and {trained[1]} with seed {seeds[1]}, though "
                f"both searches had seed {runs[0].config.seed}: a pair has the same seeds in both; move "
                f"{trained[1]} away and train it again ({again}, and its other settings)"
            )
    seeds = tuple(run.config.seed for _, run in pairs)
    for measure in MEASURES:
        if getattr(group, measure) is None:
            continue
        here = dict(zip(group.seeds, getattr(group, measure)))
        there = dict(zip(first.seeds, getattr(first, measure)))
        # Shares of images: what lies beyond the 12th decimal is rounding, and would tell equals apart.
        values = np.array([round(here[seed] - there[seed], 12) for seed in seeds])
        interval = bootstrap_interval(values)
        yield Difference(group.label, first.label, measure, seeds, values, *interval)


# What cannot be compared


def _require_distinct(paths):
    seen = {}
    for path in paths:
        place = path.resolve()
        if place in seen:
            raise InputError(f"{seen[place]} and {path} are the same run; name each one once")
        seen[place] = path


def _require_searches(runs):
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


def _require_ready(runs, name):
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


def _require_comparable(runs, name):
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


def _require_distinct_seeds(group):
    seen = {}
    for run in group.runs:
        seed = run.config.seed
        if seed in seen:
            raise InputError(
                f"{seen[seed]} and {run.path} are the same search with the same seed {seed}, which would count "
                "twice; leave one of them out"
            )
        seen[seed] = run.path


# Words


def _label(settings, groups):
    """The strategy of a group, and the settings in which `groups` of that strategy differ."""
    alike = [other for other in groups if other["strategy"] == settings["strategy"]]
    words = [
        _words(name, value)
        for name, value in settings.items()
        if any(other[name] != value for other in alike)
    ]
    return ", ".join([settings["strategy"], *words])


def _words(name, value):
    name = option(name)[2:]
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name} {int(value) if isinstance(value, float) and value.is_integer() else value}"


def _notes(runs, groups, settings, name):
    notes = []
    held_out = groups[0].validation_accuracy is not None
    notes.append(_TO_CHOOSE if held_out else _NOT_TO_CHOOSE)
    first = set(groups[0].seeds)
    if any(1 < len(first & set(group.seeds)) < FEW for group in groups[1:]):
        notes.append(_FEW_PAIRS)
    for setting in settings[0]:
        values = {own[setting] for own in settings}
        shown = all(_words(setting, own[setting]) in g.label for own, g in zip(settings, groups))
        if setting != "strategy" and len(values) > 1 and not shown:
            told = [
                f"{_words(setting, own[setting])} ({g.label})" for own, g in zip(settings, groups)
            ]
            notes.append(f"The strategies were not told the same: {', '.join(told)}.")
    places = {run.trainings[name].config.data_dir for run in runs}
    if len(places) > 1:
        told = ", ".join(sorted(str(place) for place in places))
        notes.append(f"The data are taken for the same, though they lay in several places: {told}.")
    return tuple(notes)


def _text_tables(comparison):
    """The tables of a comparison, as texts."""
    groups, first = comparison.groups, comparison.groups[0]
    config = first.trained[0].config
    head = f"Networks RUN/{comparison.name} on {config.dataset}; mean ± standard deviation over the seeds"
    measures = [measure for measure in MEASURES if getattr(first, measure) is not None]
    rows = [["search", "seeds", *(MEASURES[m] for m in measures), "skips and poolings"]]
    for group in groups:
        idle = f"{_number(group.weightless.mean())} of {group.operations}"
        shares = [_share(getattr(group, measure)) for measure in measures]
        rows.append([group.label, str(len(group.seeds)), *shares, idle])
    yield f"{head}\n{_aligned(rows)}"
    rows = [["cost of a search", "seconds", "gradient steps", "images seen", "peak memory"]]
    for group in groups:
        steps, images = (_number(group.cost(name)) for name in ("gradient_steps", "images_seen"))
        memory = group.cost("peak_memory")
        memory = "-" if memory is None else f"{memory / 2**20:,.0f} MiB"
        rows.append([group.label, _number(group.cost("seconds")), steps, images, memory])
    yield _aligned(rows)
    for measure in measures if comparison.differences else ():
        rows = [["search", "pairs", "mean", "95 % interval", ""]]
        for one in comparison.differences:
            if one.measure == measure:
                mean, between = "-" if one.mean is None else _points(one.mean), "-"
                if one.low is not None:
                    between = f"{_points(one.low)} to {_points(one.high)}"
                rows.append([one.label, str(len(one.values)), mean, between, one.verdict])
        head = f"{MEASURES[measure].capitalize()} minus that of {first.label}, in percentage points, seed by seed"
        yield f"{head}\n{_aligned(rows)}"


def _points(share):
    return f"{100 * share:+.2f}"


def _share(values):
    mean, deviation = spread(values)
    return f"{100 * mean:.2f} %" + (f" ± {100 * deviation:.2f}" if deviation is not None else "")


def _number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.1f}"


def _aligned(rows):
    """Rows of texts as lines: the first and the last column to the left if the last has no head, others right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    last = len(widths) - 1
    lines = []
    for row in rows:
        cells = [
            f"{cell:<{width}}" if k == 0 or (k == last and not rows[0][k]) else f"{cell:>{width}}"
            for k, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("   ".join(cells).rstrip())
    return "\n".join(lines)
