"""Data sets in three fixed splits, checked and normalised.

`load_dataset` finds the files of a data set by name, `dataset_from_arrays` takes one's own arrays.
Both split each class by position and scale the pixels. What they return has been validated, so
the floors above need not look again.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnas.data.arrays import check_arrays, read_npz
from bnas.data.augmentation import Augmentation
from bnas.data.formats import CLASSES, check_labels, read_cifar10, read_digits, read_idx
from bnas.errors import InputError, argument

_PACKAGE = Path(__file__).resolve().parents[1]
# The first place is that of an installed package, the second that of the source tree.
_BUNDLED = _PACKAGE / "bundled", _PACKAGE.parent / "data"
_Raw = tuple[np.ndarray, np.ndarray]  # images (N, C, H, W), uint8 or floats, and labels (N,)
# cifar10 as DARTS trains a found network (Liu et al. 2019, arXiv 1806.09055); its search leaves
# cutout out. No flip of a digit, for mirrored it is none; no cutout, for one stroke tells 3 from 8.
# Mirrored clothes are clothes.
_AUGMENTATIONS = {
    "digits": Augmentation(crop_padding=1),
    "fashion": Augmentation(crop_padding=1, flip=True),
    "mnist": Augmentation(crop_padding=2),
    "cifar10": Augmentation(crop_padding=4, flip=True, cutout=16),
}


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels: one part (train, validation or test) of a data set.

    images: float32 (N, C, H, W), finite, N >= 1; labels: int64 (N,).
    Raises InputError for any other rank, dtype or length, for no images, NaN or infinity.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        images, labels = self.images, self.labels
        for name, array in (("images", images), ("labels", labels)):
            if not isinstance(array, np.ndarray):
                raise InputError(f"{name} are a {type(array).__name__}, expected a NumPy array")
        if images.dtype != np.float32:
            raise InputError(
                f"images are {images.dtype}, expected float32: "
                "convert them to float with images.astype(np.float32)"
            )
        if images.ndim != 4 or 0 in images.shape:
            raise InputError(
                f"images have shape {images.shape}, expected (N, C, H, W) with no size of 0"
            )
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise InputError(
                f"labels are {labels.dtype} of shape {labels.shape}, "
                f"expected int64 of shape ({len(images)},), one for each image"
            )
        finite = np.isfinite(images).all(axis=(1, 2, 3))
        if not finite.all():
            raise InputError(
                f"the image at index {finite.argmin()} holds NaN or infinity, like "
                f"{np.sum(~finite)} of {len(images)} images: mend them or leave them out"
            )

    def __len__(self):
        return len(self.images)

    def __repr__(self):
        channels, height, width = self.images.shape[1:]
        return f"Split({len(self):,} images of {channels} x {height} x {width}, with labels)"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set in three splits of one image shape, with labels in range(classes).

    mean, std: float64 (C,), what normalisation took out of the raw pixels (0 to 255), if it did.
    augmentation: the random changes to the images of a training step; none unless given.
    Raises InputError for a label out of range, splits whose images differ in shape, or an
    augmentation of another type.
    """

    name: str
    classes: int
    train: Split
    validation: Split
    test: Split
    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    augmentation: Augmentation = Augmentation()

    def __post_init__(self):
        if not isinstance(self.augmentation, Augmentation):
            raise InputError(
                f"{self.name}: augmentation is {self.augmentation!r}, expected an Augmentation; "
                "Augmentation() changes nothing"
            )
        for split_name, split in self.splits.items():
            wrong = np.flatnonzero((split.labels < 0) | (split.labels >= self.classes))
            if wrong.size:
                raise InputError(
                    f"{self.name}: the {split_name} label at index {wrong[0]} is "
                    f"{split.labels[wrong[0]]}, expected 0 to {self.classes - 1} "
                    f"({self.classes} classes)"
                )
            if split.images.shape[1:] != self.image_shape:
                raise InputError(
                    f"{self.name}: {split_name} images have shape {split.images.shape[1:]}, "
                    f"expected {self.image_shape} like the training images"
                )

    def __repr__(self):
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        shape = " x ".join(map(str, self.image_shape))
        return f"Dataset({self.name!r}, {self.classes} classes, images of {shape}: {sizes})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return self.train.images.shape[1:]

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def load_dataset(name: str, data_dir=None, limit: int | None = None) -> Dataset:
    """Read a data set and normalise it per channel by the training split's mean and deviation.

    name, and the fixed stratified split (i counts the images of one class in file order):
      "digits"   bundled, 1x8x8: i mod 5 = 0 is test, 1 validation, 2 to 4 train;
      "fashion"  bundled, 1x14x14: 400 images a class of Fashion-MNIST are train, 100 validation, 100 test;
      "mnist"    1x28x28: of the training files i mod 6 = 0 is validation; t10k is test (the published files
                 of Fashion-MNIST have the same names and format);
      "cifar10"  3x32x32: of the data_batch_[1-5].bin that are there (at least one) i mod 5 = 0 is
                 validation; test_batch.bin is test;
      "npz"      a file of one's own, with the arguments of `dataset_from_arrays` for its keys.
    data_dir: the folder with the published files of mnist or cifar10, or the .npz file itself.
    limit: keep at most so many training images, and of validation and test the same fraction (at
      least one image), each class in proportion. The normalisation stays that of all training
      images, so a model trained on fewer can be evaluated on all.
    The named sets have an augmentation: a crop after 1 (digits, fashion), 2 (mnist) or 4 (cifar10)
    pixels of padding, for fashion and cifar10 a flip, and for cifar10 cutout 16 as well.
    Raises InputError for an unknown name, a missing or damaged file, a limit below 1.
    """
    if name == "npz":
        arrays = read_npz(data_dir)
        try:
            return dataset_from_arrays(name, **arrays, limit=limit)
        except InputError as error:
            raise InputError(f"{data_dir}: {error}") from error
    if name not in _LOADERS:
        known = ", ".join((*_LOADERS, "npz"))
        raise InputError(f"unknown data set {name!r}: choose one of {known}")
    _check_limit(limit)
    return _assemble(name, CLASSES, _LOADERS[name](data_dir), limit, _AUGMENTATIONS[name])


def dataset_from_arrays(
    name: str,
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    validation_images: np.ndarray | None = None,
    validation_labels: np.ndarray | None = None,
    limit: int | None = None,
    augmentation: Augmentation = Augmentation(),
) -> Dataset:
    """A Dataset from one's own arrays, which are copied.

    images: (N, C, H, W), or (N, H, W) for one channel, N >= 1, of one dtype in all splits. uint8
      are raw pixels, which are normalised per channel by the training split's mean and deviation.
      Floats have been normalised and are taken as they are, as float32; mean 0 and std 1 are
      recorded, so that an exported network takes them as they are, too.
    labels: any integers, (N,), from 0; the largest in any split is the last class.
    Without validation arrays, image 0, 5, 10, ... of each class of train is validation.
    limit: as for `load_dataset`. augmentation: of training images; none unless given.
    Raises InputError for another type, dtype or shape, splits of different dtype or image shape,
    NaN or infinity, negative labels, more classes than training images, one validation array
    without the other, too few images to leave any for training, a limit below 1.
    """
    _check_limit(limit)
    given = {"train": (train_images, train_labels), "test": (test_images, test_labels)}
    if validation_images is not None or validation_labels is not None:
        if validation_images is None or validation_labels is None:
            raise InputError(
                "validation_images and validation_labels go together: give both, or neither to "
                "take every 5th training image of each class"
            )
        given["validation"] = (validation_images, validation_labels)
    splits = check_arrays(given)
    classes = 1 + max(int(labels.max()) for _, labels in splits.values())
    if "validation" not in splits:
        splits["train"], splits["validation"] = _hold_out(*splits["train"], every=5)
    raw = tuple(splits[part] for part in ("train", "validation", "test"))
    return _assemble(name, classes, raw, limit, augmentation)


def _check_limit(limit: int | None):
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, expected at least 1 training image")


def _assemble(name: str, classes: int, raw, limit: int | None, augmentation) -> Dataset:
    """The Dataset of three raw splits: thinned to `limit`, and normalised if they are uint8."""
    train_images = raw[0][0]
    if not train_images.size:
        raise InputError(f"{name}: too few images to leave any for training after validation")
    pixels = train_images.dtype == np.uint8
    if pixels:
        mean, std = _channel_statistics(train_images)
    else:
        mean, std = np.zeros(train_images.shape[1]), np.ones(train_images.shape[1])
    fraction = 1 if limit is None else min(1, limit / len(train_images))
    splits = []
    for images, labels in raw:
        keep = _thin(labels, max(1, round(fraction * len(labels))))
        images = normalise(images[keep], mean, std) if pixels else images[keep]
        splits.append(Split(images, labels[keep].astype(np.int64)))
    return Dataset(name, classes, *splits, mean, std, augmentation)


def _bundled(name: str, file: str, data_dir) -> Path:
    """The path of a file that comes with bnas."""
    if data_dir is not None:
        raise InputError(f"the {name} are bundled with bnas: leave out ", argument("data_dir"))
    return _first_file([place / file for place in _BUNDLED], f"the bundled {name} (reinstall bnas)")


def _load_digits(data_dir) -> tuple[_Raw, _Raw, _Raw]:
    path = _bundled("digits", "optdigits.csv.gz", data_dir)
    images, labels = read_digits(path)
    turn = _rank_in_class(labels) % 5
    return tuple((images[part], labels[part]) for part in (turn > 1, turn == 1, turn == 0))


def _load_fashion(data_dir) -> tuple[_Raw, _Raw, _Raw]:
    arrays = read_npz(_bundled("fashion images", "fashion.npz", data_dir))
    return tuple(
        (arrays[f"{part}_images"][:, None], arrays[f"{part}_labels"])
        for part in ("train", "validation", "test")
    )


def _load_mnist(data_dir) -> tuple[_Raw, _Raw, _Raw]:
    folder = _folder("mnist", data_dir)
    train, test = _mnist_pair(folder, "train"), _mnist_pair(folder, "t10k")
    return *_hold_out(*train, every=6), test


def _mnist_pair(folder: Path, part: str) -> _Raw:
    """Images and labels of one part; both spellings in circulation, gzipped or not."""
    arrays = []
    for kind, rank in (("images", 3), ("labels", 1)):
        names = [f"{part}-{kind}{sep}idx{rank}-ubyte{gz}" for sep in "-." for gz in ("", ".gz")]
        path = _first_file([folder / name for name in names], f"the MNIST {part} {kind}")
        arrays.append(read_idx(path))
        if arrays[-1].ndim != rank:
            raise InputError(
                f"{path}: holds an array of shape {arrays[-1].shape}, "
                f"expected {rank} dimension(s) for {kind}"
            )
    images, labels = arrays
    if len(images) != len(labels):
        raise InputError(
            f"{folder}: {len(images)} {part} images but {len(labels)} labels: "
            "take both files from one source"
        )
    check_labels(path, labels)
    return images[:, None], labels


def _load_cifar10(data_dir) -> tuple[_Raw, _Raw, _Raw]:
    folder = _folder("cifar10", data_dir)
    paths = sorted(folder.glob("data_batch_[1-5].bin"))
    if not paths:
        raise InputError(
            f"{folder}: no CIFAR-10 training images, looked for data_batch_1.bin to "
            "data_batch_5.bin (the binary version of CIFAR-10)"
        )
    test = read_cifar10(_first_file([folder / "test_batch.bin"], "the CIFAR-10 test images"))
    images, labels = (np.concatenate(parts) for parts in zip(*map(read_cifar10, paths)))
    return *_hold_out(images, labels, every=5), test


_LOADERS = {
    "digits": _load_digits,
    "fashion": _load_fashion,
    "mnist": _load_mnist,
    "cifar10": _load_cifar10,
}


def _folder(name: str, data_dir) -> Path:
    if data_dir is None:
        raise InputError(
            f"{name} is not bundled: give the folder of its files with ",
            argument("data_dir", "FOLDER"),
        )
    if not os.path.isdir(data_dir):
        raise InputError(f"{data_dir}: no such folder, expected the one with the files of {name}")
    return Path(data_dir)


def _first_file(paths, what: str) -> Path:
    for path in paths:
        if os.path.isfile(path):
            return path
    names = ", ".join(dict.fromkeys(path.name for path in paths))
    folders = ", ".join(dict.fromkeys(str(path.parent) for path in paths))
    raise InputError(f"{what} not found: looked for {names} in {folders}")


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
    """For each image, how many of its class stand before it in the file."""
    order = np.argsort(labels, kind="stable")
    by_class = labels[order]
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - np.searchsorted(by_class, by_class)
    return rank


def _hold_out(images: np.ndarray, labels: np.ndarray, every: int) -> tuple[_Raw, _Raw]:
    """(train, validation): of each class, images 0, every, 2*every, ... go to validation."""
    held = _rank_in_class(labels) % every == 0
    return (images[~held], labels[~held]), (images[held], labels[held])


def _thin(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices, ascending, of `count` images: every class in proportion, evenly over the file.

    Evenly, because a file may change on its way: MNIST's test images get harder half-way.
    """
    by_class = np.argsort(labels, kind="stable")
    middles = (2 * np.arange(count) + 1) * len(labels) // (2 * count)
    return np.sort(by_class[middles])


def _channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (C,) of uint8 images, in float64; 1 for a constant channel."""
    mean = images.mean(axis=(0, 2, 3), dtype=np.float64)
    # 255 squared fits uint16, and sums of integers are exact: no cancellation to fear here.
    square = np.square(images, dtype=np.uint16).mean(axis=(0, 2, 3), dtype=np.float64)
    std = np.sqrt(square - mean**2)
    return mean, np.where(std > 0, std, 1.0)


def normalise(images: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """uint8 (N, C, H, W) to float32, channel by channel through a table of the 256 values."""
    out = np.empty(images.shape, np.float32)
    for channel in range(images.shape[1]):
        table = (np.arange(256) - mean[channel]) / std[channel]
        out[:, channel] = table.astype(np.float32)[images[:, channel]]
    return out
