"""Pointwise convolution of planes in lanes: a product of matrices, whose entries are vectors and numbers."""

from bnas.kernels.jit import jit
from bnas.kernels.vectors import broadcast, element, lane_sum, load, multiply_add, store

# Pixels over which a gradient sums in registers: 4 planes of that fit the cache.
CHUNK = 64


@jit(allocates=False)
def pointwise(
    x, plane, weights, row, column, inputs, outputs, rows, columns, y, start, pitch, pixels
):
    """y[o] = Σ_c weights[o row + c column] x[c] for every pixel.

    x: `inputs` dense planes, `plane` apart. y: from `start` on, `outputs` planes of `pixels`, `pitch`
    from row to row. Four outputs share a pixel's load, and two pixels a weight's; an odd last one is computed
    twice.
    """
    lanes = 64 // x.itemsize
    zero = broadcast(x.dtype.type(0))
    for h in range(rows):
        for w in range(0, columns, 2):
            other = min(w + 1, columns - 1)
            at0, at1 = (h * columns + w) * lanes, (h * columns + other) * lanes
            to0, to1 = start + (h * pitch + w) * lanes, start + (h * pitch + other) * lanes
            for o in range(0, outputs - 3, 4):
                a0, b0, c0, d0 = zero, zero, zero, zero
                a1, b1, c1, d1 = zero, zero, zero, zero
                v = o * row
                for k in range(inputs):
                    first, second = load(x, at0 + k * plane), load(x, at1 + k * plane)
                    u = v + k * column
                    weight = broadcast(element(weights, u))
                    a0, a1 = multiply_add(first, weight, a0), multiply_add(second, weight, a1)
                    weight = broadcast(element(weights, u + row))
                    b0, b1 = multiply_add(first, weight, b0), multiply_add(second, weight, b1)
                    weight = broadcast(element(weights, u + 2 * row))
                    c0, c1 = multiply_add(first, weight, c0), multiply_add(second, weight, c1)
                    weight = broadcast(element(weights, u + 3 * row))
                    d0, d1 = multiply_add(first, weight, d0), multiply_add(second, weight, d1)
                place0, place1 = to0 + o * pixels, to1 + o * pixels
                store(y, place0, a0)
                store(y, place0 + pixels, b0)
                store(y, place0 + 2 * pixels, c0)
                store(y, place0 + 3 * pixels, d0)
                store(y, place1, a1)
                store(y, place1 + pixels, b1)
                store(y, place1 + 2 * pixels, c1)
                store(y, place1 + 3 * pixels, d1)
            for o in range(outputs // 4 * 4, outputs):
                a0, a1 = zero, zero
                for k in range(inputs):
                    weight = broadcast(element(weights, o * row + k * column))
                    a0 = multiply_add(load(x, at0 + k * plane), weight, a0)
                    a1 = multiply_add(load(x, at1 + k * plane), weight, a1)
                store(y, to0 + o * pixels, a0)
                store(y, to1 + o * pixels, a1)


@jit(allocates=False)
def pointwise_sums(dy, x, plane, outputs, inputs, pixels, sums, target, row):
    """sums[target + o row + c] += Σ dy[o] x[c], two by two; an odd last one is computed twice."""
    lanes = 64 // x.itemsize
    zero = broadcast(x.dtype.type(0))
    for begin in range(0, pixels, CHUNK):
        first, end = begin * lanes, min(begin + CHUNK, pixels) * lanes
        for o in range(0, outputs, 2):
            other = min(o + 1, outputs - 1)
            for c in range(0, inputs, 2):
                last = min(c + 1, inputs - 1)
                p, q, r, s = zero, zero, zero, zero
                for i in range(first, end, lanes):
                    g, h = load(dy, o * plane + i), load(dy, other * plane + i)
                    a, b = load(x, c * plane + i), load(x, last * plane + i)
                    p, q = multiply_add(g, a, p), multiply_add(g, b, q)
                    r, s = multiply_add(h, a, r), multiply_add(h, b, s)
                to = target + o * row + c
                sums[to] += lane_sum(p)
                if last > c:
                    sums[to + 1] += lane_sum(q)
                if other > o:
                    sums[to + row] += lane_sum(r)
                    if last > c:
                        sums[to + row + 1] += lane_sum(s)
