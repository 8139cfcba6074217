"""The harness of `bnas bench`, with made-up clocks and figures: nothing here depends on speed."""

import gc
import json
import os
import struct
import sys
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from helpers.processes import run_python
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from bnas.bench import (
    cases,
    growth,
    machine,
    machine_record,
    race,
    races,
    save_report,
    save_results,
    steps,
    text_report,
    threads,
)
from bnas.bench.costs import growth_figure
from bnas.bench.memory import peak_of_call
from bnas.bench.report import ratio_figure, ratios
from bnas.config import BENCH_SCALES
from bnas.errors import InputError

pytestmark = pytest.mark.slow

# Timing ----------------------------------------------------------------------------------------


class Clock:
    """A clock that moves only when a contender works; remembers who worked between two readings."""

    def __init__(self):
        self.now = 0.0
        self.measurements = []  # a list of names for each pair of readings
        self._running = False

    def __call__(self):
        self._running = not self._running
        if self._running:
            self.measurements.append([])
        return self.now

    def contender(self, name, *durations):
        """A function that takes so long, call after call; the last duration goes on for ever."""
        left = list(durations)

        def work():
            assert self._running
            self.measurements[-1].append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return work


def test_a_race_may_wait_before_each_measurement(monkeypatch):
    clock, slept = Clock(), []

    def sleep(seconds):
        slept.append(seconds)
        clock.now += seconds

    monkeypatch.setattr("time.sleep", sleep)
    timings = race({n: clock.contender(n, 1.0) for n in "ab"}, repeats=3, clock=clock, settle=7)
    assert slept == [7] * 6
    assert timings["a"].seconds == timings["b"].seconds == 1.0


def test_a_race_alternates_and_rotates():
    clock = Clock()
    timings = race({n: clock.contender(n, 1.0) for n in "abc"}, repeats=5, clock=clock)
    assert list(timings) == ["a", "b", "c"]
    assert clock.measurements[-15:] == [[n] for n in "abcbcacababcbca"]


def test_a_timing_is_the_median_and_the_quartiles():
    clock = Clock()
    contenders = {
        "steady": clock.contender("steady", 2.0),
        "shaky": clock.contender("shaky", 1.0, 1.0, 1.0, 50.0, 1.0, 3.0, 2.0, 4.0),
    }
    timings = race(contenders, repeats=5, clock=clock)
    assert timings["steady"] == (2.0, 2.0, 2.0, 5)
    assert timings["shaky"]._asdict() == {"seconds": 3.0, "low": 2.0, "high": 4.0, "repeats": 5}


@pytest.mark.parametrize("duration", [1 / 1024, 2.0**-20, 0.25])
def test_a_measurement_lasts_as_long_as_asked_for(duration):
    clock = Clock()
    timings = race({"a": clock.contender("a", duration)}, repeats=3, least=0.01, clock=clock)
    assert timings["a"].seconds == duration
    for calls in clock.measurements[-3:]:
        assert 0.01 <= len(calls) * duration <= max(0.02, duration)


def test_a_contender_is_warm_before_it_counts():
    clock = Clock()
    compiled_in_steps = clock.contender("a", 100.0, 40.0, 15.0, 1.0)
    assert race({"a": compiled_in_steps}, repeats=2, least=5, clock=clock)["a"].seconds == 1.0
    assert all(len(calls) >= 5 for calls in clock.measurements[-2:])


def test_a_clock_that_stands_still_is_outrun():
    """The first calls are too short for a coarse clock to see at all."""
    clock = Clock()
    coarse = SimpleNamespace(read=lambda: np.floor(clock() / 0.5) * 0.5)
    seconds = race({"a": clock.contender("a", 0.125)}, least=1, clock=coarse.read)["a"].seconds
    assert 0.06 < seconds < 0.25


@pytest.mark.parametrize("repeats", [1, 3, 7])
def test_a_long_function_is_not_called_only_to_warm_up(repeats):
    """Of a search step that takes a minute, every call is either the first one or a measurement."""
    clock = Clock()
    contenders = {
        "long": clock.contender("long", 61.0, 60.0, 20.0),
        "longer": clock.contender("longer", 90.0),
        "short": clock.contender("short", 1.0),
    }
    timings = race(contenders, repeats, clock=clock)
    called = sum(clock.measurements, [])
    assert called.count("long") == called.count("longer") == repeats + 1
    assert timings["long"].seconds == (
        60.0 if repeats == 1 else 20.0
    )  # the first call counts nowhere
    assert [timing.repeats for timing in timings.values()] == [repeats] * 3


def test_the_collector_of_cycles_rests_while_the_clock_runs():
    seen = []
    race({"a": lambda: seen.append(gc.isenabled())}, repeats=2, least=0)
    assert seen and not any(seen) and gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        race({"a": lambda: 1 / 0})
    assert gc.isenabled()


def test_a_race_needs_a_repetition():
    with pytest.raises(InputError, match="at least 1 repetition, not 0"):
        race({"a": int}, repeats=0)


@pytest.fixture
def pools(monkeypatch):
    """The thread counts of made-up Numba, PyTorch and BLAS, of which there are 8."""
    counts = {"numba": 8, "torch": 7, "blas": 6}

    def pool(name):
        return {
            "get_num_threads": lambda: counts[name],
            "set_num_threads": lambda n: counts.update({name: n}),
        }

    class Limits:
        def __init__(self, limits, user_api):
            self.before = counts[user_api]
            counts[user_api] = limits

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            counts["blas"] = self.before

    for name, function in pool("numba").items():
        monkeypatch.setattr(numba, name, function)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 8)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(**pool("torch")))
    monkeypatch.setitem(sys.modules, "threadpoolctl", SimpleNamespace(threadpool_limits=Limits))
    return counts


def test_threads_are_set_together_and_restored(pools):
    before = dict(pools)
    with threads(3):
        assert pools == {"numba": 3, "torch": 3, "blas": 3}
        with threads(1):
            assert pools == {"numba": 1, "torch": 1, "blas": 1}
        assert pools == {"numba": 3, "torch": 3, "blas": 3}
    assert pools == before


def test_threads_are_restored_after_an_exception(pools):
    before = dict(pools)
    with pytest.raises(ZeroDivisionError), threads(2):
        1 / 0
    assert pools == before


def test_threads_do_without_threadpoolctl_and_torch(pools, monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.delitem(sys.modules, "torch")
    with threads(2):
        assert pools == {"numba": 2, "torch": 7, "blas": 6}
    assert pools == {"numba": 8, "torch": 7, "blas": 6}


@pytest.mark.parametrize("count", [0, 9])
def test_threads_that_there_are_not(pools, count):
    before = dict(pools)
    with pytest.raises(InputError, match=f"{count} threads: this process has 1 to 8"):
        with threads(count):
            pass
    assert pools == before


def test_a_contender_runs_on_its_own_threads_which_are_set_off_the_clock(pools, monkeypatch):
    clock = Clock()
    seen = {"one": set(), "all": set()}
    work = {name: clock.contender(name, 1.0) for name in seen}
    set_quickly = numba.set_num_threads

    def set_slowly(count):
        clock.now += 1000.0
        set_quickly(count)

    def contender(name):
        return lambda: (seen[name].add(tuple(pools.values())), work[name]())

    monkeypatch.setattr(numba, "set_num_threads", set_slowly)
    timings = race({n: contender(n) for n in seen}, threads_of={"one": 1}, clock=clock)
    assert seen == {"one": {(1, 1, 1)}, "all": {(8, 7, 6)}}
    assert timings["one"].seconds == timings["all"].seconds == 1.0


def test_real_threads_and_no_torch():
    """In a process of its own: Numba's own counts move, and nothing of ours imports torch."""
    code = (
        "import sys, numba\n"
        "from bnas.bench import machine_record, race, threads\n"
        "machine_record()\n"
        "print(numba.get_num_threads())\n"
        "with threads(1): print(numba.get_num_threads())\n"
        "print(numba.get_num_threads(), 'torch' in sys.modules)\n"
    )
    done = run_python("-c", code, variables={"NUMBA_NUM_THREADS": "2"})
    assert done.stdout.split() == ["2", "1", "2", "False"], done.stderr


# The machine -----------------------------------------------------------------------------------

KEYS = {
    "date",
    "cpu",
    "architecture",
    "features",
    "cores",
    "load",
    "system",
    "python",
    "bnas",
    "versions",
    "blas",
    "numba_threads",
    "thread_variables",
}


def test_the_record_is_complete_without_cpuinfo(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        record = machine_record(cpuinfo=path)
        assert set(record) == KEYS
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        assert record["versions"]["numpy"] == np.__version__
        assert record["cores"] >= 1 and record["date"].endswith("+00:00")


def test_the_processor_is_named_by_cpuinfo(tmp_path):
    (tmp_path / "cpuinfo").write_bytes(
        b"model\t\t: 2\nmodel name\t: ACME \xff9000 @ 1:2 GHz\n\nmodel name\t: other\n"
    )
    assert machine_record(tmp_path / "cpuinfo")["cpu"] == "ACME \ufffd9000 @ 1:2 GHz"


def test_the_record_says_none_where_a_system_cannot_tell(monkeypatch):
    def refuse():
        raise OSError

    monkeypatch.setattr(os, "getloadavg", refuse)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "no-such-package"))
    record = machine_record()
    assert record["load"] is None and record["cores"] == os.cpu_count()
    assert record["versions"] == {"numpy": np.__version__, "no-such-package": None}


# The report ------------------------------------------------------------------------------------


def figure(seconds, spread=0.02):
    return {
        "seconds": seconds,
        "low": seconds * (1 - spread),
        "high": seconds * (1 + spread),
        "repeats": 7,
    }


def row(name, work=None, spread=0.02, **seconds):
    return {
        "name": name,
        "work": work,
        "figures": {label: figure(value, spread) for label, value in seconds.items()},
    }


def table(*rows, peers=("PyTorch", "NumPy"), unit=None, note="", title="Convolution"):
    return {
        "title": title,
        "unit": unit,
        "note": note,
        "rows": list(rows),
        "ours": ["bnas"],
        "peers": list(peers),
    }


def results_of(*tables, peak=None, memory=(), growth=(), **changes):
    versions = {"numpy": "2.4.6", "threadpoolctl": "3.6.0", "torch": "2.13.0"}
    record = {
        "date": "2030-01-02T03:04:05+00:00",
        "cpu": "ACME 9000",
        "architecture": "acme",
        "features": ["popcnt", "avx2"],
        "cores": 2,
        "load": 0.1,
        "system": "Linux",
        "python": "3.12.1",
        "bnas": "0.1.0",
        "versions": versions,
        "blas": "openblas 0.3",
        "numba_threads": 2,
        "thread_variables": {},
    }
    return {
        "machine": {**record, **changes},
        "peak": peak or {},
        "tables": list(tables),
        "memory": list(memory),
        "roofline": {},
        "growth": list(growth),
    }


MIXED = (
    row("3x3", bnas=2e-3, PyTorch=8e-3, NumPy=1e-3, naive=1.0),
    row("5x5", bnas=1e-3, PyTorch=1e-3, naive=0.5),
)


def test_a_table_shows_times_spread_ratio_and_geometric_mean():
    text = text_report(results_of(table(*MIXED, note="A note.")))
    expected = """\
Convolution
===========
A note.
                                 PyTorch
ms                         bnas   / bnas    PyTorch      NumPy      naive
--------------------  ---------  -------  ---------  ---------  ---------
3x3                   2.00 ± 2%     4.00  8.00 ± 2%  1.00 ± 2%  1000 ± 2%
5x5                   1.00 ± 2%     1.00  1.00 ± 2%          -   500 ± 2%
geometric mean ratio               2.00x      2.00x      0.50x
"""
    assert expected in text
    for part in ("ACME 9000", "popcnt avx2", "numpy 2.4.6", "medians of 7 alternating"):
        assert part in text


def test_where_we_lose_lists_every_peer_that_is_faster_the_worst_first():
    text = text_report(
        results_of(
            table(*MIXED),
            table(row("tiny", bnas=8e-6, PyTorch=4e-7), title="Pooling"),
        )
    )
    expected = """\
Where we lose: 2 of 4 comparisons
=================================
Pooling, tiny: PyTorch is 20.00 times as fast as bnas (0.400 us, ours 8.00 us)
Convolution, 3x3: NumPy is 2.00 times as fast as bnas (1.00 ms, ours 2.00 ms)"""
    assert text.endswith(expected)


def test_a_loss_that_may_be_chance_is_called_so():
    for spread, doubtful in ((0.1, True), (0.01, False)):
        text = text_report(results_of(table(row("a", spread=spread, bnas=1.05, PyTorch=1.0))))
        assert "Where we lose: 1 of 1 comparisons" in text
        assert ("; within the spread)" in text) == doubtful


def test_a_run_without_losses_says_so():
    text = text_report(results_of(table(row("a", bnas=1.0, PyTorch=1.0, NumPy=2.0))))
    assert text.endswith("Where we lose: 0 of 2 comparisons\n" + 33 * "=" + "\nnowhere in this run")


def test_a_table_without_peers_has_no_ratio():
    text = text_report(results_of(table(row("a", bnas=1.0, naive=2.0))))
    assert "geometric mean" not in text and "/ bnas" not in text
    assert "1.00 ± 2%" in text and "2.00 ± 2%" in text
    assert text.endswith("nothing to compare with in this run")


def test_without_pytorch_the_report_says_so_and_compares_with_the_next_peer():
    rows = [row("a", bnas=1.0, NumPy=3.0)]
    versions = {"threadpoolctl": "3.6.0", "torch": None}
    text = text_report(results_of(table(*rows), versions=versions))
    assert "PyTorch is not installed: its columns are missing" in text
    assert "pip install torch" in text
    assert "a                     1.00 ± 2%     3.00  3.00 ± 2%\n" in text
    assert "geometric mean ratio               3.00x      3.00x\n" in text
    assert "PyTorch is not installed" not in text_report(results_of(table(*rows)))


def test_an_uncontrolled_blas_and_a_busy_machine_are_told():
    versions = {"threadpoolctl": None, "torch": "2"}
    for variables, said in (({}, "as many threads"), ({"OPENBLAS_NUM_THREADS": "5"}, "THREADS=5")):
        text = text_report(results_of(versions=versions, thread_variables=variables))
        assert "threadpoolctl is not installed" in text and said in text
    assert "threadpoolctl is not" not in text_report(results_of())
    for load, busy in ((1.1, True), (1.0, False), (None, False)):
        assert ("WARNING: the machine was busy" in text_report(results_of(load=load))) == busy


def test_the_share_of_the_measured_peak():
    peak = {"name": "popcount", "unit": "words/s", "rates": {"bnas": 4e9}}
    rows = [row("a", work=4_000_000, bnas=2e-3), row("b", bnas=1e-3)]
    text = text_report(results_of(table(*rows), peak=peak))
    assert "Peak measured in this run, popcount: bnas: 4 Gwords/s" in text
    assert [line.split()[-2:] for line in text.splitlines() if line[:3] in ("a  ", "b  ")] == [
        ["50", "%"],
        ["2%", "-"],
    ]
    assert "of peak" not in text_report(results_of(table(*rows)))


@pytest.mark.parametrize(
    "seconds, unit, shown",
    [(2.5, None, "2.50"), (2.5e-3, None, "2.50"), (2.5e-7, None, "0.250"), (0.5, "us", "500000")],
)
def test_the_unit_is_chosen_for_the_table(seconds, unit, shown):
    text = text_report(results_of(table(row("a", bnas=seconds), unit=unit)))
    expected = unit or {2.5: "s", 2.5e-3: "ms", 2.5e-7: "us"}[seconds]
    assert [line.split()[0] for line in text.splitlines() if line.endswith("bnas")] == [expected]
    assert f"{shown} ± 2%" in text


def test_a_wide_report_stays_within_the_terminal():
    labels = ["bnas", *(f"PyTorch on kind number {k}" for k in range(14))]
    seconds = {label: 1.0 + k for k, label in enumerate(labels)}
    rows = [row(f"a convolution with a long name, {k}", **seconds) for k in range(3)]
    text = text_report(results_of(table(*rows, peers=labels[1:], note="Many words. " * 20)))
    assert max(map(len, text.splitlines())) <= 110
    cells = [c for c in text.replace("± ", "±").split() if c.startswith("±")]
    assert len(cells) == 3 * 15 + 1  # and once where it is explained


BETTER = {"better": "better torch", "ours": ["bnas"], "peers": ["torch f32", "torch f32 last"]}


def test_two_formats_of_a_peer_are_compared_by_the_better_one_row_by_row():
    rows = [
        row("a", **{"bnas": 1.0, "torch f32": 8.0, "torch f32 last": 4.0}),
        row("b", **{"bnas": 1.0, "torch f32": 1.0, "torch f32 last": 2.0}),
        row("c", **{"bnas": 1.0, "torch f32": 16.0}),
        row("d", **{"bnas": 1.0}),
    ]
    results = results_of({**table(*rows), **BETTER})
    lines = [line.split() for line in text_report(results).splitlines()]
    shown = {line[0]: line for line in lines if line and line[0] in "abcd"}
    assert [shown[name][4] for name in "abcd"] == ["4.00", "1.00", "16.00", "-"]
    assert "geometric mean ratio" in text_report(results) and " 4.00x " in text_report(results)
    assert "better torch, geometric mean 4.00x" in ratio_figure(results).axes[0].get_title(
        loc="left"
    )
    assert "bnas" not in str(
        ratio_figure(results_of({**table(rows[3]), **BETTER})).axes[0].get_title()
    )


def test_memory_is_shown_in_mebibytes_with_the_ratio_to_the_smaller_format():
    rows = [
        {
            "name": "digits, Parent",
            "bytes": {"bnas": 2**20, "torch f32": 4 * 2**20, "torch f32 last": 2**21},
        },
        {
            "name": "cifar, Parent",
            "bytes": {"bnas": 2**21, "torch f32": 2**24, "torch f32 last": 2**26},
        },
    ]
    memory = {"title": "Peak memory", "note": "", "unit": None, "rows": rows, **BETTER}
    text = text_report(results_of(memory=[memory]))
    lines = text[text.index("Peak memory") :].splitlines()
    numbers = [line.split()[-4:] for line in lines if line.startswith(("digits", "cifar"))]
    assert numbers == [["1.00", "2.00", "4.00", "2.00"], ["2.00", "8.00", "16.0", "64.0"]]
    assert "geometric mean ratio" in text and "4.00x" in text
    alone = [{"name": "digits, Parent", "bytes": {"bnas": 2**20}}]  # without PyTorch
    assert "better" not in text_report(results_of(memory=[{**memory, "rows": alone}]))


# Files and figure ------------------------------------------------------------------------------


def png_size(data):
    assert data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", data[16:24])


def test_a_report_is_saved_as_json_text_and_figure(tmp_path):
    results = results_of(table(*MIXED), table(*MIXED[:1], title="Pooling"))
    paths = save_report(results, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["bench.json", "bench.txt", "bench.png", "growth.png"]
    assert sorted(paths) == sorted((tmp_path / "new" / "folder").iterdir())
    assert json.loads(paths[0].read_text()) == results
    assert paths[1].read_text(encoding="utf-8") == text_report(results) + "\n"
    for path in paths[2:]:
        width, height = png_size(path.read_bytes())
        assert 800 <= width <= 1800 and 300 <= height <= 1600


def test_what_is_no_json_leaves_the_previous_report(tmp_path):
    good, bad = results_of(table(*MIXED)), results_of(table(*MIXED), load=float("nan"))
    before = [path.read_bytes() for path in save_report(good, tmp_path)]
    with pytest.raises(ValueError):
        save_report(bad, tmp_path)
    names = ("bench.json", "bench.txt", "bench.png", "growth.png")
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_a_report_needs_a_folder_it_can_make(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        save_report(results_of(table(*MIXED)), tmp_path / "file")


def bars(ax):
    """Where the bars begin and end: (row, from, to)."""
    return [
        (round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_x() + bar.get_width())
        for container in ax.containers
        for bar in container
    ]


def test_the_figure_draws_the_ratio_to_the_main_peer():
    lost = row("lost", spread=0.1, bnas=4.0, PyTorch=1.0, NumPy=9.0)
    missing = row("missing", bnas=1.0, NumPy=2.0)
    drawn = ratio_figure(
        results_of(
            table(*MIXED, lost, missing),
            table(row("nobody", bnas=1.0)),  # nothing to compare, so no panel
            table(row("a", bnas=1.0, NumPy=300.0), title="Pooling"),
        )
    )
    first, second = drawn.axes
    np.testing.assert_allclose(bars(first), [(0, 1, 4), (1, 1, 1), (2, 1, 0.25)])
    np.testing.assert_allclose(bars(second), [(0, 1, 300)])
    hatches = [bool(bar.get_hatch()) for container in first.containers for bar in container]
    assert hatches == [False, False, True]  # told apart without colours
    whiskers = [line for line in first.get_lines() if line.get_marker() == "|"]
    np.testing.assert_allclose(whiskers[2].get_xdata(), [0.25 * 0.9 / 1.1, 0.25 * 1.1 / 0.9])
    assert [text.get_text() for text in first.texts] == ["4.00", "1.00", "0.25", "  not measured"]
    names = [label.get_text() for label in first.get_yticklabels()]
    assert names == ["3x3", "5x5", "lost", "missing"]
    assert first.get_title(loc="left") == (
        "Convolution: bnas against PyTorch, geometric mean 1.00x"  # of 4, 1 and 1/4
    )
    assert first.get_xscale() == second.get_xscale() == "log"
    assert first.get_xlim() == second.get_xlim()


@pytest.mark.parametrize("ratios", [(1.0,), (1.01, 0.99), (0.001, 5.0), (3.0, 40000.0), (0.2, 0.1)])
def test_everything_in_the_figure_fits(ratios):
    rows = [row(f"1-bit, 256 channels, {k}", bnas=1.0, PyTorch=r) for k, r in enumerate(ratios)]
    drawn = ratio_figure(results_of(table(*rows)))
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    (ax,) = drawn.axes
    low, high = ax.get_xlim()
    ticks = [label for label in ax.get_xticklabels() if label.get_text()]
    assert low < 1 < high and 1 <= len(ticks) <= 12 and "1" in [t.get_text() for t in ticks]
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in ticks]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))
    texts = [text for text in drawn.findobj(Text) if text.get_text() and text.get_visible()]
    assert len(texts) > 6
    for text in texts:
        box = text.get_window_extent(canvas.get_renderer())
        assert drawn.bbox.x0 <= box.x0 and box.x1 <= drawn.bbox.x1, text
    for text in ax.texts:
        assert ax.get_window_extent().x0 <= text.get_window_extent(canvas.get_renderer()).x0


def test_a_figure_without_peers_says_so():
    (ax,) = ratio_figure(results_of(table(row("a", bnas=1.0)))).axes
    assert [text.get_text() for text in ax.texts] == ["nothing to compare with in this run"]


# Search steps ----------------------------------------------------------------------------------


def test_the_three_scales_are_those_that_were_asked_for():
    sizes = {n: (s.shape, s.channels, s.layers, s.batch) for n, s in steps.SCALES.items()}
    assert sizes == {
        "digits": ((1, 8, 8), 8, 4, 64),
        "cifar": ((3, 32, 32), 8, 5, 64),
        "darts": ((3, 32, 32), 16, 8, 64),
    }
    repeats = {name: scale.repeats for name, scale in steps.SCALES.items()}
    assert repeats["digits"] >= 7 and repeats["cifar"] >= 7 and repeats["darts"] >= 3
    assert tuple(steps.SCALES) == BENCH_SCALES


TINY = steps.Scale((3, 8, 8), channels=4, layers=3, batch=4, repeats=1, nodes=1)


@pytest.mark.parametrize("network", steps.NETWORKS)
def test_our_step_has_the_size_of_its_scale_and_moves_alpha_and_weights(network, monkeypatch):
    searches, make = [], steps._search

    def watched(scale):
        searches.append(make(scale))
        return searches[-1]

    monkeypatch.setattr(steps, "_search", watched)
    step = steps.our_step(network, TINY)
    ((search, train, validation),) = searches
    supernet = search.parent if network == "Parent" else search.child
    before = {name: array.copy() for name, array in supernet.state_dict().items()}
    step()
    after = supernet.state_dict()
    for name in ("alpha", "stem.0.weight", "classifier.weight"):
        assert not np.array_equal(before[name], after[name]), name
    for images, labels in (train, validation):
        assert images.shape == (4, 3, 8, 8) and labels.shape == (4,)
    assert not np.array_equal(train[0], validation[0])
    assert len(supernet.cells) == 3 and search.config.channels == 4


def test_both_sides_start_from_the_same_weights_and_batches(monkeypatch):
    torch_reference = pytest.importorskip("bnas.bench.torch_reference")
    seen = []

    class Peer:
        def __init__(self, search, memory_format):
            seen.append((memory_format, search.child.state_dict()))

        def child_step(self, train, validation):
            seen.append((train, validation))

    monkeypatch.setattr(torch_reference, "TorchSearch", Peer)
    made = steps.makers("Child", TINY, 2, torch=True)
    assert list(made) == ["bnas 2t", *steps.FORMATS]
    assert list(steps.makers("Child", TINY, 2, torch=False)) == ["bnas 2t"]
    for label in steps.FORMATS:
        made[label]()()
    (nchw, weights), batches, (last, again), batches_again = seen
    assert [str(f) for f in (nchw, last)] == ["torch.contiguous_format", "torch.channels_last"]
    search, *own = steps._search(TINY)
    for name, array in search.child.state_dict().items():
        np.testing.assert_array_equal(weights[name], array)
        np.testing.assert_array_equal(again[name], array)
    for theirs in (batches, batches_again):
        for ours, batch in zip(own, theirs):
            np.testing.assert_array_equal(ours[0], batch[0])
            np.testing.assert_array_equal(ours[1], batch[1])


@pytest.fixture
def no_race(monkeypatch):
    """Races of steps that are only noted down: (network, scale, threads, repeats)."""
    seen = []
    monkeypatch.setattr(steps, "makers", lambda *scale: {"bnas 2t": lambda: scale})

    def fake(contenders, repeats, threads_of, settle):
        (step,) = contenders.values()
        network, scale, count, _ = step
        seen.append((network, scale, count, repeats))
        return {label: races_timing(1.0 + scale.batch) for label in contenders}

    def races_timing(seconds):
        return SimpleNamespace(_asdict=lambda: figure(seconds))

    monkeypatch.setattr(races, "race", fake)
    monkeypatch.setattr(steps, "peak_of_call", lambda make, count: 2**20)
    return seen


def test_jax_races_in_a_process_of_its_own_that_ends_and_its_compilation_is_only_told(monkeypatch):
    closed = []

    class Step:
        def __init__(self, network, scale, threads):
            self.network, self.compilation = network, {"Parent": 150.4, "Child": 240.0}[network]

        def close(self):
            closed.append(self.network)

    def fake(contenders, repeats, threads_of, settle):
        assert not closed or closed == ["Parent"]
        seconds = {"bnas 2t": 1.0, "jax": 3.0}
        return {
            name: SimpleNamespace(_asdict=lambda n=name: figure(seconds[n])) for name in contenders
        }

    monkeypatch.setattr(races, "race", fake)
    monkeypatch.setattr(steps, "JaxStep", Step)
    monkeypatch.setattr(steps, "our_step", lambda network, scale: None)
    made = steps.step_table("digits", 2, False, True, jax=True)
    assert [list(row["figures"]) for row in made["rows"]] == [["bnas 2t", "jax"]] * 2
    assert made["peers"][-1] == "jax" and made["better"] == "fastest peer"
    assert "JAX compiled for 150 and 240 seconds" in made["note"]
    assert closed == ["Parent", "Child"]
    assert [r.value for r in ratios(made, made["better"])] == [3.0, 3.0]


def test_the_race_of_a_scale_has_its_repeats_unless_told_otherwise(no_race):
    made = steps.step_table("darts", 2, False, False)
    assert made["title"] == "Search step, darts scale, 2 threads" and made["better"]
    assert [r["name"] for r in made["rows"]] == ["Parent", "Child"]
    steps.step_table("darts", 1, False, False, repeats=7)
    steps.step_table("darts", 1, False, True, repeats=7)
    scale = steps.SCALES["darts"]
    assert [(network, count, repeats) for network, _, count, repeats in no_race] == [
        ("Parent", 2, 3),
        ("Child", 2, 3),
        ("Parent", 1, 7),
        ("Child", 1, 7),
        ("Parent", 1, races.QUICK_REPEATS),
        ("Child", 1, races.QUICK_REPEATS),
    ]
    assert all(seen[1]._replace(repeats=3) == scale for seen in no_race[:4])
    assert no_race[4][1].batch < 8


def test_only_the_parts_and_scales_that_were_asked_for_are_measured(no_race):
    told = []
    results = cases.run_all(
        False, told.append, only=("steps", "memory"), scales=("cifar", "digits"), repeats=1
    )
    assert results["peak"] == {} and results["growth"] == []
    names = [made["title"].split(",")[1] for made in results["tables"]]
    counts = len({1, numba.get_num_threads()})
    assert names == [" cifar scale", " digits scale"] * counts
    (memory,) = results["memory"]
    assert [r["name"] for r in memory["rows"]] == [
        f"{scale}, {network}{images}"
        for scale in ("cifar", "digits")
        for network in ("Parent", "Child")
        for images in ("", ", 2 images")
    ]
    assert len(told) == len(names) + 1


def test_what_was_measured_is_kept_when_the_rest_is_not(no_race, monkeypatch, tmp_path):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "memory_table", stopped)

    def keep(results):
        save_results(results, tmp_path)

    with pytest.raises(KeyboardInterrupt):
        cases.run_all(False, print, ("steps", "memory"), ("digits",), 1, keep)
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert len(kept["tables"]) == len({1, numba.get_num_threads()}) and kept["memory"] == []


ALLOCATED = 200 * 2**20


def allocating():
    """Set-up that takes 100 MiB for a while, and a call that takes ALLOCATED bytes."""
    np.ones(100 * 2**20, np.uint8)
    return lambda: np.ones(ALLOCATED, np.uint8)


def test_a_peak_is_that_of_the_call_alone_whatever_the_parent_holds():
    held = np.ones(2 * ALLOCATED, np.uint8)  # Linux hands its size down as the child's ru_maxrss
    found = peak_of_call(allocating, 1)
    assert ALLOCATED - 101 * 2**20 <= found <= ALLOCATED - 50 * 2**20, held.size


# Growth ----------------------------------------------------------------------------------------


def test_growth_varies_one_quantity_at_a_time_and_measures_each_scale_once(no_race):
    told = []
    tables = growth.growth_tables(2, False, False, told.append)
    assert [made["title"] for made in tables] == [
        f"Growth with {quantity}, 2 threads"
        for quantity in ("channels", "layers", "batch", "image size")
    ]
    values = [[r["value"] for r in made["rows"] if r["network"] == "Child"] for made in tables]
    assert values == [[4, 8, 16, 32], [3, 5, 8], [16, 32, 64, 128], [8, 16, 32]]
    assert [r["name"] for r in tables[1]["rows"][:3]] == ["3, Parent", "3, Child", "5, Parent"]
    for made in tables:
        for r in made["rows"]:
            batch = r["value"] if made["quantity"] == "batch" else growth.BASE.batch
            assert r["figures"]["bnas 2t"]["seconds"] == 1.0 + batch
            assert r["bytes"] == {"bnas 2t": 2**20}
    scales = [scale for network, scale, *_ in no_race if network == "Parent"]
    assert len(scales) == len(set(scales)) == len(told) == 11  # four lines through one base
    assert {s.shape for s in scales} == {(3, 8, 8), (3, 16, 16), (3, 32, 32)}
    for scale in scales:
        assert sum(a != b for a, b in zip(scale, growth.BASE)) <= 1
    json.dumps(tables, allow_nan=False)


def grown(quantity, values, labels=("bnas", "torch f32", "torch f32 last")):
    """A table in which PyTorch takes 4 times as long in its better format, and twice the bytes."""
    rows = [
        {
            "name": f"{value}, {network}",
            "value": value,
            "network": network,
            "work": None,
            "figures": {n: figure(value * k * s) for n, s in zip(labels, (1, 4, 5))},
            "bytes": {n: value * k * s * 2**20 for n, s in zip(labels, (1, 3, 2))},
        }
        for value in values
        for network, k in (("Parent", 1), ("Child", 2))
    ]
    return {
        "title": f"Growth with {quantity}",
        "note": "",
        "unit": None,
        "quantity": quantity,
        "rows": rows,
        **BETTER,
    }


def test_growth_is_shown_beside_the_better_format_of_each_kind():
    text = text_report(results_of(growth=[grown("channels", (4, 8))]))
    lines = [line.split() for line in text.splitlines() if line.startswith(("4, ", "8, "))]
    assert lines[1] == ["4,", "Child", "8.00", "32.0", "4.00", "8.00", "16.0", "2.00"]
    assert len(lines) == 4 and "medians of 7 alternating" in text
    alone = text_report(results_of(growth=[grown("channels", (4, 8), ("bnas",))]))
    assert "better" not in alone and "8, Parent" in alone


def test_the_figure_of_growth_draws_seconds_and_bytes_of_both_sides():
    tables = [grown(q, v) for q, v in {"channels": (4, 8, 16), "image size": (8, 16)}.items()]
    drawn = growth_figure(results_of(growth=tables))
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    assert len(drawn.axes) == 4
    seconds, bytes_ = drawn.axes[0], drawn.axes[2]
    for ax, factor in ((seconds, 4), (bytes_, 2)):
        assert ax.get_xscale() == ax.get_yscale() == "log"
        lines = [line.get_xydata().tolist() for line in ax.get_lines()]
        for line, times in zip(lines, (1, factor, 2, 2 * factor)):
            assert line == [[x, x * times] for x in (4, 8, 16)]
        assert ax.get_xticks().tolist() == [4, 8, 16]
        assert len([t for t in ax.get_yticks() if ax.get_ylim()[0] <= t <= ax.get_ylim()[1]]) >= 3
    assert seconds.get_ylabel() == "seconds a step" and "MiB" in bytes_.get_ylabel()
    assert [drawn.axes[k].get_xlabel() for k in (2, 3)] == [
        "channels",
        "image size (pixels a side)",
    ]
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "bnas, Parent",
        "bnas, Child",
        "better torch, Parent",
        "better torch, Child",
    ]
    for text in drawn.findobj(Text):
        if text.get_text() and text.get_visible():
            box = text.get_window_extent(canvas.get_renderer())
            assert drawn.bbox.x0 <= box.x0 and box.x1 <= drawn.bbox.x1, text


def test_a_figure_of_growth_without_peers_or_without_growth():
    (ax, *_) = growth_figure(results_of(growth=[grown("layers", (3, 5), ("bnas",))])).axes
    assert len(ax.get_lines()) == 2
    (_, said) = growth_figure(results_of()).texts
    assert said.get_text() == "growth was not measured in this run"
