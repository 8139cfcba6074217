"""Packed networks as files, and the commands that make and use them."""

import gzip
import io
import json
import math
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.arrays import images
from helpers.commands import TINY, bnas, fail, succeed
from helpers.modules import written
from helpers.networks import LEARNED, MIXED, case
from helpers.packed_files import records, refused

from bnas import nn
from bnas.config import TrainConfig
from bnas.data import load_dataset, normalise, read_images
from bnas.errors import InputError
from bnas.evaluation import predict
from bnas.packed import PackedNetwork, layers
from bnas.runs import RunFolder, load_checkpoint, save_checkpoint
from bnas.space import format_genotype
from bnas.train import trained_network

pytestmark = pytest.mark.slow

DIGITS = Path(__file__).resolve().parents[1] / "data" / "optdigits.csv.gz"
SHAPE, MEAN, STD = (3, 7, 9), np.array([1 / 3, 77.7, 1e-9]), np.array([2 / 3, 1e5, 0.1])


# ------------------------------------------------------------------------------------- the file


def make():
    network = case(MIXED, 5, 4, SHAPE, LEARNED, absent=(2,)).network
    return network, PackedNetwork.pack(network, SHAPE, MEAN, STD, "Genotype(β, …)")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "net.npz"
    make()[1].save(path)
    return path


def assert_equal_trees(first, second):
    assert type(first) is type(second)
    if isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second, strict=True)
    elif isinstance(first, tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second):
            assert_equal_trees(one, other)
    else:
        assert first == second


def test_a_network_comes_back_to_the_bit(file, tmp_path):
    _, packed = make()
    loaded = PackedNetwork.load(file)
    assert_equal_trees(loaded.model, packed.model)
    assert loaded.shape == SHAPE and loaded.genotype == "Genotype(β, …)"
    np.testing.assert_array_equal(loaded.mean, MEAN)
    np.testing.assert_array_equal(loaded.std, STD)
    x = images(11, *SHAPE)
    np.testing.assert_array_equal(loaded(x), packed(x))
    assert loaded.size_table() == packed.size_table()
    loaded.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()


def test_a_file_is_replaced_and_nothing_is_left_beside_it(file, tmp_path):
    path = tmp_path / "net.npz"
    path.write_text("old")
    PackedNetwork.load(str(file)).save(str(path))
    assert path.read_bytes() == file.read_bytes() and list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="cannot write .*No such file"):
        PackedNetwork.load(file).save(tmp_path / "nowhere" / "net.npz")


def test_a_flipped_bit_anywhere_is_noticed(file, tmp_path):
    whole, path = file.read_bytes(), tmp_path / "net.npz"
    places = np.random.default_rng(0).integers(0, len(whole), 150)
    for at in {
        0,
        1,
        len(whole) - 1,
        len(whole) - 65,
        *range(len(whole) - 120, len(whole), 7),
        *places,
    }:
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        refused(path, "damaged|not a file that bnas wrote|checkpoint format")


def test_a_truncated_or_longer_file_is_noticed(file, tmp_path):
    whole, path = file.read_bytes(), tmp_path / "net.npz"
    for length in {
        0,
        1,
        2,
        100,
        len(whole) - 1,
        len(whole) - 64,
        len(whole) // 2,
        *range(0, len(whole), 997),
    }:
        path.write_bytes(whole[:length])
        refused(path, "cut short|not a file that bnas wrote")
    path.write_bytes(whole + b"\0")
    refused(path, "cut short or damaged; export the network again")
    path.write_bytes(b"\0" + whole)
    refused(path, "damaged")


def test_other_files_are_refused(file, tmp_path):
    path = tmp_path / "other.npz"
    refused(path, "is no file; give the one")
    refused(tmp_path, "is no file; give the one")
    path.write_text("Genotype(...)")
    refused(path, "not a file that bnas wrote")
    np.savez(path, bits=np.zeros(3, np.uint8))
    refused(path, "export the network again")
    save_checkpoint(path, {"network.weight": np.zeros(3)}, {"epochs_done": 3})
    refused(path, "is a checkpoint, not a packed network; make one with bnas export")


@pytest.mark.parametrize("version", [0, 3, 99])
def test_another_version_is_refused(file, tmp_path, version):
    path = tmp_path / "net.npz"
    arrays, meta = load_checkpoint(file)
    save_checkpoint(path, arrays, {**meta, "version": version})
    refused(path, f"version {version} of the format, expected 2; .*the version of bnas")
    save_checkpoint(path, arrays, meta)
    PackedNetwork.load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(file, tmp_path, value):
    path = tmp_path / "net.npz"
    arrays, meta = load_checkpoint(file)
    for at in range(0, arrays["float32"].size, 101):
        changed = arrays["float32"].copy()
        changed[at] = value
        save_checkpoint(path, {**arrays, "float32": changed}, meta)
        refused(path, "holds no network that can run: .*NaN or infinity.*export the network again")


@pytest.mark.parametrize("value", [-(2**31), 2**31 - 1, 10_000])
def test_thresholds_that_no_sum_reaches_are_refused(file, tmp_path, value):
    """In the arithmetic of a plan they would overflow."""
    path = tmp_path / "net.npz"
    arrays, meta = load_checkpoint(file)
    arrays["int32"][0] = value
    save_checkpoint(path, arrays, meta)
    refused(path, "threshold")


@pytest.mark.parametrize("change", [{"x": np.zeros(1)}, {"bits": np.zeros((2, 2), np.uint8)}])
def test_other_members_are_refused(file, tmp_path, change):
    path = tmp_path / "net.npz"
    arrays, meta = load_checkpoint(file)
    save_checkpoint(path, {**arrays, **change}, meta)
    refused(path, "members are not bits, int32, float32")


def test_nothing_is_saved_that_could_not_be_loaded(file, tmp_path):
    network = PackedNetwork.load(file)
    network.model = network.model._replace(stem=network.model.stem * 2)
    with pytest.raises(ValueError, match="do not fit .stem"):
        network.save(tmp_path / "net.npz")
    assert not list(tmp_path.iterdir())


VERSION_1 = {
    "PackedCell": "Cell",
    "PackedPool": "Pool",
    "PackedSkip": "Skip",
    "PackedZero": "Zero",
    "Rescale": "Affine",
}


def as_version_1(value):
    """A description as version 1 had it: other names, and in a window groups but no kernel."""
    if isinstance(value, list):
        return [as_version_1(part) for part in value]
    if not isinstance(value, dict):
        return value
    value = {name: as_version_1(part) for name, part in value.items()}
    if "is" in value:
        value["is"] = VERSION_1.get(value["is"], value["is"])
    if "groups" in value:
        del value["window"]["kernel"]
        value["window"]["groups"] = value.pop("groups")
    return value


def test_a_file_of_version_1_asks_for_a_new_export(file, tmp_path):
    path = tmp_path / "net.npz"
    arrays, meta = load_checkpoint(file)
    save_checkpoint(path, arrays, {**as_version_1(meta), "version": 1})
    refused(path, "version 1 of the format, expected 2; export the network again")


def lengthen(reference):
    reference["shape"][0] += 1


def come_from(meta, state):
    """Let the first edge begin at another state."""
    records(meta, "PackedCell")[0]["predecessors"][0] = state


def widen_depthwise(meta):
    """Twice as many output channels of a depthwise convolution, and inputs of the next one."""
    convolutions = records(meta, "BitConv")
    number = next(i for i, conv in enumerate(convolutions) if conv["groups"] > 1)
    conv, following = convolutions[number : number + 2]
    for array in (conv["w"], conv["finish"]["least"], conv["finish"]["rising"]):
        array.update(start=0, shape=[2 * array["shape"][0], *array["shape"][1:]])
    following["w"]["shape"][1] *= 2


def split_stem(model):
    """Two convolutions side by side, which together are the one there was."""
    ((first,),) = model["stem"]
    second, half = json.loads(json.dumps(first)), first["w"]["shape"][0] // 2
    for array in ("w", "scale", "shift"):
        shape = first[array]["shape"]
        second[array]["start"] += half * math.prod(shape[1:])
        second[array]["shape"] = [shape[0] - half, *shape[1:]]
        first[array]["shape"] = [half, *shape[1:]]
    model["stem"] = [[first], [second]]


def make_float(pool):
    pool["stride"] = float(pool["stride"])


def no_class(model):
    model["w"]["shape"][0] = model["bias"]["shape"][0] = 0


def nested(depth):
    return [nested(depth - 1)] if depth else []


FORGERIES = {  # what would read foreign memory, predict nonsense or fail later
    "no model": lambda meta: meta.pop("model"),
    "no shape": lambda meta: meta.pop("shape"),
    "other channels": lambda meta: meta["shape"].__setitem__(0, 2),
    "no pixels": lambda meta: meta["shape"].__setitem__(1, 0),
    "short mean": lambda meta: meta["mean"].append(1.0),
    "std of 0": lambda meta: meta["std"].__setitem__(0, 0.0),
    "unknown record": lambda meta: meta["model"].update({"is": "System"}),
    "lost field": lambda meta: meta["model"].pop("bias"),
    "extra field": lambda meta: meta["model"].update(x=1),
    "start beyond": lambda meta: meta["model"]["w"].update(start=10**9),
    "start below": lambda meta: meta["model"]["w"].update(start=-5),
    "negative shape": lambda meta: meta["model"]["bias"].update(shape=[-1]),
    "other member": lambda meta: meta["model"]["w"].update(array="int32"),
    "longer scale": lambda meta: lengthen(records(meta, "RealConv")[0]["scale"]),
    "longer beta": lambda meta: lengthen(records(meta, "Rescale")[0]["beta"]),
    "longer rising": lambda meta: lengthen(records(meta, "Threshold")[0]["rising"]),
    "longer least": lambda meta: lengthen(records(meta, "Threshold")[0]["least"]),
    "wider weights": lambda meta: records(meta, "RealConv")[1]["w"]["shape"].__setitem__(1, 99),
    "groups that are no number": lambda meta: records(meta, "RealConv")[0].update(groups=1.0),
    "depthwise with more outputs than inputs": widen_depthwise,
    "kernel of another size": lambda meta: records(meta, "Window")[0].update(kernel=[1, 3]),
    "lost stride": lambda meta: records(meta, "Window")[0].pop("stride"),
    "stride of one number": lambda meta: records(meta, "Window")[0].update(stride=[1]),
    "skip of 2": lambda meta: records(meta, "Window")[0].update(skip=2),
    "no window": lambda meta: records(meta, "RealConv")[0].update(window=[[3, 3]]),
    "stride of 0": lambda meta: records(meta, "Window")[0].update(stride=[0, 0]),
    "negative padding": lambda meta: records(meta, "Window")[0].update(padding=[-1, 0]),
    "predecessor to come": lambda meta: come_from(meta, 2),
    "predecessor -1": lambda meta: come_from(meta, -1),
    "concat twice": lambda meta: records(meta, "PackedCell")[0].update(concat=[2, 2]),
    "concat of no state": lambda meta: records(meta, "PackedCell")[0].update(concat=[9]),
    "a stem of two branches": lambda meta: split_stem(meta["model"]),
    "no class": lambda meta: no_class(meta["model"]),
    "a start that is false": lambda meta: records(meta, "BitConv")[0]["w"].update(start=False),
    "mean as text": lambda meta: meta["mean"].__setitem__(0, "0.5"),
    "mean beyond floats": lambda meta: meta["mean"].__setitem__(0, 10**400),
    "another key": lambda meta: meta.update(x=1),
    "a genotype that is a number": lambda meta: meta.update(genotype=3),
    "stride that is true": lambda meta: records(meta, "Window")[0].update(stride=[True, True]),
    "padding of a gigapixel": lambda meta: records(meta, "Window")[0].update(padding=[10**9, 0]),
    "padding beyond int64": lambda meta: records(meta, "Window")[0].update(padding=[2**63, 0]),
    "skip that is false": lambda meta: records(meta, "Window")[0].update(skip=False),
    "stride of floats in a pooling": lambda meta: make_float(records(meta, "PackedPool")[0]),
    "groups that are true": lambda meta: records(meta, "RealConv")[0].update(groups=True),
    "ReLU that is a number": lambda meta: records(meta, "RealConv")[1].update(relu=2),
    "two layers of one name": lambda meta: records(meta, "BitConv")[1].update(
        name=records(meta, "BitConv")[0]["name"]
    ),
    "a name that is a list": lambda meta: records(meta, "BitConv")[0].update(name=[]),
    "edges nested too deep": lambda meta: records(meta, "PackedCell")[0].update(edges=nested(900)),
    "no edge": lambda meta: records(meta, "PackedCell")[0].update(edges=[], predecessors=[]),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_whole_files_of_nonsense_are_refused(file, tmp_path, forge):
    """The seal is good, so the contents have to be looked at."""
    path = tmp_path / "net.npz"
    arrays, meta = load_checkpoint(file)
    forge(meta)
    save_checkpoint(path, arrays, meta)
    refused(path, "holds no network that can run: .*; export the network again")


def stranger(path):
    """({member: numbers}, description) read by the letter of the documentation, without bnas."""
    numbers = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            numbers[name.removesuffix(".npy")] = np.load(
                io.BytesIO(archive.read(name)), allow_pickle=False
            )
    description = json.loads(bytes(numbers.pop("__meta__")).decode())
    return numbers, description


def rebuilt(value, numbers):
    if isinstance(value, list):
        return [rebuilt(part, numbers) for part in value]
    if not isinstance(value, dict):
        return value
    if "array" not in value:
        return {name: rebuilt(part, numbers) for name, part in value.items()}
    start, count = value["start"], math.prod(value["shape"])
    if value["array"] == "bits":
        flags = [numbers["bits"][i // 8] >> (7 - i % 8) & 1 for i in range(start, start + count)]
        return np.array(flags, bool).reshape(value["shape"])
    return numbers[value["array"]][start : start + count].reshape(value["shape"])


def plain(value):
    """A tree of records as the documentation describes it."""
    if isinstance(value, tuple):
        if type(value) is tuple:
            return [plain(part) for part in value]
        fields = zip(value._fields, value)
        return {"is": type(value).__name__, **{name: plain(part) for name, part in fields}}
    return value


def assert_equal_values(first, second, where="model"):
    if isinstance(second, np.ndarray):
        np.testing.assert_array_equal(first, second, where, strict=True)
    elif isinstance(second, dict):
        assert first.keys() == second.keys(), where
        for name in second:
            assert_equal_values(first[name], second[name], f"{where}.{name}")
    elif isinstance(second, list):
        assert len(first) == len(second), where
        for i, (one, other) in enumerate(zip(first, second)):
            assert_equal_values(one, other, f"{where}[{i}]")
    else:
        assert first == second, where


def test_the_format_is_the_documented_one(file):
    numbers, meta = stranger(file)
    assert {name: array.dtype for name, array in numbers.items()} == {
        "bits": np.uint8,
        "int32": np.int32,
        "float32": np.float32,
    }
    assert all(array.ndim == 1 for array in numbers.values())
    assert meta.keys() == {"kind", "version", "shape", "mean", "std", "genotype", "model"}
    assert (meta["kind"], meta["version"], meta["shape"]) == ("packed network", 2, list(SHAPE))
    assert (meta["mean"], meta["std"]) == (MEAN.tolist(), STD.tolist())
    assert_equal_values(rebuilt(meta["model"], numbers), plain(make()[1].model))


def test_the_weights_are_the_signs_of_the_network(file):
    """The file against the network itself: a 1-bit kernel by its name."""
    numbers, meta = stranger(file)
    signs = {}

    def look(value):
        if isinstance(value, dict) and value.get("is") == "BitConv":
            signs[value["name"]] = value["w"]
        for part in value.values() if isinstance(value, dict) else value:
            if isinstance(part, (dict, list)):
                look(part)

    look(rebuilt(meta["model"], numbers))
    kernels = {
        name: module.weight.data > 0
        for name, module in make()[0].named_modules()
        if isinstance(module, nn.XnorConv2d)
    }
    assert signs.keys() == kernels.keys() and len(signs) > 10
    for name, kernel in kernels.items():
        np.testing.assert_array_equal(signs[name], kernel, err_msg=name)


def extents(value, found):
    """{member: [(field, start, count)]} of every array in the description."""
    for name, part in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(part, dict) and "array" in part:
            found.setdefault(part["array"], []).append(
                (name, part["start"], math.prod(part["shape"]))
            )
        elif isinstance(part, (dict, list)):
            extents(part, found)
    return found


def test_a_1_bit_weight_takes_a_bit_of_the_file(file):
    """Besides the weights, `bits` holds the direction of every threshold, and nothing else."""
    numbers, meta = stranger(file)
    found = extents(meta["model"], {})
    for member, array in numbers.items():
        end = 0
        for _, start, count in sorted(found[member], key=lambda extent: extent[1]):
            assert start == end
            end += count
        assert len(array) == (-(-end // 8) if member == "bits" else end)
    weights = sum(
        module.weight.size for module in make()[0].modules() if isinstance(module, nn.XnorConv2d)
    )
    bits = {name: sum(c for n, _, c in found["bits"] if n == name) for name in ("w", "rising")}
    assert (
        bits["w"] == weights
        and len(found["bits"])
        and sum(bits.values()) == sum(count for _, _, count in found["bits"])
    )
    assert bits["rising"] == len(numbers["int32"])  # one for each threshold


def test_the_size_table_is_measured_in_the_file(file):
    numbers, _ = stranger(file)
    network, packed = make()
    head, *lines = packed.size_table().splitlines()
    assert head.split() == ["part", "numbers", "bits", "in", "float32", "ratio"]
    table = {}
    for line in lines:
        name, *values, ratio = re.fullmatch(
            r"(.+?) +([\d,]+) +([\d,]+) +([\d,]+) +(\S+)", line
        ).groups()
        table[name] = [int(value.replace(",", "")) for value in values], ratio
    total, _ = table.pop("all")
    assert total == [sum(column) for column in zip(*(values for values, _ in table.values()))]
    for (count, bits, real), ratio in table.values():
        assert real == 32 * count and float(ratio.removeprefix("1/")) == pytest.approx(
            real / bits, rel=0.01
        )
    assert table["1-bit weights"][1] == "1/32"
    payload = 8 * sum(array.nbytes for array in numbers.values())
    assert payload - 8 < total[1] <= payload
    weights = {
        kind: sum(m.weight.size for m in network.modules() if isinstance(m, kind))
        for kind in (nn.XnorConv2d, nn.Conv2d)
    }
    assert table["1-bit weights"][0][:2] == [weights[nn.XnorConv2d]] * 2
    assert table["real convolutions"][0][0] == weights[nn.Conv2d]
    assert table["classifier"][0][0] == nn.parameter_count(network.classifier)


def test_every_kind_of_record_is_in_a_file(file, tmp_path):
    PackedNetwork.pack(*written(), [0, 0], [1, 1]).save(tmp_path / "net.npz")
    texts = [json.dumps(stranger(path)[1]["model"]) for path in (file, tmp_path / "net.npz")]
    for kind in layers.KINDS:
        assert any(f'"is": "{kind}"' in text for text in texts), kind


# -------------------------------------------------------------------------------------- commands


GENOTYPE = format_genotype(MIXED)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with both trained networks, a packed one, and what `export` printed."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "genotype.txt").write_text(GENOTYPE)
    train = ("train", folder / "run", *TINY, "--genotype", folder / "genotype.txt")
    succeed(*train, "--beta", "learned")
    succeed(*train, "--epochs", "1", "--precision", "real")
    printed = succeed("export", folder / "run", "-o", folder / "net.npz")
    return folder, printed


@pytest.fixture(scope="module")
def network(run):
    folder = RunFolder.open(run[0] / "run" / "binary")
    config = TrainConfig(**folder.config)
    return trained_network(config, load_dataset("digits", limit=96), folder.load()[0])


def predicted(text):
    """(classes, shares, accuracy in per cent or None) that `bnas predict` printed."""
    *lines, last = text.splitlines()
    rows = [re.fullmatch(r" *(\d+) +(\d+) +(\d+\.\d\d)%", line).groups() for line in lines]
    assert [int(row[0]) for row in rows] == list(range(len(rows)))
    count, right = re.fullmatch(
        r"([\d,]+) images in \S+ s(?:, (\d+\.\d\d)% of them right)?", last
    ).groups()
    assert int(count.replace(",", "")) == len(rows)
    return (
        np.array([int(row[1]) for row in rows]),
        np.array([float(row[2]) for row in rows]),
        right and float(right),
    )


def test_export_tells_sizes_and_checks_itself(run, network):
    folder, printed = run
    packed = PackedNetwork.load(folder / "net.npz")
    assert printed.startswith(packed.size_table())
    images = load_dataset("digits", limit=96).validation.images
    assert f"On {len(images)} validation images" in printed
    assert f"the class of the unpacked network {len(images)} times" in printed
    assert f"{folder / 'net.npz'}: {(folder / 'net.npz').stat().st_size:,} bytes" in printed
    assert float(re.search(r"differ by at most (\S+)", printed)[1]) <= 1e-5
    assert printed.endswith(f"Next: bnas predict {folder / 'net.npz'} IMAGES\n")
    np.testing.assert_array_equal(
        packed(images).argmax(axis=1), predict(network, images).argmax(axis=1)
    )
    config = RunFolder.open(folder / "run" / "binary").config
    assert packed.genotype == config["genotype"] and packed.shape == (1, 8, 8)


def test_export_has_a_default_name_and_replaces_its_own_file(run):
    folder, _ = run
    for _ in range(2):
        succeed("export", folder / "run")
        exported = (folder / "run" / "packed.npz").read_bytes()
        assert exported == (folder / "net.npz").read_bytes()
    (folder / "run" / "packed.npz").unlink()


def test_a_wrong_packed_network_shows_in_the_status(run, monkeypatch):
    right = PackedNetwork.__call__
    monkeypatch.setattr(PackedNetwork, "__call__", lambda self, x: -right(self, x))
    status, out, _ = bnas("export", run[0] / "run", "-o", run[0] / "wrong.npz")
    assert status == 1 and "was not written" in out and not (run[0] / "wrong.npz").exists()


def test_predict_on_the_bundled_digits_counts_what_is_right(run, network):
    classes, shares, right = predicted(succeed("predict", run[0] / "net.npz", DIGITS))
    raw, labels = read_images(DIGITS)
    dataset = load_dataset("digits")
    logits = predict(network, normalise(raw, dataset.mean, dataset.std)).astype(np.float64)
    assert len(classes) == 1797
    np.testing.assert_array_equal(classes, logits.argmax(axis=1))
    assert right == pytest.approx(100 * (classes == labels).mean(), abs=0.005)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, 100 * softmax.max(axis=1), atol=0.0051)


def test_predict_reads_every_format_alike(run, tmp_path):
    raw, _ = read_images(DIGITS)
    raw = raw[::60]
    dataset = load_dataset("digits")
    floats = normalise(raw, dataset.mean, dataset.std)
    arrays = {
        "bytes.npy": raw,
        "no_channels.npy": raw[:, 0],
        "float32.npy": floats,
        "float64.npy": floats.astype(np.float64),
        "fortran.npy": np.asfortranarray(floats),
        "no_channels_float.npy": floats[:, 0],
    }
    for name, array in arrays.items():
        np.save(tmp_path / name, array)
    header = bytes([0, 0, 8, 3]) + np.array([len(raw), 8, 8], ">u4").tobytes()
    (tmp_path / "digits.idx").write_bytes(header + raw.tobytes())
    for path in list(tmp_path.iterdir()):
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    text = b"".join(gzip.decompress(DIGITS.read_bytes()).splitlines(keepends=True)[::60])
    (tmp_path / "digits.csv").write_bytes(text)
    want = None
    for path in sorted(tmp_path.iterdir()):
        classes, shares, right = predicted(succeed("predict", run[0] / "net.npz", path))
        want = (classes, shares) if want is None else want
        np.testing.assert_array_equal(classes, want[0], err_msg=path.name)
        np.testing.assert_array_equal(shares, want[1], err_msg=path.name)
        assert (right is not None) == (path.name == "digits.csv")
    assert len(want[0]) == 30 and len(set(want[0])) > 1


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content, says",
    [
        (npy(np.zeros((2, 3, 8, 8), np.uint8)), r"images of \(3, 8, 8\).*expects \(1, 8, 8\)"),
        (npy(np.zeros((2, 8, 9), np.float32)), r"images of \(1, 8, 9\).*expects \(1, 8, 8\)"),
        (
            npy(np.zeros((8, 8), np.uint8)),
            r"shape \(8, 8\), expected \(N, C, H, W\) or \(N, H, W\)",
        ),
        (npy(np.zeros((0, 8, 8), np.uint8)), "no size of 0"),
        (npy(np.zeros((2, 8, 8), np.int32)), "holds int32, expected uint8"),
        (npy(np.full((2, 8, 8), np.nan)), "NaN or infinity"),
        (npy(np.array([[[[{}]]]], object)), "no plain array"),
        (npy(np.zeros((2, 8, 8), np.uint8))[:-1], "damaged"),
        (npy(np.zeros((2, 8, 8), np.uint8))[:9], "damaged"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 1, 5]), r"shape \(1,\), expected images"),
        (bytes([0, 0, 8, 3, 0, 0, 0, 1]), "IDX header"),
        (b"1,2,3\n", "damaged, expected lines of 64 pixels"),
        (b"", "no file of images, expected .npy"),
        (b"\x1f\x8b rubbish", "damaged gzip"),
    ],
)
def test_predict_refuses_other_images(run, tmp_path, content, says):
    path = tmp_path / "images"
    path.write_bytes(content)
    fail("predict", run[0] / "net.npz", path, says=[re.escape(str(path)), says])


def test_predict_refuses_other_networks(run, tmp_path):
    folder, _ = run
    fail("predict", tmp_path / "none.npz", DIGITS, says="none.npz is no file")
    fail("predict", folder / "net.npz", tmp_path / "none", says="none: cannot be read .*No such")
    fail("predict", folder / "run", DIGITS, says="is no file")
    checkpoint = folder / "run" / "binary" / "checkpoint.npz"
    fail("predict", checkpoint, DIGITS, says="is a checkpoint, not a packed network.*bnas export")
    fail("predict", DIGITS, DIGITS, says="not a file that bnas wrote")
    (tmp_path / "half.npz").write_bytes((folder / "net.npz").read_bytes()[:-1000])
    fail("predict", tmp_path / "half.npz", DIGITS, says="cut short.*export the network again")


def test_export_needs_a_trained_1_bit_network(run, tmp_path):
    fail("export", tmp_path, says=["no trained 1-bit network", f"bnas train {tmp_path}"])
    fail("export", tmp_path / "none", says="no trained 1-bit network")
    copy = shutil.copytree(run[0] / "run", tmp_path / "run")
    shutil.rmtree(copy / "binary")
    fail("export", copy, says="no trained 1-bit network")
    assert not (copy / "packed.npz").exists()


def test_export_refuses_an_unfinished_training(run, tmp_path):
    copy = shutil.copytree(run[0] / "run", tmp_path / "run")
    (copy / "binary" / "checkpoint.npz").unlink()
    fail("export", copy, says=r"0 of \d epochs; go on with bnas train .*--resume")


@pytest.mark.parametrize("content", [b"my thesis", b"", "checkpoint", "damaged"])
def test_export_overwrites_nothing_else_and_says_what_to_do(run, tmp_path, content):
    """Not even a damaged export: who knows what it was. The advice has to lead out."""
    folder, path = run[0], tmp_path / "file"
    if content == "checkpoint":
        content = (folder / "run" / "binary" / "checkpoint.npz").read_bytes()
    elif content == "damaged":
        content = (folder / "net.npz").read_bytes()[:-1]
    path.write_bytes(content)
    message = fail("export", folder / "run", "-o", path, says=re.escape(str(path)))
    assert path.read_bytes() == content
    advice = message.replace(str(path), "")
    assert re.search("another (name|file)| -o |move|delete", advice), message
    assert "make one with" not in advice


def test_export_cannot_write_everywhere(run, tmp_path):
    fail("export", run[0] / "run", "-o", tmp_path / "no" / "net.npz", says="cannot write .*No such")
    fail("export", run[0] / "run", "-o", tmp_path, says=re.escape(str(tmp_path)))


@pytest.mark.parametrize("command", ["export", "predict"])
def test_the_help_shows_what_to_give(command):
    text = succeed(command, "--help")
    assert text.startswith(f"usage: bnas {command}") and "FILE" in text
