"""The figures: each draws the data it claims, in any shape of run, and nothing overlaps."""

import io
import itertools
from collections import Counter

import numpy as np
import pytest
from helpers.figures import assert_texts_fit, draw, lines, shaded
from helpers.genotypes import wirings
from helpers.histories import column, search_history
from helpers.processes import run_python
from hypothesis import given, settings
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from scipy.special import softmax

from bnas import plots
from bnas.errors import InputError
from bnas.plots import (
    OPERATION_STYLES,
    accuracy_figure,
    alpha_figure,
    bits_figure,
    cell_figure,
    confusion_figure,
    draw_genotype,
    draw_run,
    entropy_figure,
    mistakes_figure,
    operation_count_figure,
    operation_styles,
    runs_figure,
    samples_figure,
    tangent_figure,
    training_figure,
)
from bnas.space import OPERATIONS, PRIMITIVES, PUBLISHED, Genotype, discretise, edges
from bnas.space.operations import WEIGHTLESS

# Search spaces of one's own.
SPACES = {
    "subset": ("none", "skip_connect", "sep_conv_3x3"),
    "superset": (*PRIMITIVES, "gabor_conv_3x3", "shift"),
    "no none": ("sep_conv_3x3", "gabor_conv_3x3", "skip_connect"),
    "none amidst, long names": (
        "binary_channel_shuffle_depthwise_3x3",
        "shift",
        "none",
        "dct",
        "sep_conv_7x7",
        "ghost",
    ),
    "one": ("gabor_conv_3x3",),
    "many": (*(f"operation_{k}" for k in range(45)), "none"),
}
KEPT = "kept (its edge is framed)"
INPUTS = {"$c_{k-2}$": 0, "$c_{k-1}$": 1}


def training_history(first=3, second=4):
    rng = np.random.default_rng(1)
    return [
        {
            "epoch": epoch,
            "phase": "train",
            "stage": "activations" if epoch < first else "binary",
            "loss": rng.uniform(1, 3),
            "train_accuracy": rng.uniform(),
        }
        for epoch in range(first + second)
    ]


# Style -----------------------------------------------------------------------------------------


def test_every_operation_has_its_own_style():
    assert set(OPERATION_STYLES) == set(OPERATIONS)
    styles = list(OPERATION_STYLES.values())
    assert len({style.color for style in styles}) == len(styles)
    assert len({style.marker for style in styles}) == len(styles)  # greyscale
    kept = [style for op, style in OPERATION_STYLES.items() if op != "none"]
    assert len({style.hatch for style in kept}) == len(kept)
    okabe_ito = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"}
    assert {OPERATION_STYLES[op].color for op in PRIMITIVES[1:]} == okabe_ito


def lightness_and_hues(color):
    """CIE L*, a*, b* of a colour, in which Euclidean distance is about what the eye sees."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_xyz = [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0178, 0.1095, 0.8730]]
    x, y, z = np.cbrt(np.maximum(np.array(to_xyz) @ linear, 1e-3))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_operations_of_ones_own_have_styles_that_can_be_told_apart():
    names = [f"own_{k}" for k in range(43)]
    styles = operation_styles((*PRIMITIVES, *names))
    assert {name: styles[name] for name in OPERATIONS} == OPERATION_STYLES
    colors = [style.color for style in OPERATION_STYLES.values()]
    colors += [styles[name].color for name in names[:7]]
    for one, two in itertools.combinations(colors, 2):
        assert np.linalg.norm(lightness_and_hues(one) - lightness_and_hues(two)) > 20, (one, two)
    fixed = {(style.marker, style.hatch) for style in OPERATION_STYLES.values()}
    for looks in ("color marker", "color hatch"):
        first, second = looks.split()
        seen = {(getattr(styles[n], first), getattr(styles[n], second)) for n in names}
        assert len(seen) == 42  # and the last looks like the first
    own = [styles[name] for name in names]
    assert not {style.marker for style in own} & {marker for marker, _ in fixed}
    assert not {style.hatch for style in own} & {hatch for _, hatch in fixed}


def test_styles_go_by_the_order_of_the_operations_that_are_not_fixed():
    first = operation_styles(("shift", "none", "ghost"))
    second = operation_styles(("ghost", "skip_connect", "shift"))
    assert first["shift"] == second["ghost"] != first["ghost"] == second["shift"]


@pytest.mark.parametrize(
    "operations, complaint",
    [
        (("none",), "other than 'none'"),
        (("shift", "shift"), "'shift' twice"),
        ("shift", "tuple"),
    ],
)
def test_what_is_no_search_space_is_refused(tmp_path, operations, complaint):
    history = search_history(2, nodes=1, operations=operations)
    for figure in (
        lambda: alpha_figure(history, "normal", operations),
        lambda: entropy_figure(history, operations),
        lambda: operation_count_figure(history, operations),
        lambda: runs_figure({"one": history}, operations),
        lambda: cell_figure(PUBLISHED["DARTS_V2"], operations),
        lambda: draw_run(history, None, tmp_path, operations),
    ):
        with pytest.raises(InputError, match=complaint):
            figure()


@pytest.mark.slow
def test_pyplot_is_not_imported():
    code = "import sys, bnas.plots; assert 'matplotlib.pyplot' not in sys.modules"
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


# Alpha -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("cell, index", [("normal", 0), ("reduce", 1)])
def test_alpha_figure_draws_the_softmax_of_every_edge(nodes, cell, index):
    history = search_history(epochs=9, nodes=nodes)
    panels = [ax for ax in alpha_figure(history, cell).axes if ax.get_visible()]
    weights = softmax([record["alpha"] for record in history], axis=-1)[:, index]
    by_title = {ax.get_title(): ax for ax in panels}
    assert len(by_title) == len(panels) == weights.shape[1]
    for e, (i, j) in enumerate(edges(nodes)):
        name = {0: "$c_{k-2}$", 1: "$c_{k-1}$"}.get(i, i)
        panel = by_title[f"{name} → {j}"]
        place = panel.get_subplotspec()
        assert (place.rowspan.start, place.colspan.start) == (j - 2, i)
        drawn = lines(panel)
        for m, operation in enumerate(PRIMITIVES):
            np.testing.assert_array_equal(drawn[operation].get_xdata(), range(9))
            np.testing.assert_allclose(drawn[operation].get_ydata(), weights[:, e, m], rtol=1e-12)
            assert drawn[operation].get_color() == OPERATION_STYLES[operation].color


@pytest.mark.slow
@pytest.mark.parametrize("epochs, nodes", [(1, 1), (1, 4), (9, 2), (60, 5)])
def test_alpha_figure_fits(epochs, nodes):
    figure = alpha_figure(search_history(epochs, nodes, per_phase=max(1, epochs // 6)), "normal")
    assert_texts_fit(figure)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:8] == list(PRIMITIVES) and legend[8:10] == [KEPT, "Parent phase"]
    assert ("Child phase" in legend) == (epochs > 1)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 4])
@pytest.mark.parametrize("operations", SPACES.values(), ids=SPACES)
def test_alpha_figure_of_any_space(operations, nodes):
    history = search_history(6, nodes, operations=operations)
    figure = alpha_figure(history, "reduce", operations)
    weights = softmax([record["alpha"] for record in history], axis=-1)[:, 1]
    styles = operation_styles(operations)
    panels = [ax for ax in figure.axes if ax.get_visible()]
    for e, panel in enumerate(panels):
        drawn = lines(panel)
        for m, operation in enumerate(operations):
            np.testing.assert_allclose(drawn[operation].get_ydata(), weights[:, e, m])
            style = styles[operation]
            assert (drawn[operation].get_color(), drawn[operation].get_marker()) == (
                style.color,
                style.marker,
            )
    assert_texts_fit(figure)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*operations, KEPT, "Parent phase", "Child phase"]
    height = panels[0].get_window_extent().height / figure.dpi
    assert height > 0.8  # inches: a long legend takes nothing from the panels
    if len(operations) == 1:
        assert panels[0].get_ylim()[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["normal", "reduce"])
@pytest.mark.parametrize("operations", [PRIMITIVES, SPACES["subset"], SPACES["no none"]])
def test_what_the_genotype_keeps_is_marked(cell, operations):
    history = search_history(5, nodes=3, operations=operations, seed=len(operations))
    genotype = discretise(history[-1]["alpha"], operations)
    pairs = getattr(genotype, cell)
    kept = {(i, 2 + k // 2): name for k, (name, i) in enumerate(pairs)}
    panels = [ax for ax in alpha_figure(history, cell, operations).axes if ax.get_visible()]
    styles = operation_styles(operations)
    for edge, ax in zip(edges(3), panels):
        drawn = lines(ax)
        thick = [name for name in operations if drawn[name].get_linewidth() > 2]
        rings = [
            line.get_xydata()[0]
            for line in ax.get_lines()
            if line.get_markersize() > 8 and line.get_markerfacecolor() == "none"
        ]
        framed = ax.spines["left"].get_linewidth() > 2
        assert framed == (edge in kept) == (len(rings) == 1)
        assert thick == [kept[edge] for _ in rings]
        if framed:
            np.testing.assert_array_equal(rings[0], drawn[kept[edge]].get_xydata()[-1])
            frame = to_hex(ax.spines["top"].get_edgecolor()).upper()
            assert frame == styles[kept[edge]].color


def test_logits_of_any_size_are_drawn():
    history = search_history(2)
    history[1]["alpha"] = (1e4 * np.array(history[1]["alpha"])).tolist()
    for line in alpha_figure(history, "normal").axes[0].get_lines()[-8:]:
        assert np.isfinite(line.get_ydata()).all()


# The background: phases and rounds -------------------------------------------------------------


def figures_over_epochs(history):
    """Every figure of a search that goes by its epochs."""
    return (
        alpha_figure(history, "normal"),
        entropy_figure(history),
        operation_count_figure(history),
        accuracy_figure(history),
        tangent_figure(history),
        runs_figure({"one": history}),
    )


@pytest.mark.slow
def test_phases_are_shaded_and_rounds_marked():
    history = search_history(epochs=10, per_phase=2)
    white, grey = "#ffffff", "#e8e8e8"
    for figure in figures_over_epochs(history):
        for ax in figure.axes:
            if ax.get_visible():
                assert shaded(ax) == [
                    (-0.5, 1.5, white),
                    (1.5, 3.5, grey),
                    (3.5, 5.5, white),
                    (5.5, 7.5, grey),
                    (7.5, 9.5, white),
                ]
                boundaries = [
                    line.get_xdata()[0]
                    for line in ax.get_lines()
                    if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1
                ]
                assert boundaries == [3.5, 7.5]


def test_a_single_epoch_has_one_whole_tick():
    figure = accuracy_figure(search_history(1))
    draw(figure)
    low, high = figure.axes[0].get_xlim()
    assert [t for t in figure.axes[0].get_xticks() if low <= t <= high] == [0]


# Operation counts ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 4, 5])
def test_operation_counts_are_those_of_the_discretised_alpha(nodes):
    history = search_history(epochs=7, nodes=nodes)
    genotypes = [discretise(record["alpha"]) for record in history]
    figure = operation_count_figure(history)
    for ax, cell in zip(figure.axes, ("normal", "reduce")):
        base = np.zeros(7)
        assert [bars.get_label() for bars in ax.containers] == stacked(PRIMITIVES)
        for bars in ax.containers:
            counts = [
                Counter(op for op, _ in getattr(g, cell))[bars.get_label()] for g in genotypes
            ]
            np.testing.assert_array_equal([bar.get_height() for bar in bars], counts)
            np.testing.assert_array_equal([bar.get_y() for bar in bars], base)
            np.testing.assert_allclose(
                [bar.get_x() + bar.get_width() / 2 for bar in bars], range(7)
            )
            assert to_hex(bars[0].get_facecolor()).upper() == (
                OPERATION_STYLES[bars.get_label()].color
            )
            base += counts
        np.testing.assert_array_equal(base, 2 * nodes)
    assert_texts_fit(figure)


@pytest.mark.slow
@pytest.mark.parametrize("operations", SPACES.values(), ids=SPACES)
def test_operation_counts_of_any_space(operations):
    history = search_history(7, nodes=3, operations=operations)
    genotypes = [discretise(record["alpha"], operations) for record in history]
    figure = operation_count_figure(history, operations)
    kept = stacked(operations)
    styles = operation_styles(operations)
    for ax, cell in zip(figure.axes, ("normal", "reduce")):
        assert [bars.get_label() for bars in ax.containers] == kept
        for bars in ax.containers:
            name = bars.get_label()
            counts = [Counter(op for op, _ in getattr(g, cell))[name] for g in genotypes]
            np.testing.assert_array_equal([bar.get_height() for bar in bars], counts)
            assert to_hex(bars[0].get_facecolor()).upper() == styles[name].color
            assert bars[0].get_hatch() == styles[name].hatch
    assert_texts_fit(figure)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    most = "collapse: skips and poolings above 75%"
    assert legend == [*kept, most, "Parent phase", "Child phase"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "epoch"]
    assert figure.axes[0].get_window_extent().height / figure.dpi > 1.8


def stacked(operations):
    """The operations of a bar from below: first those without weights."""
    kept = [operation for operation in operations if operation != "none"]
    return sorted(kept, key=lambda operation: operation not in WEIGHTLESS)


def skips(normal, reduce, operation="skip_connect"):
    """Logits of 4 nodes whose cells keep so many of one operation, the rest sep_conv_3x3."""
    alpha = np.zeros((2, 14, 8))
    kept = [e for e, (i, _) in enumerate(edges(4)) if i < 2]
    for cell, count in enumerate((normal, reduce)):
        for k, e in enumerate(kept):
            alpha[cell, e, PRIMITIVES.index(operation) if k < count else 6] = 5.0
    return alpha.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("normal, reduce", [(0, 6), (6, 6), (7, 6), (6, 7), (8, 8)])
@pytest.mark.parametrize("operation", ["skip_connect", "max_pool_3x3", "avg_pool_3x3"])
def test_the_warning_appears_when_more_than_three_quarters_have_no_weights(
    normal, reduce, operation
):
    history = search_history(epochs=6)
    for record in history:
        record["alpha"] = skips(0, 0)
    history[3]["alpha"] = skips(normal, reduce, operation)  # once is enough to be warned
    figure = operation_count_figure(history)
    for ax, count in zip(figure.axes, (normal, reduce)):
        warnings = [text.get_text() for text in ax.texts]
        assert len(warnings) == (count > 6)
        if warnings:
            assert warnings[0] == (
                "COLLAPSE: skips and poolings in 1 of 6 epochs, first in 3; at the end 0 of 8"
            )


@pytest.mark.slow
def test_the_longest_warning_fits():
    history = search_history(epochs=150)
    for k, record in enumerate(history):
        record["alpha"] = skips(8 if k > 100 else 0, 8)
    figure = operation_count_figure(history)
    assert all(ax.texts for ax in figure.axes)
    assert_texts_fit(figure)


# Accuracy, tangent, training -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("epochs, per_phase", [(1, 1), (7, 1), (60, 10), (4, 4)])
def test_accuracy_figure_draws_parent_and_child(epochs, per_phase):
    history = search_history(epochs, per_phase=per_phase)
    figure = accuracy_figure(history)
    accuracy = lines(figure.axes[0])
    losses = {ax.get_ylabel(): ax.get_lines()[-1] for ax in figure.axes[1:]}
    for phase, name, loss in (
        ("parent", "Parent", "cross-entropy of\nthe Parent (4.21)"),
        ("child", "Child", "KL(Parent ‖ Child)\nof the Child (4.30)"),
    ):
        occurs = any(record["phase"] == phase for record in history)
        assert (f"{name}, validation" in accuracy) == occurs == (loss in losses)
        if not occurs:
            continue
        for line, expected in (
            (accuracy[f"{name}, validation"], 100 * column(history, "validation_accuracy", phase)),
            (accuracy[f"{name}, training"], 100 * column(history, "train_accuracy", phase)),
            (losses[loss], column(history, "loss", phase)),
        ):
            np.testing.assert_allclose(line.get_ydata(), expected)
            first = np.flatnonzero(np.isfinite(expected))[::per_phase]
            assert set(first) <= set(line.get_markevery())  # a stretch of one epoch is seen
    assert_texts_fit(figure)


@pytest.mark.parametrize("largest, scale", [(5.0, "linear"), (600.0, "log")])
def test_losses_that_span_orders_are_drawn_on_a_logarithmic_axis(largest, scale):
    history = search_history()
    history[2]["loss"] = largest
    assert [ax.get_yscale() for ax in accuracy_figure(history).axes] == ["linear"] * 2 + [scale]


@pytest.mark.parametrize("smallest", [1.0, 0.0, 1e-4])
def test_tangent_figure_draws_distance_and_angle(smallest):
    history = search_history(epochs=9)
    history[2]["distance"] = smallest
    figure = tangent_figure(history)
    top, bottom = figure.axes
    for ax, key in ((top, "distance"), (bottom, "angle")):
        drawn = [line for line in ax.get_lines() if len(line.get_xdata()) == 9]
        assert len(drawn) == 1
        np.testing.assert_array_equal(drawn[0].get_ydata(), column(history, key))
        assert not ax.texts
    assert top.get_yscale() == "linear" and top.get_ylim()[0] == 0
    assert top.get_ylim()[1] > np.nanmax(column(history, "distance"))
    assert bottom.get_ylim() == (0, 180)
    explained = top.get_title("left").splitlines()
    assert [text[:4] for text in explained] == ["g = ", "t = "]
    assert bottom.get_xlabel() == "epoch"
    labels = [text.get_text() for text in bottom.get_yticklabels()]
    assert labels == ["agree, 0°", "45°", "unrelated, 90°", "135°", "opposed, 180°"]
    assert_texts_fit(figure)


def test_tangent_figure_says_when_there_is_nothing():
    for history in (search_history(1), search_history(5)):
        for record in history:
            record["distance"] = record["angle"] = None
        figure = tangent_figure(history)
        assert ["not recorded" in ax.texts[0].get_text() for ax in figure.axes] == [True, True]
        assert_texts_fit(figure)


@pytest.mark.slow
@pytest.mark.parametrize("first, second", [(3, 4), (0, 5), (1, 0), (30, 30)])
def test_training_figure_tells_the_stages_apart(first, second):
    history = training_history(first, second)
    figure = training_figure(history)
    accuracy, loss = figure.axes
    np.testing.assert_allclose(
        accuracy.get_lines()[0].get_ydata(), 100 * column(history, "train_accuracy")
    )
    np.testing.assert_allclose(loss.get_lines()[0].get_ydata(), column(history, "loss"))
    stretches = [(-0.5, first - 0.5, "#ffffff")] * (first > 0)
    stretches += [(first - 0.5, first + second - 0.5, "#e8e8e8")] * (second > 0)
    assert shaded(accuracy) == shaded(loss) == stretches
    assert_texts_fit(figure)


@pytest.mark.parametrize(
    "key, label",
    [
        ("validation_accuracy", "validation images, held out"),
        ("evaluation_accuracy", "validation images, which train too"),
    ],
)
def test_training_figure_draws_the_validation_images(key, label):
    history = training_history()
    names = {"training, mean of the steps"}
    assert lines(training_figure(history).axes[0]).keys() == names  # as older runs are
    shares = np.random.default_rng(2).uniform(size=len(history))
    shares[:2] = np.nan  # begun by an older version, and resumed
    for record, share in zip(history[2:], shares[2:]):
        record[key] = float(share)
    figure = training_figure(history)
    drawn = lines(figure.axes[0])
    assert drawn.keys() == names | {label}
    np.testing.assert_allclose(drawn[label].get_ydata(), 100 * shares)
    assert figure.axes[0].get_ylabel() == "accuracy (%)"
    assert_texts_fit(figure)


# Cells -----------------------------------------------------------------------------------------


def read_back(ax, renderer, styles):
    """The edges (operation or None, source, target) that can be read from a drawn cell.

    Asserts on the way that no edge runs under a label or node that is not its own.
    """
    circles = [patch for patch in ax.patches if isinstance(patch, Circle)]
    names = {text.get_position(): text.get_text() for text in ax.texts}
    output = len(circles) - 1
    states = {}
    for circle in circles:
        name = names[tuple(circle.center)]
        states[INPUTS.get(name, output if name == "$c_k$" else name)] = circle
    states = {int(state): circle for state, circle in states.items()}
    assert sorted(states) == list(range(output + 1))
    inverse = ax.transData.inverted()
    top, bottom = (ax.transData.transform(states[i].center)[1] for i in (0, 1))
    assert top > bottom  # c_{k-2} above c_{k-1}
    labels = [
        (text, inverse.transform(text.get_bbox_patch().get_window_extent(renderer)))
        for text in ax.texts
        if text.get_bbox_patch()
    ]

    found = []
    for arrow in (patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)):
        curve = np.vstack(
            [bezier(np.linspace(0, 1, 15)) for bezier, _ in arrow._path_original.iter_bezier()]
        )
        assert (np.diff(curve[:, 0]) >= -1e-9).all()  # left to right
        near = {
            state: np.hypot(*(curve - circle.center).T).min() - circle.radius
            for state, circle in states.items()
        }
        touched = [state for state, gap in near.items() if gap < 0.02]
        source = min(touched, key=lambda state: np.hypot(*(curve[0] - states[state].center)))
        target = min(touched, key=lambda state: np.hypot(*(curve[-1] - states[state].center)))
        assert set(touched) == {source, target}
        own = [
            text.get_text()
            for text, box in labels
            if any(
                box[0, 0] < x < box[1, 0] and min(box[:, 1]) < y < max(box[:, 1]) for x, y in curve
            )
        ]
        assert len(own) == (0 if target == output else 1)
        found.append((own[0] if own else None, source, target))
        if own:
            assert to_hex(arrow.get_edgecolor()).upper() == styles[own[0]].color
    return found


def assert_cells_are_drawn(genotype, operations=PRIMITIVES):
    figure = cell_figure(genotype, operations)
    assert_texts_fit(figure)
    renderer = draw(figure)
    for ax, pairs, concat in zip(
        figure.axes,
        (genotype.normal, genotype.reduce),
        (genotype.normal_concat, genotype.reduce_concat),
    ):
        output = len(pairs) // 2 + 2
        expected = [(op, i, k // 2 + 2) for k, (op, i) in enumerate(pairs)]
        expected += [(None, i, output) for i in concat]
        assert Counter(read_back(ax, renderer, operation_styles(operations))) == Counter(expected)
        for circle in (patch for patch in ax.patches if isinstance(patch, Circle)):
            box = circle.get_window_extent(renderer)
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
            for text in ax.texts:
                if text.get_bbox_patch():
                    assert not box.overlaps(text.get_bbox_patch().get_window_extent(renderer))


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cells_can_be_read_from_the_picture(name):
    assert_cells_are_drawn(PUBLISHED[name])


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(wirings(), wirings())
def test_any_cell_can_be_read_from_the_picture(normal, reduce):
    assert_cells_are_drawn(Genotype(*normal, *reduce))


OWN = tuple(name for name in SPACES["none amidst, long names"] if name != "none")


@pytest.mark.slow
@settings(deadline=None, max_examples=5)
@given(wirings(names=OWN), wirings(names=OWN))
def test_any_cell_of_ones_own_operations_can_be_read_from_the_picture(normal, reduce):
    assert_cells_are_drawn(Genotype(*normal, *reduce), OWN)


@pytest.mark.slow
def test_a_deep_cell_stays_flat():
    chain = tuple(("skip_connect", i) for j in range(7) for i in (j, j + 1))
    figure = cell_figure(Genotype(chain, tuple(range(2, 9)), chain, (8,)))
    width, height = figure.get_size_inches()
    assert height < width / 2


@pytest.mark.slow
def test_the_same_genotype_gives_the_same_picture(tmp_path):
    for name in ("a", "b"):
        draw_run([], PUBLISHED["NASNet"], tmp_path / name)
    assert (tmp_path / "a/cells.png").read_bytes() == (tmp_path / "b/cells.png").read_bytes()


def test_cell_figure_refuses_an_invalid_genotype():
    with pytest.raises(InputError, match="unknown operation"):
        cell_figure(Genotype((("conv", 0), ("conv", 1)), (2,), (("conv", 0), ("conv", 1)), (2,)))
    good = (("shift", 0), ("shift", 1))
    for bad, complaint in (
        ((("shift", 0), ("shift", 2)), "reads state 2"),
        ((("shift", 0), ("shift", 1, 2)), "must be a pair"),
        ((("shift", 0), ("ghost", 1)), "unknown operation 'ghost'"),
        ((("shift", 0), ("none", 1)), "is 'none'"),
        (3, "must be a list"),
    ):
        with pytest.raises(InputError, match=complaint):
            cell_figure(Genotype(good, (2,), bad, (2,)), ("shift", "none"))


# All of them -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_draw_run_writes_what_there_is_data_for(tmp_path):
    history = search_history(3, nodes=2)
    genotype = discretise(history[-1]["alpha"])
    search = ["accuracy", "alpha_normal", "alpha_reduce", "entropy", "operations", "tangent"]
    for folder, arguments, names in (
        ("search", (history, None), search),
        ("trained", (training_history(), genotype), ["cells", "training"]),
        ("all", (history + training_history(), genotype), [*search, "cells", "training"]),
        ("nothing", ([], None), []),
    ):
        paths = draw_run(*arguments, tmp_path / "figures" / folder)
        assert sorted(path.stem for path in paths) == sorted(names)
        assert sorted(paths) == sorted((tmp_path / "figures" / folder).iterdir())
        for path in paths:
            data = path.read_bytes()
            assert data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")


def test_every_figure_shows_itself_in_a_notebook():
    history, images = search_history(2, nodes=1), np.zeros((2, 1, 4, 4))
    for figure in (
        *figures_over_epochs(history),
        training_figure(training_history()),
        cell_figure(discretise(history[-1]["alpha"])),
        samples_figure(images, [0, 1]),
        mistakes_figure(images, [0, 1], [0, 0]),
        confusion_figure([0, 1], [0, 0]),
        bits_figure({"": {"other": 32}}),
    ):
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_completion_offers_figures_and_no_internals():
    assert dir(plots) == sorted(plots.__all__)
    assert all(hasattr(plots, name) for name in plots.__all__)


@pytest.mark.slow
def test_draw_genotype_replaces_its_own_figures_alone(tmp_path):
    path = tmp_path / "cells.png"
    for name in ("NASNet", "DARTS_V2"):
        draw_genotype(PUBLISHED[name], path)
        assert path.read_bytes() == cell_figure(PUBLISHED[name])._repr_png_()
    foreign = io.BytesIO()
    Figure(figsize=(1, 1)).savefig(foreign, format="png")  # any other program's
    for content in (foreign.getvalue(), b"", b"notes"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no figure of bnas"):
            draw_genotype(PUBLISHED["NASNet"], path)
        assert path.read_bytes() == content
    with pytest.raises(InputError, match="no figure of bnas"):
        draw_genotype(PUBLISHED["NASNet"], tmp_path)
    with pytest.raises(InputError, match="cannot write"):
        draw_genotype(PUBLISHED["NASNet"], tmp_path / "nowhere" / "cells.png")


@pytest.mark.slow
@pytest.mark.parametrize("operations", SPACES.values(), ids=SPACES)
def test_draw_run_draws_any_space(tmp_path, operations):
    """All figures, each as the function that makes it does when told the same operations."""
    history = search_history(2, nodes=2, per_phase=1, operations=operations)
    genotype = discretise(history[-1]["alpha"], operations)
    draw_run(history, genotype, tmp_path, operations)
    for name, figure in (
        ("alpha_normal", alpha_figure(history, "normal", operations)),
        ("alpha_reduce", alpha_figure(history, "reduce", operations)),
        ("entropy", entropy_figure(history, operations)),
        ("operations", operation_count_figure(history, operations)),
        ("accuracy", accuracy_figure(history)),
        ("tangent", tangent_figure(history)),
        ("cells", cell_figure(genotype, operations)),
    ):
        assert (tmp_path / f"{name}.png").read_bytes() == figure._repr_png_(), name


def test_a_history_of_another_space_is_refused():
    history = search_history(2, operations=SPACES["superset"])
    with pytest.raises(InputError, match=r"\(2, edges, 8\).*each of the operations"):
        alpha_figure(history, "normal")
    with pytest.raises(InputError, match=r"\(2, edges, 3\)"):
        operation_count_figure(history, SPACES["subset"])


def test_draw_run_needs_a_folder_it_can_make(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        draw_run(search_history(1, nodes=1), None, tmp_path / "file")


def broken(key, value):
    history = search_history(3)
    history[1][key] = value
    return history


@pytest.mark.parametrize(
    "history, complaint",
    [
        ([], "history is empty"),
        ([{"epoch": 0, "phase": "parent"}], "lacks 'alpha'"),
        (broken("alpha", np.zeros((2, 5, 8)).tolist()), "of one shape"),
        (broken("alpha", np.full((2, 14, 8), np.nan).tolist()), "finite"),
        (broken("alpha", None), "finite"),
        ([record | {"alpha": np.zeros((2, 13, 8))} for record in search_history(2)], "edges"),
        ([record | {"alpha": np.zeros((2, 14, 7))} for record in search_history(2)], "edges"),
        ([record | {"alpha": 3.0} for record in search_history(2)], "edges"),
        (broken("phase", "uncle"), "unknown phase"),
    ],
)
def test_histories_that_cannot_be_drawn(history, complaint):
    for figure in (lambda h: alpha_figure(h, "reduce"), entropy_figure, operation_count_figure):
        with pytest.raises(InputError, match=complaint):
            figure(history)


@pytest.mark.parametrize(
    "figure, key",
    [
        (accuracy_figure, "loss"),
        (accuracy_figure, "validation_accuracy"),
        (tangent_figure, "angle"),
        (training_figure, "stage"),
    ],
)
def test_a_missing_field_is_named(figure, key):
    history = [record | {"stage": "binary"} for record in search_history(3)]
    del history[1][key]
    with pytest.raises(InputError, match=f"lacks '{key}'"):
        figure(history)


@pytest.mark.parametrize("key", ["validation_accuracy", "evaluation_accuracy", "train_accuracy"])
@pytest.mark.parametrize("value", ["0.5", [0.5], {}, 10**400])
def test_a_training_history_whose_accuracies_are_no_numbers_is_refused(key, value):
    history = training_history()
    history[1][key] = value
    with pytest.raises(InputError, match=f"history's {key} must be a number"):
        training_figure(history)


@pytest.mark.parametrize("value", ["0.5", True, [0.5], {}, 10**400, -(10**301)])
def test_a_history_whose_figures_are_no_numbers_is_refused(value):
    history = search_history(2)
    history[1]["loss"] = history[1]["distance"] = value
    for figure, key in ((accuracy_figure, "loss"), (tangent_figure, "distance")):
        with pytest.raises(
            InputError, match=f"the history's {key} must be a number in every epoch"
        ):
            figure(history)


@pytest.mark.parametrize("phase", [[], {}, None, 3, "train"])
def test_a_history_of_unknown_phases_is_refused(phase):
    history = search_history(2)
    history[1]["phase"] = phase
    alone = [record | {"phase": phase} for record in history]
    for figure in (tangent_figure, accuracy_figure, lambda h: runs_figure({"one": h})):
        for records in (history, alone):
            with pytest.raises(InputError, match="unknown phase: expected one of"):
                figure(records)


@pytest.mark.parametrize("entry", ["0.5", 10**400, None, [1], {}])
def test_a_history_whose_alpha_is_no_array_is_refused(entry):
    history = search_history(2)
    history[1]["alpha"][0][0][0] = entry
    with pytest.raises(InputError, match="alpha must be finite numbers of one shape"):
        alpha_figure(history, "normal")
