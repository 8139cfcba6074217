"""Tests with random inputs against the reference."""

import numpy as np
from public_tests import RIGHT, clip, identity

from bnas.grading import Failure, close, equal, test

SHAPES = ((1,), (3,), (2, 3), (1, 1, 4), (4, 4), (3, 2, 3, 3))
SINGLE, DOUBLE = np.float32, np.float64
TOLERANCE = {SINGLE: 2e-6, DOUBLE: 1e-9}
NONE, ENDS, ZERO = np.zeros(0), np.array([-1.0, 1.0]), np.zeros(1)


def polynomial(x):
    return np.where(np.abs(x) < 1, 2 * x - x * np.abs(x), np.sign(x)).astype(x.dtype)


def sine(x):
    return np.sin(np.pi / 2 * np.clip(x, -1, 1))


def tanh_of(temperature):
    def tanh(x):
        return np.tanh(x.dtype.type(temperature) * x)

    return tanh


def with_dtype(got, dtype):
    """got, if it is an array of that dtype."""
    if isinstance(got, np.ndarray) and got.dtype != dtype:
        raise Failure(
            f"got entries of {got.dtype}, expected {np.dtype(dtype)}\n"
            "likely cause: the result has the dtype of its input; Python's numbers in np.where, and "
            "comparisons turned into numbers, are float64"
        )
    return got


def away(x, kinks, distance=0.01):
    """x, with entries that are close to a kink moved away from it."""
    for kink in kinks:
        x = np.where(np.abs(x - kink) < distance, kink + 2 * distance, x)
    return x


@test("sign")
def shapes_and_zeros(student, rng, reference):
    """Many shapes, zeros of both signs among the numbers, and the smallest numbers that there are."""
    for shape in SHAPES:
        for x in (rng.standard_normal(shape), rng.integers(-1, 2, shape) * 0.5):
            _compare_sign(student, reference, x)
    for x in ([-0.0, 2.0], [5e-324, -5e-324], [1e308, -1e308, 0.0]):
        _compare_sign(student, reference, np.array(x))


@test("sign")
def single_precision(student, rng, reference):
    """float32 stays float32."""
    for shape in SHAPES:
        x = rng.integers(-2, 3, shape).astype(SINGLE)
        x.flat[0] = 0.25
        _compare_sign(student, reference, x)
        with_dtype(student.sign(x), SINGLE)


def _compare_sign(student, reference, x):
    equal(
        student.sign(x),
        reference.sign(x),
        causes={"sign(0) is -1": np.where(x >= 0, 1.0, -1.0), "np.sign(0) is 0": np.sign(x)},
    )


def backward_causes(reference, dy, x, surrogate, temperature):
    def of(name, temperature=temperature, dy=dy):
        return reference.sign_backward(dy, x, name, temperature)

    return {
        "forgot the upstream gradient": of(surrogate, dy=np.ones_like(dy)),
        "the upstream gradient keeps its sign": of(surrogate, dy=np.abs(dy)),
        "at |x| = 1 the derivative of clip is 1, by Eq. 4.35": of(surrogate) * (np.abs(x) != 1),
        "the temperature is left out": of(surrogate, 1.0),
        "the absolute value of x is compared, not x": np.where(x < -1, dy, of(surrogate)),
        "outside of [-1, 1] the derivative of the polynomial is 0": dy * (2 - 2 * np.abs(x)),
        "the derivative of x |x| is 2 |x|": np.where(np.abs(x) < 1, dy * (2 - 2 * x), 0),
        "the inner derivative of tanh(T x), a factor of T, is missing": of(surrogate) / temperature,
        "a factor of T too many": of(surrogate) * temperature,
        **{
            f"this is the derivative of another surrogate, {name}": of(name)
            for name in reference.SURROGATES
            if name != surrogate
        },
    }


def _compare_backward(student, rng, reference, surrogate, dtype):
    for shape in SHAPES:
        for temperature in (2.5, 0.5):
            x, dy = (rng.uniform(-1.7, 1.7, shape).astype(dtype) for _ in "xy")
            x.flat[0], dy.flat[0] = 0.25, -1.5
            if x.size > 2:
                x.flat[1:3] = 1, -1
            close(
                with_dtype(student.sign_backward(dy, x, surrogate, temperature), dtype),
                reference.sign_backward(dy, x, surrogate, temperature),
                causes=backward_causes(reference, dy, x, surrogate, temperature),
                tolerance=TOLERANCE[dtype],
            )


@test("sign_backward")
def clip_and_identity(student, rng, reference):
    """clip and identity: random shapes and upstream gradients, the ends -1 and 1 among the numbers."""
    _compare_backward(student, rng, reference, "clip", DOUBLE)
    _compare_backward(student, rng, reference, "identity", DOUBLE)


@test("sign_backward")
def polynomial_surrogate(student, rng, reference):
    """polynomial: random shapes and upstream gradients, inside and outside of [-1, 1]."""
    _compare_backward(student, rng, reference, "polynomial", DOUBLE)


@test("sign_backward")
def tanh_surrogate(student, rng, reference):
    """tanh: random shapes, upstream gradients and temperatures; far outside too."""
    _compare_backward(student, rng, reference, "tanh", DOUBLE)
    x, dy = np.array([0.1, 30.0, -800.0]), np.array([2.0, 3.0, -4.0])
    close(student.sign_backward(dy, x, "tanh", 5.0), reference.sign_backward(dy, x, "tanh", 5.0))


@test("sign_backward")
def backward_in_single_precision(student, rng, reference):
    """All four in float32, which stays float32."""
    for surrogate in ("identity", "clip", "polynomial", "tanh"):
        _compare_backward(student, rng, reference, surrogate, SINGLE)


def _compare_estimate(student, rng, reference, shape, dtype):
    """A loss with the slope a³ b + M b, where M mixes the entries; four surrogates."""
    for s, kinks in ((tanh_of(1.5), NONE), (sine, ENDS), (clip, ENDS), (np.arctan, NONE)):
        w = away(rng.uniform(-1.5, 1.5, shape), [*kinks, 0]).astype(dtype)
        w.flat[0] = 0.3
        size = w.size
        mix, constant = rng.standard_normal((size, size)), rng.standard_normal(size)

        def loss_slope(b, mix=mix, constant=constant):
            return (mix @ np.ravel(b) + constant).reshape(np.shape(b)).astype(b.dtype)

        signs = np.where(w > 0, 1, -1).astype(dtype)
        right = reference.estimate(loss_slope, s, w)
        slope = reference.estimate(np.ones_like, s, w)
        close(
            with_dtype(student.estimate(loss_slope, s, w), dtype),
            right,
            causes={
                "the slope of the loss is taken at s(w); the network computes with sign(w)": (
                    loss_slope(s(w)) * slope
                ),
                "the slope of the loss is taken at w; the network computes with sign(w)": (
                    loss_slope(w) * slope
                ),
                "the derivative of the surrogate is missing": loss_slope(signs),
                "the slope of the loss is missing": slope,
                "a central difference is divided by 2h": 2 * right,
                "the slope of the loss is that for each entry; it is not summed": loss_slope(
                    signs
                ).sum()
                * slope,
            },
            tolerance=2e-6,
        )


@test("estimate")
def any_surrogate(student, rng, reference):
    """Surrogates that have no name here, losses that mix the entries, many shapes."""
    for shape in SHAPES:
        _compare_estimate(student, rng, reference, shape, DOUBLE)


@test("estimate")
def estimate_in_single_precision(student, rng, reference):
    """The same in float32; if it is right in float64 only, the differences are taken in float32."""
    for shape in SHAPES:
        try:
            _compare_estimate(student, rng, reference, shape, SINGLE)
        except Failure as failure:
            text = str(failure)
            _compare_estimate(student, rng, reference, shape, DOUBLE)  # or what is wrong there
            if "cause" not in text:
                text += (
                    "\nlikely cause: right for float64; a difference of two float32 numbers that nearly "
                    "agree has few digits left, so it is to be taken in float64"
                )
            raise Failure(text) from None


def verdict(student, backward, s, x, kinks, expected, cause):
    """Ask for one verdict; `cause` is told if it is wrong."""
    got = student.is_derivative(backward, s, np.asarray(x), kinks)
    equal(got, expected, causes={cause: not expected}, kind="b")


def right_backward(reference, name, temperature=2.5):
    def right(dy, x):
        return reference.sign_backward(dy, x, name, temperature)

    right.__name__ = f"{name}_backward"
    return right


CLAIMS = (  # the name of a backward, its surrogate, its kinks
    ("identity", identity, NONE),
    ("clip", clip, ENDS),
    ("polynomial", polynomial, np.array([-1.0, 0.0, 1.0])),
    ("tanh", tanh_of(2.5), NONE),
)


@test("is_derivative")
def every_pair(student, rng, reference):
    """Every backward with every surrogate, at points inside and outside of [-1, 1], of several shapes."""
    for shape in ((6,), (2, 3), (3, 1, 5)):
        for surrogate, s, kinks in CLAIMS:
            for name, _, _ in CLAIMS:
                x = away(rng.uniform(-2, 2, shape), kinks)
                x.flat[:4] = 0.3, -0.6, 1.4, -1.7
                right = name == surrogate
                cause = RIGHT if right else f"this is the backward of another surrogate, {name}"
                verdict(student, right_backward(reference, name), s, x, kinks, right, cause)


@test("is_derivative")
def upstream_gradients(student, rng, reference):
    """Backwards that are wrong in what they do with the upstream gradient."""
    wrong = {
        "forgets it": lambda dy, g: g,
        "loses its sign: a cotangent needs entries of both signs": lambda dy, g: np.abs(dy) * g,
        "keeps its sign alone: a cotangent needs entries other than 1 and -1": lambda dy, g: (
            np.sign(dy) * g
        ),
        "sums it over all entries": lambda dy, g: dy.sum() * g,
        "divides it by the number of entries": lambda dy, g: dy * g / dy.size,
        "has the wrong sign": lambda dy, g: -dy * g,
        "squares it": lambda dy, g: dy * dy * g,
        "hands it to the next entry: compare entry by entry, not sums": lambda dy, g: np.roll(
            dy * g, 1
        ),
    }
    for name, s, kinks in CLAIMS:
        x = away(rng.uniform(-0.9, 0.9, (3, 4)), kinks)
        for how, backward in wrong.items():

            def faulty_backward(dy, x, name=name, backward=backward):
                return backward(dy, reference.sign_backward(np.ones_like(x), x, name, 2.5))

            cause = f"this backward gets the upstream gradient and {how}"
            verdict(student, faulty_backward, s, x, kinks, False, cause)
        verdict(student, right_backward(reference, name), s, x, kinks, True, RIGHT)


@test("is_derivative")
def small_faults(student, rng, reference):
    """Faults in one entry, of a few per cent, or NaN; and right backwards that compute in float32."""
    for name, s, kinks in CLAIMS:
        right = right_backward(reference, name)
        x = away(rng.uniform(-0.7, 0.7, (4, 5)), kinks)
        for at in (0, 7, 19):

            def faulty_backward(dy, x, right=right, at=at):
                dx = right(dy, x)
                dx.flat[at % dx.size] *= 1.5
                return dx

            cause = "one entry alone is wrong: all have to be compared"
            verdict(student, faulty_backward, s, x, kinks, False, cause)

        def inexact_backward(dy, x, right=right):
            return 1.05 * right(dy, x)

        def nan_backward(dy, x, right=right):
            dx = right(dy, x)
            dx.flat[-1] = np.nan
            return dx

        def single_backward(dy, x, right=right):
            return right(dy, x.astype(SINGLE)).astype(SINGLE)

        cause = "this backward is 5 % too large: the tolerance is too wide"
        verdict(student, inexact_backward, s, x, kinks, False, cause)
        cause = (
            "one entry is NaN, and NaN is not larger than any tolerance; ask whether it is smaller"
        )
        verdict(student, nan_backward, s, x, kinks, False, cause)
        cause = "this backward is right to seven digits: the tolerance is too narrow"
        verdict(student, single_backward, s, x, kinks, True, cause)


@test("is_derivative")
def kinks_and_jumps(student, rng, reference):
    """Right backwards with many points on and next to kinks; surrogates of steps and ramps."""
    cause = "points within 1e-3 of a kink are left out: a difference across a kink is no derivative"
    near = np.array([0, 1e-9, -1e-9, 1e-7, -1e-7, 1e-6, -3e-6, 1e-5, -1e-5, 1e-4, -1e-4])
    for name, s, kinks in CLAIMS[1:3]:
        x = rng.uniform(0.1, 0.9, 3)
        verdict(student, right_backward(reference, name), s, x, kinks, True, RIGHT)
        x = np.concatenate([x, *(kink + near for kink in kinks)])
        verdict(student, right_backward(reference, name), s, x, kinks, True, cause)
        verdict(
            student,
            right_backward(reference, "identity"),
            s,
            np.append(x, -1.5),
            kinks,
            False,
            "the points away from the kinks count",
        )

    def ramp_with_jump(x):
        return np.where(x > 0.25, x + 1, 0.5 * x)

    def ramp_backward(dy, x):
        return dy * np.where(x > 0.25, 1, 0.5)

    def wrong_ramp_backward(dy, x):
        return dy * np.where(x > 0, 1, 0.5)

    kinks, x = np.array([0.25]), np.append(0.25 + near, [-0.6, 0.1, 0.9])
    verdict(student, ramp_backward, ramp_with_jump, x, kinks, True, cause)
    cause = "this backward is wrong where nothing is left out"
    verdict(student, wrong_ramp_backward, ramp_with_jump, x, kinks, False, cause)


@test("is_derivative")
def without_power(student, rng, reference):
    """Comparisons with 0 alone, which prove nothing; and right ones that have few points."""

    def zero_backward(dy, x):
        return 0 * dy

    def steps(x):
        return np.where(x > 0, 1.0, -1.0)

    cause = "s has no slope at any of these points: a comparison with 0 alone proves nothing"
    verdict(student, zero_backward, steps, rng.uniform(0.2, 0.9, 4), ZERO, False, cause)
    verdict(student, right_backward(reference, "clip"), clip, [1.5, -2.0], ENDS, False, cause)
    verdict(student, right_backward(reference, "clip"), clip, [1.0, -1.0], ENDS, False, cause)
    cause = "this backward is 0 where the surrogate has a slope"
    verdict(student, zero_backward, clip, [0.5, -0.2], ENDS, False, cause)
    cause = "this backward is right, at the only point that counts"
    for x in ([0.5], [1.0, 0.25, -1.0]):
        verdict(student, right_backward(reference, "clip"), clip, x, ENDS, True, cause)


def _compare_step(student, rng, reference, dtype):
    for shape in SHAPES:
        for rate in (0.1, 0.7):
            w, db = (rng.uniform(-1.6, 1.6, shape).astype(dtype) for _ in "wb")
            w.flat[0], db.flat[0] = 0.3, -0.4
            if w.size > 2:
                w.flat[1:3], db.flat[1:3] = (1, -1), (0.7, -0.8)
            right = reference.step(w, db, rate)
            inside = np.abs(w) <= 1
            masked = np.where(inside, db, 0)
            close(
                with_dtype(student.step(w, db, rate), dtype),
                right,
                causes={
                    "the gradient is added: descent goes against it": reference.step(w, -db, rate),
                    "a weight that stepped over the edge is left outside": w - rate * masked,
                    "at |w| = 1 the gradient passes: a weight that is kept at the edge would never move": (
                        np.where(np.abs(w) == 1, w, right)
                    ),
                    "outside of [-1, 1] the gradient is 0; the weight is only brought to the edge": (
                        np.clip(np.clip(w, -1, 1) - rate * db, -1, 1)
                    ),
                    "outside of [-1, 1] the gradient is 0, but it is not masked": (
                        np.clip(w - rate * db, -1, 1)
                    ),
                    "weights are clipped before the step, so the step leads outside": (
                        np.clip(w, -1, 1) - rate * masked
                    ),
                    "a weight that would step over the edge goes up to the edge": (
                        np.where(np.abs(w - rate * masked) > 1, w, w - rate * masked)
                    ),
                    "the step is made from the sign, not from the latent weight": (
                        np.clip(np.where(w > 0, 1, -1) - rate * masked, -1, 1)
                    ),
                    "the rate is left out": reference.step(w, db, 1.0),
                },
                tolerance=TOLERANCE[dtype],
            )


@test("step")
def random_weights(student, rng, reference):
    """Random weights, gradients and rates, the ends among the weights."""
    _compare_step(student, rng, reference, DOUBLE)


@test("step")
def step_in_single_precision(student, rng, reference):
    """The same in float32, which stays float32."""
    _compare_step(student, rng, reference, SINGLE)
