"""The table that comes with bnas: what docs/table.md claims of it."""

import pytest
from helpers import ROOT

from bnas.tabular import architectures, files, landscape, load
from bnas.tabular.entries import entries, train_entry

PAGE = ROOT / "docs" / "table.md"
DATASETS = ("digits", "fashion")


@pytest.fixture(scope="module")
def table():
    return load()


@pytest.fixture(scope="module")
def found(table):
    return {dataset: landscape(table, dataset) for dataset in DATASETS}


def percent(*shares):
    return ", ".join(f"{100 * share:.1f}" for share in shares) + " %"


# What the second table of the page says: the beginning of a row, and what it holds of a Landscape.
ROWS = {
    "1-bit: lowest": lambda f: percent(f.lowest, f.median, f.highest),
    "real: lowest": lambda f: percent(f.real_lowest, f.real_median, f.real_highest),
    "variance of one training": lambda f: percent(f.components.share),
    "the same of a mean": lambda f: percent(f.components.share_of_mean(f.seeds)),
    "standard deviation between seeds": lambda f: percent(f.noise),
    "least difference": lambda f: percent(f.distinguishable),
    "architectures closer": lambda f: str(f.near_best),
    "regret of the best by validation": lambda f: percent(f.exhaustive_regret),
    "rank correlation of two seeds": lambda f: f"{f.spearman:.2f}, {f.kendall:.2f}",
    "variance that the number of convolutions": lambda f: percent(f.explained["convolutions"]),
    "variance that the number of max": lambda f: percent(f.explained["max_pool_3x3"]),
    "variance that the numbers of all": lambda f: percent(f.explained["operations"]),
    "real twins against": lambda f: f"{f.twin_kendall:.2f}, {f.twin_ndcg:.2f}",
}


def row_of(label):
    """The cells of the row of the page that begins with a label."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"| {label}")]
    return [cell.strip() for cell in line.strip("| ").split("|")]


@pytest.mark.slow
def test_the_page_tells_what_the_table_tells(found):
    for label, text in ROWS.items():
        assert row_of(label)[1:] == [text(found[dataset]) for dataset in DATASETS], label
    hours = [f"{load().total_seconds(dataset) / 3600:.1f}" for dataset in DATASETS]
    assert row_of("hours of all trainings")[1:] == hours


def test_the_table_is_that_of_all_architectures_and_small(table):
    assert table.genotypes == architectures() and tuple(table.datasets) == DATASETS
    for dataset in DATASETS:
        assert table.seeds(dataset) == 3 and table.seeds(dataset, "real") == 1
    sizes = [path.stat().st_size for path in files._bundled().iterdir()]
    assert sum(sizes) < 2_000_000


@pytest.mark.slow
def test_two_seeds_rank_alike_and_convolutions_do_not_explain_it(found):
    for one in found.values():
        assert one.spearman >= 0.8
        assert one.explained["convolutions"] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("dataset", DATASETS)
def test_a_training_of_the_table_is_one_of_this_code(table, dataset):
    """To the bit only on the same processor; elsewhere rounding grows over the steps."""
    found = train_entry(entries(dataset)[f"{dataset}-233-binary-1"])
    arrays = table.datasets[dataset]
    assert found["loss"][0] == pytest.approx(arrays["binary_loss"][233, 1, 0], rel=0.02)
    accuracy = table.query(233, dataset, seed=1).test_accuracy
    assert found["test"][-1] / arrays["test_images"] == pytest.approx(accuracy, abs=0.05)
