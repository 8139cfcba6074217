"""Optimisers and learning rates, with the names and rules of torch.optim."""

from bnas.optim import lr_scheduler
from bnas.optim.lr_scheduler import cosine_schedule
from bnas.optim.optimisers import (
    SGD,
    Adam,
    AdamW,
    Optimiser,
    clip_grad_norm,
    descend,
    require_finite,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Optimiser",
    "clip_grad_norm",
    "cosine_schedule",
    "descend",
    "lr_scheduler",
    "require_finite",
]


def __dir__():
    return sorted(__all__)
