"""The file of a packed network: an .npz of plain arrays and JSON with a checksum; nothing is pickled.

Members of the zip file: `bits` (uint8: eight flags a byte, the first in the highest bit), `int32` and
`float32`, in each of which all arrays of that kind stand one after another without gaps, and the JSON text
`__meta__`:

    {"kind": "packed network", "version": 2, "shape": [C, H, W], "mean": [...], "std": [...],
     "genotype": "...", "model": {"is": "Model", ...}}

"model" is a tree of the records in `bnas.packed.layers`: a record is {"is": its name, field: value, ...}, a
tuple is a list, an array is {"array": member, "start": first element, "shape": [...]}. The zip comment holds
the format of the container and the SHA-256 of everything before it.
"""

import math
from pathlib import Path

import numpy as np

from bnas.errors import InputError
from bnas.packed.check import check
from bnas.packed.layers import (
    KINDS,
    BitConv,
    Model,
    PackedAffine,
    PackedPool,
    PackedSteps,
    PackedWindowPool,
    RealConv,
    Rescale,
    Threshold,
    parts,
)
from bnas.runs import load_checkpoint, save_checkpoint

KIND, VERSION = "packed network", 2
_KEYS = ("kind", "version", "shape", "mean", "std", "genotype", "model")
_MEMBERS = {"bits": np.bool_, "int32": np.int32, "float32": np.float32}
_ADVICE = "export the network again"


def save(path, model, shape, mean, std, genotype):
    """Write a packed network; InputError if the file cannot be written, ValueError for one of other parts."""
    check(model, shape)  # else the file could not be loaded
    pools = {name: [] for name in _MEMBERS}
    meta = {
        "kind": KIND,
        "version": VERSION,
        "shape": list(shape),
        "mean": [float(m) for m in mean],
        "std": [float(s) for s in std],
        "genotype": genotype,
        "model": _encode(model, pools),
    }
    arrays = {
        name: np.concatenate([np.empty(0, dtype), *(a.ravel() for a in pools[name])])
        for name, dtype in _MEMBERS.items()
    }
    arrays["bits"] = np.packbits(arrays["bits"])
    save_checkpoint(path, arrays, meta)


def load(path):
    """What `save` wrote, as a dict of its arguments; InputError if that is not what the file holds."""
    if not Path(path).is_file():
        raise InputError(f"{path} is no file; give the one that bnas export wrote")
    arrays, meta = load_checkpoint(path, _ADVICE)
    if not isinstance(meta, dict) or meta.get("kind") != KIND:
        raise InputError(
            f"{path} is a checkpoint, not a {KIND}; make one with bnas export RUN -o FILE"
        )
    if meta.get("version") != VERSION:
        raise InputError(
            f"{path} has version {meta.get('version')} of the format, expected {VERSION}; {_ADVICE}, "
            "or use the version of bnas that wrote it"
        )
    try:
        if arrays.keys() != set(_MEMBERS) or any(array.ndim != 1 for array in arrays.values()):
            raise ValueError(f"its members are not {', '.join(_MEMBERS)}")
        arrays["bits"] = np.unpackbits(arrays["bits"]).astype(np.bool_)
        model = _decode(meta["model"], arrays)
        check(model, meta["shape"])
        mean, std = (_per_channel(meta, name) for name in ("mean", "std"))
        if not (std > 0).all():
            raise ValueError("a std is not above 0")
        if not isinstance(meta["genotype"], str) or meta.keys() != set(_KEYS):
            raise ValueError(f"its description is not {', '.join(_KEYS)}")
    except ValueError as error:
        raise InputError(f"{path} holds no network that can run: {error}; {_ADVICE}") from error
    except (
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{path} holds no network that can run: its description is none ({reason:.200}); {_ADVICE}"
        ) from error
    return {
        "model": model,
        "shape": meta["shape"],
        "mean": mean,
        "std": std,
        "genotype": meta["genotype"],
    }


def _per_channel(meta, name):
    """The finite numbers of that name, one for each channel, as float64."""
    numbers = meta[name]
    valid = isinstance(numbers, list) and len(numbers) == meta["shape"][0]
    if not valid or any(type(n) not in (int, float) for n in numbers):
        raise ValueError(f"{name} is not a number for each channel")
    return np.array(numbers, np.float64)


def _encode(value, pools):
    """A tree of records as JSON; its arrays go to the pools."""
    if isinstance(value, np.ndarray):
        member = next(name for name, dtype in _MEMBERS.items() if value.dtype == dtype)
        start = sum(a.size for a in pools[member])
        pools[member].append(value)
        return {"array": member, "start": start, "shape": list(value.shape)}
    if isinstance(value, tuple) and type(value).__name__ in KINDS:
        fields = {name: _encode(part, pools) for name, part in value._asdict().items()}
        return {"is": type(value).__name__, **fields}
    if isinstance(value, (tuple, list)):
        return [_encode(part, pools) for part in value]
    return value if isinstance(value, (str, bool)) else int(value)


def _decode(value, arrays):
    if isinstance(value, list):
        return tuple(_decode(part, arrays) for part in value)
    if isinstance(value, dict) and "array" in value:
        start, shape = value["start"], value["shape"]
        if not all(type(n) is int and n >= 0 for n in (start, *shape)):
            raise ValueError("an array begins or extends nowhere")
        flat = arrays[value["array"]][start : start + math.prod(shape)]
        return np.ascontiguousarray(flat.reshape(shape))
    if isinstance(value, dict):
        fields = {name: _decode(part, arrays) for name, part in value.items() if name != "is"}
        kind = KINDS[value["is"]]
        if fields.keys() != set(kind._fields):
            raise ValueError(f"a {kind.__name__} has the fields {', '.join(fields)}")
        return kind(**fields)
    return value


def size_table(model):
    """Numbers, bits here, and bits in float32 of every kind of part, as text.

    What a file holds besides is the JSON text that describes the network.
    """
    rows = {
        "1-bit weights": [0, 0],
        "thresholds": [0, 0],
        "scales back to floats": [0, 0],
        "real convolutions": [0, 0],
        "real batch norms": [0, 0],
        "classifier": [0, 0],
    }

    def add(part, bits, *arrays):
        for array in arrays:
            rows[part][0] += array.size
            rows[part][1] += bits * array.size

    for record in parts(model):
        if isinstance(record, BitConv):
            add("1-bit weights", 1, record.w)
        elif isinstance(record, Threshold):
            add("thresholds", 33, record.least)
        elif isinstance(record, Rescale):
            add("scales back to floats", 32, *record)
        elif isinstance(record, RealConv):
            add("real convolutions", 32, record.w)
            add("real batch norms", 32, record.scale, record.shift)
        elif isinstance(record, (PackedPool, PackedWindowPool)):
            add("real batch norms", 32, record.scale, record.shift)
        elif isinstance(record, PackedAffine):
            add("real batch norms", 32, *record)
        elif isinstance(record, (Model, PackedSteps)):
            add("classifier", 32, record.w, record.bias)
    rows["all"] = [sum(column) for column in zip(*rows.values())]
    lines = [f"{'part':<24}{'numbers':>10}{'bits':>12}{'in float32':>12}{'ratio':>8}"]
    for part, (numbers, bits) in rows.items():
        ratio = f"1/{32 * numbers / bits:.3g}" if bits else "-"
        lines.append(f"{part:<24}{numbers:>10,}{bits:>12,}{32 * numbers:>12,}{ratio:>8}")
    return "\n".join(lines)
