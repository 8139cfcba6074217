"""A data set from one's own arrays, in Python or in an .npz file: what they must be.

The file has the arguments of `bnas.data.dataset_from_arrays` for its keys, as np.savez writes them.
"""

import os

import numpy as np

from bnas.errors import InputError, argument
from bnas.npy import read_archive

_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
_OPTIONAL = ("validation_images", "validation_labels")
_EXPECTED = f"{', '.join(_KEYS)} and optionally {', '.join(_OPTIONAL)}"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without any


def read_npz(path) -> dict[str, np.ndarray]:
    """Read the arrays of a data set from an .npz file, without unpickling anything.

    Returns {key: array} of train_images, train_labels, test_images, test_labels and, if they are
    there, validation_images and validation_labels; `check_arrays` looks at what they hold.
    Raises InputError for no file, any other kind of file, a damaged one, a missing or unknown key,
    or an array of Python objects.
    """
    if path is None:
        raise InputError(
            "npz is a file of your own: give it with ", argument("data_dir", "FILE.npz")
        )
    try:
        with open(path, "rb") as file:
            if file.read(4) not in _ZIP_MAGIC:
                raise InputError(
                    f"{path}: no .npz file; write one with np.savez(path, train_images=..., ...), "
                    f"its keys {_EXPECTED}"
                )
            arrays = read_archive(file, os.fstat(file.fileno()).st_size, compressed=True)
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); give your file with ",
            argument("data_dir", "FILE.npz"),
        ) from error
    except ValueError as error:
        raise InputError(
            f"{path}: {error}; write plain numbers to it with np.savez, or copy it again"
        ) from error
    except MemoryError as error:
        raise InputError(
            f"{path} does not fit into memory ({error}): keep raw pixels as uint8, or write "
            "fewer images"
        ) from error
    _check_keys(path, arrays)
    return arrays


def _check_keys(path, keys):
    unknown = [key for key in keys if key not in (*_KEYS, *_OPTIONAL)]
    missing = [key for key in _KEYS if key not in keys]
    if unknown:
        raise InputError(f"{path}: has the unknown key {unknown[0]!r}; expected {_EXPECTED}")
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}; expected {_EXPECTED}")


def check_arrays(given) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The splits {part: (images, labels)} of `given`, images made (N, C, H, W), floats float32.

    Raises InputError, which names the array, unless images and labels are what
    `bnas.data.dataset_from_arrays` says.
    """
    splits = {
        part: (_images(f"{part}_images", images), _labels(part, labels, images))
        for part, (images, labels) in given.items()
    }
    train_images, train_dtype = splits["train"][0], given["train"][0].dtype
    for part, (images, labels) in splits.items():
        if given[part][0].dtype != train_dtype:
            raise InputError(
                f"{part}_images are {given[part][0].dtype} but train_images {train_dtype}: "
                "give all splits one dtype, normalised in the same way"
            )
        if images.shape[1:] != train_images.shape[1:]:
            raise InputError(
                f"{part}_images are of {images.shape[1:]} (channels, height, width), expected "
                f"{train_images.shape[1:]} like train_images"
            )
        if labels.max() >= len(train_images):
            raise InputError(
                f"{part}_labels go up to {labels.max()}, but there are only {len(train_images)} "
                "training images: number the classes 0, 1, 2, ..."
            )
    return splits


def _images(name: str, images) -> np.ndarray:
    _check_type(name, images)
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise InputError(
            f"{name} have shape {images.shape}, expected (N, C, H, W) or (N, H, W) "
            "with no size of 0"
        )
    if images.ndim == 3:
        images = images[:, None]
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise InputError(
            f"{name} are {images.dtype}, expected uint8 (raw pixels, 0 to 255) or floats "
            "(normalised already): convert them with images.astype(...)"
        )
    with np.errstate(over="ignore"):
        images = images.astype(np.float32)
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    if not finite.all():
        raise InputError(
            f"{name}: the image at index {finite.argmin()} holds NaN or infinity as float32, like "
            f"{np.sum(~finite)} of {len(images)} images: mend them or leave them out"
        )
    return images


def _labels(part: str, labels, images: np.ndarray) -> np.ndarray:
    name = f"{part}_labels"
    _check_type(name, labels)
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"{name} are {labels.dtype}, expected integers: number the classes 0, 1, 2, ... and "
            "convert them with labels.astype(np.int64)"
        )
    if labels.shape != images.shape[:1]:
        raise InputError(
            f"{name} have shape {labels.shape}, expected ({len(images)},), one for each of "
            f"{part}_images"
        )
    negative = np.flatnonzero(labels < 0)
    if negative.size:
        raise InputError(
            f"{name}: the label at index {negative[0]} is {labels[negative[0]]}, expected 0 or "
            "more: number the classes 0, 1, 2, ..."
        )
    return labels


def _check_type(name: str, array):
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} are a {type(array).__name__}, expected a NumPy array")
