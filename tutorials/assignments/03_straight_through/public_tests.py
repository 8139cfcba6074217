"""The tests that you can run yourself: `bnas grade . starter.py --public`."""

import numpy as np

from bnas.grading import Failure, Task, close, equal, test

TASKS = [
    Task("sign", "Task 1, sign", points=10),
    Task("sign_backward", "Task 2, sign_backward", points=30),
    Task("estimate", "Task 3, estimate", points=20),
    Task("is_derivative", "Task 4, is_derivative", points=25),
    Task("step", "Task 5, step", points=15),
]
NONE = np.zeros(0)
ENDS = np.array([-1.0, 1.0])
RIGHT = (
    "this backward is right: away from kinks it agrees with the differences, whose own error allows no "
    "tolerance much below 1e-6 of the largest derivative"
)


def clip(x):
    return np.clip(x, -1, 1)


def identity(x):
    return x + 0


def polynomial(x):
    return np.where(np.abs(x) < 1, 2 * x - x * np.abs(x), np.sign(x))


def tanh(x):
    return np.tanh(2.5 * x)


def slopes(f, x, h=1e-6):
    """The derivatives of a function of single entries, by central differences."""
    return (f(x + h) - f(x - h)) / (2 * h)


def same_dtype(got, expected):
    if isinstance(got, np.ndarray) and got.dtype != expected.dtype:
        raise Failure(
            f"got entries of {got.dtype}, expected {expected.dtype}\n"
            "likely cause: the result has the dtype of x; np.where with Python's numbers has another, and so "
            "have numbers made of a comparison, such as 2 * (x > 0) - 1"
        )


@test("sign")
def three_kinds(student, rng):
    """A positive number, a negative one, and 0."""
    x = np.array([2.5, -0.3, 0.0])
    got = student.sign(x)
    same_dtype(got, x)
    equal(
        got,
        np.array([1.0, -1.0, -1.0]),
        causes={
            "sign(0) is -1; np.sign(0) is 0, a third value": np.array([1.0, -1.0, 0.0]),
            "sign(0) is -1": np.array([1.0, -1.0, 1.0]),
        },
    )


@test("sign")
def sign_in_float32(student, rng):
    """float32, a table of 2×3."""
    x = rng.standard_normal((2, 3)).astype(np.float32)
    got = student.sign(x)
    same_dtype(got, x)
    equal(got, np.array([1 if v > 0 else -1 for v in x.ravel()], np.float32).reshape(x.shape))


@test("sign_backward")
def clip_by_hand(student, rng):
    """The clip surrogate inside, outside, and on the edge, where it counts as inside."""
    dy, x = np.array([3.0, -2.0, 5.0, 7.0, 4.0]), np.array([0.5, -0.9, 1.5, -1.0, -2.0])
    equal(
        student.sign_backward(dy, x, "clip", 1.0),
        np.array([3.0, -2.0, 0.0, 7.0, 0.0]),
        causes={
            "forgot the upstream gradient": np.array([1.0, 1.0, 0.0, 1.0, 0.0]),
            "at |x| = 1 the derivative is 1, by Eq. 4.35": np.array([3.0, -2.0, 0.0, 0.0, 0.0]),
            "this is the identity: outside of [-1, 1] the derivative of clip is 0": dy.copy(),
            "the absolute value of x is compared, not x": np.array([3.0, -2.0, 0.0, 7.0, 4.0]),
        },
    )


@test("sign_backward")
def by_differences(student, rng):
    """All four surrogates against finite differences of s, away from kinks."""
    for surrogate, s in (
        ("identity", identity),
        ("clip", clip),
        ("polynomial", polynomial),
        ("tanh", tanh),
    ):
        x, dy = np.array([0.4, -0.7, 1.3, -1.6, 0.05]), rng.uniform(0.5, 2, 5)
        close(
            student.sign_backward(dy, x, surrogate, 2.5),
            dy * slopes(s, x),
            causes={
                "forgot the upstream gradient": slopes(s, x),
                "the inner derivative of tanh(T x), a factor of T, is missing": dy
                * slopes(s, x)
                / 2.5,
                "the temperature is left out": dy * slopes(np.tanh, x),
                "tanh is taken of x, not of T x": dy * 2.5 * slopes(np.tanh, x),
                "the absolute value of x is compared with 1, not x: below -1 the derivative is 0": (
                    dy * (x <= 1)
                ),
                "this is the derivative of another surrogate, the identity": dy,
                "this is the derivative of another surrogate, clip": dy * slopes(clip, x),
                "the derivative of x |x| is 2 |x|": dy * np.where(np.abs(x) < 1, 2 - 2 * x, 0),
                "outside of [-1, 1] the derivative of the polynomial is 0": dy
                * (2 - 2 * np.abs(x)),
            },
            tolerance=1e-6,
        )


@test("estimate")
def two_weights(student, rng):
    """The two weights of tutorial 3: L(b) = (a·b - y)²/2, by differences of L(sign w0 + s(w) - s(w0))."""
    a, y, w = np.array([1.0, 0.4]), 0.3, np.array([0.12, -0.47])
    signs = np.where(w > 0, 1.0, -1.0)

    def loss_slope(b):
        return a * (b @ a - y)

    for s in (tanh, polynomial, clip):
        slope = slopes(s, w)
        close(
            student.estimate(loss_slope, s, w),
            _gradient(lambda v, s=s: (a @ (signs + s(v) - s(w)) - y) ** 2 / 2, w),
            causes={
                "the slope of the loss is taken at s(w); the network computes with sign(w)": (
                    loss_slope(s(w)) * slope
                ),
                "the slope of the loss is taken at w; the network computes with sign(w)": (
                    loss_slope(w) * slope
                ),
                "the derivative of the surrogate is missing": loss_slope(signs),
                "the slope of the loss is missing": slope,
                "a central difference is divided by 2h": 2 * loss_slope(signs) * slope,
            },
            tolerance=2e-6,
        )


@test("estimate")
def estimate_in_float32(student, rng):
    """float32 weights: the result is float32, and right to five digits."""
    w = np.array([[0.3, -0.6], [0.1, -0.2]], np.float32)

    def loss_slope(b):
        return 2 * b - 0.5

    got = student.estimate(loss_slope, tanh, w)
    same_dtype(got, w)
    expected = loss_slope(np.where(w > 0, 1.0, -1.0)) * slopes(tanh, w.astype(np.float64))
    try:
        close(got, expected, tolerance=1e-5)
    except Failure as failure:
        near = isinstance(got, np.ndarray) and got.shape == w.shape
        if not near or np.abs(got - expected).max() > 0.1 * np.abs(expected).max():
            raise
        told = str(failure).partition("\nlikely cause")[0]
        raise Failure(
            f"{told}\nlikely cause: differences in float32 leave a few digits; take them in float64, "
            "and give the result the dtype of w"
        ) from None


def _gradient(f, x, h=1e-5):
    return np.array([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))])


def verdict(student, backward, s, x, kinks, expected, cause):
    """Ask for one verdict; `cause` is told if it is wrong."""
    equal(
        student.is_derivative(backward, s, np.asarray(x), kinks),
        expected,
        causes={cause: not expected},
        kind="b",
    )


def clip_backward(dy, x):
    return dy * (np.abs(x) <= 1)


def tanh_backward(dy, x):
    return dy * 2.5 * (1 - np.tanh(2.5 * x) ** 2)


@test("is_derivative")
def clip_and_tanh(student, rng):
    """clip and tanh: each backward with its own surrogate, and with the other's."""
    x = np.array([0.3, -0.8, 1.4])
    other = "this backward is the derivative of another surrogate"
    verdict(student, clip_backward, clip, x, ENDS, True, RIGHT)
    verdict(student, tanh_backward, clip, x, ENDS, False, other)
    verdict(student, tanh_backward, tanh, x, NONE, True, RIGHT)
    verdict(student, clip_backward, tanh, x, NONE, False, other)


@test("is_derivative")
def without_upstream(student, rng):
    """A backward that forgets the upstream gradient, and a right one."""

    def forgetful_backward(dy, x):
        return 2.5 * (1 - np.tanh(2.5 * x) ** 2)

    x = np.array([0.3, -0.8, 0.1, 0.5])
    cause = (
        "a cotangent of ones hides that the upstream gradient is forgotten; choose other numbers"
    )
    verdict(student, forgetful_backward, tanh, x, NONE, False, cause)
    verdict(student, tanh_backward, tanh, x, NONE, True, RIGHT)


@test("is_derivative")
def at_a_kink(student, rng):
    """Two right backwards that differ at the kinks of clip; points 1, -1, 1 - 1e-6, -1 + 1e-7, 1 + 1e-9."""

    def other_backward(dy, x):
        return dy * (np.abs(x) < 1)

    verdict(student, clip_backward, clip, [0.5, -1.5], ENDS, True, RIGHT)
    x = np.array([0.5, 1.0, -1.0, 1 - 1e-6, -1 + 1e-7, 1 + 1e-9, -1.5])
    cause = "points within 1e-3 of a kink are left out: a difference across a kink is no derivative"
    for backward in (clip_backward, other_backward):
        verdict(student, backward, clip, x, ENDS, True, cause)
    verdict(student, tanh_backward, clip, x, ENDS, False, "the other points count")


@test("is_derivative")
def nothing_to_compare(student, rng):
    """Points at kinks alone, and points where the surrogate has no slope: neither proves anything."""
    cause = "a comparison with 0 alone, or with nothing, proves nothing"
    verdict(student, clip_backward, clip, [1.0, -1.0], ENDS, False, cause)
    verdict(student, clip_backward, clip, [1.5, -2.0, 3.0], ENDS, False, cause)
    verdict(student, clip_backward, clip, [1.5, -2.0, 0.5], ENDS, True, RIGHT)


@test("step")
def one_step(student, rng):
    """Weights inside, on the edge, outside, and one that steps over the edge."""
    w = np.array([0.5, 1.0, -1.0, 3.0, 0.9])
    db = np.array([1.0, 2.0, -1.0, 25.0, -5.0])
    close(
        student.step(w, db, 0.1),
        np.array([0.4, 0.8, -0.9, 1.0, 1.0]),
        causes={
            "the gradient is added: descent goes against it": np.array([0.6, 1, -1, 1, 0.4]),
            "a weight that stepped over the edge is left outside": np.array(
                [0.4, 0.8, -0.9, 3, 1.4]
            ),
            "at |w| = 1 the gradient passes: a weight that is kept at the edge would never move again": (
                np.array([0.4, 1, -1, 1, 1])
            ),
            "weights are clipped before the step, so the step leads outside": np.array(
                [0.4, 0.8, -0.9, 1.0, 1.4]
            ),
            "weights are clipped before the step, so the step leads outside; and it is not masked": (
                np.array([0.4, 0.8, -0.9, -1.5, 1.4])
            ),
            "outside of [-1, 1] the gradient is 0; the weight is only brought to the edge": np.array(
                [0.4, 0.8, -0.9, 0.5, 1]
            ),
            "outside of [-1, 1] the gradient is 0; ask where w lies before it is clipped": np.array(
                [0.4, 0.8, -0.9, -1, 1]
            ),
            "outside of [-1, 1] the gradient is 0; and a weight that stepped over the edge is left "
            "outside": np.array([0.4, 0.8, -0.9, 0.5, 1.4]),
            "the step is made from the sign, not from the latent weight": np.array(
                [0.9, 0.8, -0.9, 1, 1]
            ),
            "the rate is left out": np.array([-0.5, -1, 0, 1, 1]),
            "the signs are returned; the latent weights have to be kept": np.array(
                [1.0, 1, -1, 1, 1]
            ),
        },
    )


@test("step")
def comes_back(student, rng):
    """A weight is pushed to the edge by 60 steps, and back by 50: its sign changes."""
    w = np.array([0.3])
    for direction in [-1.0] * 60 + [1.0] * 50:
        w = student.step(w, np.array([direction]), 0.03)
    causes = {
        "the weight stays at the edge: it is dead": np.array([1.0]),
        "the weight stays outside, where a step led it: it is dead": np.array([1.02]),
        "the weight went far outside, and needs as long to come back": np.array([0.6]),
        "the gradient is added: descent goes against it": np.array([0.5]),
    }
    try:
        close(w, np.array([-0.5]), causes, tolerance=1e-6)
    except Failure as failure:
        raise Failure(
            f"after 60 steps up and 50 down, from 0.3 (the call shown is the last one):\n{failure}"
        ) from None
