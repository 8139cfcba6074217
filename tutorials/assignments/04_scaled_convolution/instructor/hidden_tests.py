"""Tests with random inputs against the reference."""

import numpy as np
from public_tests import signs

from bnas.grading import Failure, close, equal, test

# Shape of x, shape of w, padding.
LAYERS = (
    ((1, 1, 1, 1), (1, 1, 1, 1), 0),
    ((1, 1, 2, 3), (1, 1, 2, 2), 0),
    ((2, 1, 2, 1), (2, 1, 1, 1), 0),
    ((1, 2, 3, 3), (2, 2, 3, 3), 1),
    ((3, 2, 3, 5), (4, 2, 3, 2), 1),
    ((1, 3, 1, 4), (2, 3, 1, 3), 1),
    ((2, 3, 4, 3), (1, 3, 2, 3), 2),
    ((2, 4, 6, 5), (3, 4, 3, 3), 1),
)
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}


def draw(rng, shape, dtype=np.float64):
    """Normal numbers, with 0, 1 and -1 among them."""
    v = rng.standard_normal(shape)
    special = rng.random(shape) < 0.2
    return np.where(special, rng.integers(-1, 2, shape), v).astype(dtype)


def layer(rng, shape, kernel, padding, dtype=np.float64):
    """dy, x, w, beta."""
    height, width = (shape[i] + 2 * padding - kernel[i] + 1 for i in (2, 3))
    dy = rng.standard_normal((shape[0], kernel[0], height, width)).astype(dtype)
    beta = rng.uniform(0.1, 1.5, kernel[0]).astype(dtype)
    return dy, draw(rng, shape, dtype), draw(rng, kernel, dtype), beta


def sums(reference, a, b, padding):
    """The convolution of a with b themselves, not with their signs."""
    windows = reference.patches(a, b.shape[2:], padding)
    return np.einsum("nchwkl,ockl->nohw", windows, b, optimize=True)


def framed(x, padding, value):
    pads = (0, 0), (0, 0), (padding, padding), (padding, padding)
    return np.pad(x, pads, constant_values=value)


def of_dtype(got, dtype):
    if isinstance(got, np.ndarray) and got.dtype.kind == "f" and got.dtype != dtype:
        raise Failure(
            f"got {got.dtype}, expected {np.dtype(dtype)} as the arguments have\n"
            "likely cause: integers, or arrays made without a dtype, turn float32 into float64"
        )


def examine_forward(student, reference, x, w, beta, padding):
    got = student.forward(x, w, beta, padding)
    of_dtype(got, x.dtype)
    expected = reference.forward(x, w, beta, padding)
    bits, scale = signs(x), beta[:, None, None]
    is_array = isinstance(got, np.ndarray) and got.dtype.kind == "f"
    if is_array and got.shape == expected.shape and (got != expected).any():
        off = np.abs(got.astype(np.float64) - expected)
        if off.max() <= 1e-4 * np.abs(expected).max(initial=1e-3):
            at = tuple(map(int, np.unravel_index(off.argmax(), off.shape)))
            raise Failure(
                f"nearly right, but not exactly beta times an integer: at {at} got {got[at]!r}, "
                f"expected {expected[at]!r}\nlikely cause: beta stands inside of the sum; sum the "
                "signs first, then multiply once"
            )
    equal(
        got,
        expected,
        causes={
            "taps beyond the border count -1, and have to count 0": lambda: reference.forward(
                framed(x, padding, -1), w, beta, 0
            ),
            "taps beyond the border count +1, and have to count 0": lambda: reference.forward(
                framed(x, padding, 1), w, beta, 0
            ),
            "sign(0) is -1, not +1": lambda: reference.forward(
                np.where(x == 0, 1, x), np.where(w == 0, 1, w), beta, padding
            ),
            "sign(0) is -1, not +1: so for x; for w it is right": lambda: reference.forward(
                np.where(x == 0, 1, x), w, beta, padding
            ),
            "sign(0) is -1, not +1: so for w; for x it is right": lambda: reference.forward(
                x, np.where(w == 0, 1, w), beta, padding
            ),
            "sign(0) is -1, not 0 as that of NumPy": lambda: (
                sums(reference, np.sign(x), np.sign(w), padding) * scale
            ),
            "the weights are not replaced by their signs": lambda: (
                sums(reference, bits, w, padding) * scale
            ),
            "the kernel is turned by 180 degrees": lambda: reference.forward(
                x, w[:, :, ::-1, ::-1], beta, padding
            ),
            "beta belongs to the channels, axis 1; it was multiplied along the last axis": lambda: (
                expected / scale * np.resize(beta, expected.shape[3])
            ),
            "the sums do not fit into int8": lambda: (
                np.rint(expected / scale).astype(np.int8) * scale
            ),
        },
    )


@test("forward")
def shapes(student, rng, reference):
    """Layers of several shapes, with zeros among inputs and weights."""
    for shape, kernel, padding in LAYERS:
        _, x, w, beta = layer(rng, shape, kernel, padding)
        examine_forward(student, reference, x, w, beta, padding)


@test("forward")
def exact_in_float32(student, rng, reference):
    """float32: every entry is exactly beta times an integer, 0 where the signs cancel."""
    for shape, kernel, padding in LAYERS + (((2, 16, 4, 4), (8, 16, 3, 3), 1),):
        _, x, w, beta = layer(rng, shape, kernel, padding, np.float32)
        examine_forward(student, reference, x, w, beta, padding)


@test("forward")
def many_channels(student, rng, reference):
    """Sums of up to 576 equal products, which do not fit into a byte."""
    x = np.abs(rng.standard_normal((2, 64, 3, 3))) + 0.1
    w = np.abs(rng.standard_normal((2, 64, 3, 3))) + 0.1
    examine_forward(student, reference, x, -w, np.array([0.7, 1.1]), 1)


def examine_input_gradient(student, reference, dy, x, w, beta, padding):
    got = student.input_gradient(dy, x, w, beta, padding)
    of_dtype(got, x.dtype)
    through, inside = np.zeros_like(x), np.abs(x) <= 1

    def unsigned(kernel):
        spread = np.einsum("nohw,o,ockl->nchwkl", dy, beta, kernel, optimize=True)
        return reference.overlay(spread, x.shape, padding) * inside

    right = reference.input_gradient
    expected = right(dy, x, w, beta, padding)
    close(
        got,
        expected,
        tolerance=TOLERANCE[x.dtype.type],
        causes={
            "beta is missing": lambda: right(dy, x, w, np.ones_like(beta), padding),
            "dy was not used": lambda: right(np.ones_like(dy), x, w, beta, padding),
            "no gradient passes where |x| > 1": lambda: right(dy, through, w, beta, padding),
            "at |x| = 1 the gradient passes": lambda: expected * (np.abs(x) < 1),
            "the surrogate is the clip, whose slope is 1 or 0, not that of Bi-Real Net": lambda: (
                expected * np.maximum(2 - 2 * np.abs(x), 0)
            ),
            "the layer multiplies by sign w, not by w": lambda: unsigned(w),
            "the kernel is turned by 180 degrees": lambda: right(
                dy, x, w[:, :, ::-1, ::-1], beta, padding
            ),
            "sign(0) is -1, not +1": lambda: right(dy, x, np.where(w == 0, 1, w), beta, padding),
            "sign(0) is -1, not 0 as that of NumPy": lambda: unsigned(np.sign(w)),
            "the result is multiplied by sign x": lambda: expected * signs(x),
        },
    )


@test("input_gradient")
def shapes_of_the_input(student, rng, reference):
    """Layers of several shapes, with 0, 1 and -1 among inputs and weights."""
    for shape, kernel, padding in LAYERS:
        examine_input_gradient(student, reference, *layer(rng, shape, kernel, padding), padding)


@test("input_gradient")
def the_input_in_float32(student, rng, reference):
    """The same in float32."""
    for shape, kernel, padding in LAYERS:
        arrays = layer(rng, shape, kernel, padding, np.float32)
        examine_input_gradient(student, reference, *arrays, padding)


def examine_weight_gradient(student, reference, dy, x, w, beta, padding):
    got = student.weight_gradient(dy, x, w, beta, padding)
    of_dtype(got, x.dtype)
    through, inside = np.zeros_like(w), np.abs(w) <= 1

    def with_inputs(a, border=0):
        below = reference.patches(framed(a, padding, border), w.shape[2:], 0)
        return np.einsum("nohw,nchwkl,o->ockl", dy, below, beta, optimize=True) * inside

    right = reference.weight_gradient
    expected = right(dy, x, w, beta, padding)
    close(
        got,
        expected,
        tolerance=TOLERANCE[x.dtype.type],
        causes={
            "beta is missing": lambda: right(dy, x, w, np.ones_like(beta), padding),
            "dy was not used": lambda: right(np.ones_like(dy), x, w, beta, padding),
            "no gradient passes where |w| > 1": lambda: right(dy, x, through, beta, padding),
            "at |w| = 1 the gradient passes": lambda: expected * (np.abs(w) < 1),
            "the surrogate is the clip, whose slope is 1 or 0, not that of Bi-Real Net": lambda: (
                expected * np.maximum(2 - 2 * np.abs(w), 0)
            ),
            "the layer multiplies by sign x, not by x": lambda: with_inputs(x),
            "taps beyond the border count -1, and have to count 0": lambda: with_inputs(
                signs(x), -1
            ),
            "sign(0) is -1, not +1": lambda: with_inputs(np.where(x >= 0, 1, -1)),
            "sign(0) is -1, not 0 as that of NumPy": lambda: with_inputs(np.sign(x)),
            "the mean over the images was taken, not the sum": lambda: expected / len(x),
            "the first image alone was used": lambda: right(dy[:1], x[:1], w, beta, padding),
            "the result is multiplied by sign w": lambda: expected * signs(w),
            "the kernel is turned by 180 degrees": lambda: right(
                dy, x, w[:, :, ::-1, ::-1], beta, padding
            )[:, :, ::-1, ::-1],
        },
    )


@test("weight_gradient")
def shapes_of_weights(student, rng, reference):
    """Layers of several shapes, with 0, 1 and -1 among inputs and weights."""
    for shape, kernel, padding in LAYERS:
        examine_weight_gradient(student, reference, *layer(rng, shape, kernel, padding), padding)


@test("weight_gradient")
def weights_in_float32(student, rng, reference):
    """The same in float32."""
    for shape, kernel, padding in LAYERS:
        arrays = layer(rng, shape, kernel, padding, np.float32)
        examine_weight_gradient(student, reference, *arrays, padding)


@test("scale_gradient")
def shapes_of_the_scale(student, rng, reference):
    """Layers of several shapes in float64 and float32, with zeros among inputs and weights."""
    right = reference.scale_gradient
    for shape, kernel, padding in LAYERS:
        for dtype in (np.float64, np.float32):
            dy, x, w, _ = layer(rng, shape, kernel, padding, dtype)
            got = student.scale_gradient(dy, x, w, padding)
            of_dtype(got, dtype)
            expected = right(dy, x, w, padding)

            def contracted(a, b):
                return (dy * sums(reference, a, b, padding)).sum(axis=(0, 2, 3))

            close(
                got,
                expected,
                tolerance=TOLERANCE[dtype],
                causes={
                    "dy was not used": lambda: right(np.ones_like(dy), x, w, padding),
                    "the layer sums products of signs, not of x and w": lambda: contracted(x, w),
                    "taps beyond the border count -1, and have to count 0": lambda: right(
                        dy, framed(x, padding, -1), w, 0
                    ),
                    "sign(0) is -1, not +1": lambda: contracted(
                        np.where(x >= 0, 1, -1), np.where(w >= 0, 1, -1)
                    ),
                    "sign(0) is -1, not 0 as that of NumPy": lambda: contracted(
                        np.sign(x), np.sign(w)
                    ),
                    "the mean over the images was taken, not the sum": lambda: expected / len(x),
                    "the mean over images and places was taken, not the sum": lambda: (
                        expected * len(expected) / dy.size
                    ),
                    "the first image alone was used": lambda: right(dy[:1], x[:1], w, padding),
                    "the sums are those of the forward, with signs and not with the clip": lambda: (
                        contracted(np.clip(x, -1, 1), signs(w))
                    ),
                    "the sums are of signs, not of clips": lambda: contracted(
                        np.clip(x, -1, 1), np.clip(w, -1, 1)
                    ),
                    "one value for each image; sum over the images too": lambda: (
                        dy * reference.forward(x, w, np.ones(len(w)), padding)
                    ).sum(axis=(2, 3)),
                    "summed over all axes; every channel has a scale of its own": lambda: (
                        expected.sum()
                    ),
                },
            )


@test("reconstruction")
def closed_form(student, rng, reference):
    """best_scale of several shapes, in float64 and float32."""
    for _, shape, _ in LAYERS:
        for dtype in (np.float64, np.float32):
            w = draw(rng, shape, dtype)
            got = student.best_scale(w)
            of_dtype(got, dtype)
            flat = np.abs(w).reshape(len(w), -1)
            close(
                got,
                reference.best_scale(w),
                tolerance=TOLERANCE[dtype],
                causes={
                    "one scale for all channels; each has its own": np.full(len(w), flat.mean()),
                    "absolute values are missing": w.reshape(len(w), -1).mean(axis=1),
                    "a sum over the weights, not their mean": flat.sum(axis=1),
                    "the root of the mean square; put beta into L_R and take the derivative": (
                        np.sqrt((flat**2).mean(axis=1))
                    ),
                    "the median minimises the sum of absolute differences, not of squares": (
                        np.median(flat, axis=1)
                    ),
                },
            )


@test("reconstruction")
def any_scale(student, rng, reference):
    """reconstruction with random scales, for several shapes, in float64 and float32."""
    for _, shape, _ in LAYERS:
        for dtype in (np.float64, np.float32):
            w, beta = draw(rng, shape, dtype), rng.uniform(0.1, 1.5, shape[0]).astype(dtype)
            examine_reconstruction(student, reference, w, beta)


def examine_reconstruction(student, reference, w, beta):
    got = student.reconstruction(w, beta)
    if not isinstance(got, list | tuple) or len(got) != 3:
        raise Failure("expected three results: L_R, its gradient for w, its gradient for beta")
    for part in got[1:]:
        of_dtype(part, w.dtype)
    value, dw, dbeta = reference.reconstruction(w, beta)
    tolerance = TOLERANCE[w.dtype.type]
    scale = beta[:, None, None, None]
    zero_plus = np.where(w == 0, 1e-30, w).astype(w.dtype)  # whose sign is +1
    close(
        got[0],
        value,
        tolerance=tolerance,
        causes={
            "L_R is a sum over all weights, not a mean": value / w.size,
            "the square is missing": np.abs(w - scale * signs(w)).sum(),
        },
    )
    close(
        got[1],
        dw,
        tolerance=tolerance,
        causes={
            "the sign of w is constant almost everywhere: no gradient passes through it": lambda: (
                dw * (1 - scale * (np.abs(w) <= 1))
            ),
            "no surrogate belongs here, w itself stands in L_R": lambda: dw * (np.abs(w) <= 1),
            "sign(0) is -1, not +1": lambda: reference.reconstruction(zero_plus, beta)[1],
        },
    )
    close(
        got[2],
        dbeta,
        tolerance=tolerance,
        causes={
            "sign w is missing": lambda: -(dw.sum(axis=(1, 2, 3))),
            "a mean over the weights of a channel was taken, not the sum": lambda: (
                dbeta * len(w) / w.size
            ),
        },
    )
