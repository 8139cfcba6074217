"""What a search step costs, for the report: peak memory, and how seconds and bytes grow."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from bnas.bench.columns import Column, section, significant, times

MIB = 2**20
_OURS, _THEIRS = "#0072B2", "#D55E00"  # Okabe and Ito; markers and dashes tell Parent from Child
_UNITS = {"batch": " (images)", "image size": " (pixels a side)", "layers": " (cells)"}
_STYLES = {"Parent": ("o", "-"), "Child": ("s", "--")}


def memory_section(table):
    """A table of bytes as text; a ratio of 2 means that we take half."""
    found = [row["bytes"] for row in table["rows"]]
    columns = [Column("MiB", [row["name"] for row in table["rows"]], "geometric mean ratio")]
    columns += _comparison(table, found, MIB, "", table["peers"])
    return section(table, columns)


def growth_section(table):
    """A table of growth as text: seconds and bytes, ours and those of PyTorch's better format."""
    rows = table["rows"]
    columns = [Column(table["quantity"], [row["name"] for row in rows], "geometric mean ratio")]
    columns += _comparison(table, [_seconds(row) for row in rows], 1, ", s", [])
    columns += _comparison(table, [row["bytes"] for row in rows], MIB, ", MiB", [])
    return section(table, columns)


def _comparison(table, found, scale, unit, peers):
    """Columns of ours, the better peer's, their ratio, and those of `peers`; found: dicts by label."""
    ours, best = table["ours"][0], [_best(values, table["peers"]) for values in found]
    columns = [_column(ours + unit, [values.get(ours) for values in found], scale)]
    if any(best):
        ratios = [theirs and theirs / values[ours] for theirs, values in zip(best, found)]
        cells = ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        foot = times([ratio for ratio in ratios if ratio is not None])
        if not peers:
            columns.append(_column(table["better"] + unit, best, scale))
        columns.append(Column(f"{table['better']} / {ours}", cells, foot))
        for label in peers:
            columns.append(_column(label, [values.get(label) for values in found], scale))
    return columns


def _column(head, values, scale):
    return Column(head, ["-" if v is None else significant(v / scale) for v in values], "")


def _best(values, peers):
    """The least of the peers' values, or None."""
    return min((values[label] for label in peers if label in values), default=None)


def _seconds(row):
    return {label: figure["seconds"] for label, figure in row["figures"].items()}


def growth_figure(results):
    """A matplotlib Figure: seconds above, MiB below, a column of panels for each quantity."""
    tables = results["growth"]
    figure = Figure(figsize=(2 + 2.7 * max(len(tables), 2), 6.2), layout="constrained")
    machine = results["machine"]
    figure.suptitle(f"Cost of a search step: bnas {machine['bnas']}, {machine['cpu']}", fontsize=11)
    if not tables:
        figure.text(0.5, 0.5, "growth was not measured in this run", ha="center", va="center")
        return figure
    axes = figure.subplots(2, len(tables), squeeze=False, sharex="col", sharey="row")
    for column, table in zip(axes.T, tables):
        _draw(column[0], table, [_seconds(row) for row in table["rows"]], 1)
        _draw(column[1], table, [row["bytes"] for row in table["rows"]], MIB)
        column[1].set_xlabel(f"{table['quantity']}{_UNITS.get(table['quantity'], '')}")
    for ax, label in zip(axes[:, 0], ("seconds a step", "peak memory of a step, MiB")):
        ax.set_ylabel(label)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
    figure.legend(handles=_handles(tables[0]), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw(ax, table, found, scale):
    """The lines of ours and of the better peer, for each network, in one panel."""
    for network, (marker, dashes) in _STYLES.items():
        points = [
            (row["value"], values[table["ours"][0]], _best(values, table["peers"]))
            for row, values in zip(table["rows"], found)
            if row["network"] == network
        ]
        for side, colour in ((1, _OURS), (2, _THEIRS)):
            line = [(point[0], point[side] / scale) for point in points if point[side] is not None]
            if line:
                ax.plot(*zip(*line), color=colour, marker=marker, markersize=5, linestyle=dashes)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = sorted({row["value"] for row in table["rows"]})
    ax.set_xticks(ticks, [f"{tick}" for tick in ticks])
    ax.minorticks_off()
    ax.grid(color="#D0D0D0", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _handles(table):
    """The legend: who (by colour), and which network (by marker and dashes), as far as measured."""
    sides = [(table["ours"][0], _OURS)]
    if any(_best(row["bytes"], table["peers"]) for row in table["rows"]):
        sides.append((table["better"], _THEIRS))
    measured = {row["network"] for row in table["rows"]}
    return [
        Line2D([], [], color=colour, marker=marker, linestyle=dashes, label=f"{label}, {network}")
        for label, colour in sides
        for network, (marker, dashes) in _STYLES.items()
        if network in measured
    ]
