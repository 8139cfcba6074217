"""Pointwise convolution of planes in lanes: a product of matrices, whose entries are vectors and numbers."""

from bnas.kernels.jit import jit
from bnas.kernels.registers import (
    add_all,
    add_moments,
    add_multiples,
    add_weighted,
    load_all,
    multiply_all,
    store_all,
)
from bnas.kernels.vectors import broadcast, lane_count, load, multiply_add, store, widen

TOGETHER = 4  # outputs that share the loads of a pixel, and pairs of planes in `pointwise_sums`


@jit(forceinline=True)
def _zeros(x):
    """TOGETHER zero vectors, and one."""
    zero = broadcast(x.dtype.type(0))
    return (zero, zero, zero, zero), (zero,)


@jit(forceinline=True)
def _wide(x):
    """The same, in float64."""
    zero = widen(broadcast(x.dtype.type(0)))
    return (zero, zero, zero, zero), (zero,)


@jit(forceinline=True)
def _pixel(x, at, plane, inputs, weights, v, row, column, zeros):
    """The outputs of the pixel at `at` whose weights begin at v, as many as there are zeros."""
    totals = zeros
    for k in range(inputs):
        totals = add_weighted(load(x, at + k * plane), weights, v + k * column, row, totals)
    return totals


@jit(forceinline=True)
def _two_pixels(x, first, second, plane, inputs, weights, v, row, column, zeros):
    """The same for two pixels, which share the loads of weights."""
    here, there = zeros, zeros
    for k in range(inputs):
        u = v + k * column
        here = add_weighted(load(x, first + k * plane), weights, u, row, here)
        there = add_weighted(load(x, second + k * plane), weights, u, row, there)
    return here, there


@jit(forceinline=True)
def _rows(x, plane, inputs, weights, v, row, column, shape, y, start, pitch, distance, zeros):
    """`pointwise` for as many outputs as there are zeros."""
    lanes, (rows, columns) = lane_count(x), shape
    for h in range(rows):
        at, to = h * columns * lanes, start + h * pitch * lanes
        for w in range(0, columns - 1, 2):
            i = at + w * lanes
            here, there = _two_pixels(
                x, i, i + lanes, plane, inputs, weights, v, row, column, zeros
            )
            store_all(y, to + w * lanes, distance, here)
            store_all(y, to + (w + 1) * lanes, distance, there)
        if columns % 2:
            i = (columns - 1) * lanes
            here = _pixel(x, at + i, plane, inputs, weights, v, row, column, zeros)
            store_all(y, to + i, distance, here)


@jit(allocates=False)
def pointwise(x, plane, inputs, weights, row, column, outputs, shape, y, start, pitch, distance):
    """y[o] = Σ_c weights[o row + c column] x[c] for every pixel of the shape (rows, columns).

    x: `inputs` dense planes, `plane` apart. y: from `start` on, planes `distance` apart, `pitch` pixels from
    row to row.
    """
    several, one = _zeros(x)
    for o in range(0, outputs - 3, TOGETHER):
        to = start + o * distance
        _rows(
            x, plane, inputs, weights, o * row, row, column, shape, y, to, pitch, distance, several
        )
    for o in range(outputs // TOGETHER * TOGETHER, outputs):
        to = start + o * distance
        _rows(x, plane, inputs, weights, o * row, row, column, shape, y, to, pitch, distance, one)


@jit(forceinline=True)
def _with_moments(x, plane, inputs, weights, scale, o, pixels, target, moments, zeros, wide):
    """`pointwise_with_moments` for as many outputs from o on as there are zeros, also in float64."""
    (y, start, distance), (centres, sums, squares, at) = target, moments
    lanes, total, square, v = lane_count(x), zeros, wide, o * inputs
    middle = load_all(centres, o * lanes, lanes, zeros)
    for w in range(0, pixels, 2):
        i = w * lanes
        if w + 1 < pixels:
            here, there = _two_pixels(x, i, i + lanes, plane, inputs, weights, v, inputs, 1, zeros)
            total, square = add_moments(there, middle, total, square)
            if scale.size:
                there = multiply_all(there, scale, o)
            store_all(y, start + o * distance + i + lanes, distance, there)
        else:
            here = _pixel(x, i, plane, inputs, weights, v, inputs, 1, zeros)
        total, square = add_moments(here, middle, total, square)
        if scale.size:
            here = multiply_all(here, scale, o)
        store_all(y, start + o * distance + i, distance, here)
    add_all(sums, at + o * lanes, lanes, total)
    add_all(squares, at + o * lanes, lanes, square)


@jit(allocates=False)
def pointwise_with_moments(x, plane, inputs, weights, scale, outputs, pixels, target, moments):
    """y[o] = scale[o] z[o], z[o] = Σ_c weights[o, c] x[c], for so many pixels, and the moments of z.

    x: as of `pointwise`. scale: empty for ones. target: its (y, start, distance). moments: (centres, sums,
    squares, at), sums and squares [at + o lanes] (float64) += Σ d and Σ d² for d = z[o] - centres[o], vectors
    one after another. Σ d of one call is in the dtype of x, in which d² may be infinite.
    """
    (several, one), (wide, wide_one) = _zeros(x), _wide(x)
    for o in range(0, outputs - 3, TOGETHER):
        _with_moments(x, plane, inputs, weights, scale, o, pixels, target, moments, several, wide)
    for o in range(outputs // TOGETHER * TOGETHER, outputs):
        _with_moments(x, plane, inputs, weights, scale, o, pixels, target, moments, one, wide_one)


@jit(allocates=False)
def centre_on_first(x, plane, inputs, weights, outputs, moments):
    """Begin the moments of a plane: the centres are the z of its first pixel, and all sums zero."""
    lanes, (centres, sums, squares, at) = lane_count(x), moments
    _, (zero,) = _zeros(x)
    for o in range(outputs):
        z = _pixel(x, 0, plane, inputs, weights, o * inputs, inputs, 1, (zero,))
        store_all(centres, o * lanes, lanes, z)
        store(sums, at + o * lanes, widen(zero))
        store(squares, at + o * lanes, widen(zero))


@jit(allocates=False)
def about_the_mean(pixels, outputs, moments):
    """End them: from sums of deviations from the centres to Σ z and Σ (z - mean)²."""
    centres, sums, squares, at = moments
    lanes = lane_count(centres)
    count = widen(broadcast(centres.dtype.type(pixels)))
    for o in range(outputs):
        place = at + o * lanes
        (total,) = load_all(sums, place, lanes, (count,))
        (square,) = load_all(squares, place, lanes, (count,))
        store(sums, place, multiply_add(widen(load(centres, o * lanes)), count, total))
        store(squares, place, square - total * total / count)


@jit(allocates=False)
def pointwise_sums(dy, x, plane, outputs, inputs, pixels, totals):
    """totals[o inputs + c] += Σ dy[o] x[c] over the pixels, in vectors, for all pairs of planes.

    The totals have the dtype of x, a block of images and a lane each its own: what they are added up to has not.
    """
    lanes = lane_count(x)
    zeros, (zero,) = _zeros(x)
    end = pixels * lanes
    whole_outputs = outputs // TOGETHER * TOGETHER
    whole_inputs = inputs // TOGETHER * TOGETHER
    for o in range(0, whole_outputs, TOGETHER):
        for c in range(0, whole_inputs, TOGETHER):
            p, q, r, s = zeros, zeros, zeros, zeros
            for i in range(0, end, lanes):
                a, b, d, e = load_all(dy, o * plane + i, plane, zeros)
                several = load_all(x, c * plane + i, plane, zeros)
                p, q = add_multiples(a, several, p), add_multiples(b, several, q)
                r, s = add_multiples(d, several, r), add_multiples(e, several, s)
            to = o * inputs + c
            add_all(totals, to * lanes, lanes, p)
            add_all(totals, (to + inputs) * lanes, lanes, q)
            add_all(totals, (to + 2 * inputs) * lanes, lanes, r)
            add_all(totals, (to + 3 * inputs) * lanes, lanes, s)
    for o in range(outputs):
        for c in range(whole_inputs if o < whole_outputs else 0, inputs):
            total = zero
            for i in range(0, end, lanes):
                total = multiply_add(load(dy, o * plane + i), load(x, c * plane + i), total)
            add_all(totals, (o * inputs + c) * lanes, lanes, (total,))
