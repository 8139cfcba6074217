"""Remedies for the collapse of a differentiable search into skips and poolings. All are off unless asked for.

Warm-up, the fifth, needs no code here: α rests in the first epochs (`bnas.search.epochs.PhasedSearch.rests`).
"""

import numpy as np

from bnas.search.paths import restricted_accuracy
from bnas.space.alpha import edge_entropies, mixing_weights
from bnas.space.genotype import edges


def temperature_at(progress, last):
    """T of softmax(α / T) at a share `progress` of the search, 0 to 1: from 1 to `last` by equal factors.

    A temperature that falls lets α decide late and then for good (Bulat et al., BATS, ECCV 2020).
    """
    return float(last**progress)


def entropy_gradient(alpha, temperature, mask, reward):
    """Gradient for α of -reward Σ_e H_e, H_e the entropy of softmax(α / T) on edge e: reward s (ln s + H) / T.

    A reward that falls over time keeps the operations in competition at first (Kim et al., Learning Architectures
    for Binary Networks, ECCV 2020, where it falls exponentially); a negative one makes α decide. mask: as of
    `mixing_weights`. Shapes: that of α.
    """
    weights = mixing_weights(alpha, temperature, mask)
    logs = np.log(np.where(weights > 0, weights, 1))
    slopes = weights * (logs + edge_entropies(weights)[..., None])
    return (reward / temperature * slopes).astype(np.asarray(alpha).dtype)


def too_many_skips(genotype, most):
    """Whether the normal cell has `most` skips or more: time to stop (Liang et al., DARTS+, 2019)."""
    return sum(name == "skip_connect" for name, _ in genotype.normal) >= most


def perturbation_selection(supernet, split, rng, cost):
    """What the supernet's accuracy suffers most without, as a mask of the shape of α for `mask_genotype`.

    The size of α does not tell how much an operation matters (Wang et al., Rethinking Architecture Selection in
    Differentiable NAS, ICLR 2021). Edge by edge, in random order, each operation is left out in turn; that whose
    absence costs the most accuracy on `split` stays, alone. Then each node keeps the two edges that it can
    spare least, found likewise. Equal accuracies are decided by α. There the supernet is tuned between two
    edges; here it is not, which costs evaluations alone.
    """
    alpha, operations = supernet.alpha.data, supernet.operations
    weights = mixing_weights(alpha, supernet.temperature)
    mask = np.ones(alpha.shape, bool)

    def spare(without):
        """(accuracy without some entries of the mask, minus their weight): the least is what is missed most."""
        left = mask & ~without
        return restricted_accuracy(supernet, left, split, cost), -float(
            weights[mask & without].max()
        )

    def entries(kind, e, m=slice(None)):
        chosen = np.zeros(alpha.shape, bool)
        chosen[kind, e, m] = True
        return chosen

    pairs = edges(supernet.cells[0].nodes)
    real = [m for m, name in enumerate(operations) if name != "none"]
    for number in rng.permutation(len(alpha) * len(pairs)):
        kind, e = divmod(int(number), len(pairs))
        missed = min(real, key=lambda m: spare(entries(kind, e, m)))
        mask[kind, e] = np.arange(len(operations)) == missed
    for kind in range(len(alpha)):
        for node in range(2, pairs[-1][1] + 1):
            into = [e for e, (_, j) in enumerate(pairs) if j == node]
            if len(into) > 2:
                missed = sorted(into, key=lambda e: spare(entries(kind, e)))[:2]
                mask[kind, [e for e in into if e not in missed]] = False
    return mask
