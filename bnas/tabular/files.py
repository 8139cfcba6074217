"""The table on disk: a .npz of plain arrays for each data set, and table.json with all that they mean.

Of N architectures, S trainings of each that differ in the seed, and E epochs, DATASET.npz holds for each
precision ("binary" and "real", which may differ in S and E):

  PRECISION_loss        float32 (N, S, E)  mean loss of the training images in each epoch
  PRECISION_validation  uint16 (N, S, E)   validation images right after it, of validation_images
  PRECISION_test        uint16 (N, S, E)   test images right after it, of test_images
  PRECISION_seconds     float32 (N, S)     what the whole training took, on the machine of table.json

and once: validation_images and test_images, int64 (); and of each architecture, (N,): parameters, bits (their
size in the 1-bit network), binary_macs and real_macs (its multiply-adds for an image, of 1 bit and others) and
packed_bytes (of its packed file), int64; packed_latency, float32, the time that it takes for 32 images, as a ratio
to that of architecture 0 in the same run.

table.json holds `format`, `operations`, `cells` (of each architecture the four pairs of its cell, in order),
`files` (of each data set the SHA-256 of its .npz), and `provenance`: whatever tells how it was made.
"""

import hashlib
import io
from pathlib import Path

import numpy as np

from bnas.config import PRECISIONS
from bnas.errors import InputError
from bnas.npy import read_archive
from bnas.runs.files import atomic_write, explain, read_json, to_json
from bnas.tabular.space import architectures

FORMAT = 1
COSTS = ("parameters", "bits", "binary_macs", "real_macs", "packed_bytes", "packed_latency")
DESCRIPTION = "table.json"

_PACKAGE = Path(__file__).resolve().parents[1]
# The first place is that of an installed package, the second that of the source tree.
_PLACES = (_PACKAGE / "bundled" / "tabular", _PACKAGE.parent / "data" / "tabular")
_ADVICE = "restore it from a copy, reinstall bnas, or build the table again with `bnas table build`"
_FLOATS = ("packed_latency",)


def write(folder, operations, datasets, provenance):
    """Write a table of all architectures over `operations` into a folder, which is made if need be.

    Equal contents give equal bytes. table.json comes last, so a table that was interrupted has none that fits.

    Args:
        datasets: {name: {array name: array}} as above.
        provenance: a dict that JSON can hold.

    Raises ValueError for arrays of another name, shape, dtype or range than above, InputError when a file cannot
    be written.
    """
    cells = [genotype.normal for genotype in architectures(operations)]
    folder, digests = Path(folder), {}
    with explain("make", folder, "choose a writable folder"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in datasets.items():
        check(arrays, len(cells))
        archive = io.BytesIO()
        np.savez_compressed(archive, **{key: arrays[key] for key in sorted(arrays)})
        atomic_write(folder / f"{name}.npz", archive.getvalue())
        digests[name] = hashlib.sha256(archive.getvalue()).hexdigest()
    description = {
        "format": FORMAT,
        "operations": list(operations),
        "cells": cells,
        "files": digests,
        "provenance": provenance,
    }
    atomic_write(folder / DESCRIPTION, to_json(description, "the description of a table") + "\n")


def read(folder=None):
    """(genotypes in order, operations, {data set: {name: array}}, provenance) of the table in a folder.

    folder: the bundled table if None. Raises InputError for a file that is missing, damaged in any byte, or not
    of this format. Nothing is unpickled.
    """
    folder = _bundled() if folder is None else Path(folder)
    path = folder / DESCRIPTION
    missing = f"{folder} holds no table: {DESCRIPTION} is missing; expected the folder of one"
    description = read_json(path, missing)
    if description.get("format") != FORMAT:
        raise InputError(
            f"{path} has the format {description.get('format')!r}, expected {FORMAT}; use the version of bnas "
            "that wrote it"
        )
    operations, digests = _strings(path, description, "operations"), description.get("files")
    known = architectures(operations)
    cells = [[list(pair) for pair in genotype.normal] for genotype in known]
    if description.get("cells") != cells:
        raise InputError(
            f"{path} does not list the {len(cells)} architectures over {', '.join(operations)} in order; {_ADVICE}"
        )
    if not isinstance(digests, dict) or not digests:
        raise InputError(f"{path} names no files of data sets; {_ADVICE}")
    datasets = {
        name: _read_arrays(folder / f"{Path(name).name}.npz", digest, len(cells))
        for name, digest in digests.items()
    }
    return known, operations, datasets, description.get("provenance", {})


def check(arrays, count):
    """Raise a ValueError unless `arrays` are those of one data set, with `count` architectures."""
    shapes = _shapes(arrays, count)
    if set(arrays) != set(shapes):
        different = sorted(set(arrays) ^ set(shapes))
        raise ValueError(f"expected the arrays {', '.join(sorted(shapes))}; see {different}")
    for name, (dtype, shape) in shapes.items():
        array = np.asarray(arrays[name])
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(
                f"{name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}"
            )
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(f"{name} holds numbers below 0, NaN or infinity")
    for precision in PRECISIONS:
        if not (np.asarray(arrays[f"{precision}_seconds"]) > 0).all():
            raise ValueError(f"{precision}_seconds holds a training that took no time")
        for split in ("validation", "test"):
            right, images = arrays[f"{precision}_{split}"], arrays[f"{split}_images"]
            if images < 1 or (right > images).any():
                raise ValueError(f"{precision}_{split} claims more right than the {images} images")


def _shapes(arrays, count):
    """{name: (dtype, shape)} of what a data set should hold, S and E taken from the losses."""
    shapes = {f"{split}_images": (np.int64, ()) for split in ("validation", "test")}
    shapes |= {name: (np.float32 if name in _FLOATS else np.int64, (count,)) for name in COSTS}
    for precision in PRECISIONS:
        size = np.shape(arrays.get(f"{precision}_loss"))[1:]
        if len(size) != 2 or 0 in size:
            raise ValueError(f"{precision}_loss must be (architectures, seeds, epochs)")
        shapes |= {
            f"{precision}_loss": (np.float32, (count, *size)),
            f"{precision}_validation": (np.uint16, (count, *size)),
            f"{precision}_test": (np.uint16, (count, *size)),
            f"{precision}_seconds": (np.float32, (count, size[0])),
        }
    return shapes


def _read_arrays(path, digest, count):
    with explain("read", path, _ADVICE):
        content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(
            f"{path} is not the file that {DESCRIPTION} beside it describes (another SHA-256); {_ADVICE}"
        )
    try:
        arrays = read_archive(io.BytesIO(content), len(content), compressed=True)
        check(arrays, count)
    except ValueError as error:
        raise InputError(f"{path} is no table: {error}; {_ADVICE}") from error
    return arrays


def _strings(path, description, key):
    found = description.get(key)
    if (
        not isinstance(found, list)
        or not all(isinstance(name, str) for name in found)
        or not 0 < len(set(found)) == len(found) < 20
    ):
        raise InputError(f"{path} has no list of different names as {key!r}; {_ADVICE}")
    return tuple(found)


def _bundled():
    for place in _PLACES:
        if (place / DESCRIPTION).exists():
            return place
    raise InputError(f"the bundled table is missing ({_PLACES[0]}): reinstall bnas")
