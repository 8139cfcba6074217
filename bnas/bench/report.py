"""What a benchmark found, as text, JSON and a figure. The format of the results: see bnas.bench."""

import io
import json
import math
import textwrap
from pathlib import Path
from statistics import median
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bnas.bench.columns import WIDTH, Column, section, significant, times
from bnas.bench.costs import growth_figure, growth_section, memory_section
from bnas.bench.roofline_report import PARTS, roofline_figure, roofline_sections
from bnas.errors import InputError
from bnas.runs import atomic_write

BUSY = 0.5  # load per core above which the times are doubtful
DPI = 130
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6}  # per second
_FASTER, _SLOWER = "#56B4E9", "#E69F00"  # Okabe and Ito; the hatch tells them apart in greyscale
_HATCH = "////"
_TORCH_MISSING = (
    "PyTorch is not installed: its columns are missing; to have them: pip install torch"
)


class Ratio(NamedTuple):
    """How many times as fast as the peer we are; low and high from the quartiles of both."""

    value: float
    low: float
    high: float


def save_report(results, folder):
    """Write bench.json, bench.txt, bench.png and growth.png into `folder`; returns their paths.

    With rooflines also roofline-steps.png and roofline-networks.png.
    Files are replaced as a whole. Raises InputError for a folder that cannot be written, and
    ValueError for results with NaN or infinity.
    """
    contents = {
        "bench.txt": text_report(results) + "\n",
        "bench.png": _png(ratio_figure(results)),
        "growth.png": _png(growth_figure(results)),
    }
    for part in PARTS if results["roofline"] else ():
        contents[f"roofline-{part}.png"] = _png(roofline_figure(results, part))
    saved = [save_results(results, folder)]
    for name, data in contents.items():
        atomic_write(Path(folder) / name, data)
        saved.append(Path(folder) / name)
    return saved


def save_results(results, folder):
    """Write bench.json alone, as `save_report` does; returns its path."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {folder}: {error.strerror}; choose one that can be written"
        ) from None
    atomic_write(folder / "bench.json", json.dumps(results, indent=2, allow_nan=False) + "\n")
    return folder / "bench.json"


def _png(figure):
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI)
    return png.getvalue()


# Comparisons -----------------------------------------------------------------------------------


def ratio(row, ours, peer):
    """Ratio of the peer's time to ours in a row, or None if one of the two was not measured."""
    figures = row["figures"]
    if ours not in figures or peer not in figures:
        return None
    mine, theirs = figures[ours], figures[peer]
    return Ratio(
        theirs["seconds"] / mine["seconds"],
        theirs["low"] / mine["high"],
        theirs["high"] / mine["low"],
    )


def main_peer(table):
    """The first of the table's peers that was measured at all, or their "better"; None without any."""
    measured = {label for row in table["rows"] for label in row["figures"]}
    first = next((label for label in table["peers"] if label in measured), None)
    return first and table.get("better", first)


def ratios(table, peer):
    """The Ratio of every row, None where there is none, of the table's first of ours to a peer."""
    mine = table["ours"][0]
    if peer != table.get("better"):
        return [ratio(row, mine, peer) for row in table["rows"]]
    return [ratio(row, mine, _fastest(row, table["peers"])) for row in table["rows"]]


def _fastest(row, peers):
    """The peer with the shortest time in a row, or None."""
    figures = row["figures"]
    measured = [label for label in peers if label in figures]
    return min(measured, key=lambda label: figures[label]["seconds"], default=None)


def losses(tables):
    """All (table, row, peer, Ratio) where a peer beats the first of ours, the worst first."""
    found = [
        (table, row, peer, r)
        for table in tables
        for peer in table["peers"]
        for row, r in zip(table["rows"], ratios(table, peer))
        if r is not None and r.value < 1
    ]
    return sorted(found, key=lambda loss: loss[3].value)


# Text ------------------------------------------------------------------------------------------


def text_report(results):
    """The whole report as text, at most 110 columns wide."""
    parts = [_head(results)]
    parts += [_table(table, results["peak"]) for table in results["tables"]]
    parts += [memory_section(table) for table in results["memory"]]
    parts += roofline_sections(results["roofline"])
    parts += [growth_section(table) for table in results["growth"]]
    return "\n\n".join([*parts, _loss_section(results["tables"])])


def _head(results):
    machine = results["machine"]
    versions = [f"{k} {v}" for k, v in machine["versions"].items() if v is not None]
    features = machine["features"]
    lines = [
        f"{machine['cpu']} ({machine['architecture']}), cores usable: {machine['cores']}, "
        f"threads: at most {machine['numba_threads']}; {machine['system']}; {machine['date']}",
        f"Instruction sets: {'unknown' if features is None else ' '.join(features)}",
        f"bnas {machine['bnas']}, Python {machine['python']}, {', '.join(versions)}, "
        f"BLAS {machine['blas']}",
    ]
    lines += [_peak_line(results["peak"])] if results["peak"] else []
    lines += _warnings(machine)
    lines.append(
        f"Times are medians of {_repeats(results['tables'] + results['growth'])} alternating "
        "repetitions; "
        "± is half the distance between the quartiles, relative to the median. "
        "A ratio is the peer's time over ours: above 1 we are faster."
    )
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines)


def _peak_line(peak):
    rates = [f"{label}: {rate / 1e9:.3g} G{peak['unit']}" for label, rate in peak["rates"].items()]
    return f"Peak measured in this run, {peak['name']}: {'; '.join(rates)}"


def _warnings(machine):
    lines = []
    load, cores = machine["load"], machine["cores"]
    if load is not None and load > BUSY * cores:
        lines.append(
            f"WARNING: the machine was busy (load {load:.1f} on {cores} cores before the start): "
            "do not trust these times, run again when it is idle"
        )
    if machine["versions"]["torch"] is None:
        lines.append(_TORCH_MISSING)
    if machine["versions"]["threadpoolctl"] is None:
        said = machine["thread_variables"].get("OPENBLAS_NUM_THREADS")
        lines.append(
            "threadpoolctl is not installed: BLAS, hence NumPy, ran on "
            + (f"OPENBLAS_NUM_THREADS={said}" if said else "as many threads as it likes")
            + " in every column; to have it set as the others: pip install threadpoolctl"
        )
    return lines


def _repeats(tables):
    counts = {f["repeats"] for t in tables for row in t["rows"] for f in row["figures"].values()}
    return " or ".join(str(count) for count in sorted(counts)) or "no"


def _table(table, peak):
    """A table in as many blocks beneath each other as its width needs."""
    unit = table["unit"] or _unit(table)
    names = [row["name"] for row in table["rows"]]
    name_column = Column(unit, names, "geometric mean ratio")
    shown = [label for row in table["rows"] for label in row["figures"]]
    others = [x for x in dict.fromkeys(shown) if x not in table["ours"] + table["peers"]]
    columns = (
        _time_columns(table, table["ours"], unit)
        + _ratio_columns(table)
        + _time_columns(table, table["peers"], unit)
        + _peak_columns(table, peak)
        + _time_columns(table, others, unit)
    )
    return section(table, [name_column, *columns])


def _unit(table):
    """The largest unit in which the middle row of ours reads at least 1."""
    ours = [row["figures"].get(table["ours"][0]) for row in table["rows"]]
    seconds = [figure["seconds"] for figure in ours if figure is not None]
    middle = median(seconds) if seconds else 1.0
    return next((unit for unit, scale in UNITS.items() if middle * scale >= 1), "us")


def _time_columns(table, labels, unit):
    columns = []
    for label in labels:
        figures = [row["figures"].get(label) for row in table["rows"]]
        if any(figures):
            foot = _mean_text(ratios(table, label)) if label in table["peers"] else ""
            columns.append(Column(label, [_time_text(f, UNITS[unit]) for f in figures], foot))
    return columns


def _ratio_columns(table):
    peer = main_peer(table)
    if peer is None:
        return []
    found = ratios(table, peer)
    cells = ["-" if r is None else f"{r.value:.2f}" for r in found]
    return [Column(f"{peer} / {table['ours'][0]}", cells, _mean_text(found))]


def _mean_text(found):
    return times([r.value for r in found if r is not None])


def _peak_columns(table, peak):
    """The share of the measured peak, for those of ours and those rows that have one."""
    columns = []
    for label in table["ours"]:
        rate = peak.get("rates", {}).get(label)
        cells = [_share_text(row, label, rate) for row in table["rows"]]
        if set(cells) - {"-"}:
            columns.append(Column(f"of peak, {label}", cells, ""))
    return columns


def _share_text(row, label, rate):
    if rate is None or row["work"] is None or label not in row["figures"]:
        return "-"
    return f"{100 * row['work'] / row['figures'][label]['seconds'] / rate:.0f} %"


def _time_text(figure, scale):
    if figure is None:
        return "-"
    spread = 50 * (figure["high"] - figure["low"]) / figure["seconds"]
    return f"{significant(figure['seconds'] * scale)} ±{spread:2.0f}%"


def _loss_section(tables):
    compared = sum(
        r is not None for table in tables for peer in table["peers"] for r in ratios(table, peer)
    )
    found = losses(tables)
    lines = [f"Where we lose: {len(found)} of {compared} comparisons"]
    lines.append("=" * len(lines[0]))
    if not compared:
        lines.append("nothing to compare with in this run")
    elif not found:
        lines.append("nowhere in this run")
    for table, row, peer, r in found:
        unit = table["unit"] or _unit(table)
        mine, theirs = (
            significant(row["figures"][label]["seconds"] * UNITS[unit])
            for label in (table["ours"][0], peer)
        )
        doubt = "; within the spread" if r.high >= 1 else ""
        line = (
            f"{table['title']}, {row['name']}: {peer} is {1 / r.value:.2f} times as fast as "
            f"{table['ours'][0]} ({theirs} {unit}, ours {mine} {unit}{doubt})"
        )
        lines.append(textwrap.fill(line, WIDTH, subsequent_indent="  "))
    return "\n".join(lines)


# Figure ----------------------------------------------------------------------------------------


def ratio_figure(results):
    """A matplotlib Figure: our speed over the main peer's, a panel for each table that has one."""
    panels = [(table, main_peer(table)) for table in results["tables"]]
    panels = [(table, peer) for table, peer in panels if any(ratios(table, peer))]
    sizes = [len(table["rows"]) for table, _ in panels] or [4]
    figure = Figure(figsize=(9, 1.3 + sum(0.28 * size + 0.75 for size in sizes)))
    figure.set_layout_engine("constrained", h_pad=0.08)
    machine = results["machine"]
    figure.suptitle(
        f"How many times as fast as the peer: bnas {machine['bnas']}, {machine['cpu']}",
        fontsize=11,
    )
    axes = figure.subplots(
        len(sizes), 1, squeeze=False, sharex=True, height_ratios=[size + 1 for size in sizes]
    )[:, 0]
    for ax, (table, peer) in zip(axes, panels):
        _draw_ratios(ax, table, peer)
    if panels:
        _ratio_axis(axes, [r for table, peer in panels for r in ratios(table, peer) if r])
        figure.legend(
            handles=[
                Patch(facecolor=_FASTER, edgecolor="white", label="bnas is faster"),
                Patch(
                    facecolor=_SLOWER, edgecolor="white", hatch=_HATCH, label="the peer is faster"
                ),
            ],
            loc="outside lower right",
            ncols=2,
            frameon=False,
            fontsize=8,
        )
    else:
        axes[0].set_axis_off()
        axes[0].text(0.5, 0.5, "nothing to compare with in this run", ha="center", va="center")
    return figure


def _draw_ratios(ax, table, peer):
    found = ratios(table, peer)
    for y, r in enumerate(found):
        if r is None:
            ax.annotate("  not measured", (1, y), va="center", fontsize=8)
            continue
        won = r.value >= 1
        ax.barh(
            y,
            r.value - 1,
            left=1,
            height=0.62,
            color=_FASTER if won else _SLOWER,
            edgecolor="white",
            linewidth=0,
            hatch="" if won else _HATCH,
        )
        ax.plot([r.low, r.high], [y, y], color="black", linewidth=1.2, marker="|", markersize=6)
        ax.annotate(
            f"{r.value:.2f}",
            (max(r.high, 1) if won else min(r.low, 1), y),
            xytext=(6 if won else -6, 0),
            textcoords="offset points",
            ha="left" if won else "right",
            va="center",
            fontsize=8,
        )
    ax.axvline(1, color="black", linewidth=1)
    ax.set_yticks(range(len(found)), [row["name"] for row in table["rows"]], fontsize=8)
    ax.set_ylim(len(found) - 0.4, -0.6)  # the first row on top
    ax.set_title(
        f"{table['title']}: {table['ours'][0]} against {peer}, geometric mean {_mean_text(found)}",
        fontsize=9,
        loc="left",
    )
    ax.grid(axis="x", color="#D0D0D0", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _ratio_axis(axes, found):
    """One logarithmic axis for all panels, with room for the figures beside the bars."""
    low = min(0.9, *(r.low for r in found))
    high = max(1.1, *(r.high for r in found))
    room = max(1.1, (high / low) ** 0.09)
    low, high = low / room, high * room
    axes[-1].set_xscale("log")
    axes[-1].set_xlim(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [digit * 10.0**e for e in decades for digit in digits]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes[-1].set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8)
    axes[-1].minorticks_off()
    axes[-1].set_xlabel(
        "the peer's time over ours, on a logarithmic scale (lines: by the quartiles of both)",
        fontsize=8,
    )
