"""From a split to training batches: shuffling, and an augmentation of each batch.

Randomness comes from the generator passed in: the same seed gives the same batches, bit for bit.
"""

from collections.abc import Iterator

import numpy as np

from bnas.data.augmentation import Augmentation
from bnas.data.datasets import Split
from bnas.errors import InputError


def batches(
    split: Split | tuple[np.ndarray, ...],
    batch_size: int,
    rng: np.random.Generator | None = None,
    augment: Augmentation | None = None,
    drop_last: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One pass over a split, or over arrays of one length: copies of their parts, every image once.

    split: a Split, or a tuple of arrays, such as (images, labels), whose first axes are of one length. Each
    batch is a tuple of as many arrays, of a Split (images (B, C, H, W), labels (B,)).

    Without rng the order is that of the split, for evaluation; with it, it is shuffled (drawn at
    the call) and `augment` changes each batch of images. The last batch may be smaller, unless
    drop_last leaves it out. It may hold a single image, of which batch norm cannot take a
    variance over 1x1 maps: a training loop wants drop_last. Raises, at the call, InputError for a
    batch_size below 1 or a drop_last that leaves nothing, ValueError for augment without rng.
    """
    images, *others = (split.images, split.labels) if isinstance(split, Split) else _arrays(split)
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}, expected at least 1")
    if drop_last and batch_size > len(images):
        raise InputError(
            f"batch_size is {batch_size} but the split has {len(images)} images, so drop_last "
            "leaves no batch: choose a smaller batch_size"
        )
    if augment is not None and rng is None:
        raise ValueError("augment draws random numbers: pass rng")
    order = np.arange(len(images)) if rng is None else rng.permutation(len(images))
    stop = len(images) - len(images) % batch_size if drop_last else len(images)
    indices = [order[start : start + batch_size] for start in range(0, stop, batch_size)]

    # A function of its own, so that the checks above run at the call and not at the first next().
    def generate():
        for index in indices:
            first = images[index]
            first = first if augment is None else augment(first, rng)
            yield first, *(array[index] for array in others)

    return generate()


def _arrays(arrays):
    """`arrays`, a tuple of arrays of one length, as they are."""
    if not isinstance(arrays, (tuple, list)) or not arrays:
        raise TypeError(
            f"batches: expected a Split or a tuple of arrays, got {type(arrays).__name__}; "
            "write batches((images, labels), batch_size)"
        )
    arrays = [np.asarray(array) for array in arrays]
    lengths = [array.shape[0] if array.ndim else None for array in arrays]
    if None in lengths or len(set(lengths)) > 1:
        raise ValueError(f"batches: the arrays have {lengths} rows, expected as many in each")
    return arrays
