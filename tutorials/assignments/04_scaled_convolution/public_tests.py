"""The tests that you can run yourself: `bnas grade . starter.py --public`."""

import numpy as np

from bnas.grading import Failure, Task, close, equal, test

TASKS = [
    Task("forward", "Task 1, forward", points=24),
    Task("input_gradient", "Task 2, input_gradient", points=22),
    Task("weight_gradient", "Task 3, weight_gradient", points=22),
    Task("scale_gradient", "Task 4, scale_gradient", points=12),
    Task("reconstruction", "Task 5, best_scale and reconstruction", points=20),
]


def sums(a, b, padding):
    """The convolution by its definition: (N, Cin, H, W), (Cout, Cin, Kh, Kw) -> (N, Cout, Ho, Wo)."""
    (N, _, H, W), (Cout, _, Kh, Kw) = a.shape, b.shape
    y = np.zeros((N, Cout, H + 2 * padding - Kh + 1, W + 2 * padding - Kw + 1))
    for n, o, i, j in np.ndindex(y.shape):
        for c, k, m in np.ndindex(b.shape[1:]):
            row, column = i + k - padding, j + m - padding
            if 0 <= row < H and 0 <= column < W:  # else the tap counts 0
                y[n, o, i, j] += a[n, c, row, column] * b[o, c, k, m]
    return y


def signs(v):
    return np.where(v > 0, 1.0, -1.0)


def slopes(loss, at, h=1e-6):
    """The gradient of loss(array) by central differences."""
    steps = h * np.eye(at.size).reshape(-1, *at.shape)
    return np.reshape([(loss(at + step) - loss(at - step)) / (2 * h) for step in steps], at.shape)


def away(v):
    """Numbers moved off 0 and ±1, where a difference would lie."""
    return np.sign(v) * np.where(abs(abs(v) - 1) < 0.05, 0.8, np.maximum(abs(v), 0.05))


def layer(rng, shape, kernel, padding):
    """dy, x, w, beta with entries of x and w on both sides of ±1."""
    x, w = away(rng.standard_normal(shape)), away(rng.standard_normal(kernel))
    height, width = (shape[i] + 2 * padding - kernel[i] + 1 for i in (2, 3))
    dy = rng.standard_normal((shape[0], kernel[0], height, width))
    return dy, x, w, rng.uniform(0.2, 0.9, kernel[0])


SMALL = (
    ((1, 1, 1, 1), (1, 1, 1, 1), 0),
    ((2, 1, 2, 3), (1, 1, 1, 2), 0),
    ((1, 2, 3, 2), (3, 2, 3, 3), 1),
    ((2, 2, 3, 3), (2, 2, 2, 2), 1),
)


@test("forward")
def one_window(student, rng):
    """One window of four taps, a zero among the inputs."""
    x = np.array([[[[0.5, -2.0], [0.0, 3.0]]]])
    w = np.array([[[[1.0, -0.3], [-0.2, 4.0]]]])
    equal(
        student.forward(x, w, np.array([0.5]), 0),
        np.array([[[[2.0]]]]),
        causes={
            "sign(0) is -1, not +1": np.full((1, 1, 1, 1), 1.0),
            "sign(0) is -1, not 0 as that of NumPy": np.full((1, 1, 1, 1), 1.5),
            "beta is missing": np.full((1, 1, 1, 1), 4.0),
            "the weights are not replaced by their signs": np.full((1, 1, 1, 1), 2.75),
        },
    )


@test("forward")
def one_pixel(student, rng):
    """One pixel, a kernel of 3×3 and padding 1: eight of nine taps lie beyond the border."""
    equal(
        student.forward(np.full((1, 1, 1, 1), 2.0), np.ones((1, 1, 3, 3)), np.array([0.25]), 1),
        np.array([[[[0.25]]]]),
        causes={
            "taps beyond the border count -1, and have to count 0": np.full((1, 1, 1, 1), -1.75),
            "taps beyond the border count +1, and have to count 0": np.full((1, 1, 1, 1), 2.25),
        },
    )


@test("forward")
def by_definition(student, rng):
    """Small layers against the definition, a sum over the taps."""
    for shape, kernel, padding in SMALL:
        _, x, w, beta = layer(rng, shape, kernel, padding)
        expected = beta[:, None, None] * sums(signs(x), signs(w), padding)
        close(student.forward(x, w, beta, padding), expected)


@test("input_gradient")
def three_pixels(student, rng):
    """A kernel of one weight: every pixel is multiplied by one sign."""
    x = np.array([0.5, -0.2, -1.5]).reshape(1, 1, 1, 3)
    dy = np.array([1.0, 10.0, 100.0]).reshape(1, 1, 1, 3)
    w, beta = np.full((1, 1, 1, 1), -0.5), np.array([4.0])
    close(
        student.input_gradient(dy, x, w, beta, 0),
        np.array([-4.0, -40.0, 0.0]).reshape(x.shape),
        causes={
            "beta is missing": np.array([-1.0, -10.0, 0.0]).reshape(x.shape),
            "dy was not used": np.array([-4.0, -4.0, 0.0]).reshape(x.shape),
            "the surrogate is the clip, whose slope is 1 or 0, not that of Bi-Real Net": (
                np.array([-4.0, -64.0, 0.0]).reshape(x.shape)
            ),
            "no gradient passes where |x| > 1": np.array([-4.0, -40.0, -400.0]).reshape(x.shape),
            "the layer multiplies by sign w, not by w": np.array([-2.0, -20.0, 0.0]).reshape(
                x.shape
            ),
        },
    )


@test("input_gradient")
def slopes_for_the_input(student, rng):
    """Small layers against differences of the surrogate: clip(x) in the place of sign(x)."""
    for shape, kernel, padding in SMALL:
        dy, x, w, beta = layer(rng, shape, kernel, padding)

        def loss(x):
            return (dy * beta[:, None, None] * sums(np.clip(x, -1, 1), signs(w), padding)).sum()

        close(student.input_gradient(dy, x, w, beta, padding), slopes(loss, x), tolerance=1e-6)


@test("weight_gradient")
def three_weights(student, rng):
    """Three images of one pixel, three output channels of one weight."""
    x = np.array([3.0, -0.2, 0.7]).reshape(3, 1, 1, 1)
    w = np.array([0.5, -0.5, 1.5]).reshape(3, 1, 1, 1)
    dy = np.array([[1.0, 20.0, 3.0], [10.0, 500.0, 5.0], [100.0, 3000.0, 7.0]]).reshape(3, 3, 1, 1)

    def as_weights(*values):
        return np.reshape(values, (3, 1, 1, 1))

    close(
        student.weight_gradient(dy, x, w, np.array([2.0, 0.5, 1.0]), 0),
        as_weights(182.0, 1260.0, 0.0),
        causes={
            "beta is missing": as_weights(91.0, 2520.0, 0.0),
            "dy was not used": as_weights(2.0, 0.5, 0.0),
            "no gradient passes where |w| > 1": as_weights(182.0, 1260.0, 5.0),
            "the mean over the images was taken, not the sum": as_weights(182 / 3, 420.0, 0.0),
            "the layer multiplies by sign x, not by x": as_weights(142.0, 1030.0, 0.0),
        },
    )


@test("weight_gradient")
def slopes_for_the_weights(student, rng):
    """Small layers against differences of the surrogate: clip(w) in the place of sign(w)."""
    for shape, kernel, padding in SMALL:
        dy, x, w, beta = layer(rng, shape, kernel, padding)

        def loss(w):
            return (dy * beta[:, None, None] * sums(signs(x), np.clip(w, -1, 1), padding)).sum()

        close(student.weight_gradient(dy, x, w, beta, padding), slopes(loss, w), tolerance=1e-6)


@test("scale_gradient")
def two_scales(student, rng):
    """Three images of one pixel, two output channels."""
    x = np.array([3.0, -0.2, 0.7]).reshape(3, 1, 1, 1)
    w = np.array([0.5, -2.0]).reshape(2, 1, 1, 1)
    dy = np.array([[1.0, 20.0], [100.0, 3000.0], [5.0, 7.0]]).reshape(3, 2, 1, 1)
    close(
        student.scale_gradient(dy, x, w, 0),
        np.array([-94.0, 2973.0]),
        causes={
            "dy was not used": np.array([1.0, -1.0]),
            "the mean over the images was taken, not the sum": np.array([-94 / 3, 991.0]),
            "the layer sums products of signs, not of x and w": np.array([-6.75, 1070.2]),
            "the sums are those of the forward, with signs and not with the clip": (
                np.array([1 - 20 + 3.5, -20 + 600 - 4.9])
            ),
            "one value for each image; sum over the images too": (
                np.array([[1.0, -20.0], [-100.0, 3000.0], [5.0, -7.0]])
            ),
        },
    )


@test("scale_gradient")
def slopes_for_the_scale(student, rng):
    """Small layers against differences of the loss."""
    for shape, kernel, padding in SMALL:
        dy, x, w, beta = layer(rng, shape, kernel, padding)
        exact = sums(signs(x), signs(w), padding)
        expected = slopes(lambda beta: (dy * beta[:, None, None] * exact).sum(), beta)
        close(student.scale_gradient(dy, x, w, padding), expected, tolerance=1e-6)


@test("reconstruction")
def no_scale_is_better(student, rng):
    """best_scale: L_R is larger at any other scale."""
    for shape in ((1, 1, 1, 1), (2, 1, 1, 3), (3, 2, 3, 3)):
        w = rng.standard_normal(shape)
        beta = student.best_scale(w)
        if not isinstance(beta, np.ndarray) or beta.shape != shape[:1] or beta.dtype.kind != "f":
            found = (
                f"shape {np.shape(beta)}" if isinstance(beta, np.ndarray) else type(beta).__name__
            )
            raise Failure(
                f"got {found}, expected floats of shape {shape[:1]}, one for each channel"
            )
        for o, scale in enumerate(beta):
            costs = [
                ((w[o] - b * signs(w[o])) ** 2).sum() for b in (scale, *(scale + [0.01, -0.01]))
            ]
            if not (np.isfinite(scale) and costs[0] <= min(costs[1:])):
                raise Failure(
                    f"channel {o}: with beta {scale:.4f} L_R is {costs[0]:.5f}; "
                    f"with {scale + 0.01:.4f} {costs[1]:.5f}, with {scale - 0.01:.4f} {costs[2]:.5f}"
                )


@test("reconstruction")
def two_weights(student, rng):
    """reconstruction of the weights 1 and -3 with beta 2.5."""
    value, dw, dbeta = parts(
        student.reconstruction(np.array([1.0, -3.0]).reshape(1, 1, 1, 2), np.array([2.5]))
    )
    close(
        value,
        np.array(2.5),
        causes={"L_R is a sum over all weights, not a mean": 1.25, "the square is missing": 2.0},
    )
    close(
        dw,
        np.array([-3.0, -1.0]).reshape(1, 1, 1, 2),
        causes={
            "the sign of w is constant almost everywhere: no gradient passes through it": np.array(
                [4.5, -1.0]
            ).reshape(1, 1, 1, 2),
        },
    )
    close(
        dbeta,
        np.array([2.0]),
        causes={"a minus is missing": np.array([-2.0]), "sign w is missing": np.array([4.0])},
    )


@test("reconstruction")
def slopes_of_it(student, rng):
    """reconstruction of small layers against differences of L_R."""
    for shape in ((1, 1, 1, 1), (2, 1, 1, 3), (3, 2, 3, 2)):
        w, beta = away(rng.standard_normal(shape)), rng.uniform(0.2, 0.9, shape[0])

        def loss(w, beta):
            return ((w - beta[:, None, None, None] * signs(w)) ** 2).sum()

        value, dw, dbeta = parts(student.reconstruction(w, beta))
        close(value, np.array(loss(w, beta)))
        close(dw, slopes(lambda w: loss(w, beta), w), tolerance=1e-6)
        close(dbeta, slopes(lambda beta: loss(w, beta), beta), tolerance=1e-6)


def parts(got):
    """The three results of `reconstruction`."""
    if not isinstance(got, list | tuple) or len(got) != 3:
        raise Failure("expected three results: L_R, its gradient for w, its gradient for beta")
    return got
