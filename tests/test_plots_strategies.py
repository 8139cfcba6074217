"""Figures of searches of any strategy, and of several side by side: each draws what the histories say."""

import json
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
from helpers.commands import fail, succeed
from helpers.figures import assert_texts_fit, draw, lines, shaded
from helpers.histories import column, individual_history, search_history, supernet_history
from scipy.special import softmax
from scipy.stats import entropy

from bnas.config import SearchConfig, TrainConfig
from bnas.contents import labels_of
from bnas.errors import InputError
from bnas.plots import (
    accuracy_figure,
    alpha_figure,
    draw_run,
    draw_runs,
    entropy_figure,
    operation_count_figure,
    runs_figure,
)
from bnas.runs import RunFolder
from bnas.space import PRIMITIVES, discretise, edges, parse_genotype
from bnas.space.operations import WEIGHTLESS

SMALL = ("none", "skip_connect", "sep_conv_3x3")
CELLS = ("Normal cell", "Reduction cell")


def logits(history):
    return np.array([record["alpha"] for record in history])


def dropping_history():
    """Six epochs in which operations are dropped one by one, and one edge loses all of them."""
    history = supernet_history(6, nodes=2)
    active = np.ones((2, 5, 8), bool)
    for record in history[2:]:
        last = record["epoch"]
        active[:, :, last - 2] = False
        active[0, 1] = False
        record["active"] = active.tolist()
    return history


# Entropy ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("operations", [PRIMITIVES, SMALL, ("sep_conv_3x3",)])
@pytest.mark.parametrize("nodes, epochs", [(1, 1), (4, 9)])
def test_entropy_figure_draws_entropy_size_and_decided_edges(operations, nodes, epochs):
    history = search_history(epochs, nodes, operations=operations)
    for record in history:
        record["alpha"] = (4 * np.array(record["alpha"])).tolist()
    weights = softmax(logits(history), axis=-1)
    figure = entropy_figure(history, operations)
    top, middle, bottom = figure.axes
    size, decided = np.abs(logits(history)).max(axis=(2, 3)), (weights.max(axis=3) >= 0.99).sum(2)
    for c, cell in enumerate(CELLS):
        drawn = lines(top)[cell].get_ydata()
        np.testing.assert_allclose(drawn, entropy(weights[:, c], axis=-1).mean(axis=1), atol=1e-12)
        for ax, values in ((middle, size), (bottom, decided)):
            line = [line for line in ax.get_lines() if len(line.get_xdata()) == epochs][-2:][c]
            np.testing.assert_array_equal(line.get_ydata(), values[:, c])
    uniform = lines(top)[f"all equal: ln {len(operations)} = {np.log(len(operations)):.2f}"]
    assert set(uniform.get_ydata()) == {np.log(len(operations))}
    assert_texts_fit(figure)


def test_the_first_decided_edge_is_named():
    history = supernet_history(4)
    for record, logit in zip(history, (0.0, 6.5, 6.6, 0.0)):  # 7 others: 0.99 is reached at 6.54
        alpha = np.zeros((2, 5, 8))
        alpha[1, 2, 3] = logit
        record["alpha"] = alpha.tolist()
    assert entropy_figure(history).axes[2].get_title("left").endswith("the first in epoch 3")
    assert entropy_figure(history[:2]).axes[2].get_title("left").endswith("none so far")


@pytest.mark.parametrize("largest, scale", [(1.0, "linear"), (99.0, "linear"), (5000.0, "log")])
def test_a_wide_range_of_alpha_is_logarithmic(largest, scale):
    history = supernet_history(2)
    history[0]["alpha"] = np.full((2, 5, 8), 1.0).tolist()
    history[1]["alpha"] = np.full((2, 5, 8), largest).tolist()
    assert entropy_figure(history).axes[1].get_yscale() == scale


def test_an_alpha_of_zeros_is_drawn():
    history = supernet_history(1)
    history[0]["alpha"] = np.zeros((2, 5, 8)).tolist()
    figure = entropy_figure(history)
    assert lines(figure.axes[0])["Normal cell"].get_ydata() == pytest.approx([np.log(8)])
    assert_texts_fit(figure)


# Temperature and dropped operations ------------------------------------------------------------


def test_alpha_is_divided_by_the_temperature():
    history = supernet_history(4)
    temperatures = [None, 2, 0.1, 1e-300]
    for record, temperature in zip(history, temperatures):
        record["temperature"] = temperature
    del history[0]["temperature"]
    shifted = logits(history) - logits(history).max(axis=-1, keepdims=True)
    scale = np.array([t or 1 for t in temperatures])[:, None, None, None]
    weights = softmax(shifted / scale, axis=-1)
    panels = [ax for ax in alpha_figure(history, "reduce").axes if ax.get_visible()]
    for e, ax in enumerate(panels):
        for m, operation in enumerate(PRIMITIVES):
            drawn = lines(ax)[operation].get_ydata()
            np.testing.assert_allclose(drawn, weights[:, 1, e, m], atol=1e-12)
    figure = entropy_figure(history)
    want = entropy(weights, axis=-1).mean(axis=2)
    for c, cell in enumerate(CELLS):
        np.testing.assert_allclose(lines(figure.axes[0])[cell].get_ydata(), want[:, c], atol=1e-12)
    assert "temperature" in figure._suptitle.get_text()
    assert "temperature" not in entropy_figure(history[:1])._suptitle.get_text()
    largest = figure.axes[1].get_lines()[-2].get_ydata()  # of alpha itself
    np.testing.assert_array_equal(largest, np.abs(logits(history))[:, 0].max(axis=(1, 2)))


def test_the_line_of_a_dropped_operation_ends():
    history = dropping_history()
    active = np.array([record.get("active", np.ones((2, 5, 8))) for record in history], bool)
    weights = softmax(np.where(active, logits(history), -1e9), axis=-1)
    panels = [ax for ax in alpha_figure(history, "normal").axes if ax.get_visible()]
    for e, ax in enumerate(panels):
        for m, operation in enumerate(PRIMITIVES):
            drawn = lines(ax)[operation].get_ydata()
            want = np.where(active, weights, np.nan)[:, 0, e, m]
            np.testing.assert_allclose(drawn, want, rtol=1e-12)
    drawn = lines(entropy_figure(history).axes[0])["Normal cell"].get_ydata()
    for k in range(6):
        rest = [
            softmax(logits(history)[k, 0, e][on]) for e, on in enumerate(active[k, 0]) if on.any()
        ]
        assert drawn[k] == pytest.approx(np.mean([entropy(weights) for weights in rest]))


def test_what_is_dropped_is_neither_large_nor_decided():
    history = supernet_history(1)
    alpha, active = np.zeros((2, 5, 8)), np.ones((2, 5, 8), bool)
    alpha[0, 0, 3], active[0, 0, 3] = 50, False  # of the others each weighs 1/7
    alpha[1, 0, 3], active[1, 0] = -4, np.arange(8) == 3  # one is left: decided
    active[1, 1] = False  # nothing is left
    history[0] |= {"alpha": alpha.tolist(), "active": active.tolist()}
    _, middle, bottom = entropy_figure(history).axes
    assert [float(line.get_ydata()[0]) for line in middle.get_lines()[-2:]] == [0, 4]
    assert [int(line.get_ydata()[0]) for line in bottom.get_lines()[-2:]] == [0, 1]


@pytest.mark.slow
def test_an_edge_without_any_operation_has_no_lines():
    history = supernet_history(3)
    active = np.ones((2, 5, 8), bool)
    active[0, 4] = False
    for record in history:
        record["active"] = active.tolist()
    for cell, empty in (("normal", 1), ("reduce", 0)):
        figure = alpha_figure(history, cell)
        panels = [ax for ax in figure.axes if ax.get_visible()]
        assert [not set(PRIMITIVES) & lines(ax).keys() for ax in panels].count(True) == empty
        draw(figure)
    active[:] = False
    figure = entropy_figure([record | {"active": active.tolist()} for record in history])
    assert np.isnan(lines(figure.axes[0])["Normal cell"].get_ydata()).all()
    assert_texts_fit(figure)


def kept_edges(figure):
    return [ax.get_title() for ax in figure.axes if ax.spines["left"].get_linewidth() > 2]


def test_what_is_dropped_is_kept_last():
    """Where the record names no genotype."""
    history = search_history(1, 2)
    alpha, active = np.zeros((2, 5, 8)), np.ones((2, 5, 8), bool)
    alpha[:, :, 0] = 5  # none: what else an edge has weighs less than 1/8
    alpha[:, :, 3] = 9
    active[:, :, 3] = False
    active[:, 3] = False  # the edge from state 1 into node 3 has nothing left
    history[0] |= {"alpha": alpha.tolist(), "active": active.tolist()}
    kept = kept_edges(alpha_figure(history, "normal"))
    assert len(kept) == 4 and "$c_{k-1}$ → 3" not in kept
    bars = operation_count_figure(history).axes[0].containers
    heights = {bar.get_label(): bar[0].get_height() for bar in bars}
    assert heights[PRIMITIVES[3]] == 0 and sum(heights.values()) == 4


def test_of_equal_edges_one_without_operations_is_kept_last():
    history = search_history(1, 2, operations=SMALL[1:])
    active = np.ones((2, 5, 2), bool)
    active[:, 3] = False
    history[0] |= {"alpha": np.zeros((2, 5, 2)).tolist(), "active": active.tolist()}
    kept = kept_edges(alpha_figure(history, "reduce", SMALL[1:]))
    assert kept[2:] == ["$c_{k-2}$ → 3", "2 → 3"]


@pytest.mark.parametrize(
    "key, value, complaint",
    [
        ("temperature", 0, "temperature must be above 0"),
        ("temperature", -1.0, "temperature must be above 0"),
        ("temperature", "warm", "temperature must be a number"),
        ("active", [[[True]]], "active must be true or false for every entry"),
        ("active", [[True], [True, False]], "active must be true or false for every entry"),
        ("active", np.ones((2, 5, 8)).tolist(), "active must be true or false for every entry"),
        ("active", True, "active must be true or false for every entry"),
        ("genotype", "Genotype(", "genotype of epoch 2"),
        ("genotype", 3, "genotype of epoch 2"),
    ],
)
def test_what_a_strategy_records_wrongly_is_refused(key, value, complaint):
    history = supernet_history(2)
    history[1][key] = value
    with pytest.raises(InputError, match=complaint):
        alpha_figure(history, "normal")


# Operations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("history", [individual_history((3, 2, 2)), supernet_history(7)])
def test_operation_counts_are_those_of_the_recorded_genotype(history):
    if history[0]["alpha"] is not None:  # which may know better than alpha does
        history[3]["genotype"] = history[0]["genotype"]
    history[6] |= {"genotype": None, "alpha": supernet_history(1)[0]["alpha"]}
    genotypes = [parse_genotype(record["genotype"]) for record in history[:6]]
    genotypes.append(discretise(history[6]["alpha"]))
    figure = operation_count_figure(history)
    for ax, cell in zip(figure.axes, ("normal", "reduce")):
        counts = [Counter(name for name, _ in getattr(g, cell)) for g in genotypes]
        for bars in ax.containers:
            heights = [bar.get_height() for bar in bars]
            assert heights == [count[bars.get_label()] for count in counts]


def test_an_epoch_that_knows_no_genotype_yet_has_no_bar():
    history = individual_history()
    history[0]["genotype"] = None
    figure = operation_count_figure(history)
    heights = [[bar.get_height() for bar in bars] for bars in figure.axes[0].containers]
    assert np.sum(heights, axis=0).tolist() == [0, *[4] * 6]
    for record in history:
        record["genotype"] = None
    with pytest.raises(InputError, match="neither a genotype nor an alpha"):
        operation_count_figure(history)


def test_genotypes_of_another_space_or_size_are_refused():
    history = individual_history()
    with pytest.raises(InputError, match="the operations none, skip_connect, sep_conv_3x3 alone"):
        operation_count_figure(history, SMALL)
    history[2]["genotype"] = individual_history(nodes=3)[0]["genotype"]
    with pytest.raises(InputError, match="as many nodes in every epoch"):
        operation_count_figure(history)
    history = supernet_history(2)
    for record in history:
        record["genotype"] = individual_history(nodes=3)[0]["genotype"]
    with pytest.raises(InputError, match="another number of nodes than its alpha"):
        alpha_figure(history, "reduce")


@pytest.mark.slow
def test_the_recorded_genotype_is_marked():
    history = supernet_history(3, nodes=3)
    marked = parse_genotype(history[0]["genotype"])
    assert marked.normal != parse_genotype(history[-1]["genotype"]).normal
    history[-1]["genotype"] = history[0]["genotype"]
    panels = [ax for ax in alpha_figure(history, "normal").axes if ax.get_visible()]
    framed = [ax.spines["left"].get_linewidth() > 2 for ax in panels]
    kept = {(i, 2 + k // 2) for k, (_, i) in enumerate(marked.normal)}
    assert framed == [edge in kept for edge in edges(3)]


# Accuracy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase, name", [("supernet", "Supernet"), ("search", "Search")])
def test_accuracy_figure_of_a_single_supernet(phase, name):
    history = supernet_history(7, phase=phase)
    history[2]["validation_accuracy"] = None
    figure = accuracy_figure(history)
    top, bottom = figure.axes
    drawn = lines(top)
    for label, key in (("validation", "validation_accuracy"), ("training", "train_accuracy")):
        values = 100 * column(history, key)
        np.testing.assert_allclose(drawn[f"{name}, {label}"].get_ydata(), values)
    np.testing.assert_allclose(bottom.get_lines()[-1].get_ydata(), column(history, "loss"))
    loss = {"supernet": "cross-entropy of\nthe supernet", "search": "loss of\nthe search"}
    assert (top.get_title(), bottom.get_ylabel()) == (name, loss[phase])
    assert_texts_fit(figure)


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [(1,), (3,), (2, 3, 1, 2), (1,) * 5, (2,) * 60])
def test_accuracy_figure_of_individuals(epochs):
    history = individual_history(epochs)
    figure = accuracy_figure(history)
    drawn = lines(figure.axes[0])
    last = np.cumsum(epochs) - 1
    reached = 100 * column(history, "validation_accuracy")[last]
    dots, best = drawn["an individual at its last epoch"], drawn["the best of them so far"]
    np.testing.assert_array_equal(dots.get_xdata(), last + 1)
    np.testing.assert_allclose(dots.get_ydata(), reached)
    np.testing.assert_array_equal(best.get_xdata(), [*(last + 1), last[-1] + 1])
    so_far = np.maximum.accumulate(reached)
    np.testing.assert_allclose(best.get_ydata(), [*so_far, so_far[-1]])
    assert best.get_drawstyle() == "steps-post"
    for line, key in (
        (drawn["on the way there, validation"], "validation_accuracy"),
        (drawn["on the way there, training"], "train_accuracy"),
        (figure.axes[1].get_lines()[-1], "loss"),
    ):
        scale = 1 if key == "loss" else 100
        parts = np.split(scale * column(history, key), last[:-1] + 1)
        want = np.concatenate([[*part, np.nan] for part in parts])  # no line from one to the next
        np.testing.assert_allclose(line.get_ydata(), want)
        ends = np.asarray(line.get_markevery())
        np.testing.assert_allclose(line.get_ydata()[ends], [part[-1] for part in parts])
    assert_texts_fit(figure)


def test_an_individual_without_accuracy_is_not_the_best():
    history = individual_history((1, 1, 1, 1))
    for record, accuracy in zip(history, (None, 0.5, None, 0.25)):
        record["validation_accuracy"] = accuracy
    best = lines(accuracy_figure(history).axes[0])["the best of them so far"]
    np.testing.assert_array_equal(best.get_ydata(), [np.nan, 50, 50, 50, 50])


def test_individuals_after_a_supernet():
    """A strategy of one's own may do both: the lines of either end where the other begins."""
    history = supernet_history(3)
    history += individual_history((2, 2))
    history = [record | {"epoch": k} for k, record in enumerate(history, 1)]
    figure = accuracy_figure(history)
    drawn = lines(figure.axes[0])
    np.testing.assert_array_equal(drawn["an individual at its last epoch"].get_xdata(), [5, 7])
    way = drawn["on the way there, validation"]
    assert np.nanmin(way.get_xdata()[np.isfinite(way.get_ydata())]) == 4
    assert np.isnan(drawn["Supernet, validation"].get_ydata()[3:]).all()
    assert [colour for *_, colour in shaded(figure.axes[0])] == ["#ffffff", "#e9f1f8"]
    assert len(figure.axes) == 3
    assert figure.axes[0].get_title() == "Supernet and Individuals"


# All of a run ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "history, names",
    [
        (individual_history(), {"accuracy", "operations"}),
        (
            supernet_history(),
            {"accuracy", "operations", "alpha_normal", "alpha_reduce", "entropy"},
        ),
        (
            [record | {"alpha": None, "genotype": None} for record in supernet_history(2)],
            {"accuracy"},
        ),
    ],
    ids=["individuals", "supernet", "nothing but accuracies"],
)
def test_draw_run_draws_what_a_strategy_has(tmp_path, history, names):
    assert {path.stem for path in draw_run(history, None, tmp_path)} == names


def test_tangent_is_drawn_where_there_is_one(tmp_path, monkeypatch):
    for name in ("alpha", "entropy", "operation_count", "accuracy", "tangent"):
        monkeypatch.setattr(f"bnas.plots.run.{name}_figure", lambda *_: None)
    monkeypatch.setattr("bnas.plots.run.to_png", lambda _: b"")
    for key in ("distance", "angle", "loss"):
        history = supernet_history(3)
        history[1][key] = 2.0
        paths = {path.stem for path in draw_run(history, None, tmp_path)}
        assert ("tangent" in paths) == (key != "loss")


# Several runs ----------------------------------------------------------------------------------


def several(count):
    """So many searches of all kinds, with labels as long as they get."""
    kinds = (
        search_history(8, 2),
        individual_history((2,) * 12),
        supernet_history(5),
        search_history(12, 3, per_phase=3),
        supernet_history(4, phase="search"),
        individual_history((1, 1)),
    )
    names = ("dcp", "random", "darts", "cp", "my_own_module:MyOwnStrategyOfSearch", "evolution")
    return {f"{names[k % 6]}, seed {k}": kinds[k % 6] for k in range(count)}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_runs_figure_has_a_column_a_run(count):
    runs = several(count)
    figure = runs_figure(runs)
    panels = np.array(figure.axes).reshape(3, count)
    titles = [ax.get_title().replace("\n", " ") for ax in panels[0]]
    assert [title.replace(" ", "") for title in titles] == [key.replace(" ", "") for key in runs]
    longest = max(len(history) for history in runs.values())
    for ax, history in zip(panels[0], runs.values()):
        drawn = lines(ax)
        accuracy = 100 * column(history, "validation_accuracy")
        kinds = {"parent": "Parent", "child": "Child", "supernet": "Supernet", "search": "Search"}
        for phase in {record["phase"] for record in history} - {"individual"}:
            line = drawn[f"{kinds[phase]}, validation"]
            own = 100 * column(history, "validation_accuracy", phase)
            np.testing.assert_allclose(line.get_ydata(), own)
        if history[0]["phase"] == "individual":
            last = [
                k for k, (a, b) in enumerate(zip(history, history[1:])) if a["round"] != b["round"]
            ]
            best = np.maximum.accumulate(accuracy[[*last, len(history) - 1]])
            np.testing.assert_allclose(drawn["the best of them so far"].get_ydata()[:-1], best)
    for ax, history in zip(panels[1], runs.values()):
        texts = [record.get("genotype") for record in history]
        found = [
            discretise(record["alpha"]) if text is None else parse_genotype(text)
            for record, text in zip(history, texts)
        ]
        names = [[name for name, _ in (*g.normal, *g.reduce)] for g in found]
        idle = [sum(name in WEIGHTLESS for name in kept) for kept in names]
        bars = {patch.get_label(): patch.get_data() for patch in ax.patches if patch.get_label()}
        assert bars["skips and poolings"].values.tolist() == idle
        weighted = bars["operations with weights"]
        assert weighted.values.tolist() == [len(kept) for kept in names]
        assert weighted.baseline.tolist() == idle
    for ax, history in zip(panels[2], runs.values()):
        if history[0]["alpha"] is None:
            assert [text.get_text() for text in ax.texts] == [
                "no α"
            ] and "Normal cell" not in lines(ax)
            continue
        want = entropy(softmax(logits(history), axis=-1), axis=-1).mean(axis=2)
        for c, cell in enumerate(CELLS):
            np.testing.assert_allclose(lines(ax)[cell].get_ydata(), want[:, c])
    assert_texts_fit(figure)
    for row in panels:
        assert len({ax.get_ylim() for ax in row}) == 1
    low, high = panels[0, 0].get_xlim()
    starts = {history[0]["epoch"] for history in runs.values()}
    assert low == min(starts) - 0.5 and high >= longest - 0.5
    assert {ax.get_xlim() for ax in panels.flat} == {(low, high)}
    smallest = min(ax.get_window_extent().width for ax in panels.flat) / figure.dpi
    assert smallest > 1.5  # inches


@pytest.mark.slow
def test_runs_without_alpha_have_no_row_for_it():
    figure = runs_figure({"a": individual_history(), "b": individual_history((1, 1), seed=1)})
    assert len(figure.axes) == 4
    assert_texts_fit(figure)


def test_runs_of_several_spaces_stand_side_by_side():
    runs = {"a": supernet_history(3, operations=SMALL), "b": supernet_history(3)}
    figure = runs_figure(runs, {"a": SMALL, "b": PRIMITIVES})
    labels = [lines(ax).keys() for ax in figure.axes[4:]]
    assert "all equal: ln 3 = 1.10" in labels[0] and "all equal: ln 8 = 2.08" in labels[1]
    with pytest.raises(InputError, match=r"\(2, edges, 8\)"):
        runs_figure(runs)


def test_a_run_that_knows_no_genotype_yet_stands_beside_others():
    begun = [record | {"genotype": None} for record in individual_history((2,))]
    figure = runs_figure({"a": begun, "price: $1 of $2": individual_history()})
    assert [[text.get_text() for text in ax.texts] for ax in figure.axes[2:]] == [
        ["no genotype yet"],
        [],
    ]
    assert figure.axes[1].get_title() == r"price: \$1 of \$2"  # and no formula
    assert_texts_fit(figure)


@pytest.mark.slow
def test_the_legend_names_everything_once():
    texts = [text.get_text() for text in runs_figure(several(3)).legends[0].get_texts()]
    assert len(texts) == len(set(texts))
    assert {"Parent, validation", "the best of them so far", "skips and poolings"} <= set(texts)
    assert texts[-2:] == ["Child phase", "Individuals"]


def test_runs_that_cannot_be_drawn():
    for runs, complaint in (
        ({}, "no run to draw"),
        ({"a": []}, "history is empty"),
        ({"a": [record | {"phase": "train"} for record in supernet_history(2)]}, "unknown phase"),
    ):
        with pytest.raises(InputError, match=complaint):
            runs_figure(runs)


@pytest.mark.slow
def test_draw_runs_replaces_its_own_figures_alone(tmp_path):
    path, runs = tmp_path / "runs.png", several(2)
    for _ in range(2):
        draw_runs(runs, path)
        assert path.read_bytes() == runs_figure(runs)._repr_png_()
    path.write_bytes(b"notes")
    with pytest.raises(InputError, match="no figure of bnas"):
        draw_runs(runs, path)
    assert path.read_bytes() == b"notes"


# The command -----------------------------------------------------------------------------------


def folder(path, **config):
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_runs_are_called_by_what_tells_them_apart(tmp_path):
    old = folder(tmp_path / "old", seed=1)
    dcp = folder(tmp_path / "x" / "one", strategy="dcp", seed=2)
    cp = folder(tmp_path / "y" / "two", strategy="cp", seed=2)
    again = folder(tmp_path / "y" / "one", strategy="cp", seed=2)
    assert labels_of([old, dcp, cp]) == {"dcp, seed 1": old, "dcp, seed 2": dcp, "cp, seed 2": cp}
    assert labels_of([cp, again]) == {"two": cp, "one": again}
    assert labels_of([dcp, cp, again]) == {str(path): path for path in (dcp, cp, again)}
    with pytest.raises(InputError, match="old are the same run"):
        labels_of([old, cp, tmp_path / "x" / ".." / "old"])
    with pytest.raises(InputError, match="not a run folder"):
        labels_of([old, tmp_path / "nowhere"])


def search_folder(path, history, **settings):
    with RunFolder.create(path, asdict(SearchConfig(**settings))) as run:
        for record in history:
            run.append_history(record)


@pytest.mark.slow
def test_plot_draws_several_searches_into_one_figure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = supernet_history(3, operations=SMALL)
    search_folder(tmp_path / "a", own, seed=3, operations=", ".join(SMALL))
    search_folder(tmp_path / "b", individual_history(), seed=4)
    runs = {"dcp, seed 3": own, "dcp, seed 4": individual_history()}
    png = runs_figure(runs, {"dcp, seed 3": SMALL, "dcp, seed 4": PRIMITIVES})._repr_png_()
    assert succeed("plot", "a", "b") == "runs.png\n"
    assert succeed("plot", "a", "b", "-o", "both.png") == "both.png\n"
    assert (tmp_path / "runs.png").read_bytes() == (tmp_path / "both.png").read_bytes() == png
    (tmp_path / "runs.png").write_text("mine")
    fail("plot", "a", "b", says="runs.png is there and no figure of bnas")
    assert (tmp_path / "runs.png").read_text() == "mine"


def test_plot_of_several_needs_searches_with_epochs(tmp_path):
    search_folder(tmp_path / "a", supernet_history(2))
    search_folder(tmp_path / "begun", [], seed=1)
    with RunFolder.create(tmp_path / "trained", asdict(TrainConfig())):
        pass
    for other, says in (
        ("begun", "begun has no finished epoch to draw yet"),
        ("trained", "holds one trained network, no search"),
        ("missing", "missing is not a run folder"),
    ):
        fail("plot", tmp_path / "a", tmp_path / other, "-o", tmp_path / "new.png", says=says)
    assert not (tmp_path / "new.png").exists()


@pytest.mark.parametrize("epochs, numbers", [((2, 1, 3), [1, 2, 3]), ((1,) * 30, range(1, 31, 3))])
def test_individuals_are_counted_from_1_where_they_end(epochs, numbers):
    figure = accuracy_figure(individual_history(epochs))
    figure.canvas.draw()
    (above,) = figure.axes[0].child_axes
    assert [text.get_text() for text in above.get_xticklabels()] == [str(n) for n in numbers]
    ends = np.cumsum(epochs)[[n - 1 for n in numbers]]
    np.testing.assert_array_equal(above.get_xticks(), ends)
