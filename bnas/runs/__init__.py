"""Runs: long jobs that survive being killed (`jobs`), their folders (`folder`), files written whole (`files`).

`weights` saves the weights of any Module in such a file.
"""

from bnas.runs.files import atomic_write, explain, load_checkpoint, save_checkpoint
from bnas.runs.folder import RunFolder, require_same_config
from bnas.runs.jobs import Silent, run
from bnas.runs.weights import load_weights, save_weights

__all__ = [
    "RunFolder",
    "Silent",
    "atomic_write",
    "explain",
    "load_checkpoint",
    "load_weights",
    "require_same_config",
    "run",
    "save_checkpoint",
    "save_weights",
]
