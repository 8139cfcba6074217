"""Tests with random inputs against the reference."""

import numpy as np

from bnas.grading import Race, equal, race, test

LENGTHS = (1, 2, 7, 63, 64, 65, 100, 127, 128, 129, 200)


def words_of(n):
    return -(-n // 64)


@test("pack")
def lengths(student, rng, reference):
    """Lengths around whole words, one row."""
    for n in LENGTHS:
        x = rng.standard_normal((1, n))
        equal(
            student.pack(x),
            reference.pack(x),
            causes={
                "bits beyond the end are 1": lambda x=x, n=n: (
                    reference.pack(x) | ~reference.pack(np.ones((1, n)))
                ),
                "a bit is 1 for +1, not for -1": lambda x=x: reference.pack(-x),
            },
            kind="u",
        )


@test("pack")
def zeros_and_rows(student, rng, reference):
    """Several rows, with zeros among the numbers; float32 too."""
    for dtype in (np.float64, np.float32):
        for rows, n in ((2, 3), (3, 70), (5, 64)):
            x = rng.integers(-1, 2, (rows, n)).astype(dtype)
            equal(
                student.pack(x),
                reference.pack(x),
                causes={"sign(0) is -1": lambda x=x: reference.pack(x + 0.5)},
                kind="u",
            )


@test("unpack")
def back_and_forth(student, rng, reference):
    """Random words; the last one is not filled, and holds anything beyond the end."""
    for n in LENGTHS:
        words = rng.integers(0, 1 << 64, (3, words_of(n)), np.uint64)
        equal(student.unpack(words, n), reference.unpack(words, n), kind="i")


@test("dot")
def tails(student, rng, reference):
    """Lengths that do not fill the last word, which holds anything beyond the end."""
    for n in LENGTHS:
        a, b = (rng.integers(0, 1 << 64, (rows, words_of(n)), np.uint64) for rows in (2, 3))
        equal(student.dot(a, b, n), reference.dot(a, b, n), causes=_causes(a, b, n), kind="i")


@test("dot")
def shapes(student, rng, reference):
    """Different numbers of rows, one among them, and rows that are equal or opposite."""
    for rows, others, n in ((1, 1, 3), (1, 4, 64), (4, 1, 90), (3, 3, 128)):
        a = rng.integers(0, 1 << 64, (rows, words_of(n)), np.uint64)
        b = rng.integers(0, 1 << 64, (others, words_of(n)), np.uint64)
        b[0] = ~a[0]
        equal(student.dot(a, b, n), reference.dot(a, b, n), causes=_causes(a, b, n), kind="i")


@test("dot")
def long_rows(student, rng, reference):
    """Rows of thousands of signs, whose counts do not fit into a byte."""
    for n in (1000, 20_000):
        a, b = (rng.integers(0, 1 << 64, (2, words_of(n)), np.uint64) for _ in "ab")
        b[1] = a[1]
        equal(student.dot(a, b, n), reference.dot(a, b, n), causes=_causes(a, b, n), kind="i")


def _causes(a, b, n):
    different = np.bitwise_count(a[:, None] ^ b[None]).sum(axis=2, dtype=np.int64)
    return {
        "bits beyond the end are counted": n - 2 * different,
        "n has to be the number of signs, not of bits in the words": lambda: (
            64 * a.shape[1] - 2 * different
        ),
    }


@race("speed")
def many_rows(rng):
    """300 × 300 rows of 1,000 signs."""
    inputs = [
        [*(rng.integers(0, 1 << 64, (300, 16), np.uint64) for _ in "ab"), 1000] for _ in range(8)
    ]
    return Race("dot", inputs)
