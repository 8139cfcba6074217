"""Losses as Modules, with the names of torch.nn; what they compute is an operation of bnas.functional."""

import bnas.functional as F
from bnas.nn.module import Module


class CrossEntropyLoss(Module):
    """F.cross_entropy of logits (B, N) and labels (B,)."""

    def __init__(self, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
        self.weight, self.ignore_index = weight, ignore_index
        self.reduction, self.label_smoothing = reduction, label_smoothing

    def forward(self, x, target):
        return F.cross_entropy(
            x,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Module):
    """F.nll_loss of log-probabilities (B, N) and labels (B,)."""

    def __init__(self, weight=None, *, ignore_index=-100, reduction="mean"):
        self.weight, self.ignore_index, self.reduction = weight, ignore_index, reduction

    def forward(self, x, target):
        return F.nll_loss(
            x, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class MSELoss(Module):
    """F.mse_loss of two Tensors of one shape."""

    def __init__(self, *, reduction="mean"):
        self.reduction = reduction

    def forward(self, x, target):
        return F.mse_loss(x, target, reduction=self.reduction)
