"""From a split to training batches: shuffling and the standard augmentations.

Randomness comes from the generator passed in: the same seed gives the same batches, bit for bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bnas.data.datasets import Split
from bnas.errors import InputError


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images that leave their class alone, in this order:

    crop_padding: pad p pixels of 0 on every side and cut the old size out at a random offset;
    flip: mirror left and right with probability 1/2;
    cutout: set a square of this side to 0, its centre uniform over the pixels, so that it may hang
      over the border (DeVries & Taylor 2017, arXiv 1708.04552). A centre at (y, x) covers rows
      y - side//2 to y - side//2 + side - 1, columns likewise.
    Each image has its own draws. In normalised images 0 is the mean of the training split.
    Raises InputError for sizes that are not integers >= 0 or a flip that is not a bool.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self):
        for name in ("crop_padding", "cutout"):
            size = getattr(self, name)
            if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 0:
                raise InputError(f"{name} is {size!r}, expected an integer >= 0 (pixels)")
        if not isinstance(self.flip, bool):
            raise InputError(f"flip is {self.flip!r}, expected True or False")

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A changed copy of images (N, C, H, W), of their dtype; images stay as they are."""
        if images.ndim != 4:
            raise ValueError(f"images have shape {images.shape}, expected (N, C, H, W)")
        n, _, height, width = images.shape
        if self.crop_padding:
            out = _random_crop(images, self.crop_padding, rng)
        else:
            out = images.copy()
        if self.flip:
            mirrored = rng.random(n) < 0.5
            out[mirrored] = out[mirrored][..., ::-1]
        if self.cutout:
            rows = _random_spans(n, height, self.cutout, rng)
            columns = _random_spans(n, width, self.cutout, rng)
            np.copyto(out, 0, where=rows[:, None, :, None] & columns[:, None, None, :])
        return out


def _random_crop(images: np.ndarray, padding: int, rng: np.random.Generator) -> np.ndarray:
    n, channels, height, width = images.shape
    padded = np.zeros((n, channels, height + 2 * padding, width + 2 * padding), images.dtype)
    padded[..., padding:-padding, padding:-padding] = images  # np.pad takes twice as long
    # A view of every crop there is, (N, C, 2p + 1, 2p + 1, H, W); indexing copies one per image.
    crops = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    top, left = rng.integers(0, 2 * padding + 1, size=(2, n))
    return crops[np.arange(n), :, top, left]


def _random_spans(n: int, size: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """bool (n, size): True on `side` pixels around a centre drawn for each of n rows."""
    first = rng.integers(0, size, size=(n, 1)) - side // 2
    pixel = np.arange(size)
    return (pixel >= first) & (pixel < first + side)


def default_augmentation(name: str) -> Augmentation:
    """The usual augmentation of a data set, by its name.

    cifar10: crop 4, flip and cutout 16, as DARTS trains a found network (Liu et al. 2019, arXiv
    1806.09055); its search leaves cutout out. mnist: crop 2; digits: crop 1. No flip, for a
    mirrored digit is no digit; no cutout, for one stroke tells 3 from 8.
    Raises InputError for an unknown name.
    """
    if name not in _AUGMENTATIONS:
        raise InputError(f"unknown data set {name!r}: choose one of {', '.join(_AUGMENTATIONS)}")
    return _AUGMENTATIONS[name]


_AUGMENTATIONS = {
    "digits": Augmentation(crop_padding=1),
    "mnist": Augmentation(crop_padding=2),
    "cifar10": Augmentation(crop_padding=4, flip=True, cutout=16),
}


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
