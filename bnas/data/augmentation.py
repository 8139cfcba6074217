"""The standard augmentations: random changes to training images that leave their class alone.

Randomness comes from the generator passed in: the same seed gives the same images, bit for bit.
"""

from dataclasses import dataclass

import numpy as np

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
