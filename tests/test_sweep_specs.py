"""What a sweep is told, and `bnas sweep`, which runs it."""

import json
import re

import pytest
from helpers import ROOT
from helpers.processes import run_python

import bnas
from bnas import sweeps
from bnas.cli import main
from bnas.config import SearchConfig, TrainConfig
from bnas.errors import InputError
from bnas.space import parse_genotype, read_genotype
from bnas.sweeps import read_results, read_spec
from bnas.sweeps.jobs import warm_up

TINY = {"channels": 2, "nodes": 2, "limit": 96, "batch_size": 32}
SEARCH = """\
kind = "search"
seeds = [0, 3]

[settings]
channels = 2
nodes = 2
limit = 96
batch_size = 32

[[runs]]
name = "dcp"
rounds = 1
parent_epochs = 1
child_epochs = 1

[[runs]]
name = "random"
strategy = "random"
individuals = 1
individual_epochs = 1

[train]
channels = 2
layers = 1
epochs = 1
"""


def spec_of(**parts):
    return {"kind": "search", **parts}


def test_a_grid_is_every_combination_with_every_seed():
    spec = read_spec(
        spec_of(
            seeds=2,
            settings={"channels": 4},
            grid={"lam": [0, 0.005], "distance": ["l1", "cosine"]},
        )
    )
    assert spec.seeds == (0, 1) and list(spec.configurations) == [
        "lam=0,distance=l1",
        "lam=0,distance=cosine",
        "lam=0.005,distance=l1",
        "lam=0.005,distance=cosine",
    ]
    assert list(spec.jobs)[0] == "lam=0,distance=l1-seed0" and len(spec.jobs) == 8
    job = dict(spec.jobs["lam=0.005,distance=cosine-seed1"])
    assert job.pop("train") is None
    assert SearchConfig(**job) == SearchConfig(seed=1, channels=4, lam=0.005, distance="cosine")


def test_runs_have_their_own_settings_and_the_training_inherits_from_the_search():
    runs = [{"name": "a", "strategy": "random", "limit": 50}, {"name": "b", "dataset": "mnist"}]
    spec = read_spec(spec_of(seeds=[5], runs=runs, train={"epochs": 2}))
    assert list(spec.jobs) == ["a-seed5", "b-seed5"]
    assert TrainConfig(**spec.jobs["a-seed5"]["train"]) == TrainConfig(limit=50, seed=5, epochs=2)
    assert spec.jobs["b-seed5"]["train"]["dataset"] == "mnist"


def test_without_grid_and_runs_there_is_one_configuration():
    assert list(read_spec({"kind": "search"}).jobs) == ["run-seed0"]


def test_a_training_has_a_genotype_by_name_or_as_text():
    grid = {"genotype": ["DARTS_V1", "DARTS_V2"]}
    spec = read_spec({"kind": "train", "grid": grid})
    job = spec.jobs["genotype=DARTS_V2-seed0"]
    text = job["genotype"]
    assert text.startswith("Genotype(")
    named = read_spec({"kind": "train", "settings": {"genotype": text}})
    assert named.jobs["run-seed0"] == job


@pytest.mark.parametrize(
    "spec, message",
    [
        ({}, 'kind must be "search" or "train", got None'),
        ({"kind": ["search"]}, "kind must be"),
        ({"kind": "serch"}, "kind must be .* got 'serch'"),
        (spec_of(setings={}), r"'setings' is not a part of a sweep .*did you mean settings\?"),
        (spec_of(settings={"chanels": 2}), r"\[settings\].*did you mean channels\?"),
        (spec_of(settings={"seed": 2}), "seed is given as a setting; expected seeds"),
        (spec_of(settings=3), r"\[settings\] must be a table"),
        (spec_of(settings={"channels": "4"}), "run: channels must be a whole number, got '4'"),
        (spec_of(settings={"channels": True}), "channels must be a whole number"),
        (spec_of(settings={"channels": 0}), "channels must be at least 1"),
        (spec_of(settings={"strategy": "dpc"}), "strategy must be one of"),
        (spec_of(settings={"strategy": "nowhere:Class"}), "there is no module 'nowhere'"),
        (spec_of(seeds=0), "seeds must be how many"),
        (spec_of(seeds=True), "seeds must be"),
        (spec_of(seeds=[]), "seeds must be"),
        (spec_of(seeds=[1, 2, 1]), "seeds has 1 twice"),
        (spec_of(seeds=[-1]), "seeds must be"),
        (spec_of(grid={"lam": 0.1}), "lam in .grid. must be a list"),
        (spec_of(grid={"lam": []}), "lam in .grid. must be a list of values, got .."),
        (spec_of(grid={"lam": [1, 1.0]}), "lam in .grid. has a value twice"),
        (spec_of(grid={"lamda": [1]}), r"'lamda' is not a setting, in \[grid\]"),
        (spec_of(settings={"lam": 1}, grid={"lam": [1]}), "lam is in .settings. and in .grid."),
        (
            spec_of(grid={"strategy": ["dcp", "random"], "lam": [0]}),
            "strategy=random,lam=0: lam means nothing",
        ),
        (spec_of(grid={}, runs=[{"name": "a"}]), "expected .grid. or ..runs.., got both"),
        (spec_of(runs={}), "..runs.. must be a list of tables"),
        (spec_of(runs=[]), "..runs.. must be a list of tables"),
        (spec_of(runs=[{"lam": 1}]), "number 1 of ..runs.. needs a name"),
        (spec_of(runs=[{"name": "a b"}]), "needs a name of letters"),
        (spec_of(runs=[{"name": "a" * 101}]), "at most 100 characters"),
        (spec_of(runs=[{"name": "a"}, {"name": "A"}]), "A names two of"),
        (spec_of(runs=[{"name": "a", "lamb": 1}]), r"in a, that there is \(did you mean lam\?\)"),
        (
            spec_of(runs=[{"name": "a", "strategy": "darts", "lam": 1}]),
            "a: lam means nothing to the strategy",
        ),
        (spec_of(train={"seed": 1}), "seed"),
        (spec_of(train={"dataset": "mnist"}), "dataset in .train. is that of the search"),
        (spec_of(train={"genotype": "DARTS_V1"}), "genotype in .train. is that of the search"),
        (spec_of(train={"epoch": 1}), r"\[train\].*did you mean epochs"),
        (spec_of(train={"epochs": 0}), "epochs must be at least 1"),
        (spec_of(train={"distil": 0.5}), "distil needs the real twin"),
        ({"kind": "train"}, "genotype is missing"),
        ({"kind": "train", "settings": {"genotype": "DARTS_V3"}}, "did you mean DARTS_V"),
        ({"kind": "train", "settings": {"genotype": "Genotype("}}, "not valid syntax"),
        (
            {"kind": "train", "settings": {"genotype": "DARTS_V1"}, "train": {}},
            "goes with kind search alone",
        ),
    ],
)
def test_a_mistake_in_a_spec_is_told(spec, message):
    with pytest.raises(InputError, match=message):
        read_spec(spec)


@pytest.mark.parametrize(
    "text, message",
    [
        (b"kind = ", "s.toml is not valid TOML"),
        (b'kind = "\xff"', "s.toml is not valid TOML"),
        (b"kind = 3", "s.toml: kind must be"),
        (b'kind = "search"\nkind = "train"', "s.toml is not valid TOML"),
        (None, "cannot read .*s.toml"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_name(tmp_path, capsys, text, message):
    path = tmp_path / "s.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError, match=message):
        bnas.sweep(path)
    assert main(["sweep", str(path)]) == 2
    assert capsys.readouterr().err.startswith("bnas: ") and not (tmp_path / "s").exists()


def test_the_warm_up_is_short_and_one_for_each_choice_that_is_no_number():
    jobs = read_spec(
        spec_of(seeds=3, grid={"lam": [0, 1], "distance": ["l1", "cosine"]}, train={"epochs": 50})
    ).jobs.values()
    short = warm_up(jobs)
    assert [job["distance"] for job in short] == ["l1", "cosine"]
    assert short[0]["limit"] == 4 * 64 and short[0]["train"]["epochs"] == 2
    assert short[0]["individuals"] == SearchConfig.individuals  # which dcp does not read
    for strategy in ("dcp", "cp", "bnas", "darts", "random", "shared", "evolution"):
        (job,) = warm_up(read_spec(spec_of(settings={"strategy": strategy})).jobs.values())
        assert SearchConfig(**{k: v for k, v in job.items() if k != "train"}).strategy == strategy


@pytest.fixture
def search_spec(tmp_path):
    path = tmp_path / "search.toml"
    path.write_text(SEARCH)
    return path


def without_times(value):
    """A result without what differs from machine to machine."""
    if isinstance(value, dict):
        return {
            k: without_times(v) for k, v in value.items() if k not in ("seconds", "peak_memory")
        }
    return [without_times(v) for v in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_a_sweep_gives_the_same_bits_here_in_processes_and_on_dask(search_spec, tmp_path, capsys):
    pytest.importorskip("distributed")
    out = [tmp_path / name for name in "abc"]
    ways = [["--workers=0"], ["--workers=2", "--scheduler=processes"], ["--workers=2"]]
    for folder, way in zip(out, ways, strict=True):
        assert main(["sweep", str(search_spec), "-o", str(folder), *way]) == 0
    here, *others = (
        {key: without_times(record["result"]) for key, record in read_results(folder).items()}
        for folder in out
    )
    assert here.keys() == {"dcp-seed0", "dcp-seed3", "random-seed0", "random-seed3"}
    assert others == [here, here]
    first, *_ = capsys.readouterr().out.split("\n\n")
    assert "dcp" in first and "±" in first


@pytest.mark.slow
def test_a_search_of_a_sweep_is_that_of_the_command(tmp_path):
    settings = {**TINY, "rounds": 1, "parent_epochs": 1, "child_epochs": 1}
    found = bnas.sweep(spec_of(seeds=[4], settings=settings), tmp_path / "sweep", workers=0)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    assert main(["search", str(tmp_path / "run"), "--seed=4", *options]) == 0
    result = found.results["run-seed4"]["result"]
    assert read_genotype(tmp_path / "run/genotype.txt") == parse_genotype(result["genotype"])
    history = [
        json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()
    ]
    assert without_times(history) == without_times(result["history"])
    assert result["training"] is None


@pytest.fixture
def fake_jobs(monkeypatch):
    """Searches take no time: their accuracies follow from the seed, and those of `fails` fail."""
    fails = set()

    def search(job):
        if (job["strategy"], job["seed"]) in fails:
            raise ValueError("no such luck\nindeed")
        share = 0.5 + job["seed"] / 10
        return {"validation_accuracy": share, "training": {"test_accuracy": share / 2}}

    monkeypatch.setattr(sweeps.jobs, "search", search)
    return fails


def test_the_command_prints_a_table_and_tells_what_failed(search_spec, tmp_path, capsys, fake_jobs):
    fake_jobs.add(("random", 3))
    assert main(["sweep", str(search_spec), "--workers", "0"]) == 1
    told = capsys.readouterr()
    rows = [line.split() for line in told.out.splitlines()]
    assert rows[1] == "dcp 2 65.00 ± 21.21 % 32.50 ± 10.61 % -".split()
    assert rows[2] == "random 1 50.00 % 25.00 % 1".split()
    assert "random-seed3 failed: ValueError: no such luck\n" in told.err
    fake_jobs.clear()
    assert main(["sweep", str(search_spec), "--workers", "0"]) == 0
    assert "failed" not in capsys.readouterr().err


def test_more_seeds_and_runs_join_and_another_sweep_does_not(search_spec, tmp_path, fake_jobs):
    def spec(seeds, *strategies):
        return spec_of(seeds=seeds, runs=[{"name": s, "strategy": s} for s in strategies])

    folder = tmp_path / "sweep"
    bnas.sweep(spec(2, "dcp"), folder, workers=0)
    found = bnas.sweep(spec(3, "dcp", "darts"), folder, workers=0)
    assert found.values("darts", "validation_accuracy") == {0: 0.5, 1: 0.6, 2: 0.7}
    assert found.values("dcp", "test_accuracy")[2] == 0.35
    with pytest.raises(InputError, match="results of another sweep .darts-seed0"):
        bnas.sweep(spec(3, "dcp"), folder, workers=0)
    with pytest.raises(InputError, match="result of another job .channels: 8 there, 4 now"):
        bnas.sweep({**spec(3, "dcp", "darts"), "settings": {"channels": 4}}, folder, workers=0)
    assert len(read_results(folder)) == 6


def test_a_dry_run_lists_the_jobs_and_makes_nothing(search_spec, capsys, tmp_path):
    assert main(["sweep", str(search_spec), "--dry-run"]) == 0
    told = capsys.readouterr()
    assert told.out.split() == ["dcp-seed0", "random-seed0", "dcp-seed3", "random-seed3"]
    assert "4 jobs" in told.err and not (tmp_path / "search").exists()


def test_ctrl_c_tells_how_to_go_on(search_spec, capsys, monkeypatch):
    def interrupted(job):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeps.jobs, "search", interrupted)
    assert main(["sweep", str(search_spec), "--workers", "0"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr("bnas.tabular.commands.load", interrupted)
    assert main(["table", "best"]) == 130
    assert capsys.readouterr().err == "bnas: interrupted\n"  # there are no jobs to go on with


def test_a_sweep_from_a_dict_needs_a_folder():
    with pytest.raises(InputError, match="needs a folder"):
        bnas.sweep({"kind": "search"})


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs/sweeps").glob("*.toml")), ids=lambda p: p.stem
)
def test_the_examples_are_right(path):
    assert read_spec(path).jobs


@pytest.mark.slow
def test_the_simulation_of_the_page_prints_what_it_says():
    page = (ROOT / "docs/sweeps.md").read_text(encoding="utf-8")
    code, printed = re.findall(
        r"```python\n([^`]*makespan.*?)```.*?```text\n(.*?)```", page, re.DOTALL
    )[0]
    assert run_python("-c", code).stdout == printed
