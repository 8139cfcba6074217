"""`compare`, and the Comparison that it returns."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bnas.comparison.groups import MEASURES, Difference, Group, bootstrap_interval, spread
from bnas.comparison.requirements import (
    require_comparable,
    require_distinct_seeds,
    require_ready,
    require_same_training_seeds,
    require_searches,
)
from bnas.comparison.words import label, notes, text_tables
from bnas.contents import require_distinct
from bnas.errors import InputError
from bnas.results import csv_table, load_run
from bnas.runs import atomic_write

COLUMNS = """\
search seeds test_accuracy test_accuracy_sd validation_accuracy validation_accuracy_sd weightless operations
seconds gradient_steps images_seen peak_memory pairs test_difference test_low test_high test_verdict
validation_difference validation_low validation_high validation_verdict""".split()


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
    require_distinct(paths)
    runs = [load_run(path) for path in paths]
    require_searches(runs)
    require_ready(runs, name)
    require_comparable(runs, name)
    members = {}
    for run in runs:
        shared = {k: v for k, v in asdict(run.config).items() if k not in ("seed", "data_dir")}
        members.setdefault(tuple(shared.items()), []).append(run)
    settings = [dict(shared) for shared in members]
    groups = tuple(
        Group(label(own, settings), tuple(alike), name)
        for own, alike in zip(settings, members.values())
    )
    for group in groups:
        require_distinct_seeds(group)
    return Comparison(
        name,
        groups,
        tuple(difference for group in groups[1:] for difference in _differences(groups[0], group)),
        notes(runs, groups, settings, name),
    )


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
        return "\n\n".join([*text_tables(self), *self.notes])

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


def _differences(first, group):
    """The Difference of each measure between a group and the first one."""
    others = dict(zip(first.seeds, first.runs))
    pairs = [(others[seed], run) for seed, run in zip(group.seeds, group.runs) if seed in others]
    require_same_training_seeds(pairs, group.name)
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
