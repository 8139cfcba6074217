"""The results of a run as data: settings, one array for each column of the history, genotype, test accuracies."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from bnas.config import SearchConfig, TrainConfig
from bnas.contents import architecture, evaluation_of, has_run, label_of, runs_in, saved_config
from bnas.errors import InputError
from bnas.runs import RunFolder, atomic_write, explain
from bnas.runs.files import checkpoint_digest
from bnas.space import Genotype, edges, parse_genotype, read_genotype
from bnas.space.genotype import shorten

NUMBERS = (  # columns that are added up or compared
    "loss",
    "train_accuracy",
    "validation_accuracy",
    "evaluation_accuracy",
    "seconds",
    "gradient_steps",
    "images_seen",
    "peak_memory",
)


def load_run(path):
    """What a run has written, read from its folder.

    Args:
        path: the folder of a search, or of trained networks, or of one trained network; finished or not.

    Returns:
        Results.

    Raises:
        InputError: there is no run, or one of its files is missing, damaged or of another version of bnas.
    """
    path = Path(path)
    if has_run(path) and "genotype" in RunFolder.open(path).config:
        return _training(path, saved_config(TrainConfig, path))
    found = runs_in(path)
    config = found.pop(path, None)
    genotype, names = None, config.operation_names if config else ()
    if (path / "genotype.txt").exists():
        genotype = read_genotype(path / "genotype.txt", names)
    trainings = {folder.name: _training(folder, settings) for folder, settings in found.items()}
    return Results(
        path=path,
        config=config,
        history=_history(path, config) if config else History({}),
        genotype=genotype,
        evaluation=evaluation_of(path),
        trainings=MappingProxyType(trainings),
    )


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """What a search or a training has written, to be read only.

    Attributes:
        path: the folder, a pathlib.Path.
        config: SearchConfig or TrainConfig; None for a folder that holds trained networks and no search.
        history: History, one array for each column.
        genotype: what the search found, None before it has ended; of a training, what it trains.
        evaluation: of a search, {label: figures} as `bnas evaluate` wrote it, for all networks of the run; of a
            training, its own figures, None if they are older than its last epoch. None before `bnas evaluate`.
        trainings: {name: Results} of the trained networks in the folder.
    """

    path: Path
    config: SearchConfig | TrainConfig | None
    history: "History"
    genotype: Genotype | None
    evaluation: Mapping | None
    trainings: Mapping

    @property
    def seconds(self):
        """The time that all epochs took, float."""
        return self._total("seconds")

    @property
    def gradient_steps(self):
        """Backward passes of all epochs through a network, int; None where the history does not count them."""
        return self._total("gradient_steps")

    @property
    def images_seen(self):
        """Images that went forward through a network in all epochs, int; None as for gradient_steps."""
        return self._total("images_seen")

    @property
    def peak_memory(self):
        """The largest resident set of the process in bytes, int; None where it was not measured."""
        measured = self.history.get("peak_memory", np.empty(0))
        measured = measured[~np.isnan(measured)]
        return int(measured.max()) if len(measured) else None

    def _total(self, name):
        """The sum of a column, None unless it has a number in every epoch."""
        column = self.history.get(name)
        if column is None or np.isnan(column).any():
            return None
        return column.sum().item()

    def __repr__(self):
        config, epochs = self.config, self.history.epochs
        if isinstance(config, SearchConfig):
            end = "finished" if self.genotype else "not finished"
            parts = [
                f"search by {config.strategy} on {config.dataset}, seed {config.seed}",
                f"{epochs} epochs, {end}",
            ]
        elif isinstance(config, TrainConfig):
            parts = [
                f"training, {config.precision}, on {config.dataset}, seed {config.seed}",
                f"{epochs} of {config.epochs} epochs",
            ]
        else:
            parts = ["trained networks, no search"]
        if self.seconds is not None:
            parts.append(f"{self.seconds:.3g} s")
        if self.trainings:
            parts.append(f"trainings: {', '.join(self.trainings)}")
        if self.evaluation:
            parts.append("evaluated")
        return f"Results({str(self.path)!r}: {'; '.join(parts)})"


class History(Mapping):
    """The columns of a history: {name: array with an entry for every epoch}, to be read only.

    Numbers are float64, with NaN where an epoch has none; whole numbers that every epoch has are int64; texts
    are arrays of str, "" where an epoch has none. alpha is float64 (epochs, 2, E, M); active, the mask of CP-NAS,
    is bool.
    """

    __eq__ = object.__eq__  # that of a Mapping would ask arrays for one truth value
    __hash__ = object.__hash__

    def __init__(self, columns):
        self._columns = columns
        for column in columns.values():
            column.flags.writeable = False

    def __getitem__(self, name):
        if name not in self._columns:
            raise KeyError(f"no column {name!r}; there are {', '.join(self._columns) or 'none'}")
        return self._columns[name]

    def __iter__(self):
        return iter(self._columns)

    def __len__(self):
        return len(self._columns)

    @property
    def epochs(self):
        """How many epochs there are."""
        return len(self._columns.get("epoch", ()))

    def __repr__(self):
        return f"History({self.epochs} epochs: {', '.join(self)})"

    def to_csv(self, file):
        """Write the columns of one value an epoch as a table: a row an epoch, after a row of names.

        The form is that of RFC 4180, in UTF-8. A float has as many digits as it takes to read it back equal
        to the bit; where an epoch has none the cell is empty. alpha and active are left out.

        Args:
            file: a path, whose file is replaced, or a text file opened with newline="".

        Raises:
            InputError: the file cannot be written.
        """
        columns = {name: column for name, column in self.items() if column.ndim == 1}
        rows = zip(*(column.tolist() for column in columns.values()))
        text = csv_table(columns, rows)
        if hasattr(file, "write"):
            file.write(text)
        else:
            atomic_write(file, text)


def csv_table(names, rows):
    """The text of a table in the form of RFC 4180; None and NaN are empty cells."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if cell is None or cell != cell else cell for cell in row])
    return text.getvalue()


def _training(path, config):
    """The Results of the training in the folder `path`."""
    root = path.absolute().parent
    above = has_run(root) and "genotype" not in RunFolder.open(root).config
    names = saved_config(SearchConfig, root).operation_names if above else ()
    try:
        genotype = parse_genotype(config.genotype, names)
    except InputError as error:
        raise InputError(f"{path / 'config.json'}: {error}") from error
    return Results(
        path=path,
        config=config,
        history=_history(path, config),
        genotype=genotype,
        evaluation=_figures(root, path, config),
        trainings=MappingProxyType({}),
    )


def _figures(root, path, config):
    """What evaluation.json of the run in `root` tells of the training in `path`, if it is not out of date."""
    checkpoint, evaluation = path / "checkpoint.npz", evaluation_of(root)
    if evaluation is None or not checkpoint.exists():
        return None
    name = path.absolute().name
    named = {row["training"]: row for row in evaluation.values() if "training" in row}
    if named:
        row = named.get(name, {})
        return row if row.get("checkpoint") == checkpoint_digest(checkpoint) else None
    # Earlier versions wrote the label alone, so that all there is to go by is the time.
    row = evaluation.get(label_of(name, config, has_run(root), architecture(root)))
    with explain("read", checkpoint, "check its permissions"):
        since = checkpoint.stat().st_mtime_ns
        older = (root / "evaluation.json").stat().st_mtime_ns < since
    return None if older else row


def _history(path, config):
    """The History of the run in the folder `path`."""
    folder, file = RunFolder.open(path), path / "history.jsonl"
    # First the checkpoint: the run may be going on.
    done = folder.load()[1].get("epochs_done") if folder.has_checkpoint else None
    records = folder.history()
    if done is not None:
        if type(done) is not int or len(records) < done:
            raise InputError(
                f"{file} has {len(records)} of the {shorten(done)} epochs that the checkpoint has; restore it "
                "from a copy"
            )
        records = records[:done]  # one whose state was not saved is done again on resuming
    names = {name: None for record in records for name in record}  # a set that keeps the order
    shape = None
    if isinstance(config, SearchConfig):
        shape = (2, len(edges(config.nodes)), len(config.operation_names))
    columns = {}
    for name in names:
        values = [record.get(name) for record in records]
        try:
            columns[name] = _array(values, shape if name == "alpha" else None)
            if name in NUMBERS and (columns[name].ndim > 1 or columns[name].dtype.kind not in "if"):
                raise ValueError(f"must be a number in every epoch, got {shorten(values[-1])}")
        except (ValueError, OverflowError) as error:
            raise InputError(f"{file}: {name} {error}; restore the file from a copy") from error
    return History(columns)


def _array(values, shape):
    """A column as an array; `shape` of what every epoch has, if it is known to be no single value."""
    kinds = {type(value) for value in values if value is not None}
    missing = None in values
    if shape is not None or kinds == {list}:
        return _stacked(values, shape)
    if kinds and kinds <= {int, bool} and not missing:
        return np.array(values, dtype=np.int64)
    if kinds <= {int, bool, float}:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if kinds == {str}:
        return np.array(["" if value is None else value for value in values])
    others = [value for value in values if value is not None]
    raise ValueError(f"is of more than one kind: {shorten(others[0])}, ..., {shorten(others[-1])}")


def _stacked(values, shape):
    """Nested lists as an array (epochs, *shape): of numbers float64, NaN in the epochs that have none; masks bool.

    A mask that some epochs lack is of numbers too, 0 and 1. `shape` is that of alpha, which is no mask.
    """
    arrays = [None if value is None else _nested(value) for value in values]
    kinds = "if" if shape else "ifb"
    shape = shape or next(array.shape for array in arrays if array is not None)
    stacked = np.full((len(values), *shape), np.nan)
    for number, array in enumerate(arrays):
        if array is None:
            continue
        if array.dtype.kind not in kinds or array.shape != shape:
            raise ValueError(f"of epoch {number + 1} must be numbers of the shape {shape}")
        stacked[number] = array
    masks = all(array is not None and array.dtype == bool for array in arrays)
    return stacked.astype(bool) if masks else stacked


def _nested(lists):
    """Nested lists as an array, of the dtype object if their lengths differ."""
    try:
        return np.array(lists)
    except ValueError:
        return np.empty(0, dtype=object)
