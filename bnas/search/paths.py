"""Paths through a supernet: architectures judged with the weights that they share."""

from contextlib import contextmanager

import numpy as np

from bnas import nn
from bnas.autodiff import no_grad
from bnas.evaluation import BATCH


@contextmanager
def batch_statistics(network):
    """Inside this context batch norms go by the statistics of each batch; the running ones stay as they are.

    Running statistics are those of all candidates together. Of a part of them they are wrong.
    """
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    kept = [(norm.running_mean.copy(), norm.running_var.copy()) for norm in norms]
    try:
        with nn.in_mode(network, True):
            yield
    finally:
        for norm, (mean, variance) in zip(norms, kept):
            norm.running_mean[...], norm.running_var[...] = mean, variance


def restricted_accuracy(supernet, mask, split, cost):
    """Share of a split's images that the candidates of `mask` alone, bool of the shape of α, predict, 0 to 1.

    Batch norms go by the statistics of the images. cost: Cost, which counts them.
    """
    parts = -(-len(split) // BATCH)
    right = 0
    with supernet.restricted(mask), batch_statistics(supernet), no_grad():
        for rows in np.array_split(np.arange(len(split)), parts):
            logits = supernet(split.images[rows]).data
            right += int((logits.argmax(axis=1) == split.labels[rows]).sum())
    cost.evaluate(len(split))
    return right / len(split)
