"""The tests that you can run yourself: `bnas grade . starter.py --public`."""

import numpy as np

from bnas.grading import Task, equal, test

TASKS = [
    Task("pack", "Task 1, pack", points=25),
    Task("unpack", "Task 2, unpack", points=15),
    Task("dot", "Task 3, dot", points=46),
    Task("speed", "Task 4, the speed of dot", points=14),
]


@test("pack")
def one_word_by_hand(student, rng):
    """Four signs: + - + +."""
    equal(
        student.pack(np.array([[0.5, -2.0, 3.0, 1.0]])),
        np.array([[0b1101]], np.uint64),
        causes={
            "the first sign is the lowest bit, not the highest": np.array([[0b1011]], np.uint64),
            "a bit is 1 for +1, not for -1": np.array([[0b0010]], np.uint64),
            'np.packbits needs bitorder="little"': np.array([[0b10110000]], np.uint64),
        },
    )


@test("pack")
def zeros(student, rng):
    """0, 1 and -0: one bit has no third value."""
    equal(
        student.pack(np.array([[0.0, 1.0, -0.0]])),
        np.array([[0b010]], np.uint64),
        causes={
            "a bit is 1 where x > 0; 0 counts as -1": np.array([[0b111]], np.uint64),
            'np.packbits needs bitorder="little"': np.array([[0b01000000]], np.uint64),
        },
    )


@test("pack")
def two_words(student, rng):
    """A row of 65 numbers, of which those at 1 and at 64 are positive."""
    x = np.full((1, 65), -1.0)
    x[0, [1, 64]] = 1
    equal(
        student.pack(x),
        np.array([[2, 1]], np.uint64),
        causes={
            "bits beyond the end have to be 0": np.array([[2, (1 << 64) - 1]], np.uint64),
            "sign k belongs to word k // 64: the first 64 to the first word": np.array(
                [[1, 2]], np.uint64
            ),
            'np.packbits needs bitorder="little"': np.array([[64, 128]], np.uint64),
        },
    )


@test("unpack")
def one_word_back(student, rng):
    """The word 0b1101 of four signs."""
    equal(
        student.unpack(np.array([[0b1101]], np.uint64), 4),
        np.array([[1, -1, 1, 1]]),
        causes={"the first sign is the lowest bit": np.array([[1, 1, -1, 1]])},
    )


@test("dot")
def four_signs(student, rng):
    """Four signs, nothing beyond the end."""
    a, b = np.array([[0b1101]], np.uint64), np.array([[0b1001]], np.uint64)
    equal(
        student.dot(a, b, 4),
        np.array([[2]]),
        causes={
            "equal bits count as different": np.array([[-2]]),
            "n has to be the number of signs, not of bits in the words": np.array([[62]]),
        },
    )


@test("dot")
def beyond_the_end(student, rng):
    """Four signs, where one side has ones beyond the end."""
    full, other = np.array([[0xFFFFFFFFFFFFFFFD]], np.uint64), np.array([[0b1001]], np.uint64)
    for a, b in ((full, other), (other, full)):
        causes = {"bits beyond n are counted; they may be anything in both": np.array([[-118]])}
        equal(student.dot(a, b, 4), np.array([[2]]), causes)


@test("dot")
def whole_words(student, rng):
    """Rows of one and of two whole words, against products of signs."""
    for words in (1, 2):
        signs = rng.choice([-1, 1], (2, 3, 64 * words))
        bits = np.packbits(signs > 0, axis=2, bitorder="little").view("<u8").astype(np.uint64)
        first = signs[0, :, :64] @ signs[1, :, :64].T
        equal(
            student.dot(bits[0], bits[1], 64 * words),
            signs[0] @ signs[1].T,
            causes={
                "at n % 64 = 0 the whole last word counts; the mask 2**0 - 1 is 0": (
                    64 + (words - 1) * first
                ),
            },
        )


@test("speed")
def right_at_size(student, rng):
    """A larger product is right at all; --public does not measure its time."""
    signs = rng.choice([-1, 1], (2, 40, 640))
    bits = np.packbits(signs > 0, axis=2, bitorder="little").view("<u8").astype(np.uint64)
    equal(student.dot(bits[0], bits[1], 640), signs[0] @ signs[1].T)
