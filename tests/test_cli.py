"""The command line, used as its users will: a whole session, and everything that can go wrong."""

import gzip
import json
import os
import re
import resource
import shutil

import numpy as np
import pytest
from helpers.commands import TINY, bnas, fail, succeed
from helpers.hostile import archive, npy, seal, with_header
from helpers.jobs import StopAt, Stopped
from helpers.processes import run_python

from bnas import commands
from bnas.config import SearchConfig, TrainConfig
from bnas.data import load_dataset
from bnas.errors import option
from bnas.runs import RunFolder, run
from bnas.space import PUBLISHED, format_genotype, parse_genotype
from bnas.train import Training

SEARCH = ("search", *TINY, "--nodes", "1", "--out")
COMMANDS = (
    "search",
    "train",
    "evaluate",
    "compare",
    "export",
    "predict",
    "bench",
    "plot",
    "gradcheck",
    "data",
)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A run folder with everything in it, and what the commands printed."""
    root = tmp_path_factory.mktemp("session") / "run"
    printed = {"search": succeed(*SEARCH, root)}
    printed["before"] = succeed("evaluate", root)
    for precision in ("real", "binary"):
        small = ("--channels", "2", "--layers", "2", "--epochs", "2")
        printed[precision] = succeed("train", root, *small, "--precision", precision)
    printed["after"] = succeed("evaluate", root)
    return root, printed


@pytest.fixture
def copy(session, tmp_path):
    """A copy of that run folder, to be changed."""
    return shutil.copytree(session[0], tmp_path / "copy")


@pytest.fixture
def _no_figures(monkeypatch):
    for name in ("draw_run", "draw_evaluation"):
        monkeypatch.setattr(f"bnas.plots.{name}", lambda *_: [])


# A search this small spends nine tenths of its time on its figures. `session` and the test of
# `bnas plot` draw them; other tests do without.
no_figures = pytest.mark.usefixtures("_no_figures")


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    out = succeed(command, "--help")
    assert out.startswith(f"usage: bnas {command}")
    described = re.findall(r"^  (?:-\w, )?--([\w-]+)", out, re.M)
    assert len(described) == len(set(described)) >= 2
    assert f"bnas {command}" in out


def test_the_first_help_names_every_command_and_a_session():
    out = succeed("--help")
    for command in COMMANDS:
        assert re.search(rf"^    {command} +\w", out, re.M)
    assert "bnas search runs/mine" in out
    assert bnas() == (0, out, "")  # as pip and cargo do
    assert re.fullmatch(r"bnas \d+\.\d+\.\d+\n", succeed("--version"))


@pytest.mark.parametrize("command, kind", [("search", SearchConfig), ("train", TrainConfig)])
def test_every_setting_is_an_option_with_its_default(command, kind):
    text = " ".join(succeed(command, "--help").split())
    for name, f in kind.__dataclass_fields__.items():
        if name != "genotype":
            flag = option(name)
            shown = ("no", "yes")[f.default] if isinstance(f.default, bool) else f.default
            default = f"({shown})"
            found = re.search(rf" {flag}\b.*?{re.escape(f.metadata['help'])}", text)
            assert found, flag
            assert f.default is None or text[found.end() + 1 :].startswith(default), flag


def test_help_where_greek_cannot_be_printed():
    done = run_python("-m", "bnas", "search", "--help", variables={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "Eq. 4.32" in done.stdout


# A whole session


def test_a_search_leaves_what_it_promises(session):
    root, printed = session
    names = {path.name for path in root.iterdir()}
    assert names >= {"config.json", "history.jsonl", "checkpoint.npz", "genotype.txt", "figures"}
    assert {path.name for path in (root / "figures").iterdir()} == {
        "alpha_normal.png",
        "alpha_reduce.png",
        "entropy.png",
        "operations.png",
        "accuracy.png",
        "tangent.png",
        "cells.png",
    }
    text = (root / "genotype.txt").read_text()
    assert len(parse_genotype(text).normal) == 2
    assert printed["search"].startswith(text)
    assert printed["search"].endswith(f"Next: bnas train {root}\n")
    assert json.loads((root / "config.json").read_text())["channels"] == 2
    history = [json.loads(line) for line in (root / "history.jsonl").read_text().splitlines()]
    assert [record["phase"] for record in history] == ["parent", "child"]


def test_a_training_leaves_what_it_promises(session):
    root, printed = session
    for precision in ("binary", "real"):
        config = json.loads((root / precision / "config.json").read_text())
        assert config["precision"] == precision and config["limit"] == 96
        assert config["genotype"] == (root / "genotype.txt").read_text()
        assert (root / precision / "checkpoint.npz").exists()
        assert (root / precision / "figures" / "training.png").exists()
        assert f"bnas evaluate {root}" in printed[precision]


def test_evaluate_compares_all_networks(session):
    root, printed = session
    assert f"Next: bnas train {root}" in printed["before"]
    assert "Found" not in printed["before"] and "Next" not in printed["after"]
    figures = json.loads((root / "evaluation.json").read_text())
    labels = ["Parent (supernet)", "Child (supernet)", "Found 1-bit network", "Its real twin"]
    assert list(figures) == [*labels, "Nearest neighbour, pixels"]
    assert set(figures["Nearest neighbour, pixels"]) == {
        "test_accuracy",
        "low",
        "high",
        "test_images",
    }
    for label in labels:
        (row,) = (line for line in printed["after"].splitlines() if line.startswith(label))
        accuracy, low, high = map(float, re.findall(r"\d+\.\d+", row)[:3])
        assert low <= accuracy <= high
        assert accuracy == pytest.approx(100 * figures[label]["test_accuracy"], abs=0.005)
        parameters, bits = (int(n.replace(",", "")) for n in row.split()[-2:])
        assert (parameters, bits) == (figures[label]["parameters"], figures[label]["bits"])
    assert figures["Found 1-bit network"]["bits"] < figures["Its real twin"]["bits"]
    assert figures["Child (supernet)"]["bits"] < figures["Parent (supernet)"]["bits"] / 2
    assert (root / "genotype.txt").read_text().strip() in printed["after"]


def test_evaluate_draws_the_trained_networks(session):
    root, printed = session
    for precision in ("binary", "real"):
        folder = root / precision / "figures"
        names = {path.name for path in folder.iterdir()}
        assert names >= {"samples.png", "confusion.png", "mistakes.png", "bits.png"}
        assert f"drawn in {folder}" in printed["after"]
    assert "drawn" not in printed["before"]


def test_evaluate_gives_the_test_accuracy_of_the_trained_network(session):
    """Computed again by hand: no other network, no other split."""
    root, _ = session
    dataset = load_dataset("digits", limit=96)
    for name, label in (("binary", "Found 1-bit network"), ("real", "Its real twin")):
        folder = RunFolder.open(root / name)
        job = Training(TrainConfig(**folder.config), dataset)
        job.load_state(folder.load()[0], 2)
        right = job.network.eval()(dataset.test.images).data.argmax(axis=1) == dataset.test.labels
        figures = json.loads((root / "evaluation.json").read_text())
        assert figures[label]["test_accuracy"] == pytest.approx(right.mean())


def test_evaluate_says_how_to_read_what_it_prints(session):
    """The genotype, the bits, the accuracy; and which baselines there could be."""
    root, printed = session
    for name in ("search", "before", "after"):
        assert "To read it: a line is a node" in printed[name]
        assert re.search(r"Of 4 operations, \d are skips and poolings", printed[name])
    assert "test accuracy" in printed["after"] and "Bits: a weight of a 1-bit" in printed["after"]
    for name in ("random", "skips"):
        command = f"bnas train {root} --genotype {name}"
        assert command in printed["after"] and command not in printed["before"]


@no_figures
def test_a_found_network_that_is_larger_than_the_child_says_why(copy):
    why = "takes more than the Child, though it has fewer operations"
    assert why not in succeed("evaluate", copy)
    shutil.rmtree(copy / "binary")
    succeed("train", copy, *TINY, "--channels", "8", "--epochs", "1")
    out = succeed("evaluate", copy)
    assert why in out and re.search(r"8\s+channels and 2 cells to the Child's 2 and 2", out)


SHAPES = {"random": "Random genotype, 1-bit", "skips": "Skips alone, 1-bit"}


@no_figures
def test_baselines_are_trained_as_the_found_network_and_stand_beside_it(copy):
    for name in SHAPES:
        succeed("train", copy, "--genotype", name)
    found = RunFolder.open(copy / "binary").config
    for name in SHAPES:
        config = RunFolder.open(copy / name).config
        assert config["genotype"] != found["genotype"]
        assert {**config, "genotype": ""} == {**found, "genotype": ""}
        assert (copy / name / "genotype.txt").read_text() == config["genotype"]
        succeed("train", copy, "--genotype", name, "--resume")
    skips = parse_genotype(RunFolder.open(copy / "skips").config["genotype"])
    assert {pair for pair in skips.normal + skips.reduce} == {
        ("skip_connect", 0),
        ("skip_connect", 1),
    }
    before = (copy / "genotype.txt").read_text()
    succeed("train", copy, "--genotype", "random", "--seed", "3", "--name", "random3")
    assert RunFolder.open(copy / "random3").config["genotype"] != found["genotype"]
    out = succeed("evaluate", copy)
    assert before.strip() in out and (copy / "genotype.txt").read_text() == before
    labels = list(json.loads((copy / "evaluation.json").read_text()))
    assert labels[4:] == [
        "random3 (another genotype, 1-bit)",
        *SHAPES.values(),
        "Nearest neighbour, pixels",
    ]
    assert "--genotype" not in out  # none is missing
    fail("train", copy, "--genotype", "random", says="already holds a training")
    fail(
        "train",
        copy,
        "--genotype",
        "random",
        "--resume",
        "--seed",
        "9",
        says="--seed: the run has 0",
    )


def test_a_baseline_needs_what_it_is_compared_with(tmp_path):
    fail(
        "train", tmp_path / "new", "--genotype", "random", says=["to be compared with", "has none"]
    )
    fail("train", tmp_path / "new", "--genotype", "randm", says=r"did you mean random\?")
    assert not (tmp_path / "new").exists()


@no_figures
def test_several_trainings_of_one_genotype_in_one_folder(copy):
    train = ("train", copy, *TINY, "--epochs", "1", "--name")
    succeed(*train, "more.2")
    succeed(*train, "twin", "--precision", "real")
    assert RunFolder.open(copy / "more.2").config["genotype"] == (copy / "genotype.txt").read_text()
    fail(*train, "more.2", says=["already holds a training", "another --name"])
    succeed("train", copy, "--name", "more.2", "--resume")
    succeed("evaluate", copy)
    labels = list(json.loads((copy / "evaluation.json").read_text()))
    assert labels[4:6] == ["more.2 (1-bit)", "twin (real)"]
    out = succeed("export", copy, "--name", "more.2")
    assert (copy / "packed-more.2.npz").exists() and str(copy / "packed-more.2.npz") in out
    fail(
        "export",
        copy,
        "--name",
        "other",
        says="no trained .* called other .but binary, real, more.2",
    )
    fail("export", copy, "--name", "../copy/binary", says="no trained")
    fail(*train, "third", "--genotype", "NASNet", says="another architecture")
    (copy / "more.2" / "checkpoint.npz").unlink()
    status, out, err = bnas("evaluate", copy)  # one of several: the others are evaluated
    assert status == 0 and "Found 1-bit network" in out and "more.2" not in out
    assert re.search(f"^Left out: .*bnas train {copy} --name more.2 --resume$", err, re.MULTILINE)


@pytest.mark.parametrize("name", "binary real random Skips figures packed.npz genotype.txt".split())
def test_names_that_mean_something_else_are_refused(copy, name):
    fail("train", copy, *TINY, "--name", name, says="means something else in a run folder")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "_x", "a/b", "../x", ".hidden", "-x", "a b", "a\\b", "x" * 101]
)
def test_names_that_are_no_folder_of_the_run_are_refused(copy, name):
    fail("train", copy, *TINY, f"--name={name}", says="cannot name a training; give letters")


@no_figures
def test_a_training_takes_the_seed_of_its_search(tmp_path):
    root = tmp_path / "run"
    succeed(*SEARCH, root, "--seed", "5")
    succeed("train", root, *TINY, "--epochs", "1")
    assert RunFolder.open(root / "binary").config["seed"] == 5
    succeed("train", root, *TINY, "--epochs", "1", "--seed", "6", "--name", "six")
    assert RunFolder.open(root / "six").config["seed"] == 6


@pytest.mark.slow
@no_figures
def test_the_quick_trial_is_far_better_than_chance(tmp_path):
    root = tmp_path / "run"
    succeed("search", root, "--quick")
    succeed("train", root, "--quick")
    succeed("evaluate", root)
    figures = json.loads((root / "evaluation.json").read_text())
    assert figures["Parent (supernet)"]["low"] > 0.2
    assert figures["Found 1-bit network"]["low"] > 0.8


@pytest.mark.slow
def test_what_takes_long_is_announced(copy):
    _, _, err = bnas("evaluate", copy)
    assert re.findall(r"Evaluating: (.*) \.\.\.", err)[2:] == [
        *("Found 1-bit network", "Its real twin", "Nearest neighbour, pixels")
    ]
    _, _, err = bnas("plot", copy)
    assert f"Drawing the figures of {copy / 'binary'} ..." in err
    _, _, err = bnas("export", copy)
    assert f"Packing {copy / 'binary'} ..." in err


@pytest.mark.slow
def test_plot_draws_what_there_is(copy):
    shutil.rmtree(copy / "figures")
    paths = succeed("plot", copy).splitlines()
    assert len(paths) == 11 and all(os.path.getsize(path) > 1000 for path in paths)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        for options, path in ((("NASNet",), "NASNet.png"), (("genotype.txt", "-o", "x"), "x")):
            assert succeed("plot", "--genotype", *options) == f"{path}\n"
            assert (copy / path).read_bytes().startswith(b"\x89PNG")
    (copy / "genotype.txt").unlink()  # as while the search is running
    assert f"{copy}/figures/cells.png" not in succeed("plot", copy)


@pytest.mark.slow
def test_a_training_begun_by_an_older_version_goes_on(copy):
    root = copy / "binary"
    config = RunFolder.open(root).config
    shutil.rmtree(root)
    del config["hold_out"]
    job = Training(TrainConfig(**config), load_dataset("digits", limit=96))
    with RunFolder.create(root, config) as folder, pytest.raises(Stopped):
        run(job, folder, StopAt(job.steps + 1))
    (record,) = RunFolder.open(root).history()
    del record["evaluation_accuracy"]
    (root / "history.jsonl").write_text(json.dumps(record) + "\n")
    succeed("plot", copy)
    succeed("train", copy, "--resume")
    first, second = RunFolder.open(root).history()
    assert first == record and second.keys() - first.keys() == {"evaluation_accuracy"}
    assert (root / "figures" / "training.png").exists()


@no_figures
def test_a_published_genotype_trains_in_a_folder_of_its_own(tmp_path):
    root = tmp_path / "darts"
    train = ("train", root, *TINY, "--channels", "1", "--epochs", "2", "--genotype")
    succeed(*train, "DARTS_V2", "--stages", "2")
    assert len({record["stage"] for record in RunFolder.open(root / "binary").history()}) == 2
    out = succeed("evaluate", root)
    assert "1-bit network" in out and "supernet" not in out
    assert format_genotype(PUBLISHED["DARTS_V2"]).strip() in out
    succeed("train", root, "--resume")  # the genotype is that of the run
    fail("train", root, "--resume", "--genotype", "NASNet", says="another architecture")
    succeed("train", root, *TINY, "--epochs", "1", "--name", "more")
    config = RunFolder.open(root / "more").config
    assert parse_genotype(config["genotype"]) == PUBLISHED["DARTS_V2"]
    succeed("train", root, "--genotype", "skips")
    assert format_genotype(PUBLISHED["DARTS_V2"]).strip() in succeed("evaluate", root)


@no_figures
def test_a_genotype_from_a_file(session, tmp_path):
    file = tmp_path / "mine.txt"
    shutil.copy(session[0] / "genotype.txt", file)
    succeed("train", tmp_path / "run", *TINY, "--epochs", "1", "--genotype", file)
    config = RunFolder.open(tmp_path / "run" / "binary").config
    assert config["genotype"] == file.read_text()


@no_figures
def test_distillation_needs_the_real_twin_and_uses_it(copy):
    shutil.move(copy / "real", copy.parent / "twin")
    shutil.rmtree(copy / "binary")
    train = ("train", copy, *TINY, "--epochs", "1", "--distil", "1")
    fail(*train, says=["real is missing", f"bnas train {copy} --precision real"])
    assert not (copy / "binary").exists()  # so that the same command works afterwards
    shutil.move(copy.parent / "twin", copy / "real")
    succeed(*train)
    labels_alone = copy.parent / "labels"
    succeed("train", labels_alone, *TINY, "--epochs", "1", "--genotype", copy / "genotype.txt")
    losses = [RunFolder.open(p / "binary").history()[0]["loss"] for p in (copy, labels_alone)]
    assert losses[0] != losses[1]
    shutil.rmtree(copy / "binary")
    fail(*train, "--hold-out", says="twin has learnt the validation images.* --hold-out")
    assert not (copy / "binary").exists()


@no_figures
def test_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = succeed(*SEARCH[:-1], "--seed", "7")
    assert (tmp_path / "runs" / "digits-seed7" / "genotype.txt").exists()
    assert "bnas train runs/digits-seed7" in out


@no_figures
def test_the_folder_of_a_search_stands_where_that_of_the_others_does(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert "give one of them" in fail(*SEARCH, two, one, says=[str(one), f"--out {two}"])
    assert not one.exists() and not two.exists()
    succeed("search", one, *SEARCH[1:-1])
    succeed(*SEARCH, one, one, "--resume")
    assert f"bnas search {two}" in fail("train", two, says=str(two))


@no_figures
def test_the_same_seed_finds_the_same(session, tmp_path):
    root, _ = session
    for seed in (0, 1):
        succeed(*SEARCH, tmp_path / str(seed), "--seed", seed)
    arrays = [RunFolder.open(path).load()[0] for path in (root, tmp_path / "0", tmp_path / "1")]
    for name, array in arrays[0].items():
        assert array.tobytes() == arrays[1][name].tobytes(), name
    assert not np.array_equal(arrays[0]["child.alpha"], arrays[2]["child.alpha"])


@no_figures
def test_a_log_file_gets_a_line_an_epoch(tmp_path):
    _, _, err = bnas(*SEARCH, tmp_path / "run", "--rounds", "2", "--limit", "200")
    assert err.count(", training accuracy ") == 4
    labels = [line.split(":")[0] for line in err.splitlines()]
    assert labels == [
        *(
            f"epoch {1 + i} of 4 (round {1 + i // 2}, {'parent child'.split()[i % 2]})"
            for i in range(4)
        ),
        f"Drawing the figures of {tmp_path / 'run'} ...",
    ]


def test_gradcheck_and_data():
    out = succeed("gradcheck", "--operation", "Linear")
    assert re.search(r"Linear +\d+ +exact +\d\.\de-\d\d", out) and "0 failed" in out
    fail("gradcheck", "--operation", "Lineal", says=["'Lineal'", "expected one of.*Linear"])
    out = succeed("data", "--limit", "100")
    assert "digits: 10 classes" in out
    assert re.search(r"^train +100 ", out, re.M) and "First image of test, label" in out


def test_a_failed_gradient_check_shows_in_the_status(monkeypatch):
    from bnas.functional.linear import Linear

    right = Linear.backward
    monkeypatch.setattr(
        Linear,
        "backward",
        staticmethod(
            lambda ctx, dy: tuple(None if d is None else 1.01 * d for d in right(ctx, dy))
        ),
    )
    status, out, _ = bnas("gradcheck", "--operation", "Linear", "--quick")
    assert status == 1 and "1 failed" in out


# Resuming


@no_figures
def test_resuming_a_finished_run_changes_nothing(copy):
    before = (copy / "checkpoint.npz").read_bytes(), (copy / "history.jsonl").read_bytes()
    out = succeed("search", "--out", copy, "--resume")
    assert (copy / "genotype.txt").read_text() in out
    assert before == ((copy / "checkpoint.npz").read_bytes(), (copy / "history.jsonl").read_bytes())
    succeed("train", copy, "--resume")


@no_figures
def test_resuming_names_every_option_that_conflicts(copy):
    fail(
        "search",
        "--out",
        copy,
        "--resume",
        "--lambda",
        "0.25",
        "--seed",
        "3",
        says=["--lambda: the run has 0.005, you gave 0.25", "--seed: the run has 0, you gave 3"],
    )
    fail("train", copy, "--resume", "--epochs", "9", says="epochs: the run has 2, you gave 9")
    succeed(*SEARCH, copy, "--resume")  # the same options again are fine


@no_figures
def test_a_training_writes_no_genotype_in_the_place_of_the_search(copy):
    (copy / "genotype.txt").unlink()  # as before the search has ended
    succeed("train", copy, "--resume")
    assert not (copy / "genotype.txt").exists()


@no_figures
def test_resume_without_a_run_starts_one(tmp_path):
    succeed(*SEARCH, tmp_path / "new", "--resume")
    assert (tmp_path / "new" / "genotype.txt").exists()


def test_an_unfinished_run_says_how_to_go_on(copy):
    short = copy.parent / "short"
    with RunFolder.create(short, {**RunFolder.open(copy).config, "rounds": 2}) as folder:
        folder.save(RunFolder.open(copy).load()[0], {"epochs_done": 1})
    again = f"bnas search {short} --resume"
    fail("evaluate", short, says=["1 of 4 epochs", again])
    fail("train", short, says=["genotype.txt", again])
    (short / "checkpoint.npz").unlink()
    fail("evaluate", short, says=["0 of 4 epochs", again])
    fail("plot", short, says="no finished epoch")
    (copy / "binary" / "checkpoint.npz").unlink()
    fail("evaluate", copy, says=["0 of 2", f"bnas train {copy} --precision binary --resume"])


# What goes wrong


def test_occupied_folders(copy):
    before = (copy / "checkpoint.npz").read_bytes()
    fail(*SEARCH, copy, says=["already holds a run", "--resume"])
    fail("train", copy, *TINY, says=["already holds", "--resume"])
    (copy / "config.json").unlink()
    fail(*SEARCH, copy, says=["already holds other files", "empty folder"])
    assert (copy / "checkpoint.npz").read_bytes() == before


@pytest.mark.parametrize(
    "options, says",
    [
        ((), "name a RUN"),
        (("run", "--genotype", "NASNet"), "not both"),
        (("run", "-o", "cells.png"), "which -o goes with"),
        (("run", "other", "--genotype", "NASNet"), "not both"),
        (("run", "./run"), "run and run are the same run"),
        (("--genotype", "NASNet9"), "no file and no genotype that has a name"),
        (("--genotype", "NASNet", "-o", "notes"), "notes is there and no figure of bnas"),
    ],
)
def test_plot_needs_one_thing_to_draw(tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").write_text("mine")
    fail("plot", *options, says=says)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("notes", "mine")]


@pytest.mark.parametrize("command", ["evaluate", "plot", "train"])
def test_a_folder_that_is_no_run(tmp_path, command):
    for path in (tmp_path, tmp_path / "missing"):
        fail(command, path, says=[re.escape(str(path)), "bnas search "])
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "{}"),
        ("plot", "{}"),
        ("train", "{}"),
        ("search", "--resume", "--out", "{}"),
    ],
    ids=" ".join,
)
def test_the_folder_of_one_network_is_not_the_run(session, arguments):
    fail(*(a.format(session[0] / "binary") for a in arguments), says="give the folder above")


@pytest.mark.parametrize(
    "option, says",
    [
        ("--lambda=-1", "--lambda must be at least 0 and finite, got -1"),
        ("--lr=0", "--lr must be above 0.* got 0"),
        ("--lr=nan", "lr .* got nan"),
        ("--mu=inf", "mu .* finite, got inf"),
        ("--lr=fast", "--lr.*'fast'"),
        ("--nodes=0", "--nodes must be at least 1, got 0"),
        ("--channels=-4", "--channels must be at least 1, got -4"),
        ("--channels=2.5", "--channels.*'2.5'"),
        ("--batch-size=1", "--batch-size must be at least 2, got 1"),
        ("--momentum=1", "--momentum must be at most 0.999, got 1"),
        ("--seed=-1", "--seed must be at least 0, got -1"),
        ("--threads=0", "--threads.*from 1 up, got '0'"),
        ("--threads=two", "--threads.*got 'two'"),
        ("--dataset=svhn", "svhn.*digits.*mnist.*cifar10"),
        ("--distance=l2", "l2.*frobenius.*l1.*cosine"),
        ("--epoch=3", "unrecognized.*--epoch=3.*; see bnas search --help"),
        ("--chanels=3", r"unrecognized.*--chanels=3 \(did you mean --channels\?\)"),
        ("--no-augmnet", r"\(did you mean --no-augment\?\)"),
        ("--distance=cosin", r"'cosin'.*\(did you mean cosine\?\)"),
    ],
)
def test_bad_values(tmp_path, option, says):
    fail("search", "--out", tmp_path / "run", option, says=says)
    assert not (tmp_path / "run").exists()


def test_bad_commands():
    fail("serach", says=r"serach.*\(did you mean search\?\); see bnas --help")
    assert "did you mean" not in fail("xyz", says="xyz.*search.*bnas --help")
    fail("--verison", says=r"--verison \(did you mean --version\?\)")
    fail("train", says="RUN.*bnas train --help")
    fail("gradcheck", "--seed", "-1", says="from 0 up, got '-1'")


@pytest.mark.parametrize(
    "options, says",
    [
        (("--stages=3",), "--stages.*1.*2"),
        (
            ("--stages=2", "--epochs=1"),
            "2 stages need at least as many epochs, got 1; give more --epochs",
        ),
        (
            ("--precision=real", "--distil=0.5"),
            "for binary networks; leave them out for --precision real",
        ),
        (("--distil=1.5",), "--distil must be at most 1.* got 1.5"),
        (("--drop-path=-0.1",), "--drop-path must be at least 0"),
        (("--genotype=DARTS_V9",), "DARTS_V9 is no file.*DARTS_V1"),
        (("--genotype=.",), "cannot read.*directory"),
    ],
)
def test_bad_values_for_training(session, tmp_path, options, says):
    genotype = ("--genotype", session[0] / "genotype.txt")
    fail("train", tmp_path / "run", *TINY, *genotype, *options, says=says)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change, says",
    [
        (
            lambda text: re.sub(r'"(sep|dil|avg|max|skip)\w+"', '"warp_conv_3x3"', text, count=1),
            r"normal\[0\] has the unknown operation 'warp_conv_3x3'.*known are skip_connect",
        ),
        (lambda text: text[: len(text) // 2], "not valid syntax"),
        (lambda text: text.replace(", 1)", ", 5)"), "reads state 5, but node 2"),
        (lambda text: "__import__('os').remove('x')", "expected one Genotype"),
        (lambda text: "", "expected one Genotype"),
        (lambda text: "\0\1", "not valid syntax"),
    ],
    ids=["operation", "truncated", "predecessor", "code", "empty", "binary"],
)
def test_bad_genotypes(copy, change, says):
    text = (copy / "genotype.txt").read_text()
    shutil.rmtree(copy / "binary")
    (copy / "genotype.txt").write_text(change(text))
    fail("train", copy, *TINY, says=["genotype.txt", says])
    fail("train", copy / "new", *TINY, "--genotype", copy / "genotype.txt", says=says)
    assert not (copy / "binary").exists()


def test_one_folder_compares_like_with_like(copy, tmp_path):
    shutil.rmtree(copy / "binary")
    says = ["another architecture", "bnas train NEW"]
    fail("train", copy, *TINY, "--genotype", "NASNet", says=says)
    fail("train", copy, *TINY, "--dataset", "mnist", says=["another data set", "--dataset mnist"])


# Data


def write_mnist(folder, images=96, labels=range(10)):
    """A small data set in MNIST's format; returns the folder."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        pixels = rng.integers(0, 256, (images, 28, 28), dtype=np.uint8)
        values = np.resize(np.array(labels, np.uint8), images)
        head = bytes([0, 0, 8, 3]) + np.array(pixels.shape, ">i4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = bytes([0, 0, 8, 1]) + np.array(values.shape, ">i4").tobytes()
        packed = gzip.compress(head + values.tobytes())
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(packed)
    return folder


def write_cifar10(folder, images=60):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ("data_batch_1.bin", "test_batch.bin"):
        records = rng.integers(0, 256, (images, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(images) % 10
        (folder / name).write_bytes(records.tobytes())
    return folder


@pytest.mark.slow
@no_figures
@pytest.mark.parametrize("name, write", [("mnist", write_mnist), ("cifar10", write_cifar10)])
def test_a_session_on_files(tmp_path, name, write):
    files, root = write(tmp_path / "files"), tmp_path / "run"
    tiny = ("--limit", "16", "--batch-size", "8", "--channels", "1")
    fail(*SEARCH, root, "--dataset", name, says=[f"{name} is not bundled", "--data-dir"])
    fail(*SEARCH, root, "--dataset", name, "--data-dir", root, says="no such folder")
    fail(*SEARCH, root, "--dataset", name, "--data-dir", tmp_path, says="looked for")
    assert not root.exists()
    succeed(*SEARCH, root, *tiny, "--dataset", name, "--data-dir", files)
    moved = files.rename(tmp_path / "moved")
    fail("train", root, *TINY, *tiny, says="no such folder")
    succeed("train", root, *TINY, *tiny, "--epochs", "1", "--data-dir", moved)
    assert RunFolder.open(root / "binary").config["dataset"] == name
    assert f"{name}, " in succeed("evaluate", root)  # finds the data where the training did
    moved.rename(files)
    fail("evaluate", root, says="no such folder")
    succeed("evaluate", root, "--data-dir", files)
    succeed("search", "--out", root, "--resume", "--data-dir", files)


def write_npz(path, classes=3, **changes):
    """A small data set of one's own, floats of 2 x 8 x 8; returns the file."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 40), ("test", 12)):
        arrays[f"{part}_images"] = rng.normal(size=(n, 2, 8, 8))
        arrays[f"{part}_labels"] = np.arange(n) % classes
    np.savez(path, **arrays | changes)
    return path


@pytest.mark.slow
def test_a_session_on_a_file_of_ones_own(tmp_path):
    file, root = tmp_path / "mine.npz", tmp_path / "run"
    npz = ("--dataset", "npz", "--data-dir", write_npz(file))
    tiny = ("--batch-size", "8", "--channels", "1")
    fail(*SEARCH, root, "--dataset", "npz", says="--data-dir FILE.npz")
    fail(*SEARCH, root, "--dataset", "npz", "--data-dir", tmp_path, says="--data-dir FILE.npz")
    bad = write_npz(tmp_path / "bad.npz", test_labels=np.full(12, -1))
    fail("data", "--dataset", "npz", "--data-dir", bad, says="bad.npz: test_labels: .*is -1")
    assert not root.exists()
    out = succeed("data", *npz, "--limit", "16")
    assert out.startswith("npz: 3 classes, float32 images of 2 x 8 x 8")
    assert re.search(r"^train +16 ", out, re.M) and re.search(r"^test +6 ", out, re.M)
    succeed(*SEARCH, root, *tiny, *npz)
    succeed("train", root, *TINY, *tiny, "--epochs", "1")
    assert "npz, 12 test images" in succeed("evaluate", root)
    other = write_npz(tmp_path / "other.npz", classes=4)
    says = "other channels or classes .*classifier.*--data-dir"
    fail("evaluate", root, "--data-dir", other, says=[f"{root} comes", says])
    fail("export", root, "--data-dir", other, says=[f"{root / 'binary'} comes", says])
    fail("search", "--resume", "--out", root, "--data-dir", other, says=[f"{root} comes", says])
    moved = file.rename(tmp_path / "moved.npz")
    fail("evaluate", root, says="mine.npz: cannot be read")
    succeed("evaluate", root, "--data-dir", moved)
    succeed("export", root, "--data-dir", moved)
    packed = root / "packed.npz"
    fail("predict", packed, moved, says="moved.npz: an .npz .*np.save")
    images = tmp_path / "images.npy"
    with np.load(moved) as arrays:
        np.save(images, arrays["test_images"])
    assert "12 images in" in succeed("predict", packed, images)


@pytest.mark.parametrize(
    "damage, says",
    [
        (lambda f: f / "train-images-idx3-ubyte", "train-images-idx3-ubyte"),
        (lambda f: f / "t10k-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    ],
    ids=["images", "labels"],
)
@pytest.mark.parametrize(
    "content",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"<!DOCTYPE html>" * 20,
        lambda data: b"",
    ],
    ids=["truncated", "foreign", "empty"],
)
def test_damaged_data_files(tmp_path, damage, says, content):
    files = write_mnist(tmp_path / "files")
    path = damage(files)
    path.write_bytes(content(path.read_bytes()))
    mnist = ("--dataset", "mnist", "--data-dir", files)
    fail("data", *mnist, says=says)
    fail(*SEARCH, tmp_path / "run", *mnist, says=says)
    assert not (tmp_path / "run").exists()


def test_labels_out_of_range_and_splits_too_small(tmp_path):
    mnist = ("data", "--dataset", "mnist", "--data-dir")
    fail(*mnist, write_mnist(tmp_path / "a", labels=range(11)), says="label")
    fail(*mnist, write_mnist(tmp_path / "b", images=1), says="too few images")
    fail(*mnist, write_mnist(tmp_path / "c", images=0), says="mnist|images")
    fail("search", "--out", tmp_path / "run", "--data-dir", tmp_path, says="bundled.*--data-dir")


def test_data_with_nan(tmp_path, monkeypatch):
    import bnas.data.datasets as datasets

    right = datasets.normalise
    monkeypatch.setattr(datasets, "normalise", lambda *a: right(*a) * np.float32(np.nan))
    fail(*SEARCH, tmp_path / "run", says="image at index 0 holds NaN")


# Damaged runs


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"garbage" * 100,
        lambda data: data[:500] + b"!" + data[501:],
    ],
    ids=["half", "last byte", "empty", "garbage", "flipped"],
)
def test_damaged_checkpoints(copy, damage):
    for path in (copy, copy / "binary"):
        checkpoint = path / "checkpoint.npz"
        whole = checkpoint.read_bytes()
        checkpoint.write_bytes(damage(whole))
        says = [re.escape(str(checkpoint)), "damaged|not a checkpoint"]
        fail("evaluate", copy, says=says)
        if path == copy:
            fail("search", "--out", copy, "--resume", says=says)
        else:
            fail("train", copy, "--resume", says=says)
        checkpoint.write_bytes(whole)


@no_figures
def test_a_checkpoint_of_another_run(copy, tmp_path):
    succeed(*SEARCH, tmp_path / "other", "--seed", "5")  # the same shapes: only the record can tell
    shutil.copy(tmp_path / "other" / "checkpoint.npz", copy / "checkpoint.npz")
    says = ["checkpoint.npz", "another configuration"]
    fail("search", "--out", copy, "--resume", says=says)
    fail("evaluate", copy, says=says)


@pytest.mark.parametrize(
    "text, says",
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[1]", "no JSON object"),
        ("{}", "does not fit the SearchConfig"),
        (("channels", "many"), "channels must be a whole number, got 'many'"),
        (("channels", True), "channels must be a whole number, got True"),
        (("limit", 10**400), "limit must be less than 2.*63"),
        (("lr", 10**400), "lr must be less than 2.*63"),
        (("layers", 2**62), "layers must be at most 200"),
        (("channels", 10**9), "channels must be at most 4096"),
        (("nodes", 1000), "nodes must be at most 20"),
        (("rounds", 10**6), "rounds must be at most 1000"),
        (("data_dir", "a\0b"), "data_dir holds a zero character"),
        (("lr", float("nan")), "NaN is no number in JSON"),
        (("lam", -1), "lam must be at least 0"),
        (("dataset", "svhn"), "dataset must be one of digits"),
        (("dataset", ["digits"]), "dataset must be text"),
    ],
    ids=str,
)
def test_a_broken_config(copy, text, says):
    path = copy / "config.json"
    if isinstance(text, tuple):
        text = json.dumps({**json.loads(path.read_text()), text[0]: text[1]})
    path.write_text(text)
    says = [re.escape(str(path)), says]
    fail("evaluate", copy, says=says)
    fail("search", "--out", copy, "--resume", says=says)
    fail("plot", copy, says=says)


def test_a_broken_history(copy):
    (copy / "history.jsonl").write_text('{"epoch": 1}\nrubbish\n')
    for command in (("plot", copy), ("search", "--out", copy, "--resume")):
        fail(*command, says=["history.jsonl, line 2", "mend that line, or restore"])


# The machine's limits


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "run", tmp_path / "file"):
        fail(*SEARCH, path, says=["cannot make the folder", "choose a folder that can be written"])
    fail("train", tmp_path / "file", *TINY, "--genotype", "NASNet", says="cannot make the folder")


@pytest.mark.slow
@no_figures
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    root = tmp_path / "run"
    beta = ("--beta", "learned")  # so that the Child's checkpoints are larger than the Parent's
    succeed(*SEARCH, root, *beta)
    size = (root / "checkpoint.npz").stat().st_size
    shutil.rmtree(root)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, size - 1))

    done = run_python("-m", "bnas", *SEARCH, root, *beta, before_start=limit)
    message = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.match("bnas: cannot write .*checkpoint.npz: File too large; .*space", message)
    assert RunFolder.open(root).load()[1]["epochs_done"] == 1
    assert not [path for path in root.iterdir() if path.name.endswith(".tmp")]
    succeed("search", "--out", root, "--resume")  # now there is room again
    assert RunFolder.open(root).load()[1]["epochs_done"] == 2


@pytest.mark.slow
def test_output_that_nobody_reads_or_that_does_not_fit():
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}

    def data(output):
        return run_python("-m", "bnas", "data", stdout=output, environment=buffered)

    reader, writer = os.pipe()
    os.close(reader)
    done = data(writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            done = data(full)
        assert done.returncode == 2
        assert re.fullmatch(r"bnas: .*No space left on device\n", done.stderr)


@pytest.mark.slow
def test_threads_are_set_before_they_are_read():
    code = (
        "from bnas.cli import main; main(['data', '--threads', '3']); "
        "import numba; print(numba.config.NUMBA_NUM_THREADS)"
    )
    done = run_python("-c", code)
    assert done.stdout.splitlines()[-1] == "3", done.stderr


# What a command finds: the threads of Numba, then those of every BLAS that NumPy and SciPy bring.
THREADS = """
import json, sys
from types import SimpleNamespace
from bnas.cli import main

def report(options):
    import numba, numpy, scipy.linalg
    from threadpoolctl import threadpool_info
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    print(json.dumps([numba.get_num_threads(), *blas]))

{before}
sys.modules["bnas.commands"] = SimpleNamespace(data=report)  # nothing is imported before it is due
status = main(["data", *sys.argv[1:]])
{after}
sys.exit(status)
"""
VARIABLE = re.compile(r"\w+_(NUM|MAXIMUM)_THREADS")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def threads_found(*arguments, before="", after="", variables=(), **options):
    """What THREADS printed, as lists of numbers, one for a line."""
    pytest.importorskip("threadpoolctl")
    environment = {k: v for k, v in os.environ.items() if not VARIABLE.fullmatch(k)}
    code = THREADS.format(before=before, after=after)
    done = run_python(
        "-c", code, *arguments, environment=environment, variables=variables, **options
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables, arguments, expected",
    [
        ({}, (), CORES),
        ({}, ("--threads", "1"), 1),
        ({}, ("--threads", str(CORES + 3)), CORES),
        ({"OMP_NUM_THREADS": "1"}, (), 1),
        ({"OMP_NUM_THREADS": str(CORES + 3)}, (), CORES),
        ({"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}, ("--threads", "2"), min(2, CORES)),
        ({"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, (), 1),
    ],
    ids=str,
)
def test_threads_govern_numba_and_every_blas(variables, arguments, expected):
    ((numba, *blas),) = threads_found(*arguments, variables=variables)
    assert numba == expected and set(blas) == {expected}
    assert len(blas) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("text", ["2,1", "0", "many", ""])
def test_a_strange_variable_of_openmp_is_left_to_others(text):
    ((numba, *_),) = threads_found(variables={"OMP_NUM_THREADS": text})
    assert numba == CORES


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
@pytest.mark.parametrize("arguments", [(), ("--threads", "2")], ids=["all", "two"])
def test_cores_that_may_not_be_used_get_no_thread(arguments):
    one = {min(os.sched_getaffinity(0))}
    found = threads_found(*arguments, before_start=lambda: os.sched_setaffinity(0, one))
    assert set(found[0]) == {1}


@pytest.mark.slow
@pytest.mark.skipif(CORES < 2, reason="needs two cores")
def test_threads_come_in_time_where_everything_was_imported_and_runs():
    before = """
import numba, numpy, scipy.linalg
numba.njit(parallel=True)(lambda x: x + 1)(numpy.ones(9))
report(None)
"""
    after = """
report(None)
numba.njit(lambda x: x + 2)(1)  # Numba refuses if its variable has changed since it started threads
"""
    first, inside, last = threads_found("--threads", "1", before=before, after=after)
    assert set(inside) == {1} and len(inside) == len(first)
    assert first == last and set(first) == {CORES}


ON_SHARED_KERNELS = """
import sys
from bnas import plots
from bnas.cli import main
from bnas.kernels import threads

plots.draw_run = lambda *_: []
threads.WORTH_SHARING = 0  # the images of a test are too small otherwise
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_search_ends_in_the_same_bits_on_any_number_of_threads(tmp_path):
    """So does one at the same number of threads: it is run twice."""
    results = []
    for name, threads in (("one", 1), ("two", 2), ("again", 2)):
        arguments = (*SEARCH, tmp_path / name, "--limit", "48", "--threads", threads)
        done = run_python("-c", ON_SHARED_KERNELS, *arguments)
        assert done.returncode == 0, done.stderr
        arrays, _ = RunFolder.open(tmp_path / name).load()
        results.append({key: array.tobytes() for key, array in arrays.items()})
    assert results[1] == results[2], "two threads, twice"
    assert results[0] == results[1], "one thread and two"


def test_the_help_tells_what_threads_are_without_the_option():
    for command in COMMANDS:
        text = " ".join(succeed(command, "--help").split())
        assert "--threads N threads of Numba and BLAS, at most one a core (OMP_NUM_THREADS" in text


def test_divergence_stops_the_run_and_keeps_the_last_epoch(session, tmp_path):
    root = tmp_path / "run"
    where = r"became (nan|NaN|inf).* in epoch 1 of 2 .round 1, parent., step \d of 3"
    says = [where, "smaller learning rate"]
    fail(*SEARCH, root, "--lr", "1e30", "--limit", "200", status=1, says=says)
    assert not (root / "checkpoint.npz").exists() and RunFolder.open(root).history() == []
    genotype = ("--genotype", session[0] / "genotype.txt")
    train = ("train", root / "train", *TINY, *genotype, "--lr", "1e30")
    fail(*train, status=1, says="in epoch 1 of ")


@no_figures
def test_a_diverged_state_is_never_saved(tmp_path):
    """The last step of an epoch has no loss after it that could tell."""
    root = tmp_path / "run"
    says = ["became NaN or infinite", "epoch 2 of 2"]
    fail(*SEARCH, root, "--lambda", "1e38", status=1, says=says)
    folder = RunFolder.open(root)
    arrays, meta = folder.load()
    assert meta["epochs_done"] == 1 == len(folder.history())
    assert all(np.isfinite(a).all() for a in arrays.values() if a.dtype.kind == "f")


def test_interrupting_takes_one_line(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", interrupt)
    fail(*SEARCH, tmp_path / "run", status=130, says="interrupted.*--resume")
    monkeypatch.setattr(commands, "check_all", interrupt)
    assert "resume" not in fail("gradcheck", status=130, says="interrupted")


def test_running_out_of_memory_takes_one_line(tmp_path, monkeypatch):
    def exhaust(*_):
        return np.empty(1 << 60, np.uint8)

    monkeypatch.setattr(commands, "new_search", exhaust)
    fail(*SEARCH, tmp_path / "run", says="out of memory.*--channels")
    monkeypatch.setattr(commands, "load_dataset", exhaust)
    message = fail("data", says="out of memory.*fewer images")  # which has no such options
    assert "--channels" not in message


def test_a_damaged_file_is_not_taken_for_a_lack_of_memory(tmp_path):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (100000000000000,)}"
    (tmp_path / "net.npz").write_bytes(
        seal(
            archive([("__meta__.npy", npy(np.zeros(2)), 0), ("x.npy", with_header(header, b""), 0)])
        )
    )
    (tmp_path / "images.npy").write_bytes(with_header(header, b""))
    for arguments in (
        ("predict", tmp_path / "net.npz", tmp_path / "images.npy"),
        ("data", "--dataset", "npz", "--data-dir", tmp_path / "net.npz"),
    ):
        message = fail(*arguments, says="net.npz.* x is no array .*0 bytes are there")
        assert "memory" not in message


def test_no_foreign_architecture_joins_an_unfinished_search(copy):
    (copy / "genotype.txt").unlink()
    shutil.rmtree(copy / "binary")
    fail("train", copy, "--genotype", "DARTS_V2", says=["finish the search", "in a new folder"])


@no_figures
def test_a_network_without_any_1_bit_layer_trains_with_a_penalty(tmp_path):
    pooling = tmp_path / "pooling.txt"
    pairs = [("max_pool_3x3", 0), ("avg_pool_3x3", 1)]
    pooling.write_text(
        f"Genotype(normal={pairs}, normal_concat=[2], reduce={pairs}, reduce_concat=[2])"
    )
    run = tmp_path / "run"
    succeed("train", run, *TINY, "--epochs", "1", "--mu", "0.1", "--genotype", pooling)


def test_half_of_a_run_is_not_taken_for_a_new_one(copy, tmp_path):
    fail("train", tmp_path / "none", says=["holds no search", "bnas search", "--genotype"])
    (copy / "checkpoint.npz").unlink()
    before = (copy / "history.jsonl").read_bytes()
    fail("search", copy, "--resume", says=r"checkpoint.npz is missing, though \d+ epochs were done")
    assert (copy / "history.jsonl").read_bytes() == before
