"""bnas compare: groups and pairs of seeds, intervals, and what is not to be compared."""

import csv
import json
import math
import os
import re
import shlex
import shutil

import numpy as np
import pytest
from helpers.commands import TINY, fail, succeed
from helpers.figures import assert_texts_fit, drawn_texts
from helpers.run_folders import (
    genotype_of,
    write_all,
    write_evaluation,
    write_search,
    write_training,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import bnas
from bnas.comparison import bootstrap_interval
from bnas.errors import InputError
from bnas.options import build_parser
from bnas.plots import comparison_figure
from bnas.space import Genotype, format_genotype


def group_of(tmp_path, accuracies, validations=None, **settings):
    """Runs whose seeds are the keys of {seed: test accuracy}; their paths."""
    name = "-".join(["run", *map(str, settings.values())])
    return [
        write_all(
            tmp_path / f"{name}-{seed}",
            accuracy,
            seed,
            validation=validations and validations[seed],
            **settings,
        )
        for seed, accuracy in accuracies.items()
    ]


# Groups


def test_runs_that_differ_in_the_seed_are_one_group(tmp_path):
    paths = group_of(tmp_path, {0: 0.9, 1: 0.94}, strategy="dcp")
    others = group_of(tmp_path, {0: 0.8}, strategy="random")
    third = group_of(tmp_path, {5: 0.7}, strategy="dcp", eta=0.0, augment=False)
    # The order is that of the first run of each group.
    comparison = bnas.compare([paths[1], *others, paths[0], *third])
    labels = [group.label for group in comparison.groups]
    assert labels == ["dcp, eta by default, augment", "random", "dcp, eta 0, no augment"]
    assert [group.seeds for group in comparison.groups] == [(1, 0), (0,), (5,)]
    first = comparison.groups[0]
    assert first.test_accuracy.tolist() == [0.94, 0.9] and first.validation_accuracy is None
    assert first.cost("seconds") == 3.0 and first.cost("images_seen") == 2000
    assert first.cost("peak_memory") == 2**28 + 2 + 1  # of seed 1
    text = str(comparison)
    assert re.search(r"dcp, eta by default, augment +2 +92.00 % ± 2.83 +\d", text)
    assert re.search(r"random +1 +80.00 % +\d", text)  # one seed has no spread
    assert re.search(r"random +3 +20 +2,000 +256 MiB", text)
    assert re.search(r"^random +1 +-10.00 +- +one pair, no interval$", text, re.M)
    assert re.search(r"no augment +0 +- +- +no seed in common$", text, re.M)
    assert "too narrow" not in text  # there is no interval


def test_a_single_group_is_a_table_without_differences(tmp_path):
    comparison = bnas.compare(group_of(tmp_path, {0: 0.9, 1: 0.8, 2: 0.7}))
    assert comparison.differences == () and "minus" not in str(comparison)
    assert re.search(r"^dcp +3 +80.00 % ± 10.00 ", str(comparison), re.M)
    assert len(comparison_figure(comparison).axes) == 1


def test_skips_and_poolings_are_counted(tmp_path):
    cell = (("skip_connect", 0), ("max_pool_3x3", 1), ("avg_pool_3x3", 0), ("sep_conv_3x3", 1))
    genotype = Genotype(cell, (2, 3), cell, (2, 3))
    comparison = bnas.compare(group_of(tmp_path, {0: 0.9}, genotype=genotype))
    group = comparison.groups[0]
    assert group.weightless.tolist() == [6] and group.operations == 8
    assert "6 of 8" in str(comparison)


def test_settings_that_strategies_do_not_share_are_told(tmp_path):
    paths = group_of(tmp_path, {0: 0.9}) + group_of(tmp_path, {0: 0.8}, strategy="cp", channels=4)
    paths += group_of(tmp_path, {0: 0.8}, strategy="random")
    told = "What the labels leave out: channels 8 (dcp; random), channels 4 (cp)."
    assert told in str(bnas.compare(paths))
    # What one strategy alone was told stands in the labels.
    paths = [*paths[::2], *group_of(tmp_path, {0: 0.9}, eta=0.0)]
    assert "leave out" not in str(bnas.compare(paths))


def test_settings_are_told_of_the_strategies_that_read_them(tmp_path):
    paths = group_of(tmp_path, {0: 0.9}, rounds=1) + group_of(tmp_path, {0: 0.8}, strategy="random")
    assert "What the labels leave out: rounds 1 (dcp)." in str(bnas.compare(paths))
    paths += group_of(tmp_path, {0: 0.8}, strategy="evolution", individuals=20)
    paths += group_of(tmp_path, {0: 0.8}, strategy="shared", samples=3)
    told = "rounds 1 (dcp), rounds 2 (shared), samples 3 (shared), individuals 25 (random), individuals 20"
    text = " ".join(str(bnas.compare(paths)).split())
    assert f"What the labels leave out: {told} (evolution)." in text
    assert text.count("leave out") == 1


def test_long_labels_take_several_lines(tmp_path):
    names = "skip_connect, max_pool_3x3, sep_conv_3x3, sep_conv_5x5, dil_conv_3x3"
    paths = group_of(tmp_path, {0: 0.9}) + group_of(tmp_path, {0: 0.9}, operations=names)
    lines = str(bnas.compare(paths)).splitlines()
    assert max(map(len, lines)) <= 105
    wrapped = [line.split("   ")[0].strip() for line in lines]
    assert f"dcp, operations {names}" in " ".join(wrapped)


def test_what_earlier_versions_did_not_record_is_left_open(tmp_path):
    paths = group_of(tmp_path, {0: 0.9}) + group_of(tmp_path, {0: 0.8}, eta=0.0)
    history = paths[0] / "history.jsonl"
    records = [json.loads(line) for line in history.read_text().splitlines()]
    kept = [
        {k: v for k, v in r.items() if k not in ("images_seen", "peak_memory")} for r in records
    ]
    history.write_text("".join(json.dumps(record) + "\n" for record in kept))
    write_evaluation(paths[0], {"binary": 0.9}, old=True)
    write_evaluation(paths[1], {"binary": 0.8}, old=True)
    comparison = bnas.compare(paths)
    assert comparison.groups[0].cost("images_seen") is None
    assert comparison.groups[0].test_accuracy.tolist() == [0.9]
    assert re.search(r"^dcp, eta by default +3 +20 +- +-$", str(comparison), re.M)


@pytest.mark.parametrize("name", ["real", "random", "long"])
def test_any_training_can_be_compared(tmp_path, name):
    paths = group_of(tmp_path, {0: 0.9, 1: 0.8}, name=name)
    comparison = bnas.compare(paths, name=name)
    assert comparison.groups[0].test_accuracy.tolist() == [0.9, 0.8]
    assert f"RUN/{name}" in str(comparison)


# Which column to choose by


def test_a_validation_accuracy_is_what_to_choose_by(tmp_path):
    shares = {0: 0.9, 1: 0.8}
    paths = group_of(tmp_path, shares, {0: 0.7, 1: 0.6})
    paths += group_of(tmp_path, shares, {0: 0.72, 1: 0.66}, strategy="random")
    comparison = bnas.compare(paths)
    assert comparison.groups[1].validation_accuracy.tolist() == [0.72, 0.66]
    test, validation = comparison.differences
    assert test.measure == "test_accuracy" and validation.measure == "validation_accuracy"
    np.testing.assert_allclose(validation.values, [0.02, 0.06])
    text = str(comparison)
    assert "Choose by the validation accuracy" in text
    assert re.search(r"^random +2 +\+4.00 +\+2.00 to \+6.00 +higher$", text, re.M)


def test_without_one_nothing_may_be_used_to_choose(tmp_path):
    text = str(bnas.compare(group_of(tmp_path, {0: 0.9})))
    assert "Nothing here may be used to choose" in text and "--hold-out" in text


# Pairs


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """{strategy: {seed: (test accuracy, path)}} of some runs."""
    folder, draw = tmp_path_factory.mktemp("pool"), np.random.default_rng(0)
    runs = {}
    for strategy in ("dcp", "random"):
        shares = {seed: round(draw.uniform(0.5, 0.9), 3) for seed in range(5)}
        paths = group_of(folder, shares, strategy=strategy)
        runs[strategy] = dict(zip(shares, zip(shares.values(), paths)))
    return runs


some_seeds = st.lists(st.integers(0, 4), min_size=1, unique=True)


@settings(deadline=None, max_examples=25)
@given(first=some_seeds, second=some_seeds)
def test_differences_are_taken_seed_by_seed(pool, first, second):
    groups = [pool["dcp"][seed] for seed in first], [pool["random"][seed] for seed in second]
    (difference,) = bnas.compare([path for group in groups for _, path in group]).differences
    assert sorted(difference.seeds) == sorted(set(first) & set(second))
    expected = [pool["random"][seed][0] - pool["dcp"][seed][0] for seed in difference.seeds]
    np.testing.assert_allclose(difference.values, expected, atol=1e-12)
    if not expected:
        assert difference.mean is difference.low is difference.high is None
        assert difference.verdict == "no seed in common"
        return
    assert math.isclose(difference.mean, np.mean(expected), abs_tol=1e-12)
    if len(expected) == 1:
        assert difference.low is difference.high is None
        assert difference.verdict == "one pair, no interval"
        return
    low, high = difference.low, difference.high
    assert min(expected) - 1e-9 <= low < difference.mean < high <= max(expected) + 1e-9
    sign = "higher" if low > 0 else "lower" if high < 0 else "within noise"
    assert difference.verdict == sign


def test_equal_differences_have_no_interval(tmp_path):
    """Also where they are equal but for rounding: 0.3 - 0.1 is not 0.4 - 0.2."""
    paths = group_of(tmp_path, {0: 0.1, 1: 0.2}) + group_of(tmp_path, {0: 0.3, 1: 0.4}, eta=0.0)
    (difference,) = bnas.compare(paths).differences
    assert difference.low is None and difference.verdict == "all equal, no interval"
    assert difference.mean == 0.2


def test_a_pair_has_the_same_seed_of_the_training_too(tmp_path):
    first, second = (write_search(tmp_path / f"eta{eta}", eta=eta) for eta in (0.0, 0.5))
    for root, seed in ((first, 0), (second, 7)):
        write_training(root, seed=seed)
        write_evaluation(root, {"binary": 0.9})
    with pytest.raises(InputError, match="seed 0 and .*eta0.5/binary with seed 7.*--seed 0"):
        bnas.compare([first, second])
    assert len(bnas.compare([first]).groups) == 1


# The interval


def test_the_interval_of_two_values_is_known():
    """Half of the resamples are mixed, a quarter are all the one or all the other."""
    assert bootstrap_interval(np.array([0.1, 0.3])) == pytest.approx((0.1, 0.3))


def test_the_interval_of_ones_and_zeros_is_that_of_the_binomial_distribution():
    """The mean of a resample of k ones among n is a binomial count over n."""
    values = np.repeat([0.0, 1.0], [60, 40])
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(0.31, abs=0.011) and high == pytest.approx(0.50, abs=0.011)


def test_the_interval_of_many_values_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(3, 2, 2000)
    error = values.std() / math.sqrt(2000)
    expected = values.mean() - 1.96 * error, values.mean() + 1.96 * error
    np.testing.assert_allclose(bootstrap_interval(values), expected, atol=0.12 * error)


def test_the_table_is_the_same_each_time(tmp_path):
    accuracies = [
        {seed: draw for seed, draw in enumerate(np.linspace(*ends, 7))}
        for ends in ((0.8, 0.9), (0.9, 0.81))
    ]
    paths = group_of(tmp_path, accuracies[0]) + group_of(tmp_path, accuracies[1], eta=0.0)
    first, second = bnas.compare(paths), bnas.compare(paths)
    assert [(d.low, d.high) for d in first.differences] == [
        (d.low, d.high) for d in second.differences
    ]
    assert str(first) == str(second)
    first = str(first)
    assert "within noise" in first and "pairs chance alone" not in first


def test_few_pairs_are_said_to_tell_little(tmp_path):
    paths = group_of(tmp_path, {0: 0.8, 1: 0.9}) + group_of(tmp_path, {0: 0.9, 1: 0.91}, eta=0.0)
    text = str(bnas.compare(paths))
    assert re.search(r"^dcp, eta 0 +2 +\+5.50 +\+1.00 to \+10.00 +higher$", text, re.M)
    assert "too narrow" in text


# Files


def test_the_table_as_csv(tmp_path):
    paths = group_of(tmp_path, {0: 0.9, 1: 0.8}, {0: 0.5, 1: 0.6})
    paths += group_of(tmp_path, {0: 0.7, 1: 0.8}, {0: 0.5, 1: 0.61}, eta=0.0)
    comparison = bnas.compare(paths)
    comparison.to_csv(tmp_path / "t.csv")
    comparison.to_csv(tmp_path / "t.csv")  # over its own
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file, strict=True)
    assert first["search"] == "dcp, eta by default" and second["search"] == "dcp, eta 0"
    assert float(first["test_accuracy"]) == np.mean([0.9, 0.8])
    assert float(first["test_accuracy_sd"]) == np.std([0.9, 0.8], ddof=1)
    assert first["seeds"] == "2" and first["operations"] == "8" and first["seconds"] == "3.0"
    assert first["pairs"] == first["test_difference"] == first["test_verdict"] == ""
    test, validation = comparison.differences
    assert float(second["test_difference"]) == test.mean and second["pairs"] == "2"
    assert float(second["test_low"]) == test.low and float(second["test_high"]) == test.high
    assert float(second["validation_difference"]) == validation.mean
    assert second["test_verdict"] == test.verdict == "within noise"


def test_files_that_are_not_ours_stay(tmp_path):
    paths = group_of(tmp_path, {0: 0.9})
    for name in ("mine.csv", "mine.png"):
        (tmp_path / name).write_text("mine")
        fail(
            "compare",
            *paths,
            "-o",
            tmp_path / name,
            says=f"{name} is there and no .*another -o FILE",
        )
        assert (tmp_path / name).read_text() == "mine"
    with pytest.raises(InputError, match="another -o FILE"):
        bnas.compare(paths).to_csv(tmp_path / "mine.csv")
    fail("compare", *paths, "-o", tmp_path / "t.txt", says=r"t.txt must end in .csv .* or .png")
    fail(
        "compare",
        *paths,
        "-o",
        tmp_path / "no" / "t.csv",
        says="there is no folder .*no; make it first",
    )


def test_the_command_prints_and_writes(tmp_path):
    paths = group_of(tmp_path, {0: 0.9, 1: 0.8}) + group_of(tmp_path, {0: 0.7, 1: 0.8}, eta=0.0)
    table, figure = tmp_path / "t.csv", tmp_path / "f.png"
    out = succeed("compare", *paths, "-o", table, "-o", figure)
    assert out.startswith(str(bnas.compare(paths))) and out.endswith(f"\n{table}\n{figure}\n")
    assert figure.read_bytes().startswith(b"\x89PNG") and table.exists()
    succeed("compare", *paths, "-o", figure)  # over its own


# The figure


@pytest.mark.parametrize("many", [False, True])
def test_the_figure_shows_every_seed_and_pair(tmp_path, many):
    shares = {seed: 0.9 + seed / 100 for seed in range(4)}
    paths = group_of(tmp_path, shares, strategy="dcp")
    paths += group_of(tmp_path, {0: 0.91, 1: 0.91, 2: 0.91}, strategy="random")
    if many:
        paths += group_of(tmp_path, {9: 0.5}, strategy="cp")  # without a pair
        names = "skip_connect, max_pool_3x3, sep_conv_3x3, sep_conv_5x5, dil_conv_3x3"
        paths += group_of(tmp_path, {0: 0.9}, strategy="dcp", operations=names)
    comparison = bnas.compare(paths)
    figure = comparison_figure(comparison)
    left, right = figure.axes
    dots = [
        round(float(x), 6)
        for line in left.lines
        if line.get_marker() == "o"
        for x in line.get_xdata()
    ]
    assert dots == [round(100 * x, 6) for group in comparison.groups for x in group.test_accuracy]
    places = [(*line.get_xdata(), *line.get_ydata()) for line in left.lines]
    assert len(set(places)) == len(places)  # equal accuracies are beside each other
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert max(len(line) for label in labels for line in label.splitlines()) <= 36
    (_, interval) = (line for line in right.lines if line.get_linewidth() in (1.2, 2.5))
    difference = comparison.differences[0]
    np.testing.assert_allclose(interval.get_xdata(), [100 * difference.low, 100 * difference.high])
    texts = [text.get_text() for text, _ in drawn_texts(figure)]
    assert "within noise, 3 pairs" in texts
    assert many == ("no seed in common" in texts) == ("one pair, no interval" in texts)
    assert_texts_fit(figure)


# What is refused


@pytest.fixture
def pair(tmp_path):
    """Two runs that can be compared."""
    return group_of(tmp_path, {0: 0.9}) + group_of(tmp_path, {0: 0.8}, eta=0.0)


def refused(paths, says, name="binary"):
    """The message of the refusal; every command in it is one that the command line understands."""
    with pytest.raises(InputError) as caught:
        bnas.compare(paths, name=name)
    message = str(caught.value)
    for part in [says] if isinstance(says, str) else says:
        assert re.search(part, message), message
    if "Do first: " in message:
        for command in message.partition("Do first: ")[2].split(" && "):
            build_parser().parse_args(shlex.split(command)[1:])
    return message


def test_the_same_run_twice_is_refused(pair):
    first, second = pair
    refused([first, second, first], "are the same run")
    refused([first, second / ".." / first.name], "are the same run")
    copy = shutil.copytree(first, first.parent / "copy")
    refused([first, second, copy], "same search with the same seed 0.*leave one")


def test_what_is_no_list_of_searches_is_refused(pair, tmp_path):
    with pytest.raises(TypeError, match="expected a list of run folders"):
        bnas.compare(str(pair[0]))
    refused([], "there is no run to compare")
    refused([pair[0], tmp_path / "missing"], "missing holds no run")
    refused(
        [pair[0] / "binary"], "binary holds one trained network, no search; give the folder above"
    )
    os.remove(pair[1] / "config.json")
    refused(pair, "without a search")


def test_an_unfinished_search_is_refused(tmp_path, pair):
    root = write_search(tmp_path / "going", finished=False, seed=3)
    message = refused([*pair, root], "the search in .*going is not finished")
    assert message.endswith(
        f"bnas search {root} --resume && bnas train {root} --precision binary --epochs 2 "
        f"&& bnas evaluate {root}"
    )


def test_all_that_is_missing_is_told_at_once(tmp_path, pair):
    bare, begun, fresh = (
        write_search(tmp_path / n, seed=s) for n, s in (("a", 1), ("b", 2), ("c", 3))
    )
    write_training(begun, done=1)
    write_training(fresh)
    message = refused(
        [*pair, bare, begun, fresh],
        [
            "a/binary is missing",
            "b/binary has 1 of 2 epochs",
            "c has not been evaluated",
        ],
    )
    assert message.endswith(
        f"bnas train {bare} --precision binary --epochs 2 && bnas evaluate {bare} && "
        f"bnas train {begun} --precision binary --resume && bnas evaluate {begun} && "
        f"bnas evaluate {fresh}"
    )
    fail("compare", *pair, bare, says="a/binary is missing. Do first: bnas train ")


def test_a_missing_training_is_asked_for_with_the_settings_of_the_others(tmp_path):
    root = write_search(tmp_path / "first", limit=512)
    settings = {"epochs": 7, "lr": 0.125, "augment": False, "limit": 256, "validation": 0.5}
    write_training(root, "long", **settings)
    write_evaluation(root, {"long": 0.5})
    other = write_search(tmp_path / "second", limit=512, seed=1)
    message = refused([root, other], "second/long is missing", name="long")
    command = shlex.split(message.partition("Do first: ")[2])
    options = vars(build_parser().parse_args(command[1 : command.index("&&")]))
    settings["hold_out"] = settings.pop("validation") is not None
    assert settings == {name: options[name] for name in settings}
    assert options["name"] == "long" and "seed" not in options


def test_a_missing_baseline_is_trained_as_the_network_beside_it(tmp_path):
    first, second = (write_search(tmp_path / name, seed=k) for k, name in enumerate("ab"))
    write_training(first, "random", epochs=7)
    write_training(second, epochs=7)
    message = refused([first, second], "b/random is missing", name="random")
    assert f"bnas train {second} --genotype random && " in message
    shutil.rmtree(second / "binary")
    write_training(second, epochs=3, lr=0.5)
    message = refused([first, second], "b/random is missing", name="random")
    assert f"bnas train {second} --genotype random --epochs 7 --lr 0.01 && " in message


def test_an_evaluation_that_is_out_of_date_is_refused(pair):
    write_training(pair[1], "real")
    message = refused(pair, "run-0.0-0/real has not been evaluated since", name="real")
    assert "run-0/real is missing" in message
    shutil.rmtree(pair[0] / "binary")
    write_training(pair[0], seed=0, lr=0.5)
    message = refused(pair, "binary has not been evaluated since it was trained")
    assert message.endswith(f"Do first: bnas evaluate {pair[0]}")


def test_an_unknown_training_is_refused(pair):
    refused(pair, "no run has a training called lang; there are binary", name="lang")


@pytest.mark.parametrize("setting, value", [("dataset", "mnist"), ("limit", 500)])
def test_searches_on_other_images_are_refused(tmp_path, setting, value):
    paths = group_of(tmp_path, {0: 0.9}) + [tmp_path / "other"]
    write_all(paths[1], **{setting: value})
    refused(paths, [f"another --{setting}", str(value)])


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"epochs": 3}, "--epochs 2 and .*--epochs 3"),
        ({"validation": 0.5}, "--hold-out False and .*--hold-out True"),
        ({"limit": 100, "lr": 0.5}, "--limit None, --lr 0.01 and .*--limit 100, --lr 0.5"),
        ({"dataset": "mnist"}, "--dataset digits and .*--dataset mnist"),
    ],
)
def test_trainings_of_other_settings_are_refused(tmp_path, settings, says):
    paths = group_of(tmp_path, {0: 0.9})
    paths.append(write_search(tmp_path / "other", seed=1))
    write_training(paths[1], seed=1, **settings)
    write_evaluation(paths[1], {"binary": 0.9})
    refused(paths, [says, "move .*other/binary away", "bnas train .*other --precision binary"])


def test_a_network_of_another_genotype_than_was_found_is_refused(pair):
    (pair[1] / "genotype.txt").write_text(format_genotype(genotype_of(9)))
    refused(pair, "binary is a network of another genotype than .*genotype.txt")


def test_other_test_images_are_refused(pair):
    write_evaluation(pair[1], {"binary": 0.9}, images=999)
    refused(pair, ["another number of test images", "1000 and 999", "bnas evaluate"])


def test_what_an_earlier_version_evaluated_is_judged_by_the_limits(tmp_path):
    """A run is evaluated on as many test images as its largest limit leaves."""
    paths = group_of(tmp_path, {0: 0.9}, limit=500) + group_of(
        tmp_path, {0: 0.8}, limit=500, eta=0.0
    )
    write_training(paths[0], "big", limit=900)
    assert bnas.compare(paths).groups
    write_evaluation(paths[0], {"binary": 0.9}, old=True)
    refused(paths, ["another number of test images", "900 and 500"])
    shutil.rmtree(paths[0] / "big")
    assert bnas.compare(paths).groups


def test_data_in_two_places_are_told(tmp_path):
    paths = []
    for seed, place in enumerate(("a.npz", "b.npz")):
        paths.append(write_search(tmp_path / str(seed), seed=seed, dataset="npz", data_dir=place))
        write_training(paths[-1], seed=seed, dataset="npz", data_dir=place)
        write_evaluation(paths[-1], {"binary": 0.9})
    comparison = bnas.compare(paths)
    assert "lay in several places: a.npz, b.npz" in str(comparison)
    assert len(comparison.groups) == 1


def test_a_history_without_the_accuracy_of_the_last_epoch_is_refused(tmp_path):
    paths = group_of(tmp_path, {0: 0.9}, {0: 0.5})
    history = paths[0] / "binary" / "history.jsonl"
    history.write_text(history.read_text().replace("validation_accuracy", "evaluation_accuracy"))
    refused(paths, "history.jsonl has no validation accuracy of the last epoch")


# A whole session


@pytest.mark.slow
def test_two_searches_are_trained_evaluated_and_compared(tmp_path, monkeypatch):
    for name in ("draw_run", "draw_evaluation"):
        monkeypatch.setattr(f"bnas.plots.{name}", lambda *_: [])
    paths = [tmp_path / "one", tmp_path / "two"]
    for path, eta in zip(paths, (0.01, 0)):
        succeed("search", path, *TINY, "--nodes", "1", "--eta", eta)
        succeed("train", path, *TINY, "--epochs", "1", "--hold-out")
    commands = fail("compare", *paths, says="one has not been evaluated").partition("Do first: ")[2]
    for command in commands.split(" && "):
        succeed(*shlex.split(command)[1:])
    out = succeed("compare", *paths)
    for path, group in zip(paths, bnas.compare(paths).groups):
        figures = json.loads((path / "evaluation.json").read_text())["Found 1-bit network"]
        assert group.test_accuracy.tolist() == [figures["test_accuracy"]]
        assert figures["training"] == "binary" and figures["test_images"] > 10
        record = json.loads((path / "binary" / "history.jsonl").read_text().splitlines()[-1])
        assert group.validation_accuracy.tolist() == [record["validation_accuracy"]]
        assert f"{100 * figures['test_accuracy']:.2f} %" in out
    assert "one pair, no interval" in out


def test_an_interval_that_ends_at_0_is_within_noise(tmp_path):
    """Here the 2.5 % point of the resampled means is 0, which the sums miss by 1e-18."""
    differences = np.array([5, 7, 17, -4, 5]) / 362
    low, _ = bootstrap_interval(np.round(differences, 12))
    assert low == 0
    first = dict(enumerate(np.full(5, 0.9)))
    paths = group_of(tmp_path, first) + group_of(
        tmp_path, dict(enumerate(0.9 + differences)), eta=0.0
    )
    (difference,) = bnas.compare(paths).differences
    assert difference.low == 0 and difference.verdict == "within noise"
