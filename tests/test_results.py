"""bnas.load_run: what a run has written comes back as arrays, settings and genotypes, or is refused."""

import csv
import json
import os
import random
import re

import numpy as np
import pytest
from helpers.run_folders import (
    SIZE,
    genotype_of,
    search_records,
    write_all,
    write_evaluation,
    write_run,
    write_search,
    write_training,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import bnas
from bnas.config import SearchConfig, TrainConfig
from bnas.errors import InputError
from bnas.runs import RunFolder
from bnas.space import edges, format_genotype

CONFIG = SearchConfig(nodes=2)


def history_of(tmp_path, records):
    return bnas.load_run(write_run(tmp_path / "run", CONFIG, records)).history


def test_a_whole_run(tmp_path):
    root = write_all(tmp_path / "run", 0.875, seed=3, name="binary", strategy="random")
    write_training(root, "real", seed=3)
    run = bnas.load_run(root)
    assert run.path == root and run.config == SearchConfig(nodes=2, seed=3, strategy="random")
    assert run.genotype == genotype_of(3)
    assert list(run.trainings) == ["binary", "real"]
    training = run.trainings["binary"]
    assert isinstance(training.config, TrainConfig) and training.genotype == run.genotype
    assert training.path == root / "binary" and dict(training.trainings) == {}
    assert training.evaluation["test_accuracy"] == 0.875
    assert run.trainings["real"].evaluation is None  # trained after the evaluation
    assert run.evaluation == json.loads((root / "evaluation.json").read_text())
    assert run.seconds == 3.0 and run.gradient_steps == 20 and run.images_seen == 2000
    assert run.peak_memory == 2**28 + 2 + 3
    assert type(run.gradient_steps) is type(run.images_seen) is type(run.peak_memory) is int
    assert training.seconds == 0.5 and training.gradient_steps is training.peak_memory is None
    for part in ("random", "seed 3", "2 epochs, finished", "3 s", "binary, real", "evaluated"):
        assert part in repr(run)
    assert "2 of 2 epochs" in repr(training)


def test_results_are_to_be_read_only(tmp_path):
    run = bnas.load_run(write_all(tmp_path / "run"))
    with pytest.raises(AttributeError):
        run.genotype = None
    with pytest.raises(TypeError):
        run.trainings["other"] = run
    with pytest.raises(TypeError):
        run.history["loss"] = np.zeros(2)
    with pytest.raises(ValueError, match="read-only"):
        run.history["alpha"][0] = 0


def test_columns_have_the_kinds_of_their_values(tmp_path):
    records = search_records(CONFIG, epochs=3)
    records[0] |= {"alpha": None, "peak_memory": None, "genotype": None, "early": 1}
    history = history_of(tmp_path, records)
    assert history["epoch"].dtype == history["images_seen"].dtype == np.int64
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["loss"].tolist() == [record["loss"] for record in records]
    assert history["distance"].dtype == np.float64
    np.testing.assert_array_equal(history["distance"], [np.nan, *history["distance"][1:]])
    assert history["phase"].tolist() == ["parent", "child", "child"]
    assert history["phase"].dtype.kind == history["genotype"].dtype.kind == "U"
    assert history["genotype"].tolist() == ["", *(r["genotype"] for r in records[1:])]
    assert history["alpha"].dtype == np.float64
    assert history["alpha"].shape == (3, 2, len(edges(2)), len(CONFIG.operation_names))
    assert np.isnan(history["alpha"][0]).all()
    assert history["alpha"][1:].tolist() == [record["alpha"] for record in records[1:]]
    np.testing.assert_array_equal(history["early"], [1, np.nan, np.nan])
    np.testing.assert_array_equal(history["peak_memory"], [np.nan, 2**28 + 2, 2**28 + 3])
    assert history.epochs == 3 and len(history) == len(list(history)) == len(records[0])
    assert "3 epochs" in repr(history) and "gradient_steps" in repr(history)
    with pytest.raises(KeyError, match="no column 'lr'; there are epoch, "):
        history["lr"]


def test_alpha_that_no_epoch_has_keeps_its_shape(tmp_path):
    history = history_of(tmp_path, search_records(CONFIG, alpha=None))
    assert history["alpha"].shape == (2, 2, len(edges(2)), len(CONFIG.operation_names))
    assert np.isnan(history["alpha"]).all()


def test_totals_need_a_number_in_every_epoch(tmp_path):
    records = search_records(CONFIG)
    records[1]["images_seen"] = None
    for record in records:
        del record["gradient_steps"], record["peak_memory"]
    run = bnas.load_run(write_run(tmp_path / "run", CONFIG, records))
    assert run.images_seen is run.gradient_steps is run.peak_memory is None


def test_a_search_of_the_first_version(tmp_path):
    """It counted its epochs from 0, named no strategy, and recorded less."""
    records = search_records(CONFIG)
    for record in records:
        record["epoch"] -= 1
        for name in ("genotype", "gradient_steps", "images_seen", "peak_memory"):
            del record[name]
    root = write_run(tmp_path / "run", CONFIG, records)
    config = json.loads((root / "config.json").read_text())
    for name in ("strategy", "operations", "engine", "kernels"):
        del config[name]
    (root / "config.json").write_text(json.dumps(config))
    os.remove(root / "checkpoint.npz")  # it names the configuration
    run = bnas.load_run(root)
    assert run.config == CONFIG and run.history["epoch"].tolist() == [1, 2]
    assert "alpha" in run.history and "peak_memory" not in run.history


def test_a_search_that_has_not_ended(tmp_path):
    root = write_run(tmp_path / "run", CONFIG, search_records(CONFIG, epochs=3), done=2)
    run = bnas.load_run(root)
    assert run.genotype is run.evaluation is None and "not finished" in repr(run)
    assert run.history.epochs == 2  # resuming does the third again
    empty = bnas.load_run(write_run(tmp_path / "empty", CONFIG, []))
    assert empty.history.epochs == 0 and dict(empty.history) == {}
    assert empty.seconds is empty.peak_memory is None
    assert "0 epochs" in repr(empty)


def test_folders_of_trained_networks(tmp_path):
    root = write_all(tmp_path / "run", 0.75)
    own = bnas.load_run(root / "binary")
    assert isinstance(own.config, TrainConfig) and own.evaluation["test_accuracy"] == 0.75
    for name in ("config.json", "history.jsonl", "checkpoint.npz", "evaluation.json"):
        os.remove(root / name)
    run = bnas.load_run(root)
    assert run.config is None and run.history.epochs == 0 and list(run.trainings) == ["binary"]
    assert run.genotype == genotype_of(0) and run.seconds is None
    assert "no search" in repr(run)


def test_a_training_named_by_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(write_all(tmp_path / "run", 0.75) / "binary")
    assert bnas.load_run(".").evaluation["test_accuracy"] == 0.75


def test_operations_of_ones_own_need_not_be_registered(tmp_path):
    names = "none, skip_connect, my_conv_3x3"
    root = write_search(tmp_path / "run", operations=names)
    text = format_genotype(genotype_of(0))
    for name in ("dil_conv_3x3", "dil_conv_5x5", "sep_conv_3x3", "sep_conv_5x5"):
        text = text.replace(name, "my_conv_3x3")
    (root / "genotype.txt").write_text(text)
    for name in ("mine", "binary"):
        write_run(root / name, TrainConfig(genotype=text), [{"epoch": 1}])
    write_evaluation(root, {"binary": 0.75})
    for run in (bnas.load_run(root), bnas.load_run(root).trainings["binary"]):
        assert "my_conv_3x3" in str(run.genotype)
    assert "my_conv_3x3" in str(bnas.load_run(root / "binary").genotype)


# The evaluation of a training


@pytest.mark.parametrize("old", [False, True])
def test_an_evaluation_from_before_the_last_epoch_is_not_believed(tmp_path, old):
    root = write_all(tmp_path / "run")
    write_evaluation(root, {"binary": 0.9}, old=old)
    assert bnas.load_run(root).trainings["binary"].evaluation["test_accuracy"] == 0.9
    with RunFolder.open(root / "binary", write=True) as folder:
        folder.save({"w": np.ones(1)}, {"epochs_done": 2})
    if old:
        since = (root / "evaluation.json").stat().st_mtime_ns + 10**9
        os.utime(root / "binary" / "checkpoint.npz", ns=(since, since))
    assert bnas.load_run(root).trainings["binary"].evaluation is None
    assert bnas.load_run(root).evaluation is not None


def test_an_evaluation_is_believed_wherever_the_run_was_copied(tmp_path):
    root = write_all(tmp_path / "run", 0.9)
    os.utime(root / "evaluation.json", (0, 0))
    assert bnas.load_run(root).trainings["binary"].evaluation["test_accuracy"] == 0.9


def test_evaluations_of_named_trainings(tmp_path):
    root = write_all(tmp_path / "run", 0.9)
    write_training(root, "long", epochs=4)
    for old in (False, True):
        write_evaluation(root, {"binary": 0.8, "long": 0.7}, old=old)
        shares = {
            k: t.evaluation["test_accuracy"] for k, t in bnas.load_run(root).trainings.items()
        }
        assert shares == {"binary": 0.8, "long": 0.7}


# CSV

floats = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
columns = st.dictionaries(
    words.filter(lambda name: name not in ("", "epoch", "alpha")),
    st.sampled_from([floats, st.none() | floats, st.integers(-(2**63), 2**63 - 1), words]),
    max_size=5,
)


@settings(deadline=None, max_examples=30)
@given(data=st.data(), epochs=st.integers(1, 4), kinds=columns)
def test_a_csv_file_reads_back_equal(tmp_path_factory, data, epochs, kinds):
    records = [
        {"epoch": number} | {name: data.draw(kind) for name, kind in kinds.items()}
        for number in range(1, epochs + 1)
    ]
    folder = tmp_path_factory.mktemp("csv")
    history = history_of(folder, records)
    history.to_csv(folder / "table.csv")
    with open(folder / "table.csv", newline="", encoding="utf-8") as file:
        names, *rows = list(csv.reader(file, strict=True))
    assert names == list(history) and len(rows) == epochs
    for name, cells in zip(names, zip(*rows)):
        column = history[name]
        if column.dtype.kind == "U":
            assert list(cells) == column.tolist()
        else:
            read = [np.nan if cell == "" else column.dtype.type(cell) for cell in cells]
            assert np.array(read, column.dtype).tobytes() == column.tobytes()  # -0.0 too


def test_csv_lines_end_and_texts_are_quoted_as_the_rfc_says(tmp_path):
    records = search_records(CONFIG, note='a, "b"\nc')
    history = history_of(tmp_path, records)
    history.to_csv(tmp_path / "table.csv")
    text = (tmp_path / "table.csv").read_bytes().decode()
    assert text.endswith(',"a, ""b""\nc"\r\n')
    assert "alpha" not in text.partition("\r\n")[0]
    with open(tmp_path / "twin.csv", "w", newline="") as file:
        history.to_csv(file)
    assert (tmp_path / "twin.csv").read_bytes().decode() == text
    with pytest.raises(InputError, match="cannot write"):
        history.to_csv(tmp_path / "missing" / "table.csv")


# What cannot be read


@pytest.mark.parametrize(
    "more, says",
    [
        ({"loss": [1, 2]}, "loss is of more than one kind: .*restore the file"),
        ({"loss": "high"}, "loss is of more than one kind"),
        ({"loss": {"mean": 1}}, "loss is of more than one kind"),
        ({"round": 2**70}, "round "),
        ({"alpha": [[1.0]]}, "alpha of epoch 2 must be numbers of the shape"),
        ({"alpha": 1.0}, "alpha of epoch 2 must be numbers"),
        ({"alpha": np.full((2, 5, 8), "1").tolist()}, "alpha of epoch 2 must be numbers"),
        ({"alpha": [["a"], [1]]}, "alpha of epoch 2 must be numbers"),
        ({"alpha": np.ones((2, 5, 8), bool).tolist()}, "alpha of epoch 2 must be numbers"),
        ({"alpha": [[1.0], [1.0, 2.0]]}, "alpha of epoch 2 must be numbers"),
    ],
)
def test_histories_that_are_no_columns(tmp_path, more, says):
    first, second = search_records(CONFIG)
    root = write_run(tmp_path / "run", CONFIG, [first, second | more])
    with pytest.raises(InputError, match=f"history.jsonl: {says}"):
        bnas.load_run(root)


@pytest.mark.parametrize("name", ["seconds", "gradient_steps", "images_seen", "peak_memory"])
@pytest.mark.parametrize("value", ["many", [1, 2]])
def test_totals_are_of_numbers(tmp_path, name, value):
    records = [record | {name: value} for record in search_records(CONFIG)]
    root = write_run(tmp_path / "run", CONFIG, records)
    with pytest.raises(InputError, match=f"history.jsonl: {name} must be a number"):
        bnas.load_run(root)


def test_a_validation_accuracy_is_a_number(tmp_path):
    root = write_all(tmp_path / "run", validation=0.5)
    file = root / "binary" / "history.jsonl"
    file.write_text(re.sub(r'("validation_accuracy"): [\d.]+', r'\1: "high"', file.read_text()))
    with pytest.raises(InputError, match="binary/history.jsonl: validation_accuracy must be a num"):
        bnas.load_run(root)


def test_lists_of_one_shape_are_columns_too(tmp_path):
    records = search_records(CONFIG)
    records[0] |= {"weights": None, "flag": True}
    records[1] |= {"weights": [[1, 2.5]], "flag": False}
    history = history_of(tmp_path, records)
    np.testing.assert_array_equal(history["weights"], [[[np.nan, np.nan]], [[1, 2.5]]])
    assert history["flag"].tolist() == [1, 0]


@pytest.mark.parametrize("first, dtype", [([[True, False]], bool), (None, np.float64)])
def test_masks_are_columns_too(tmp_path, first, dtype):
    """As CP-NAS records which operations are left."""
    records = search_records(CONFIG)
    records[0]["active"], records[1]["active"] = first, [[False, True]]
    active = history_of(tmp_path, records)["active"]
    assert active.dtype == dtype and active.shape == (2, 1, 2)
    want = [[np.nan, np.nan]] if first is None else first
    np.testing.assert_array_equal(active, np.array([want, [[False, True]]], dtype))


@pytest.mark.parametrize(
    "damage, says",
    [
        (lambda root: (root / "config.json").write_text("{"), "config.json.* not valid JSON"),
        (lambda root: (root / "config.json").write_text('{"seed": 1}'), "config.json: .*not fit"),
        (lambda root: os.remove(root / "history.jsonl"), "history.jsonl has 0 of the 2 epochs"),
        (lambda root: (root / "history.jsonl").write_text("1\n"), "history.jsonl, line 1"),
        (lambda root: (root / "genotype.txt").write_text("Genotype("), "genotype.txt: "),
        (lambda root: (root / "checkpoint.npz").write_bytes(b"PK"), "checkpoint.npz is cut short"),
        (lambda root: (root / "evaluation.json").write_text("[]"), "evaluation.json holds no JSON"),
        (
            lambda root: (root / "evaluation.json").write_text('{"a": 1}'),
            "no test accuracy.* the a",
        ),
        (
            lambda root: RunFolder(root).write_result(
                "evaluation.json", {"a": {"test_accuracy": 2}}
            ),
            "evaluation.json has no test accuracy from 0 to 1 of the a.*bnas evaluate",
        ),
        (
            lambda root: RunFolder(root).write_result(
                "evaluation.json", {"a": {"test_accuracy": 1, "training": []}}
            ),
            "no name of its training",
        ),
        (lambda root: (root / "binary" / "config.json").write_text("{"), "binary/config.json"),
        (
            lambda root: write_run(root / "other", TrainConfig(genotype="Genotype("), []),
            "other/config.json: .*genotype",
        ),
        (lambda root: os.remove(root / "binary" / "history.jsonl"), "binary/history.jsonl has 0"),
        (
            lambda root: (root / "binary" / "checkpoint.npz").write_bytes(b""),
            "binary/checkpoint.npz",
        ),
    ],
)
def test_damaged_files(tmp_path, damage, says):
    root = write_all(tmp_path / "run")
    bnas.load_run(root)
    damage(root)
    with pytest.raises(InputError, match=says):
        bnas.load_run(root)


def test_what_is_no_run(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="holds no run; make one with bnas search"):
            bnas.load_run(path)


def test_no_damage_of_a_run_ends_otherwise_than_in_an_input_error(tmp_path):
    """Bytes of every file changed at random: the run is refused, or read."""
    root, random_bytes = write_all(tmp_path / "run"), random.Random(0)
    for file in (
        "config.json",
        "history.jsonl",
        "genotype.txt",
        "evaluation.json",
        "binary/config.json",
    ):
        content = (root / file).read_bytes()
        for _ in range(12):
            damaged = bytearray(content)
            for _ in range(3):
                damaged[random_bytes.randrange(len(damaged))] = random_bytes.randrange(256)
            (root / file).write_bytes(damaged)
            try:
                repr(bnas.load_run(root))
            except InputError:
                pass
        (root / file).write_bytes(content)
    assert bnas.load_run(root).trainings["binary"].evaluation["parameters"] == SIZE["parameters"]
