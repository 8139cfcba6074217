"""Arrays in NumPy's files, .npy and .npz, whose claims are checked before memory is taken for them.

NumPy believes a header: it takes memory for as many numbers as that names, and then finds that they are not
there. Here every size is compared with the bytes at hand first. Nothing is unpickled. Format:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import ast
import math
import re
import struct
import zipfile
import zlib

import numpy as np

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000  # characters, as in NumPy
# What a file may unpack to: images seldom shrink to a hundredth, a file made to exhaust memory to a thousandth.
EXPANSION, HARMLESS = 250, 2**26
# What zipfile and zlib raise for a damaged or crafted archive, besides ValueError.
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
)


def most_unpacked(packed):
    """How many bytes may come out of so many compressed ones."""
    return max(HARMLESS, EXPANSION * packed)


def read_array(content):
    """The array in the bytes of a .npy file: a read-only view of them.

    Raises ValueError, which says what is wrong, unless the bytes are one array of plain numbers and no more.
    """
    shape, fortran_order, dtype, start = _read_header(content)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never read")
    needed, there = math.prod(shape) * dtype.itemsize, len(content) - start
    if needed != there or (dtype.itemsize == 0 and math.prod(shape)):
        raise ValueError(
            f"its header claims {_shorten(shape)} of {_shorten(dtype)}, {_shorten(needed)} bytes, and "
            f"{there:,} bytes are there"
        )
    order = "F" if fortran_order else "C"
    try:
        array = np.ndarray(shape, dtype, content, start, order=order)
    except (ValueError, OverflowError) as error:  # more elements along an axis than NumPy can count
        raise ValueError(f"its header claims {_shorten(shape)} of {_shorten(dtype)}") from error
    if dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise ValueError("it holds bytes that are neither true nor false")
    return array


def _read_header(content):
    """(shape, fortran_order, dtype, where the numbers begin)."""
    version, width = tuple(content[6:8]), 2 if content[6:7] == b"\1" else 4
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    if content[:6] != MAGIC or version not in ((1, 0), (2, 0), (3, 0)) or start > len(content):
        raise ValueError("it does not begin as a .npy file does")
    if start > LONGEST_HEADER:
        raise ValueError(f"its header has {start:,} bytes, more than any array needs")
    try:
        header = _literal(
            content[8 + width : start].decode("utf-8" if version[0] == 3 else "latin1")
        )
        dtype = np.lib.format.descr_to_dtype(header.pop("descr"))
        shape, fortran_order = header.pop("shape"), header.pop("fortran_order")
        valid = not header and isinstance(shape, tuple) and isinstance(fortran_order, bool)
        valid = valid and all(type(n) is int and n >= 0 for n in shape) and len(shape) <= 64
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        SyntaxError,
        RecursionError,
        MemoryError,  # how the parser says that parentheses are too many
        OverflowError,
    ):
        valid = False
    if not valid:
        raise ValueError("its header is damaged")
    return shape, fortran_order, dtype, start


def _literal(header):
    try:
        return ast.literal_eval(header)
    except SyntaxError:  # long integers, as Python 2 wrote them
        return ast.literal_eval(re.sub(r"(\d)L\b", r"\1", header))


def _shorten(value, most=60):
    try:
        text = str(value)
    except ValueError:  # an integer of too many digits
        return "<too many>"
    return text if len(text) <= most else text[: most - 3] + "..."


def read_archive(file, size, compressed=False):
    """{name: array} of the .npz file of `size` bytes that is open as `file`; arrays as of `read_array`.

    compressed: members may be deflated; else they stand in the file as they are.
    Raises ValueError, which names the member and says what is wrong, for anything but arrays with
    different names whose bytes are all there.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_members(members, size, compressed)
            return {
                member.filename.removesuffix(".npy"): _read_member(archive, member)
                for member in members
            }
    except _ZIP_FAULTS as error:
        reason = _shorten(error, 200) or "it ends too early"
        raise ValueError(f"cut short or damaged ({reason})") from error


def _check_members(members, size, compressed):
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise ValueError("two members have the same name")
    if sum(member.compress_size for member in members) > size:
        raise ValueError("its members claim more bytes than the file has")
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if compressed else (zipfile.ZIP_STORED,)
    for member in members:
        name = _name(member)
        if not member.filename.endswith(".npy"):
            raise ValueError(f"{name} is no array")
        if member.compress_type not in methods or member.flag_bits & 1:
            raise ValueError(f"{name} is encrypted or packed in an unknown way")
        stored = member.compress_type == zipfile.ZIP_STORED
        most = member.compress_size if stored else most_unpacked(member.compress_size)
        if member.file_size > most:
            raise ValueError(
                f"{name} claims to unpack to {member.file_size:,} bytes from {member.compress_size:,}"
            )


def _read_member(archive, member):
    with archive.open(member) as file:
        content = file.read(member.file_size)  # no more than that, whatever is packed
    if len(content) != member.file_size:
        raise EOFError(f"{_name(member)} ends too early")
    try:
        return read_array(content)
    except ValueError as error:
        raise ValueError(f"{_name(member)} is no array of plain numbers: {error}") from error


def _name(member):
    return _shorten(member.filename.removesuffix(".npy"))
