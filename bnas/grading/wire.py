"""How the grader and a submission's process talk: plain values and arrays as bytes, never code.

A message is a frame: the lengths of two parts, a tree in JSON, and the bytes of its arrays one after
another. Nothing in it is executed when it is read, and its size is bounded before it is read.
This module runs in both processes, and in a submission's without the rest of bnas.
"""

import json
import math
import struct

import numpy as np

LENGTHS = struct.Struct(">IQ")  # of the tree and of the arrays, bytes
LARGEST_TREE = 1 << 20
LARGEST_ARRAYS = 16 << 20
DEEPEST = 16
MOST_AXES = 32
LARGEST_INT = 1 << 4096
DTYPES = {np.dtype(name).str for name in ("?", *"bhilq", *"BHILQ", *"efd", *"FD")}


class WireError(ValueError):
    """A value that cannot be sent, or bytes that are no message."""


def encode(value, name_of=None):
    """The frame of a value, bytes.

    value: None, bool, int, float, str, an array of numbers, or lists, tuples and dicts with text keys of these.
    name_of: called with a function, returns the number by which the other side may call it; without it
        functions are refused.
    Raises WireError.
    """
    arrays = []
    tree = json.dumps(_plain(value, arrays, name_of, 0)).encode()
    size = sum(array.nbytes for array in arrays)
    if len(tree) > LARGEST_TREE or size > LARGEST_ARRAYS:
        raise WireError(f"{(len(tree) + size) / 2**20:.0f} MiB are too much")
    return b"".join([LENGTHS.pack(len(tree), size), tree, *(array.tobytes() for array in arrays)])


def _plain(value, arrays, name_of, depth):
    if depth > DEEPEST:
        raise WireError(f"nested more than {DEEPEST} deep")
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is np.str_:  # an entry of an array of names
        return str(value)
    if kind is int:
        return ["int", hex(value)] if abs(value) < LARGEST_INT else _refuse("so large an int")
    if kind is float:
        return ["float", value.hex()]
    if isinstance(value, np.ndarray | np.generic):
        array = np.array(value, subok=False, order="C")
        if array.dtype.newbyteorder("=").str not in DTYPES:
            _refuse(f"an array of {str(array.dtype)[:50]}")
        if array.ndim > MOST_AXES:
            _refuse(f"an array with {array.ndim} axes")
        arrays.append(array.astype(array.dtype.newbyteorder("="), copy=False))
        return ["array", arrays[-1].dtype.str, list(array.shape)]
    if kind in (list, tuple):
        return [kind.__name__, [_plain(part, arrays, name_of, depth + 1) for part in value]]
    if kind is dict:
        if not all(type(key) is str for key in value):
            _refuse("a dict whose keys are not text")
        return [
            "dict",
            [[key, _plain(part, arrays, name_of, depth + 1)] for key, part in value.items()],
        ]
    if callable(value) and name_of is not None:
        return ["function", name_of(value)]
    return _refuse(f"a {kind.__name__[:50]}")


def _refuse(what):
    raise WireError(f"{what} cannot be sent; numbers, text, arrays of numbers, lists and dicts can")


def lengths(head):
    """(bytes of the tree, bytes of the arrays) from the first LENGTHS.size bytes of a frame."""
    tree, size = LENGTHS.unpack(head)
    if tree > LARGEST_TREE or size > LARGEST_ARRAYS:
        raise WireError("a message larger than allowed")
    return tree, size


def decode(tree, data, function=None):
    """The value of a frame's two parts.

    function: called with the number of a function, returns what stands for it; without it there may be none.
    Raises WireError.
    """
    try:
        plain = json.loads(tree)
        value, rest = _value(plain, memoryview(data), function, 0)
    except WireError:
        raise
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
        raise WireError(f"no message: {type(error).__name__}") from None
    if len(rest):
        raise WireError("bytes left over")
    return value


def _value(plain, data, function, depth):
    """(the value, the bytes that are left)."""
    if plain is None or isinstance(plain, bool | str):
        return plain, data
    if depth > DEEPEST or type(plain) is not list or len(plain) not in (2, 3):
        raise WireError("no message")
    kind, content = plain[0], plain[1]
    if kind == "int":
        value = int(content, 16)
        return (value if abs(value) < LARGEST_INT else _refuse("so large an int")), data
    if kind == "float":
        return float.fromhex(content), data
    if kind == "array":
        return _array(content, plain[2], data)
    if kind == "function" and function is not None and type(content) is int:
        return function(content), data
    if kind in ("list", "tuple", "dict") and type(content) is list:
        keys = [pair[0] for pair in content] if kind == "dict" else None
        values = []
        for part in content:
            value, data = _value(part[1] if keys is not None else part, data, function, depth + 1)
            values.append(value)
        if keys is not None:
            if not all(type(key) is str for key in keys):
                raise WireError("no dict")
            return dict(zip(keys, values, strict=True)), data
        return (values if kind == "list" else tuple(values)), data
    raise WireError("no message")


def _array(dtype, shape, data):
    if dtype not in DTYPES or type(shape) is not list or len(shape) > MOST_AXES:
        raise WireError("no array")
    if not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
        raise WireError("no shape")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > len(data):
        raise WireError("an array without its bytes")
    array = np.frombuffer(data[:size], dtype).reshape(shape).copy()
    return array, data[size:]
