"""Made-up histories of searches, as the strategies record them."""

import numpy as np

from bnas.space import PRIMITIVES, discretise, format_genotype, random_genotype


def search_history(epochs=8, nodes=4, per_phase=2, seed=0, operations=PRIMITIVES):
    """Parent and Child in turn, `per_phase` epochs each, as earlier versions recorded them: from epoch 0 on."""
    shape = (2, nodes * (nodes + 3) // 2, len(operations))
    rng = np.random.default_rng(seed)
    history = []
    for epoch in range(epochs):
        turn = epoch // per_phase
        child = turn % 2 == 1
        history.append(
            {
                "epoch": epoch,
                "round": turn // 2,
                "phase": "child" if child else "parent",
                "loss": rng.uniform(1, 3),
                "train_accuracy": rng.uniform(),
                "seconds": 1.0,
                "validation_accuracy": rng.uniform(),
                "alpha": rng.normal(size=shape).tolist(),
                "distance": rng.uniform(1, 9) if child else None,
                "angle": rng.uniform(0, 180) if child else None,
                "kl": rng.uniform() if child else None,
                "reconstruction": rng.uniform() if child else None,
            }
        )
    return history


def column(history, key, phase=None):
    return np.array(
        [np.nan if r[key] is None or phase not in (None, r["phase"]) else r[key] for r in history]
    )


def supernet_history(epochs=6, nodes=2, seed=0, operations=PRIMITIVES, phase="supernet"):
    """One supernet on cross-entropy, which records its genotype."""
    history = search_history(epochs, nodes, epochs, seed, operations)
    for record in history:
        record |= {"epoch": record["epoch"] + 1, "phase": phase, "distance": None, "angle": None}
        record["genotype"] = format_genotype(discretise(record["alpha"], operations))
    return history


def individual_history(epochs=(2, 3, 2), nodes=2, seed=0, operations=PRIMITIVES):
    """Individuals trained from scratch one after another, for so many epochs each."""
    rng = np.random.default_rng(seed)
    history, best, genotype = [], -1.0, None
    for number, count in enumerate(epochs):
        drawn = format_genotype(random_genotype(nodes, rng, operations))
        for _ in range(count):
            accuracy = rng.uniform()
            if accuracy > best:
                best, genotype = accuracy, drawn
            history.append(
                {
                    "epoch": len(history) + 1,
                    "round": number,
                    "phase": "individual",
                    "loss": rng.uniform(1, 3),
                    "train_accuracy": rng.uniform(),
                    "validation_accuracy": accuracy,
                    "distance": None,
                    "angle": None,
                    "alpha": None,
                    "genotype": genotype,
                }
            )
    return history
