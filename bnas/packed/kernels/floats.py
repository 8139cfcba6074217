"""A real-valued image in a packed network: convolution, pooling, sums and the classifier.

The stem, the convolutions at the inputs of a cell, pooling and the sums in the nodes compute with float32.
All kernels write into buffers that they are given and allocate nothing, and each runs on one thread: a packed
network gives each thread images of its own.

Floats stand in panels of 32 pixels: (panels, channels, 32), flat, the last panel filled up. A 1×1 convolution
reads its panels as they lie there, and no two channels are a power of two apart, which would give them the same
places in the cache. Of an argument x, `x_at` is the index at which the first panel begins and `x_pitch` the
distance from one panel to the next, so that a part of the channels is the same buffer with another start. `add`
is 1 to add to what the target holds, and 0 to replace it.
"""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.panels import PANEL, ROWS, fill_panel
from bnas.kernels.vectors import (
    broadcast,
    clamp,
    element,
    larger,
    load,
    load_even,
    load_first,
    maximum,
    multiply_add,
    select_unordered,
    store,
    store_first,
)


@jit(forceinline=True)
def put(y, at, left, right, add):
    """Store 32 floats, or add them to what is there."""
    if add:
        left, right = load(y, at) + left, load(y, at + 16) + right
    store(y, at, left)
    store(y, at + 16, right)


@jit(forceinline=True)
def _add_product(rows, x0, x1, tiles, w):
    """32 pixels times the weights of four output channels, from tiles[w] on, added to their sums."""
    r0, r1, r2, r3 = rows
    w0, w1 = broadcast(element(tiles, w)), broadcast(element(tiles, w + 1))
    w2, w3 = broadcast(element(tiles, w + 2)), broadcast(element(tiles, w + 3))
    return (
        (multiply_add(x0, w0, r0[0]), multiply_add(x1, w0, r0[1])),
        (multiply_add(x0, w1, r1[0]), multiply_add(x1, w1, r1[1])),
        (multiply_add(x0, w2, r2[0]), multiply_add(x1, w2, r2[1])),
        (multiply_add(x0, w3, r3[0]), multiply_add(x1, w3, r3[1])),
    )


@jit(forceinline=True)
def _scale_row(sums, o, scale, shift, y, at):
    """y = scale sum + shift for output channel o, if there is one; each step rounded by itself."""
    if o < scale.size:
        a, b = broadcast(scale[o]), broadcast(shift[o])
        store(y, at + o * PANEL, sums[0] * a + b)
        store(y, at + o * PANEL + 16, sums[1] * a + b)


@jit(forceinline=True)
def _scale_rows(rows, o, scale, shift, y, at):
    _scale_row(rows[0], o, scale, shift, y, at)
    _scale_row(rows[1], o + 1, scale, shift, y, at)
    _scale_row(rows[2], o + 2, scale, shift, y, at)
    _scale_row(rows[3], o + 3, scale, shift, y, at)


@jit(allocates=False)
def _multiply(panel, at, length, floor, tiles, scale, shift, y, target):
    """32 pixels, panel (length, 32) from index `at` on, times all weights, as `tiled`; scaled to y[target...].

    Two tiles at a time, whose sums stay in registers to the end.
    """
    zero = broadcast(np.float32(0))
    nothing = ((zero, zero), (zero, zero), (zero, zero), (zero, zero))
    for o in range(0, scale.size - ROWS, 2 * ROWS):
        upper, lower, w = nothing, nothing, o * length
        for k in range(length):
            x0 = clamp(load(panel, at + PANEL * k), floor)
            x1 = clamp(load(panel, at + PANEL * k + 16), floor)
            upper = _add_product(upper, x0, x1, tiles, w + ROWS * k)
            lower = _add_product(lower, x0, x1, tiles, w + ROWS * (length + k))
        _scale_rows(upper, o, scale, shift, y, target)
        _scale_rows(lower, o + ROWS, scale, shift, y, target)
    if (scale.size - 1) // ROWS % 2 == 0:  # an odd number of tiles
        rows, o = nothing, (scale.size - 1) // ROWS * ROWS
        for k in range(length):
            x0 = clamp(load(panel, at + PANEL * k), floor)
            x1 = clamp(load(panel, at + PANEL * k + 16), floor)
            rows = _add_product(rows, x0, x1, tiles, o * length + ROWS * k)
        _scale_rows(rows, o, scale, shift, y, target)


@jit(allocates=False)
def pointwise(x, x_at, x_pitch, inputs, floor, tiles, scale, shift, panels, y, y_at, y_pitch):
    """1×1 convolution, then scale and shift. Inputs are at least `floor`: 0 for a ReLU, or -inf."""
    for i in range(panels):
        source, target = x_at + i * x_pitch, y_at + i * y_pitch
        _multiply(x, source, inputs, floor, tiles, scale, shift, y, target)


@jit(allocates=False)
def window_conv(planes, site, where, floor, tiles, scale, shift, y, y_at, y_pitch, panel):
    """Convolution of planes with a margin, (channels, plane), to panels; else as `pointwise`."""
    for i in range(site.classes.shape[0]):
        fill_panel(planes, 0, site.base, site.steps, i * PANEL, where, panel)
        target = y_at + i * y_pitch
        _multiply(panel, 0, where.size, floor, tiles, scale, shift, y, target)


@jit(allocates=False)
def pick_conv(x, x_at, runs, step, inputs, floor, tiles, scale, shift, y, y_at, y_pitch, panel):
    """1×1 convolution with a stride, of which no output sees the margin; else as `pointwise`.

    runs (panels, n, 3), step: for each panel of outputs the runs of its pixels, see `copy_runs`.
    """
    for i in range(runs.shape[0]):
        for c in range(inputs):
            copy_runs(x, x_at + c * PANEL, runs[i], step, panel, c * PANEL)
        _multiply(panel, 0, inputs, floor, tiles, scale, shift, y, y_at + i * y_pitch)


@jit(allocates=False)
def whole_conv(x, x_at, x_pitch, inputs, pixels, floor, weights, scale, shift, y, y_at, sums):
    """A convolution whose window is the whole image, with one pixel of results, as Linear is; else as `pointwise`.

    weights (Cout / 16 K 16,), flat, K = inputs pixels: 16 output channels at a time, filled up; sums (16,) is
    scratch.
    """
    at = 0
    for o in range(0, scale.size, 16):
        total = broadcast(np.float32(0))
        for c in range(inputs):
            for p in range(pixels):
                source = x_at + p // PANEL * x_pitch + c * PANEL
                value = max(x[source + p % PANEL], floor)
                total = multiply_add(broadcast(value), load(weights, at), total)
                at += 16
        store(sums, 0, total)
        for i in range(min(16, scale.size - o)):
            y[y_at + (o + i) * PANEL] = sums[i] * scale[o + i] + shift[o + i]


@jit(forceinline=True)
def _pick(x, at, step):
    return load(x, at) if step == 1 else load_even(x, at)


@jit(allocates=False)
def copy_runs(x, at, runs, step, y, target):
    """Copy runs of pixels, int64 (n, 3): from every `step`-th (1 or 2) of x from runs[i, 0] on, to y from
    runs[i, 1] on, runs[i, 2] of them, at most 16."""
    for i in range(runs.shape[0]):
        value, there, count = _pick(x, at + runs[i, 0], step), target + runs[i, 1], runs[i, 2]
        if count == 16:
            store(y, there, value)
        else:
            store_first(y, there, value, count)


@jit(allocates=False)
def spread_panels(x, x_at, channels, runs, plane, planes):
    """Copy panels into planes with a margin, (channels, plane); runs: see `copy_runs`."""
    for c in range(channels):
        copy_runs(x, x_at + c * PANEL, runs, 1, planes, c * plane)


@jit(allocates=False)
def scale_panels(x, x_at, x_pitch, scale, shift, panels, y, y_at, y_pitch, add):
    """y = scale x + shift in panels, or added to y, each step rounded by itself."""
    for panel in range(panels):
        source, target = x_at + panel * x_pitch, y_at + panel * y_pitch
        for c in range(scale.size):
            a, b, i = broadcast(scale[c]), broadcast(shift[c]), c * PANEL
            left, right = load(x, source + i) * a + b, load(x, source + i + 16) * a + b
            put(y, target + i, left, right, add)


@jit(allocates=False)
def affine(x, x_at, x_pitch, scale, shift, slope, panels, y, y_at, y_pitch):
    """y = scale x + shift, and slope y where that is negative, each step rounded by itself; y may be x."""
    zero = broadcast(np.float32(0))
    for panel in range(panels):
        source, target = x_at + panel * x_pitch, y_at + panel * y_pitch
        for c in range(scale.size):
            a, b, s = broadcast(scale[c]), broadcast(shift[c]), broadcast(slope[c])
            for p in range(c * PANEL, (c + 1) * PANEL, 16):
                value = load(x, source + p) * a + b
                above = maximum(value, zero)
                store(y, target + p, above + (value - above) * s)


@jit(allocates=False)
def mean_pool(x, x_at, runs, site, divisors, scale, shift, y, y_at, y_pitch, plane):
    """As `pool` for averages, but summed in float64: for windows as large as images."""
    for c in range(scale.size):
        copy_runs(x, x_at + c * PANEL, runs, 1, plane, 0)
        for p in range(site.pixels):
            total = 0.0
            for t in range(site.taps.size):
                total += np.float64(plane[site.base[p] + site.taps[t]])
            mean = np.float32(total / np.float64(divisors[p]))
            target = y_at + p // PANEL * y_pitch + c * PANEL + p % PANEL
            y[target] = mean * scale[c] + shift[c]


@jit(forceinline=True)
def _sum_taps(plane, at, step, taps):
    total = _pick(plane, at + taps[0], step)
    for t in range(1, taps.size):
        total = total + _pick(plane, at + taps[t], step)
    return total


@jit(forceinline=True)
def _largest_tap(plane, at, step, taps):
    """NaN where a tap is NaN; `larger` keeps only one that comes last."""
    best = _pick(plane, at + taps[0], step)
    nan = select_unordered(best, best, best, broadcast(np.float32(0)))
    for t in range(1, taps.size - 1, 2):
        a, b = _pick(plane, at + taps[t], step), _pick(plane, at + taps[t + 1], step)
        best = larger(larger(best, a), b)
        nan = select_unordered(a, b, a + b, nan)
    if taps.size % 2 == 0:
        a = _pick(plane, at + taps[taps.size - 1], step)
        best, nan = larger(best, a), select_unordered(a, a, a, nan)
    return select_unordered(nan, nan, nan, best)


@jit(allocates=False)
def pool(x, x_at, runs, taps, step, outputs, mean, divisors, scale, shift, y, y_at, add, plane):
    """Pooling, then scale and shift: the maximum of each window, or the mean if `mean` is 1.

    runs: how a channel of x is copied (see `copy_runs`) to `plane`, scratch whose margin changes no result
    (-inf or 0). outputs int64 (n, 4): runs of output pixels: the index in the plane of the window's first tap,
    the index in y, how many, and the first of their `divisors`, float32: how many pixels each mean has.
    """
    for c in range(scale.size):
        copy_runs(x, x_at + c * PANEL, runs, 1, plane, 0)
        a, b, start = broadcast(scale[c]), broadcast(shift[c]), y_at + c * PANEL
        for i in range(outputs.shape[0]):
            at, target, count = outputs[i, 0], start + outputs[i, 1], outputs[i, 2]
            if mean:
                value = _sum_taps(plane, at, step, taps) / load(divisors, outputs[i, 3])
            else:
                value = _largest_tap(plane, at, step, taps)
            value = value * a + b
            if add:
                value = load_first(y, target, count) + value
            store_first(y, target, value, count)


@jit(allocates=False)
def classify(x, pixels, weights, bias, means, logits):
    """Linear classifier of the channels' means over the pixels: logits (classes,).

    weights (classes, channels); means (channels,) is scratch. Sums run in float64.
    """
    classes, channels = weights.shape
    for c in range(channels):
        total = 0.0
        for p in range(pixels):
            total += np.float64(x[(p // PANEL * channels + c) * PANEL + p % PANEL])
        means[c] = total / pixels
    for o in range(classes):
        total = np.float64(bias[o])
        for c in range(channels):
            total += means[c] * weights[o, c]
        logits[o] = total
