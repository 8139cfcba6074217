"""Genotypes: text in and out, what is refused, and the discretisation against a slow oracle."""

import itertools
import math
import os

import numpy as np
import pytest
from helpers.genotypes import wirings
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bnas.errors import InputError
from bnas.space import (
    PRIMITIVES,
    PUBLISHED,
    Genotype,
    discretise,
    edges,
    explain_genotype,
    format_genotype,
    parse_genotype,
    random_genotype,
    read_genotype,
    skip_genotype,
    validate_genotype,
    write_genotype,
)
from bnas.space.genotype import number_of_nodes

ONE_NODE = Genotype(
    (("skip_connect", 0), ("max_pool_3x3", 1)),
    (2,),
    (("sep_conv_3x3", 1), ("sep_conv_3x3", 1)),
    (2,),
)


genotypes = st.tuples(wirings(), wirings()).map(lambda cells: Genotype(*cells[0], *cells[1]))


def as_lists(genotype):
    """The same genotype the way JSON or the literature would hold it."""
    return [
        [list(item) if isinstance(item, tuple) else item for item in field] for field in genotype
    ]


# Text ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(genotypes)
def test_text_round_trip(genotype):
    assert parse_genotype(format_genotype(genotype)) == genotype
    assert parse_genotype(repr(genotype)) == genotype  # tuples, by keyword
    normal, normal_concat, reduce, reduce_concat = as_lists(genotype)
    assert (
        parse_genotype(
            f"BEST = Genotype({normal}, {normal_concat},\n  reduce_concat="
            f"{reduce_concat}, reduce={reduce})  # half by position"
        )
        == genotype
    )
    assert validate_genotype(as_lists(genotype)) == genotype


@pytest.mark.parametrize(
    "cell, idle, collapsed",
    [
        (["skip_connect", "max_pool_3x3", "avg_pool_3x3", "avg_pool_3x3"], 8, True),
        (["sep_conv_3x3", "max_pool_3x3", "avg_pool_3x3", "avg_pool_3x3"], 6, False),
        (["dil_conv_3x3", "sep_conv_5x5", "conv_7x1_1x7", "skip_connect"], 2, False),
    ],
)
def test_a_collapse_into_operations_without_weights_is_told(cell, idle, collapsed):
    """Not into skips alone."""
    pairs = tuple((name, k % 2) for k, name in enumerate(cell))
    text = explain_genotype(Genotype(pairs, (2, 3), pairs, (2, 3)))
    assert f"Of 8 operations, {idle} are skips and poolings" in text
    assert ("collapse" in text) == collapsed


def test_the_best_of_the_literature_are_no_collapse():
    assert not any("collapse" in explain_genotype(genotype) for genotype in PUBLISHED.values())


# Baselines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 2, 4, 7])
def test_baselines_are_genotypes(nodes):
    operations = ("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")
    drawn = random_genotype(nodes, np.random.default_rng(0), operations)
    assert validate_genotype(drawn) == drawn and len(drawn.normal) == 2 * nodes
    assert {name for name, _ in drawn.normal + drawn.reduce} <= set(operations[1:])
    for pairs in (drawn.normal, drawn.reduce):
        assert all(pairs[k][1] < pairs[k + 1][1] for k in range(0, 2 * nodes, 2))
    assert drawn == random_genotype(nodes, np.random.default_rng(0), operations)
    skips = skip_genotype(nodes)
    assert validate_genotype(skips) == skips
    assert set(skips.normal + skips.reduce) == {("skip_connect", 0), ("skip_connect", 1)}


def test_random_genotypes_take_every_operation_and_edge_equally_often():
    drawn = [random_genotype(4, np.random.default_rng(seed)) for seed in range(400)]
    names = [name for g in drawn for name, _ in g.normal + g.reduce]
    shares = [names.count(name) / len(names) for name in PRIMITIVES]
    assert shares[0] == 0 and np.abs(np.array(shares[1:]) - 1 / 7).max() < 0.02
    into_last = [predecessor for g in drawn for _, predecessor in g.normal[-2:]]
    assert np.abs(np.bincount(into_last) / 400 - 2 / 5).max() < 0.1


def test_format_has_one_line_per_node():
    lines = format_genotype(PUBLISHED["DARTS_V2"]).splitlines()
    assert lines[5] == '        ("skip_connect", 0), ("dil_conv_3x3", 2),  # node 5'
    assert lines[7] == "    normal_concat=[2, 3, 4, 5],"


def test_ranges_are_read():
    text = repr(ONE_NODE).replace("(2,)", "range(2, 3)")
    assert parse_genotype(text) == ONE_NODE
    two = "[('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 2)]"
    genotype = parse_genotype(f"Genotype({two}, range(3, 1, -1), {two}, range(3, 4))")
    assert genotype.normal_concat == (3, 2) and genotype.reduce_concat == (3,)


def test_numpy_integers_become_ints():
    pairs = [["skip_connect", np.int64(0)], ["skip_connect", np.uint8(1)]]
    genotype = validate_genotype((pairs, [2], pairs, [np.int32(2)]))
    assert [type(i) for _, i in genotype.normal] == [int, int]
    assert type(genotype.reduce_concat[0]) is int


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "expected one Genotype"),
        ("Genotype", "expected one Genotype"),
        ("Genotype(", "not valid syntax"),
        ("\0", "not valid syntax"),
        ("(" * 5000, "not valid syntax"),
        ("-" * 50_000 + "1", "not valid syntax"),
        ("Genotype(" + "-" * 500 + "1)", "must be written out|not valid syntax|lacks"),
        ("Cell(1, 2, 3, 4)", "expected one Genotype"),
        ("a.Genotype(1, 2, 3, 4)", "expected one Genotype"),
        ("a = b = Genotype(1, 2, 3, 4)", "expected one Genotype"),
        ("a.b = Genotype(1, 2, 3, 4)", "expected one Genotype"),
        (f"{ONE_NODE}; {ONE_NODE}", "expected one Genotype"),
        (f"import os\n{ONE_NODE}", "expected one Genotype"),
        ("Genotype(normal=[])", "lacks normal_concat, reduce, reduce_concat"),
        ("Genotype([], [], [], [], [])", "takes 4 fields, got 5"),
        ("Genotype([], normal=[])", "normal twice"),
        ("Genotype(normale=[])", "no field 'normale'; its fields are normal, normal_concat"),
        ("Genotype(**{'normal': []})", "no field"),
        ("Genotype(*[1, 2, 3, 4])", "must be written out"),
        ("Genotype(normal=__import__('os').system('touch hacked'))", "must be written out"),
        ("Genotype(normal=[().__class__.__base__])", "must be written out"),
        ("Genotype(normal=[('skip_connect', i) for i in range(2)])", "must be written out"),
        ("Genotype(normal=[('skip_connect', 1 + int('1'))])", "must be written out"),
        ("Genotype(normal={[]: 1})", "must be written out"),
        ("Genotype(normal=10**10**10)", "must be written out"),
        ("Genotype([], range())", r"or range\(first"),
        ("Genotype([], range(2, 6, 0))", r"or range\(first"),
        ("Genotype([], range('a'))", r"or range\(first"),
        ("Genotype([], range(stop=3))", r"or range\(first"),
        ("Genotype([], range(2, range(9)))", r"or range\(first"),
        ("x" * 100_001, "100001 characters"),
        (b"Genotype()", "expected the text"),
    ],
)
def test_hostile_and_broken_text(text, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=complaint) as caught:
        parse_genotype(text)
    assert len(str(caught.value)) < 400
    assert not os.listdir(tmp_path)  # nothing was executed


@pytest.mark.parametrize("huge", ["range(2, 10000000000000000000000)", "range(99999999999999999)"])
def test_huge_ranges_cost_nothing(huge):
    with pytest.raises(InputError, match="lists state"):
        parse_genotype(repr(ONE_NODE).replace("(2,)", huge))


def test_integers_too_long_to_print():
    text = repr(ONE_NODE).replace("'max_pool_3x3', 1", f"'max_pool_3x3', 0x{'f' * 9000}")
    with pytest.raises(InputError, match="reads state"):
        parse_genotype(text)


# Validation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field, value, complaint",
    [
        ("normal", (), "normal has 0 pairs"),
        ("normal", (("skip_connect", 0),), "normal has 1 pairs"),
        ("reduce", (("skip_connect", 0),) * 3, "reduce has 3 pairs"),
        ("normal", "skip_connect", "must be a list"),
        ("normal", None, "must be a list"),
        ("normal", (("skip_connect", 0), "ab"), r"normal\[1\] must be a pair"),
        ("normal", (("skip_connect", 0), ("skip_connect", 1, 2)), r"normal\[1\] must be a pair"),
        (
            "normal",
            (("skip_connect", 0), ("skip_conect", 1)),
            r"normal\[1\] .*'skip_conect' \(did you mean 'skip_connect'\?\); known are skip_connect, dil",
        ),
        ("normal", (("skip_connect", 0), ("?", 1)), r"unknown operation '\?'; known"),
        ("normal", (("skip_connect", 0), ("none", 1)), r"normal\[1\] is 'none'"),
        ("normal", (("skip_connect", 0), (3, 1)), r"operation of normal\[1\] must be a name"),
        (
            "normal",
            (("skip_connect", 0), ("skip_connect", 2)),
            r"reads state 2, but node 2 .* 0 to 1",
        ),
        ("normal", (("skip_connect", -1), ("skip_connect", 1)), "reads state -1"),
        ("normal", (("skip_connect", 0), ("skip_connect", "1")), "must be an integer, got '1'"),
        ("normal", (("skip_connect", 0), ("skip_connect", 1.0)), "must be an integer, got 1.0"),
        ("normal", (("skip_connect", 0), ("skip_connect", True)), "must be an integer, got True"),
        ("normal_concat", (), "normal_concat is empty"),
        ("normal_concat", (1,), "lists state 1, but .* 2 to 2"),
        ("normal_concat", (3,), "lists state 3"),
        ("reduce_concat", (2, 2), "lists state 2 twice"),
        ("reduce_concat", ("2",), "must be an integer"),
        ("reduce_concat", 2, "must be a list of states"),
        ("reduce_concat", "2", "must be a list of states"),
    ],
)
def test_what_validation_refuses(field, value, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        validate_genotype(ONE_NODE._replace(**{field: value}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, "Genotype", {}, (1, 2, 3), list(range(10_000))])
def test_what_is_no_genotype(value):
    with pytest.raises(InputError, match="expected Genotype") as caught:
        validate_genotype(value)
    assert len(str(caught.value)) < 200


def test_the_last_state_a_node_may_read():
    pairs = tuple(("skip_connect", k // 2 + 1) for k in range(8))
    assert validate_genotype((pairs, (5,), pairs, (2,))).normal == pairs


# Published -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_genotypes_are_valid(name):
    assert validate_genotype(PUBLISHED[name]) == PUBLISHED[name]


def test_published_facts():
    def counts(pairs):
        return {operation: sum(o == operation for o, _ in pairs) for operation, _ in pairs}

    assert list(PUBLISHED) == ["DARTS_V1", "DARTS_V2", "NASNet", "AmoebaNet"]
    assert counts(PUBLISHED["DARTS_V1"].normal) == {"sep_conv_3x3": 5, "skip_connect": 3}
    assert counts(PUBLISHED["DARTS_V2"].normal) == {
        "sep_conv_3x3": 5,
        "skip_connect": 2,
        "dil_conv_3x3": 1,
    }
    assert counts(PUBLISHED["DARTS_V2"].reduce) == {"max_pool_3x3": 5, "skip_connect": 3}
    assert [i for _, i in PUBLISHED["NASNet"].reduce] == [1, 0, 1, 0, 1, 0, 3, 2, 2, 1]
    assert [i for _, i in PUBLISHED["AmoebaNet"].reduce] == [0, 1, 0, 2, 0, 1, 0, 1, 0, 5]
    assert PUBLISHED["NASNet"].normal_concat == (2, 3, 4, 5, 6)
    assert PUBLISHED["AmoebaNet"].reduce_concat == (3, 4, 6)


# Files -----------------------------------------------------------------------------------------


def test_files_round_trip_and_leave_nothing_beside(tmp_path):
    path = tmp_path / "genotype.txt"
    write_genotype(path, PUBLISHED["NASNet"])
    write_genotype(str(path), PUBLISHED["AmoebaNet"])
    assert read_genotype(path) == PUBLISHED["AmoebaNet"]
    assert os.listdir(tmp_path) == ["genotype.txt"]


def test_a_genotype_reaches_the_disk_before_its_name_does(tmp_path, monkeypatch):
    """Otherwise a power cut could leave an empty file in the place of what a search found."""
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (calls.append(n), r(*a))[1])
    write_genotype(tmp_path / "genotype.txt", ONE_NODE)
    assert calls == ["fsync", "replace", "fsync"]


def test_an_invalid_genotype_leaves_the_file_alone(tmp_path):
    path = tmp_path / "genotype.txt"
    write_genotype(path, ONE_NODE)
    with pytest.raises(InputError):
        write_genotype(path, ONE_NODE._replace(normal=()))
    assert read_genotype(path) == ONE_NODE


def test_a_failed_replacement_leaves_the_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "genotype.txt"
    write_genotype(path, ONE_NODE)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(InputError, match="cannot write.*No space left"):
        write_genotype(path, PUBLISHED["NASNet"])
    assert read_genotype(path) == ONE_NODE
    assert os.listdir(tmp_path) == ["genotype.txt"]


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="cannot read.*missing.txt"):
        read_genotype(tmp_path / "missing.txt")
    with pytest.raises(InputError, match="cannot read"):
        read_genotype(tmp_path)
    with pytest.raises(InputError, match="cannot write"):
        write_genotype(tmp_path / "no" / "folder.txt", ONE_NODE)
    path = tmp_path / "bad"
    path.write_bytes(b"\xff\xfe\x00PK")
    with pytest.raises(InputError, match="bad is not a text file"):
        read_genotype(path)
    path.write_text("Genotype(normal=3)")
    with pytest.raises(InputError, match="bad: the genotype lacks"):
        read_genotype(path)
    path.write_text("#" * 3_000_000)
    with pytest.raises(InputError, match="bad: .*at most"):
        read_genotype(path)


# Edges and the discretisation ------------------------------------------------------------------


def test_edge_order():
    assert edges(1) == ((0, 2), (1, 2))
    assert edges(4)[:9] == ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (0, 4), (1, 4), (2, 4), (3, 4))
    assert len(edges(4)) == 14 and edges(4)[-1] == (4, 5)


def test_number_of_nodes_inverts_edges():
    possible = {len(edges(nodes)): nodes for nodes in range(1, 30)}
    for count in range(-3, 400):
        if count in possible:
            assert number_of_nodes(count) == possible[count]
        else:
            with pytest.raises(ValueError, match=f"no cell has {count} edges"):
                number_of_nodes(count)


def oracle(alpha, operations=PRIMITIVES):
    """discretise, written out: Python floats, loops, and every pair of edges compared."""
    fields = []
    for logits in alpha:
        pairs, e = [], 0
        nodes = next(n for n in range(1, 100) if n * (n + 3) // 2 == len(logits))
        for j in range(2, nodes + 2):
            candidates = []
            for i in range(j):
                row = [float(v) for v in logits[e]]
                powers = [math.exp(v - max(row)) for v in row]
                weights = [p / math.fsum(powers) for p in powers]
                kept = [m for m, operation in enumerate(operations) if operation != "none"]
                best = max(kept, key=lambda m: (weights[m], -m))
                candidates.append((weights[best], i, operations[best]))
                e += 1
            chosen = max(
                itertools.combinations(candidates, 2),
                key=lambda two: (
                    sorted((w for w, _, _ in two), reverse=True),
                    [-i for _, i, _ in two],
                ),
            )
            pairs += [(operation, i) for _, i, operation in chosen]
        fields += [tuple(pairs), tuple(range(2, nodes + 2))]
    return Genotype(*fields)


def alphas(elements):
    return st.integers(1, 5).flatmap(
        lambda n: hnp.arrays(np.float64, (2, n * (n + 3) // 2, 8), elements=elements)
    )


@settings(deadline=None, max_examples=60)
@given(alphas(st.integers(-48, 48).map(lambda k: k / 8)) | alphas(st.integers(-1, 1).map(float)))
def test_discretise_equals_the_oracle(alpha):  # a grid: weights tie exactly or differ clearly
    genotype = discretise(alpha)
    assert genotype == oracle(alpha)
    assert discretise(alpha.tolist()) == genotype
    assert validate_genotype(genotype) == genotype  # refuses none and wrong predecessors
    for pairs in (genotype.normal, genotype.reduce):
        for (_, i), (_, j) in zip(pairs[::2], pairs[1::2]):
            assert i < j  # two different edges, by predecessor
        assert len(pairs) == 2 * number_of_nodes(alpha.shape[1])


@st.composite
def spaces(draw):
    """(alpha, operations) of a search space of one's own, with `none` anywhere or nowhere."""
    names = [*PRIMITIVES[1:], "gabor_3x3", "shift"]
    operations = draw(st.lists(st.sampled_from(names), min_size=1, max_size=9, unique=True))
    if draw(st.booleans()):
        operations.insert(draw(st.integers(0, len(operations))), "none")
    nodes = draw(st.integers(1, 4))
    shape = (2, nodes * (nodes + 3) // 2, len(operations))
    grid = st.integers(-48, 48).map(lambda k: k / 8) | st.integers(-1, 1).map(float)
    return draw(hnp.arrays(np.float64, shape, elements=grid)), tuple(operations)


@settings(deadline=None, max_examples=100)
@given(spaces())
def test_any_space_is_discretised_as_the_oracle_does(space):
    alpha, operations = space
    genotype = discretise(alpha, operations)
    assert genotype == oracle(alpha, operations)
    assert discretise(alpha.tolist(), list(operations)) == genotype
    assert {name for name, _ in genotype.normal + genotype.reduce} <= set(operations) - {"none"}


@settings(deadline=None, max_examples=50)
@given(alphas(st.integers(-16, 16).map(lambda k: k / 8)), st.integers(0, 7))
def test_where_none_stands_does_not_matter(alpha, place):
    """Nor does its place change the last bit of a weight, which would break ties."""
    operations = [*PRIMITIVES[1:]]
    operations.insert(place, "none")
    moved = np.insert(alpha[:, :, 1:], place, alpha[:, :, 0], axis=2)
    assert discretise(moved, operations) == discretise(alpha)


@pytest.mark.parametrize(
    "operations, complaint",
    [
        (("none",), "at least one other than 'none'"),
        ((), "at least one other than 'none'"),
        (("skip_connect", "shift", "shift"), "lists 'shift' twice"),
        (("none", "none", "shift"), "lists 'none' twice"),
        (("shift", 3), "must be a tuple of names"),
        ("shift", "must be a tuple of names"),
    ],
)
def test_discretise_refuses_what_is_no_search_space(operations, complaint):
    with pytest.raises(InputError, match=complaint):
        discretise(np.zeros((2, 5, len(operations))), operations)


def test_discretise_needs_a_logit_for_every_operation():
    with pytest.raises(ValueError, match=r"shape \(2, 5, 8\), expected \(2, E, 2\)"):
        discretise(np.zeros((2, 5, 8)), ("shift", "none"))


def test_none_may_be_strongest_everywhere_and_is_never_kept():
    alpha = np.zeros((2, 14, 8))
    alpha[:, :, 0] = 50.0
    alpha[:, :, 6] = 1.0
    genotype = discretise(alpha)
    assert {operation for operation, _ in genotype.normal + genotype.reduce} == {"sep_conv_3x3"}


def test_a_strong_none_weakens_its_edge():
    alpha = np.zeros((2, 5, 8))
    alpha[:, 2:, 4] = [3.0, 2.0, 1.0]  # into node 3, from states 0, 1, 2
    assert [i for _, i in discretise(alpha).normal] == [0, 1, 0, 1]
    alpha[0, 2, 0] = 9.0
    assert [i for _, i in discretise(alpha).normal] == [0, 1, 1, 2]
    assert [i for _, i in discretise(alpha).reduce] == [0, 1, 0, 1]


def test_of_equals_the_lower_index_wins():
    genotype = discretise(np.zeros((2, 14, 8)))
    assert genotype.normal == (("skip_connect", 0), ("skip_connect", 1)) * 4
    rng = np.random.default_rng(0)
    row = rng.normal(size=8)  # in any order, but none's place: the edges weigh exactly the same
    alpha = [[[row[0], *rng.permutation(row[1:])] for _ in range(14)] for _ in range(2)]
    assert [i for _, i in discretise(alpha).normal] == [0, 1] * 4
    assert [i for _, i in discretise(alpha).reduce] == [0, 1] * 4


def test_weights_that_underflow_are_still_compared():
    alpha = np.zeros((2, 5, 8))
    alpha[:, :, 0] = 2000.0
    alpha[:, 3:, 7] = 5.0
    assert discretise(alpha).normal[2:] == (("sep_conv_5x5", 1), ("sep_conv_5x5", 2))


@pytest.mark.parametrize(
    "shape",
    [
        (),
        (2,),
        (14, 8),
        (3, 14, 8),
        (2, 14, 7),
        (2, 13, 8),
        (2, 0, 8),
        (2, 1, 8),
        (1, 2, 14, 8),
    ],
)
def test_discretise_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="shape|edges"):
        discretise(np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_discretise_refuses_what_is_not_finite(value):
    alpha = np.zeros((2, 14, 8))
    alpha[1, 13, 7] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        discretise(alpha)
