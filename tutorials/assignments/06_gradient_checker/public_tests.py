"""The tests that you can run yourself: `bnas grade . starter.py --public`."""

import numpy as np

from bnas.grading import Failure, Task, close, test
from bnas.grading.suite import shown

TASKS = [
    Task("derivative", "Task 1, derivative", points=15),
    Task("vector_jacobian", "Task 2, vector_jacobian", points=20),
    Task("worst_error", "Task 3, worst_error", points=20),
    Task("check", "Task 4, check", points=45),
]


def float64(function):
    """A function that insists on float64, in an array or a list of arrays."""

    def forward(x):
        for array in x if isinstance(x, list | tuple) else [x]:
            if array.dtype != np.float64:
                raise TypeError(f"this function takes float64, got {array.dtype}")
        return function(x)

    return forward


def of_list(function):
    """A function that insists on a list of float64 arrays."""

    def forward(inputs):
        if not isinstance(inputs, list | tuple):
            raise TypeError("inputs is a list of arrays")
        return float64(function)(inputs)

    return forward


def judge(student, rng, cases):
    """Run `check` on cases, in any order.

    cases: (what it is, forward, backward, inputs, cause), cause being a text if backward is wrong; if it is right,
    None or a tuple with the text for a checker that rejects it.
    """
    for at in rng.permutation(len(cases)):
        what, forward, given, inputs, cause = cases[at]

        def backward(inputs, dy, *, given=given):
            if not isinstance(inputs, list | tuple):
                raise TypeError("inputs is a list of arrays")
            return given(inputs, dy)

        verdict = student.check(of_list(forward), backward, inputs, int(rng.integers(1 << 30)))
        if isinstance(verdict, np.ndarray) and verdict.shape == () and verdict.dtype == bool:
            verdict = bool(verdict)
        if not isinstance(verdict, bool):
            raise Failure(f"got {shown(verdict)}, expected True or False")
        right = cause is None or isinstance(cause, tuple)
        if verdict != right:
            told = (
                f"rejected a right backward: {what}" if right else f"accepted a wrong one: {what}"
            )
            text = cause[0] if isinstance(cause, tuple) else cause
            raise Failure(told + (f"\nlikely cause: {text}" if text else ""))


@test("derivative")
def cubes(student, rng):
    """Cubes of 1, -2 and 3."""
    x = np.array([1.0, -2.0, 3.0])
    h = 6.0554544523933395e-06 * np.abs(x)
    close(
        student.derivative(lambda x: x**3, x),
        np.array([3.0, 12.0, 27.0]),
        causes={
            "a one-sided difference; take x + h and x - h": ((x + h) ** 3 - x**3) / h,
            "a one-sided difference; take x - h as well as x + h": (x**3 - (x - h) ** 3) / h,
        },
        tolerance=1e-9,
    )


@test("derivative")
def large_and_small_numbers(student, rng):
    """Square roots at 40,000 and at a billion, at 0.0004 and at a billionth."""
    for number in (4e4, 1e9, 4e-4, 1e-9):
        x = np.array([number])
        close(student.derivative(float64(np.sqrt), x), 0.5 / np.sqrt(x), _causes(np.sqrt, x), 1e-8)


def _causes(f, x):
    size = 6.0554544523933395e-06
    fixed = "one step of CUBE_ROOT for every x; it has to be chosen by the size of x"
    if x.max() < 1:  # for large ones it was right
        fixed = "the step is CUBE_ROOT here; it has to be CUBE_ROOT |x|, for |x| below 1 too"

    def with_step(h):
        return lambda: (f(x + h) - f(np.maximum(x - h, 0))) / (2 * h)

    return {
        "a one-sided difference; take x + h and x - h": (f(x + size * x) - f(x)) / (size * x),
        "one step of 1e-5 for every x; it has to be chosen by the size of x": with_step(1e-5),
        fixed: with_step(size),
    }


@test("vector_jacobian")
def product(student, rng):
    """A product of two inputs, entry by entry."""
    a, b, dy = np.array([1.0, 2.0]), np.array([3.0, -4.0]), np.array([10.0, 100.0])
    got = student.vector_jacobian(of_list(lambda inputs: inputs[0] * inputs[1]), [a, b], dy)
    same_lists(got, [dy * b, dy * a], [b, a])


def same_lists(got, expected, of_ones):
    """Compare gradients; of_ones: those of a cotangent of ones."""
    if not isinstance(got, list | tuple) or len(got) != len(expected):
        raise Failure(f"got {shown(got)}, expected a list with an array for each input")
    for position, (one, right, ones) in enumerate(zip(got, expected, of_ones)):
        try:
            close(
                one, right, {"forgot the cotangent dy; this is its gradient for ones": ones}, 1e-8
            )
        except Failure as failure:
            raise Failure(f"the gradient for input {position}: {failure}") from None


@test("vector_jacobian")
def matrix(student, rng):
    """A matrix times a vector: 2 outputs, 3 inputs."""
    A, x, dy = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.ones(3), np.array([1.0, -1.0])
    got = student.vector_jacobian(of_list(lambda inputs: A @ inputs[0]), [x], dy)
    same_lists(got, [np.array([-3.0, -3.0, -3.0])], [np.array([5.0, 7.0, 9.0])])


@test("vector_jacobian")
def curved(student, rng):
    """The exponential function, of three numbers."""
    x, dy = np.array([0.0, 1.0, -2.0]), np.array([1.0, -1.0, 3.0])
    y, h = np.exp(x), 1e-5
    got = student.vector_jacobian(of_list(lambda inputs: np.exp(inputs[0])), [x], dy)
    if isinstance(got, list | tuple) and len(got) == 1:
        one_sided = dy * (np.exp(x + h) - y) / h
        causes = {
            "a one-sided difference; take x + h and x - h": one_sided,
            "forgot the cotangent dy; this is its gradient for ones": y,
        }
        close(got[0], dy * y, causes, 1e-8)
    same_lists(got, [dy * y], [y])


@test("vector_jacobian")
def other_shapes(student, rng):
    """An input of shape (2, 2), times one of shape ()."""
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array(3.0)
    dy = np.array([[10.0, -1.0], [0.5, 100.0]])
    got = student.vector_jacobian(of_list(lambda inputs: inputs[0] * inputs[1]), [a, b], dy)
    same_lists(got, [dy * b, np.array(409.5)], [b * np.ones((2, 2)), np.array(10.0)])


@test("worst_error")
def by_hand(student, rng):
    """One input: 1, 2, 4 against 1, 2, 5."""
    a, n = np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 5.0])
    close(
        student.worst_error([a], [n]),
        0.2,
        causes={
            "the absolute error; divide by the largest entry": 1.0,
            "the mean, not the largest error": 1 / 15,
            "divided by the sum of both, not by the larger": 1 / 9,
            "divided by the largest analytic entry alone": 0.25,
        },
    )


@test("worst_error")
def two_inputs(student, rng):
    """Two inputs, the error of either in turn."""
    right, wrong = np.array([10.0, 20.0]), np.array([10.0, 21.0])
    small = np.array([0.001, 0.002])
    for analytic, numeric, worst, absolute, last in (
        ([wrong, small], [right, small], 1 / 21, 1.0, 0.0),
        ([small, wrong], [small, right], 1 / 21, 1.0, 1 / 21),
        ([right, small], [right, small / 2], 0.5, 0.001, 0.5),
    ):
        causes = {
            "not all inputs are looked at": 0.0 if worst == last else last,
            "the absolute error; divide by the largest entry": absolute,
            "divided by the largest entry of all inputs; each input has its own": absolute / 20,
        }
        close(student.worst_error(analytic, numeric), worst, causes)


@test("worst_error")
def not_a_number(student, rng):
    """A NaN among right entries; then a number in its place."""
    bad = np.array([1.0, np.nan, 3.0])
    cause = "every comparison with NaN is False, also that of max(worst, error)"
    infinite(student, [bad], [np.array([1.0, 2.0, 3.0])], f"an entry is NaN\nlikely cause: {cause}")
    close(student.worst_error([np.array([1.0, 1.0, 3.0])], [np.array([1.0, 2.0, 3.0])]), 1 / 3)


def infinite(student, analytic, numeric, what):
    got = student.worst_error(analytic, numeric)
    if not (isinstance(got, float | np.ndarray) and np.array_equal(got, np.inf)):
        raise Failure(f"got {shown(got)}, expected infinity: {what}")


@test("check")
def a_cube(student, rng):
    """y = x³, and backwards with 2 x² and with the wrong sign."""
    inputs = [np.array([0.5, -1.5, 2.0])]
    signs = "norms, sums or absolute values are compared; compare entry by entry"

    def forward(inputs):
        return inputs[0] ** 3

    judge(
        student,
        rng,
        [
            ("3 x² dy", forward, lambda x, dy: [3 * x[0] ** 2 * dy], inputs, None),
            ("2 x² dy", forward, lambda x, dy: [2 * x[0] ** 2 * dy], inputs, ""),
            ("-3 x² dy", forward, lambda x, dy: [-3 * x[0] ** 2 * dy], inputs, signs),
        ],
    )


@test("check")
def without_upstream(student, rng):
    """y = x², and a backward that forgets the upstream gradient."""
    cause = "a cotangent of ones; draw it at random"
    inputs = [np.array([0.5, -1.5, 2.0, 1.0])]

    def forward(inputs):
        return inputs[0] ** 2

    judge(
        student,
        rng,
        [
            ("2 x dy", forward, lambda x, dy: [2 * x[0] * dy], inputs, None),
            ("2 x without dy", forward, lambda x, dy: [2 * x[0]], inputs, cause),
        ],
    )


@test("check")
def one_of_two(student, rng):
    """y = a b, and backwards that are wrong for one of the two."""
    inputs = list(rng.uniform(1, 2, (2, 3)))

    def forward(inputs):
        return inputs[0] * inputs[1]

    judge(
        student,
        rng,
        [
            ("both right", forward, lambda x, dy: [dy * x[1], dy * x[0]], inputs, None),
            (
                "a wrong",
                forward,
                lambda x, dy: [dy * x[0], dy * x[0]],
                inputs,
                "not all inputs are looked at",
            ),
            (
                "b wrong",
                forward,
                lambda x, dy: [dy * x[1], dy * x[1]],
                inputs,
                "not all inputs are looked at",
            ),
        ],
    )


@test("check")
def one_entry(student, rng):
    """y = sin x with six entries, and backwards that leave out one of them."""
    cause = "not all entries are looked at"
    inputs = [rng.uniform(-1, 1, (2, 3))]

    def forward(inputs):
        return np.sin(inputs[0])

    def backward(kept):
        return lambda x, dy: [kept * dy * np.cos(x[0])]

    cases = [("all entries", forward, backward(np.ones((2, 3))), inputs, None)]
    for index in np.ndindex(2, 3):
        kept = np.ones((2, 3))
        kept[index] = 0
        cases.append((f"dx{list(index)} is 0", forward, backward(kept), inputs, cause))
    judge(student, rng, cases)


@test("check")
def by_a_thousandth(student, rng):
    """y = sin x, and backwards that give 1.001 times and 0.999 times the gradient."""
    cause = "the tolerance is too large; central differences are right to nine digits"
    inputs = [rng.uniform(-1, 1, 4)]

    def forward(inputs):
        return np.sin(inputs[0])

    cases = [("cos x dy", forward, lambda x, dy: [np.cos(x[0]) * dy], inputs, None)]
    for factor in (1.001, 0.999):

        def wrong(x, dy, factor=factor):
            return [factor * np.cos(x[0]) * dy]

        cases.append((f"{factor} cos x dy", forward, wrong, inputs, cause))
    judge(student, rng, cases)


@test("check")
def not_finite(student, rng):
    """y = x², and a backward whose last entry is NaN."""
    inputs = [np.array([0.5, -1.5, 2.0])]
    cause = "every comparison with NaN is False; a NaN passes `if error > tolerance: return False`"
    bad = np.array([1.0, 1.0, np.nan])

    def forward(inputs):
        return inputs[0] ** 2

    judge(
        student,
        rng,
        [
            ("2 x dy", forward, lambda x, dy: [2 * x[0] * dy], inputs, None),
            ("an entry is NaN", forward, lambda x, dy: [2 * x[0] * dy * bad], inputs, cause),
        ],
    )
