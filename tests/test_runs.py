"""The run folder survives kills, full disks, damage and a second writer, and says what is wrong."""

import json
import os
import random
import shutil
import signal
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from helpers.hostile import archive, npy, seal, with_header
from helpers.interrupts import interrupted_at_every_line
from helpers.jobs import assert_same_bits
from helpers.processes import PIPE, run_python, start_python
from hypothesis import given, settings
from hypothesis import strategies as st

from bnas.errors import InputError
from bnas.runs import (
    RunFolder,
    atomic_write,
    files,
    load_checkpoint,
    require_same_config,
    save_checkpoint,
)

STORED = zipfile.ZIP_STORED
HUGE = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({10**14},)}}"
OBJECTS = "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"
CONFIG = {"layers": 4, "lambda": 5e-3, "data_dir": "é/\udcff"}  # a byte that is not UTF-8


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# Arrays of raw bits, so that NaNs come with every payload and sign.
bits = st.sampled_from(["<f4", "<f8", "<i8", "<u8", "|b1", "|i1"]).flatmap(
    lambda dtype: hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4).map(
            lambda shape: (*shape, np.dtype(dtype).itemsize)
        ),
        elements=st.integers(0, 1) if dtype == "|b1" else None,
    ).map(lambda raw: raw.view(dtype)[..., 0])
)
array_names = st.text(st.characters(exclude_categories=("C", "Z")), max_size=8).filter(
    lambda name: name != "__meta__"
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(
    arrays=st.dictionaries(array_names, bits, max_size=4),
    meta=st.dictionaries(st.text(max_size=5), json_values, max_size=4),
)
def test_a_checkpoint_comes_back_bit_for_bit(tmp_path_factory, arrays, meta):
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.npz"
    save_checkpoint(path, arrays, meta)
    loaded, loaded_meta = load_checkpoint(path)
    assert_same_bits(arrays, loaded)
    assert loaded_meta == meta and repr(loaded_meta) == repr(meta)  # repr tells -0.0 from 0.0
    assert names(path.parent) == ["checkpoint.npz"]


def test_awkward_arrays_come_back(tmp_path):
    arrays = {
        "scalar": np.array(np.nan),
        "payload": np.array([0x7FC0BEEF, 0xFFA00001], np.uint32).view(np.float32),
        "strided": np.arange(12.0)[::-2],
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big-endian": np.arange(3, dtype=">f8"),
        "x": np.zeros(1),
        "x.npy": np.ones(2),
        "file": np.ones(3),
        "a/b": np.ones(4),
    }
    save_checkpoint(tmp_path / "c.npz", arrays, {})
    assert_same_bits(arrays, load_checkpoint(tmp_path / "c.npz")[0])


def test_numpy_reads_a_checkpoint_and_equal_contents_give_equal_files(tmp_path):
    for name in ("a.npz", "b.npz"):
        save_checkpoint(tmp_path / name, {"alpha": np.eye(2)}, {"epochs_done": 3})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["alpha"], np.eye(2))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_checkpoint_is_a_sound_zip_file(tmp_path):
    path = tmp_path / "c.npz"
    save_checkpoint(path, {"α": np.eye(2), "none": np.empty((0, 3))}, {"epochs_done": 3})
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        members = archive.infolist()
    assert [member.filename for member in members] == ["__meta__.npy", "α.npy", "none.npy"]
    assert all(member.file_size == member.compress_size > 0 for member in members)


@pytest.mark.parametrize(
    "arrays, meta, error",
    [
        ({"x": np.array([{}], dtype=object)}, {}, TypeError),
        ({"x": np.zeros(1, dtype=[("a", object)])}, {}, TypeError),
        ({"__meta__": np.zeros(1)}, {}, ValueError),
        ({"a\0b": np.zeros(1)}, {}, ValueError),
        ({}, {"loss": float("nan")}, ValueError),
        ({}, {"loss": np.float32(1)}, TypeError),
    ],
)
def test_what_cannot_be_saved_leaves_the_previous_checkpoint(tmp_path, arrays, meta, error):
    save_checkpoint(tmp_path / "c.npz", {"x": np.arange(3)}, {"epochs_done": 1})
    with pytest.raises(error):
        save_checkpoint(tmp_path / "c.npz", arrays, meta)
    assert load_checkpoint(tmp_path / "c.npz")[1] == {"epochs_done": 1}
    assert names(tmp_path) == ["c.npz"]


def sample_checkpoint(folder):
    path = folder / "c.npz"
    rng = np.random.default_rng(1)
    arrays = {"alpha": rng.normal(size=(2, 3)), "w": rng.normal(size=5).astype(np.float32)}
    save_checkpoint(path, arrays, {"epochs_done": 2})
    return path, path.read_bytes()


def test_every_flipped_byte_is_noticed(tmp_path):
    path, good = sample_checkpoint(tmp_path)
    draw = random.Random(2)
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= draw.choice([1, 128, draw.randrange(1, 256)])
        path.write_bytes(bad)
        with pytest.raises(InputError, match="damaged|format|not a checkpoint"):
            load_checkpoint(path)


def test_every_cut_and_every_added_tail_is_noticed(tmp_path):
    path, good = sample_checkpoint(tmp_path)
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(InputError, match="c.npz is (cut short|not a file that bnas wrote)"):
            load_checkpoint(path)
    path.write_bytes(good + b"\n")
    with pytest.raises(InputError, match="cut short or damaged"):
        load_checkpoint(path)


def test_other_files_are_no_checkpoints(tmp_path, monkeypatch):
    path = tmp_path / "c.npz"
    with pytest.raises(InputError, match="No such file.*start the run again"):
        load_checkpoint(path)
    with pytest.raises(InputError, match="cannot read"):
        load_checkpoint(tmp_path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(InputError, match="start the run again"):
        load_checkpoint(path)
    path.write_text("alpha = 3\n")
    with pytest.raises(InputError, match="not a file that bnas wrote"):
        load_checkpoint(path)
    monkeypatch.setattr(files, "FORMAT", 7)
    save_checkpoint(path, {}, {})
    monkeypatch.undo()
    with pytest.raises(InputError, match="has checkpoint format 7, expected 1"):
        load_checkpoint(path)


def meta(text):
    return ("__meta__.npy", npy(np.frombuffer(text, np.uint8)), STORED)


STRANGE = {  # by seal and format these are files of ours
    "no members": [],
    "no description": [("x.npy", npy(np.zeros(2)), STORED)],
    "no JSON": [meta(b"{nope")],
    "a list": [meta(b"[1]")],
    "NaN": [meta(b'{"epochs_done": NaN}')],
    "infinity": [meta(b'{"loss": 1e999}')],
    "nested too deep": [meta(b"[" * 100_000)],
    "no array": [meta(b"{}"), ("x.npy", b"junk", STORED)],
    "claims 91 TiB": [meta(b"{}"), ("x.npy", with_header(HUGE, b""), STORED)],
    "Python objects": [meta(b"{}"), ("x.npy", with_header(OBJECTS, bytes(8)), STORED)],
    "a bomb": [meta(b"{}"), ("x.npy", npy(np.zeros(10**6)), zipfile.ZIP_DEFLATED)],
    "twice the same name": [meta(b"{}"), meta(b"{}")],
}


@pytest.mark.parametrize("members", STRANGE.values(), ids=STRANGE)
def test_a_sealed_file_of_other_contents_is_refused(tmp_path, members):
    path = tmp_path / "c.npz"
    path.write_bytes(seal(archive(members)))
    with pytest.raises(InputError, match="not a file that bnas wrote: .*; start over"):
        load_checkpoint(path, "start over")
    path.write_bytes(seal(archive([meta(b'{"x": 1}'), ("y.npy", npy(np.ones(2)), STORED)])))
    arrays, found = load_checkpoint(path)
    assert found == {"x": 1} and arrays["y"].tolist() == [1, 1]
    arrays["y"][0] = 2  # it is the caller's own


def test_ctrl_c_anywhere_in_a_checkpoint_is_told_as_such(tmp_path, monkeypatch):
    """Else the command line would end with a traceback of the zip file that was left half-written."""
    path, forgotten = tmp_path / "c.npz", []
    save_checkpoint(path, {"a": np.zeros(3)}, {})
    before = path.read_bytes()
    save_checkpoint(path, {"a": np.ones(3)}, {})
    after = path.read_bytes()
    path.write_bytes(before)
    monkeypatch.setattr(sys, "unraisablehook", forgotten.append)
    seen = set()
    save = partial(save_checkpoint, path, {"a": np.ones(3)}, {})
    for _ in interrupted_at_every_line(save, files, zipfile):
        seen.add(path.read_bytes())
        path.write_bytes(before)
    assert seen == {before, after}
    assert all(issubclass(what.exc_type, ResourceWarning) for what in forgotten)  # of an open file
    assert names(tmp_path) == ["c.npz"]


SAVE_FOR_EVER = """
import sys, itertools, numpy as np
from bnas.runs import RunFolder
with RunFolder.open(sys.argv[1], write=True) as run:
    start = run.load()[1]["epochs_done"] if run.has_checkpoint else 0
    run.truncate_history(start)
    print("ready", flush=True)
    for epoch in itertools.count(start):
        run.append_history({"epoch": epoch + 1, "loss": 1 / (epoch + 1)})
        run.save({"w": np.full((200, 1000), epoch)}, {"epochs_done": epoch + 1})
"""


@pytest.mark.slow
def test_kill_9_loses_at_most_the_current_epoch(tmp_path):
    """Five kills of one run: each time the folder is whole, goes on, and leaves no litter."""
    folder = tmp_path / "run"
    RunFolder.create(folder, CONFIG).close()
    draw, done = random.Random(3), 0
    for _ in range(5):
        child = start_python("-c", SAVE_FOR_EVER, folder)
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        target = time.monotonic() + 30
        while not (run := RunFolder.open(folder)).has_checkpoint or (
            run.load()[1]["epochs_done"] <= done
        ):
            assert time.monotonic() < target, "the child makes no progress"
        time.sleep(draw.uniform(0, 0.02))
        child.kill()
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        arrays, meta = run.load()
        done, history = meta["epochs_done"], run.history()
        assert arrays["w"].shape == (200, 1000) and (arrays["w"] == done - 1).all()
        assert [r["epoch"] for r in history] == list(range(1, len(history) + 1))
        assert len(history) in (done, done + 1)
        assert all(r["loss"] == 1 / r["epoch"] for r in history)
    with RunFolder.open(folder, write=True):  # the kernel gave the lock back
        assert names(folder) == [".lock", "checkpoint.npz", "config.json", "history.jsonl"]


FULL_DISK = """
import os, resource, sys, numpy as np
from bnas.errors import InputError
from bnas.runs import RunFolder
with RunFolder.open(sys.argv[1], write=True) as run:
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    for write in (lambda: run.save({"w": np.ones(10_000)}, {}),
                  lambda: run.append_history({"epoch": 1, "text": "x" * 9000})):
        try:
            write()
        except InputError as error:
            print(error)
"""


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path):
    """A limit on the size of files stands in for the full disk: the write fails half-way."""
    pytest.importorskip("resource", reason="needs Unix")
    folder = tmp_path / "run"
    with RunFolder.create(folder, CONFIG) as run:
        run.append_history({"epoch": 1})
        run.save({"w": np.arange(3)}, {"epochs_done": 1})
    done = run_python("-c", FULL_DISK, folder)
    assert not done.stderr
    checkpoint, history = done.stdout.splitlines()
    assert "checkpoint.npz: File too large" in checkpoint and "is intact" in checkpoint
    assert "Free some space" in checkpoint
    assert "history.jsonl: File too large" in history and "free some space" in history
    assert run.load()[1] == {"epochs_done": 1} and run.history() == [{"epoch": 1}]
    assert names(folder) == [".lock", "checkpoint.npz", "config.json", "history.jsonl"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_late_changes_nothing(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "config.json"
    atomic_write(path, "old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(InputError, match="config.json: No space left on device; .* is intact"):
        atomic_write(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["config.json"]


def test_data_reach_the_disk_before_the_name_does(tmp_path, monkeypatch):
    """Otherwise a power cut could leave a new name on an empty file."""
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (calls.append(n), r(*a))[1])
    atomic_write(tmp_path / "a", b"\0\xff")
    assert calls == ["fsync", "replace", "fsync"]
    assert (tmp_path / "a").read_bytes() == b"\0\xff"


def test_two_threads_write_one_file(tmp_path):
    path, contents = tmp_path / "a", {bytes([i]) * 300_000 for i in range(4)}

    def write(data):
        for _ in range(20):
            atomic_write(path, data)
            assert path.read_bytes() in contents

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(write, data) for data in contents]:
            done.result()
    assert names(tmp_path) == ["a"]


def test_folders_that_cannot_be_made_or_written(tmp_path):
    """A file in the way stops root too, whom permissions would not."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match="cannot make the folder .*; choose"):
            RunFolder.create(path, CONFIG)
        with pytest.raises(InputError):
            RunFolder.open(path)
    with pytest.raises(InputError, match="cannot write .*Not a directory.*writable"):
        save_checkpoint(tmp_path / "file" / "c.npz", {}, {})
    with RunFolder.create(tmp_path / "run", CONFIG) as run:
        (run.path / "figures").write_text("")
        with pytest.raises(InputError, match="cannot make the folder .*figures"):
            run.figures


def test_create_then_open(tmp_path):
    path = tmp_path / "deep" / "run"
    with RunFolder.create(path, {**CONFIG, "pair": (1, 2)}) as run:
        assert run.config == {**CONFIG, "pair": [1, 2]}
        assert run.history() == [] and not run.has_checkpoint
        assert run.figures == path / "figures" and run.figures.is_dir()
        run.write_result("result.json", {"accuracy": 0.1 + 0.2})
    again = RunFolder.open(path)
    assert again.config == run.config
    assert json.loads((path / "result.json").read_text()) == {"accuracy": 0.1 + 0.2}


def test_create_refuses_an_occupied_folder(tmp_path):
    RunFolder.create(tmp_path / "run", CONFIG).close()
    with pytest.raises(
        InputError, match="already holds a run; continue it with RunFolder.open.*, or"
    ):
        RunFolder.create(tmp_path / "run", {"layers": 5})
    assert RunFolder.open(tmp_path / "run").config == CONFIG
    with pytest.raises(InputError, match=r"already holds other files \(run, ...\)"):
        RunFolder.create(tmp_path, CONFIG)
    assert names(tmp_path) == ["run"]


def test_create_takes_an_empty_folder_and_one_left_by_a_kill(tmp_path):
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty", CONFIG).close()
    (tmp_path / "killed").mkdir()
    for name in (".lock", ".config.json.123.tmp"):
        (tmp_path / "killed" / name).write_text("{")
    RunFolder.create(tmp_path / "killed", CONFIG).close()
    assert RunFolder.open(tmp_path / "killed").config == CONFIG
    assert names(tmp_path / "killed") == [".lock", "config.json"]


@pytest.mark.parametrize("name", ["config.json", "history.jsonl", "checkpoint.npz", "genotype.txt"])
def test_what_a_kill_left_half_written_goes_away(tmp_path, name):
    RunFolder.create(tmp_path / "run", CONFIG).close()
    (tmp_path / "run" / f".{name}.123.tmp").write_text("{")
    RunFolder.open(tmp_path / "run").close()
    assert len(names(tmp_path / "run")) == 3  # another process may be writing it right now
    RunFolder.open(tmp_path / "run", write=True).close()
    assert names(tmp_path / "run") == [".lock", "config.json"]


WRITES = {
    "history": lambda run: run.append_history({"epoch": 0}),
    "truncation": lambda run: run.truncate_history(0),
    "checkpoint": lambda run: run.save({"x": np.zeros(1)}, {}),
    "result": lambda run: run.write_result("result.json", {}),
    "figures": lambda run: run.figures,
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("then", ["removed", "moved", "made anew"])
def test_a_run_whose_folder_was_taken_away_writes_no_more(tmp_path, write, then):
    """Its lock is on a file that is not there any more, so it keeps nobody out."""
    path = tmp_path / "run"
    with RunFolder.create(path, CONFIG) as run:
        if then == "moved":
            path.rename(tmp_path / "elsewhere")
        else:
            shutil.rmtree(path)
        if then == "made anew":
            RunFolder.create(path, {"another": 1}).close()
        with pytest.raises(InputError, match="run was removed or replaced .* in a new folder"):
            write(run)
    if then == "made anew":
        assert names(path) == [".lock", "config.json"]
        assert RunFolder.open(path).config == {"another": 1}
    else:
        assert not path.exists()


def test_a_folder_that_is_replaced_while_it_is_locked_is_not_taken(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="no locks on this platform")
    path, flock = tmp_path / "run", fcntl.flock
    RunFolder.create(path, CONFIG).close()

    def too_late(*arguments):
        shutil.rmtree(path)
        monkeypatch.undo()
        RunFolder.create(path, {"another": 1}).close()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", too_late)
    with pytest.raises(InputError, match="was removed or replaced"):
        RunFolder.open(path, write=True)
    RunFolder.open(path, write=True).close()  # nobody holds it


def test_a_run_made_while_we_waited_for_the_lock_is_not_overwritten(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="no locks on this platform")
    path = tmp_path / "run"
    monkeypatch.setattr(fcntl, "flock", lambda *_: (path / "config.json").write_text('{"a": 1}'))
    with pytest.raises(InputError, match="already holds a run"):
        RunFolder.create(path, CONFIG)
    monkeypatch.undo()
    with RunFolder.open(path, write=True) as run:  # and the refused one holds no lock
        assert run.config == {"a": 1}


def test_a_config_that_json_cannot_hold_makes_no_folder(tmp_path):
    with pytest.raises(ValueError, match="NaN"):
        RunFolder.create(tmp_path / "run", {"lambda": float("inf")})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "is not a run folder: it has no config.json"),
        ('{"layers": 4', "is not valid JSON"),
        (b"\xff\xfe\xff", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[1]", "holds no JSON object"),
    ],
)
def test_open_refuses_what_is_no_run(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        RunFolder.open(tmp_path, write=True)
    assert ".lock" not in names(tmp_path)


HOLD = """
import sys
from bnas.runs import RunFolder
with RunFolder.open(sys.argv[1], write=True):
    print("holding", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_locked_out_and_readers_are_not(tmp_path):
    pytest.importorskip("fcntl", reason="no locks on this platform")
    folder = tmp_path / "run"
    RunFolder.create(folder, CONFIG).close()
    child = start_python("-c", HOLD, folder, stdin=PIPE)
    assert child.stdout.readline() == "holding\n"
    with pytest.raises(InputError, match="another process is writing to .*run; wait"):
        RunFolder.open(folder, write=True)
    reader = RunFolder.open(folder)
    assert reader.history() == []
    reader.write_result("result.json", {})
    child.communicate("")
    with RunFolder.open(folder, write=True) as run:
        run.append_history({"epoch": 0})


def test_a_reader_cannot_change_the_run(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG) as run:
        run.append_history({"epoch": 1})
    for reader in (run, RunFolder.open(run.path)):  # closed, and opened for reading
        for write in (
            lambda: reader.append_history({"epoch": 1}),
            lambda: reader.truncate_history(0),
            lambda: reader.save({}, {}),
        ):
            with pytest.raises(RuntimeError, match="write=True"):
                write()
        assert reader.history() == [{"epoch": 1}] and not reader.has_checkpoint


@settings(deadline=None, max_examples=20)
@given(
    losses=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    text=st.text(max_size=5),
)
def test_history_comes_back_exactly_also_without_its_torn_end(tmp_path_factory, losses, text):
    records = [{"epoch": i, "loss": loss, text: text} for i, loss in enumerate(losses, start=1)]
    records = [{**record, "epoch": i} for i, record in enumerate(records, start=1)]
    with RunFolder.create(tmp_path_factory.mktemp("run"), CONFIG) as run:
        for record in records:
            run.append_history(record)
        assert repr(run.history()) == repr(records)
        path = run.path / "history.jsonl"
        whole = path.read_bytes()
        last = whole.rindex(b"\n", 0, -1) + 1 if len(records) > 1 else 0
        for length in range(last, len(whole)):  # every place where a kill can cut the last line
            path.write_bytes(whole[:length])
            assert repr(run.history()) == repr(records[:-1])
        run.truncate_history(len(records))  # mends the file, so that the next line is whole
        run.append_history(records[-1])
        assert repr(run.history()) == repr(records)


def test_truncate_history_keeps_the_epochs_before(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG) as run:
        run.truncate_history(0)  # nothing there yet
        assert run.history() == []
        for epoch in range(5):
            run.append_history({"epoch": epoch + 1, "x": 0.1 * epoch})
        run.truncate_history(3)
        assert run.history() == [{"epoch": e + 1, "x": 0.1 * e} for e in range(3)]


@pytest.mark.parametrize(
    "line",
    [
        *("{", "", "3", "[]", "{}", "\udcff", "[" * 9999),
        *('{"epoch": "2"}', '{"epoch": true}', '{"epoch": 1.0}', '{"epoch": 1, "loss": NaN}'),
    ],
)
def test_a_broken_line_within_the_history_is_named(tmp_path, line):
    with RunFolder.create(tmp_path / "run", CONFIG) as run:
        run.append_history({"epoch": 0})
        with open(run.path / "history.jsonl", "ab") as file:
            file.write(line.encode(errors="surrogateescape") + b"\n" + b'{"epoch": 2}\n')
        with pytest.raises(InputError, match="history.jsonl, line 2 is no record"):
            run.history()
        with pytest.raises(InputError, match="line 2"):
            run.truncate_history(1)


def test_a_history_of_a_version_that_counted_from_0_is_counted_anew(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG) as run:
        for epoch in range(3):
            run.append_history({"epoch": epoch})
        assert run.history() == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3}]
        run.truncate_history(2)
        run.append_history({"epoch": 3})
        assert [record["epoch"] for record in run.history()] == [1, 2, 3]


@pytest.mark.parametrize(
    "epochs",
    [[2], [1, 1], [1, 3], [1, 2, 2, 3], [2, 1], [1, -1], [1, 10**400], [0, 0], [0, 2], [-1]],
)
def test_a_history_with_holes_or_doubles_is_refused(tmp_path, epochs):
    with RunFolder.create(tmp_path / "run", CONFIG) as run:
        lines = "".join(f'{{"epoch": {epoch}}}\n' for epoch in epochs)
        (run.path / "history.jsonl").write_text(lines)
        with pytest.raises(InputError, match=r"line \d is not the record of epoch \d: .*a copy"):
            run.history()


@pytest.mark.parametrize(
    "record",
    [
        {"epoch": True},
        {"epoch": 0, "loss": float("nan")},
        {"loss": 1.0},
        {"epoch": 0, "alpha": [1.0, float("-inf")]},
    ],
)
def test_history_refuses_nan_and_records_without_epoch(tmp_path, record):
    with RunFolder.create(tmp_path / "run", CONFIG) as run:
        with pytest.raises(ValueError):
            run.append_history(record)
        assert run.history() == []


def test_resuming_with_another_configuration_names_every_difference():
    saved = {"layers": 4, "seed": 1, "stages": [1, 2], "old": True, "threads": 2}
    require_same_config(saved, {**saved, "stages": (1, 2)})
    require_same_config(saved, {**saved, "threads": 8}, ignore=("threads",))
    given = {"layers": 6, "seed": 1, "stages": (1, 3), "new": 0.5, "threads": 2}
    with pytest.raises(InputError) as caught:
        require_same_config(saved, given)
    message = str(caught.value)
    for part in (
        "layers: the run has 4, you gave 6",
        "stages: the run has [1, 2], you gave [1, 3]",
        "old: the run has True, you gave none",
        "new: the run has none, you gave 0.5",
    ):
        assert part in message
    assert "seed" not in message and "threads" not in message


def test_a_key_that_is_none_differs_from_a_missing_one():
    with pytest.raises(InputError):
        require_same_config({"limit": None}, {})
    require_same_config({"limit": None}, {"limit": None})


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    for name, seed in (("mine", 0), ("other", 1)):
        with RunFolder.create(tmp_path / name, {"seed": seed}) as run:
            run.save({"x": np.zeros(2)}, {"epochs_done": 1})
    (tmp_path / "other" / "checkpoint.npz").replace(tmp_path / "mine" / "checkpoint.npz")
    with pytest.raises(InputError, match="belongs to a run with another configuration"):
        RunFolder.open(tmp_path / "mine").load()
