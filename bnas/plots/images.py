"""Figures of images: samples of a data set, and those that a network got wrong."""

import numpy as np

from bnas.errors import InputError
from bnas.plots.epochs import text_width
from bnas.plots.figure import Figure

_COLUMNS, _TITLE_SIZE = 10, 8  # of the grid; points
_SIDE, _GAP, _TITLE, _HEAD = (
    0.9,
    0.08,
    0.2,
    0.4,
)  # inches: least width, between, above each, above all


def samples_figure(images, labels, mean=None, std=None, count=50, what="images"):
    """Images with their labels, of every class as many as of any other while they last.

    images (N, C, H, W), labels (N,) integers; mean, std (C,): what a normalisation took out of the
    pixels, as in a bnas.data.Dataset. count: how many images at most; what: how the title calls
    them. Raises InputError for other shapes.
    """
    images, labels = _checked(images, labels=labels)
    classes, class_of = np.unique(labels, return_inverse=True)
    by_class = np.argsort(class_of, kind="stable")
    first = np.searchsorted(class_of[by_class], np.arange(len(classes)))
    turn = np.empty(len(labels), int)  # how many of its class come before an image
    turn[by_class] = np.arange(len(labels)) - first[class_of[by_class]]
    shown = np.lexsort((class_of, turn))[:count]
    pictures = _pixels(images[shown], mean, std)
    columns = len(classes) if 5 <= len(classes) <= 2 * _COLUMNS else _COLUMNS
    title = f"{len(shown)} of {len(labels):,} {what}, with their labels"
    return _grid(pictures, [f"{label}" for label in labels[shown]], title, columns)


def mistakes_figure(images, labels, predictions, mean=None, std=None, count=50, what="images"):
    """The images whose prediction is not their label, the first `count` of them, with both.

    images (N, C, H, W), labels and predictions (N,) integers; the rest as for `samples_figure`.
    Raises InputError for other shapes.
    """
    images, labels, predictions = _checked(images, labels=labels, predictions=predictions)
    wrong = np.flatnonzero(labels != predictions)
    shown = wrong[:count]
    pictures = _pixels(images[shown], mean, std)
    titles = [f"{labels[i]}, taken for {predictions[i]}" for i in shown]
    share = 100 * len(wrong) / len(labels)
    title = f"{len(wrong):,} of {len(labels):,} {what} wrong ({share:.2f} %)"
    title += f", the first {len(shown)}" * (len(shown) < len(wrong))
    return _grid(pictures, titles, title, _COLUMNS)


def _checked(images, **classes):
    images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(
            f"images have shape {images.shape}, expected (N, C, H, W) with no size of 0"
        )
    arrays = [np.asarray(array) for array in classes.values()]
    for name, array in zip(classes, arrays):
        if array.shape != images.shape[:1] or array.dtype.kind not in "iu":
            raise InputError(
                f"{name} are {array.dtype} of shape {array.shape}, expected integers of shape "
                f"({len(images)},), one for each image"
            )
    return images, *arrays


def _pixels(images, mean, std):
    """(N, H, W), or (N, H, W, 3) for three channels, from 0 to 1; other channels are averaged."""
    images = np.asarray(images, np.float64)
    if mean is not None and std is not None:
        images = images * np.reshape(std, (-1, 1, 1)) + np.reshape(mean, (-1, 1, 1))
    if images.shape[1] == 3:
        images = images.transpose(0, 2, 3, 1)
    else:
        images = images.mean(axis=1)
    low, high = images.min(initial=np.inf), images.max(initial=-np.inf)
    return (images - low) / (high - low) if high > low else np.zeros_like(images)


def _grid(pictures, titles, title, columns):
    """Pictures in rows, each below its title."""
    columns = max(1, min(columns, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    width = max([_SIDE, *(text_width(text, _TITLE_SIZE) + 0.12 for text in titles)])
    side = width - _GAP
    height = side * min(pictures.shape[1] / pictures.shape[2], 4)
    row = height + _TITLE + _GAP
    total = max(columns * width, text_width(title, 12) + 0.3), rows * row + _HEAD
    figure = Figure(figsize=total)
    figure.suptitle(title, y=1 - 0.08 / total[1])
    ax = figure.add_axes((0, 0, 1, 1))  # one for all is fast; one data unit is one inch
    ax.set_axis_off()
    left = (total[0] - columns * width) / 2
    for k, (picture, text) in enumerate(zip(pictures, titles)):
        x, y = left + k % columns * width + _GAP / 2, _HEAD + k // columns * row + _TITLE
        place = (x, x + side, y + height, y)
        ax.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=place)
        ax.text(x + side / 2, y - 0.04, text, ha="center", va="bottom", fontsize=_TITLE_SIZE)
    ax.set(xlim=(0, total[0]), ylim=(total[1], 0), aspect="auto")
    return figure
