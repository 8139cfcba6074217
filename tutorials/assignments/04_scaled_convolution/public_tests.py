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


def single(*arrays):
    return [array.astype(np.float32) for array in arrays]


def float32(got):
    """got, if it has not another dtype."""
    if isinstance(got, np.ndarray) and got.dtype != np.float32:
        raise Failure(
            f"got entries of {got.dtype}, expected float32 as the arguments have\n"
            "likely cause: integers, or arrays made without a dtype, turn float32 into float64"
        )
    return got


def exactly(got, expected, causes=None):
    """`equal`, that tells a result with rounding errors alone from another."""
    is_like = isinstance(got, np.ndarray) and got.dtype.kind == "f" and got.shape == expected.shape
    if is_like and (got != expected).any():
        off = np.abs(got - expected)
        if off.max() <= 1e-9 * max(1.0, np.abs(expected).max()):
            at = tuple(map(int, np.unravel_index(off.argmax(), off.shape)))
            raise Failure(
                f"nearly right, but not exactly beta times an integer: at {at} got {float(got[at])!r}, "
                f"expected {float(expected[at])!r}\nlikely cause: sum the signs first, then scale: beta "
                "inside of the sum leaves a rounding error"
            )
    equal(got, expected, causes)


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
        turned = signs(w)[:, :, ::-1, ::-1]
        exactly(
            student.forward(x, w, beta, padding),
            expected,
            causes={
                "the kernel is turned by 180 degrees": lambda x=x, v=turned, b=beta, p=padding: (
                    b[:, None, None] * sums(signs(x), v, p)
                ),
            },
        )


@test("forward")
def what_cancels(student, rng):
    """Products +++---, and longer, that cancel: exactly 0 for scales such as 0.1."""
    beta = np.array([0.1, 0.7, 0.3])
    for half in (3, 5, 7, 11):
        x = np.repeat([1.5, -0.5], half).reshape(1, 1, 1, -1)
        exactly(student.forward(x, np.ones((3, 1, 1, 2 * half)), beta, 0), np.zeros((1, 3, 1, 1)))


@test("forward")
def forward_in_float32(student, rng):
    """float32 in, float32 out."""
    _, *arrays = single(*layer(rng, *SMALL[2]))
    x, w, beta = arrays
    expected = beta[:, None, None] * sums(signs(x), signs(w), 1).astype(np.float32)
    equal(float32(student.forward(*arrays, 1)), expected)


@test("input_gradient")
def four_pixels(student, rng):
    """A kernel of one weight: every pixel is multiplied by one sign; one pixel is 1."""
    x = np.array([0.5, -0.2, -1.5, 1.0]).reshape(1, 1, 1, 4)
    dy = np.array([1.0, 10.0, 100.0, 1000.0]).reshape(1, 1, 1, 4)
    w, beta = np.full((1, 1, 1, 1), -0.5), np.array([4.0])

    def as_pixels(*values):
        return np.reshape(values, x.shape)

    close(
        student.input_gradient(dy, x, w, beta, 0),
        as_pixels(-4.0, -40.0, 0.0, -4000.0),
        causes={
            "beta is missing": as_pixels(-1.0, -10.0, 0.0, -1000.0),
            "dy was not used": as_pixels(-4.0, -4.0, 0.0, -4.0),
            "the surrogate is the clip, whose slope is 1 or 0, not that of Bi-Real Net": (
                as_pixels(-4.0, -64.0, 0.0, 0.0)
            ),
            "no gradient passes where |x| > 1": as_pixels(-4.0, -40.0, -400.0, -4000.0),
            "at |x| = 1 the gradient passes": as_pixels(-4.0, -40.0, 0.0, 0.0),
            "the layer multiplies by sign w, not by w": as_pixels(-2.0, -20.0, 0.0, -2000.0),
        },
    )


@test("input_gradient")
def slopes_for_the_input(student, rng):
    """Small layers against differences of the surrogate: clip(x) in the place of sign(x)."""
    for shape, kernel, padding in SMALL:
        dy, x, w, beta = layer(rng, shape, kernel, padding)

        def loss(x, kernel=signs(w)):
            return (dy * beta[:, None, None] * sums(np.clip(x, -1, 1), kernel, padding)).sum()

        close(
            student.input_gradient(dy, x, w, beta, padding),
            slopes(loss, x),
            causes={
                "the kernel has to be turned round: an input below tap (k, m) gets what that tap has": (
                    lambda f=loss, x=x, w=w: slopes(lambda v: f(v, signs(w)[:, :, ::-1, ::-1]), x)
                ),
            },
            tolerance=1e-6,
        )


@test("input_gradient")
def dx_in_float32(student, rng):
    """float32 in, float32 out."""
    arrays = single(*layer(rng, *SMALL[3]))
    dy, x, w, beta = (array.astype(np.float64) for array in arrays)
    upstream, kernel = dy * beta[:, None, None], signs(w)
    expected = slopes(lambda x: (upstream * sums(np.clip(x, -1, 1), kernel, 1)).sum(), x)
    close(float32(student.input_gradient(*arrays, 1)), expected, tolerance=1e-5)


@test("weight_gradient")
def four_weights(student, rng):
    """Three images of one pixel, four output channels of one weight; one weight is -1."""
    x = np.array([3.0, -0.2, 0.7]).reshape(3, 1, 1, 1)
    w = np.array([0.5, -0.5, 1.5, -1.0]).reshape(4, 1, 1, 1)
    dy = [[1.0, 20.0, 3.0, 4000.0], [10.0, 500.0, 5.0, 1000.0], [100.0, 3000.0, 7.0, 200.0]]
    dy = np.reshape(dy, (3, 4, 1, 1))

    def as_weights(*values):
        return np.reshape(values, (4, 1, 1, 1))

    close(
        student.weight_gradient(dy, x, w, np.array([2.0, 0.5, 1.0, 3.0]), 0),
        as_weights(182.0, 1260.0, 0.0, 9600.0),
        causes={
            "beta is missing": as_weights(91.0, 2520.0, 0.0, 3200.0),
            "dy was not used": as_weights(2.0, 0.5, 0.0, 3.0),
            "no gradient passes where |w| > 1": as_weights(182.0, 1260.0, 5.0, 9600.0),
            "at |w| = 1 the gradient passes": as_weights(182.0, 1260.0, 0.0, 0.0),
            "the mean over the images was taken, not the sum": as_weights(
                182 / 3, 420.0, 0.0, 3200.0
            ),
            "the layer multiplies by sign x, not by x": as_weights(142.0, 1030.0, 0.0, 35820.0),
            "the layer multiplies by sign x, not by clip x": as_weights(
                138.0, 1010.0, 0.0, 11820.0
            ),
        },
    )


@test("weight_gradient")
def dw_in_float32(student, rng):
    """float32 in, float32 out."""
    arrays = single(*layer(rng, *SMALL[3]))
    dy, x, w, beta = (array.astype(np.float64) for array in arrays)
    upstream, bits = dy * beta[:, None, None], signs(x)
    expected = slopes(lambda w: (upstream * sums(bits, np.clip(w, -1, 1), 1)).sum(), w)
    close(float32(student.weight_gradient(*arrays, 1)), expected, tolerance=1e-5)


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
        places = dy[0, 0].size
        close(
            student.scale_gradient(dy, x, w, padding),
            expected,
            causes={
                "the mean over the images was taken, not the sum": expected / len(x),
                "the mean over the places was taken, not the sum": expected / places,
                "the mean over images and places was taken, not the sum": expected / dy[:, 0].size,
            },
            tolerance=1e-6,
        )


@test("scale_gradient")
def dbeta_in_float32(student, rng):
    """float32 in, float32 out."""
    dy, x, w, _ = single(*layer(rng, *SMALL[3]))
    expected = (dy.astype(np.float64) * sums(signs(x), signs(w), 1)).sum(axis=(0, 2, 3))
    close(float32(student.scale_gradient(dy, x, w, 1)), expected, tolerance=1e-5)


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
    part(
        "L_R",
        value,
        np.array(2.5),
        causes={"L_R is a sum over all weights, not a mean": 1.25, "the square is missing": 2.0},
    )
    part(
        "gradient for w",
        dw,
        np.array([-3.0, -1.0]).reshape(1, 1, 1, 2),
        causes={
            "the sign of w is constant almost everywhere: no gradient passes through it": np.array(
                [4.5, -1.0]
            ).reshape(1, 1, 1, 2),
            "no surrogate belongs here: L_R has an ordinary gradient": np.array(
                [-3.0, 0.0]
            ).reshape(1, 1, 1, 2),
            "the 2 of the square is missing": np.array([-1.5, -0.5]).reshape(1, 1, 1, 2),
        },
    )
    part(
        "gradient for beta",
        dbeta,
        np.array([2.0]),
        causes={
            "a minus is missing": np.array([-2.0]),
            "sign w is missing": np.array([4.0]),
            "the 2 of the square is missing": np.array([1.0]),
        },
    )


@test("reconstruction")
def slopes_of_it(student, rng):
    """reconstruction of small layers against differences of L_R."""
    for shape in ((1, 1, 1, 1), (2, 1, 1, 3), (3, 2, 3, 2)):
        w, beta = away(rng.standard_normal(shape)), rng.uniform(0.2, 0.9, shape[0])

        def loss(w, beta):
            return ((w - beta[:, None, None, None] * signs(w)) ** 2).sum()

        value, dw, dbeta = parts(student.reconstruction(w, beta))
        part("L_R", value, np.array(loss(w, beta)))
        part("gradient for w", dw, slopes(lambda w: loss(w, beta), w), tolerance=1e-6)
        part("gradient for beta", dbeta, slopes(lambda b: loss(w, b), beta), tolerance=1e-6)


def part(name, got, expected, causes=None, tolerance=1e-9):
    """`close`, for the one of several results that has that name."""
    try:
        close(got, expected, causes, tolerance)
    except Failure as failure:
        raise Failure(f"{name}: {failure}") from None


def parts(got):
    """The three results of `reconstruction`."""
    if not isinstance(got, list | tuple) or len(got) != 3:
        raise Failure("expected three results: L_R, its gradient for w, its gradient for beta")
    return got
