"""Tests with random inputs, against slopes that are known and against the reference."""

import math

import numpy as np
from public_tests import float64, judge, of_list

from bnas.grading import Failure, close, test
from bnas.grading.suite import shown

CUBE_ROOT = float(np.finfo(np.float64).eps) ** (1 / 3)

# Functions of one number whose slope varies with x on the scale of x itself: (name, function, slope).
SCALED = [
    ("x log |x|", lambda x: x * np.log(np.abs(x)), lambda x: np.log(np.abs(x)) + 1),
    ("x³", lambda x: x**3, lambda x: 3 * x**2),
    ("1 / x", lambda x: 1 / x, lambda x: -1 / x**2),
]


def away(rng, *shape):
    """Numbers between 0.5 and 2 in absolute value, of either sign."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 2.0, shape)


def step_causes(f, x):
    def with_step(h):
        return lambda: (f(x + h) - f(x - h)) / (2 * h)

    largest = np.abs(x).max()
    h = CUBE_ROOT * np.where(x == 0, 1.0, np.abs(x))
    return {
        "a one-sided difference; take x + h and x - h": lambda: (f(x + h) - f(x)) / h,
        "the step is not smaller for an x below 1": with_step(
            CUBE_ROOT * np.maximum(1.0, np.abs(x))
        ),
        "one step of 1e-5 for every x; it has to be chosen by the size of x": with_step(1e-5),
        "one step of CUBE_ROOT for every x; it has to be chosen by the size of x": with_step(
            CUBE_ROOT
        ),
        "one step for all entries, by the largest": with_step(CUBE_ROOT * largest),
    }


@test("derivative")
def sizes(student, rng):
    """Three entries of one size, from a millionth to a million."""
    for size in (1.0, 1e3, 1e6, 1e-3, 1e-6):
        for _, f, slope in SCALED:
            x = size * away(rng, 3)
            close(student.derivative(float64(f), x), slope(x), step_causes(f, x), 1e-8)


@test("derivative")
def mixed_sizes(student, rng):
    """Entries of all sizes in one array, one of them 0."""
    for _ in range(3):
        x = away(rng, 7) * 10.0 ** rng.permutation([-6, -4, -2, 0, 2, 4, 6])
        _, f, slope = SCALED[0]
        close(student.derivative(float64(f), x), slope(x), step_causes(f, x), 1e-8)
    x = np.array([0.0, 1.5, -0.7])
    close(student.derivative(float64(np.sin), x), np.cos(x), step_causes(np.sin, x), 1e-8)


@test("derivative")
def formats(student, rng):
    """An x of float32, and one of integers: the differences are taken in float64."""
    for x in (away(rng, 5).astype(np.float32), np.array([1, -2, 3, 0])):
        wide = x.astype(np.float64)
        close(student.derivative(float64(np.cos), x), -np.sin(wide), tolerance=1e-8)


def mixed_up(rng, shapes, shape):
    """A smooth function of inputs of these shapes, with outputs of `shape`, and its right backward."""
    size = math.prod(shape)
    maps = [rng.standard_normal((size, math.prod(s))) for s in shapes]

    def before(inputs):
        return sum(A @ np.ravel(x) for A, x in zip(maps, inputs))

    def forward(inputs):
        return np.sin(before(inputs)).reshape(shape)

    def backward(inputs, dy):
        inner = np.ravel(dy) * np.cos(before(inputs))
        return [(A.T @ inner).reshape(s) for A, s in zip(maps, shapes)]

    return forward, backward


SHAPES = (
    ([(1,)], (1,)),
    ([(3,)], (2,)),
    ([()], (2,)),
    ([(2, 3)], ()),
    ([(3,), (3,)], (3,)),
    ([(2,), (1, 2), (2, 1, 2)], (2, 2)),
)


def compare(got, forward, backward, inputs, dy):
    expected, h = backward(inputs, dy), 1e-5
    if not isinstance(got, list | tuple) or len(got) != len(inputs):
        raise Failure(f"got {shown(got)}, expected a list of {len(inputs)} arrays")

    def one_sided(position):
        x, out = inputs[position], np.zeros(inputs[position].shape)
        for index in np.ndindex(x.shape):
            ahead = [np.array(part, np.float64) for part in inputs]
            ahead[position][index] += h
            out[index] = np.vdot(dy, forward(ahead) - forward(inputs)) / h
        return out

    for position, (one, right) in enumerate(zip(got, expected)):
        causes = {
            "forgot the cotangent dy; this is its gradient for ones": backward(
                inputs, np.ones_like(dy)
            )[position],
            "a one-sided difference; take x + h and x - h": lambda at=position: one_sided(at),
        }
        try:
            close(one, right, causes, 1e-8)
        except Failure as failure:
            raise Failure(f"the gradient for input {position}: {failure}") from None


@test("vector_jacobian")
def shapes(student, rng):
    """One, two and three inputs of different shapes, (1,) and () among them."""
    for shapes_of, shape in SHAPES:
        forward, backward = mixed_up(rng, shapes_of, shape)
        inputs, dy = [away(rng, *s) for s in shapes_of], rng.standard_normal(shape)
        got = student.vector_jacobian(of_list(forward), inputs, dy)
        compare(got, forward, backward, inputs, dy)


@test("vector_jacobian")
def narrow_inputs(student, rng):
    """Inputs of float32: the differences are taken in float64."""
    for shapes_of, shape in SHAPES[1:5]:
        forward, backward = mixed_up(rng, shapes_of, shape)
        inputs = [np.asarray(away(rng, *s)).astype(np.float32) for s in shapes_of]
        dy = rng.standard_normal(shape)
        got = student.vector_jacobian(of_list(forward), inputs, dy)
        compare(got, forward, backward, [np.float64(x) for x in inputs], dy)


def expect_infinity(student, analytic, numeric, what, cause=""):
    got = student.worst_error(analytic, numeric)
    if not (isinstance(got, float | np.ndarray) and np.array_equal(got, np.inf)):
        raise Failure(f"got {shown(got)}, expected infinity: {what}{cause}")


@test("worst_error")
def random_errors(student, rng, reference):
    """One to three inputs of different shapes and sizes, one entry wrong."""
    for count in (1, 2, 3):
        for size in (1.0, 1e-9, 1e9):
            numeric = [size * 10.0**i * away(rng, *(2, 3, 2)[:i]) for i in range(1, count + 1)]
            numeric = [numeric[i] for i in rng.permutation(count)]
            analytic = [n.copy() for n in numeric]
            at = int(rng.integers(count))
            analytic[at].flat[int(rng.integers(analytic[at].size))] *= rng.uniform(0, 2)
            difference = [np.abs(a - n) for a, n in zip(analytic, numeric)]
            scales = [max(np.abs(a).max(), np.abs(n).max()) for a, n in zip(analytic, numeric)]
            close(
                student.worst_error(analytic, numeric),
                reference.worst_error(analytic, numeric),
                {
                    "the absolute error; divide by the largest entry": max(
                        d.max() for d in difference
                    ),
                    "the mean, not the largest error": max(
                        d.mean() / s for d, s in zip(difference, scales)
                    ),
                    "divided by the largest entry of all inputs; each input has its own": max(
                        d.max() for d in difference
                    )
                    / max(scales),
                    "only the first input is looked at": difference[0].max() / scales[0],
                    "only the last input is looked at": difference[-1].max() / scales[-1],
                    "divided entry by entry; an entry near 0 is all rounding": max(
                        (d / np.maximum(np.abs(a), np.abs(n))).max()
                        for d, a, n in zip(difference, analytic, numeric)
                    ),
                },
            )


@test("worst_error")
def zeros(student, rng):
    """Gradients that are 0 throughout: in both, in the analytic one, in the numeric one."""
    none, some = np.zeros((2, 2)), away(rng, 2, 2)
    for analytic, numeric, expected in (
        ([none], [none], 0.0),
        ([none], [some], 1.0),
        ([some], [none], 1.0),
        ([some, none], [some * 0.5, none], 0.5),
        ([none, some], [none, some * 0.5], 0.5),
    ):
        got = student.worst_error(analytic, numeric)
        if isinstance(got, float | np.ndarray) and np.array_equal(got, np.nan, equal_nan=True):
            raise Failure(f"got {shown(got)}, expected {expected}\nlikely cause: 0 divided by 0")
        close(got, expected)


@test("worst_error")
def not_finite(student, rng, reference):
    """NaN and infinity, on either side, in any of the inputs; then a number in their place."""
    for bad in (np.nan, np.inf, -np.inf):
        for side in (0, 1):
            for position in (0, 1):
                lists = [[away(rng, 3), away(rng, 2)] for _ in range(2)]
                lists[1] = [part.copy() for part in lists[0]]
                lists[side][position][1] = bad
                where = ("analytic", "numeric")[side]
                what = f"{bad} in the {where} gradient {position}"
                cause = "every comparison with NaN is False, also that of max(worst, error)"
                expect_infinity(student, *lists, what, f"\nlikely cause: {cause}")
                lists[side][position][1] = 2 * lists[1 - side][position][1]
                close(student.worst_error(*lists), reference.worst_error(*lists))


@test("worst_error")
def shapes_that_broadcast(student, rng):
    """Gradients of another shape, None, and too few or too many of them."""
    n = np.full((2, 3), 1.5)
    for analytic, what in (
        ([n[:1].copy()], "a gradient of shape (1, 3) for one of (2, 3)"),
        ([np.array(1.5)], "a gradient of shape () for one of (2, 3)"),
        ([n.T.copy()], "a gradient of shape (3, 2) for one of (2, 3)"),
        ([None], "None in place of a gradient"),
        ([], "no gradient for one input"),
        ([n, n], "two gradients for one input"),
    ):
        expect_infinity(student, analytic, [n], what)
    close(student.worst_error([n * 0.5], [n]), 0.5)


def changed(backward, change):
    """A backward whose list of gradients is changed by a function."""
    return lambda inputs, dy: change(backward(inputs, dy))


def elementwise(f, slope):
    return lambda inputs: f(inputs[0]), lambda inputs, dy: [dy * slope(inputs[0])]


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


@test("check")
def small_factor(student, rng):
    """Gradients that are 1.001 times or 0.999 times the right ones, and 2 times or -1 times."""
    cause = "the tolerance is too large; central differences are right to nine digits"
    signs = "norms, sums or absolute values are compared; compare entry by entry"
    cases = []
    for shape in ((1,), (4,), (2, 3)):
        forward, backward = elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2)
        inputs = [rng.uniform(-1, 1, shape)]
        cases.append(("tanh", forward, backward, inputs, None))
        for factor in (1.001, 0.999, 2, -1):
            wrong = changed(backward, lambda g, factor=factor: [factor * g[0]])
            told = signs if factor == -1 else cause if factor < 2 else ""
            cases.append((f"tanh, {factor} times the gradient", forward, wrong, inputs, told))
    judge(student, rng, cases)


@test("check")
def approximation(student, rng):
    """GELU, with the derivative of its usual approximation: off by some 0.0003."""
    a, b = np.sqrt(2 / np.pi), 0.044715
    phi = np.vectorize(lambda x: (1 + math.erf(x / math.sqrt(2))) / 2, otypes=[float])

    def near(x):
        t = np.tanh(a * (x + b * x**3))
        return (1 + t) / 2 + x * (1 - t**2) * a * (1 + 3 * b * x**2) / 2

    def exact(x):
        return phi(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)

    forward, right = elementwise(lambda x: x * phi(x), exact)
    _, wrong = elementwise(None, near)
    inputs = [away(rng, 6)]
    cause = "the tolerance is too large; central differences are right to nine digits"
    judge(
        student,
        rng,
        [
            ("gelu", forward, right, inputs, None),
            ("gelu, of the approximation", forward, wrong, inputs, cause),
        ],
    )


@test("check")
def dropped_entry(student, rng):
    """One entry of twelve is 0 or 5 % too large: the first, the last, any."""
    cause = "not all entries are looked at"
    forward, backward = mixed_up(rng, [(3, 4)], (3,))
    inputs = [away(rng, 3, 4)]
    cases = [("all entries", forward, backward, inputs, None)]
    for at in (0, 11, 6, int(rng.integers(12))):
        for factor in (0, 1.05):

            def change(gradients, at=at, factor=factor):
                gradients[0].flat[at] *= factor
                return gradients

            what = f"entry {at} of 12 is {factor} times the right one"
            cases.append((what, forward, changed(backward, change), inputs, cause))
    judge(student, rng, cases)


@test("check")
def upstream(student, rng):
    """The upstream gradient is forgotten, summed up, or used in part."""
    cause = "a cotangent of ones; draw it at random"
    cases = []
    for shape in ((3,), (2, 2)):
        forward, backward = elementwise(np.exp, np.exp)
        inputs = [away(rng, *shape)]
        cases.append(("exp", forward, backward, inputs, None))
        for what, use in (
            ("without dy", np.ones_like),
            ("with the mean of dy", lambda dy: np.full(dy.shape, dy.mean())),
            ("with the first dy", lambda dy: np.full(dy.shape, dy.flat[0])),
        ):

            def wrong(inputs, dy, use=use, backward=backward):
                return backward(inputs, use(dy))

            cases.append((f"exp, {what}", forward, wrong, inputs, cause))
    judge(student, rng, cases)


@test("check")
def right_for_ones(student, rng):
    """Softmax and running sums, wrong for all cotangents but ones."""
    cause = "a cotangent of ones; draw it at random"
    x = [away(rng, 5)]

    def soft(inputs, dy):
        y = softmax(inputs[0])
        return [y * (dy - (dy * y).sum())]

    def soft_wrong(inputs, dy):
        return [dy - (dy * softmax(inputs[0])).sum()]

    def sums(inputs):
        return np.cumsum(inputs[0])

    judge(
        student,
        rng,
        [
            ("softmax", lambda v: softmax(v[0]), soft, x, None),
            ("softmax without its factor y", lambda v: softmax(v[0]), soft_wrong, x, cause),
            ("cumsum", sums, lambda v, dy: [np.cumsum(dy[::-1])[::-1]], x, None),
            (
                "cumsum, every dy times the number of sums that hold x",
                sums,
                lambda v, dy: [dy * np.arange(5, 0, -1)],
                x,
                cause,
            ),
        ],
    )


@test("check")
def transposed(student, rng):
    """Products of square matrices, with a factor that is not transposed."""
    cases = []
    for n in (2, 3):
        A = rng.standard_normal((n, n))
        x, w = away(rng, 2, n, n)

        def times(v, A=A):
            return A @ v[0]

        cases += [
            ("A x", times, lambda v, dy, A=A: [A.T @ dy], [x[0]], None),
            ("A x, with A for its transpose", times, lambda v, dy, A=A: [A @ dy], [x[0]], ""),
        ]

        def matmul(v):
            return v[0] @ v[1]

        cases += [
            ("x w", matmul, lambda v, dy: [dy @ v[1].T, v[0].T @ dy], [x, w], None),
            ("x w, dx wrong", matmul, lambda v, dy: [dy @ v[1], v[0].T @ dy], [x, w], ""),
            (
                "x w, dw transposed",
                matmul,
                lambda v, dy: [dy @ v[1].T, dy.T @ v[0]],
                [x, w],
                "only the first input is looked at",
            ),
        ]
    judge(student, rng, cases)


@test("check")
def wrong_axis(student, rng):
    """The bias of a square array of outputs, summed over the wrong axis."""
    cases = []
    for n in (2, 4):
        inputs = [away(rng, n, n), away(rng, n)]

        def forward(v):
            return v[0] + v[1]

        cause = "a cotangent of ones, for which both axes give the same, or only one input"
        cases += [
            ("x + b", forward, lambda v, dy: [dy.copy(), dy.sum(axis=0)], inputs, None),
            (
                "x + b, db over axis 1",
                forward,
                lambda v, dy: [dy.copy(), dy.sum(axis=1)],
                inputs,
                cause,
            ),
        ]
    judge(student, rng, cases)


@test("check")
def order(student, rng):
    """A permutation, undone the wrong way round: right sum, right norm, wrong places."""
    cases = []
    for n in (3, 6):
        turn = np.roll(np.arange(n), 1)
        back = np.argsort(turn)
        inputs = [away(rng, n)]

        def forward(v, turn=turn):
            return v[0][turn]

        cause = "norms, sums or absolute values are compared; compare entry by entry"
        cases += [
            ("x[turn]", forward, lambda v, dy, back=back: [dy[back]], inputs, None),
            ("x[turn], dy[turn]", forward, lambda v, dy, turn=turn: [dy[turn]], inputs, cause),
        ]
    judge(student, rng, cases)


@test("check")
def several_inputs(student, rng):
    """Two and three inputs, one of them wrong, also where its gradient is 1/100 of the others'."""
    cases = []
    for count in (2, 3):
        forward, backward = mixed_up(rng, [(2,)] * count, (3,))
        inputs = [away(rng, 2) for _ in range(count)]
        for size in (1.0, 0.01):
            for at in range(count):

                def scaled(v, at=at, size=size, forward=forward):
                    return forward([part * size if i == at else part for i, part in enumerate(v)])

                def right(v, dy, at=at, size=size, backward=backward):
                    v = [part * size if i == at else part for i, part in enumerate(v)]
                    gradients = backward(v, dy)
                    gradients[at] = gradients[at] * size
                    return gradients

                def wrong(v, dy, at=at, right=right):
                    gradients = right(v, dy)
                    gradients[at] = 1.0005 * gradients[at]
                    return gradients

                what = f"input {at} of {count}, with a gradient of about {size}"
                cause = (
                    "not all inputs are looked at"
                    if size == 1
                    else "an absolute tolerance, or one scale for all inputs; each has its own"
                )
                cases.append((what, scaled, right, inputs, ("each input has its own scale",)))
                cases.append((f"{what}, is wrong", scaled, wrong, inputs, cause))
    judge(student, rng, cases)


def with_cotangents(student, rng, uses):
    """uses: (what, function of dy that a wrong backward takes in place of dy, cause)."""
    forward, backward = elementwise(np.sin, np.cos)
    inputs = [rng.uniform(-1, 1, 10)]
    cases = [("sin", forward, backward, inputs, None)]
    for what, use, cause in uses:

        def wrong(v, dy, use=use):
            return backward(v, use(dy))

        cases.append((f"sin, {what} for dy", forward, wrong, inputs, cause))
    judge(student, rng, cases)


@test("check")
def right_for_units(student, rng):
    """A backward that is right for cotangents whose entries are 0 and 1."""
    cause = "cotangents of 0 and 1 alone; draw them at random"
    with_cotangents(student, rng, [("dy²", np.square, cause), ("dy³", lambda dy: dy**3, cause)])


@test("check")
def right_for_positive_ones(student, rng):
    """Backwards that are right for cotangents without negative entries."""
    cause = "cotangents that are never negative; draw them of either sign"
    uses = [("|dy|", np.abs, cause), ("max(dy, 0)", lambda dy: np.maximum(dy, 0), cause)]
    with_cotangents(student, rng, uses)


@test("check")
def wrong_shapes(student, rng):
    """Right numbers in another shape, which broadcast; None; too few gradients."""
    inputs = [away(rng, 3, 2), away(rng, 2)]

    def forward(v):
        return v[0] * v[1]

    def backward(v, dy):
        return [dy * v[1], (dy * v[0]).sum(axis=0)]

    cause = "shapes are not compared; (1, 2) and (2,) broadcast"
    missing = "not all inputs are looked at, or zip() that stops at the shorter list"
    judge(
        student,
        rng,
        [
            ("x b", forward, backward, inputs, None),
            ("x b, a tuple", forward, changed(backward, tuple), inputs, None),
            (
                "x b, db of shape (1, 2)",
                forward,
                changed(backward, lambda g: [g[0], g[1][None]]),
                inputs,
                cause,
            ),
            ("x b, db None", forward, changed(backward, lambda g: [g[0], None]), inputs, missing),
            ("x b, dx None", forward, changed(backward, lambda g: [None, g[1]]), inputs, missing),
            ("x b, dx alone", forward, changed(backward, lambda g: g[:1]), inputs, missing),
        ],
    )


@test("check")
def not_finite_gradients(student, rng):
    """NaN or infinity in one entry, or in all."""
    cause = "every comparison with NaN is False; a NaN passes `if error > tolerance: return False`"
    forward, backward = mixed_up(rng, [(3,), (2,)], (2,))
    inputs = [away(rng, 3), away(rng, 2)]
    cases = [("two inputs", forward, backward, inputs, None)]
    for bad in (np.nan, np.inf):
        for position in (0, 1):
            for every in (False, True):

                def change(gradients, bad=bad, position=position, every=every):
                    gradients[position][slice(None) if every else 1] = bad
                    return gradients

                what = f"{bad} in {'all entries' if every else 'one entry'} for input {position}"
                cases.append((what, forward, changed(backward, change), inputs, cause))
    judge(student, rng, cases)


@test("check")
def sizes_of_gradients(student, rng):
    """Outputs of about a millionth, and of a million."""
    cases = []
    for size in (1e-6, 1e6):
        forward, backward = elementwise(
            lambda x, size=size: size * np.sin(x), lambda x, size=size: size * np.cos(x)
        )
        inputs = [rng.uniform(-1, 1, 4)]
        what = f"{size:g} sin"
        cause = "an absolute tolerance; compare with the largest entry of the gradient"
        cases += [
            (what, forward, backward, inputs, (cause,)),
            (
                f"{what}, half of it",
                forward,
                changed(backward, lambda g: [g[0] / 2]),
                inputs,
                cause,
            ),
            (f"{what}, zeros", forward, changed(backward, lambda g: [0 * g[0]]), inputs, cause),
        ]
    judge(student, rng, cases)


@test("check")
def sizes_of_inputs(student, rng):
    """Inputs of a millionth and of a million, right and 1.001 times that."""
    cases = []
    for size in (1e-6, 1e6):
        for name, f, slope in SCALED:
            forward, backward = elementwise(f, slope)
            inputs = [size * away(rng, 3)]
            what = f"{name} at x of about {size:g}"
            cause = "the step is not chosen by the size of x"
            wrong = changed(backward, lambda g: [1.001 * g[0]])
            cases.append((what, forward, backward, inputs, (cause,)))
            cases.append((f"{what}, 1.001 times", forward, wrong, inputs, ""))
    judge(student, rng, cases)


@test("check")
def kinks(student, rng):
    """ReLU, absolute value, maximum and the surrogate of the sign, at inputs away from their kinks."""
    inputs = [rng.permutation([-1, -1, -1, 1, 1, 1]) * rng.uniform(0.5, 2.0, 6)]
    relu = elementwise(lambda x: np.maximum(x, 0), lambda x: x > 0)
    absolute = elementwise(np.abs, np.sign)
    clip = elementwise(lambda x: np.clip(x, -1, 1), lambda x: np.abs(x) <= 1)
    wide = [np.array([-1.5, -0.5, -0.2, 0.3, 0.9, 1.2]) * rng.uniform(0.9, 1.05)]
    spread = [rng.permutation(6) + rng.uniform(0, 0.5, 6)]

    def largest(v):
        return v[0].max()

    judge(
        student,
        rng,
        [
            ("relu", *relu, inputs, None),
            ("relu, slope 1", relu[0], lambda v, dy: [dy.copy()], inputs, ""),
            ("abs", *absolute, inputs, None),
            ("abs, slope 1", absolute[0], lambda v, dy: [dy.copy()], inputs, ""),
            ("clip(x, -1, 1)", *clip, wide, None),
            ("clip(x, -1, 1), slope 1", clip[0], lambda v, dy: [dy.copy()], wide, ""),
            ("max", largest, lambda v, dy: [dy * (v[0] == v[0].max())], spread, None),
            ("max, shared", largest, lambda v, dy: [dy * np.full(6, 1 / 6)], spread, ""),
        ],
    )


@test("check")
def no_influence(student, rng):
    """An input that the outputs do not depend on: its gradient is 0."""
    inputs = [away(rng, 3), away(rng, 2)]

    def forward(v):
        return v[0] ** 2

    judge(
        student,
        rng,
        [
            (
                "an input without influence, zeros",
                forward,
                lambda v, dy: [2 * v[0] * dy, np.zeros(2)],
                inputs,
                ("0 divided by 0: where both gradients are 0, they agree",),
            ),
            (
                "an input without influence, dy",
                forward,
                lambda v, dy: [2 * v[0] * dy, dy[:2].copy()],
                inputs,
                "not all inputs are looked at, or an error is divided by 0",
            ),
        ],
    )


@test("check")
def called_again(student, rng):
    """A backward that adds to the gradients of the call before."""
    forward, backward = elementwise(np.sin, np.cos)
    inputs = [rng.uniform(-1, 1, 3)]
    held = np.zeros(3)

    def adds(v, dy):
        held[:] += backward(v, dy)[0]
        return [held.copy()]

    cause = "backward is called once; a second cotangent shows it"
    judge(
        student,
        rng,
        [
            ("sin", forward, backward, inputs, None),
            ("sin, added to the last gradients", forward, adds, inputs, cause),
        ],
    )


@test("check")
def all_shapes(student, rng):
    """Inputs and outputs of several shapes, (1,) and () among them, right and with one wrong gradient."""
    cases = []
    for shapes_of, shape in SHAPES:
        forward, backward = mixed_up(rng, shapes_of, shape)
        inputs = [np.asarray(away(rng, *s)) for s in shapes_of]
        what = f"inputs of the shapes {shapes_of}, outputs of {shape}"

        def change(gradients):
            return [*gradients[:-1], gradients[-1] * 1.01]

        cases.append((what, forward, backward, inputs, None))
        cases.append(
            (f"{what}, the last 1 % too large", forward, changed(backward, change), inputs, "")
        )
    judge(student, rng, cases)
