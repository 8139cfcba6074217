"""Activation, depthwise and pointwise convolution as one kernel, real and 1-bit, forward and backward.

This is where a search spends its time: four of the seven candidates of an edge are made of it. Arrays
are in lanes (see `lanes`), so every number of a weight meets whole vectors. A task is a block of images: the
activated input and the depthwise result live in scratch memory and are computed anew in the backward,
which is cheaper than to write and read them.

real     x -> norm -> max(., 0) -> depthwise w ----------------> pointwise v
1-bit    x -> norm -> sign ------> depthwise sign w, times β -> sign -> pointwise sign v, times β

Sums of signs are integers, exact in floats up to 2²⁴, and β is applied to the finished sum. norm is
(x - mean) · scale + shift for each channel: the batch norm that stands before, if there is one.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bnas.fused.kernels.depthwise import correlate, tap_sums
from bnas.fused.kernels.lanes import plane_moments, split
from bnas.fused.kernels.pointwise import pointwise, pointwise_sums
from bnas.fused.kernels.tables import reading_table, returning_table
from bnas.kernels.buffers import empty
from bnas.kernels.jit import jit
from bnas.kernels.planes import ready
from bnas.kernels.threads import run_tasks
from bnas.kernels.vectors import (
    broadcast,
    clamp,
    load,
    multiply_add,
    select_greater,
    store,
)
from bnas.kernels.windows import fitted

GROUP = 4  # channels that go through a backward together
# A literal 0 or 1 would be a type, and compiled for, of its own.
START, NEXT = np.int64(0), np.int64(1)


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
    """(size of the output, reading table, returning table) of a Window over images of `size`."""
    window = fitted(window, (1, 1, *size), "a fused unit")
    return window.out_size(size), reading_table(size, window), returning_table(size, window)


@jit(forceinline=True)
def _magnitude(x, zero):
    return select_greater(x, zero, x, zero - x)


@jit(forceinline=True)
def _affine(norm, c):
    """Vectors of channel c of a norm, (x - middle) factor + offset, see `lanes.split`."""
    near, rest = split(norm[0][c], norm[1].dtype.type)
    return broadcast(near), broadcast(norm[1][c]), broadcast(norm[2][c] - norm[1][c] * rest)


@jit(allocates=False)
def _activate(x, at, norm, c, binary, table, planes, target):
    """The activated plane x[at...], with margins (left as they are), to planes[target...]."""
    lanes = 64 // x.itemsize
    zero, one = broadcast(x.dtype.type(0)), broadcast(x.dtype.type(1))
    middle, factor, offset = _affine(norm, c)
    for row in range(table.height):
        to = target + (row * table.pitch + table.left) * lanes
        for i in range(0, table.width * lanes, lanes):
            value = multiply_add(load(x, at + i) - middle, factor, offset)
            if binary:
                value = select_greater(value, zero, one, zero - one)
            else:
                value = clamp(value, x.dtype.type(0))
            store(planes, to + i, value)
        at += table.width * lanes


@jit(allocates=False)
def _signs(d, at, pixels, scale, out):
    """out = sign(d scale) for a dense plane."""
    lanes = 64 // d.itemsize
    zero, one, by = broadcast(d.dtype.type(0)), broadcast(d.dtype.type(1)), broadcast(scale)
    for i in range(at, at + pixels * lanes, lanes):
        store(out, i, select_greater(load(d, i) * by, zero, one, zero - one))


@jit(allocates=False)
def _clear(array):
    for i in range(array.size):
        array[i] = 0


@jit
def _forward_blocks(x, norm, unit, table, z, sums, squares, first, end):
    _, outputs, _, _, lanes = z.shape
    source, out, channels = x.reshape(-1), z.reshape(-1), norm[0].size
    totals, spreads = sums.reshape(-1), squares.reshape(-1)
    taps = unit.depthwise.size // channels
    image, pixels = table.height * table.width * lanes, table.outputs
    plane = (pixels | 1) * lanes
    padded, dense = np.empty(table.plane * lanes, x.dtype), np.empty(channels * plane, x.dtype)
    _clear(padded)  # for its margins, which nobody writes
    for block in range(first, end):
        for c in range(channels):
            at = (block * channels + c) * image
            _activate(source, at, norm, c, unit.binary, table, padded, START)
            correlate(padded, START, table, unit.depthwise, c * taps, dense, c * plane)
            if unit.inner.size:
                _signs(dense, c * plane, pixels, unit.inner[c], dense)
        start = block * outputs * pixels * lanes
        pointwise(
            dense,
            plane,
            unit.pointwise,
            channels,
            NEXT,
            channels,
            outputs,
            NEXT,
            pixels,
            out,
            start,
            pixels,
            pixels * lanes,
        )
        for o in range(outputs):
            at = (block * outputs + o) * lanes
            by = unit.scale[o] if unit.scale.size else x.dtype.type(1)
            plane_moments(
                out,
                start + o * pixels * lanes,
                pixels,
                by,
                unit.scale.size > 0,
                totals,
                spreads,
                at,
            )


def separable(x, norm, unit, window):
    """One unit: x (blocks, C, H, W, L) -> (z (blocks, Cout, Ho, Wo, L), sums, squares).

    norm: (mean, scale, shift), each (C,), the mean float64, of the norm before. unit: a Unit. window: the
    Window of the depthwise convolution, of a kernel (1, 1) where there is none. sums and squares (blocks,
    Cout, L): the `moments` of z before the last β.
    """
    blocks, channels, height, width, lanes = x.shape
    out_size, table, _ = _tables((height, width), window)
    outputs, taps = unit.pointwise.size // channels, unit.depthwise.size // channels
    z = empty((blocks, outputs, *out_size, lanes), x.dtype)
    sums, squares = np.empty((2, blocks, outputs, lanes))
    run_tasks(
        _forward_blocks,
        z.size * (channels + taps),
        blocks,
        ready(x),
        norm,
        unit,
        table,
        z,
        sums,
        squares,
    )
    return z, sums, squares


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
    for i in range(0, pixels * (64 // z.itemsize), 64 // z.itemsize):
        value = load(dy, at + i) * factor - offset - (load(z, at + i) - centre) * unit * slope
        store(out, target + i, value * by)


@jit(allocates=False)
def _through_sign(d, at, scale, slope, rows, columns, pitch, dy, target):
    """dy, in rows of a padded plane, times the derivative of sign at d scale, times the scale."""
    lanes = 64 // d.itemsize
    zero, one, by = broadcast(d.dtype.type(0)), broadcast(d.dtype.type(1)), broadcast(scale)
    for _ in range(rows):
        for i in range(0, columns * lanes, lanes):
            value = _sloped(slope, load(d, at + i) * by, load(dy, target + i), zero, one)
            store(dy, target + i, value * by)
        at += columns * lanes
        target += pitch * lanes


@jit(allocates=False)
def _through_activation(x, at, pixels, norm, c, slope, dy, dx, add):
    """dx (+)= dy times the derivative of the activation at the normed x, one plane of each."""
    lanes = 64 // x.itemsize
    zero, one = broadcast(x.dtype.type(0)), broadcast(x.dtype.type(1))
    middle, factor, offset = _affine(norm, c)
    for i in range(0, pixels * lanes, lanes):
        normed = multiply_add(load(x, at + i) - middle, factor, offset)
        value = _sloped(slope, normed, load(dy, i), zero, one)
        if add:
            value = value + load(dx, at + i)
        store(dx, at + i, value)


@jit
def _backward_blocks(
    gradient, x, norm, unit, forward, backward, slope, dx, add, ddepthwise, dpointwise, first, end
):
    (dy, z), (a, e, f), z_mean, z_inverse = gradient
    dy, z, a, e, f = dy.reshape(-1), z.reshape(-1), a.reshape(-1), e.reshape(-1), f.reshape(-1)
    x, dx = x.reshape(-1), dx.reshape(-1)
    ddepthwise, dpointwise = ddepthwise.reshape(-1), dpointwise.reshape(-1)
    lanes, channels, outputs = 64 // x.itemsize, norm[0].size, z_mean.size
    taps, learns = unit.depthwise.size // channels, dpointwise.size > 0
    image, pixels = forward.height * forward.width * lanes, forward.outputs
    plane, padded_plane = (pixels | 1) * lanes, backward.plane * lanes
    dz = np.empty(outputs * plane, x.dtype)
    padded = np.empty(GROUP * forward.plane * lanes, x.dtype)
    dense = np.empty(GROUP * plane, x.dtype)
    signs = np.empty(GROUP * plane if unit.inner.size else 0, x.dtype)
    returned = np.empty(GROUP * padded_plane, x.dtype)
    _clear(padded)  # for the margins, which nobody writes
    _clear(returned)
    spread, totals = np.empty(image, x.dtype), np.empty(taps * lanes, x.dtype)
    for block in range(first, end):
        for o in range(outputs):
            at = block * outputs + o
            by = unit.scale[o] if unit.scale.size else x.dtype.type(1)
            _through_norm(
                dy,
                z,
                at * pixels * lanes,
                pixels,
                z_mean[o],
                z_inverse[o],
                load(a, at * lanes),
                load(e, at * lanes),
                load(f, at * lanes),
                by,
                dz,
                o * plane,
            )
        for c in range(0, channels, GROUP):
            together = min(GROUP, channels - c)
            for k in range(together if learns or unit.inner.size else 0):
                at, into = (block * channels + c + k) * image, k * forward.plane * lanes
                _activate(x, at, norm, c + k, unit.binary, forward, padded, into)
                correlate(padded, into, forward, unit.depthwise, (c + k) * taps, dense, k * plane)
                if unit.inner.size and learns:
                    _signs(dense, k * plane, pixels, unit.inner[c + k], signs)
            if learns:
                pointwise_sums(
                    dz,
                    signs if unit.inner.size else dense,
                    plane,
                    outputs,
                    together,
                    pixels,
                    dpointwise,
                    block * outputs * channels + c,
                    channels,
                )
            pointwise(
                dz,
                plane,
                unit.pointwise[c:],
                NEXT,
                channels,
                outputs,
                together,
                backward.height,
                backward.width,
                returned,
                backward.left * lanes,
                backward.pitch,
                padded_plane,
            )
            for k in range(together):
                at = (block * channels + c + k) * image
                start = k * padded_plane + backward.left * lanes
                if unit.inner.size:
                    _through_sign(
                        dense,
                        k * plane,
                        unit.inner[c + k],
                        slope,
                        backward.height,
                        backward.width,
                        backward.pitch,
                        returned,
                        start,
                    )
                if learns:
                    tap_sums(
                        padded,
                        k * forward.plane * lanes,
                        returned,
                        start,
                        backward.pitch,
                        forward,
                        totals,
                        ddepthwise,
                        (block * channels + c + k) * taps,
                    )
                correlate(
                    returned, k * padded_plane, backward, unit.depthwise, (c + k) * taps, spread, 0
                )
                _through_activation(x, at, image // lanes, norm, c + k, slope, spread, dx, add)


def separable_gradients(dy, z, after, x, norm, unit, window, slope, learns, dx=None):
    """Backward of `separable` and of a batch norm after it.

    dy, z (blocks, Cout, Ho, Wo, L): the gradient after the norm, and what the unit gave. after:
    (mean, inverse (Cout,), a, e, f (blocks, Cout, L)) of `norm_gradient`. x, norm, unit, window: as they went
    forward. slope: "relu", or a surrogate of sign, "clip", "identity" or "polynomial". learns:
    whether gradients of the weights are wanted. dx: where to add the gradient, or None for a new array.

    Returns (dx, the gradient for the norm's output before the activation, like x; d depthwise (C, T) and
    d pointwise (Cout, C), or None).
    """
    blocks, channels = x.shape[:2]
    outputs, taps = z.shape[1], unit.depthwise.size // channels
    add, dx = dx is not None, empty(x.shape, x.dtype) if dx is None else dx
    kept = blocks if learns else 0
    ddepthwise, dpointwise = np.zeros((kept, channels, taps)), np.zeros((kept, outputs, channels))
    _, forward, backward = _tables(x.shape[2:4], window)
    gradient = (ready(dy), ready(z)), tuple(map(ready, after[2:])), *after[:2]
    run_tasks(
        _backward_blocks,
        z.size * (channels + taps) * (3 if learns else 1),
        blocks,
        gradient,
        ready(x),
        norm,
        unit,
        forward,
        backward,
        SLOPES[slope],
        dx,
        add,
        ddepthwise,
        dpointwise,
    )
    if not learns:
        return dx, None, None
    return dx, *(part.sum(axis=0).astype(x.dtype) for part in (ddepthwise, dpointwise))
