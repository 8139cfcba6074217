"""Arrays in files: read as NumPy reads them, or refused before memory is taken for what they claim."""

import io
import tracemalloc
import zipfile

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from helpers.hostile import archive, npy, with_header
from hypothesis import given, settings
from hypothesis import strategies as st

from bnas.npy import read_archive, read_array

dtypes = st.one_of(
    hnp.scalar_dtypes(),
    hnp.unicode_string_dtypes(max_len=4),
    hnp.byte_string_dtypes(max_len=4),
    hnp.array_dtypes(max_size=3),
)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.booleans())
def test_arrays_of_every_dtype_and_order_come_back(data, by_columns):
    dtype = data.draw(dtypes.filter(lambda dtype: dtype.itemsize > 0))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
    array = np.asfortranarray(array) if by_columns else array
    found = read_array(npy(array))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


def header(descr="'<f4'", order="False", shape="(2,)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def test_headers_of_python_2_and_of_version_3_are_read():
    assert read_array(with_header(header(shape="(2L,)"), bytes(8))).shape == (2,)
    named = np.zeros(2, [("γ", "<f4")])  # beyond Latin-1, which makes it version 3
    assert read_array(npy(named)).dtype == named.dtype


LIES = {
    "more than there is": header(shape="(3,)"),
    "less than there is": header(shape="(1,)"),
    "91 TiB": header(shape=f"({10**14},)"),
    "more than fits into an int64": header(shape=f"({10**23},)"),
    "product that is 0 in 64 bits": header(shape=f"({2**32}, {2**32})"),
    "more digits than Python prints": header(shape=f"({'9' * 4200}, {'9' * 4200})"),
    "True": header(shape="(True, 2)"),
    "negative": header(shape="(-2, -1)"),
    "of floats": header(shape="(2.0,)"),
    "a list": header(shape="[2]"),
    "too many dimensions": header(shape=f"({'1, ' * 100}2)"),
    "nothing of much": header(shape=f"(0, {10**23})"),
    "no descr": header(descr="()"),
    "nothing for a descr": header(descr="None"),
    "fields without a dtype": header(descr="[('a',)]"),
    "huge dtype": header(descr="'<U999999999'"),
    "dtype of no size": header(descr="'|V0'", shape=f"({10**15},)"),
    "objects": header(descr="'|O'", shape="(1,)"),
    "order 1": header(order="1"),
    "another key": header()[:-2] + "'x': 1}",
    "no dict": "3",
    "deep": "(" * 5000,
    "code": "__import__('os').getcwd()",
    "long": " " * 20_000 + header(),
}


@pytest.mark.parametrize("text", LIES.values(), ids=LIES)
def test_headers_that_lie_are_refused_without_memory(text):
    content = with_header(text, bytes(8))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="its header|Python objects"):
            read_array(content)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_what_is_no_array_is_refused():
    whole = npy(np.arange(3))
    for content in (
        b"",
        whole[:5],
        whole[:9],
        whole[:40],
        b"\0" + whole,
        b"\x93NUMPY\x09\x00" + whole,
    ):
        with pytest.raises(ValueError, match="does not begin as a .npy file does"):
            read_array(content)
    with pytest.raises(ValueError, match="neither true nor false"):
        read_array(with_header(header(descr="'|b1'"), b"\1\2"))


def read(content, **options):
    return read_archive(io.BytesIO(content), len(content), **options)


def test_archives_are_read_as_numpy_reads_them():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "x.npy": np.zeros(0), "b/c": np.array(True)}
    for save, compressed in ((np.savez, False), (np.savez, True), (np.savez_compressed, True)):
        file = io.BytesIO()
        save(file, **arrays)
        found = read(file.getvalue(), compressed=compressed)
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array, strict=True)


STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
ARRAY = npy(np.zeros(3))


@pytest.mark.parametrize(
    "entries, says",
    [
        ([("a.npy", ARRAY, DEFLATED)], "a is encrypted or packed in an unknown way"),
        ([("a.npy", ARRAY, zipfile.ZIP_LZMA)], "a is encrypted or packed in an unknown way"),
        ([("a.npy", ARRAY, STORED), ("a.npy", ARRAY, STORED)], "two members have the same name"),
        ([("a", ARRAY, STORED)], "a is no array"),
        ([("a.npy", b"junk", STORED)], "a is no array of plain numbers: it does not begin"),
        ([("a.npy", with_header(header(shape="(9,)"), b""), STORED)], "36 bytes, and 0 bytes are"),
    ],
)
def test_other_archives_are_refused(entries, says):
    with pytest.raises(ValueError, match=says):
        read(archive(entries))


def test_members_that_overlap_are_refused():
    """A directory that lists one member many times, under many names."""
    content = bytearray(archive([(f"{i}.npy", ARRAY, STORED) for i in range(4)]))
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        start, infos = file.start_dir, file.infolist()
    for info in infos:  # the size of each in its entry of the directory
        at = content.index(info.filename.encode(), start) - 46
        content[at + 20 : at + 28] = (10**6).to_bytes(4, "little") * 2
    with pytest.raises(ValueError, match="claim more bytes than the file has"):
        read(bytes(content))


def test_what_unpacks_to_far_more_than_it_is_is_refused_unread():
    bomb = archive([("a.npy", with_header(header(), bytes(10**8)), DEFLATED)])
    assert len(bomb) < 10**6
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="claims to unpack to 100,000,"):
            read(bomb, compressed=True)
        liar = bytearray(bomb)  # the same, and says that it is small
        at = liar.rindex(b"a.npy") - 46
        liar[at + 24 : at + 28] = (100).to_bytes(4, "little")
        with pytest.raises(ValueError, match="cut short or damaged|no array"):
            read(bytes(liar), compressed=True)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
