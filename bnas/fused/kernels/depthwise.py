"""Depthwise convolution of planes in lanes, and the gradient of its weights.

`tables` says which taps an output reads. Where the outputs of a row read neighbouring pixels, as without a
stride, several of them are computed in one step in registers (`bnas.kernels.registers`); the plain loops beside
it do everything else. Both add up in the same order.
"""

from bnas.kernels.jit import jit
from bnas.kernels.registers import add_all, add_multiples, load_all, slide, slide_sums, store_all
from bnas.kernels.vectors import broadcast, element, lane_count, load, multiply_add, store


@jit(forceinline=True)
def _several(planes, here, distance, table, start, end, weights, first, totals):
    """The sums over the taps from `start` on of outputs `distance` apart, as many as `totals` has zeros."""
    lanes = lane_count(planes)
    for t in range(start, end, table.columns):
        w, at = first + element(table.tap, t), here + element(table.at, t) * lanes
        if table.columns == 3:
            totals = slide(planes, at, distance, weights, w, totals, 3)
        else:
            totals = slide(planes, at, distance, weights, w, totals, 5)
    return totals


@jit(forceinline=True)
def _one(planes, here, table, start, end, weights, first):
    """The sum over the taps of one output."""
    total = broadcast(planes.dtype.type(0))
    for t in range(start, end):
        w = broadcast(element(weights, first + element(table.tap, t)))
        at = here + element(table.at, t) * lane_count(planes)
        total = multiply_add(load(planes, at), w, total)
    return total


@jit(forceinline=True)
def _slide_row(planes, origin, table, row, weights, first, out, target):
    """A row of `correlate` without stride: every |dilation|-th output together, in the order of the taps."""
    lanes = lane_count(planes)
    zero = broadcast(planes.dtype.type(0))
    start, end, count = table.starts[row], table.starts[row + 1], table.count[row]
    distance, apart = table.dilation * lanes, abs(table.dilation)
    for phase in range(min(apart, count)):
        rest = (count - phase + apart - 1) // apart
        place = phase if distance > 0 else phase + (rest - 1) * apart
        here, to = origin + place * lanes, target + place * lanes
        while rest >= 8:
            zeros = (zero, zero, zero, zero, zero, zero, zero, zero)
            eight = _several(planes, here, distance, table, start, end, weights, first, zeros)
            store_all(out, to, distance, eight)
            here, to, rest = here + 8 * distance, to + 8 * distance, rest - 8
        while rest >= 4:
            zeros = (zero, zero, zero, zero)
            four = _several(planes, here, distance, table, start, end, weights, first, zeros)
            store_all(out, to, distance, four)
            here, to, rest = here + 4 * distance, to + 4 * distance, rest - 4
        while rest > 0:
            store(out, to, _one(planes, here, table, start, end, weights, first))
            here, to, rest = here + distance, to + distance, rest - 1


@jit(allocates=False)
def correlate(planes, origin, table, rows, weights, first_weight, out, target):
    """out[target...] = Σ_t w_t (what tap t sees), the rows (first, end) of the table of one plane.

    Neighbouring outputs share a weight's load.
    """
    lanes = lane_count(planes)
    zero = broadcast(planes.dtype.type(0))
    step, stride = table.read_step * lanes, table.write_step * lanes
    above = table.first[rows[0]] if rows[0] < rows[1] else 0
    for row in range(rows[0], rows[1]):
        to, here = target + (table.first[row] - above) * lanes, origin
        if table.columns > 0:
            _slide_row(planes, origin, table, row, weights, first_weight, out, to)
            continue
        start, end, count = table.starts[row], table.starts[row + 1], table.count[row]
        j = 0
        while j + 4 <= count:
            a, b, c, d = zero, zero, zero, zero
            for t in range(start, end):
                w = broadcast(element(weights, first_weight + element(table.tap, t)))
                at = here + element(table.at, t) * lanes
                a = multiply_add(load(planes, at), w, a)
                b = multiply_add(load(planes, at + step), w, b)
                c = multiply_add(load(planes, at + 2 * step), w, c)
                d = multiply_add(load(planes, at + 3 * step), w, d)
            store_all(out, to, stride, (a, b, c, d))
            to, here, j = to + 4 * stride, here + 4 * step, j + 4
        while j < count:
            store(out, to, _one(planes, here, table, start, end, weights, first_weight))
            to, here, j = to + stride, here + step, j + 1


@jit(forceinline=True)
def _four_gradients(planes, at, dense, dy, dilation, totals):
    if dilation == 1:
        return slide_sums(planes, at, dense, dy, totals, 4, 1)
    return slide_sums(planes, at, dense, dy, totals, 4, 2)


@jit(forceinline=True)
def _three_rows(planes, origin, dense, dy, table, t, count, totals, target, zeros):
    """Three rows of taps, from tap t of a row of outputs on, which share the loads of the gradient."""
    lanes, columns, dilation = lane_count(planes), len(zeros), table.dilation
    first, second, third = zeros, zeros, zeros
    at0 = origin + element(table.at, t) * lanes
    at1 = origin + element(table.at, t + columns) * lanes
    at2 = origin + element(table.at, t + 2 * columns) * lanes
    end, whole, step = count * lanes, count // 4 * 4 * lanes, dilation * lanes
    for i in range(0, whole, 4 * lanes):
        first = _four_gradients(planes, at0 + i, dense, dy + i, dilation, first)
        second = _four_gradients(planes, at1 + i, dense, dy + i, dilation, second)
        third = _four_gradients(planes, at2 + i, dense, dy + i, dilation, third)
    for i in range(whole, end, lanes):
        g = load(dense, dy + i)
        first = add_multiples(g, load_all(planes, at0 + i, step, zeros), first)
        second = add_multiples(g, load_all(planes, at1 + i, step, zeros), second)
        third = add_multiples(g, load_all(planes, at2 + i, step, zeros), third)
    add_all(totals, target + element(table.tap, t) * lanes, lanes, first)
    add_all(totals, target + element(table.tap, t + columns) * lanes, lanes, second)
    add_all(totals, target + element(table.tap, t + 2 * columns) * lanes, lanes, third)


@jit(forceinline=True)
def _four_taps(planes, origin, dense, dy, table, t, end, count, totals, target):
    """Up to four taps from tap t of a row of outputs on, wherever they read."""
    lanes = lane_count(planes)
    zero = broadcast(planes.dtype.type(0))
    a, b, c, d = zero, zero, zero, zero
    last, step = end - 1, table.read_step * lanes
    at0 = origin + element(table.at, t) * lanes
    at1 = origin + element(table.at, min(t + 1, last)) * lanes
    at2 = origin + element(table.at, min(t + 2, last)) * lanes
    at3 = origin + element(table.at, min(t + 3, last)) * lanes
    for j in range(count):
        g = load(dense, dy + j * lanes)
        a = multiply_add(g, load(planes, at0 + j * step), a)
        b = multiply_add(g, load(planes, at1 + j * step), b)
        c = multiply_add(g, load(planes, at2 + j * step), c)
        d = multiply_add(g, load(planes, at3 + j * step), d)
    found = (a, b, c, d)
    for k in range(min(4, end - t)):
        add_all(totals, target + element(table.tap, t + k) * lanes, lanes, (found[k],))


@jit(allocates=False)
def tap_sums(planes, origin, dense, first, pitch, table, rows, totals, target):
    """totals[target + t lanes] += Σ (output gradient) · (what tap t sees), in vectors; see `correlate`.

    dense[first...]: the gradient of the rows (first, end) of the forward's table, `pitch` pixels from one to
    the next.
    """
    lanes = lane_count(planes)
    zero = broadcast(planes.dtype.type(0))
    three, five = (zero, zero, zero), (zero, zero, zero, zero, zero)
    for row in range(rows[0], rows[1]):
        t, end, count = table.starts[row], table.starts[row + 1], table.count[row]
        dy = first + (row - rows[0]) * pitch * lanes
        while table.columns == 3 and t + 9 <= end:
            _three_rows(planes, origin, dense, dy, table, t, count, totals, target, three)
            t += 9
        while table.columns == 5 and t + 15 <= end:
            _three_rows(planes, origin, dense, dy, table, t, count, totals, target, five)
            t += 15
        while t < end:
            _four_taps(planes, origin, dense, dy, table, t, end, count, totals, target)
            t += 4
