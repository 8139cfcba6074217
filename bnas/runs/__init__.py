"""Runs: long jobs that survive being killed (`jobs`), their folders (`folder`), files written whole (`files`)."""

from bnas.runs.files import atomic_write, explain, load_checkpoint, save_checkpoint
from bnas.runs.folder import RunFolder, require_same_config
from bnas.runs.jobs import Silent, run

__all__ = [
    "RunFolder",
    "Silent",
    "atomic_write",
    "explain",
    "load_checkpoint",
    "require_same_config",
    "run",
    "save_checkpoint",
]
