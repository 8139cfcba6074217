"""What the figures over the epochs share: the numbers in the history, axes, lines, the legend."""

import numpy as np
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from bnas.errors import InputError
from bnas.space.genotype import shorten

PHASES = {  # value: name, background
    "parent": ("Parent phase", "#FFFFFF"),
    "child": ("Child phase", "#E8E8E8"),
    "supernet": ("Supernet", "#FFFFFF"),
    "individual": ("Individuals", "#E9F1F8"),
    "search": ("Search", "#FFFFFF"),
}
STAGES = {
    "real": ("real", "#FFFFFF"),
    "activations": ("1-bit activations, real weights", "#FFFFFF"),
    "binary": ("1-bit activations and weights", "#E8E8E8"),
}
# Of a line on training images, beside one on validation images.
TRAINING_LINE = {"linestyle": "--", "markerfacecolor": "white"}
PARENT_COLOR, CHILD_COLOR = "#0072B2", "#D55E00"
LARGEST = 1e300  # beyond it the axes overflow
_LEGEND_SIZE = 9  # points


def read(history, key):
    """One value per epoch, or an InputError for a history without them."""
    if not history:
        raise InputError("the history is empty: there is no finished epoch to draw")
    if any(key not in record for record in history):
        raise InputError(
            f"the history lacks {key!r} in some epoch: it was not written by this version of bnas"
        )
    return [record[key] for record in history]


def read_numbers(history, key):
    """float64 array with one entry per epoch, NaN where the history has null; InputError for no numbers."""
    values = read(history, key)
    for value in values:
        number = type(value) in (int, float) and abs(value) <= LARGEST
        if not number and value is not None:
            raise InputError(
                f"the history's {key} must be a number in every epoch, up to {LARGEST:g}, got "
                f"{shorten(value)}"
            )
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def epoch_axis(ax, history, key, kinds):
    """Shade the background by `record[key]`, mark the rounds, and let the x axis count epochs.

    Returns legend entries for the kinds that occur.
    """
    epochs = read(history, "epoch")
    values = read(history, key)
    if not all(isinstance(value, str) and value in kinds for value in values):
        raise InputError(f"the history has an unknown {key}: expected one of {list(kinds)}")
    rounds = [record.get("round") for record in history]
    first = 0
    for last in range(len(history)):
        if last + 1 < len(history) and values[last + 1] == values[first]:
            continue
        ax.axvspan(
            epochs[first] - 0.5,
            epochs[last] + 0.5,
            color=kinds[values[first]][1],
            linewidth=0,
            zorder=0,
        )
        first = last + 1
    for k in range(1, len(history)):
        individuals = values[k] == values[k - 1] == "individual"  # too many to part them by lines
        if rounds[k] != rounds[k - 1] and not individuals:
            ax.axvline(epochs[k] - 0.5, color="#666666", linewidth=0.8, zorder=1)
    ax.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    return [
        Patch(facecolor=color, edgecolor="#666666", label=name)
        for value, (name, color) in kinds.items()
        if value in values
    ]


def draw_line(ax, x, y, linewidth=1.5, **style):
    """A line with markers on every eighth of it, and where it starts anew after a gap (NaN).

    So a stretch of one epoch shows, and sixty epochs are not a blur.
    """
    drawn = np.isfinite(y)
    starts = drawn & ~np.concatenate([[False], drawn[:-1]])
    regular = np.arange(len(x)) % max(1, len(x) // 8) == 0
    ax.plot(
        x,
        y,
        markevery=list(np.flatnonzero(starts | regular)),
        linewidth=linewidth,
        markersize=4.5,
        **style,
    )


def log_if_wide(ax, values):
    """A logarithmic y axis when positive values span two orders of magnitude or more."""
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() >= 100 * values.min():
        ax.set_yscale("log")


def draw_legend(figure, handles, columns):
    """A legend below the panels, in at most so many columns; long names get fewer.

    The figure grows by the rows beyond two, so that its panels stay as high as they were.
    """
    labels = [handle.get_label() for handle in handles]
    widest = max(text_width(label, _LEGEND_SIZE) for label in labels)
    widest += 4.8 * _LEGEND_SIZE / 72  # the handle and the space around it, in inches
    columns = max(1, min(columns, int(figure.get_figwidth() / widest)))
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.2 * max(0, rows - 2))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=_LEGEND_SIZE)


def text_width(text, points):
    """The width of a line of text, in inches."""
    return TextPath((0, 0), text, size=points).get_extents().width / 72
