"""The landscape of a table: accuracy against size, and 1-bit networks against their real twins."""

from matplotlib.lines import Line2D

from bnas.plots.epochs import draw_legend
from bnas.plots.figure import Figure

# Of 0 to 4 convolutions: dark to light, so that the order shows in greyscale as well, with markers of their own.
_COLORS = ("#3B0F70", "#0072B2", "#009E73", "#E69F00", "#F0E442")
_MARKERS = ("s", "^", "o", "D", "v")
_BAR = {"color": "#000000", "linestyle": "none", "marker": "$\\mathrm{I}$", "markersize": 9}
_EQUAL = {"color": "#666666", "linewidth": 1, "linestyle": "--"}


def landscape_figure(table, landscapes, by="convolutions"):
    """Test accuracies of all architectures, a row for each data set, coloured by the number of operations.

    Left against the size of the 1-bit network, right against its real twin. The bar at the left shows which
    difference of two means is told from noise.

    table: bnas.tabular.Table. landscapes: {data set: what `bnas.tabular.landscape` says of it}.
    by: which operations: "convolutions", or the name of one.
    """
    counts = table.counts(by)
    figure = Figure(figsize=(9.6, 1.0 + 3.7 * len(landscapes)), layout="constrained")
    panels = figure.subplots(len(landscapes), 2, squeeze=False)
    for row, (dataset, found) in zip(panels, landscapes.items()):
        means = {
            precision: 100 * table.accuracies(dataset, "test", precision).mean(axis=1)
            for precision in ("binary", "real")
        }
        kilobits = table.datasets[dataset]["bits"] / 1000
        _draw_size(row[0], kilobits, means["binary"], counts, found)
        _draw_twins(row[1], means["real"], means["binary"], counts, found)
        seeds = f"mean of {found.seeds} seeds" if found.seeds > 1 else "1 seed"
        row[0].set_title(f"{dataset}: 1-bit networks, {seeds}", loc="left")
        row[1].set_title(f"{dataset}: beside their real twins", loc="left")
        for ax in row:
            ax.set_ylabel("test accuracy, 1-bit (%)")
            ax.grid(color="#DDDDDD", linewidth=0.6)
            ax.set_axisbelow(True)
    legend = [
        Line2D([], [], label=f"{by}: {count}", **_style(count))
        for count in sorted(set(counts.tolist()))
    ]
    if any(found.seeds > 1 for found in landscapes.values()):
        legend.append(Line2D([], [], label="least difference told from noise", **_BAR))
    legend.append(Line2D([], [], label="equal accuracies", **_EQUAL))
    draw_legend(figure, legend, columns=5)
    return figure


def _draw_size(ax, kilobits, accuracies, counts, found):
    _draw_points(ax, kilobits, accuracies, counts)
    ax.set_xlabel("size of the 1-bit network (kbit)")
    single = {kind: share for kind, share in found.explained.items() if kind != "operations"}
    by, share = max(single.items(), key=lambda item: item[1])
    text = f"explained by the number of {by} {100 * share:.0f} %"
    if found.seeds > 1:
        text = f"rank correlation between seeds {found.spearman:.2f}\n{text}"
        left, right = ax.get_xlim()
        width = right - left
        ax.set_xlim(left - 0.08 * width, right)
        middle, half = 100 * found.median, 50 * found.distinguishable
        ax.errorbar(left - 0.03 * width, middle, half, color="#000000", capsize=3)
    ax.annotate(text, (0.98, 0.03), xycoords="axes fraction", ha="right", va="bottom", fontsize=9)


def _draw_twins(ax, real, binary, counts, found):
    _draw_points(ax, real, binary, counts)
    ax.set_xlabel("test accuracy, real twin (%)")
    low, high = max(real.min(), binary.min()), min(real.max(), binary.max())
    if low < high:  # where equal accuracies lie, as far as the panel shows it
        ax.plot([low, high], [low, high], label="equal", **_EQUAL)
    text = f"Kendall's τ {found.twin_kendall:.2f}, NDCG {found.twin_ndcg:.2f}"
    ax.annotate(text, (0.98, 0.03), xycoords="axes fraction", ha="right", va="bottom", fontsize=9)


def _draw_points(ax, x, y, counts):
    for count in sorted(set(counts.tolist())):
        chosen = counts == count
        ax.plot(x[chosen], y[chosen], label=str(count), **_style(count))
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom - 0.16 * (top - bottom), top)  # for the text


def _style(count):
    kind = min(count, len(_COLORS) - 1)
    return {
        "linestyle": "none",
        "marker": _MARKERS[kind],
        "color": _COLORS[kind],
        "markersize": 4.5,
        "markeredgecolor": "#333333",
        "markeredgewidth": 0.3,
        "alpha": 0.8,
    }
