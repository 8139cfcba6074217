"""Files that are damaged, or crafted to look whole: what every reader has to refuse or to read as it is."""

import gzip
import hashlib
import io
import json
import warnings
import zipfile

import numpy as np

SEAL = b"bnas checkpoint 1 sha256 "
BOMB = 7 * 10**7  # zeros, which deflate to a thousandth: more than `bnas.npy.HARMLESS`
DEEP = 100_000  # brackets within one another
NUMBERS = (0, 1, -1, 2, 3, 7, 64, 65, 2**31, 2**32 - 1, 2**63, -(2**63), 10**23, 10**400)
ODD = (None, True, False, "", "x", "\0", "\ud800", [], {}, [[]], {"is": "Model"}, 0.5, -0.0, 1e308)
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
DEEP_MARK = "nested too deep"
HEADERS = (
    "shape 10**23",
    "shape True",
    "negative shape",
    "shape of floats",
    "more dimensions",
    "descr ()",
    "other descr",
    "huge descr",
    "objects",
    "other order",
    "deep",
    "nothing",
)


# Any bytes


def damage(rng, content):
    """The bytes with one to three random changes."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(content) + 1))
        length = int(2 ** rng.uniform(0, 8))
        how = rng.integers(0, 7)
        if how == 0:  # a bit
            content[at : at + 1] = bytes(
                b ^ 1 << int(rng.integers(8)) for b in content[at : at + 1]
            )
        elif how == 1:  # a few bytes
            content[at : at + length] = rng.bytes(len(content[at : at + length]))
        elif how == 2:  # the end
            del content[at:]
        elif how == 3:  # a hole
            del content[at : at + length]
        elif how == 4:
            content[at:at] = rng.bytes(length)
        elif how == 5:  # a part doubled
            content[at:at] = content[at : at + length]
        else:  # numbers of a header, at their ends
            content[at : at + 4] = (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff")[rng.integers(3)]
    return bytes(content)


# JSON


def replace_within(rng, value):
    """A JSON value with one part, at any depth, replaced, left out or doubled."""
    value = json.loads(json.dumps(value))
    places = list(_places(value))
    if not places or rng.random() < 0.02:
        return _odd_value(rng, value)
    if rng.random() < 0.3:  # at the top, where there are few
        places = places[: len(value)]
    part, key = places[rng.integers(len(places))]
    how = rng.random()
    if how < 0.08:
        del part[key]
    elif how < 0.16 and isinstance(part, dict):
        part[f"{key} "] = part[key]
    elif how < 0.16:
        part.insert(key, part[key])
    elif how < 0.25:  # what belongs somewhere else
        other, other_key = places[rng.integers(len(places))]
        part[key] = json.loads(json.dumps(other[other_key]))
    else:
        part[key] = _odd_value(rng, part[key])
    return value


def _places(value):
    """(container, key) of every part of a JSON value, outer ones first."""
    level = [value]
    while level:
        below = []
        for part in level:
            if isinstance(part, (dict, list)):
                for key in part if isinstance(part, dict) else range(len(part)):
                    yield part, key
                    below.append(part[key])
        level = below


def _odd_value(rng, value):
    choices = [*NUMBERS, *ODD, *NOT_FINITE, DEEP_MARK]
    if type(value) in (int, float) and abs(value) < 1e300:
        near = [value + 1, value - 1, 2 * value, float(value), -value, str(value), [value]]
        choices += 4 * near
    return choices[int(rng.integers(len(choices)))]


def json_text(value):
    """JSON as bytes; the value DEEP_MARK becomes a nesting that no parser survives."""
    text = json.dumps(value).replace(json.dumps(DEEP_MARK), "[" * DEEP + "]" * DEEP)
    return text.encode()


def craft_json(rng, content):
    """A JSON text with a part that is none of its kind."""
    value = json.loads(content)
    for _ in range(rng.integers(1, 3)):
        value = replace_within(rng, value)
    return json_text(value)


def craft_lines(rng, content):
    """Lines of JSON: one of them changed, left out, doubled or moved."""
    lines = content.splitlines(keepends=True)
    at, other = (int(i) for i in rng.integers(len(lines), size=2))
    how = rng.random()
    if how < 0.6:
        lines[at] = craft_json(rng, lines[at]) + b"\n"
    elif how < 0.7:
        del lines[at]
    elif how < 0.8:
        lines.insert(at, lines[other])
    else:
        lines[at], lines[other] = lines[other], lines[at]
    return b"".join(lines)


# Arrays


def npy(array):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of version 3.0, which old versions of NumPy do not read
        np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def with_header(text, numbers):
    """A .npy file with any text for a header."""
    text = text.encode()
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + numbers


def craft_array(rng, content):
    """A .npy file whose header claims something else, or whose numbers are others."""
    array = np.lib.format.read_array(io.BytesIO(content))
    if rng.random() < 0.5:
        return npy(_other_array(rng, array))
    descr, shape = repr(np.lib.format.dtype_to_descr(array.dtype)), list(array.shape)
    order, numbers = "False", array.tobytes()
    how = HEADERS[rng.integers(len(HEADERS))]
    at = int(rng.integers(len(shape) + 1))
    if how == "shape 10**23":
        shape.insert(at, int(rng.choice([10**9, 2**31])) ** int(rng.integers(1, 5)))
    elif how == "shape True":
        shape.insert(at, True)
    elif how == "negative shape":
        shape.insert(at, -1)
    elif how == "shape of floats":
        shape = [float(n) for n in (*shape, 1)]
    elif how == "more dimensions":
        shape += [1] * int(rng.choice([1, 33, 65, 2000]))
    elif how in ("descr ()", "other descr", "huge descr", "objects"):
        descr = {
            "descr ()": ["()", "[]", "[()]", "''", "None", "('<f4', ())", "[('a',)]"],
            "other descr": ["'<f4'", "'>f4'", "'|b1'", "'<M8[s]'", "'|V0'", "'<U0'", "'<c8'"],
            "huge descr": ["'<U999999999'", "'|V2147483647'", "('<f4', (10**9, 10**9))"],
            "objects": ["'|O'", "[('a', '|O')]"],
        }[how]
        descr = descr[rng.integers(len(descr))]
    elif how == "other order":
        order = ("True", "1", "None")[rng.integers(3)]
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {tuple(shape)}, }}"
    if how == "deep":
        text = "(" * int(rng.choice([90, 3000]))
    if how == "nothing":
        text = ("", "{}", "0", "__import__('os')", text[:-2] + "'x': 1}")[rng.integers(5)]
    return with_header(text, numbers)


def _other_array(rng, array):
    how = rng.integers(0, 7)
    if how == 0:
        return array.astype([">f4", "<f8", "<i8", "<f2", "|b1", "|u1", "<c8"][rng.integers(7)])
    if how == 1:
        return array[None] if array.ndim == 0 or rng.random() < 0.5 else array[..., 0]
    if how == 2:
        return np.concatenate([array.ravel(), array.ravel()[: int(rng.integers(1, 3))]])
    array = array.copy()
    if array.size == 0:
        return np.zeros(1, array.dtype)
    at = int(rng.integers(array.size))
    if array.dtype.kind == "f":
        array.flat[at] = [*NOT_FINITE, 0, -1, 1e38, -array.flat[at]][rng.integers(7)]
    elif array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        array.flat[at] = [limits.min, limits.max, 0, 1, array.flat[at] // 2][rng.integers(5)]
    else:
        array = np.zeros_like(array)
    return array


# Archives


def members(content):
    """{name: bytes} of a zip file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(entries, comment=b""):
    """A zip file of (name, bytes, compression)."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as file:
        warnings.simplefilter("ignore")  # some members have the same name
        for name, content, compression in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            with file.open(info, "w") as member:
                member.write(content)
        file.comment = comment
    return buffer.getvalue()


def craft_members(rng, content, compression=zipfile.ZIP_STORED):
    """A zip file of arrays: one of its members changed, left out, doubled, renamed or packed otherwise."""
    entries = [[name, data, compression] for name, data in members(content).items()]
    at = int(rng.integers(len(entries)))
    if rng.random() < 0.5:  # the one that describes the others, if there is one
        at = next((i for i, entry in enumerate(entries) if entry[0] == "__meta__.npy"), at)
    entry, how = entries[at], rng.random()
    if how < 0.7 and entry[0] == "__meta__.npy":
        text = craft_json(rng, np.lib.format.read_array(io.BytesIO(entry[1])).tobytes())
        entry[1] = npy(np.frombuffer(text, np.uint8))
    elif how < 0.6:
        entry[1] = craft_array(rng, entry[1])
    elif how < 0.7:
        entry[1] = damage(rng, entry[1])
    elif how < 0.75:
        del entries[at]
    elif how < 0.8:
        entry[0] = str(
            rng.choice(["x.npy", "x", "", ".npy", "../x.npy", "0.npy", entry[0] + ".npy"])
        )
    elif how < 0.85:
        name = ["x.npy", entry[0].replace("0", "1"), entry[0].replace("1", "2")][rng.integers(3)]
        entries.append([name, entry[1], compression])
    elif how < 0.9:
        entry[2] = [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA][rng.integers(3)]
    elif how < 0.92:
        entry[1:] = with_header("{}", bytes(BOMB)), zipfile.ZIP_DEFLATED
    elif how < 0.96:
        entries = []
    else:
        entries = [entries[i] for i in rng.permutation(len(entries))]
    return archive(entries)


def seal(content):
    """The zip file with a comment that seals it as it is."""
    with io.BytesIO(content) as buffer:
        with zipfile.ZipFile(buffer, "a") as file:
            file.comment = SEAL + b"0" * 64
        content = buffer.getvalue()[:-64]
    return content + hashlib.sha256(content).hexdigest().encode()


def craft_sealed(rng, content):
    """A sealed file of other members, or with damage that was sealed."""
    if rng.random() < 0.2:
        content = damage(rng, content[:-64])
        at = content.rfind(SEAL)
        content = content if at < 0 else content[: at + len(SEAL)]
        return content + hashlib.sha256(content).hexdigest().encode()
    return seal(craft_members(rng, content))


def craft_gzip(craft):
    """Crafts what is inside a gzip file; now and then it unpacks to far more."""

    def crafted(rng, content):
        inside = craft(rng, gzip.decompress(content))
        if rng.random() < 0.02:
            inside += bytes(BOMB)
        return gzip.compress(inside)

    return crafted
