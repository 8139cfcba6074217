"""Messages between the grader and a submission: whole after a round trip, refused when they are not whole."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bnas.grading import wire

DTYPES = st.sampled_from([np.dtype(name) for name in sorted(wire.DTYPES)])
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays.arrays(
        dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
    )
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 4096) + 1, (1 << 4096) - 1),
    st.floats(),
    st.text(st.characters()),
    ARRAYS,
)
VALUES = st.recursive(
    PLAIN,
    lambda parts: st.one_of(
        st.lists(parts, max_size=4),
        st.lists(parts, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=3), parts, max_size=4),
    ),
    max_leaves=12,
)
# What JSON can hold, with the words that messages are made of.
WORDS = st.sampled_from(
    ["int", "float", "array", "list", "tuple", "dict", "function", "<f8", "|b1", "0x1"]
)
TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), WORDS),
    lambda parts: st.one_of(
        st.lists(parts, max_size=4),
        st.dictionaries(st.text(max_size=3), parts, max_size=2),
        st.tuples(WORDS, parts).map(list),
        st.tuples(WORDS, parts, parts).map(list),
    ),
    max_leaves=10,
)


def same(a, b):
    """Equal, of the same types, down to NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return a == b or (a != a and b != b)


def received(frame, **options):
    tree, size = wire.lengths(frame[: wire.LENGTHS.size])
    rest = frame[wire.LENGTHS.size :]
    return wire.decode(rest[:tree], rest[tree : tree + size], **options)


def refused(frame):
    """Whether the frame is refused, by WireError and nothing else."""
    try:
        received(frame)
    except wire.WireError:
        return True
    return False


@given(VALUES)
@settings(max_examples=60)
def test_what_can_be_sent_arrives_as_it_was(value):
    assert same(received(wire.encode(value)), value)


@pytest.mark.parametrize(
    "sent, arrives",
    [
        (np.float32(0.5), np.array(0.5, np.float32)),
        (np.arange(6).reshape(2, 3).T, np.arange(6).reshape(2, 3).T.copy()),
        (np.arange(3, dtype=">i4"), np.arange(3, dtype="i4")),
        (np.broadcast_to(np.ones(1), (3, 2)), np.ones((3, 2))),
        (np.ma.masked_array([1, 2], [True, False]), np.array([1, 2])),
    ],
    ids=["number", "transposed", "byte order", "broadcast", "masked"],
)
def test_arrays_arrive_plain_and_writable(sent, arrives):
    got = received(wire.encode(sent))
    assert same(got, arrives) and got.flags.owndata and got.flags.writeable


class Number(int):
    pass


CIRCLE = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Number(1),
        1j,
        b"bytes",
        {1, 2},
        {1: 2},
        len,
        1 << 4096,
        np.array([None]),
        np.array(["text"]),
        np.zeros(2, [("a", int)]),
        np.zeros(1, np.longdouble),
        np.zeros(1, "M8[s]"),
        np.zeros((1,) * 33),
        np.zeros(wire.LARGEST_ARRAYS + 1, np.int8),
        "x" * wire.LARGEST_TREE,
        CIRCLE,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_sent_is_refused(value):
    with pytest.raises(wire.WireError):
        wire.encode({"value": [value]})


def test_functions_are_sent_by_number():
    assert refused(wire.encode([len], lambda function: 3))
    got = received(
        wire.encode([len], lambda function: 3), function=lambda number: ("function", number)
    )
    assert got == [("function", 3)]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(content):
    refused(wire.LENGTHS.pack(len(content), 0) + content)
    refused(wire.LENGTHS.pack(0, len(content)) + content)
    if len(content) >= wire.LENGTHS.size:
        refused(content)


@given(TREES, st.binary(max_size=24))
def test_any_tree_is_a_message_or_refused(tree, data):
    text = wire.json.dumps(tree).encode()
    refused(wire.LENGTHS.pack(len(text), len(data)) + text + data)


@given(VALUES, st.data())
@settings(max_examples=100)
def test_damaged_messages_are_a_message_or_refused(value, data):
    frame = bytearray(wire.encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(frame) - 1))
        kind = data.draw(st.sampled_from(["change", "cut", "repeat"]))
        if kind == "change":
            frame[at] = data.draw(st.integers(0, 255))
        elif kind == "cut" and len(frame) > wire.LENGTHS.size + 1:
            del frame[max(at, wire.LENGTHS.size)]
        else:
            frame[at:at] = frame[at : at + 8]
    refused(bytes(frame))


@pytest.mark.parametrize(
    "tree",
    [
        b'["array"]',
        b'["array","<f8"]',
        b'["array","<f8",[1099511627775,1099511627775]]',
        b'["array","<f8",[-1]]',
        b'["array","<f8",[true]]',
        b'["array","<f8",{"a":1}]',
        b'["array","|O",[0]]',
        b'["array",["<f8"],[0]]',
        b'["dict",[["a"]]]',
        b'["dict",[[["a"],null]]]',
        b'["dict",[[1,null]]]',
        b'["list",3]',
        b'["list","text"]',
        b'["int",1e999]',
        b'["int","0x1' + b"0" * 2000 + b'"]',
        b'["int","0x1' + b"0" * 1_000_000 + b'"]',
        b'["float","0x1p99999"]',
        b'["float",1]',
        b'["function",0]',
        b"1",
        b"1" * 10_000,
        b"NaN",
        b"[" * 1_000_000,
        b'["list",[' * 1000 + b"]]" * 1000,
        b'"\xff"',
        b"",
    ],
    ids=lambda tree: tree[:40].decode(errors="replace"),
)
def test_crafted_messages_are_refused(tree):
    assert refused(wire.LENGTHS.pack(len(tree), 0) + tree)


def test_lengths_beyond_the_bounds_are_refused_before_anything_is_read():
    for tree, size in (
        (wire.LARGEST_TREE + 1, 0),
        (0, wire.LARGEST_ARRAYS + 1),
        (2**32 - 1, 2**64 - 1),
    ):
        with pytest.raises(wire.WireError, match="larger than allowed"):
            wire.lengths(wire.LENGTHS.pack(tree, size))


def test_bytes_without_an_array_are_refused():
    assert refused(wire.LENGTHS.pack(4, 8) + b"null" + bytes(8))


@pytest.mark.parametrize(
    "tree",
    [
        b'["list",[' + b",".join([b'["array","<f8",[0]]'] * 50_000) + b"]]",
        b'["list",[' + b",".join([b'["array","<f8",[0,1099511627775,9]]'] * 20_000) + b"]]",
        b'["list",[' + b",".join([b"null"] * 200_000) + b"]]",
        b'["tuple",[' + b",".join([b'["list",[]]'] * 80_000) + b"]]",
    ],
    ids=["empty arrays", "empty arrays of large shapes", "nothing", "lists"],
)
@pytest.mark.slow
def test_a_small_message_takes_little_memory(tree):
    assert len(tree) <= wire.LARGEST_TREE
    tracemalloc.start()
    try:
        refused(wire.LENGTHS.pack(len(tree), 0) + tree)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
