"""Every file that bnas reads, and what becomes of it: the fuzzer of tests/test_hostile_files.py.

Alone, with limited memory, it is `python -m helpers.readers KIND COUNT SEED` in tests/.
"""

import faulthandler
import gzip
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bnas.config import SearchConfig, TrainConfig, config_from_dict
from bnas.data import load_dataset, read_images
from bnas.errors import DivergedError, InputError
from bnas.packed import PackedNetwork
from bnas.packed.layers import parts
from bnas.plots import draw_run
from bnas.runs import RunFolder
from bnas.runs.jobs import Silent, fitting, run, saved_state
from bnas.search.dcp import Search
from bnas.space import format_genotype, read_genotype
from bnas.train import Training

from . import packed_twin
from .arrays import rng
from .hostile import (
    craft_array,
    craft_gzip,
    craft_json,
    craft_lines,
    craft_members,
    craft_sealed,
    damage,
    npy,
)
from .modules import written
from .networks import LEARNED, MIXED, case

SIZE = {"limit": 64, "batch_size": 32, "channels": 1, "layers": 1}
SEARCH = SearchConfig(**SIZE, nodes=1, rounds=1, parent_epochs=1, child_epochs=1)
TRAIN = TrainConfig(format_genotype(MIXED), **SIZE, epochs=2)


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        content: the bytes of a good one.
        read: path -> what it holds, to be compared with ==; also whatever has to work on it.
        craft: (generator, content) -> bytes, such as somebody would make who wants them to be read.
        guarded: whether a sum in the file tells every damage.
        name: that the file must have.
    """

    content: bytes
    read: Callable
    craft: Callable
    guarded: bool = True
    name: str = "file"


class Wrong(Exception):
    """A file was read, and not as what it is."""


def fuzz(name, count, seed=0, folder=None):
    """Read `count` bad files of a kind; returns (Counter of what became of them, list of faults)."""
    kind, outcomes, faults = kinds()[name](), Counter(), []
    with tempfile.TemporaryDirectory(dir=folder) as folder:
        path = Path(folder) / kind.name
        path.write_bytes(kind.content)
        good = kind.read(path)
        for number in range(count):
            generator = rng((seed, number))
            crafted = number % 3 > 0
            content = (kind.craft if crafted else damage)(generator, kind.content)
            path.write_bytes(content)
            start = time.process_time()
            try:
                found = kind.read(path)
                outcome = "unchanged" if found == good else "another"
                if outcome == "another" and kind.guarded and not crafted:
                    raise Wrong("damage was not noticed")
            except (InputError, DivergedError) as error:
                outcome = "refused"
                if not str(error).strip() or len(str(error)) > 2000:
                    faults.append((number, f"message of {len(str(error))} characters"))
            except Exception as error:
                outcome = "fault"
                faults.append((number, f"{type(error).__name__}: {error}"[:300]))
            seconds = time.process_time() - start
            if seconds > 20:
                faults.append((number, f"took {seconds:.0f} s ({outcome})"))
            outcomes[outcome] += 1
    return outcomes, faults


def bits(arrays):
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}


# Packed networks


def packed():
    shape = (2, 6, 7)
    network = case(MIXED, 3, 3, shape, LEARNED, absent=(2,)).network
    made = PackedNetwork.pack(network, shape, np.full(2, 0.5), np.full(2, 2.0), "Genotype(…)")
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder) / "net.npz")
        return Kind((Path(folder) / "net.npz").read_bytes(), read_packed, craft_sealed)


def packed_steps():
    """Of a network that was written layer by layer."""
    made = PackedNetwork.pack(*written(), np.full(2, 0.5), np.full(2, 2.0))
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder) / "net.npz")
        return Kind((Path(folder) / "net.npz").read_bytes(), read_packed, craft_sealed)


def read_packed(path):
    """Its description and what it predicts, which must be what the description says."""
    network = PackedNetwork.load(path)
    told = network.shape, network.mean.tolist(), network.std.tolist(), network.genotype
    if np.prod(network.shape, dtype=float) > 10**5:
        return told
    images = rng(1).standard_normal((2, *network.shape)).astype(np.float32)
    with np.errstate(all="ignore"):
        logits, expected = network(images), packed_twin.logits(network.model, images)
        numbers = [expected, *(part for part in parts(network.model) if hasattr(part, "dtype"))]
        if (
            max(np.abs(a).max(initial=0) for a in numbers) < 1e30
        ):  # else float32 may overflow on the way
            error = np.abs(logits - expected).max()
            if not error <= 1e-3 * max(np.abs(expected).max(), 1):
                raise Wrong(f"its logits differ by {error}")
    return told, logits.tobytes()


# Runs


@cache
def data():
    return load_dataset("digits", limit=SIZE["limit"])


def job_of(config):
    return (Search if isinstance(config, SearchConfig) else Training)(config, data())


@cache
def finished(config):
    """{name: bytes} of the files of a run that is done."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with RunFolder.create(path, asdict(config)) as opened:
            run(job_of(config), opened, Silent())
        names = ("config.json", "history.jsonl", "checkpoint.npz")
        return {name: (path / name).read_bytes() for name in names}


def run_file(config, name):
    files, job = finished(config), job_of(config)
    craft = {"config.json": craft_json, "history.jsonl": craft_lines}.get(name, craft_sealed)
    # A digit of a history may be another and nobody can tell.
    return Kind(files[name], partial(read_run, config, job, files), craft, name[0] != "h", name)


def read_run(config, job, files, path):
    """The state after the run was opened to go on with it, and its history."""
    for name, content in files.items():
        if name != path.name:
            (path.parent / name).write_bytes(content)
    with RunFolder.open(path.parent, write=True) as folder:
        saved = config_from_dict(type(config), folder.config)
        arrays, done = saved_state(folder, job.epochs)
        with fitting(folder.path):
            job.load_state(arrays, done)
        state = bits(job.state())
        history = folder.history()
        if done < job.epochs:  # crafted: it goes on
            run(job, folder, Silent())
        else:
            run(job, folder, Silent())
            if folder.history() != history:
                raise Wrong("the history has changed")
        return saved, done, state, json.dumps(history)


def drawn_history():
    """The figures of a search; they take long."""
    content = finished(SEARCH)["history.jsonl"]
    return Kind(content, read_drawn, craft_lines, False, "history.jsonl")


def read_drawn(path):
    folder = RunFolder(path.parent)
    with np.errstate(all="ignore"):
        draw_run(folder.history(), None, folder.figures, SEARCH.operation_names)
    return json.dumps(folder.history())


def config_alone():
    """Without a checkpoint that would tell another."""
    content = json.dumps(asdict(SEARCH)).encode()
    return Kind(content, read_config, craft_json, False, "config.json")


def read_config(path):
    return config_from_dict(SearchConfig, RunFolder.open(path.parent).config)


def genotype():
    content = format_genotype(MIXED).encode()
    return Kind(content, read_genotype, lambda generator, text: damage(generator, text), False)


# Images and data sets


def images_as(content, craft=craft_array, guarded=False, name="file"):
    return Kind(content, read_as_images, craft, guarded, name)


def read_as_images(path):
    images, labels = read_images(path)
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32) or not images.size:
        raise Wrong(f"images are {images.dtype} {images.shape}")
    return bits({"images": images} | ({} if labels is None else {"labels": labels}))


def idx(array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def pixels(*shape):
    return rng(3).integers(0, 256, shape, dtype=np.uint8)


def npy_bytes():
    return images_as(npy(pixels(3, 4, 5)))


def npy_floats():
    return images_as(npy(rng(4).standard_normal((3, 2, 4, 5))))


def idx_images():
    return images_as(idx(pixels(3, 4, 5)), damage)


def idx_gzipped():
    return images_as(gzip.compress(idx(pixels(3, 4, 5))), craft_gzip(damage), True)


def cifar():
    return images_as(b"\3" + bytes(pixels(3072)) + b"\7" + bytes(3072), damage, name="x.bin")


def digits():
    lines = gzip.decompress((Path(__file__).parents[2] / "data" / "optdigits.csv.gz").read_bytes())
    content = b"".join(lines.splitlines(keepends=True)[:40])
    return images_as(gzip.compress(content), craft_gzip(damage), True)


def npz(save):
    arrays = {}
    for part, count in (("train", 24), ("test", 6)):
        arrays[f"{part}_images"] = pixels(count, 3, 4)
        arrays[f"{part}_labels"] = np.arange(count) % 3
    with tempfile.TemporaryFile() as file:
        save(file, **arrays)
        file.seek(0)
        return Kind(file.read(), read_npz, craft_members)


def read_npz(path):
    return bits_of(load_dataset("npz", path))


def bits_of(dataset):
    found = {f"{name} images": split.images for name, split in dataset.splits.items()}
    return bits(found | {f"{name} labels": s.labels for name, s in dataset.splits.items()})


def mnist():
    return Kind(idx(pixels(12, 4, 5)), read_mnist, damage, False, "train-images-idx3-ubyte")


def read_mnist(path):
    for part, count in (("train", 12), ("t10k", 5)):
        labels = np.arange(count, dtype=np.uint8) % 3
        (path.parent / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    (path.parent / "t10k-images-idx3-ubyte").write_bytes(idx(pixels(5, 4, 5)))
    return bits_of(load_dataset("mnist", path.parent))


def kinds():
    """{name: function that makes the Kind}."""
    found = {
        f"{config.__class__.__name__[:-6].lower()} {name.split('.')[0]}": partial(
            run_file, config, name
        )
        for config in (SEARCH, TRAIN)
        for name in ("checkpoint.npz", "config.json", "history.jsonl")
    }
    found |= {"npz": partial(npz, np.savez), "npz deflated": partial(npz, np.savez_compressed)}
    for make in (
        packed,
        packed_steps,
        config_alone,
        genotype,
        npy_bytes,
        npy_floats,
        idx_images,
        idx_gzipped,
    ):
        found[make.__name__.replace("_", " ")] = make
    for make in (cifar, digits, mnist, drawn_history):
        found[make.__name__.replace("_", " ")] = make
    return found


def main(name, count, seed):
    faulthandler.enable()
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30,) * 2)
    outcomes, faults = fuzz(name, int(count), int(seed))
    print(json.dumps({"outcomes": outcomes, "faults": faults}))


if __name__ == "__main__":
    main(*sys.argv[1:])
