"""Real-valued images in a packed network: convolution, pooling, sums and the classifier.

The stem, the convolutions at the inputs of a cell, pooling and the sums in the nodes compute with float32.
All kernels write into buffers that they are given and allocate nothing, and each runs on one thread: a packed
network gives whole images to the threads.

Floats stand in panels of 32 pixels: (images, panels, channels, 32), flat, the last panel of an image filled
up. A 1×1 convolution reads its panels as they lie there, and no two channels are a power of two apart, which
would give them the same places in the cache. Of an argument x, `x_at` is the index at which the first panel
begins and `x_pitch` the distance from one panel to the next, so that a part of the channels is the same
buffer with another start. `add` is 1 to add to what the target holds, and 0 to replace it.
"""

import numpy as np

from bnas.kernels.conv import multiply_tile
from bnas.kernels.jit import jit
from bnas.kernels.panels import PANEL, ROWS, fill_panel, gather
from bnas.kernels.vectors import broadcast, load, maximum, multiply_add, store


@jit(forceinline=True)
def put(y, at, left, right, add):
    """Store 32 floats, or add them to what is there."""
    if add:
        left, right = load(y, at) + left, load(y, at + 16) + right
    store(y, at, left)
    store(y, at + 16, right)


@jit(forceinline=True)
def _scale_rows(sums, rows, o, scale, shift, y, at):
    """y = scale sum + shift for the rows of a tile, each step rounded by itself."""
    for row in range(rows):
        a, b = broadcast(scale[o + row]), broadcast(shift[o + row])
        left, right = load(sums, row * PANEL) * a + b, load(sums, row * PANEL + 16) * a + b
        put(y, at + (o + row) * PANEL, left, right, 0)


@jit(allocates=False)
def pointwise(x, x_at, x_pitch, inputs, floor, tiles, scale, shift, panels, y, y_at, y_pitch, sums):
    """1×1 convolution, then scale and shift. Inputs are at least `floor`: 0 for a ReLU, or -inf."""
    for panel in range(panels):
        source, target = x_at + panel * x_pitch, y_at + panel * y_pitch
        for o in range(0, scale.size, ROWS):
            multiply_tile(x, source, inputs, floor, tiles, o * inputs, sums)
            _scale_rows(sums, min(ROWS, scale.size - o), o, scale, shift, y, target)


@jit(allocates=False)
def window_conv(
    planes, site, where, floor, tiles, scale, shift, images, y, y_at, y_pitch, panel, sums
):
    """Convolution of planes with a margin, (images, channels, plane), to panels; else as `pointwise`."""
    length, panels = where.size, site.classes.shape[0]
    stored = planes.size // images
    for task in range(images * panels):
        image, number = divmod(task, panels)
        fill_panel(planes, image * stored, site, number * PANEL, where, panel)
        for o in range(0, scale.size, ROWS):
            multiply_tile(panel, 0, length, floor, tiles, o * length, sums)
            rows = min(ROWS, scale.size - o)
            _scale_rows(sums, rows, o, scale, shift, y, y_at + task * y_pitch)


@jit(allocates=False)
def whole_conv(
    x, x_at, x_pitch, inputs, pixels, floor, weights, scale, shift, images, y, y_at, y_pitch, sums
):
    """A convolution whose window is the whole image, with one pixel of results, as Linear is; else as `pointwise`.

    weights (Cout / 16 K 16,), flat, K = inputs pixels: 16 output channels at a time, filled up; sums (16,) is
    scratch.
    """
    outputs, panels = scale.size, -(-pixels // PANEL)
    for image in range(images):
        at = 0
        for o in range(0, outputs, 16):
            total = broadcast(np.float32(0))
            for c in range(inputs):
                for p in range(pixels):
                    source = x_at + (image * panels + p // PANEL) * x_pitch + c * PANEL
                    value = max(x[source + p % PANEL], floor)
                    total = multiply_add(broadcast(value), load(weights, at), total)
                    at += 16
            store(sums, 0, total)
            for i in range(min(16, outputs - o)):
                target = y_at + image * y_pitch + (o + i) * PANEL
                y[target] = sums[i] * scale[o + i] + shift[o + i]


@jit(forceinline=True)
def _spread(x, at, pitch, places, planes, target):
    """Copy one channel of an image from panels into a plane, pixel p to planes[target + places[p]]."""
    pixels = places.size
    for first in range(0, pixels, 16):
        source = at + first // PANEL * pitch + first % PANEL
        if first + 16 <= pixels and places[first + 15] - places[first] == 15:
            store(planes, target + places[first], load(x, source))
        else:
            for i in range(min(16, pixels - first)):
                planes[target + places[first + i]] = x[source + i]


@jit(allocates=False)
def spread_panels(x, x_at, x_pitch, channels, places, plane, images, planes):
    """Copy panels into planes with a margin, (images, channels, plane)."""
    panels = -(-places.size // PANEL)
    for image in range(images):
        for c in range(channels):
            at = x_at + image * panels * x_pitch + c * PANEL
            _spread(x, at, x_pitch, places, planes, (image * channels + c) * plane)


@jit(allocates=False)
def add_panels(x, x_at, x_pitch, channels, panels, y, y_at, y_pitch, add):
    """Copy images in panels to y, or add them to y."""
    for panel in range(panels):
        source, target = x_at + panel * x_pitch, y_at + panel * y_pitch
        for i in range(0, channels * PANEL, PANEL):
            put(y, target + i, load(x, source + i), load(x, source + i + 16), add)


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
def mean_pool(
    x,
    x_at,
    x_pitch,
    places,
    site,
    divisors,
    scale,
    shift,
    images,
    y,
    y_at,
    y_pitch,
    plane,
):
    """As `pool` for averages, but summed in float64: for windows as large as images."""
    panels_in, panels, taps = -(-places.size // PANEL), site.classes.shape[0], site.taps.size
    for task in range(images * scale.size):
        image, c = divmod(task, scale.size)
        _spread(x, x_at + image * panels_in * x_pitch + c * PANEL, x_pitch, places, plane, 0)
        for p in range(site.pixels):
            total = 0.0
            for t in range(taps):
                total += np.float64(plane[site.base[p] + site.taps[t]])
            mean = np.float32(total / np.float64(divisors[p]))
            block = image * panels + p // PANEL
            y[y_at + block * y_pitch + c * PANEL + p % PANEL] = mean * scale[c] + shift[c]


@jit(allocates=False)
def pool(
    x,
    x_at,
    x_pitch,
    places,
    site,
    mean,
    divisors,
    scale,
    shift,
    images,
    y,
    y_at,
    y_pitch,
    add,
    plane,
    spare,
):
    """Pooling, then scale and shift: the maximum of each window, or the mean if `mean` is 1.

    places: the index of each pixel of x in `plane`, scratch whose margin changes no result (-inf or 0).
    divisors float32 (pixels, filled up): how many pixels each mean has. spare (16,) is scratch.
    """
    panels_in, panels, taps = -(-places.size // PANEL), site.classes.shape[0], site.taps.size
    base, offsets = site.base, site.taps
    for task in range(images * scale.size):
        image, c = divmod(task, scale.size)
        _spread(x, x_at + image * panels_in * x_pitch + c * PANEL, x_pitch, places, plane, 0)
        a, b = broadcast(scale[c]), broadcast(shift[c])
        for first in range(0, panels * PANEL, 16):
            step = site.steps[1, first // 8]
            total = gather(plane, base, first, step, offsets[0], spare)
            if mean:
                for t in range(1, taps):
                    total = total + gather(plane, base, first, step, offsets[t], spare)
                total = total / load(divisors, first)
            else:
                for t in range(1, taps):
                    value = gather(plane, base, first, step, offsets[t], spare)
                    total = maximum(total, value)
            block = image * panels + first // PANEL
            target = y_at + block * y_pitch + c * PANEL + first % PANEL
            value = total * a + b
            store(y, target, load(y, target) + value if add else value)


@jit(allocates=False)
def classify(x, pixels, weights, bias, images, means, logits):
    """Linear classifier of the channels' means over the pixels: logits (images classes,).

    weights (classes, channels); means (channels,) is scratch. Sums run in float64, in one order for every
    image, so that a prediction does not depend on what else is in the batch.
    """
    classes, channels = weights.shape
    panels = -(-pixels // PANEL)
    for image in range(images):
        for c in range(channels):
            total = 0.0
            for p in range(pixels):
                panel = image * panels + p // PANEL
                total += np.float64(x[(panel * channels + c) * PANEL + p % PANEL])
            means[c] = total / pixels
        for o in range(classes):
            total = np.float64(bias[o])
            for c in range(channels):
                total += means[c] * weights[o, c]
            logits[image * classes + o] = total
