"""Rooflines for the report, as text and as a figure."""

import math
import textwrap

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnas.bench.columns import WIDTH, Column, section, significant

PARTS = "steps", "networks"
# Okabe and Ito; the markers tell the kinds apart in greyscale.
_COLORS = "#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #A09000 #999999 #882255".split()
_MARKERS = "os^DvPX<>"
_WHOLE = "black", "*"
_NOTE = (
    "In the rooflines an operation is a multiply-add, of floats or of signs, or an addition or comparison in its "
    "place; the last line has the multiply-adds of convolutions alone. Bytes are those of the arrays that a "
    "kernel is given, each once. What is in no kernel, or in one that never shares its work between threads, is "
    "Python's and NumPy's. Seconds are means of the middle half of all repetitions."
)


def roofline_sections(roofline):
    """The roofs and all tables as text; [] if there are none. roofline: see `roofline.rooflines`."""
    if not roofline:
        return []
    roofs = roofline["roofs"]
    read = [f"{name} {rate / 1e9:.0f} GB/s" for name, rate in roofs["read"].items()]
    lines = [
        f"Roofs of one core: {roofs['floats'] / 1e9:.1f} G multiply-adds of float32 a second, "
        f"{roofs['signs'] / 1e9:.0f} G products of signs; reading {', '.join(read)}",
        _NOTE,
    ]
    head = "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines)
    return [head, *(_table(table, roofs) for table in roofline["tables"])]


def _table(table, roofs):
    rows = table["rows"]
    columns = [
        Column("", [row["name"] for row in rows], ""),
        Column("ms", [significant(1e3 * row["seconds"]) for row in rows], ""),
        Column("share", [f"{100 * row['share']:.1f} %" for row in rows], ""),
        Column("calls", [str(row["calls"] or "-") for row in rows], ""),
        Column("M operations", [_number(row["operations"], 1e6) for row in rows], ""),
        Column("MB", [_number(row["bytes"], 1e6) for row in rows], ""),
        Column("per byte", [_number(_intensity(row), 1) for row in rows], ""),
        Column("G/s", [_number(_rate(row), 1e9) for row in rows], ""),
        Column("of float peak", [_share(_rate(row) / roofs["floats"]) for row in rows], ""),
        Column("GB/s", [_number(row["bytes"] / row["seconds"], 1e9) for row in rows], ""),
    ]
    return section(table, columns)


def _number(value, scale):
    return significant(value / scale) if value else "-"


def _share(value):
    return f"{100 * value:.1f} %" if value else "-"


def _rate(row):
    """Operations a second."""
    return row["operations"] / row["seconds"]


def _intensity(row):
    """Operations a byte."""
    return row["operations"] / row["bytes"] if row["bytes"] else 0


def roofline_figure(results, part):
    """A matplotlib Figure: a panel for each table of a part, one of PARTS."""
    roofs, tables = results["roofline"]["roofs"], results["roofline"]["tables"]
    tables = [table for table in tables if table["part"] == part]
    lines = -(-len(tables) // 2)
    figure = Figure(figsize=(11, 0.5 + 4.4 * lines), layout="constrained")
    machine = results["machine"]
    title = f"Rooflines, one thread: bnas {machine['bnas']}, {machine['cpu']}"
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(lines, 2, squeeze=False, sharex=True, sharey=True).ravel()
    peaks = {"float32": roofs["floats"]}
    if part == "networks":
        peaks["signs, by popcount"] = roofs["signs"]
    drawn = [row for table in tables for row in table["rows"] if row["operations"]]
    rates, intensities = [_rate(row) / 1e9 for row in drawn], [_intensity(row) for row in drawn]
    # Room for names at the left, and for the legends beneath the roofs.
    axes[0].set(xscale="log", xlim=(min(intensities) / 10, max(intensities) * 50))
    axes[0].set(yscale="log", ylim=(min(rates) / 8, max(peaks.values()) / 1e9 * 2))
    names = dict.fromkeys(row["name"] for table in tables for row in _kinds(table))
    styles = dict(zip(names, zip(_COLORS, _MARKERS)))
    for ax, table in zip(axes, tables):
        _draw_roofs(ax, peaks, roofs["read"])
        _draw_rows(ax, table, styles, roofs["floats"])
    for ax in axes[len(tables) :]:
        ax.set_axis_off()
    return figure


def _kinds(table):
    """The rows that have operations, but for the last, that of the whole."""
    return [row for row in table["rows"][:-1] if row["operations"]]


def _draw_roofs(ax, peaks, read):
    left, right = ax.get_xlim()
    line = {"color": "#404040", "linewidth": 1}
    text = {"color": "#404040", "fontsize": 7.5, "va": "bottom"}
    top, widest = max(peaks.values()), max(read.values())
    for name, peak in peaks.items():
        ax.plot([peak / widest, right], [peak / 1e9] * 2, **line)
        ax.text(right, peak / 1e9, f"{name}, {peak / 1e9:,.0f} G/s ", ha="right", **text)
    for name, rate in read.items():
        slope, start = rate / 1e9, left * 1.15
        ax.plot([left, top / rate], [left * slope, top / 1e9], **line)
        along = {
            "rotation": math.degrees(math.atan(slope)),
            "rotation_mode": "anchor",
            "transform_rotates_text": True,
        }
        ax.text(start, start * slope, f"{name}, {slope:.0f} GB/s", **text, **along)


def _draw_rows(ax, table, styles, peak):
    """Points whose area grows with their share of the time, and a legend that tells it."""
    *rows, whole = table["rows"]
    handles = []
    for row in rows:
        color, marker = styles.get(row["name"], ("none", ""))
        if row["operations"]:
            _point(ax, row, color, marker, 5 + 15 * math.sqrt(max(row["share"], 0)))
        handles.append(_handle(color, marker, f"{row['name']}, {100 * row['share']:.0f} %"))
    _point(ax, whole, *_WHOLE, 15)
    share = f"all, at {100 * _rate(whole) / peak:.0f} % of the float32 peak"
    handles.append(_handle(*_WHOLE, share))
    ax.legend(
        handles=handles,
        loc="lower right",
        fontsize=8,
        title="share of the time",
        title_fontsize=8,
        alignment="left",
    )
    ax.set_title(table["title"], fontsize=10, loc="left")
    ax.set_xlabel("operations for each byte of arrays read and written", fontsize=9)
    ax.set_ylabel("G operations a second", fontsize=9)
    ax.tick_params(labelsize=8, labelbottom=True, labelleft=True)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid(color="#E0E0E0", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _point(ax, row, color, marker, size):
    style = {"color": color, "markersize": size, "markeredgecolor": "white", "zorder": 3}
    ax.plot(_intensity(row), _rate(row) / 1e9, marker, **style)


def _handle(color, marker, label):
    return Line2D([], [], color=color, marker=marker, linestyle="", markersize=7, label=label)
