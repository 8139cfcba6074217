"""Rooflines of `bnas bench`: what is counted, what is timed, and that nothing of it stays behind."""

import json
import math
import sys

import numpy as np
import pytest
from helpers.figures import draw

from bnas import nn
from bnas.autodiff import Tensor, no_grad
from bnas.bench import cases, roofline, save_report, steps, text_report
from bnas.bench.counts import count_plan, count_task
from bnas.bench.roofline_report import PARTS, roofline_figure, roofline_sections
from bnas.bench.watch import watched_plan, watched_tasks
from bnas.fused import kernels
from bnas.kernels import threads
from bnas.kernels.windows import Window
from bnas.packed import PackedNetwork
from bnas.packed.plan import Plan
from bnas.space import BINARY, PUBLISHED, Network
from bnas.space.operations import FactorizedReduce

pytestmark = pytest.mark.slow

TINY = steps.Scale((3, 8, 8), channels=4, layers=3, batch=16, repeats=1, nodes=1)  # one block


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    """A network of DARTS_V2, its images (1, 3, 32, 32), and packed."""
    rng = np.random.default_rng(0)
    found = Network(PUBLISHED["DARTS_V2"], 3, 10, 8, 3, BINARY, rng)
    return (
        found,
        normal(1, 3, 32, 32),
        PackedNetwork.pack(found, (3, 32, 32), np.zeros(3), np.ones(3)),
    )


# Watching --------------------------------------------------------------------------------------


def installed():
    """What the functions that are watched are, everywhere."""
    modules = {name: vars(m) for name, m in sys.modules.items() if name.startswith("bnas.")}
    found = {name: names["run_tasks"] for name, names in modules.items() if "run_tasks" in names}
    return found | {"Plan": vars(Plan).get("run"), "inherited": Plan.run}


@pytest.mark.parametrize("watch", [watched_tasks, lambda see: watched_plan([], see)])
def test_nothing_stays_installed_even_after_an_exception(watch):
    before = installed()
    assert set(map(id, before.values())) == {*map(id, (threads.run_tasks, None, Plan.run))}
    with watch(lambda *call: None):
        assert installed() != before
    assert installed() == before
    with pytest.raises(ZeroDivisionError), watch(lambda *call: None):
        1 / 0
    assert installed() == before


def test_an_exception_of_a_kernel_or_of_the_watcher_passes_through():
    x, before = normal(1, 2, 4, 4, 16), installed()
    with pytest.raises(ZeroDivisionError), watched_tasks(lambda *call: 1 / 0):
        kernels.moments(x)
    assert installed() == before


@pytest.mark.parametrize("name", steps.NETWORKS)
def test_a_watched_step_computes_the_same(name, monkeypatch):
    searches, make = [], steps._search

    def kept(scale):
        searches.append(make(scale))
        return searches[-1]

    monkeypatch.setattr(steps, "_search", kept)
    seen = []
    for watched in (False, True):
        step = steps.our_step(name, TINY)
        step()
        if watched:
            with watched_tasks(lambda *call: seen.append(call)):
                step()
        else:
            step()
    assert len(seen) > 100 and all(seconds > 0 for _, _, seconds in seen)
    ((alone, *_), (watched, *_)) = searches
    for part in ("parent", "child"):
        for key, array in getattr(alone, part).state_dict().items():
            np.testing.assert_array_equal(array, getattr(watched, part).state_dict()[key], key)


def test_a_watched_network_computes_the_same(network):
    _, images, packed = network
    two = np.concatenate([images, -images])
    expected, seen = packed(two), []
    assert not np.array_equal(*expected)
    count = len(Plan(packed.model, packed.shape).calls)
    parts = [("first", range(0, 5)), ("rest", range(5, count))]
    with threads.limited(1), watched_plan(parts, lambda *part: seen.append(part)):
        np.testing.assert_array_equal(packed(two), expected)
    assert [name for name, _ in seen] == ["first", "rest"] * 2
    assert all(seconds > 0 for _, seconds in seen)


# Counting --------------------------------------------------------------------------------------


def counted(call):
    """(kind, operations, bytes) of each kernel call that `call` makes."""
    found = []
    with watched_tasks(lambda kernel, arguments, _: found.append(count_task(kernel, arguments))):
        call()
    return found


@pytest.mark.parametrize("stride, size", [(1, 8), (2, 4)])
def test_a_unit_counts_two_convolutions_forward_and_four_backward(stride, size):
    x, depthwise, pointwise = normal(2, 6, 8, 8, 16), normal(6, 1, 3, 3), normal(4, 6, 1, 1)
    window = Window((3, 3), (stride, stride), (1, 1))
    norm = np.zeros(6), np.ones(6, np.float32), np.zeros(6, np.float32)
    unit = kernels.real_unit(depthwise, pointwise)
    made = []
    (forward,) = counted(lambda: made.append(kernels.separable(x, norm, unit, window)))
    pixels = 2 * 16 * size**2
    products = pixels * 6 * (9 + 4)
    assert forward[:2] == ("units forward", products)
    ((z, sums, squares),) = made
    arrays = x.nbytes + z.nbytes + sums.nbytes + squares.nbytes + 4 * (6 * 9 + 6 * 4) + 6 * 16
    tables = forward[2] - arrays
    assert 0 < tables < 8 * 2 * 8 * (3 + 9 + 9 + 8)  # a few numbers a row, twice
    slopes = np.ones((3, 2, 4, 16), np.float32)
    after = np.zeros(4), np.ones(4, np.float32), *slopes
    for learns, times in ((False, 1), (True, 2)):
        call = kernels.separable_gradients
        given = z, z, after, x, norm, unit, window, "relu", learns
        (backward,) = counted(lambda: call(*given))
        assert backward[:2] == ("units backward", times * products)


def test_sums_and_poolings_count_every_array_once():
    x, y = normal(2, 3, 8, 8, 16), normal(2, 3, 8, 8, 16)
    size, means, sums = x.size, np.zeros((2, 3)), 2 * 3 * 16
    assert counted(lambda: kernels.lane_sums(x, (x, y), means)) == [
        ("lane sums", 3 * size, 4 * 2 * size + 8 * 6 + 8 * 3 * sums)
    ]
    factors, offset = np.ones((2, 2, 3, 16), np.float32), np.ones((2, 3, 16), np.float32)
    small = 8 * 6 + 4 * 6 + 4 * 3 * sums
    for base, added in ((None, 0), (normal(2, 3, 8, 8, 16), 1)):
        call = kernels.weighted_sum
        assert counted(lambda: call(base, (x, y), means, factors, offset)) == [
            ("weighted sums", (2 + added) * size, 4 * (3 + added) * size + small)
        ]
    assert counted(lambda: kernels.pool_lanes(x, True, 3, 2, 1)) == [
        ("poolings", 9 * size // 4, 4 * (size + size // 4))
    ]
    assert counted(lambda: kernels.scale_lanes(x, offset)) == [
        ("other kernels", 0, 4 * (2 * size + sums))
    ]


def every_multiply_add(module, shape):
    return sum(nn.multiply_adds(module, shape).values())


def cropped(network, shape):
    """Multiply-adds of the margin that the second half of a factorised reduction computes and drops."""
    halves, forward = [], FactorizedReduce.forward

    def seen(self, x):
        sizes = (every_multiply_add(conv, x.shape[1:]) for conv in (self.conv2, self.conv1))
        halves.append(next(sizes) - next(sizes))
        return forward(self, x)

    with pytest.MonkeyPatch.context() as patch, nn.evaluating(network), no_grad():
        patch.setattr(FactorizedReduce, "forward", seen)
        network(Tensor(normal(1, *shape)))
    assert halves and min(halves) > 0
    return sum(halves)


@pytest.mark.parametrize("name", steps.NETWORKS)
def test_the_multiply_adds_of_a_step_are_those_of_its_networks(name, monkeypatch):
    searches, make = [], steps._search
    monkeypatch.setattr(
        steps, "_search", lambda scale: searches.append(make(scale)) or searches[-1]
    )
    step = steps.our_step(name, TINY)
    step()
    found = counted(step)
    supernet = searches[0][0].parent.model
    ends = every_multiply_add(supernet.stem, TINY.shape) + supernet.classifier.weight.size
    inside = every_multiply_add(supernet, TINY.shape) - ends
    cells = TINY.batch * (inside - cropped(supernet, TINY.shape))
    passes = {"Parent": 2, "Child": 4}[name]  # with each pass of the Child one of the Parent
    units = {
        k: sum(n for kind, n, _ in found if kind.endswith(f"units {k}"))
        for k in ("forward", "backward")
    }
    assert units["forward"] == passes * cells
    # Twice as many in the step of the weights; in that of α less than once, as the stem needs no gradient.
    assert 2 * cells < units["backward"] < 3 * cells


def test_the_multiply_adds_of_a_packed_network_are_those_of_the_network(network):
    binary, _, packed = network
    found = list(count_plan(Plan(packed.model, packed.shape)))
    kinds = {}
    for kind, operations, moved in found:
        kinds.setdefault(kind, []).append((operations, moved))
    sums = {kind: sum(operations for operations, _ in calls) for kind, calls in kinds.items()}
    expected, classifier = nn.multiply_adds(binary, (3, 32, 32)), binary.classifier.weight
    signs = {"1-bit depthwise", "1-bit 1×1", "1-bit 1×1, to floats"}
    assert sum(sums[kind] for kind in signs) == expected["1-bit"]
    real = expected["real"] - classifier.size - cropped(binary, (3, 32, 32))
    assert sums["real 1×1"] + sums["stem"] == real
    channels = classifier.shape[1]
    assert sums["classifier"] == channels * 8 * 8 + classifier.size
    stem = binary.stem[0].weight
    weights = stem.size + 2 * len(stem)
    assert kinds["stem"][0][1] == 4 * (3 * 34 * 34 + len(stem) * 32 * 32 + weights)
    assert kinds["classifier"][0][1] == 4 * (channels * 64 + classifier.size + 10)
    pixels = 32 * 32  # of 8 channels: floats in, a word of bits a pixel out
    assert kinds["floats to bits"][0] == (8 * pixels, (4 * 8 + 8) * pixels)
    dilated = 8 * (2 * pixels + 2)
    assert kinds["1-bit depthwise"][0][1] > dilated


# Tables ----------------------------------------------------------------------------------------


def assert_adds_up(table):
    *rows, whole = table["rows"]
    assert math.isclose(sum(row["share"] for row in rows), 1) and whole["share"] == 1
    for quantity in ("seconds", "calls", "bytes"):
        assert math.isclose(sum(row[quantity] for row in rows), whole[quantity]), quantity
    assert all(row["seconds"] > 0 for row in rows)
    assert 0 < whole["operations"] < sum(row["operations"] for row in rows)
    assert rows[-1]["name"] == "Python and NumPy" and rows[-1]["calls"] == 0
    seconds = [row["seconds"] for row in rows[:-1]]
    assert seconds == sorted(seconds, reverse=True)


def test_the_roofline_part_measures_writes_and_leaves_nothing(tmp_path):
    before, kept, told = installed(), [], []
    results = cases.run_all(
        True,
        told.append,
        ("roofline",),
        ("digits", "cifar"),
        None,
        lambda r: kept.append(len(r["roofline"]["tables"])),
    )
    assert installed() == before and kept == [1, 2] and len(told) == 3
    assert results["tables"] == results["memory"] == results["growth"] == []
    roofs = results["roofline"]["roofs"]
    assert roofs["floats"] > 1e9 and roofs["signs"] > 1e9
    assert list(roofs["read"]) == list(roofline.SIZES) and min(roofs["read"].values()) > 1e8
    step, network = results["roofline"]["tables"]
    assert [step["part"], network["part"]] == list(PARTS)
    for table in (step, network):
        assert_adds_up(table)
    json.dumps(results, allow_nan=False)
    paths = save_report(results, tmp_path)
    assert [path.name for path in paths[4:]] == ["roofline-steps.png", "roofline-networks.png"]
    text = text_report(results)
    assert step["title"] in text and network["title"] in text
    assert max(map(len, text.splitlines())) <= 110


def test_what_is_typical_is_the_middle_half():
    samples = [
        (seconds, {"a": seconds / 2}) for seconds in (9.0, 1.0, 2.0, 4.0, 3.0, 0.5, 5.0, 90.0)
    ]
    assert roofline._typical(samples) == (3.5, {"a": 1.75})
    assert roofline._typical(samples[:1]) == (9.0, {"a": 4.5})


def row(name, share, operations, moved):
    return {
        "name": name,
        "seconds": 2 * share,
        "share": share,
        "calls": 3 if moved else 0,
        "operations": operations,
        "bytes": moved,
    }


ROOFS = {"floats": 50e9, "signs": 2e12, "read": {"16 KiB": 2e11, "256 KiB": 1e11, "256 MiB": 2e10}}
ROWS = [
    row("units forward", 0.5, 20 * 10**9, 4 * 10**9),
    row("lane sums", 0.25, 10**9, 4 * 10**9),
    row("other kernels", 0.05, 0, 10**9),
    row("Python and NumPy", 0.2, 0, 0),
    row("all", 1.0, 20 * 10**9, 9 * 10**9),
]
MACHINE = {"bnas": "0.1.0", "cpu": "ACME 9000"}


def made_up(*parts):
    tables = [
        {"part": p, "title": f"Table {i}", "note": "", "rows": ROWS} for i, p in enumerate(parts)
    ]
    return {"machine": MACHINE, "roofline": {"roofs": ROOFS, "tables": tables}}


def test_a_table_shows_rates_and_the_share_of_the_peak():
    head, text = roofline_sections(made_up("steps")["roofline"])
    assert "50.0 G multiply-adds of float32 a second, 2000 G products of signs" in head
    assert "16 KiB 200 GB/s, 256 KiB 100 GB/s" in " ".join(head.split())
    assert (
        text
        == """\
Table 0
=======
                                                 M                        of float
                    ms    share  calls  operations    MB  per byte   G/s      peak  GB/s
----------------  ----  -------  -----  ----------  ----  --------  ----  --------  ----
units forward     1000   50.0 %      3       20000  4000      5.00  20.0    40.0 %  4.00
lane sums          500   25.0 %      3        1000  4000     0.250  2.00     4.0 %  8.00
other kernels      100    5.0 %      3           -  1000         -     -         -  10.0
Python and NumPy   400   20.0 %      -           -     -         -     -         -     -
all               2000  100.0 %      3       20000  9000      2.22  10.0    20.0 %  4.50"""
    )
    assert roofline_sections({}) == []


@pytest.mark.parametrize("part", PARTS)
def test_the_figure_has_a_point_for_each_kind_below_its_roofs(part):
    figure = roofline_figure(made_up(part, part, part), part)
    renderer = draw(figure)
    first, *_, empty = figure.axes
    assert len(figure.axes) == 4 and not empty.axison
    lines = [line.get_xydata().tolist() for line in first.get_lines()]
    points = [line[0] for line in lines if len(line) == 1]
    assert points == [[5, 20], [0.25, 2], [20 / 9, 10]]
    right, floats, signs = first.get_xlim()[1], 50, 2000
    top = floats if part == "steps" else signs
    peaks = [line[0][1] for line in lines if len(line) == 2 and line[0][1] == line[1][1]]
    assert peaks == ([floats] if part == "steps" else [floats, signs]) and top < first.get_ylim()[1]
    slopes = [
        end[1] / end[0]
        for start, end in (line for line in lines if len(line) == 2)
        if end[0] < right
    ]
    np.testing.assert_allclose(slopes, [200, 100, 20])
    legend = first.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "units forward, 50 %",
        "lane sums, 25 %",
        "other kernels, 5 %",
        "Python and NumPy, 20 %",
        "all, at 20 % of the float32 peak",
    ]
    frame = legend.get_window_extent(renderer)
    assert not any(frame.contains(*first.transData.transform(point)) for point in points)
    for text in first.texts:
        box = text.get_window_extent(renderer)
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text
        assert not box.overlaps(frame), text
