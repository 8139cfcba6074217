"""The statistics of the study, and its experiments from the specs to the page."""

import json
import re
import tempfile
from dataclasses import fields
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from helpers.commands import fail, succeed
from helpers.figures import assert_texts_fit
from helpers.tables import write_table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bnas.config import SearchConfig
from bnas.errors import InputError
from bnas.plots import study_figure
from bnas.study import commands as study_commands
from bnas.study import experiment, names
from bnas.study.jobs import search
from bnas.study.optima import plane
from bnas.study.report import page, sentence
from bnas.study.searches import analyse, comparisons
from bnas.study.statistics import (
    anytime,
    compare_paired,
    holm,
    improvement,
    percentile_rank,
    regret,
    signed_rank,
    step_values,
)
from bnas.tabular import OPERATIONS, load

VALUES = np.array([0.5, 0.9, 0.7, 0.7, 0.2])


# What an architecture is worth


def test_regret_rank_and_improvement_by_hand():
    np.testing.assert_allclose(regret(VALUES, [1, 2, 4]), [0, 0.2, 0.7])
    # Better than 4, than 2 and half of its one equal, and than none, of 4 others.
    np.testing.assert_allclose(percentile_rank(VALUES, [1, 2, 4]), [100, 62.5, 0])
    np.testing.assert_allclose(improvement(VALUES, [[1], [4]]), [[0.5], [-2 / 3]])


@given(st.lists(st.integers(0, 6), min_size=2, max_size=20))
def test_of_the_whole_table_the_rank_is_50_and_the_improvement_0_on_average(numbers):
    values = 0.1 + np.array(numbers) / 10
    every = np.arange(len(values))
    assert percentile_rank(values, every).mean() == pytest.approx(50)
    assert improvement(values, every).mean() == pytest.approx(0)
    assert regret(values, every).min() == 0


# Tests


def exact_p(differences):
    """The two-sided p-value from all choices of signs, one by one."""
    differences = np.array([d for d in differences if d != 0])
    ranks = stats.rankdata(abs(differences))
    found = min(ranks[differences > 0].sum(), ranks[differences < 0].sum())
    sums = [ranks[np.array(signs)].sum() for signs in product((True, False), repeat=len(ranks))]
    return min(1, 2 * np.mean(np.array(sums) <= found + 1e-9))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9).filter(any))
def test_the_signed_rank_test_counts_all_choices_of_signs_with_ties_and_zeros(differences):
    found = signed_rank(differences)
    assert found.p == pytest.approx(exact_p(differences))
    assert found.pairs == np.count_nonzero(differences)


@pytest.mark.parametrize(
    "pairs, method", [(5, "exact"), (20, "exact"), (50, "exact"), (51, "approx")]
)
def test_the_signed_rank_test_without_ties_is_that_of_scipy(pairs, method):
    differences = np.random.default_rng(pairs).normal(0.3, 1, pairs)
    expected = stats.wilcoxon(differences, method=method).pvalue
    assert signed_rank(differences).p == pytest.approx(expected, rel=1e-9)


def test_equal_searches_do_not_differ():
    assert signed_rank(np.zeros(10)) == (1.0, 0, 0.0)


def test_holm_by_hand():
    # 4 x 0.01; 3 x 0.015 = 0.045; 2 x 0.02 = 0.04, not below the one before; 1 x 0.6
    np.testing.assert_allclose(holm([0.02, 0.01, 0.6, 0.015]), [0.045, 0.04, 0.6, 0.045])
    np.testing.assert_allclose(holm([0.7, 0.8]), [1, 1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(p):
    p, corrected = np.array(p), holm(p)
    assert (corrected >= p).all() and (corrected <= np.minimum(len(p) * p, 1)).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_a_verdict_goes_by_the_corrected_p_value():
    up = np.linspace(0.01, 0.02, 10)  # all on one side: p = 2 / 2^10
    found = compare_paired({"up": up, "down": -up, "noise": up * (-1) ** np.arange(10)})
    assert [one.verdict for one in found.values()] == ["higher", "lower", "within noise"]
    assert found["up"].p == 2 / 2**10 and found["up"].corrected == 3 * found["up"].p
    assert found["up"].low > 0.01 and found["down"].high < -0.01
    alone, of_two = (
        {"six": up[:6]},
        {"six": up[:6], "seven": up[:6]},
    )  # p = 1 / 32, corrected 1 / 16
    assert [compare_paired(family)["six"].verdict for family in (alone, of_two)] == [
        "higher",
        "within noise",
    ]


def test_one_outlier_does_not_turn_a_verdict_round():
    mostly_up = np.array([*np.linspace(0.01, 0.02, 11), -0.9])  # ranks 1 to 11 up, 12 down
    found = compare_paired({"mostly up": mostly_up})["mostly up"]
    assert found.corrected < 0.05 and found.mean < 0
    assert found.correlation == pytest.approx((66 - 12) / 78) and found.verdict == "higher"


def test_the_comparisons_of_all_data_sets_are_one_family():
    def runs(**accuracies):
        return {"runs": {name: {"test_accuracy": list(a)} for name, a in accuracies.items()}}

    base = np.linspace(0.5, 0.6, 8)
    found = {
        "digits": runs(old=base, new=base + np.linspace(0.01, 0.02, 8)),
        "fashion": runs(old=base, new=base, longer=[*(base - 0.1), 0.0, 0.0]),
    }
    told = comparisons("old", found)
    assert told["digits"]["new"]["p"] == 2 / 2**8
    assert told["digits"]["new"]["corrected"] == 3 * 2 / 2**8
    assert told["fashion"]["longer"]["pairs"] == 8 and told["fashion"]["new"]["unequal"] == 0
    assert (
        sentence("old", "fashion", told["fashion"])
        == "On fashion, longer: lower than old; new: within noise of old."
    )


# Curves


def test_a_curve_holds_its_value_until_the_next():
    found = step_values([1, 3, 3.5], [0.4, np.nan, 0.1], [0, 1, 2.9, 3, 3.5, 9])
    np.testing.assert_equal(found, [np.nan, 0.4, 0.4, np.nan, 0.1, 0.1])


def test_the_curves_of_all_seeds_are_summed_up_at_each_point():
    curves = [([0, 2], [4.0, 0.0]), ([1, 2], [2.0, 1.0]), ([0, 9], [3.0, 8.0])]
    low, median, high = anytime(curves, [0, 1, 2])
    np.testing.assert_equal(median, [np.nan, 3, 1])
    np.testing.assert_equal((low[1], high[1]), (2.5, 3.5))


# Experiments


@pytest.mark.parametrize("name", names())
def test_every_search_of_an_experiment_is_one_over_the_space_of_the_table(name):
    chosen = experiment(name)
    jobs = chosen.jobs(("digits", "fashion"))
    assert len(jobs) == 2 * chosen.seeds * len(chosen.runs)
    assert chosen.reference in {None, *chosen.runs}
    for job in jobs.values():
        config = SearchConfig(**job)
        assert config.operation_names == OPERATIONS and config.tied_cells and config.nodes == 2
        assert (config.channels, config.layers) == (8, 3)


def test_runs_differ_in_nothing_but_what_the_spec_says_and_share_seeds():
    chosen = experiment("losses")
    of_seed = [
        {run: chosen.settings(run, "digits", seed) for run in chosen.runs} for seed in (0, 1)
    ]
    for runs in of_seed:
        rest = [{k: v for k, v in one.items() if k not in ("lam", "mu")} for one in runs.values()]
        assert all(one == rest[0] for one in rest)
    assert of_seed[0]["D"] == {**of_seed[1]["D"], "seed": 0}


def test_what_two_experiments_have_in_common_is_one_job():
    losses, curvature = (experiment(n).jobs(("digits",)) for n in ("losses", "curvature"))
    common = losses.keys() & curvature.keys()
    assert len(common) == 10  # the defaults, spelled out in either: λ and μ here, fisher there
    for key in common:
        assert losses[key] == curvature[key]


def test_a_key_tells_all_that_is_not_common():
    """So that no two different jobs have one key."""
    seen = {}
    for name in names():
        for quick in (False, True):
            for key, job in experiment(name).jobs(("digits", "fashion"), quick=quick).items():
                assert seen.setdefault(key, job) == job
    known = {f.name for f in fields(SearchConfig)}
    assert all(job.keys() <= known for job in seen.values())


@pytest.mark.slow
def test_a_job_tells_what_the_search_would_have_answered_after_each_epoch():
    _, job = next(iter(experiment("strategies").jobs(("digits",), 1, quick=True).items()))
    small = {**job, "limit": 96, "channels": 2}
    found = search(small)
    json.dumps(found, allow_nan=False)
    assert [record["phase"] for record in found["epochs"]] == ["parent", "child"]
    assert found["architecture"] == found["epochs"][-1]["architecture"] in range(648)
    assert np.shape(found["epochs"][0]["alpha"]) == (5, 4)
    again = search(small)
    assert [e["alpha"] for e in again["epochs"]] == [e["alpha"] for e in found["epochs"]]


def test_the_plane_of_the_optima_holds_both_alphas_and_the_tangent():
    rng = np.random.default_rng(0)
    first, second, t = rng.normal(size=(3, 1, 5, 4))
    axes = np.array(plane(first, second, t)).reshape(2, -1)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-12)
    for vector in (second - first, t):
        flat = vector.ravel()
        np.testing.assert_allclose(axes.T @ (axes @ flat), flat, atol=1e-12)
    same = np.array(plane(first, first, first - first)).reshape(2, -1)  # nothing to go by
    np.testing.assert_allclose(same @ same.T, np.eye(2))


# What was found, looked up


def results_of(chosen, table, datasets, finds):
    """Results as of searches of two epochs: without an answer after the first, then finds(values, run, seed)."""
    results = {}
    for dataset, run, seed in product(datasets, chosen.runs, range(chosen.seeds)):
        values = table.accuracies(dataset, "test").mean(axis=1)
        records = [
            {"seconds": 20.0 + seed, "gradient_steps": 50, "architecture": number}
            for number in (None, finds(values, run, seed))
        ]
        results[chosen.key(run, dataset, seed)] = {"epochs": records}
    return results


@pytest.mark.parametrize("name", ["strategies", "lambda-mu"])
def test_what_the_searches_found_is_looked_up_compared_and_drawn(tmp_path, name):
    """The reference finds the best of the table, the last run the worst, the others architectures 0, 1, ..."""
    datasets = ("digits", "fashion")
    write_table(tmp_path)
    table, chosen = load(tmp_path), experiment(name)
    last, seeds = list(chosen.runs)[-1], chosen.seeds
    budget = 2 * (20 + (seeds - 1) / 2)  # the median over the seeds of 2 x (20 + seed)

    def finds(values, run, seed):
        ends = {chosen.reference: values.argmax(), last: values.argmin()}
        return int(ends.get(run, seed))

    results = results_of(chosen, table, datasets, finds)
    figures = json.loads(json.dumps(analyse(chosen, table, results, datasets), allow_nan=False))
    for dataset in datasets:
        values = table.accuracies(dataset, "test").mean(axis=1)
        runs, compared = (figures[key][dataset] for key in ("datasets", "comparisons"))
        assert runs["budget_seconds"] == budget
        best, worst, other = (
            runs["runs"][run] for run in (chosen.reference, last, list(chosen.runs)[1])
        )
        assert best["regret"] == [0] * seeds and min(best["percentile"]) > 99
        assert (
            worst["regret"] == pytest.approx([np.ptp(values)] * seeds)
            and worst["percentile"] == [0] * seeds
        )
        assert other["test_accuracy"] == pytest.approx(values[:seeds].tolist())
        assert compared[last]["verdict"] == "lower" and compared[last]["pairs"] == seeds
        low, median, high = runs["anytime"]["gradient_steps"]["runs"][last]
        after = np.array(runs["anytime"]["gradient_steps"]["grid"]) >= 100
        assert median == [pytest.approx(np.ptp(values)) if late else None for late in after]
    if name == "strategies":
        asked = figures["datasets"]["digits"]["runs"]["random (table)"]
        assert len(asked["regret"]) == 20 and max(asked["seconds"]) <= budget
    (said,) = [
        line for line in page(chosen, figures).splitlines() if line.startswith("On fashion, ")
    ]
    assert last in said.split(f": lower than {chosen.reference}")[0]
    assert_texts_fit(study_figure(figures))


def test_a_search_without_an_answer_is_no_result(tmp_path):
    write_table(tmp_path, datasets=("digits",))
    table, chosen = load(tmp_path), experiment("losses")
    results = results_of(chosen, table, ("digits",), lambda values, run, seed: None)
    with pytest.raises(InputError, match="the search with seed 0 ended without an answer"):
        analyse(chosen, table, results, ("digits",))


# The command


def test_reproduce_lists_the_experiments():
    listed = succeed("reproduce")
    for name in names():
        assert f"{name} " in listed


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("loses",), "there is no experiment 'loses'; expected strategies, losses, "),
        (("nowhere.toml",), "cannot read nowhere.toml: No such file"),
        (("losses", "--seeds", "1"), "must be a whole number from 2 up"),
        (("optima", "--seeds", "2"), "--seeds: optima has one search"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(tmp_path, arguments, says):
    fail("reproduce", *arguments, "-o", tmp_path / "out", says=says)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text, says",
    [
        ("seeds = ", "mine.toml is not valid TOML"),
        ("grid = 1", "mine.toml: 'grid' is no part of an experiment; expected title"),
        ("seeds = 3", r"mine.toml: expected \[\[runs\]\], each with a name"),
        ("[[runs]]\nlam = 1.0", "mine.toml: each of the runs needs a name of its own, got None"),
        ("seeds = 0\n[[runs]]\nname = 'a'", "mine.toml: seeds must be how many"),
        ("reference = 'b'\n[[runs]]\nname = 'a'", "'b' is none of the runs a"),
        ("kind = 'b'\n[[runs]]\nname = 'a'", "kind must be one of searches, ranking, optima"),
        ("[simulated]\nstrategies = ['b']\n[[runs]]\nname = 'a'", "takes strategies, a list of"),
        ("[simulated]\nstrategies = [['b']]\n[[runs]]\nname = 'a'", "takes strategies, a list of"),
        ("simulated = ['random']\n[[runs]]\nname = 'a'", "takes strategies and seeds, got"),
        ("[simulated]\nseed = 3\n[[runs]]\nname = 'a'", "takes strategies and seeds, got"),
        ("[simulated]\nseeds = 0\n[[runs]]\nname = 'a'", r"seeds in \[simulated\] must be"),
        ("[[runs]]\nname = 'a'\nstrategy = ['dcp']", "run a: strategy must be a name"),
        ("[[runs]]\nname = 'a'\nstrategy = 'dpc'", "run a: strategy must be one of"),
        ("[settings]\nseed = 3\n[[runs]]\nname = 'a'", "run a: seed is not for a run to choose"),
        ("[[runs]]\nname = 'a'\nnodes = 4", "run a: nodes is not for a run to choose"),
        (
            "[[runs]]\nname = 'a'\noperations = 'skip_connect, avg_pool_3x3'",
            "run a: no architecture of the table has the operation avg_pool_3x3",
        ),
        (
            "kind = 'ranking'\n[[runs]]\nname = 'a'\nstrategy = 'random'",
            "run a: kind ranking looks into dcp, bnas, darts, shared alone",
        ),
        (
            "kind = 'optima'\n[[runs]]\nname = 'a'\n[[runs]]\nname = 'b'",
            "kind optima takes one run, got 2",
        ),
        ("[[runs]]\nname = 'a'\nlamda = 1.0", "run a: no search has a setting 'lamda'"),
        ("[[runs]]\nname = 'a'\nlam = -1.0", "run a: lam must be at least 0"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(tmp_path, text, says):
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(text)
    write_table(tmp_path / "table", datasets=("digits",))
    options = ("--table", tmp_path / "table", "--dataset", "digits", "-o", out)
    fail("reproduce", file, *options, says=says)
    assert not out.exists()


def test_an_experiment_of_ones_own():
    """The one in docs/study.md."""
    text = (ROOT / "docs" / "study.md").read_text()
    spec = text.split("```toml\n")[1].split("```")[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "temperature.toml"
        path.write_text(spec)
        found = experiment(str(path))
    jobs = found.jobs(("digits",), 2)
    assert found.name == "temperature" and found.reference == "constant"
    assert sorted(job.get("temperature", 1) for job in jobs.values()) == [0.1, 0.1, 1, 1]
    assert jobs.keys() & experiment("strategies").jobs(("digits",), 2).keys()


def test_a_data_set_that_the_table_lacks_is_refused(tmp_path):
    write_table(tmp_path / "table", datasets=("digits",))
    out = tmp_path / "out"
    fail(
        "reproduce",
        "losses",
        "--table",
        tmp_path / "table",
        "--dataset",
        "fashion",
        "-o",
        out,
        says="no data set fashion; it has digits",
    )
    assert not out.exists()


def test_the_data_sets_are_those_of_the_table_unless_one_is_given(tmp_path):
    write_table(tmp_path / "digits", datasets=("digits",))
    write_table(tmp_path / "both")
    found = []
    for name, *dataset in (("digits",), ("both",), ("both", "--dataset", "digits")):
        listed = succeed("reproduce", "--table", tmp_path / name, *dataset)
        found += re.findall(r"^losses .*\n +(\d+) searches", listed, re.M)
    assert found == ["40", "80", "40"]


def test_a_table_of_another_space_is_refused(tmp_path):
    """Its numbers are those of other architectures."""
    write_table(tmp_path / "table", OPERATIONS[::-1], ("digits",))
    options = ("--table", tmp_path / "table", "-o", tmp_path / "out")
    fail("reproduce", "losses", *options, says="the table is over dil_conv_3x3, .* give a table of")
    assert not (tmp_path / "out").exists()


def test_a_page_names_its_command_and_tells_a_trial(tmp_path, monkeypatch):
    """Of an experiment of one's own too, whose only run is compared with nothing."""
    write_table(tmp_path / "table", datasets=("digits",))
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text("reference = 'grid'\n[[runs]]\nname = 'grid'")  # as the curves' grid
    records = [{"seconds": 1.0, "gradient_steps": 5, "architecture": 3}]
    monkeypatch.setattr(
        study_commands, "run", lambda function, jobs, *_: {key: {"epochs": records} for key in jobs}
    )
    options = ("--table", tmp_path / "table", "-o", out)
    page = succeed("reproduce", file, *options)
    assert f"`bnas reproduce {file} --table {tmp_path / 'table'}` makes this page" in page
    assert "trial" not in page and "minus that of" not in page and "On digits" not in page
    assert (out / "mine.md").read_text() in page
    page = succeed("reproduce", file, "--quick", *options)
    assert "--quick` makes this page and its figure: a trial, whose figures say nothing." in page
    (out / "mine.png").write_bytes(b"my own")
    monkeypatch.delattr(study_commands, "run")  # refused before any search
    fail("reproduce", file, *options, says="mine.png")


@pytest.fixture
def trial(tmp_path, monkeypatch):
    """(options of a trial on a synthetic table of the digits, the folder that it writes to)."""
    from bnas.study import experiments

    monkeypatch.setitem(experiments.QUICK, "limit", 96)
    write_table(tmp_path / "table", datasets=("digits",))
    out = tmp_path / "out"
    where = ("-o", out, "--table", tmp_path / "table")
    return ("--quick", "--dataset", "digits", "--workers", "0", *where), out


@pytest.mark.slow
def test_an_experiment_from_its_searches_to_the_page(tmp_path, trial):
    """It goes on from what is there, and looks up what was found; all numbers of the page are in the JSON."""
    options, out = trial
    page = succeed("reproduce", "strategies", *options)
    assert (out / "strategies.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "strategies.md").read_text() in page
    figures = json.loads((out / "strategies.json").read_text())
    runs = figures["datasets"]["digits"]["runs"]
    assert [len(one["regret"]) for one in runs.values()] == [2] * 5 + [20] * 4
    values = load(tmp_path / "table").accuracies("digits", "test").mean(axis=1)
    for one in runs.values():
        np.testing.assert_allclose(one["test_accuracy"], values[one["architectures"]])
        np.testing.assert_allclose(one["regret"], values.max() - values[one["architectures"]])
    results = sorted((out / "searches" / "results").iterdir())
    assert len(results) == 10
    before = {path: path.stat().st_mtime_ns for path in results}
    results[3].unlink()
    succeed("reproduce", "strategies", *options)
    after = {path: path.stat().st_mtime_ns for path in results}
    assert [path for path in results if before[path] != after[path]] == [results[3]]
    again = json.loads((out / "strategies.json").read_text())
    found = again["datasets"]["digits"]["runs"]
    assert all(
        found[run]["architectures"] == runs[run]["architectures"] for run in ("dcp", "shared")
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ranking", "optima"])
def test_the_other_experiments_from_their_searches_to_the_page(trial, name):
    options, out = trial
    page = succeed("reproduce", name, *options)
    assert (out / f"{name}.md").read_text() in page
    assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((out / f"{name}.json").read_text())["datasets"]["digits"]
    if name == "ranking":
        assert [one["phase"] for one in found["dcp"]] == ["parent", "child"]
        assert found["shared"][-1]["tau_alpha"] == [None, None]
        assert all(0 <= a <= 1 for a in found["darts"][-1]["path"])
    else:
        assert np.shape(found["parent"]) == np.shape(found["child"]) == (5, 5)
        assert min(map(min, found["child"])) >= 0  # a KL divergence
