"""The table of every architecture: its space, its files, its queries, and `bnas table`."""

import hashlib
import io
import json
import re
import time
from itertools import permutations

import numpy as np
import pytest
from helpers import ROOT
from helpers.figures import assert_texts_fit
from helpers.tables import PROVENANCE, synthetic_arrays, write_table

from bnas import cli
from bnas.errors import InputError
from bnas.plots import landscape_figure
from bnas.space import PRIMITIVES, write_genotype
from bnas.tabular import OPERATIONS, all_genotypes, architectures, canonical, files, landscape, load

TWO = OPERATIONS[:2]  # 48 genotypes, 42 architectures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a synthetic table of the whole space."""
    path = tmp_path_factory.mktemp("table")
    write_table(path)
    return path


@pytest.fixture(scope="module")
def table(folder):
    return load(folder)


@pytest.fixture
def small(tmp_path):
    """The folder of a synthetic table over two operations, to be damaged."""
    write_table(tmp_path / "small", TWO)
    return tmp_path / "small"


def labelled_graph(genotype, names):
    """The edges (from, to, operation) of a genotype's cell, its nodes 2 and 3 called names[0] and names[1]."""
    name = dict(zip((0, 1, 2, 3), (0, 1, *names)))
    return tuple(
        sorted(
            (name[source], name[k // 2 + 2], op) for k, (op, source) in enumerate(genotype.normal)
        )
    )


def isomorphism_class(genotype):
    """All graphs that come of a genotype's cell by naming its nodes in any order."""
    return frozenset(labelled_graph(genotype, names) for names in permutations((2, 3)))


@pytest.mark.parametrize(
    "operations, genotypes, unique",
    [
        (OPERATIONS[:3], 243, 207),
        (OPERATIONS, 768, 648),
        ((*OPERATIONS, "avg_pool_3x3"), 1875, 1575),
        pytest.param(PRIMITIVES[1:], 7203, 6027, marks=pytest.mark.slow),
    ],
)
def test_the_architectures_are_one_of_each_isomorphism_class(operations, genotypes, unique):
    found = all_genotypes(operations)
    assert len(set(found)) == len(found) == genotypes
    classes = {}
    for genotype in found:
        classes.setdefault(isomorphism_class(genotype), []).append(genotype)
    assert len(classes) == unique
    assert {canonical(genotype, operations) for genotype in found} == {
        members[0] for members in classes.values()
    }
    for members in classes.values():
        assert {canonical(genotype, operations) for genotype in members} == {members[0]}
    assert architectures(operations) == tuple(
        genotype for genotype in found if canonical(genotype, operations) == genotype
    )


def test_the_canonical_genotype_does_not_depend_on_the_order_of_pairs_and_nodes():
    genotype = all_genotypes()[500]
    a, b, c, d = genotype.normal
    lists = genotype._replace(normal=[list(b), list(a), list(d), list(c)], normal_concat=(3, 2))
    assert canonical(lists) == canonical(genotype)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"reduce": all_genotypes()[0].reduce}, "its two cells differ"),
        ({"normal": (("skip_connect", 0), ("skip_connect", 1)), "normal_concat": (2,)}, "1 nodes"),
        ({"normal_concat": (2,)}, r"normal_concat is \[2\]"),
        (
            {"normal": (("avg_pool_3x3", 0), *all_genotypes()[700].normal[1:])},
            "operation 'avg_pool_3x3'",
        ),
        (
            {"normal": (("skip_connect", 1), *all_genotypes()[700].normal[1:])},
            "node 2 of normal reads state 1 twice",
        ),
    ],
)
def test_a_genotype_outside_of_the_space_is_told_what_the_space_is(change, said):
    with pytest.raises(InputError, match=f"{said}; the space of the table has one cell"):
        canonical(all_genotypes()[700]._replace(**change))


def swapped(genotype):
    """An isomorphic genotype: nodes 2 and 3 in the other order where they can be, all pairs turned round."""
    a, b, c, d = genotype.normal
    cell = [d, c, b, a] if d[1] < 2 else [b, a, d, c]
    return genotype._replace(normal=cell, reduce=tuple(cell))


def test_the_number_of_an_architecture_is_that_of_all_its_genotypes(table):
    assert len(table) == 648 and table.genotypes == architectures()
    for i in range(len(table)):
        genotype = table.arch(i)
        assert table.index(genotype) == table.index(swapped(genotype)) == table.index(i) == i
        assert table.arch(np.int64(i)) is genotype


def test_a_query_gives_what_was_written(table):
    arrays = table.datasets["fashion"]
    entry = table.query(table.arch(7), "fashion", epoch=3, seed=2)
    assert entry.training_loss == arrays["binary_loss"][7, 2, 2]
    assert entry.validation_accuracy == arrays["binary_validation"][7, 2, 2] / 200
    assert entry.test_accuracy == arrays["binary_test"][7, 2, 2] / 200
    assert entry.seconds == pytest.approx(arrays["binary_seconds"][7, 2] * 3 / 4)


def test_a_query_without_a_seed_gives_means_and_without_an_epoch_the_last(table):
    one = [table.query(7, "digits", 4, seed) for seed in range(3)]
    np.testing.assert_allclose(table.query(7, "digits"), np.mean(one, axis=0))
    assert table.query(7, "digits", precision="real") == table.query(7, "digits", 3, 0, "real")


def test_the_best_has_the_highest_accuracy(table):
    for by, seed, epoch in [("test", None, None), ("validation", 1, None), ("validation", None, 2)]:
        accuracies = [
            getattr(table.query(i, "digits", epoch, seed), f"{by}_accuracy") for i in range(648)
        ]
        best = table.best("digits", by, epoch, seed)
        assert table.index(best) == np.argmax(accuracies)


def test_random_draws_every_architecture_evenly(table):
    rng = np.random.default_rng(0)
    counts = np.bincount([table.index(table.random(rng)) for _ in range(648 * 50)], minlength=648)
    assert counts.min() > 0 and ((counts - 50) ** 2 / 50).sum() < 780  # chi square, 0.9998 quantile


def neighbouring_classes(genotype, classes):
    """The members of `classes` with one edge of a labelled graph changed in its source or its operation."""
    found = set()
    for graph in isomorphism_class(genotype):
        for edge in graph:
            source, target, name = edge
            changes = [(source, target, op) for op in OPERATIONS]
            changes += [(other, target, name) for other in range(4)]
            for change in changes:
                found.add(classes.get(tuple(sorted({*graph, change} - ({edge} - {change})))))
    return found - {None}


@pytest.mark.slow
def test_neighbours_are_one_change_of_any_isomorphic_genotype_away(table):
    classes = {graph: i for i, g in enumerate(table.genotypes) for graph in isomorphism_class(g)}
    around = [table.neighbour_numbers(i) for i in range(len(table))]
    for i, numbers in enumerate(around):
        assert set(numbers) == neighbouring_classes(table.arch(i), classes) - {i}
        assert sorted(set(numbers)) == list(numbers)
        assert all(i in around[j] for j in numbers)
        assert table.neighbours(swapped(table.arch(i))) == tuple(map(table.arch, numbers))


@pytest.mark.parametrize("number", [-1, 648, True])
def test_what_is_no_architecture_has_no_neighbours(table, number):
    for ask in (table.neighbours, table.neighbour_numbers):
        with pytest.raises(InputError, match="architecture"):
            ask(number)


def test_costs_and_seconds_are_those_of_the_files(table):
    costs, arrays = table.costs(3, "digits"), table.datasets["digits"]
    assert costs._asdict() == {name: arrays[name][3].item() for name in files.COSTS}
    together = sum(
        float(table.datasets[name][f"{precision}_seconds"].sum())
        for name in ("digits", "fashion")
        for precision in ("binary", "real")
    )
    assert table.total_seconds() == pytest.approx(together)
    assert table.total_seconds("digits", "real") == pytest.approx(arrays["real_seconds"].sum())


def test_operations_are_counted_by_kind(table):
    for i in (0, 100, 647):
        names = [name for name, _ in table.arch(i).normal]
        assert table.counts()[i] == sum("conv" in name for name in names)
        assert [table.counts(name)[i] for name in OPERATIONS] == list(map(names.count, OPERATIONS))


@pytest.mark.parametrize(
    "ask, said",
    [
        (lambda t: t.arch(648), "no architecture 648; the table has 0 to 647"),
        (lambda t: t.arch(-1), "no architecture -1"),
        (lambda t: t.index("1"), "expected a Genotype or its number"),
        (lambda t: t.index(True), "expected a Genotype or its number"),
        (lambda t: t.index(1.0), "expected a Genotype or its number"),
        (lambda t: t.query(0, "mnist"), "no data set 'mnist'; it has digits, fashion"),
        (lambda t: t.query(0, "digits", 0), "epoch is 0, expected 1 to 4"),
        (lambda t: t.query(0, "digits", 5), "epoch is 5, expected 1 to 4"),
        (lambda t: t.query(0, "digits", 4, precision="real"), "epoch is 4, expected 1 to 3"),
        (lambda t: t.query(0, "digits", 2.0), "epoch is 2.0, expected 1 to 4"),
        (lambda t: t.query(0, "digits", seed=3), "seed is 3, expected 0 to 2"),
        (lambda t: t.query(0, "digits", seed=-1), "seed is -1, expected 0 to 2"),
        (lambda t: t.query(0, "digits", precision="2 bit"), "binary or real, got '2 bit'"),
        (lambda t: t.best("digits", by="train"), "validation or test, got 'train'"),
        (lambda t: t.best("digits", seed=3), "seed is 3, expected 0 to 2"),
        (lambda t: t.counts("sep_conv_5x5"), "no operation 'sep_conv_5x5'"),
    ],
)
def test_what_is_not_there_is_an_error(table, ask, said):
    with pytest.raises(InputError, match=said):
        ask(table)


def test_a_table_comes_back_as_it_was_written(tmp_path):
    written = write_table(tmp_path / "a", TWO)
    found = load(tmp_path / "a")
    assert found.provenance == PROVENANCE and found.operations == TWO and len(found) == 42
    for name, arrays in written.items():
        assert found.datasets[name].keys() == arrays.keys()
        for key, array in arrays.items():
            np.testing.assert_array_equal(found.datasets[name][key], array, strict=True)
            with pytest.raises(ValueError, match="read-only"):
                found.datasets[name][key][...] = 0
    turned = {name: dict(reversed(arrays.items())) for name, arrays in written.items()}
    files.write(tmp_path / "b", TWO, turned, PROVENANCE)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_it_loads_in_less_than_a_fifth_of_a_second(folder):
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        load(folder)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.2


def test_damage_in_any_byte_is_found(small):
    path = small / "digits.npz"
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError, match="digits.npz is not the file that table.json"):
            load(small)
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match="digits.npz is not the file that table.json"):
        load(small)


def test_missing_files_are_told(small):
    (small / "fashion.npz").unlink()
    with pytest.raises(InputError, match="cannot read .*fashion.npz"):
        load(small)
    (small / "table.json").unlink()
    with pytest.raises(InputError, match="holds no table: table.json is missing"):
        load(small)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda d: d.update(format=2), "has the format 2, expected 1"),
        (lambda d: d.pop("format"), "has the format None, expected 1"),
        (lambda d: d.update(operations="skip_connect"), "no list of different names"),
        (lambda d: d.update(operations=[]), "no list of different names"),
        (lambda d: d.update(operations=["skip_connect"] * 2), "no list of different names"),
        (lambda d: d.update(operations=list(OPERATIONS)), "does not list the 648 architectures"),
        (lambda d: d["cells"].reverse(), "does not list the 42 architectures"),
        (lambda d: d.pop("cells"), "does not list the 42 architectures"),
        (lambda d: d.update(files=[]), "names no files"),
        (lambda d: d["files"].update(digits=d["files"]["fashion"]), "digits.npz is not the file"),
        (lambda d: d.update(files={"../x": ""}), "cannot read .*small/x.npz"),
    ],
)
def test_a_description_of_something_else_is_refused(small, change, said):
    description = json.loads((small / "table.json").read_text())
    change(description)
    (small / "table.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=said):
        load(small)


def test_a_description_that_is_no_json_is_refused(small):
    (small / "table.json").write_text("{")
    with pytest.raises(InputError, match="table.json is not valid JSON"):
        load(small)


WRONG = [
    ({"binary_test": None}, "expected the arrays"),
    ({"more": np.zeros(42)}, "expected the arrays"),
    ({"binary_loss": None}, "binary_loss must be"),
    ({"binary_loss": np.zeros((42, 3), np.float32)}, "binary_loss must be"),
    ({"bits": np.zeros(41, np.int64)}, "bits is int64"),
    ({"bits": np.zeros(42)}, "bits is float64"),
    ({"bits": np.full(42, -1)}, "bits holds numbers below 0"),
    ({"binary_test": np.zeros((42, 2, 4), np.uint16)}, "binary_test is uint16"),
    ({"binary_test": np.full((42, 3, 4), 201, np.uint16)}, "more right than the 200 images"),
    (
        {"real_loss": np.full((42, 1, 3), np.nan, np.float32)},
        "real_loss holds numbers below 0, NaN",
    ),
    ({"real_seconds": np.zeros((42, 1), np.float32)}, "a training that took no time"),
    ({"test_images": np.int64(0)}, "more right than the 0 images"),
]


@pytest.mark.parametrize("wrong, said", WRONG)
def test_arrays_that_make_no_table_are_neither_written_nor_read(small, wrong, said):
    arrays = {**synthetic_arrays(42, 0), **wrong}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(ValueError, match=said):
        files.write(small, TWO, {"digits": arrays}, {})
    archive = io.BytesIO()
    np.savez_compressed(archive, **arrays)
    plant(small, archive.getvalue())
    with pytest.raises(InputError, match=f"digits.npz is no table: .*{said}"):
        load(small)


def plant(folder, content):
    """Put other content into digits.npz, and its digest into the description."""
    (folder / "digits.npz").write_bytes(content)
    description = json.loads((folder / "table.json").read_text())
    description["files"]["digits"] = hashlib.sha256(content).hexdigest()
    (folder / "table.json").write_text(json.dumps(description))


def test_nothing_is_unpickled(small):
    archive = io.BytesIO()
    np.savez(archive, **{**synthetic_arrays(42, 0), "bits": np.array([print] * 42)})
    plant(small, archive.getvalue())
    with pytest.raises(
        InputError, match="bits is no array of plain numbers: it holds Python objects"
    ):
        load(small)


def run(capsys, *arguments):
    """(exit status, what was printed, the error) of `bnas table ...`."""
    status = cli.main(["table", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_query_prints_every_seed_the_costs_and_the_neighbours(capsys, folder, table, tmp_path):
    write_genotype(tmp_path / "genotype.txt", swapped(table.arch(100)))
    status, printed, _ = run(capsys, "query", tmp_path / "genotype.txt", "--table", folder)
    assert status == 0 and printed.startswith("Architecture 100 of 648\n")
    for seed in (0, 1, 2, None):
        entry = table.query(100, "fashion", seed=seed)
        assert f"{entry.validation_accuracy:.2%}{entry.test_accuracy:>10.2%}" in printed
    assert f"{table.costs(100, 'digits').bits:,}" in printed
    means = table.accuracies("fashion", "test").mean(axis=1)
    place = 1 + int((means > means[100]).sum())
    assert f"By mean test accuracy it is number {place} of 648." in printed
    assert printed.endswith(", ".join(map(str, table.neighbour_numbers(100))) + "\n")
    assert run(capsys, "query", 100, "--table", folder)[1] == printed
    _, one, _ = run(
        capsys,
        *("query", 100, "--table", folder, "--dataset", "digits"),
        *("--seed", 1, "--epoch", 2),
    )
    assert "fashion" not in one and f"{table.query(100, 'digits', 2, 1).test_accuracy:.2%}" in one


def test_best_prints_the_best_first(capsys, folder, table):
    status, printed, _ = run(
        capsys, "best", "--table", folder, "--dataset", "digits", "--by", "validation", "-n", 3
    )
    means = table.accuracies("digits", "validation").mean(axis=1)
    rows = [line.split() for line in printed.splitlines()[2:5]]
    assert status == 0 and [int(row[1]) for row in rows] == list(
        np.argsort(-means, kind="stable")[:3]
    )
    assert rows[0][2] == f"{means.max():.2%}"


@pytest.mark.slow
def test_check_prints_what_the_table_can_tell(capsys, folder, table):
    status, printed, _ = run(capsys, "check", "--table", folder)
    found = landscape(table, "fashion")
    assert (
        status == 0 and f"Kendall {found.twin_kendall:.3f}, NDCG {found.twin_ndcg:.3f}" in printed
    )


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("query", "nothing"), "neither a number from 0 to 647 nor a file"),
        (("query", 648), "no architecture 648"),
        (("query", 0, "--epoch", 9), "epoch is 9, expected 1 to 4"),
        (("best", "--dataset", "mnist"), "no data set 'mnist'"),
        (("plot", "-o", "figure.pdf"), "must end in .png"),
        (("plot", "-o", "nowhere/figure.png"), "there is no folder nowhere"),
        (("plot", "--by", "conv"), "no operation 'conv'"),
    ],
)
def test_commands_say_what_is_wrong(capsys, folder, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    status, printed, error = run(capsys, *arguments, "--table", folder)
    assert status == 2 and said in error and not printed


def test_a_file_of_another_space_is_named(capsys, folder, table, tmp_path):
    path = tmp_path / "genotype.txt"
    write_genotype(path, table.arch(0)._replace(reduce=table.arch(600).reduce))
    status, _, error = run(capsys, "query", path, "--table", folder)
    assert status == 2 and f"{path}: its two cells differ" in error


@pytest.mark.slow
def test_the_landscape_shows_every_architecture(capsys, folder, table, tmp_path):
    figure = landscape_figure(table, {name: landscape(table, name) for name in table.datasets})
    assert_texts_fit(figure)
    for ax in figure.axes:
        points = [line for line in ax.get_lines() if line.get_label() in set("01234")]
        assert sum(len(line.get_xdata()) for line in points) == 648
    path = tmp_path / "landscape.png"
    status, printed, _ = run(
        capsys, "plot", "-o", path, "--by", "max_pool_3x3", "--table", folder, "--dataset", "digits"
    )
    assert status == 0 and printed == f"{path}\n" and path.read_bytes().startswith(b"\x89PNG")


def test_the_examples_of_the_page_run(folder, monkeypatch):
    page = (ROOT / "docs" / "table.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.setattr(files, "_PLACES", (folder,))
    scope = {}
    exec("".join(blocks), scope)
    assert len(scope["found"]) > 10
