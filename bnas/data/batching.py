"""From a split to training batches: shuffling, and an augmentation of each batch.

Randomness comes from the generator passed in: the same seed gives the same batches, bit for bit.
"""

from collections.abc import Iterator

import numpy as np

from bnas.data.augmentation import Augmentation
from bnas.data.datasets import Split
from bnas.errors import InputError


def batches(
    split: Split,
    batch_size: int,
    rng: np.random.Generator | None = None,
    augment: Augmentation | None = None,
    drop_last: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One pass over a split: copies (images (B, C, H, W), labels (B,)), every image once.

    Without rng the order is that of the split, for evaluation; with it, it is shuffled (drawn at
    the call) and `augment` changes each batch of images. The last batch may be smaller, unless
    drop_last leaves it out. It may hold a single image, of which batch norm cannot take a
    variance over 1x1 maps: a training loop wants drop_last. Raises, at the call, InputError for a
    batch_size below 1 or a drop_last that leaves nothing, ValueError for augment without rng.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}, expected at least 1")
    if drop_last and batch_size > len(split):
        raise InputError(
            f"batch_size is {batch_size} but the split has {len(split)} images, so drop_last "
            "leaves no batch: choose a smaller batch_size"
        )
    if augment is not None and rng is None:
        raise ValueError("augment draws random numbers: pass rng")
    order = np.arange(len(split)) if rng is None else rng.permutation(len(split))
    stop = len(split) - len(split) % batch_size if drop_last else len(split)
    indices = [order[start : start + batch_size] for start in range(0, stop, batch_size)]

    # A function of its own, so that the checks above run at the call and not at the first next().
    def generate():
        for index in indices:
            images = split.images[index]
            yield (images if augment is None else augment(images, rng)), split.labels[index]

    return generate()
