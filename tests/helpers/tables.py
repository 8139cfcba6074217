"""A synthetic table of architectures, in every way but its size like the real one."""

import numpy as np

from bnas.tabular import OPERATIONS, architectures, files

PROVENANCE = {"settings": {"channels": 2}, "machine": "a synthetic one"}


def synthetic_arrays(count, seed, seeds=3, epochs=4, real_epochs=3, images=200):
    """The arrays of one data set for `count` architectures whose accuracies are drawn."""
    rng = np.random.default_rng(seed)
    quality = rng.uniform(0.3, 0.95, count)

    def right(trainings, last):
        growth = np.linspace(0.5, 1, last)
        share = quality[:, None, None] * growth + rng.normal(0, 0.02, (count, trainings, last))
        return (images * np.clip(share, 0, 1)).astype(np.uint16)

    arrays = {f"{split}_images": np.int64(images) for split in ("validation", "test")}
    for precision, trainings, last in (("binary", seeds, epochs), ("real", 1, real_epochs)):
        arrays |= {
            f"{precision}_loss": rng.uniform(0.1, 2, (count, trainings, last)).astype(np.float32),
            f"{precision}_validation": right(trainings, last),
            f"{precision}_test": right(trainings, last),
            f"{precision}_seconds": rng.uniform(1, 5, (count, trainings)).astype(np.float32),
        }
    for name in ("parameters", "bits", "binary_macs", "real_macs", "packed_bytes"):
        arrays[name] = rng.integers(1000, 90_000, count)
    arrays["packed_latency"] = rng.uniform(0.5, 2, count).astype(np.float32)
    return arrays


def write_table(folder, operations=OPERATIONS, datasets=("digits", "fashion")):
    """Write a table of all architectures over `operations`; returns {data set: arrays}."""
    count = len(architectures(operations))
    arrays = {name: synthetic_arrays(count, seed) for seed, name in enumerate(datasets)}
    files.write(folder, operations, arrays, PROVENANCE)
    return arrays
