"""Figures of a trained network: what it takes for what, and where its bits are."""

import numpy as np
from matplotlib.ticker import EngFormatter, MaxNLocator

from bnas.errors import InputError
from bnas.plots.epochs import draw_legend, text_width
from bnas.plots.figure import Figure

_SHOWN = 25  # classes up to which the numbers are written into the cells
KINDS = {  # of bits: colour and hatch
    "1-bit weights": ("#D55E00", ""),
    "scales β": ("#E69F00", "//"),
    "real convolutions": ("#0072B2", "\\\\"),
    "batch norms": ("#56B4E9", ".."),
    "linear layers": ("#009E73", "--"),
    "other": ("#999999", "xx"),
}


def confusion_figure(labels, predictions, classes=None, what="images"):
    """How many images of each class were taken for which, a row for every label.

    labels, predictions: (N,) integers from 0, N >= 1; classes: how many there are, else one more than the
    largest; what: how the title calls the images. The shade is the share of the row. Raises InputError
    for anything else.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    for name, array in (("labels", labels), ("predictions", predictions)):
        if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
            raise InputError(
                f"{name} are {array.dtype} of shape {array.shape}, expected integers of shape (N,)"
            )
    if len(labels) != len(predictions):
        raise InputError(f"there are {len(labels)} labels, but {len(predictions)} predictions")
    lowest = min(labels.min(), predictions.min())
    highest = max(labels.max(), predictions.max())
    classes = int(highest) + 1 if classes is None else classes
    if lowest < 0 or highest >= classes:
        raise InputError(
            f"labels and predictions go from {lowest} to {highest}, expected 0 to {classes - 1}"
        )
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predictions), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    side = min(max(4.5, 0.45 * classes + 1.6), 11.0)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    right = int(counts.trace())
    ax.set_title(f"{right:,} of {len(labels):,} {what} right ({100 * right / len(labels):.2f} %)")
    ax.set_xlabel("predicted class")
    ax.set_ylabel("label")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(_SHOWN, integer=True, min_n_ticks=1))
    if classes <= _SHOWN:
        ax.set_xticks(range(classes))
        ax.set_yticks(range(classes))
        for i, j in np.argwhere(counts):
            color = "#FFFFFF" if shares[i, j] > 0.5 else "#000000"
            ax.text(j, i, counts[i, j], ha="center", va="center", fontsize=8, color=color)
    figure.colorbar(image, label="share of the label's images", shrink=0.8)
    return figure


def bits_figure(bits):
    """Where the bits of a network are: a bar for each part, divided by the kind of bits.

    bits: {part: {kind: bits}}, as `bnas.nn.bits_by_part` gives it. Raises InputError for kinds other than
    its, and for no bits at all.
    """
    unknown = {kind for row in bits.values() for kind in row} - set(KINDS)
    total = sum(sum(row.values()) for row in bits.values())
    if unknown or not total:
        raise InputError(
            f"bits are {bits!r:.80}, expected {{part: {{kind: bits}}}} as nn.bits_by_part gives it"
        )
    names = [name or "(itself)" for name in bits]
    reach = max(text_width(name, 10) for name in names)
    figure = Figure(figsize=(8.0 + reach, 0.36 * len(bits) + 2.0), layout="constrained")
    ax = figure.subplots()
    sums, left = {}, np.zeros(len(bits))
    bars = []
    for kind, (color, hatch) in KINDS.items():
        widths = np.array([row.get(kind, 0) for row in bits.values()])
        sums[kind] = widths.sum()
        if not sums[kind]:
            continue
        label = f"{kind}, {100 * sums[kind] / total:.1f} %"
        style = {"color": color, "hatch": hatch, "edgecolor": "#FFFFFF", "linewidth": 0}
        bars.append(ax.barh(range(len(bits)), widths, left=left, label=label, **style))
        left += widths
    for y, width in enumerate(left):
        ax.text(
            width + 0.01 * left.max(), y, f"{100 * width / total:.1f} %", va="center", fontsize=9
        )
    ax.set_yticks(range(len(bits)), names)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.1 * left.max())
    ax.xaxis.set_major_formatter(EngFormatter())
    ax.set_xlabel("bits")
    ax.set_title(f"Where the {total:,} bits are")
    draw_legend(figure, bars, columns=3)
    return figure
