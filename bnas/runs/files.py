"""Files that are written wholly or not at all: JSON, and sealed files of named arrays.

Nothing is pickled. A sealed file is a .npz whose zip comment holds the format version and the SHA-256 of
everything before it, so that damage in any byte is found.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import re
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import get_ident

import numpy as np

from bnas.errors import InputError
from bnas.npy import read_archive

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FORMAT = 1
_SEAL = re.compile(rb"bnas checkpoint (\d+) sha256 ([0-9a-f]{64})\Z")
_META = "__meta__"


@contextlib.contextmanager
def explain(action, path, advice):
    """Turn the operating system's errors into an InputError: 'cannot <action> <path>: ...'."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot {action} {path}: {error.strerror or error}; {advice}") from error


def to_json(value, what, indent=None):
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"{what} does not fit into JSON (NaN or inf in it?): {error}") from error


def read_json(path, missing):
    """The JSON object in a file; `missing` is the whole message for a file that is not there."""
    try:
        with explain("read", path, "check its permissions"):
            text = path.read_bytes()
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise InputError(missing) from None
        raise
    try:
        return parse_object(text)
    except ValueError as error:
        raise InputError(f"{path} {error}; restore it from a copy") from error


def read_toml(path, advice):
    """The dict that a TOML file holds; `advice` says what to do where it cannot be read."""
    with explain("read", path, advice):
        text = Path(path).read_bytes()
    try:
        return tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error


def parse_object(text):
    """The dict in a JSON text (str or bytes) as `to_json` writes it; ValueError for anything else."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError("holds no JSON object")
    return value


def _refuse_constant(name):
    raise ValueError(f"{name} is no number in JSON")


def _finite(text):
    """A float; one that is out of range is no infinity."""
    value = float(text)
    if math.isinf(value):
        _refuse_constant(text)
    return value


def atomic_write(path, data):
    """Replace the file at `path` by `data` (str, written as UTF-8, or bytes), wholly or not at all.

    A reader sees the old file or the new one, never a part, at whatever moment we are killed.
    Raises InputError when the file cannot be written (full disk, no permission); the old file is
    then intact and nothing is left beside it.
    """
    path = Path(path)
    if isinstance(data, str):
        data = data.encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.tmp")
    advice = (
        "the file as it was before is intact. "
        "Free some space or choose a writable folder, then try again"
    )
    with explain("write", path, advice):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path):
    """Have the names in a folder survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_unfinished(folder, name):
    """Remove what `atomic_write` left of the file `name` in a folder when its process was killed."""
    for leftover in Path(folder).glob(f".{name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def save_checkpoint(path, arrays, meta):
    """Write named arrays and JSON metadata to one .npz file, atomically.

    arrays: dict of str -> array of any shape and any dtype but object; every bit is kept.
    meta: a dict that JSON can hold (no NaN).
    Equal contents give equal bytes. The zip comment seals the file: format version, and the SHA-256
    of everything before it, hence of every name, dtype, shape and value.
    Raises InputError when the file cannot be written (the previous checkpoint is then intact),
    ValueError or TypeError for contents that cannot be saved.
    """
    members = {_META: np.frombuffer(to_json(meta, "meta").encode(), dtype=np.uint8)}
    for name, array in arrays.items():
        if name in members or not name.isprintable():
            raise ValueError(f"{name!r} cannot name an array: use printable text, not {_META!r}")
        members[name] = np.asarray(array)
        if members[name].dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects; only plain dtypes are saved")
    comment = b"bnas checkpoint %d sha256 " % FORMAT + b"0" * 64
    # On a thread of its own, where Ctrl-C does not arrive: amid a member the archive would complain, and hide it.
    with ThreadPoolExecutor(1) as thread:
        content = thread.submit(_archive, members, comment).result()[:-64]
    atomic_write(path, content + hashlib.sha256(content).hexdigest().encode())


def _archive(members, comment):
    """The bytes of a .npz file of {name: array}, uncompressed, with a comment."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = comment
    return buffer.getvalue()


def load_checkpoint(path, advice="restore it from a copy or start the run again, in a new folder"):
    """Read what `save_checkpoint` wrote: (arrays, meta), equal to the bit.

    `advice` tells the user of a bad file what to do. Raises InputError for a file that is missing,
    cut short, damaged in any byte, of another format version, or no checkpoint at all, sealed or not;
    no memory is taken for more than it holds. Nothing is unpickled.
    """
    path = Path(path)
    with explain("read", path, advice):
        data = path.read_bytes()
    seal = _SEAL.search(data[-128:])
    if seal is None:
        fault = "cut short or damaged" if data.startswith(b"PK") else "not a file that bnas wrote"
        raise InputError(f"{path} is {fault}; {advice}")
    if int(seal[1]) != FORMAT:
        raise InputError(
            f"{path} has checkpoint format {int(seal[1])}, expected {FORMAT}; "
            "use the version of bnas that wrote it"
        )
    if hashlib.sha256(data[:-64]).hexdigest().encode() != seal[2]:
        raise InputError(f"{path} is damaged: its contents do not match their SHA-256; {advice}")
    # The seal tells damage, and not who wrote the file: what it holds is believed no more than any other.
    try:
        arrays = read_archive(io.BytesIO(data), len(data))
        if _META not in arrays:
            raise ValueError(f"it lacks {_META}")
        try:
            meta = parse_object(arrays.pop(_META).tobytes())
        except ValueError as error:
            raise ValueError(f"{_META} {error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a file that bnas wrote: {error}; {advice}") from error
    return {name: array.copy("K") for name, array in arrays.items()}, meta


def checkpoint_digest(path):
    """The SHA-256, 64 hexadecimal digits, with which the checkpoint at `path` is sealed, without a check of it.

    Raises InputError where there is no such file, or no seal on it.
    """
    path = Path(path)
    advice = "restore it from a copy"
    with explain("read", path, advice), open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 128))
        seal = _SEAL.search(file.read())
    if seal is None:
        raise InputError(f"{path} is cut short or damaged; {advice}")
    return seal[2].decode()
