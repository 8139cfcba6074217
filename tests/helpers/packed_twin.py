"""What the records of a packed network say, computed from them in plain NumPy: the oracle for every plan."""

import numpy as np

from bnas import reference
from bnas.packed.layers import (
    BitConv,
    PackedAffine,
    PackedConcat,
    PackedPool,
    PackedSkip,
    PackedSteps,
    PackedSum,
    PackedWindowPool,
    PackedZero,
    RealConv,
    Threshold,
)


def logits(model, x):
    """Logits float64 (N, classes) of images (N, C, H, W)."""
    x = x.astype(np.float64)
    last = _steps(model.steps, x) if isinstance(model, PackedSteps) else _cells(model, x)
    return last.mean(axis=(2, 3)) @ model.w.T.astype(np.float64) + model.bias


def _cells(model, x):
    older = newer = _join(model.stem, x)
    for cell in model.cells:
        older, newer = newer, _cell(cell, older, newer)
    return newer


def _steps(steps, x):
    made = [x]
    for sources, layer in steps:
        inputs = [made[source] for source in sources]
        if isinstance(layer, PackedSum):
            made.append(inputs[0] + inputs[1])
        elif isinstance(layer, PackedConcat):
            made.append(np.concatenate(inputs, axis=1))
        else:
            made.append(_layer(layer, inputs[0]))
    return made[-1]


def _cell(cell, older, newer):
    states = [_join(branches, x) for branches, x in zip(cell.inputs, (older, newer))]
    for node in range(0, len(cell.edges), 2):
        first, second = (
            _join(cell.edges[edge], states[cell.predecessors[edge]]) for edge in (node, node + 1)
        )
        states.append(first + second)
    return np.concatenate([states[i] for i in cell.concat], axis=1)


def _join(branches, x):
    return np.concatenate([_branch(branch, x) for branch in branches], axis=1)


def _branch(branch, x):
    for layer in branch:
        x = _layer(layer, x)
    return x


def _layer(layer, x):
    if isinstance(layer, PackedSkip):
        return x
    if isinstance(layer, PackedZero):
        return np.zeros_like(x[:, :, :: layer.stride, :: layer.stride])
    if isinstance(layer, PackedPool):
        stride = (layer.stride, layer.stride)
        if layer.kind == "max":
            y = reference.max_pool2d(x, (3, 3), stride, (1, 1), (1, 1))[0]
        else:
            y = reference.avg_pool2d(x, (3, 3), stride, (1, 1), False)
    elif isinstance(layer, PackedWindowPool):
        kernel, stride, padding, dilation, _ = layer.window
        if layer.kind == "max":
            y = reference.max_pool2d(x, kernel, stride, padding, dilation)[0]
        else:
            y = _average(layer, x)
    elif isinstance(layer, PackedAffine):
        y = x * layer.scale[:, None, None] + layer.shift[:, None, None]
        return np.where(y < 0, layer.slope[:, None, None] * y, y)
    elif isinstance(layer, RealConv):
        y = _convolve(layer, np.maximum(x, 0) if layer.relu else x, layer.w.astype(np.float64))
    else:
        assert isinstance(layer, BitConv)
        bits = x if x.dtype == np.bool_ else x > 0
        dot = _convolve(layer, np.where(bits, 1.0, -1.0), np.where(layer.w, 1.0, -1.0))
        if isinstance(layer.finish, Threshold):
            least, rising = layer.finish.least, layer.finish.rising
            return (dot >= least[:, None, None]) == rising[:, None, None]
        y = dot * layer.finish.beta[:, None, None]
        layer = layer.finish
    return y * layer.scale[:, None, None] + layer.shift[:, None, None]


def _average(layer, x):
    """The mean of each window, which may be dilated."""
    _, stride, padding, dilation, _ = layer.window
    channels, taps = x.shape[1], np.ones((1, 1, *layer.window.kernel))
    settings = None, stride, padding, dilation
    sums = reference.conv2d(x, np.repeat(taps, channels, axis=0), *settings, channels)
    inside = np.ones((1, 1, *x.shape[2:]))
    counts = taps.size if layer.counted else reference.conv2d(inside, taps, *settings, 1)
    return sums / np.maximum(counts, 1)


def _convolve(layer, x, w):
    """Outputs with the first `skip` rows and columns left out."""
    _, stride, padding, dilation, skip = layer.window
    y = reference.conv2d(x, w, None, stride, padding, dilation, layer.groups)
    return y[:, :, skip:, skip:]
