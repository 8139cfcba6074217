"""How an operation looks: the same in every figure of a run.

The colours of the fixed operations are those of Okabe and Ito, safe for colour-blind readers; line
styles, markers and hatches carry the same information in greyscale.
"""

from typing import NamedTuple

from matplotlib.colors import to_rgb

from bnas.space.operations import distinct_names


class Style(NamedTuple):
    """Of an operation: its colour, line style and marker of its lines, hatch of its bars."""

    color: str
    linestyle: str
    marker: str
    hatch: str

    @property
    def line(self):
        """The keyword arguments of a line."""
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker}

    @property
    def hatch_color(self):
        """A grey that shows on the colour."""
        red, green, blue = to_rgb(self.color)
        return "#BBBBBB" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.3 else "#333333"


OPERATION_STYLES = {
    "none": Style("#999999", ":", "x", ""),
    "skip_connect": Style("#D55E00", "-", "s", ""),
    "dil_conv_3x3": Style("#56B4E9", "--", "<", "///"),
    "dil_conv_5x5": Style("#0072B2", "--", ">", "\\\\\\"),
    "max_pool_3x3": Style("#CC79A7", "-.", "^", ".."),
    "avg_pool_3x3": Style("#E69F00", "-.", "v", "oo"),
    "sep_conv_3x3": Style("#009E73", "-", "o", "--"),
    "sep_conv_5x5": Style("#000000", "-", "D", "xx"),
    "sep_conv_7x7": Style("#B5A800", "-", "P", "++"),  # the palette's yellow, darkened
    "conv_7x1_1x7": Style("#6A4C93", "--", "*", "||"),
}

# What other operations take, one after another. The numbers of colours and of markers have no
# common divisor, so 42 operations look different before the first style returns.
_COLORS = ("#773322", "#88C057", "#2A2AE0", "#00BEC8", "#E0208C", "#00595C", "#F08A80")
_LINESTYLES = ("-", "--", "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)))
_MARKERS = ("p", "d", "X", (4, 1, 0), "h", (6, 1, 0))  # the tuples are stars of 4 and 6 points
_HATCHES = ("O", "**", "//..", "-o", "|.", "x.")


def operation_styles(operations):
    """{name: Style} of all fixed operations and of those in `operations`, a tuple of names.

    Names that are not fixed take the styles of a reserve in their order. Raises InputError for
    repeated names or none other than "none".
    """
    own = [name for name in distinct_names(operations) if name not in OPERATION_STYLES]
    reserve = (_COLORS, _LINESTYLES, _MARKERS, _HATCHES)
    return OPERATION_STYLES | {
        name: Style(*(choices[k % len(choices)] for choices in reserve))
        for k, name in enumerate(own)
    }
