"""The harness of `bnas bench`, with made-up clocks and figures: nothing here depends on speed."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from bnas.bench import machine, machine_record, race, save_report, text_report, threads
from bnas.bench.report import ratio_figure
from bnas.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


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
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["2", "1", "2", "False"], done.stderr


# The machine -----------------------------------------------------------------------------------

KEYS = {
    "date", "cpu", "architecture", "features", "cores", "load", "system", "python", "bnas",
    "versions", "blas", "numba_threads", "thread_variables",
}  # fmt: skip


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
        "title": title, "unit": unit, "note": note, "rows": list(rows),
        "ours": ["bnas"], "peers": list(peers),
    }  # fmt: skip


def results_of(*tables, peak=None, **changes):
    versions = {"numpy": "2.4.6", "threadpoolctl": "3.6.0", "torch": "2.13.0"}
    record = {
        "date": "2030-01-02T03:04:05+00:00", "cpu": "ACME 9000", "architecture": "acme",
        "features": ["popcnt", "avx2"], "cores": 2, "load": 0.1, "system": "Linux",
        "python": "3.12.1", "bnas": "0.1.0", "versions": versions, "blas": "openblas 0.3",
        "numba_threads": 2, "thread_variables": {},
    }  # fmt: skip
    return {"machine": {**record, **changes}, "peak": peak or {}, "tables": list(tables)}


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


# Files and figure ------------------------------------------------------------------------------


def png_size(data):
    assert data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", data[16:24])


def test_a_report_is_saved_as_json_text_and_figure(tmp_path):
    results = results_of(table(*MIXED), table(*MIXED[:1], title="Pooling"))
    paths = save_report(results, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["bench.json", "bench.txt", "bench.png"]
    assert sorted(paths) == sorted((tmp_path / "new" / "folder").iterdir())
    assert json.loads(paths[0].read_text()) == results
    assert paths[1].read_text(encoding="utf-8") == text_report(results) + "\n"
    width, height = png_size(paths[2].read_bytes())
    assert 800 <= width <= 1600 and 300 <= height <= 1600


def test_what_is_no_json_leaves_the_previous_report(tmp_path):
    good, bad = results_of(table(*MIXED)), results_of(table(*MIXED), load=float("nan"))
    before = [path.read_bytes() for path in save_report(good, tmp_path)]
    with pytest.raises(ValueError):
        save_report(bad, tmp_path)
    names = ("bench.json", "bench.txt", "bench.png")
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
