"""Looking at data in a terminal: a table of the splits, and an image in characters."""

import numpy as np

from bnas.data.datasets import Dataset

_SHADES = np.array(list(" .:-=+*#%@"))


def describe(dataset: Dataset) -> str:
    """A table of the splits: images, statistics of the normalised pixels, images per class."""
    channels, height, width = dataset.image_shape
    lines = [
        f"{dataset.name}: {dataset.classes} classes, float32 images of {channels} x {height} x "
        f"{width} (channels x height x width)",
        f"{'split':10} {'images':>7} {'mean':>7} {'std':>7} {'min':>7} {'max':>7}  per class",
    ]
    for name, split in dataset.splits.items():
        x = split.images
        statistics = (x.mean(dtype=np.float64), x.std(dtype=np.float64), x.min(), x.max())
        # Adding 0 turns the -0.0 of a rounded mean into 0.0.
        numbers = " ".join(f"{round(float(value), 3) + 0:7.3f}" for value in statistics)
        counts = " ".join(map(str, np.bincount(split.labels, minlength=dataset.classes)))
        lines.append(f"{name:10} {len(split):7,} {numbers}  {counts}")
    return "\n".join(lines)


def ascii_image(image: np.ndarray) -> str:
    """Draw an image (H, W) or (C, H, W) in characters, darkest blank and brightest `@`.

    Channels are averaged; every pixel is two characters wide, about a square in a terminal.
    """
    if image.ndim not in (2, 3):
        raise ValueError(f"image has shape {image.shape}, expected (H, W) or (C, H, W)")
    grey = image.mean(axis=0) if image.ndim == 3 else image
    span = (grey.max() - grey.min()) or 1
    shade = np.rint((grey - grey.min()) / span * (len(_SHADES) - 1)).astype(int)
    return "\n".join("".join(row) for row in np.repeat(_SHADES[shade], 2, axis=1))
