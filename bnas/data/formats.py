"""Readers of file formats: the bundled digits, MNIST's IDX, CIFAR-10's binary version, and .npy.

A damaged or foreign file is refused by its magic number, its labels and its exact length, so that
a half-finished download never becomes half a data set.
"""

import math
import zlib
from pathlib import Path

import numpy as np

from bnas.errors import InputError
from bnas.npy import MAGIC, most_unpacked, read_array

CLASSES = 10  # of each of them
_CIFAR10_SHAPE = (3, 32, 32)
_GZIP_MAGIC = b"\x1f\x8b"


def read_digits(path) -> tuple[np.ndarray, np.ndarray]:
    """Read the bundled digits: lines of 64 pixels (0 to 16) and a label, comma-separated.

    Returns uint8 images (N, 1, 8, 8) and uint8 labels (N,). Raises InputError for anything else.
    """
    content = read_bytes(path)
    try:
        lines = content.decode("ascii").splitlines()
        table = np.array([line.split(",") for line in lines], np.uint8)
        valid = table.shape == (len(lines), 65) and table[:, :64].max() <= 16
    except (ValueError, OverflowError):  # a text that is no number, or none from 0 to 255
        valid = False
    if not valid:
        raise InputError(f"{path}: damaged, expected lines of 64 pixels (0 to 16) and a label")
    images, labels = table[:, :64].reshape(-1, 1, 8, 8), table[:, 64]
    check_labels(path, labels)
    return images, labels


def read_idx(path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not: the format of MNIST.

    Two zero bytes, a type code, the number of dimensions (1 to 3 here), each size as a big-endian
    uint32, then the values. Returns a read-only uint8 array. Raises InputError unless the file is
    exactly that and holds at least one value. Source: http://yann.lecun.com/exdb/mnist/.
    """
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise InputError(f"{path}: not an IDX file, expected it to begin with two zero bytes")
    code, rank = content[2], content[3]
    if code != 0x08:
        raise InputError(f"{path}: IDX values of type 0x{code:02x}, expected 0x08 (unsigned bytes)")
    start = 4 + 4 * rank
    if not 1 <= rank <= 3 or len(content) < start:
        raise InputError(
            f"{path}: IDX header of {rank} dimensions in a file of {len(content):,} bytes, "
            "expected 1 to 3 dimensions, 4 bytes for each"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", rank, offset=4))
    if 0 in shape:
        raise InputError(f"{path}: IDX array of shape {shape}, expected at least one value")
    if len(content) != start + math.prod(shape):
        raise InputError(
            f"{path}: holds {len(content):,} bytes, expected {start + math.prod(shape):,} for "
            f"an IDX array of shape {shape}: truncated or not whole, fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_cifar10(path) -> tuple[np.ndarray, np.ndarray]:
    """Read one file of CIFAR-10's binary version: records of a label and 3x32x32 pixels.

    Returns read-only uint8 images (N, 3, 32, 32) and uint8 labels (N,). Raises InputError unless
    the file holds one or more whole records with labels 0 to 9.
    Source: https://www.cs.toronto.edu/~kriz/cifar.html.
    """
    content = read_bytes(path)
    size = 1 + math.prod(_CIFAR10_SHAPE)
    if not content or len(content) % size:
        raise InputError(
            f"{path}: holds {len(content):,} bytes, expected one or more CIFAR-10 records of "
            f"{size:,} bytes: truncated or another format"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    labels = records[:, 0]
    check_labels(path, labels)
    return records[:, 1:].reshape(-1, *_CIFAR10_SHAPE), labels


def read_images(path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read images from a file of any of the formats, and their labels where it holds them.

    CIFAR-10 is told by its name (*.bin), the others by their first bytes: a NumPy file of (N, C, H, W) or
    (N, H, W), bytes or floats; IDX (no labels); or the bundled digits. Any of them may be gzipped.

    Returns (images (N, C, H, W), uint8 if they are raw pixels, float32 if not; labels or None).
    Raises InputError for anything else.
    """
    content = read_bytes(path)
    if content.startswith(b"PK"):
        raise InputError(
            f"{path}: an .npz (zip) file, which may hold many arrays: write the images alone to an "
            ".npy file with np.save"
        )
    if content.startswith(MAGIC):
        return _numpy_images(path, content), None
    if Path(path).name.removesuffix(".gz").endswith(".bin"):
        return read_cifar10(path)
    if content.startswith(b"\0\0"):
        images = read_idx(path)
        if images.ndim != 3:
            raise InputError(f"{path}: holds an array of shape {images.shape}, expected images")
        return images[:, None], None
    if not content[:1].isdigit():
        raise InputError(
            f"{path}: no file of images, expected .npy, IDX, CIFAR-10's .bin or lines of digits"
        )
    return read_digits(path)


def _numpy_images(path, content: bytes) -> np.ndarray:
    try:
        images = read_array(content)
    except ValueError as error:
        raise InputError(f"{path}: damaged, or no plain array ({error})") from error
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(
            f"{path}: holds an array of shape {images.shape}, expected (N, C, H, W) or (N, H, W) "
            "with no size of 0"
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise InputError(
            f"{path}: holds {images.dtype}, expected uint8 (raw pixels) or floats (normalised)"
        )
    with np.errstate(over="ignore"):
        images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise InputError(
            f"{path}: holds NaN or infinity, as float32; mend those images or leave them out"
        )
    return images


def check_labels(path, labels: np.ndarray):
    """Raise InputError if an unsigned label of this file is beyond the ten classes."""
    wrong = np.flatnonzero(labels >= CLASSES)
    if wrong.size:
        raise InputError(
            f"{path}: the label at index {wrong[0]} is {labels[wrong[0]]}, expected 0 to "
            f"{CLASSES - 1}: damaged or another data set"
        )


def read_bytes(path) -> bytes:
    """The content of a file, unpacked if its first two bytes say gzip."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason})") from error
    if content[:2] != _GZIP_MAGIC:
        return content
    try:
        return _unpack(content)
    except (ValueError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}): fetch it again") from error


def _unpack(content: bytes) -> bytes:
    """The content of a gzip file, which may have several members, one after another."""
    parts, left = [], most_unpacked(len(content))
    while content:
        stream = zlib.decompressobj(wbits=31)  # a gzip header, and the sum at the end is compared
        parts.append(stream.decompress(content, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise ValueError("it unpacks to far more than images would")
        if not stream.eof:
            raise ValueError("it ends too early")
        content = stream.unused_data.lstrip(b"\0")  # some writers fill up a block
    return parts[0] if len(parts) == 1 else b"".join(parts)
