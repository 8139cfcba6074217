"""Whether the records of a packed network fit together: an undamaged file may still describe nonsense.

Kernels access memory without bounds checks, at indices that the plan makes from the model. So a model that
comes from a file is checked here before anything is run.
"""

from typing import NamedTuple

import numpy as np

from bnas.kernels.windows import Window
from bnas.packed.kernels import COUNTERS
from bnas.packed.layers import (
    BitConv,
    Model,
    PackedAffine,
    PackedCell,
    PackedConcat,
    PackedPool,
    PackedSkip,
    PackedStep,
    PackedSteps,
    PackedSum,
    PackedWindowPool,
    PackedZero,
    RealConv,
    Rescale,
    Threshold,
    parts,
)

FARTHEST = 64  # padding, dilation and stride at most: a margin takes memory that no file pays for


class _Images(NamedTuple):
    channels: int
    size: tuple
    bits: bool = False


def check(model, shape):
    """Raise ValueError unless `model` is a Model or PackedSteps and takes images of `shape` (C, H, W)."""
    _require(isinstance(model, (Model, PackedSteps)), "no Model")
    _require(len(shape) == 3 and all(_whole(n, 1) for n in shape), "image shape")
    last = _cells(model, shape) if isinstance(model, Model) else _steps(model, shape)
    _require(len(model.w) > 0, "no class")
    _floats((len(model.w), last.channels), model.w)
    _floats((len(model.w),), model.bias)
    names = [record.name for record in parts(model) if isinstance(record, BitConv)]
    _require(all(isinstance(name, str) for name in names), "names")
    _require(len(set(names)) == len(names), "names")


def takes_bits(layer):
    """Whether a layer of steps reads bits where it can: a 1-bit convolution but for most with groups."""
    return isinstance(layer, BitConv) and (layer.groups == 1 or isinstance(layer.finish, Threshold))


def gives_bits(layer):
    """Whether a layer of steps can end in a threshold: a 1-bit convolution, if with groups a depthwise one."""
    if not isinstance(layer, BitConv):
        return False
    depthwise = layer.w.shape[:2] == (layer.groups, 1) and layer.w[0].size + 1 < 2**COUNTERS
    return layer.groups == 1 or depthwise


def results(steps, shape):
    """The sizes of the images (C, H, W) and of what each step makes of them: a list of (channels, size, bits).

    Raises:
        ValueError: a step does not fit.
    """
    found = [_Images(shape[0], tuple(shape[1:]))]
    for step in steps:
        _require(isinstance(step, PackedStep) and isinstance(step.sources, tuple), "step")
        _require(all(_whole(source, 0, len(found) - 1) for source in step.sources), "sources")
        found.append(_step(step.layer, [found[source] for source in step.sources]))
    return found


def _require(condition, what):
    if not condition:
        raise ValueError(f"its parts do not fit ({what})")


def _whole(n, least, most=2**31 - 1):
    return type(n) is int and least <= n <= most


def _tuple(value, length):
    return isinstance(value, tuple) and len(value) == length


def _array(array, dtype, shape):
    _require(isinstance(array, np.ndarray) and array.dtype == dtype, "type of an array")
    _require(array.shape == tuple(shape), "shape of an array")


def _floats(shape, *arrays):
    for array in arrays:
        _array(array, np.float32, shape)
        _require(np.isfinite(array).all(), "NaN or infinity")


def _steps(model, shape):
    _require(isinstance(model.steps, tuple), "steps")
    found = results(model.steps, shape)
    read = {source for step in model.steps for source in step.sources}
    _require(read == set(range(len(model.steps))), "results that nothing reads")
    _require(not found[-1].bits, "bits at the end")
    return found[-1]


def _step(layer, sources):
    """What a layer makes of the results that it reads."""
    several = isinstance(layer, (PackedSum, PackedConcat))
    _require(len(sources) == 2 if isinstance(layer, PackedSum) else sources, "sources")
    _require(several or len(sources) == 1, "sources")
    _require(takes_bits(layer) or not any(images.bits for images in sources), "bits")
    first = sources[0]
    if isinstance(layer, BitConv):
        _require(isinstance(layer.finish, (Threshold, Rescale)), "finish")
        return _bit_conv(layer, first)
    if isinstance(layer, RealConv):
        return _real_conv(layer, first)
    if isinstance(layer, PackedWindowPool):
        return _window_pool(layer, first)
    if isinstance(layer, PackedAffine):
        _floats((first.channels,), *layer)
        return first
    _require(several, "kind of a layer")
    _require(all(images.size == first.size for images in sources), "sizes")
    if isinstance(layer, PackedSum):
        _require(first == sources[1], "sizes")
        return first
    return first._replace(channels=sum(images.channels for images in sources))


def _window_pool(layer, images):
    _require(layer.kind in ("max", "avg", "mean") and isinstance(layer.counted, bool), "pooling")
    _floats((images.channels,), layer.scale, layer.shift)
    window = layer.window
    _window(window)
    _require(window.skip == 0, "window")
    if any(window.padding):
        _require(
            all(2 * p <= k <= FARTHEST for p, k in zip(window.padding, window.kernel)), "window"
        )
    return images._replace(size=_out_size(window, images.size))


def _cells(model, shape):
    _require(_tuple(model.stem, 1) and isinstance(model.cells, tuple), "stem and cells")
    older = newer = _join(model.stem, _Images(shape[0], tuple(shape[1:])), RealConv)
    for cell in model.cells:
        _require(isinstance(cell, PackedCell), "no PackedCell")
        older, newer = newer, _cell(cell, older, newer)
    return newer


def _cell(cell, older, newer):
    _require(_tuple(cell.inputs, 2), "inputs of a cell")
    inputs = [_join(branches, x, RealConv) for branches, x in zip(cell.inputs, (older, newer))]
    _require(inputs[0] == inputs[1], "inputs of a cell")
    count = len(cell.edges)
    _require(count >= 2 and count % 2 == 0, "edges of a cell")
    _require(_tuple(cell.edges, count) and _tuple(cell.predecessors, count), "edges of a cell")
    states = list(inputs)
    for number, (edge, source) in enumerate(zip(cell.edges, cell.predecessors)):
        _require(_whole(source, 0, 1 + number // 2), "predecessor")
        arriving = _join(edge, states[source], (BitConv, PackedPool, PackedSkip, PackedZero))
        if number % 2 == 0:
            states.append(arriving)
        node = states[-1]
        _require(arriving == node == states[2], "sizes in a cell")
    _require(node.channels == inputs[0].channels, "channels in a cell")
    _require(isinstance(cell.concat, tuple) and cell.concat, "concat")
    _require(all(_whole(state, 2, len(states) - 1) for state in cell.concat), "concat")
    _require(len(set(cell.concat)) == len(cell.concat), "concat")
    return _Images(node.channels * len(cell.concat), node.size)


def _join(branches, images, kinds):
    """What branches make of images; several are convolutions side by side."""
    _require(isinstance(branches, tuple) and branches, "branches")
    results = [_branch(branch, images, kinds) for branch in branches]
    if len(results) > 1:
        _require(all(isinstance(b[-1], (BitConv, RealConv)) for b in branches), "branches")
    _require(all(r.size == results[0].size for r in results), "sizes of branches")
    return _Images(sum(r.channels for r in results), results[0].size)


def _branch(branch, images, kinds):
    _require(isinstance(branch, tuple) and branch, "branch")
    for layer in branch:
        _require(isinstance(layer, kinds), "kind of a layer")
        _require(len(branch) == 1 or isinstance(layer, BitConv), "layers of a branch")
        if isinstance(layer, BitConv):
            finish = Rescale if layer is branch[-1] else Threshold
            _require(isinstance(layer.finish, finish), "finish")
            _require(finish is Threshold or layer.groups == 1, "groups")
            images = _bit_conv(layer, images)._replace(bits=False)
        elif isinstance(layer, RealConv):
            _require(layer.groups == 1, "groups")
            images = _real_conv(layer, images)
        elif isinstance(layer, PackedPool):
            _require(layer.kind in ("max", "avg") and _whole(layer.stride, 1, 2), "pooling")
            _floats((images.channels,), layer.scale, layer.shift)
            images = _strided(images, layer.stride)
        elif isinstance(layer, PackedZero):
            _require(_whole(layer.stride, 1, 2), "stride")
            images = _strided(images, layer.stride)
    return images


def _strided(images, stride):
    return images._replace(size=tuple(-(-n // stride) for n in images.size))


def _real_conv(layer, images):
    images = _conv(layer, images, np.float32)
    _require(isinstance(layer.relu, bool), "ReLU")
    _floats((images.channels,), layer.scale, layer.shift)
    return images


def _bit_conv(layer, images):
    images = _conv(layer, images, np.bool_)
    if isinstance(layer.finish, Rescale):
        _floats((images.channels,), *layer.finish)
    else:
        _array(layer.finish.least, np.int32, (images.channels,))
        _array(layer.finish.rising, np.bool_, (images.channels,))
        most = layer.w[0].size  # beyond that nothing changes, and int32 could overflow
        _require((abs(layer.finish.least.astype(np.int64)) <= most + 1).all(), "threshold")
        _require(gives_bits(layer), "groups or taps")
        return images._replace(bits=True)
    return images


def _conv(layer, images, dtype):
    w, window = layer.w, layer.window
    _require(isinstance(w, np.ndarray) and w.dtype == dtype and w.ndim == 4, "weights")
    _require(_whole(layer.groups, 1), "groups")
    _require(dtype == np.bool_ or np.isfinite(w).all(), "NaN or infinity")
    _require(w.size and w.shape[1] * layer.groups == images.channels, "channels")
    _require(len(w) % layer.groups == 0, "groups")
    _window(window)
    _require(window.kernel == w.shape[2:], "window")
    return _Images(w.shape[0], _out_size(window, images.size))


def _window(window):
    _require(isinstance(window, Window), "window")
    _require(all(_tuple(pair, 2) for pair in window[:4]), "window")
    _require(all(_whole(n, 1) for n in window.kernel), "window")
    _require(all(_whole(n, 1, FARTHEST) for n in window.stride + window.dilation), "window")
    _require(all(_whole(n, 0, FARTHEST) for n in window.padding), "window")
    _require(_whole(window.skip, 0, 1), "window")


def _out_size(window, size):
    size = window.out_size(size)
    _require(min(size) > 0, "size of the images")
    return size
