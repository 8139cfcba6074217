"""Data: fixed splits, readers that refuse what is not whole, one's own arrays, augmentation, batches."""

import gzip
import hashlib
import io
import math
import os
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile import with_header
from hypothesis import given, settings
from hypothesis import strategies as st

from bnas.data import (
    Augmentation,
    Dataset,
    Split,
    ascii_image,
    batches,
    dataset_from_arrays,
    describe,
    load_dataset,
    normalise,
    read_cifar10,
    read_idx,
    read_images,
)
from bnas.data.formats import read_digits
from bnas.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "data" / "optdigits.csv.gz"
RECORD = 3073  # bytes of a CIFAR-10 record


def real_data(folder):
    """A folder of published files, from BNAS_DATA_DIR or beside the repository, else skip."""
    places = [ROOT.parent / "shared" / "data"]
    if "BNAS_DATA_DIR" in os.environ:
        places.insert(0, Path(os.environ["BNAS_DATA_DIR"]))
    for place in places:
        if (place / folder).is_dir():
            return place / folder
    pytest.skip(f"no {folder}: set BNAS_DATA_DIR to the folder that holds it")


def idx(array, code=0x08):
    """The bytes of an IDX file."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + (
        array.astype(np.uint8).tobytes()
    )


def cifar(labels, rng):
    """The bytes of a CIFAR-10 file with random pixels, and the pixels."""
    labels = np.asarray(labels, np.uint8)
    pixels = rng.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    records = np.concatenate([labels[:, None], pixels.reshape(len(labels), -1)], axis=1)
    return records.tobytes(), pixels


def some_split(n, shape=(1, 2, 2), classes=3):
    """n images whose every pixel is the image's number."""
    images = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, *shape))
    return Split(images.copy(), np.arange(n) % classes)


def counts(split, classes=10):
    return np.bincount(split.labels, minlength=classes)


# --- Split and Dataset


def bad_splits():
    images, labels = np.zeros((3, 1, 2, 2), np.float32), np.zeros(3, np.int64)
    nan, inf = images.copy(), images.copy()
    nan[1, 0, 1, 1], inf[2, 0, 0, 0] = np.nan, -np.inf
    yield "integer images", images.astype(np.uint8), labels, "uint8.*convert them to float"
    yield "float64 images", images.astype(np.float64), labels, "float64.*float32"
    yield "a list", images.tolist(), labels, "images are a list"
    yield "rank 3", images[:, 0], labels, r"\(3, 2, 2\).*\(N, C, H, W\)"
    yield "no images", images[:0], labels[:0], r"\(0, 1, 2, 2\).*no size of 0"
    yield "no pixels", images[..., :0], labels, "no size of 0"
    yield "too few labels", images, labels[:2], r"\(2,\).*\(3,\)"
    yield "labels of rank 2", images, labels[:, None], r"\(3, 1\).*\(3,\)"
    yield "float labels", images, labels.astype(np.float32), "labels are float32.*int64"
    yield "NaN", nan, labels, "index 1 holds NaN"
    yield "infinity", inf, labels, "index 2 holds NaN or infinity"


@pytest.mark.parametrize(
    "images, labels, message", [pytest.param(*c[1:], id=c[0]) for c in bad_splits()]
)
def test_a_split_refuses_what_is_no_batch_of_images(images, labels, message):
    with pytest.raises(InputError, match=message):
        Split(images, labels)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_dataset_refuses_a_label_out_of_range_and_says_which(label):
    good, bad = some_split(6), some_split(6)
    bad.labels[4] = label
    message = rf"validation label at index 4 is {label}, expected 0 to 2 \(3 classes\)"
    with pytest.raises(InputError, match=message):
        Dataset("toy", 3, good, bad, good)


def test_a_dataset_refuses_splits_of_different_image_shapes():
    with pytest.raises(InputError, match=r"test images have shape \(1, 2, 3\)"):
        Dataset("toy", 3, some_split(3), some_split(3), some_split(3, (1, 2, 3)))


def test_a_dataset_has_no_augmentation_unless_given_and_refuses_what_is_none():
    assert Dataset("toy", 3, *[some_split(3)] * 3).augmentation == Augmentation()
    with pytest.raises(InputError, match=r"toy: augmentation is None.*Augmentation\(\)"):
        Dataset("toy", 3, *[some_split(3)] * 3, augmentation=None)


# --- the digits


def test_the_digits_are_the_file_that_the_readme_describes():
    content = FILE.read_bytes()
    readme = (FILE.parent / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(content).hexdigest() in readme
    assert hashlib.sha256(gzip.decompress(content)).hexdigest() in readme


def test_the_digits_splits_are_fixed_stratified_disjoint_and_exhaustive():
    digits = load_dataset("digits")
    assert (digits.name, digits.classes, digits.image_shape) == ("digits", 10, (1, 8, 8))
    assert [len(s) for s in digits.splits.values()] == [1071, 362, 364]

    # The rule of data/README.md once more, the slow way and on the file itself.
    rows = [
        tuple(map(int, line.split(",")))
        for line in gzip.decompress(FILE.read_bytes()).decode().splitlines()
    ]
    expected, seen = {"train": [], "validation": [], "test": []}, [0] * 10
    for row in rows:
        turn = seen[row[-1]] % 5
        expected[{0: "test", 1: "validation"}.get(turn, "train")].append(row)
        seen[row[-1]] += 1
    train = np.array(expected["train"])[:, :64]
    for name, split in digits.splits.items():
        raw = split.images.reshape(len(split), 64) * train.std() + train.mean()
        assert np.abs(raw - np.rint(raw)).max() < 1e-4
        found = [(*map(int, row), int(label)) for row, label in zip(np.rint(raw), split.labels)]
        assert found == expected[name]


def test_the_fashion_images_are_the_file_that_the_readme_describes():
    text = (ROOT / "data" / "README.md").read_text()
    assert hashlib.sha256((ROOT / "data" / "fashion.npz").read_bytes()).hexdigest() in text
    fashion = load_dataset("fashion")
    assert (fashion.classes, fashion.image_shape) == (10, (1, 14, 14))
    for split, images in zip(fashion.splits.values(), (400, 100, 100)):
        np.testing.assert_array_equal(np.bincount(split.labels), [images] * 10)
    assert fashion.augmentation.flip and not load_dataset("digits").augmentation.flip


def test_no_fashion_image_is_in_two_splits():
    seen = [
        {image.tobytes() for image in split.images}
        for split in load_dataset("fashion").splits.values()
    ]
    assert sum(map(len, seen)) - len(set.union(*seen)) == 0


def test_the_digits_have_not_changed():
    digest = hashlib.sha256()
    for split in load_dataset("digits").splits.values():
        # Rounded, since the last bit of a normalised pixel may differ between machines.
        digest.update(np.rint(split.images * 1000).astype("<i4").tobytes())
        digest.update(split.labels.astype("<i8").tobytes())
    assert digest.hexdigest() == (
        "35bc7885ec4547ab40a5b7f88f36ed47c1929636e0557b7c24d47018335c8bb5"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0,1,2\n",
        "x," * 64 + "1\n",
        "17," + "0," * 63 + "1\n",
        "0," * 64 + "10\n",
        "0," * 64 + "1\n" + "0," * 63 + "1\n",
        "0," * 64 + "256\n",
        "0," * 64 + "-1\n",
        "\xe9",
        "0," * 129 + "1\n",
    ],
)
def test_damaged_digits_are_refused(tmp_path, text):
    path = tmp_path / "digits.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="digits.csv"):
        read_digits(path)


# --- files


@settings(deadline=None, max_examples=30)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    packed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_idx_files_are_read_back(tmp_path_factory, shape, packed, seed):
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path_factory.mktemp("idx") / "no-telling-name"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    found = read_idx(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


def bad_idx_files():
    good = idx(np.arange(24).reshape(2, 3, 4))
    packed = gzip.compress(good)
    yield "empty", b"", "begin with two zero bytes"
    yield "foreign", b"\x89PNG\r\n\x1a\n", "not an IDX file"
    yield "magic cut", good[:3], "not an IDX file"
    yield "float values", idx(np.zeros((2, 2)), code=0x0D), "type 0x0d, expected 0x08"
    yield "header cut", good[:10], "header of 3 dimensions"
    yield "no dimensions", bytes([0, 0, 8, 0, 7]), "header of 0 dimensions"
    yield "too many dimensions", bytes([0, 0, 8, 200]) + bytes(1000), "1 to 3 dimensions"
    yield "truncated", good[:-1], "holds 39 bytes, expected 40"
    yield "trailing garbage", good + b"!", "holds 41 bytes, expected 40"
    yield "holds nothing", idx(np.zeros((0, 4, 4))), "at least one value"
    sizes = struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)
    yield "sizes that overflow", bytes([0, 0, 8, 3]) + sizes, r"expected 79,228,162,45\d,"
    yield "gzip cut", packed[:-9], "damaged gzip"
    yield "gzip flipped", packed[:14] + bytes([packed[14] ^ 255]) + packed[15:], "damaged gzip"
    yield "gzip of gigabytes", gzip.compress(good + bytes(7 * 10**7)), "unpacks to far more"
    yield "gzip with garbage", packed + b"garbage", "damaged gzip"
    yield "gzip of another file", gzip.compress(b"hello"), "not an IDX file"


@pytest.mark.parametrize(
    "content, message", [pytest.param(*c[1:], id=c[0]) for c in bad_idx_files()]
)
def test_bad_idx_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "file-idx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("read", [read_idx, read_cifar10])
def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path, read):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match=f"{path.name}: cannot be read"):
            read(path)


def test_gzip_files_may_have_several_members_and_be_filled_up(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content, path = idx(array), tmp_path / "file"
    path.write_bytes(gzip.compress(content[:20]) + gzip.compress(content[20:]) + bytes(512))
    np.testing.assert_array_equal(read_idx(path), array)


def test_a_path_that_no_file_can_have_is_told():
    for read in (read_idx, read_images, lambda path: load_dataset("npz", path)):
        for path in ("a\0b", "\ud800"):
            with pytest.raises(InputError, match="null|encode"):
                read(path)


@pytest.mark.parametrize(
    "shape, descr",
    [(f"({10**23},)", "'|u1'"), ("True", "'|u1'"), ("(2, 2, 2)", "()"), ("(1, 2)", "'|u1'")],
)
def test_images_whose_header_lies_are_refused(tmp_path, shape, descr):
    path = tmp_path / "images.npy"
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"
    path.write_bytes(with_header(text, bytes(8)))
    with pytest.raises(InputError, match="images.npy: damaged, or no plain array .its header"):
        read_images(path)


def test_cifar10_files_are_read_back(tmp_path):
    content, pixels = cifar([3, 9, 0], np.random.default_rng(0))
    path = tmp_path / "batch.bin"
    path.write_bytes(content)
    images, labels = read_cifar10(path)
    assert images.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(images, pixels)
    assert labels.tolist() == [3, 9, 0]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda content: b"", "holds 0 bytes"),
        (lambda content: content[:-1], "expected one or more CIFAR-10 records of 3,073 bytes"),
        (lambda content: content + b"!", "records of 3,073 bytes"),
        (
            lambda content: content[:RECORD] + b"\x0a" + content[RECORD + 1 :],
            "label at index 1 is 10",
        ),
        (lambda content: gzip.compress(content)[:-20], "damaged gzip"),
    ],
)
def test_bad_cifar10_files_are_refused_by_name(tmp_path, change, message):
    path = tmp_path / "batch.bin"
    path.write_bytes(change(cifar([3, 9], np.random.default_rng(0))[0]))
    with pytest.raises(InputError, match=message) as caught:
        read_cifar10(path)
    assert str(path) in str(caught.value)


# --- load_dataset


MNIST_LABELS = {"train": np.arange(130) % 10, "t10k": np.arange(40) % 10}


def write_mnist(folder, spelling="{}-{}-idx{}-ubyte", packed=False, labels=MNIST_LABELS):
    """A small MNIST of 4x5 images, image i all of the pixel i."""
    for part, part_labels in labels.items():
        images = np.broadcast_to(
            np.arange(len(part_labels))[:, None, None], (len(part_labels), 4, 5)
        )
        for kind, array in (("images", images), ("labels", part_labels)):
            content = gzip.compress(idx(array)) if packed else idx(array)
            name = spelling.format(part, kind, array.ndim) + ".gz" * packed
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("spelling", ["{}-{}-idx{}-ubyte", "{}-{}.idx{}-ubyte"])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_found_under_every_published_name(tmp_path, spelling, packed):
    write_mnist(tmp_path, spelling, packed)
    mnist = load_dataset("mnist", str(tmp_path))
    assert mnist.image_shape == (1, 4, 5)
    # Classes take turns, so images 0-9, 60-69 and 120-129 are number 0, 6 and 12 of theirs.
    held = [*range(10), *range(60, 70), *range(120, 130)]
    rest = [i for i in range(130) if i not in held]
    raw = np.array(rest)
    for split, expected in zip(mnist.splits.values(), (rest, held, range(40))):
        found = split.images[:, 0] * raw.std() + raw.mean()
        np.testing.assert_allclose(
            found, np.broadcast_to(np.array(expected)[:, None, None], found.shape), atol=1e-4
        )
        np.testing.assert_array_equal(split.labels, np.array(expected) % 10)


def test_a_missing_mnist_file_is_named_with_all_its_spellings(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="MNIST t10k labels not found") as caught:
        load_dataset("mnist", tmp_path)
    for name in (
        "t10k-labels-idx1-ubyte",
        "t10k-labels-idx1-ubyte.gz",
        "t10k-labels.idx1-ubyte",
        "t10k-labels.idx1-ubyte.gz",
    ):
        assert name in re.split("[ ,]+", str(caught.value))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("train-images-idx3-ubyte", idx(np.zeros(130)), "expected 3 dimension"),
        ("train-labels-idx1-ubyte", idx(np.zeros((130, 4, 5))), "expected 1 dimension"),
        ("train-labels-idx1-ubyte", idx(np.zeros(129)), "130 train images but 129 labels"),
        ("train-labels-idx1-ubyte", idx(np.arange(130)), "label at index 10 is 10"),
        (
            "t10k-images-idx3-ubyte",
            idx(np.zeros((40, 5, 4))),
            r"test images have shape \(1, 5, 4\)",
        ),
    ],
)
def test_mnist_files_that_do_not_fit_together_are_refused(tmp_path, name, content, message):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_dataset("mnist", tmp_path)


def write_cifar10(folder, numbers_of_batches, size=40):
    """Small CIFAR-10 files; returns the pixels of each by the name's last word."""
    rng = np.random.default_rng(1)
    pixels = {}
    for word in [*numbers_of_batches, "test"]:
        name = "test_batch.bin" if word == "test" else f"data_batch_{word}.bin"
        content, pixels[word] = cifar(np.arange(size) % 10, rng)
        (folder / name).write_bytes(content)
    return pixels


def test_cifar10_takes_the_batches_that_are_there_and_normalises_each_channel(tmp_path):
    pixels = write_cifar10(tmp_path, [2, 4])
    dataset = load_dataset("cifar10", tmp_path)
    every = np.concatenate([pixels[2], pixels[4]])
    place = np.arange(80) // 10  # classes take turns
    train = every[place % 5 != 0].astype(np.float64)
    mean, std = train.mean((0, 2, 3))[:, None, None], train.std((0, 2, 3))[:, None, None]
    np.testing.assert_allclose(dataset.train.images, (train - mean) / std, atol=1e-5)
    np.testing.assert_allclose(
        dataset.validation.images, (every[place % 5 == 0] - mean) / std, atol=1e-5
    )
    np.testing.assert_allclose(dataset.test.images, (pixels["test"] - mean) / std, atol=1e-5)


def test_cifar10_needs_a_training_batch_and_the_test_batch(tmp_path):
    write_cifar10(tmp_path, [])
    with pytest.raises(InputError, match="no CIFAR-10 training images, looked for data_batch_1"):
        load_dataset("cifar10", tmp_path)
    write_cifar10(tmp_path, [1])
    (tmp_path / "test_batch.bin").unlink()
    with pytest.raises(InputError, match="test images not found.*test_batch.bin"):
        load_dataset("cifar10", tmp_path)


def test_a_constant_channel_becomes_zero(tmp_path):
    pixels = np.full((40, 4, 4), 7)
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(pixels))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(40) % 10))
    assert not load_dataset("mnist", tmp_path).train.images.any()


def test_too_few_images_to_train_on_are_refused(tmp_path):
    write_mnist(tmp_path, labels={"train": np.arange(10), "t10k": np.arange(10)})
    with pytest.raises(InputError, match="too few images"):
        load_dataset("mnist", tmp_path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("imagenet",), "unknown data set 'imagenet'.*digits, fashion, mnist, cifar10, npz"),
        (("mnist",), 'mnist is not bundled.*data_dir="FOLDER"'),
        (("cifar10",), 'cifar10 is not bundled.*data_dir="FOLDER"'),
        (("digits", "."), "bundled.*leave out data_dir"),
        (("fashion", "."), "bundled.*leave out data_dir"),
        (("mnist", "no/such/folder"), "no/such/folder: no such folder"),
        (("digits", None, 0), "limit is 0"),
    ],
)
def test_load_dataset_says_what_it_needs(arguments, message):
    with pytest.raises(InputError, match=message):
        load_dataset(*arguments)


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(limit=st.integers(1, 1200))
def test_a_limit_keeps_every_class_in_proportion(limit):
    full, part = load_dataset("digits"), load_dataset("digits", limit=limit)
    fraction = min(1, limit / 1071)
    assert len(part.train) == min(limit, 1071)
    for name, split in part.splits.items():
        whole = full.splits[name]
        assert len(split) == max(1, round(fraction * len(whole)))
        share = len(split) / len(whole)
        assert np.all(np.abs(counts(split) - share * counts(whole)) <= 1)
        # The same pixels as without a limit, in the same order, none of them twice.
        position = {image.tobytes(): i for i, image in enumerate(whole.images)}
        kept = [position[image.tobytes()] for image in split.images]
        assert kept == sorted(set(kept))
        np.testing.assert_array_equal(split.labels, whole.labels[kept])


def test_a_limit_of_one_image_for_each_class_has_every_class():
    assert counts(load_dataset("digits", limit=10).train).tolist() == [1] * 10


def test_a_limit_spreads_over_the_file_and_is_deterministic():
    full = load_dataset("digits")
    first, second = (load_dataset("digits", limit=100) for _ in range(2))
    np.testing.assert_array_equal(first.train.images, second.train.images)
    kept = {image.tobytes() for image in first.train.images}
    places = [i for i, image in enumerate(full.train.images) if image.tobytes() in kept]
    quarters = np.bincount(np.array(places) * 4 // len(full.train), minlength=4)
    assert quarters.min() >= 20


# --- one's own arrays and files


def own_arrays(seed=0, dtype=np.uint8, shape=(2, 4, 5), classes=3, validation=False):
    """The arguments of dataset_from_arrays: 40 images to train, 12 to test, 9 to validate."""
    rng = np.random.default_rng(seed)
    arrays = {}
    parts = {"train": 40, "test": 12} | ({"validation": 9} if validation else {})
    for part, n in parts.items():
        pixels = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        images = pixels if dtype == np.uint8 else (pixels / 100 - 1).astype(dtype)
        arrays[f"{part}_images"] = images
        arrays[f"{part}_labels"] = rng.permutation(np.arange(n) % classes)
    return arrays


def assert_same_dataset(one, two):
    assert (one.classes, one.augmentation) == (two.classes, two.augmentation)
    np.testing.assert_array_equal((one.mean, one.std), (two.mean, two.std))
    for first, second in zip(one.splits.values(), two.splits.values()):
        np.testing.assert_array_equal(first.images, second.images)
        np.testing.assert_array_equal(first.labels, second.labels)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 99),
    channels=st.integers(1, 3),
    classes=st.integers(1, 5),
    validation=st.booleans(),
    label_type=st.sampled_from([np.uint8, np.int16, np.int64, np.uint64, ">i4"]),
)
def test_own_pixels_are_split_by_position_and_normalised(
    seed, channels, classes, validation, label_type
):
    arrays = own_arrays(seed, np.uint8, (channels, 4, 5), classes, validation)
    labels = arrays["train_labels"].tolist()
    arrays = {
        key: array.astype(label_type) if "labels" in key else array for key, array in arrays.items()
    }
    dataset = dataset_from_arrays("mine", **arrays)
    assert (dataset.name, dataset.classes, dataset.image_shape) == (
        "mine",
        classes,
        (channels, 4, 5),
    )
    held = [] if validation else [i for i in range(40) if labels[:i].count(labels[i]) % 5 == 0]
    rest = [i for i in range(40) if i not in held]
    train = arrays["train_images"][rest].astype(np.float64)
    mean, std = train.mean((0, 2, 3)), train.std((0, 2, 3))
    np.testing.assert_allclose((dataset.mean, dataset.std), (mean, std))
    expected = {
        "train": (arrays["train_images"][rest], arrays["train_labels"][rest]),
        "validation": (arrays["train_images"][held], arrays["train_labels"][held]),
        "test": (arrays["test_images"], arrays["test_labels"]),
    }
    if validation:
        expected["validation"] = arrays["validation_images"], arrays["validation_labels"]
    for part, (pixels, part_labels) in expected.items():
        split = dataset.splits[part]
        found = split.images * std[:, None, None] + mean[:, None, None]
        np.testing.assert_allclose(found, pixels, atol=1e-3)
        np.testing.assert_array_equal(split.labels, part_labels.astype(np.int64))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_own_floats_are_taken_as_they_are(dtype):
    arrays = own_arrays(dtype=dtype, validation=True)
    dataset = dataset_from_arrays("mine", **arrays)
    for part, split in dataset.splits.items():
        np.testing.assert_array_equal(split.images, arrays[f"{part}_images"].astype(np.float32))
    assert dataset.mean.tolist() == [0, 0] and dataset.std.tolist() == [1, 1]
    raw = own_arrays()["test_images"]  # an exported network would take even bytes as they are
    np.testing.assert_array_equal(normalise(raw, dataset.mean, dataset.std), raw)


def test_own_arrays_are_copied_and_may_lack_the_axis_of_channels():
    arrays = own_arrays(dtype=np.float32, shape=(1, 4, 5), validation=True)
    flat = {key: a[:, 0] if "images" in key else a for key, a in arrays.items()}
    dataset = dataset_from_arrays("mine", **flat)
    assert_same_dataset(dataset, dataset_from_arrays("mine", **arrays))
    for split in dataset.splits.values():
        split.images[:], split.labels[:] = -9, 0
    assert all((array > -9).all() for array in arrays.values())
    assert arrays["train_labels"].any()


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_the_last_class_is_the_largest_label_of_any_split(part):
    arrays = own_arrays(validation=True)
    arrays[f"{part}_labels"][3] = 7
    assert dataset_from_arrays("mine", **arrays).classes == 8


def test_own_arrays_may_have_an_augmentation():
    chosen = Augmentation(flip=True)
    dataset = dataset_from_arrays("mine", **own_arrays(), augmentation=chosen)
    assert dataset.augmentation == chosen
    assert dataset_from_arrays("mine", **own_arrays()).augmentation == Augmentation()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_limit_thins_own_arrays_as_any_other_and_keeps_the_normalisation(dtype):
    arrays = own_arrays(dtype=dtype, validation=True)
    full = dataset_from_arrays("mine", **arrays)
    part = dataset_from_arrays("mine", **arrays, limit=10)
    assert [len(split) for split in part.splits.values()] == [10, 2, 3]
    np.testing.assert_array_equal((part.mean, part.std), (full.mean, full.std))
    assert counts(part.train, 3).min() >= 3
    for name, split in part.splits.items():
        whole = {image.tobytes() for image in full.splits[name].images}
        assert {image.tobytes() for image in split.images} <= whole
    with pytest.raises(InputError, match="limit is 0"):
        dataset_from_arrays("mine", **arrays, limit=0)


def bad_own_arrays():
    """(name, key, what is put there, what the message says)."""
    good = own_arrays()
    images, labels = good["train_images"], good["train_labels"]
    floats = own_arrays(dtype=np.float32)["test_images"]
    nan, overflow, negative, large = (
        floats.copy(),
        floats.astype(np.float64),
        labels.copy(),
        labels.copy(),
    )
    nan[3, 0, 1, 1], overflow[4, 1, 0, 0], negative[5:7], large[0] = np.nan, 1e300, (-1, -9), 40
    one_dtype = "test_images are float32 but train_images uint8.*one dtype"
    yield (
        "rank 2",
        "train_images",
        images[:, 0, 0],
        r"train_images have shape \(40, 5\).*\(N, H, W\)",
    )
    yield "rank 5", "test_images", images[None], r"test_images have shape \(1, 40.*\(N, C, H, W\)"
    yield "no images", "test_images", images[:0], "test_images .*no size of 0"
    yield (
        "integers",
        "train_images",
        images.astype(np.int64),
        "train_images are int64.*uint8.*floats",
    )
    yield "complex", "test_images", images.astype(complex), "test_images are complex128"
    yield "objects", "train_images", images.astype(object), "train_images are object"
    yield "text", "train_images", images.astype(str), "train_images are <U"
    yield "a list", "test_images", images.tolist(), "test_images are a list, expected a NumPy array"
    yield "mixed dtypes", "test_images", floats, one_dtype
    yield (
        "other shape",
        "test_images",
        images[:12, :1],
        r"test_images are of \(1, 4, 5\).*\(2, 4, 5\)",
    )
    yield "NaN", "test_images", nan, "test_images: the image at index 3 holds NaN.*1 of 12"
    yield "overflow", "test_images", overflow, "index 4 holds NaN or infinity as float32"
    yield (
        "label below 0",
        "train_labels",
        negative,
        "train_labels: .*index 5 is -1, expected 0 or more",
    )
    yield (
        "label too large",
        "train_labels",
        large,
        "train_labels go up to 40, but .* 40 training images",
    )
    yield (
        "float labels",
        "test_labels",
        np.zeros(12),
        r"test_labels are float64.*astype\(np.int64\)",
    )
    yield (
        "bool labels",
        "test_labels",
        np.zeros(12, bool),
        "test_labels are bool, expected integers",
    )
    yield "too few labels", "test_labels", labels[:11], r"test_labels .*\(11,\), expected \(12,\)"
    yield (
        "one-hot labels",
        "test_labels",
        np.eye(3, dtype=int)[labels[:12]],
        r"\(12, 3\), expected \(12,\)",
    )
    yield "no labels", "test_labels", None, "test_labels are a NoneType"
    yield "half a validation", "validation_images", images, "validation_labels go together"
    yield "half a validation", "validation_labels", labels, "validation_labels go together"


@pytest.mark.parametrize(
    "key, value, message", [pytest.param(*c[1:], id=f"{c[0]} {c[1]}") for c in bad_own_arrays()]
)
def test_bad_own_arrays_are_refused_by_name_in_python_and_in_a_file(tmp_path, key, value, message):
    arrays = own_arrays() | {key: value}
    with pytest.raises(InputError, match=message):
        dataset_from_arrays("mine", **arrays)
    if isinstance(value, np.ndarray) and value.dtype != object:
        np.savez(tmp_path / "mine.npz", **arrays)
        with pytest.raises(InputError, match=f"mine.npz: .*{message}"):
            load_dataset("npz", tmp_path / "mine.npz")


def test_too_few_own_images_to_hold_some_out():
    arrays = own_arrays(classes=1)
    arrays["train_images"], arrays["train_labels"] = (
        arrays["train_images"][:1],
        arrays["train_labels"][:1],
    )
    with pytest.raises(InputError, match="too few images to leave any for training"):
        dataset_from_arrays("mine", **arrays)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("limit", [None, 12])
def test_a_file_is_read_as_its_arrays_are(tmp_path, save, dtype, validation, limit):
    arrays = own_arrays(dtype=dtype, validation=validation)
    save(tmp_path / "mine.npz", **arrays)
    dataset = load_dataset("npz", str(tmp_path / "mine.npz"), limit)
    assert dataset.name == "npz"
    assert_same_dataset(dataset, dataset_from_arrays("mine", **arrays, limit=limit))


def bad_npz_files():
    def npz(**arrays):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    good = own_arrays()
    content = npz(**good)
    few = {key: good[key] for key in ("train_images", "test_labels")}
    yield (
        "unknown key",
        npz(**good, labels=good["test_labels"]),
        "unknown key 'labels'; expected train",
    )
    yield (
        "missing keys",
        npz(**few),
        "lacks train_labels, test_images; expected train_images, train",
    )
    yield "no keys", npz(), "lacks train_images, train_labels, test_images, test_labels"
    yield "half a validation", npz(**good, validation_labels=good["test_labels"]), "go together"
    for length in (3, 40, len(content) // 2, len(content) - 1):
        yield f"cut to {length}", content[:length], "cut short or damaged|no .npz file"
    yield (
        "flipped",
        content[:700] + bytes([content[700] ^ 1]) + content[701:],
        "damaged .Bad CRC-32",
    )
    yield "empty", b"", "no .npz file; write one with np.savez.*validation_labels"
    yield "another file", b"\x89PNG\r\n", "no .npz file"
    buffer = io.BytesIO()
    np.save(buffer, good["train_images"])
    yield "npy", buffer.getvalue(), "no .npz file"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key in good:
            archive.writestr(f"{key}.npy", "no array")
    yield "no arrays", buffer.getvalue(), "train_images is no array"
    header = b"\x93NUMPY\x01\x00v\x00" + (
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000, 8, 8), }".ljust(117)
        + b"\n"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key in good:
            archive.writestr(f"{key}.npy", header)
    says = r"train_images is no array .*\(1000000000000000, 8, 8\).* 0 bytes are there"
    yield "huge shape", buffer.getvalue(), says


@pytest.mark.parametrize(
    "content, message", [pytest.param(*c[1:], id=c[0]) for c in bad_npz_files()]
)
def test_bad_npz_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_dataset("npz", path)
    assert str(path) in str(caught.value)


@settings(deadline=None, max_examples=200)
@given(place=st.integers(0, 10**6), change=st.integers(1, 255), cut=st.booleans())
def test_any_damage_to_an_npz_file_is_told_or_harmless(tmp_path_factory, place, change, cut):
    arrays = own_arrays(shape=(4, 5))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    content = bytearray(buffer.getvalue())
    place %= len(content)
    if cut:
        del content[place:]
    else:
        content[place] ^= change
    path = tmp_path_factory.mktemp("npz") / "mine.npz"
    path.write_bytes(content)
    try:
        dataset = load_dataset("npz", path)
    except InputError as error:
        assert str(path) in str(error)
    else:  # a date of the zip file, say
        assert_same_dataset(dataset, dataset_from_arrays("npz", **arrays))


@pytest.mark.parametrize(
    "path, message",
    [
        (None, 'data_dir="FILE.npz"'),
        (".", 'cannot be read.*data_dir="FILE.npz"'),
        ("no/file.npz", 'no/file.npz: cannot be read.*data_dir="FILE.npz"'),
    ],
)
def test_npz_needs_a_file(path, message):
    with pytest.raises(InputError, match=message):
        load_dataset("npz", path)


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_nothing_in_a_file_is_unpickled(tmp_path):
    for save in (np.save, np.savez):  # the bomb goes off where pickle is allowed
        array = np.array([Bomb(tmp_path / save.__name__)], object)
        path = tmp_path / f"{save.__name__}.npz"
        with open(path, "wb") as file:
            save(file, array) if save is np.save else save(
                file, **own_arrays(), validation_images=array
            )
        with pytest.raises(InputError, match="never read|no .npz file"):
            load_dataset("npz", path)
        assert not (tmp_path / save.__name__).exists()
    with np.load(tmp_path / "savez.npz", allow_pickle=True) as file:
        file["validation_images"]
    assert (tmp_path / "savez").exists()


def test_the_example_in_the_readme_makes_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (FILE.parent / "README.md").read_text(encoding="utf-8")
    (code,) = (c for c in re.findall("```python\n(.*?)```", readme, re.S) if '"bars.npz"' in c)
    exec(code, {})
    dataset = load_dataset("npz", "bars.npz")
    assert (dataset.classes, dataset.image_shape) == (2, (1, 8, 8))
    assert [len(split) for split in dataset.splits.values()] == [160, 40, 100]


def test_read_images_refuses_an_npz_file(tmp_path):
    np.savez(tmp_path / "mine.npz", **own_arrays())
    with pytest.raises(InputError, match=r"mine.npz: an .npz .*np.save"):
        read_images(tmp_path / "mine.npz")


# --- augmentation


def stripes(n, height, width):
    """(n, 1, H, W), every pixel different and none 0, so that a copy tells where it was from."""
    image = np.arange(1, height * width + 1, dtype=np.float32).reshape(1, 1, height, width)
    return np.repeat(image, n, axis=0)


@settings(deadline=None, max_examples=20)
@given(
    padding=st.integers(1, 3),
    height=st.integers(4, 7),
    width=st.integers(4, 7),
    seed=st.integers(0, 99),
)
def test_crop_shifts_each_image_by_its_own_offset(padding, height, width, seed):
    n, sides = 1000, 2 * padding + 1
    images = stripes(n, height, width)
    padded = np.pad(images[0, 0], padding)
    crops = {
        padded[y : y + height, x : x + width].tobytes(): (y, x)
        for y in range(sides)
        for x in range(sides)
    }
    out = Augmentation(crop_padding=padding)(images, np.random.default_rng(seed))
    assert out.shape == images.shape and out.dtype == np.float32 and out.flags.c_contiguous
    offsets = np.array([crops[image[0].tobytes()] for image in out])
    for axis in (0, 1):
        drawn = np.bincount(offsets[:, axis], minlength=sides)
        # All of 0 to 2p, each about equally often: six standard deviations either way.
        assert np.all(np.abs(drawn - n / sides) < 6 * math.sqrt(n / sides))
    assert len({tuple(o) for o in offsets}) == sides**2  # rows and columns apart from each other


def test_flip_mirrors_half_of_the_images_left_to_right():
    images = np.repeat(stripes(2000, 3, 4), 2, axis=1)
    out = Augmentation(flip=True)(images, np.random.default_rng(0))
    mirrored = (out == images[..., ::-1]).all(axis=(1, 2, 3))
    same = (out == images).all(axis=(1, 2, 3))
    assert np.all(mirrored ^ same)
    assert abs(mirrored.sum() - 1000) < 6 * math.sqrt(500)


@settings(deadline=None, max_examples=20)
@given(
    side=st.integers(1, 12),
    height=st.integers(3, 8),
    width=st.integers(3, 8),
    seed=st.integers(0, 99),
)
def test_cutout_clears_one_square_around_a_uniform_centre(side, height, width, seed):
    n = 2000
    images = np.repeat(stripes(n, height, width), 2, axis=1)
    out = Augmentation(cutout=side)(images, np.random.default_rng(seed))
    cleared = out == 0
    np.testing.assert_array_equal(out[~cleared], images[~cleared])
    np.testing.assert_array_equal(cleared[:, 0], cleared[:, 1])  # all channels alike

    def spans(size):
        pixel = np.arange(size)
        first = pixel[:, None] - side // 2
        return (pixel >= first) & (pixel < first + side)

    expected = {}  # every cleared pattern, and how many of the H*W centres make it
    for row in spans(height):
        for column in spans(width):
            key = np.outer(row, column).tobytes()
            expected[key] = expected.get(key, 0) + 1
    found = {}
    for mask in cleared[:, 0]:
        found[mask.tobytes()] = found.get(mask.tobytes(), 0) + 1
    assert set(found) <= set(expected)
    for key, centres in expected.items():
        mean = n * centres / (height * width)
        assert abs(found.get(key, 0) - mean) < 8 * math.sqrt(mean) + 1


def test_cutout_inside_the_image_clears_the_whole_square():
    """The side is exact for odd sides as well, and the square hangs over the border at times."""
    for side in (4, 5):
        out = Augmentation(cutout=side)(
            np.ones((500, 1, 20, 20), np.float32), np.random.default_rng(0)
        )
        areas = np.sum(out == 0, axis=(1, 2, 3))
        assert areas.max() == side**2 and np.sum(areas == side**2) > 250
        assert areas.min() < side**2


@pytest.mark.parametrize(
    "augment",
    [
        Augmentation(),
        Augmentation(crop_padding=2),
        Augmentation(flip=True),
        Augmentation(cutout=3),
        Augmentation(2, True, 3),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_augmentation_returns_a_new_array_that_the_generator_decides(augment, dtype):
    images = np.random.default_rng(0).normal(size=(9, 2, 6, 5)).astype(dtype)
    before = images.copy()
    one, two = (augment(images, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(images, before)
    assert not np.shares_memory(one, images) and one.dtype == dtype and one.flags.c_contiguous
    if augment == Augmentation():
        np.testing.assert_array_equal(one, images)
    else:
        assert not np.array_equal(one, augment(images, np.random.default_rng(4)))


@pytest.mark.parametrize(
    "padding, flip, side", [(1, False, 0), (4, True, 0), (4, True, 6), (0, True, 3)]
)
def test_augmentation_draws_in_a_fixed_order_and_gives_fixed_bits(padding, flip, side):
    """Crops, then mirrors, then centres of squares: what a run was trained on is never to change."""
    images = np.random.default_rng(0).standard_normal((20, 3, 9, 7)).astype(np.float32)
    images[:, :, 4] = -0.0  # copied as it is, where a sum would lose the sign
    rng = np.random.default_rng(5)
    expected = []
    zero = np.zeros(20, int)
    top, left = rng.integers(0, 2 * padding + 1, size=(2, 20)) if padding else (zero, zero)
    mirrored = rng.random(20) < 0.5 if flip else zero
    y, x = (rng.integers(0, size, (20, 1))[:, 0] - side // 2 if side else zero for size in (9, 7))
    for i, image in enumerate(images):
        image = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        image = image[:, top[i] : top[i] + 9, left[i] : left[i] + 7].copy()
        image = image[:, :, ::-1].copy() if mirrored[i] else image
        image[:, max(y[i], 0) : y[i] + side, max(x[i], 0) : x[i] + side] = 0
        expected.append(image)
    out = Augmentation(padding, flip, side)(images, np.random.default_rng(5))
    assert out.tobytes() == np.array(expected).tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {"crop_padding": -1},
        {"cutout": -2},
        {"cutout": 1.5},
        {"crop_padding": True},
        {"flip": 1},
    ],
)
def test_augmentation_refuses_bad_options(options):
    with pytest.raises(InputError, match=next(iter(options))):
        Augmentation(**options)


def test_augmentation_refuses_a_single_image():
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        Augmentation(flip=True)(np.zeros((1, 8, 8), np.float32), np.random.default_rng(0))


def test_the_named_data_sets_bring_their_augmentation_and_never_mirror_a_digit(tmp_path):
    write_mnist(tmp_path)
    write_cifar10(tmp_path, [1])
    assert load_dataset("digits").augmentation == Augmentation(crop_padding=1)
    assert load_dataset("mnist", tmp_path).augmentation == Augmentation(crop_padding=2)
    expected = Augmentation(crop_padding=4, flip=True, cutout=16)
    assert load_dataset("cifar10", tmp_path).augmentation == expected


# --- batches


@settings(deadline=None, max_examples=50)
@given(
    n=st.integers(1, 40),
    size=st.integers(1, 45),
    seed=st.none() | st.integers(0, 9),
    drop_last=st.booleans(),
)
def test_batches_hold_every_image_once_with_its_label(n, size, seed, drop_last):
    split = some_split(n)
    if drop_last and size > n:
        with pytest.raises(InputError, match=f"{size} but the split has {n} images"):
            batches(split, size, drop_last=True)
        return
    rng = None if seed is None else np.random.default_rng(seed)
    got = list(batches(split, size, rng, drop_last=drop_last))
    whole, rest = divmod(n, size)
    sizes = [size] * whole + [rest] * (rest > 0 and not drop_last)
    assert [len(images) for images, _ in got] == sizes
    seen = np.concatenate([images[:, 0, 0, 0] for images, _ in got]).astype(int)
    assert len(set(seen)) == len(seen) == sum(sizes)
    np.testing.assert_array_equal(np.concatenate([y for _, y in got]), split.labels[seen])
    if rng is None:
        assert seen.tolist() == list(range(sum(sizes)))


def test_batches_shuffle_by_the_generator():
    split = some_split(50)

    def order(rng):
        return np.concatenate([x[:, 0, 0, 0] for x, _ in batches(split, 7, rng)]).tolist()

    rng = np.random.default_rng(0)
    first, second = order(rng), order(rng)
    assert first == order(np.random.default_rng(0))
    assert first != second and first != sorted(first)


def test_batches_augment_the_images_and_are_copies():
    split = some_split(8)

    def negative(images, rng):
        assert isinstance(rng, np.random.Generator)
        return -images

    got = np.concatenate([x for x, _ in batches(split, 3, np.random.default_rng(0), negative)])
    assert sorted(-got[:, 0, 0, 0]) == list(range(8))
    for images, labels in batches(split, 8):
        images[:], labels[:] = -1, -1
    assert split.images[:, 0, 0, 0].tolist() == list(range(8)) and split.labels.min() == 0


def test_batches_refuse_bad_arguments_at_the_call():
    split = some_split(4)
    with pytest.raises(InputError, match="batch_size is 0, expected at least 1"):
        batches(split, 0)
    with pytest.raises(TypeError):
        batches(split, 2.5)
    with pytest.raises(ValueError, match="pass rng"):
        batches(split, 2, augment=Augmentation(flip=True))


# --- looking


def test_describe_tells_every_split_with_its_numbers():
    lines = describe(load_dataset("digits")).splitlines()
    assert "10 classes" in lines[0] and "1 x 8 x 8" in lines[0]
    assert (
        lines[2].split()
        == ("train 1,071 0.000 1.000 -0.813 1.843 106 108 105 109 108 108 108 107 104 108").split()
    )
    assert [line.split()[:2] for line in lines[3:]] == [["validation", "362"], ["test", "364"]]


def test_ascii_image_is_blank_where_dark_and_dense_where_bright():
    ramp = np.linspace(-1, 1, 10, dtype=np.float32).reshape(2, 5)
    assert ascii_image(ramp) == "  ..::--==\n++**##%%@@"
    assert ascii_image(np.stack([ramp, ramp])) == ascii_image(ramp)
    assert ascii_image(np.ones((1, 2, 2), np.float32)) == "    \n    "
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        ascii_image(np.zeros((1, 1, 2, 2)))


# --- the published files, where they are at hand


@pytest.mark.slow
def test_real_mnist():
    mnist = load_dataset("mnist", real_data("mnist"))
    assert mnist.image_shape == (1, 28, 28)
    assert [len(s) for s in mnist.splits.values()] == [49_995, 10_005, 10_000]
    # Counts of the published training set: 5,923 zeros, 6,742 ones, ...
    total = counts(mnist.train) + counts(mnist.validation)
    assert total.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.train.images.mean(dtype=np.float64) == pytest.approx(0, abs=1e-5)
    assert mnist.train.images.std(dtype=np.float64) == pytest.approx(1, abs=1e-5)


def test_real_cifar10():
    dataset = load_dataset("cifar10", real_data("cifar-10-batches-bin"), limit=1000)
    assert dataset.image_shape == (3, 32, 32)
    assert len(dataset.train) == 1000 and counts(dataset.train).min() >= 90
    assert np.abs(dataset.train.images.mean(axis=(0, 2, 3))).max() < 0.1
    assert np.abs(dataset.train.images.std(axis=(0, 2, 3)) - 1).max() < 0.1


# --- arrays of one's own, and what a session shows


def test_batches_of_arrays():
    x, y = np.arange(10).reshape(5, 2), np.arange(5)
    seen = list(batches((x, y, y * 2), 2, np.random.default_rng(0)))
    assert [len(batch) for batch in seen] == [3, 3, 3]
    rows, labels, doubled = (np.concatenate(part) for part in zip(*seen))
    np.testing.assert_array_equal(rows, x[labels])
    np.testing.assert_array_equal(doubled, 2 * labels)
    assert sorted(labels) == list(range(5)) and list(labels) != list(range(5))


@pytest.mark.parametrize(
    "arrays, error, message",
    [
        (np.ones((4, 2)), TypeError, r"batches\(\(images, labels\), batch_size\)"),
        ((), TypeError, "got tuple"),
        ((np.ones(3), np.ones(4)), ValueError, r"\[3, 4\] rows, expected as many in each"),
        ((np.ones(3), 1.0), ValueError, r"\[3, None\] rows"),
    ],
)
def test_batches_of_other_things_are_refused(arrays, error, message):
    with pytest.raises(error, match=message):
        batches(arrays, 2)


def test_a_data_set_is_printed_in_one_line():
    digits = load_dataset("digits", limit=100)
    assert repr(digits) == (
        f"Dataset('digits', 10 classes, images of 1 x 8 x 8: train 100, "
        f"validation {len(digits.validation)}, test {len(digits.test)})"
    )
    assert repr(digits.train) == "Split(100 images of 1 x 8 x 8, with labels)"
