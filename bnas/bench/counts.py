"""How many operations the kernels of a search step and of a packed network make, and how many bytes they move.

An operation is a multiply-add, or what stands in its place: an addition, a comparison, a product of signs.
Windows count whole, also where they lie on the padding; what is computed a second time for the backward does
not count. Bytes are those of the arrays that a kernel reads and writes, each once.
"""

import inspect
from types import SimpleNamespace

import numpy as np

from bnas.kernels.packing import WORD
from bnas.kernels.panels import PANEL

OTHERS = "other kernels"
# The kinds of kernels whose operations are multiply-adds of convolutions, of floats or of signs.
CONVOLUTIONS = {
    "units forward",
    "1-bit units forward",
    "units backward",
    "real 1×1",
    "stem",
    "1-bit depthwise",
    "1-bit 1×1",
    "1-bit 1×1, to floats",
}


def _named(kernel, arguments):
    """The arguments of a kernel by their names."""
    return SimpleNamespace(**dict(zip(inspect.signature(kernel.py_func).parameters, arguments)))


# Fused training --------------------------------------------------------------------------------


def _unit(a, z):
    """Multiply-adds of a unit forward: of its depthwise convolution, if it has one, and the pointwise."""
    channels, outputs = a.norm[0].size, z.shape[1]
    taps = a.unit.depthwise.size // channels
    return z.size // outputs * channels * (outputs + (taps if taps > 1 else 0))


def _unit_backward(a):
    """Gradients for the input, and for the weights where they learn."""
    return _unit(a, a.z) * (2 if a.dpointwise.size else 1)


# {kernel: (kind, its operations)}. bnas.fused is not ours to import: its kernels are known by name.
_FUSED = {
    "separable._forward_blocks": ("units forward", lambda a: _unit(a, a.z)),
    "bits.forward_in_bits": ("1-bit units forward", lambda a: _unit(a, a.z)),
    "separable._backward_blocks": ("units backward", _unit_backward),
    "lanes._lane_sums": ("lane sums", lambda a: a.dy.size * (1 + len(a.xs))),
    "lanes._weighted_sum": ("weighted sums", lambda a: a.y.size * (len(a.xs) + a.has_base)),
    "pooling._pool": ("poolings", lambda a: a.y.size * a.kernel**2),
    "pooling._pool_back": ("poolings", lambda a: a.dy.size * a.kernel**2),
}


def task_kind(kernel):
    """(kind, function for the operations) of a kernel that `run_tasks` calls; nothing is counted of OTHERS."""
    module, name = kernel.py_func.__module__, kernel.__name__
    return _FUSED.get(f"{module.removeprefix('bnas.fused.kernels.')}.{name}", (OTHERS, lambda a: 0))


def _arrays(value):
    """All arrays in nested tuples."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _arrays(part)


def count_task(kernel, arguments):
    """(kind, operations, bytes) of a call by `run_tasks`; no operations of OTHERS."""
    kind, operations = task_kind(kernel)
    moved = {array.ctypes.data: array.nbytes for array in _arrays(arguments)}
    return kind, int(operations(_named(kernel, arguments))), sum(moved.values())


# Packed networks -------------------------------------------------------------------------------


def _floats(number):
    return 4 * number


def _real(a, inputs, read, pixels):
    """A convolution of `read` floats, with so many inputs for each output."""
    weights = a.tiles.size + a.scale.size + a.shift.size
    outputs = pixels * a.scale.size
    return outputs * inputs, _floats(read + outputs + weights)


def _pointwise(a):
    return _real(a, a.inputs, a.inputs * a.panels * PANEL, a.panels * PANEL)


def _picked(a):
    return _real(a, a.inputs, a.inputs * len(a.runs) * PANEL, len(a.runs) * PANEL)


def _stem(a):
    return _real(a, a.where.size, a.planes.size, a.site.pixels)


def _packed(site, words, read, written):
    """Bytes of a 1-bit convolution with so many words a pixel, `read` bytes of weights, and results."""
    return 8 * words * site.interior.size + read + written


def _depthwise(a):
    site, words = a.site, a.flips.size
    written = 8 * words * site.pixels
    moved = _packed(site, words, a.weights.nbytes + a.limits.nbytes, written)
    return a.channels * site.taps.size * site.pixels, moved


def _dots(a, outputs, thresholds, written):
    taps = a.site.taps.size
    moved = _packed(a.site, a.where.size // taps, a.tiles.nbytes + thresholds.nbytes, written)
    return a.channels * taps * a.site.pixels * outputs, moved


def _to_bits(a):
    return _dots(a, a.limits.shape[2], a.limits, 8 * a.flips.size * a.site.pixels)


def _to_floats(a):
    outputs = a.affine[0].size
    return _dots(a, outputs, a.offsets, _floats(outputs * a.site.pixels * (1 + a.add)))


def _pool(a):
    read, written, channels = a.runs[:, 2].sum(), a.outputs[:, 2].sum(), a.scale.size
    return channels * written * a.taps.size, _floats(channels * (read + written * (1 + a.add)))


def _scale(a):
    numbers = a.scale.size * a.panels * PANEL
    return numbers, _floats(numbers * (2 + a.add))


def _pack(a):
    pixels = a.places.size
    return a.channels * pixels, _floats(a.channels * pixels) + 8 * -(-a.channels // WORD) * pixels


def _classify(a):
    numbers = a.weights.shape[1] * a.pixels
    return numbers + a.weights.size, _floats(numbers + a.weights.size + a.bias.size)


# {kernel: (kind, its operations and bytes)}: all kernels that a network of cells calls.
_PACKED = {
    "pointwise": ("real 1×1", _pointwise),
    "pick_conv": ("real 1×1", _picked),
    "window_conv": ("stem", _stem),
    "depthwise_to_bits": ("1-bit depthwise", _depthwise),
    "conv_to_bits": ("1-bit 1×1", _to_bits),
    "conv_to_floats": ("1-bit 1×1, to floats", _to_floats),
    "pool": ("pooling", _pool),
    "scale_panels": ("scaling and sums", _scale),
    "pack_panels": ("floats to bits", _pack),
    "classify": ("classifier", _classify),
}


def count_plan(plan):
    """(kind, operations, bytes) of every call of the plan of a network of cells, for one image."""
    channels = {number: bits.channels for number, (bits,) in plan.bits.values()}
    for number, (kernel, arguments) in enumerate(plan.calls):
        kind, count = _PACKED[kernel.__name__]
        named = _named(kernel, arguments)
        if number in channels:
            named.channels = channels[number]
        operations, moved = count(named)
        yield kind, int(operations), int(moved)
