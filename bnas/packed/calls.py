"""The layers of a packed network as kernel calls, into buffers that are laid out beforehand.

Everything that does not depend on an image's pixels is done here, once: weights are laid out for the size of
images, and every result is assigned a buffer. `plan` says which layer follows which.
"""

import numpy as np

from bnas.kernels.buffers import ALIGNMENT
from bnas.kernels.packing import WORD, pack_bits
from bnas.kernels.panels import PANEL, ROWS, tiled
from bnas.kernels.planes import valid_taps
from bnas.kernels.sites import sites
from bnas.kernels.windows import POINT, Window
from bnas.kernels.xnor import prepare
from bnas.packed import kernels
from bnas.packed.images import Bits, Floats, interior, runs
from bnas.packed.layers import PackedPool, Rescale


class Calls:
    """Kernel calls in order, and the buffers that they read and write; see `bnas.packed.plan.Plan`."""

    def __init__(self, shape):
        self.calls, self.bits, self._buffers = [], {}, {}
        self.input = np.zeros(shape, np.float32)
        self._copies = []  # (array, part of the input that is copied there)

    def _ready(self):
        """Write the program, when all calls are known."""
        instructions = [kernels.instruction(*call) for call in self.calls]
        ends = np.cumsum([0, *map(len, instructions)])
        self._program = np.array([word for words in instructions for word in words], np.int64)
        self._starts = ends[:-1].astype(np.int64)

    def run(self, calls=None):
        """Compute `logits` from `input`; or make only some calls, a range of neighbouring ones."""
        calls = calls or range(len(self.calls))
        if calls.start == 0:
            for target, source in self._copies:
                np.copyto(target, source)
        kernels.run(self._program, self._starts, calls.start, calls.stop)

    def _call(self, kernel, *arguments):
        self.calls.append((kernel, arguments))

    def _buffer(self, use, size, dtype, fill=0):
        """The buffer of `size` elements for this use: made at the first request, filled with `fill`.

        It is aligned, so that no vector of a panel straddles two cache lines.
        """
        key = use, size, np.dtype(dtype)
        if key not in self._buffers:
            memory = np.full(size + ALIGNMENT // key[2].itemsize, fill, dtype)
            start = -memory.ctypes.data % ALIGNMENT // memory.itemsize
            self._buffers[key] = memory[start : start + size]
        return self._buffers[key]

    def _floats(self, use, channels, size):
        pitch, panels = channels * PANEL, -(-size[0] * size[1] // PANEL)
        # Kernels read whole vectors, so up to a panel too far.
        return Floats(
            self._buffer(use, panels * pitch + PANEL, np.float32), 0, pitch, channels, size
        )

    def _bit_buffer(self, use, channels, size, margin):
        """Bits with a margin of zeros. No other shape shares the buffer, so kernels leave the margin alone."""
        size_in_words = -(-channels // WORD) * interior(size, margin).plane
        use = use, channels, size, margin
        return Bits(self._buffer(use, size_in_words, np.uint64), channels, size, margin)

    # Real layers

    def _branches(self, branches, x, use):
        """Branches of one `layers.RealConv` each: their outputs, concatenated along the channels."""
        convolutions = [branch[0] for branch in branches]
        channels = [conv.w.shape[0] for conv in convolutions]
        out = self._floats(use, sum(channels), convolutions[0].window.out_size(x.size))
        for i, conv in enumerate(convolutions):
            self._real_conv(conv, x, out.part(sum(channels[:i]), channels[i]))
        return out

    def _stem(self, layer, target):
        """A convolution that reads the input."""
        channels, size, margin = len(self.input), self.input.shape[1:], layer.window.padding
        planes, _ = self._planes("input", channels, size, margin)
        rows, cols = (slice(m, m + n) for m, n in zip(margin, size))
        padded = planes.reshape(channels, *(n + 2 * m for n, m in zip(size, margin)))
        self._copies.append((padded[:, rows, cols], self.input))
        self._window_conv(layer, planes, size, target)

    def _image_panels(self):
        """The input in panels."""
        channels = len(self.input)
        x = self._floats("image", channels, self.input.shape[1:])
        image = self.input.reshape(channels, -1)
        panels = x.buffer[:-PANEL].reshape(x.panels, channels, PANEL)
        for panel, start in zip(panels, range(0, image.shape[1], PANEL)):
            pixels = image[:, start : start + PANEL]
            self._copies.append((panel[:, : pixels.shape[1]], pixels))
        return x

    def _real_conv(self, layer, x, target):
        if layer.groups == 1 and layer.window._replace(stride=(1, 1)) == Window(x.size):
            self._whole_conv(layer, x, target)
            return
        if layer.window == POINT:
            for first, group, w, part in _groups(layer, target):
                self._call(
                    kernels.pointwise,
                    x.buffer,
                    x.at + first * PANEL,
                    x.pitch,
                    w.shape[1],
                    _floor(layer),
                    tiled(w.reshape(len(w), -1)),
                    layer.scale[group],
                    layer.shift[group],
                    x.panels,
                    part.buffer,
                    part.at,
                    part.pitch,
                )
            return
        if layer.window.kernel == (1, 1) and self._pick_conv(layer, x, target):
            return
        planes, inner = self._planes("spread", x.channels, x.size, layer.window.padding)
        self._call(
            kernels.spread_panels,
            x.buffer,
            x.at,
            x.channels,
            runs(x.index(np.arange(inner.interior.size)), inner.interior, 1),
            inner.plane,
            planes,
        )
        self._window_conv(layer, planes, x.size, target)

    def _pick_conv(self, layer, x, target):
        """A 1×1 convolution of every so many pixels, none of them in the margin; False if it is no such."""
        rows, cols = (seen[:, 0] for seen in layer.window.seen(x.size))
        if min(rows[0], cols[0]) < 0 or rows[-1] >= x.size[0] or cols[-1] >= x.size[1]:
            return False
        source, step = x.index((rows[:, None] * x.size[1] + cols).ravel()), _step(layer.window)
        starts, lanes = range(0, source.size, PANEL), np.arange(PANEL)
        panels = [runs(source[i : i + PANEL], lanes[: source.size - i], step) for i in starts]
        table = np.zeros((len(panels), max(map(len, panels)), 3), np.int64)
        for row, panel in zip(table, panels):
            row[: len(panel)] = panel
        for first, group, w, part in _groups(layer, target):
            self._call(
                kernels.pick_conv,
                x.buffer,
                x.at + first * PANEL,
                table,
                step,
                w.shape[1],
                _floor(layer),
                tiled(w.reshape(len(w), -1)),
                layer.scale[group],
                layer.shift[group],
                part.buffer,
                part.at,
                part.pitch,
                self._buffer("real panel", w.shape[1] * PANEL, np.float32),
            )
        return True

    def _whole_conv(self, layer, x, target):
        """A convolution whose window is the whole image; its weights in vectors of 16 output channels."""
        outputs = len(layer.w)
        w = np.zeros((-(-outputs // 16) * 16, layer.w[0].size), np.float32)
        w[:outputs] = layer.w.reshape(outputs, -1)
        self._call(
            kernels.whole_conv,
            x.buffer,
            x.at,
            x.pitch,
            x.channels,
            x.size[0] * x.size[1],
            _floor(layer),
            np.ascontiguousarray(w.reshape(-1, 16, w.shape[1]).swapaxes(1, 2)).reshape(-1),
            layer.scale,
            layer.shift,
            target.buffer,
            target.at,
            self._buffer("spare", 16, np.float32),
        )

    def _window_conv(self, layer, planes, size, target):
        site = sites(size, layer.window)
        for first, group, w, part in _groups(layer, target):
            channels = first + np.arange(w.shape[1])
            where = (channels[:, None] * site.plane + site.taps).reshape(-1)
            self._call(
                kernels.window_conv,
                planes,
                site,
                where,
                _floor(layer),
                tiled(w.reshape(len(w), -1)),
                layer.scale[group],
                layer.shift[group],
                part.buffer,
                part.at,
                part.pitch,
                self._buffer("real panel", where.size * PANEL, np.float32),
            )

    def _planes(self, use, channels, size, margin):
        """Planes of floats with a margin of zeros, and their Sites."""
        inner = interior(size, margin)
        use = use, channels, size, margin
        return self._buffer(use, channels * inner.plane, np.float32), inner

    def _copy(self, x, target, add):
        ones, zeros = np.ones(x.channels, np.float32), np.zeros(x.channels, np.float32)
        self._scale(x, ones, zeros, target, add)

    def _scale(self, x, scale, shift, target, add):
        self._call(
            kernels.scale_panels,
            x.buffer,
            x.at,
            x.pitch,
            scale,
            shift,
            x.panels,
            target.buffer,
            target.at,
            target.pitch,
            add,
        )

    def _affine(self, layer, x, target):
        self._call(
            kernels.affine,
            x.buffer,
            x.at,
            x.pitch,
            layer.scale,
            layer.shift,
            layer.slope,
            x.panels,
            target.buffer,
            target.at,
            target.pitch,
        )

    def _pool(self, layer, x, target, add=0):
        """A `PackedPool` or a `PackedWindowPool`."""
        if isinstance(layer, PackedPool):
            window, counted = Window((3, 3), (layer.stride,) * 2, (1, 1)), False
        else:
            window, counted = layer.window, layer.counted
        site, inner = sites(x.size, window), interior(x.size, window.padding)
        divisors = valid_taps(x.size, window).astype(np.float32).ravel()
        divisors = np.pad(divisors, (0, PANEL), constant_values=1)
        if counted:
            divisors[:] = site.taps.size
        nothing = -np.inf if layer.kind == "max" else 0
        use = "pool", nothing, x.size, window.padding
        plane = self._buffer(use, inner.plane + PANEL, np.float32, nothing)
        spread = runs(x.index(np.arange(inner.interior.size)), inner.interior, 1)
        before = x.buffer, x.at, spread
        if layer.kind == "mean":
            after = layer.scale, layer.shift, target.buffer, target.at, target.pitch
            self._call(kernels.mean_pool, *before, site, divisors, *after, plane)
            return
        step, pixels = _step(window), np.arange(site.pixels)
        outputs = runs(site.base[: site.pixels], target.index(pixels), step)
        first = np.cumsum(outputs[:, 2]) - outputs[:, 2]
        self._call(
            kernels.pool,
            *before,
            site.taps,
            step,
            np.column_stack([outputs, first]),
            int(layer.kind == "avg"),
            divisors,
            layer.scale,
            layer.shift,
            target.buffer,
            target.at,
            add,
            plane,
        )

    def _head(self, model, x):
        self.logits = np.empty(len(model.w), np.float32)
        self._call(
            kernels.classify,
            x.buffer,
            x.size[0] * x.size[1],
            model.w,
            model.bias,
            np.empty(x.channels),
            self.logits,
        )

    # 1-bit layers

    def _pack(self, x, use, margin):
        bits = self._bit_buffer(use, x.channels, x.size, margin)
        self._call(
            kernels.pack_panels,
            x.buffer,
            x.at,
            x.pitch,
            x.channels,
            bits.places,
            bits.plane,
            bits.buffer,
            self._spare(),
        )
        return bits

    def _prepared(self, layer, bits):
        self.bits[layer.name] = len(self.calls), [bits]
        return prepare(_signs(layer.w), bits.size, layer.window, layer.groups, bits.margin)

    def _halves(self, product, channels):
        """Which halves of a product's words hold any of the channels, and the weights of these.

        As int32: where they begin in a panel of words, and tiles (Cout / 4 H 4,).
        """
        words, per_tap = product.where.size, -(-channels // WORD)
        number = np.arange(2 * words)
        number = number[number % (2 * per_tap) * (WORD // 2) < channels]
        tiles = product.tiles.view(np.int32).reshape(-1, words, ROWS, 2).swapaxes(2, 3)
        tiles = tiles.reshape(-1, 2 * words, ROWS)[:, number]
        return number // 2 * (2 * PANEL) + number % 2, np.ascontiguousarray(tiles).reshape(-1)

    def _panel(self, words):
        """A panel of words, as uint64 and as int32, and one of their halves."""
        panel = self._buffer("panel", words * PANEL, np.uint64)
        halves = self._buffer("halves", 2 * words * PANEL, np.int32)
        return (panel, panel.view(np.int32)), halves

    def _spare(self):
        return self._buffer("spare words", 8, np.uint64)

    def _bits_to_bits(self, layer, bits, margin, use):
        product = self._prepared(layer, bits)
        out = self._bit_buffer(use, layer.w.shape[0], layer.window.out_size(bits.size), margin)
        # dot = offset - 2 count >= least where count < limit
        least = layer.finish.least
        offsets = product.offsets.swapaxes(0, 1).reshape(-1, least.size)  # (classes, Cout)
        limits = (offsets - least) // 2 + 1
        flips = _words(~layer.finish.rising)
        if layer.groups == 1:
            self._call(
                kernels.conv_to_bits,
                bits.buffer,
                product.site,
                product.where,
                *self._halves(product, layer.w.shape[1]),
                limits[None].astype(np.int32),
                flips,
                out.buffer,
                out.plane,
                out.places,
                *self._panel(product.where.size),
                self._spare(),
            )
        else:
            site = product.site
            eights = site.border.reshape(-1, 8).astype(np.int64)
            ranges = np.stack([eights.min(axis=1), eights.max(axis=1) + 1], axis=1)
            self._call(
                kernels.depthwise_to_bits,
                bits.buffer,
                site,
                site.border.astype(np.uint64),
                ranges,
                _depthwise_words(layer.w),
                _sliced(limits, site.taps.size),
                flips,
                out.buffer,
                out.plane,
                out.places,
                self._buffer("eight", site.taps.size * 8, np.uint64),
                np.arange(site.taps.size) * 8,
                self._spare(),
            )
        return out

    def _bits_to_floats(self, layer, bits, target, add):
        product, finish = self._prepared(layer, bits), layer.finish
        self._conv_to_floats(product, layer.w.shape[1], bits, finish, target, add)

    def _grouped_to_floats(self, layer, x, target, use):
        """A 1-bit convolution with groups, each of which has its channels packed and multiplied alone."""
        groups = list(_groups(layer, target))
        packed = [
            self._pack(x.part(first, w.shape[1]), f"{use}, group {g}", layer.window.padding)
            for g, (first, _, w, _) in enumerate(groups)
        ]
        self.bits[layer.name] = len(self.calls), packed
        for bits, (_, group, w, part) in zip(packed, groups):
            finish = Rescale(*(array[group] for array in layer.finish))
            product = prepare(_signs(w), bits.size, layer.window, 1)
            self._conv_to_floats(product, w.shape[1], bits, finish, part, 0)

    def _conv_to_floats(self, product, channels, bits, finish, target, add):
        self._call(
            kernels.conv_to_floats,
            bits.buffer,
            product.site,
            product.where,
            *self._halves(product, channels),
            product.offsets,
            finish,
            target.buffer,
            target.at,
            target.pitch,
            add,
            *self._panel(product.where.size),
        )


def _groups(layer, target):
    """(first input channel, slice of output channels, their weights, their part of the target) of each group."""
    outputs, inputs = len(layer.w) // layer.groups, layer.w.shape[1]
    for g in range(layer.groups):
        group = slice(g * outputs, (g + 1) * outputs)
        yield g * inputs, group, layer.w[group], target.part(g * outputs, outputs)


def _step(window):
    """2 if neighbouring outputs read every second pixel, else 1; runs of others have one pixel."""
    return 2 if window.stride[1] == 2 else 1


def _signs(w):
    return np.where(w, np.float32(1), np.float32(-1))


def _floor(layer):
    return np.float32(0 if layer.relu else -np.inf)


def _words(flags):
    """Flags of channels (..., C) as words (..., words)."""
    images = flags.reshape(-1, flags.shape[-1], 1, 1).astype(np.float32)
    return np.ascontiguousarray(pack_bits(images).reshape(*flags.shape[:-1], -1))


def _depthwise_words(w):
    """Weights bool (C, 1, Kh, Kw) as words (words, T), flat."""
    return np.ascontiguousarray(_words(w.reshape(w.shape[0], -1).T).T).reshape(-1)


def _sliced(limits, taps):
    """Limits (classes, C) as bit planes, 64 channels to a word: uint64 (classes, words, COUNTERS)."""
    limits = np.clip(limits, 0, taps + 1)
    planes = [_words(limits >> k & 1) for k in range(kernels.COUNTERS)]
    return np.ascontiguousarray(np.stack(planes, axis=-1))
