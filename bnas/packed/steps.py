"""From any trained Module to the steps of a packed network, by the graph of what it computes.

`fold_module` records what the network does to a few images, gives each operation a packed form, and then joins
them: a batch norm to the layer before it, batch norm and sign between two 1-bit convolutions to a threshold.
"""

from collections import Counter
from math import prod
from typing import NamedTuple

import numpy as np

from bnas import nn
from bnas.autodiff import Tensor
from bnas.errors import InputError
from bnas.functional.activations import PReLU, ReLU
from bnas.functional.arithmetic import Add
from bnas.functional.binarise import SignSTE, XnorConv2d
from bnas.functional.conv import Conv2d
from bnas.functional.elementwise import Clone
from bnas.functional.linear import Linear
from bnas.functional.norm import BatchNormEvaluation, evaluation_affine
from bnas.functional.pooling import AvgPool2d, MaxPool2d
from bnas.functional.reductions import Mean
from bnas.functional.shape import Concat, Reshape
from bnas.kernels.pooling import SMALL
from bnas.kernels.windows import POINT, Window
from bnas.packed.check import FARTHEST, gives_bits, results, takes_bits
from bnas.packed.fold import require_finite_float32, threshold
from bnas.packed.layers import (
    BitConv,
    PackedAffine,
    PackedConcat,
    PackedStep,
    PackedSteps,
    PackedSum,
    PackedWindowPool,
    RealConv,
    Rescale,
)
from bnas.packed.trace import trace
from bnas.space.skeleton import Skeleton

KNOWN = (
    "convolutions, 1-bit or real, batch norm in evaluation, max and average pooling, ReLU, PReLU, Linear, "
    "flattening, the mean over all pixels, sums of two results and concatenation along the channels"
)


def fold_module(network, shape):
    """The `PackedSteps` of a trained nn.Module that takes images of `shape` (C, H, W), as in evaluation mode.

    Its forward is run on random images, by a copy of it. It may compute with Modules and with bnas.functional, but
    the same for all images.

    Raises:
        InputError: a part cannot be packed, which is named; or there is no 1-bit convolution; or numbers are not
            float32, or NaN or infinite.
    """
    if not isinstance(network, nn.Module) or any(
        isinstance(part, Skeleton) for part in network.modules()
    ):
        raise InputError(
            "a Module of layers or the network of a genotype can be packed, not a "
            f"{type(network).__name__}; train one with bnas train, or give the `model` of a compiled one"
        )
    shape = tuple(int(n) for n in shape)
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"the shape of images is {shape}, expected (channels, height, width)")
    require_finite_float32(network)
    images = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    others = np.concatenate([-images, np.zeros((1, *shape), np.float32)])  # as different as may be
    model = _fold_trace(network, images)
    if not _equal(model, _fold_trace(network, others)):
        raise InputError(
            "the network does not compute the same for all images; take out of its forward what depends on "
            "values or on the number of images"
        )
    return model


def _fold_trace(network, images):
    """The PackedSteps of what the network does to `images`."""
    shape = images.shape[1:]
    operations, logits = trace(network, images)
    folding = _Folding(shape)
    for operation in operations:
        folding.fold(operation)
    last = folding.made[-1]
    if len(logits) != 2 or last.signs or folding.sizes[last.step][1:] != (1, 1):
        raise InputError(
            f"the network makes {logits} of {len(images)} images, expected logits (N, classes), from a Linear "
            "or a mean over all pixels"
        )
    if not any(isinstance(step.layer, BitConv) for step in folding.steps):
        raise InputError(
            "the network has no 1-bit convolution, so it has no bits to pack; use nn.XnorConv2d"
        )
    return _with_head(_with_thresholds(_joined(folding.steps)), shape)


def _equal(a, b):
    """Whether two trees of records are the same."""
    if isinstance(a, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(_equal, a, b))
    return np.array_equal(a, b)


# --------------------------------------------------------------- from operations to steps


class _Made(NamedTuple):
    """What an operation makes.

    Attributes:
        step: the number of the step that computes it, 0 for the images.
        shape: without the batch: (C, H, W), or (F,) if it is flattened.
        signs: whether it is only the signs of what the step computes.
    """

    step: int
    shape: tuple
    signs: bool = False


class _Folding:
    """The steps of the operations seen so far.

    Attributes:
        steps: list of PackedStep.
        sizes: (C, H, W) of the images and of what each step makes.
        made: a _Made for the images and for each operation.
    """

    def __init__(self, shape):
        self.steps, self.sizes, self.made = [], [shape], [_Made(0, shape)]
        self.names = set()

    def fold(self, operation):
        """Add what `operation` does."""
        fold = _FORMS.get(operation.context.function)
        if fold is None:
            _refuse(operation, f"no packed form of it is known; known are {KNOWN}")
        several = fold in (_sum, _concat)
        if operation.inputs[0] is None or any(
            (source is None) == several for source in operation.inputs[1:]
        ):
            _refuse(
                operation,
                "it computes with numbers that do not come from the images"
                if several
                else "only its first input may come from the images",
            )
        sources = [self.made[source] for source in operation.inputs if source is not None]
        signs = any(source.signs for source in sources)
        if signs and fold not in (_bit_conv, _same, _signs, _reshape):
            why = "it computes with signs as real numbers"
            if fold is _real_conv:
                why = "its weights are still real (first stage); finish the training, then pack"
            _refuse(operation, why)
        self.made.append(fold(self, operation, *sources))

    def add(self, layer, size, *sources, shape=None):
        """The _Made of a new step, which makes images of `size` (C, H, W)."""
        size = tuple(int(n) for n in size)
        self.steps.append(PackedStep(tuple(source.step for source in sources), layer))
        self.sizes.append(size)
        return _Made(len(self.steps), size if shape is None else shape)

    def images(self, operation, x):
        """(C, H, W) of x, if it is images."""
        if x.shape != self.sizes[x.step]:
            _refuse(operation, f"it needs images, and gets an array (N, {x.shape[0]})")
        return x.shape

    def name(self, operation):
        """A name of its own for a 1-bit convolution."""
        name = first = operation.module or "forward"
        number = 1
        while name in self.names:
            number += 1
            name = f"{first} ({number})"
        self.names.add(name)
        return name


def _refuse(operation, why):
    raise InputError(f"{operation} cannot be packed: {why}")


def _constant(operation, i):
    """The array of an input that is a Parameter, or None."""
    source, given = operation.context.inputs[i], operation.context.shapes[i]
    if given is not None and not isinstance(source, Tensor):
        _refuse(operation, "what it adds or multiplies by is no Parameter")
    return None if source is None else source.data


def _window(operation, window):
    """The window of an operation, if packed networks can have such."""
    farthest = max(*window.padding, *window.dilation, *window.stride)
    if farthest > FARTHEST:
        _refuse(operation, f"its stride, padding or dilation is above {FARTHEST}")
    return Window(*(tuple(int(n) for n in pair) for pair in window[:4]))


def _numbers(n, value):
    return np.full(n, value, np.float32)


def _real_conv(folding, operation, x):
    _, height, width = folding.images(operation, x)
    context, bias = operation.context, _constant(operation, 2)
    window, w = _window(operation, context.window), context.w.copy()
    shift = _numbers(len(w), 0) if bias is None else bias.copy()
    layer = RealConv(w, window, context.groups, False, _numbers(len(w), 1), shift)
    return folding.add(layer, (len(w), *window.out_size((height, width))), x)


def _bit_conv(folding, operation, x):
    _, height, width = folding.images(operation, x)
    context = operation.context
    window, w = _window(operation, context.window), context.w > 0
    rescale = Rescale(context.beta.copy(), _numbers(len(w), 1), _numbers(len(w), 0))
    layer = BitConv(folding.name(operation), w, window, context.groups, rescale)
    return folding.add(layer, (len(w), *window.out_size((height, width))), x)


def _batch_norm(folding, operation, x):
    size = folding.images(operation, x)
    gamma, beta = _constant(operation, 1), _constant(operation, 2)
    mean, var, eps = (operation.context.params[name] for name in ("mean", "var", "eps"))
    with np.errstate(over="ignore", invalid="ignore"):
        scale, shift = evaluation_affine(gamma, beta, mean, var, eps, np.float32)[1:]
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        _refuse(operation, "it overflows, or has a negative variance; train the network again")
    return folding.add(PackedAffine(scale, shift, _numbers(len(scale), 1)), size, x)


def _relu(folding, operation, x):
    return _sloped(folding, x, 0)


def _prelu(folding, operation, x):
    slope = _constant(operation, 1)
    if slope is None or slope.size not in (1, folding.sizes[x.step][0]):
        _refuse(operation, "it has a slope for each pixel; use one for each channel")
    return _sloped(folding, x, slope)


def _sloped(folding, x, slope):
    size = folding.sizes[x.step]
    ones, zeros = _numbers(size[0], 1), _numbers(size[0], 0)
    return folding.add(PackedAffine(ones, zeros, zeros + slope), size, x, shape=x.shape)


def _max_pool(folding, operation, x):
    return _pool(folding, operation, x, "max", False)


def _avg_pool(folding, operation, x):
    params = operation.context.params
    kind = "avg" if prod(params["window"].kernel) <= SMALL else "mean"
    return _pool(folding, operation, x, kind, params["count_include_pad"])


def _pool(folding, operation, x, kind, counted):
    channels, *size = folding.images(operation, x)
    window = _window(operation, operation.context.params["window"])
    if any(window.padding) and max(window.kernel) > FARTHEST:
        _refuse(operation, f"it has padding and a window above {FARTHEST}")
    layer = PackedWindowPool(kind, window, counted, _numbers(channels, 1), _numbers(channels, 0))
    return folding.add(layer, (channels, *window.out_size(size)), x)


def _mean(folding, operation, x):
    params = operation.context.params
    if set(params["axis"]) != {2, 3}:
        _refuse(
            operation, f"it is over the axes {params['axis']}; a mean over (2, 3) can be packed"
        )
    channels, *size = folding.images(operation, x)
    ones, zeros = _numbers(channels, 1), _numbers(channels, 0)
    layer = PackedWindowPool("mean", Window(tuple(size)), False, ones, zeros)
    shape = (channels, 1, 1) if params["keepdims"] else (channels,)
    return folding.add(layer, (channels, 1, 1), x, shape=shape)


def _linear(folding, operation, x):
    """A convolution whose window is the whole image."""
    if len(x.shape) != 1:
        _refuse(
            operation, f"it needs an array (N, F), and gets images {x.shape}; flatten them first"
        )
    size, bias = folding.sizes[x.step], _constant(operation, 2)
    w = operation.context.w.reshape(-1, *size).copy()
    shift = _numbers(len(w), 0) if bias is None else bias.copy()
    layer = RealConv(w, Window(size[1:]), 1, False, _numbers(len(w), 1), shift)
    return folding.add(layer, (len(w), 1, 1), x, shape=(len(w),))


def _sum(folding, operation, x, y):
    if x.shape != y.shape or folding.sizes[x.step] != folding.sizes[y.step]:
        _refuse(operation, f"it adds arrays of other shapes, {x.shape} and {y.shape}")
    return folding.add(PackedSum(), folding.sizes[x.step], x, y, shape=x.shape)


def _concat(folding, operation, *parts):
    sizes = [folding.sizes[x.step] for x in parts]
    apart = any(len(x.shape) == 1 and size[1:] != (1, 1) for x, size in zip(parts, sizes))
    if operation.context.params["axis"] != 1 or apart:
        _refuse(operation, "it joins along another axis than the channels of images")
    size = (sum(size[0] for size in sizes), *sizes[0][1:])
    return folding.add(PackedConcat(), size, *parts, shape=size[: len(parts[0].shape)])


def _reshape(folding, operation, x):
    """Flattening, and to and fro between (N, F) and (N, F, 1, 1)."""
    batch, size = operation.context.shapes[0][0], folding.sizes[x.step]
    shape = np.empty((batch, *x.shape), bool).reshape(operation.context.params["shape"]).shape
    if shape[0] == batch and shape[1:] in (size, (prod(size),)):
        return x._replace(shape=shape[1:])
    _refuse(operation, f"it makes {shape} of {(batch, *x.shape)}; images can be flattened only")


def _same(folding, operation, x):
    return x


def _signs(folding, operation, x):
    return x._replace(signs=True)


_FORMS = {
    PReLU: _prelu,
    ReLU: _relu,
    Add: _sum,
    SignSTE: _signs,
    XnorConv2d: _bit_conv,
    Conv2d: _real_conv,
    Clone: _same,
    Linear: _linear,
    BatchNormEvaluation: _batch_norm,
    AvgPool2d: _avg_pool,
    MaxPool2d: _max_pool,
    Mean: _mean,
    Concat: _concat,
    Reshape: _reshape,
}


# ------------------------------------------------------------------------- joining steps


def _joined(steps):
    """The steps, with an affine step that alone reads its source made part of it, where that rounds alike."""
    reads, joined, numbers = Counter(s for step in steps for s in step.sources), [], {0: 0}
    for i, (sources, layer) in enumerate(steps, start=1):
        renumbered = tuple(numbers[source] for source in sources)
        if isinstance(layer, PackedAffine) and sources[0] and reads[sources[0]] == 1:
            before = joined[renumbered[0] - 1]
            with_affine = _joined_layer(before.layer, layer)
            if with_affine is not None:
                joined[renumbered[0] - 1] = before._replace(layer=with_affine)
                numbers[i] = renumbered[0]
                continue
        joined.append(PackedStep(renumbered, layer))
        numbers[i] = len(joined)
    return joined


def _joined_layer(layer, affine):
    """Both as one layer, or None."""
    if isinstance(layer, PackedAffine):
        if (layer.slope == 1).all() and _changes_nothing(affine):
            return layer._replace(slope=affine.slope)
        return None
    if not (affine.slope == 1).all():
        return None
    if isinstance(layer, BitConv) and _changes_nothing(layer.finish):
        return layer._replace(finish=Rescale(layer.finish.beta, affine.scale, affine.shift))
    if isinstance(layer, (RealConv, PackedWindowPool)) and _changes_nothing(layer):
        return layer._replace(scale=affine.scale, shift=affine.shift)
    return None


def _changes_nothing(layer):
    """Whether the scale and shift of a layer do nothing."""
    return bool((layer.scale == 1).all() and not layer.shift.any())


def _with_thresholds(steps):
    """The steps, with a threshold at the end of each 1-bit convolution of which only signs are read."""
    steps = list(steps)
    for i in range(
        len(steps), 0, -1
    ):  # from the last: who reads bits depends on what it makes itself
        layer = steps[i - 1].layer
        readers = [step.layer for step in steps if i in step.sources]
        if readers and gives_bits(layer) and all(map(takes_bits, readers)):
            finish = threshold(layer.w[0].size, layer.finish, layer.name)
            steps[i - 1] = steps[i - 1]._replace(layer=layer._replace(finish=finish))
    return steps


def _with_head(steps, shape):
    """The PackedSteps; a Linear at the end, and a mean over all pixels before it, become the classifier."""
    layer = steps[-1].layer
    pointwise = isinstance(layer, RealConv) and layer.window == POINT and layer.groups == 1
    if pointwise and (layer.scale == 1).all():
        steps, w, bias = steps[:-1], layer.w[:, :, 0, 0].copy(), layer.shift
    else:  # the result of the last step itself, which is one pixel
        classes = results(steps, shape)[-1].channels
        w, bias = np.eye(classes, dtype=np.float32), _numbers(classes, 0)
    if steps and isinstance(steps[-1].layer, PackedWindowPool):
        (source,), pool = steps[-1]
        whole = pool.window == Window(results(steps, shape)[source].size)
        if whole and pool.kind == "mean" and _changes_nothing(pool):
            steps = steps[:-1]
    return PackedSteps(tuple(steps), w, bias)
