"""Activation, depthwise and pointwise convolution as one kernel, real and 1-bit, forward and backward.

This is where a search spends its time: four of the seven candidates of an edge are made of it. Arrays
are in lanes (see `lanes`), so every number of a weight meets whole vectors. A task is a block of images: the
activated input and the depthwise result live in scratch memory and are computed anew in the backward,
which is cheaper than to write and read them.

real     x -> norm -> max(., 0) -> depthwise w ----------------> pointwise v
1-bit    x -> norm -> sign ------> depthwise sign w, times β -> sign -> pointwise sign v, times β

Sums of signs are integers, and β is applied to the finished sum. A unit 1-bit in weights and inputs is computed in
bits where `bits` can, otherwise with signs as floats, of which sums are exact up to 2²⁴. norm is
(x - mean) · scale + shift for each channel: the batch norm that stands before, if there is one.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bnas.fused.kernels.bits import (
    bit_table,
    block_bits,
    fill_bits,
    forward_in_bits,
    spread_rows,
    spread_signs,
    spread_sums,
)
from bnas.fused.kernels.depthwise import correlate, tap_sums
from bnas.fused.kernels.lanes import CHUNK, affine, split
from bnas.fused.kernels.pointwise import (
    about_the_mean,
    centre_on_first,
    pointwise,
    pointwise_sums,
    pointwise_with_moments,
)
from bnas.fused.kernels.stripes import clear, move_up, stripes
from bnas.fused.kernels.tables import reading_table, returning_table
from bnas.kernels.buffers import empty
from bnas.kernels.jit import jit
from bnas.kernels.planes import ready
from bnas.kernels.registers import add_all
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import (
    broadcast,
    clamp,
    lane_count,
    lane_sum,
    load,
    multiply_add,
    ravel,
    select_greater,
    store,
)
from bnas.kernels.windows import fitted


class Unit(NamedTuple):
    """The weights of one unit of `separable`, all flat.

    Attributes:
        depthwise: (C T,), real, or signs; T = 1 and ones for a pointwise convolution alone.
        inner: (C,), β of a 1-bit depthwise convolution; empty if no sign follows it.
        pointwise: (Cout C,), real, or signs.
        scale: (Cout,), β of a 1-bit pointwise convolution; empty for ones.
        binary: whether the input's activation is sign, not max(., 0).
    """

    depthwise: np.ndarray
    inner: np.ndarray
    pointwise: np.ndarray
    scale: np.ndarray
    binary: bool


@jit
def _binarise(w, signs, scale):
    row = w.size // scale.size
    for o in range(scale.size):
        total = 0.0
        for i in range(o * row, (o + 1) * row):
            signs[i] = 1 if w[i] > 0 else -1
            total += abs(w[i])
        scale[o] = total / row


def signs_and_scale(w):
    """w (Cout, ...) -> its signs, flat, and β (Cout,) in closed form: mean|w| (Eq. 4.23)."""
    signs, scale = np.empty(w.size, w.dtype), np.empty(len(w), w.dtype)
    _binarise(ready(w).reshape(-1), signs, scale)
    return signs, scale


def real_unit(depthwise, pointwise):
    """The Unit of real weights (C, 1, Kh, Kw), or None for none, and (Cout, C, 1, 1)."""
    nothing = np.empty(0, pointwise.dtype)
    if depthwise is None:
        depthwise = np.ones(pointwise.shape[1], pointwise.dtype)
    return Unit(ready(depthwise).reshape(-1), nothing, ready(pointwise).reshape(-1), nothing, False)


def binary_unit(depthwise, pointwise, binary_weights=True):
    """The Unit of 1-bit inputs and latent weights, of the shapes as in `real_unit`: signs and scales.

    Without `binary_weights` the weights are real and the scales ones.
    """
    if not binary_weights:
        unit = real_unit(depthwise, pointwise)
        inner = unit.inner if depthwise is None else np.ones(len(depthwise), pointwise.dtype)
        return unit._replace(inner=inner, binary=True)
    if depthwise is None:
        ones, inner = np.ones(pointwise.shape[1], pointwise.dtype), np.empty(0, pointwise.dtype)
    else:
        ones, inner = signs_and_scale(depthwise)
    return Unit(ones, inner, *signs_and_scale(pointwise), True)


@lru_cache(maxsize=256)
def _tables(size, window):
    """Of a Window over images of `size`: the Window, fitted; output size; (reading, returning table, Stripes)."""
    window = fitted(window, (1, 1, *size), "a fused unit")
    out_size = window.out_size(size)
    tables = reading_table(size, window), returning_table(size, window)
    return window, out_size, (*tables, stripes(size, out_size, *tables))


@jit(forceinline=True)
def _odd(rows, pitch):
    """Pixels of a scratch plane: planes of a power of two would all lie in the same few lines of a cache."""
    return rows * pitch | 1


@jit(forceinline=True)
def _magnitude(x, zero):
    return select_greater(x, zero, x, zero - x)


@jit(allocates=False)
def _activate(x, at, rows, norm, c, binary, table, planes, target):
    """The activated rows (first, end) of the plane x[at...] to the plane planes[target...], inside its margins."""
    lanes = lane_count(x)
    zero, one = broadcast(x.dtype.type(0)), broadcast(x.dtype.type(1))
    middle, factor, offset = affine(norm, c)
    for row in range(rows[0], rows[1]):
        source, to = (
            at + row * table.width * lanes,
            target + (row * table.pitch + table.left) * lanes,
        )
        for i in range(0, table.width * lanes, lanes):
            value = multiply_add(load(x, source + i) - middle, factor, offset)
            if binary:
                value = select_greater(value, zero, one, zero - one)
            else:
                value = clamp(value, x.dtype.type(0))
            store(planes, to + i, value)


@jit(allocates=False)
def _signs(d, at, pixels, scale, out):
    """out = sign(d scale) for a dense plane."""
    lanes = lane_count(d)
    zero, one, by = broadcast(d.dtype.type(0)), broadcast(d.dtype.type(1)), broadcast(scale)
    for i in range(at, at + pixels * lanes, lanes):
        store(out, i, select_greater(load(d, i) * by, zero, one, zero - one))


@jit
def _forward_blocks(x, norm, unit, table, stripes, z, sums, squares, first, end):
    lanes, outputs, width = lane_count(x), z.shape[1], z.shape[3]
    x, out = ravel(x), ravel(z)
    sums, squares = ravel(sums), ravel(squares)
    channels, image, pixels = norm[0].size, table.height * table.width, table.outputs
    taps, row = unit.depthwise.size // channels, table.pitch * lanes
    plane = _odd(stripes.output_rows, width) * lanes
    padded_plane = _odd(stripes.input_rows, table.pitch) * lanes
    dense, padded = np.empty(channels * plane, x.dtype), np.empty(channels * padded_plane, x.dtype)
    centres = np.empty(outputs * lanes, x.dtype)
    clear(padded)  # for the columns left and right, which nobody writes
    for block in range(first, end):
        above, active, at = 0, 0, block * outputs * lanes
        moments = centres, sums, squares, at
        for s in range(stripes.each.size):
            stripe = stripes.each[s]
            rows = stripe.top, stripe.end
            since, until = stripe.since, stripe.until
            together = (rows[1] - rows[0]) * width
            move_up(padded, padded_plane, table.pitch, above, since, active)
            fresh = max(active, since), until
            for c in range(channels):
                source = (block * channels + c) * image * lanes
                into = c * padded_plane - since * row
                _activate(x, source, fresh, norm, c, unit.binary, table, padded, into)
                correlate(padded, into, table, rows, unit.depthwise, c * taps, dense, c * plane)
                if unit.inner.size:
                    _signs(dense, c * plane, together, unit.inner[c], dense)
            above, active = since, until
            if s == 0:
                centre_on_first(dense, plane, channels, unit.pointwise, outputs, moments)
            pointwise_with_moments(
                dense,
                plane,
                channels,
                unit.pointwise,
                unit.scale,
                outputs,
                together,
                (out, at * pixels + rows[0] * width * lanes, pixels * lanes),
                moments,
            )
        about_the_mean(pixels, outputs, moments)


def separable(x, norm, unit, window):
    """One unit: x (blocks, C, H, W, L) -> (z (blocks, Cout, Ho, Wo, L), sums, squares).

    norm: (mean, scale, shift), each (C,), the mean float64, of the norm before. unit: a Unit. window: the
    Window of the depthwise convolution, of a kernel (1, 1) where there is none. sums and squares (blocks,
    Cout, L): the `moments` of z before the last β.
    """
    blocks, channels, height, width, lanes = x.shape
    window, out_size, (reading, _, stripes) = _tables((height, width), window)
    bits = bit_table(unit, (height, width), window, lanes)
    outputs, taps = unit.pointwise.size // channels, unit.depthwise.size // channels
    z = empty((blocks, outputs, *out_size, lanes), x.dtype)
    sums, squares = np.empty((2, blocks, outputs, lanes))
    if bits.kernel:
        forward, tables = forward_in_bits, (bits,)
    else:
        forward, tables = _forward_blocks, (reading, stripes)
    work = z.size * (channels + taps)
    run_tasks(forward, work, blocks, ready(x), norm, unit, *tables, z, sums, squares)
    return z, sums, squares


_NO_SUMS = np.empty((2, 0, 0, 0))  # where none are wanted: the kernel takes an array

# The derivative that stands for an activation's in the backward: that of max(., 0), and those of the
# surrogates of sign (see `bnas.functional.binarise`).
SLOPES = {"relu": 0, "clip": 1, "identity": 2, "polynomial": 3}


@jit(forceinline=True)
def _sloped(slope, x, dy, zero, one):
    """dy times the derivative of the activation at x."""
    if slope == 0:
        return select_greater(x, zero, dy, zero)
    if slope == 1:
        return select_greater(_magnitude(x, zero), one, zero, dy)
    if slope == 3:
        rest = one - _magnitude(x, zero)
        return select_greater(rest, zero, dy * (rest + rest), zero)  # 0 also if dy is infinite
    return dy


@jit(allocates=False)
def _through_norm(dy, z, at, pixels, mean, inverse, factor, offset, slope, scale, out, target):
    """out = (factor dy - offset - slope (z - mean) inverse) scale, one plane; see `lanes.norm_gradient`."""
    near, rest = split(mean, z.dtype.type)
    centre, unit, by = broadcast(near), broadcast(inverse), broadcast(scale)
    offset = offset - broadcast(rest) * unit * slope
    for i in range(0, pixels * lane_count(z), lane_count(z)):
        value = load(dy, at + i) * factor - offset - (load(z, at + i) - centre) * unit * slope
        store(out, target + i, value * by)


@jit(allocates=False)
def _through_sign(d, at, scale, slope, rows, columns, pitch, dy, target):
    """dy, in rows of a padded plane, times the derivative of sign at d scale, times the scale."""
    lanes = lane_count(d)
    zero, one, by = broadcast(d.dtype.type(0)), broadcast(d.dtype.type(1)), broadcast(scale)
    for _ in range(rows):
        for i in range(0, columns * lanes, lanes):
            value = _sloped(slope, load(d, at + i) * by, load(dy, target + i), zero, one)
            store(dy, target + i, value * by)
        at += columns * lanes
        target += pitch * lanes


@jit(allocates=False)
def _through_activation(x, at, pixels, norm, c, slope, dy, dx, add, sums, place):
    """dx (+)= dy times the derivative of the activation at the normed x, one plane of each.

    sums, unless empty: at `place` of the first and of the second half are added Σ dx and Σ dx (x - mean).
    """
    lanes = lane_count(x)
    zero, one = broadcast(x.dtype.type(0)), broadcast(x.dtype.type(1))
    middle, factor, offset = affine(norm, c)
    _, rest = split(norm[0][c], x.dtype.type)
    for begin in range(0, pixels, CHUNK):
        total, dot = zero, zero
        for i in range(begin * lanes, min(begin + CHUNK, pixels) * lanes, lanes):
            away = load(x, at + i) - middle
            value = _sloped(slope, multiply_add(away, factor, offset), load(dy, i), zero, one)
            if add:
                value = value + load(dx, at + i)
            store(dx, at + i, value)
            total, dot = total + value, multiply_add(value, away, dot)
        if sums.size:
            dot = dot - broadcast(rest) * total
            add_all(sums, place, sums.size // 2, (total, dot))


@jit
def _backward_blocks(
    dy,
    z,
    after,
    x,
    norm,
    unit,
    forward,
    backward,
    stripes,
    positions,
    slope,
    dx,
    add,
    sums,
    ddepthwise,
    dpointwise,
    first,
    end,
):
    dy, z = ravel(dy), ravel(z)
    z_mean, z_inverse = after[0], after[1]
    a, e, f = ravel(after[2]), ravel(after[3]), ravel(after[4])
    x, dx, sums = ravel(x), ravel(dx), ravel(sums)
    ddepthwise, dpointwise = ravel(ddepthwise), ravel(dpointwise)
    lanes, channels, outputs = lane_count(x), norm[0].size, z_mean.size
    taps, learns = unit.depthwise.size // channels, dpointwise.size > 0
    image, pixels, width = forward.height * forward.width, forward.outputs, backward.width
    phases = backward.first.size // forward.height
    row, returned_row = forward.pitch * lanes, backward.pitch * lanes
    plane = _odd(stripes.output_rows, width) * lanes
    padded_plane = _odd(stripes.input_rows, forward.pitch) * lanes
    returned_plane = _odd(stripes.gradient_rows, backward.pitch) * lanes
    dz, dense = np.empty(outputs * plane, x.dtype), np.empty(channels * plane, x.dtype)
    signs = np.empty(channels * plane if unit.inner.size else 0, x.dtype)
    padded = np.empty(channels * padded_plane, x.dtype)
    returned = np.empty(channels * returned_plane, x.dtype)
    spread = np.empty(image * lanes, x.dtype)
    bits = block_bits(positions, unit, channels, True)
    middle = signs if unit.inner.size else dense
    by_tap = np.empty(channels * taps * lanes, x.dtype)
    by_pair = np.empty(outputs * channels * lanes, x.dtype)
    clear(padded)  # for the columns left and right, which nobody writes
    clear(returned)
    for block in range(first, end):
        above, active, low, done = 0, 0, 0, 0
        clear(by_tap)
        clear(by_pair)
        if positions.kernel:
            fill_bits(x, block * channels * image * lanes, norm, unit, positions, bits)
        for s in range(stripes.each.size):
            stripe = stripes.each[s]
            rows = stripe.top, stripe.end
            together, skipped = (rows[1] - rows[0]) * width, rows[0] * width * lanes
            for o in range(outputs):
                at = block * outputs + o
                _through_norm(
                    dy,
                    z,
                    at * pixels * lanes + skipped,
                    together,
                    z_mean[o],
                    z_inverse[o],
                    load(a, at * lanes),
                    load(e, at * lanes),
                    load(f, at * lanes),
                    unit.scale[o] if unit.scale.size else x.dtype.type(1),
                    dz,
                    o * plane,
                )
            move_up(padded, padded_plane, forward.pitch, above, stripe.since, active)
            above, fresh = stripe.since, (max(active, stripe.since), stripe.until)
            active = stripe.until
            for c in range(channels if learns or unit.inner.size else 0):
                at, into = (block * channels + c) * image * lanes, c * padded_plane - above * row
                if positions.kernel:
                    outs = rows[0] * width, rows[1] * width
                    if learns:
                        spread_rows(bits, c, positions, fresh, forward, padded, into)
                        spread_signs(bits, c, positions, outs, middle, c * plane)
                    if unit.inner.size:
                        spread_sums(bits, c, positions, outs, dense, c * plane)
                    continue
                _activate(x, at, fresh, norm, c, unit.binary, forward, padded, into)
                correlate(padded, into, forward, rows, unit.depthwise, c * taps, dense, c * plane)
                if unit.inner.size and learns:
                    _signs(dense, c * plane, together, unit.inner[c], signs)
            if learns:
                pointwise_sums(
                    dz,
                    middle,
                    plane,
                    outputs,
                    channels,
                    together,
                    by_pair,
                )
            move_up(returned, returned_plane, backward.pitch, low, stripe.low, rows[0])
            low = stripe.low
            start = (rows[0] - low) * returned_row + backward.left * lanes
            pointwise(
                dz,
                plane,
                outputs,
                unit.pointwise,
                1,
                channels,
                channels,
                (rows[1] - rows[0], width),
                returned,
                start,
                backward.pitch,
                returned_plane,
            )
            fresh = done * phases, stripe.done * phases
            for c in range(channels):
                at = c * returned_plane + start
                if unit.inner.size:
                    _through_sign(
                        dense,
                        c * plane,
                        unit.inner[c],
                        slope,
                        rows[1] - rows[0],
                        width,
                        backward.pitch,
                        returned,
                        at,
                    )
                if learns:
                    into = c * padded_plane - above * row
                    tap_sums(
                        padded,
                        into,
                        returned,
                        at,
                        backward.pitch,
                        forward,
                        rows,
                        by_tap,
                        c * taps * lanes,
                    )
                at = c * returned_plane - low * returned_row
                correlate(returned, at, backward, fresh, unit.depthwise, c * taps, spread, 0)
                at = ((block * channels + c) * image + done * forward.width) * lanes
                known = (stripe.done - done) * forward.width
                place = (block * channels + c) * lanes
                _through_activation(x, at, known, norm, c, slope, spread, dx, add, sums, place)
            done = stripe.done
        if learns:
            for i in range(channels * taps):
                ddepthwise[block * channels * taps + i] = lane_sum(load(by_tap, i * lanes))
            for i in range(outputs * channels):
                dpointwise[block * outputs * channels + i] = lane_sum(load(by_pair, i * lanes))


def separable_gradients(dy, z, after, x, norm, unit, window, slope, learns, dx=None, sums=None):
    """Backward of `separable` and of a batch norm after it.

    dy, z (blocks, Cout, Ho, Wo, L): the gradient after the norm, and what the unit gave. after:
    (mean, inverse (Cout,), a, e, f (blocks, Cout, L)) of `norm_gradient`. x, norm, unit, window: as they went
    forward. slope: "relu", or a surrogate of sign, "clip", "identity" or "polynomial". learns:
    whether gradients of the weights are wanted. dx: where to add the gradient, or None for a new array.
    sums: float64 (2, blocks, C, L) to be filled with the `lane_sums` of dx and x, about the mean of `norm`, for
    the backward of that norm, or None.

    Returns (dx, the gradient for the norm's output before the activation, like x; d depthwise (C, T) and
    d pointwise (Cout, C), or None).
    """
    blocks, channels = x.shape[:2]
    outputs, taps = z.shape[1], unit.depthwise.size // channels
    add, dx = dx is not None, empty(x.shape, x.dtype) if dx is None else dx
    kept = blocks if learns else 0
    ddepthwise, dpointwise = np.empty((kept, channels, taps)), np.empty((kept, outputs, channels))
    window, _, tables = _tables(x.shape[2:4], window)
    sums = _NO_SUMS if sums is None else sums
    sums.fill(0)
    run_tasks(
        _backward_blocks,
        z.size * (channels + taps) * (3 if learns else 1),
        blocks,
        ready(dy),
        ready(z),
        tuple(map(ready, after)),
        ready(x),
        norm,
        unit,
        *tables,
        bit_table(unit, x.shape[2:4], window, x.shape[4]),
        SLOPES[slope],
        dx,
        add,
        sums,
        ddepthwise,
        dpointwise,
    )
    if not learns:
        return dx, None, None
    return dx, *(part.sum(axis=0).astype(x.dtype) for part in (ddepthwise, dpointwise))
