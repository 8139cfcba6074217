"""The run folder: config, history, genotype, checkpoint, figures and results of one run.

Whatever moment a run is killed at, its folder can be picked up again: files are replaced as a whole or not at
all, checkpoints carry a digest of themselves, and one process writes at a time. Arrays and JSON only; what
they mean is the business of the floors that save them.

The order that makes a kill cost one epoch at most: after every epoch, append its history record,
then save the checkpoint. To resume: load the checkpoint, `truncate_history(meta["epochs_done"])`
(0 where there is no checkpoint yet), continue.
"""

import json
import os
from pathlib import Path

from bnas.errors import InputError, Wording, argument
from bnas.runs.files import (
    atomic_write,
    explain,
    load_checkpoint,
    parse_object,
    read_json,
    remove_unfinished,
    save_checkpoint,
    sync_folder,
    to_json,
)
from bnas.runs.lock import FolderLock

_INDENT = 2
_WRITTEN = ("config.json", "history.jsonl", "checkpoint.npz", "genotype.txt")  # under the lock


def require_same_config(saved, given, ignore=()):
    """Raise InputError naming every key, but those in `ignore`, that differs between two configs.

    saved: the dict a run was started with (from its folder); given: the one asked for now.
    """
    given = json.loads(to_json(given, "the configuration"))  # tuples compare as the lists saved
    differences = []
    for key in {**saved, **given}:
        if key in ignore or (key in saved and key in given and saved[key] == given[key]):
            continue
        values = f": the run has {saved.get(key, 'none')}, you gave {given.get(key, 'none')}"
        differences += ["; " if differences else "", argument(key), values]
    if differences:
        raise InputError(
            "the run was started with another configuration (",
            *differences,
            "). Give the same settings, or another folder",
        )


class RunFolder:
    """The folder of one run: config.json, history.jsonl, checkpoint.npz, figures/, results.

    Make one with `RunFolder.create` or `RunFolder.open`, best in a `with` statement: leaving it
    gives up the lock. path: where it is (pathlib.Path); config: the dict the run started with.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.config = {}
        self._lock = None

    @classmethod
    def create(cls, path, config):
        """Make the folder, parents too, write config.json, and hold the folder for writing.

        An empty folder will do. Raises InputError when it holds a run or anything else, when
        another process holds it, or when it cannot be written.
        """
        run = cls(path)
        text = to_json(config, "the configuration", _INDENT) + "\n"
        with explain("make the folder", run.path, "choose a folder that can be written"):
            run.path.mkdir(parents=True, exist_ok=True)
        sync_folder(run.path.parent)
        run._refuse_occupied()
        run._acquire()
        try:
            run._refuse_occupied()  # another process may have made a run before we had the lock
            atomic_write(run.path / "config.json", text)
        except BaseException:
            run.close()
            raise
        run.config = json.loads(text)
        return run

    @classmethod
    def open(cls, path, write=False):
        """The run in an existing folder; write=True holds it for writing, as resuming needs.

        Raises InputError when it is no run folder or, for write=True, when another process holds it
        or it cannot be written.
        """
        run = cls(path)
        run.config = read_json(
            run.path / "config.json",
            f"{path} is not a run folder: it has no config.json; make one with `bnas search`",
        )
        if write:
            run._acquire()
        return run

    def _refuse_occupied(self):
        with explain("read the folder", self.path, "check its permissions"):
            names = {p.name for p in self.path.iterdir()}
        if "config.json" in names:
            raise InputError(
                f"{self.path} already holds a run; continue it with ",
                Wording("RunFolder.open(path, write=True)", "--resume"),
                ", or choose another folder",
            )
        # A run that was killed while it was being created leaves no more than these.
        others = [n for n in sorted(names) if n != ".lock" and not n.startswith(".config.json.")]
        if others:
            raise InputError(
                f"{self.path} already holds other files ({others[0]}, ...); "
                "choose a new or empty folder"
            )

    def _acquire(self):
        self._lock = FolderLock(self.path)
        for name in _WRITTEN:
            remove_unfinished(self.path, name)

    def require_hold(self):
        """To be called before each write. Raises RuntimeError if the folder is open for reading.

        Raises InputError if it was removed or replaced since: see `FolderLock.require`.
        """
        if self._lock is None:
            raise RuntimeError(f"{self.path} is open for reading; use open(path, write=True)")
        self._lock.require()

    def close(self):
        """Give up the lock, if held; the folder can still be read."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __repr__(self):
        written = ", held for writing" * (self._lock is not None)
        try:
            epochs = f"{len(self.history())} epochs"
        except InputError:
            epochs = "a damaged history"
        return f"RunFolder({str(self.path)!r}, {epochs}{written})"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def append_history(self, record):
        """Add one epoch's record, a dict with an int "epoch", from 1; it is on disk on return.

        Floats come back equal to the bit; NaN and inf are refused with ValueError.
        """
        self.require_hold()
        if type(record.get("epoch")) is not int:
            raise ValueError(f'a history record needs an int "epoch", got {record.get("epoch")!r}')
        line = to_json(record, "the history record") + "\n"
        path = self.path / "history.jsonl"
        with explain("write", path, "free some space, then resume the run"):
            with open(path, "ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())

    def history(self):
        """The records of all epochs from 1 on, a list of dicts; [] before the first.

        Earlier versions counted from 0: such a history is counted anew. A last line without its newline
        was cut off by a kill and is left out. Raises InputError with the line number for any other line
        that cannot be read or is not that of the next epoch.
        """
        path = self.path / "history.jsonl"
        if not path.exists():
            return []
        with explain("read", path, "check its permissions"):
            *lines, _torn = path.read_bytes().split(b"\n")
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                record = parse_object(line)
            except ValueError:
                record = {}
            epoch = record.get("epoch")
            if type(epoch) is not int:
                raise InputError(
                    f"{path}, line {number} is no record of an epoch; mend that line, or restore the "
                    "file from a copy"
                )
            if not records:
                shift = 1 if epoch == 0 else 0
            if epoch + shift != number:
                raise InputError(
                    f"{path}, line {number} is not the record of epoch {number - shift}: lines were lost, "
                    "doubled or moved; restore the file from a copy"
                )
            records.append({**record, "epoch": number})
        return records

    def truncate_history(self, epochs):
        """Keep only the records of the first `epochs` epochs, and no torn line."""
        self.require_hold()
        kept = self.history()[:epochs]
        lines = [to_json(record, "the history record") + "\n" for record in kept]
        atomic_write(self.path / "history.jsonl", "".join(lines))

    def save(self, arrays, meta):
        """Replace the run's checkpoint, which also records the run's config; see `save_checkpoint`."""
        self.require_hold()
        meta = {**meta, "config": self.config}
        save_checkpoint(self.path / "checkpoint.npz", arrays, meta)

    def load(self):
        """The run's checkpoint, (arrays, meta); see `load_checkpoint`.

        Raises InputError also for the checkpoint of a run with another config.
        """
        path = self.path / "checkpoint.npz"
        arrays, meta = load_checkpoint(path)
        if meta.pop("config", None) != self.config:
            raise InputError(
                f"{path} belongs to a run with another configuration than config.json "
                "beside it; put back the file that was there, or start a new run"
            )
        return arrays, meta

    @property
    def has_checkpoint(self):
        """Whether a checkpoint was saved; without one, resuming starts at the first epoch."""
        return (self.path / "checkpoint.npz").exists()

    def write_result(self, name, result):
        """Write a dict as a JSON file called `name`, such as "result.json", atomically."""
        if self._lock is not None:
            self.require_hold()
        atomic_write(self.path / name, to_json(result, name, _INDENT) + "\n")

    @property
    def figures(self):
        """The folder of the run's pictures, made when first asked for."""
        if self._lock is not None:
            self.require_hold()
        path = self.path / "figures"
        with explain("make the folder", path, "choose a folder that can be written"):
            path.mkdir(exist_ok=True)
        return path
