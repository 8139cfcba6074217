"""The plan of a packed network for one batch size and image size: its buffers, and its kernel calls in order.

Everything that does not depend on the images is done when the plan is made: weights are laid out for the size
of the images, and every result is assigned a buffer. A buffer is used again once its contents are no longer
needed. Running a plan allocates nothing.
"""

from typing import NamedTuple

import numpy as np

from bnas.kernels.packing import WORD, pack_bits, unpack_bits
from bnas.kernels.panels import PANEL, ROWS, tiled
from bnas.kernels.planes import valid_taps
from bnas.kernels.sites import sites
from bnas.kernels.windows import POINT, Window
from bnas.kernels.xnor import prepare
from bnas.packed import kernels
from bnas.packed.layers import BitConv, PackedPool, PackedSkip, PackedZero


class Floats(NamedTuple):
    """Real-valued images in panels of 32 pixels, flat: panel i begins at buffer[at + i pitch]."""

    buffer: np.ndarray
    at: int
    pitch: int
    channels: int
    size: tuple

    @property
    def panels(self):
        """How many panels an image has."""
        return -(-self.size[0] * self.size[1] // PANEL)

    def part(self, first, count):
        """The same images, `count` channels from `first` on."""
        return self._replace(at=self.at + first * PANEL, channels=count)


class Bits(NamedTuple):
    """Packed images in a flat buffer: planes of words (images, words, plane), with a margin of zeros."""

    buffer: np.ndarray
    channels: int
    size: tuple
    margin: tuple

    @property
    def words(self):
        return -(-self.channels // WORD)

    @property
    def places(self):
        return _interior(self.size, self.margin).interior

    @property
    def plane(self):
        return _interior(self.size, self.margin).plane

    def unpack(self, images):
        """As bool (images, C, H, W)."""
        words = self.buffer.reshape(images, self.words, self.plane)[:, :, self.places]
        words = words.transpose(0, 2, 1).reshape(images, 1, *self.size, self.words)
        return unpack_bits(np.ascontiguousarray(words), self.channels, np.int8) > 0


def _interior(size, margin):
    return sites(size, POINT, margin)


class Plan:
    """A packed network made ready for `images` images of `shape` (C, H, W).

    Attributes:
        input: float32 (images, C, H, W); write the images here.
        logits: float32 (images, classes); read the results here.
        calls: what `run` does, (kernel, arguments) in order.
        bits: {name of a 1-bit convolution: (number of calls after which its input is complete, Bits)}.
    """

    def __init__(self, model, images, shape):
        self.images, self.calls, self.bits, self._buffers = images, [], {}, {}
        self.input = np.zeros((images, *shape), np.float32)
        older = newer = self._stem(model.stem[0][0], tuple(shape[1:]))
        for i, cell in enumerate(model.cells):
            older, newer = newer, self._cell(cell, older, newer, f"cell {i % 3}")
        self._head(model, newer)

    def run(self):
        """Compute `logits` from `input`."""
        for kernel, arguments in self.calls:
            kernel(*arguments)

    def _call(self, kernel, *arguments):
        self.calls.append((kernel, arguments))

    def _buffer(self, use, size, dtype, fill=0):
        """The buffer of `size` elements for this use: made at the first request, filled with `fill`."""
        key = use, size, np.dtype(dtype)
        if key not in self._buffers:
            self._buffers[key] = np.full(size, fill, dtype)
        return self._buffers[key]

    def _floats(self, use, channels, size):
        pitch, panels = channels * PANEL, self.images * -(-size[0] * size[1] // PANEL)
        return Floats(self._buffer(use, panels * pitch, np.float32), 0, pitch, channels, size)

    def _bit_buffer(self, use, channels, size, margin):
        """Bits with a margin of zeros. No other shape shares the buffer, so kernels leave the margin alone."""
        size_in_words = self.images * -(-channels // WORD) * _interior(size, margin).plane
        use = use, channels, size, margin
        return Bits(self._buffer(use, size_in_words, np.uint64), channels, size, margin)

    # Cells

    def _cell(self, cell, older, newer, use):
        inputs = [
            self._branches(branches, x, f"input {i}")
            for i, (branches, x) in enumerate(zip(cell.inputs, (older, newer)))
        ]
        first = _out_size(cell.edges[0], inputs[0].size)
        channels = inputs[0].channels
        out = self._floats(use, len(cell.concat) * channels, first)
        states, bits = inputs, {}
        for node in range(len(cell.edges) // 2):
            number = node + 2
            if number in cell.concat:
                target = out.part(cell.concat.index(number) * channels, channels)
            else:
                target = self._floats(f"state {number}", channels, first)
            for edge in (2 * node, 2 * node + 1):
                source = cell.predecessors[edge]
                self._edge(cell, edge, states[source], target, bits, edge % 2)
            states.append(target)
        return out

    def _edge(self, cell, edge, x, target, bits, add):
        """One edge into a node: each of its branches computes its part of the channels."""
        source, first = cell.predecessors[edge], 0
        for branch in cell.edges[edge]:
            if isinstance(branch[0], BitConv) and source not in bits:
                bits[source] = self._pack(x, f"bits {source}", _margin(cell, source))
            channels = x.channels if len(cell.edges[edge]) == 1 else branch[-1].w.shape[0]
            part = target.part(first, channels)
            self._branch(branch, x, bits.get(source), part, add)
            first += channels

    def _branch(self, branch, x, bits, target, add):
        layer = branch[0]
        if isinstance(layer, BitConv):
            for i, conv in enumerate(branch[:-1]):
                following = branch[i + 1].window.padding
                bits = self._bits_to_bits(conv, bits, following, f"between {i % 2}")
            self._bits_to_floats(branch[-1], bits, target, add)
        elif isinstance(layer, PackedPool):
            self._pool(layer, x, target, add)
        elif isinstance(layer, PackedSkip):
            self._copy(x, target, add)
        elif isinstance(layer, PackedZero) and not add:
            nothing = target._replace(
                buffer=self._buffer("nothing", target.buffer.size, np.float32)
            )
            self._copy(nothing, target, add)

    # Real layers

    def _branches(self, branches, x, use):
        """Branches of one `layers.RealConv` each: their outputs, concatenated along the channels."""
        convolutions = [branch[0] for branch in branches]
        channels = [conv.w.shape[0] for conv in convolutions]
        out = self._floats(use, sum(channels), convolutions[0].window.out_size(x.size))
        for i, conv in enumerate(convolutions):
            self._real_conv(conv, x, out.part(sum(channels[:i]), channels[i]))
        return out

    def _stem(self, layer, size):
        """The first convolution, which reads the NCHW input."""
        channels, margin = self.input.shape[1], layer.window.padding
        planes, _ = self._planes("input", channels, size, margin)
        rows, cols = (slice(m, m + n) for m, n in zip(margin, size))
        padded = planes.reshape(self.images, channels, *(n + 2 * m for n, m in zip(size, margin)))
        self._call(np.copyto, padded[:, :, rows, cols], self.input)
        out = self._floats("stem", layer.w.shape[0], layer.window.out_size(size))
        self._window_conv(layer, planes, size, out)
        return out

    def _real_conv(self, layer, x, target):
        if layer.window == POINT:
            sums = self._buffer("sums", ROWS * PANEL, np.float32)
            self._call(
                kernels.pointwise,
                x.buffer,
                x.at,
                x.pitch,
                x.channels,
                _floor(layer),
                tiled(layer.w.reshape(len(layer.w), -1)),
                layer.scale,
                layer.shift,
                self.images * x.panels,
                target.buffer,
                target.at,
                target.pitch,
                sums,
            )
            return
        planes, inner = self._planes("spread", x.channels, x.size, layer.window.padding)
        self._call(
            kernels.spread_panels,
            x.buffer,
            x.at,
            x.pitch,
            x.channels,
            inner.interior,
            inner.plane,
            self.images,
            planes,
        )
        self._window_conv(layer, planes, x.size, target)

    def _window_conv(self, layer, planes, size, target):
        w, site = layer.w, sites(size, layer.window)
        where = (np.arange(w.shape[1])[:, None] * site.plane + site.taps).reshape(-1)
        panel = self._buffer("real panel", where.size * PANEL, np.float32)
        self._call(
            kernels.window_conv,
            planes,
            site,
            where,
            _floor(layer),
            tiled(w.reshape(len(w), -1)),
            layer.scale,
            layer.shift,
            self.images,
            target.buffer,
            target.at,
            target.pitch,
            panel,
            self._buffer("sums", ROWS * PANEL, np.float32),
        )

    def _planes(self, use, channels, size, margin):
        """Planes of floats with a margin of zeros, and their Sites."""
        inner = _interior(size, margin)
        use = use, channels, size, margin
        return self._buffer(use, self.images * channels * inner.plane, np.float32), inner

    def _copy(self, x, target, add):
        self._call(
            kernels.add_panels,
            x.buffer,
            x.at,
            x.pitch,
            x.channels,
            self.images * x.panels,
            target.buffer,
            target.at,
            target.pitch,
            add,
        )

    def _pool(self, layer, x, target, add):
        window, mean = Window((3, 3), (layer.stride,) * 2, (1, 1)), layer.kind == "avg"
        site, inner = sites(x.size, window), _interior(x.size, window.padding)
        divisors = valid_taps(x.size, window).astype(np.float32).ravel()
        divisors = np.pad(divisors, (0, -divisors.size % PANEL), constant_values=1)
        plane = self._buffer(
            ("pool", mean, x.size), inner.plane, np.float32, 0 if mean else -np.inf
        )
        self._call(
            kernels.pool,
            x.buffer,
            x.at,
            x.pitch,
            inner.interior,
            site,
            int(mean),
            divisors,
            layer.scale,
            layer.shift,
            self.images,
            target.buffer,
            target.at,
            target.pitch,
            add,
            plane,
            self._buffer("spare", 16, np.float32),
        )

    def _head(self, model, x):
        self.logits = np.empty((self.images, len(model.w)), np.float32)
        self._call(
            kernels.classify,
            x.buffer,
            x.size[0] * x.size[1],
            model.w,
            model.bias,
            self.images,
            np.empty(x.channels),
            self.logits.reshape(-1),
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
            self.images,
            bits.buffer,
            self._spare(),
        )
        return bits

    def _prepared(self, layer, bits):
        self.bits[layer.name] = len(self.calls), bits
        signs = np.where(layer.w, np.float32(1), np.float32(-1))
        return prepare(signs, bits.size, layer.window, layer.groups, bits.margin)

    def _scratch(self, length):
        """A panel, and the counts of a tile."""
        panel = self._buffer("panel", length * PANEL, np.uint64)
        return panel, self._buffer("counts", ROWS * PANEL, np.int32)

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
            panel, counts = self._scratch(product.where.size)
            self._call(
                kernels.conv_to_bits,
                bits.buffer,
                product.site,
                product.where,
                product.tiles,
                limits[None].astype(np.int32),
                flips,
                self.images,
                out.buffer,
                out.plane,
                out.places,
                panel,
                counts,
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
                self.images,
                out.buffer,
                out.plane,
                out.places,
                self._buffer("panel", site.taps.size * PANEL, np.uint64),
                self._spare(),
            )
        return out

    def _bits_to_floats(self, layer, bits, target, add):
        product, finish = self._prepared(layer, bits), layer.finish
        self._call(
            kernels.conv_to_floats,
            bits.buffer,
            product.site,
            product.where,
            product.tiles,
            product.offsets,
            finish.beta,
            finish.scale,
            finish.shift,
            self.images,
            target.buffer,
            target.at,
            target.pitch,
            add,
            *self._scratch(product.where.size),
        )


def _floor(layer):
    return np.float32(0 if layer.relu else -np.inf)


def _out_size(branches, size):
    """(height, width) of an edge's output."""
    for layer in branches[0]:
        if isinstance(layer, BitConv):
            size = layer.window.out_size(size)
        elif isinstance(layer, (PackedPool, PackedZero)):
            size = tuple(-(-n // layer.stride) for n in size)
    return size


def _margin(cell, state):
    """The margin that a packed state needs: the widest padding of the edges that start from it."""
    paddings = [
        branch[0].window.padding
        for edge, source in zip(cell.edges, cell.predecessors)
        for branch in edge
        if source == state and isinstance(branch[0], BitConv)
    ]
    return tuple(map(max, zip(*paddings)))


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
