"""What is written in a figure, and whether it can be read."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex


def draw(figure):
    """Lay the figure out and return a renderer that measures its texts."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def drawn_texts(figure):
    """(text, bounding box in pixels with its frame, if any) of every text that is visible."""
    renderer = draw(figure)
    texts = list(figure.texts) + [figure._suptitle] * (figure._suptitle is not None)
    for legend in figure.legends:
        texts += legend.get_texts()
    for ax in figure.axes:
        if not ax.get_visible():
            continue
        texts += ax.texts
        if ax.axison:
            texts += [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
            for axis, side, along in ((ax.xaxis, ax.get_xlim(), 0), (ax.yaxis, ax.get_ylim(), 1)):
                texts += [
                    label
                    for label in axis.get_ticklabels()
                    if min(side) <= label.get_position()[along] <= max(side)
                ]
    unique = {id(text): text for text in texts if text.get_visible() and text.get_text()}
    return [
        (text, (text.get_bbox_patch() or text).get_window_extent(renderer))
        for text in unique.values()
    ]


def assert_texts_fit(figure):
    boxes = drawn_texts(figure)
    assert boxes
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text
    for (text, box), (other, other_box) in itertools.combinations(boxes, 2):
        assert not box.overlaps(other_box), (text, other)


def lines(ax):
    """{label: line} of a panel."""
    return {line.get_label(): line for line in ax.get_lines()}


def shaded(ax):
    """(first, last, colour) of the shaded stretches of epochs."""
    ax.get_xlim()  # settles the limits before anything is measured
    stretches = []
    for patch in ax.patches:
        if patch.get_zorder() == 0:
            (left, _), (right, _) = ax.transData.inverted().transform(patch.get_window_extent())
            stretches.append((round(left, 6), round(right, 6), to_hex(patch.get_facecolor())))
    return stretches
