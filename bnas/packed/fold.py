"""From a trained network to a packed one: signs become bits, batch norm and sign become thresholds."""

import numpy as np

import bnas.functional as F
from bnas import nn
from bnas.errors import InputError, argument
from bnas.functional.norm import evaluation_affine
from bnas.nn import is_exactly
from bnas.packed import layers
from bnas.space.operations import Chain, Factorized7, FactorizedReduce, Pool, Separable, Skip, Zero


def fold(network):
    """The `layers.Model` of a trained 1-bit bnas.space.network.Network, as it is in evaluation mode.

    Raises:
        InputError: the network is real, or its weights are still real (first of two stages), or it
            holds NaN or infinity.
    """
    names = {module: name for name, module in network.named_modules()}
    convolutions = [m for m in names if isinstance(m, nn.XnorConv2d)]
    if any(not m.binary_weights for m in convolutions):
        raise InputError("the weights are still real (first stage); finish the training, then pack")
    operations = [m for cell in network.cells for m in cell.operations.modules()]
    if any(isinstance(m, nn.Conv2d) for m in operations):
        raise InputError(
            "a real network has no bits to pack; train it with ", argument("precision", "binary")
        )
    require_finite_float32(network)
    cells = tuple(_cell(cell, names) for cell in network.cells)
    (conv, bn), linear = network.stem, network.classifier
    return layers.Model(
        ((_real_conv(conv, *_affine(bn), relu=False),),),
        cells,
        linear.weight.data.copy(),
        linear.bias.data.copy(),
    )


def require_finite_float32(network):
    """Raise InputError unless all numbers of a Module are finite and float32."""
    for name, array in network.state_dict().items():
        if array.dtype.kind == "f" and array.dtype != np.float32:
            raise InputError(
                f"{name} is {array.dtype}, expected float32; use network.astype(np.float32)"
            )
        if not np.isfinite(array).all():
            raise InputError(
                f"{name} of the network holds NaN or infinity; train it again with a smaller ",
                argument("lr"),
            )


def _cell(cell, names):
    return layers.PackedCell(
        tuple(_input(cell_input) for cell_input in (cell.input0, cell.input1)),
        tuple(_branches(operation, names) for operation in cell.operations),
        tuple(cell.predecessors),
        tuple(cell.concat),
    )


def _input(module):
    """The branches of a cell's input, which is real."""
    if isinstance(module, FactorizedReduce):
        return tuple((conv,) for conv in _halves(module, _real_conv))
    return ((_real_conv(module.conv, *_affine(module.bn)),),)


def _halves(module, make):
    """make(convolution, scale, shift, skip) for each half of a factorised reduction; the first has no skip."""
    scale, shift = _affine(module.bn)
    half = module.conv1.weight.shape[0]
    return (
        make(module.conv1, scale[:half], shift[:half]),
        make(module.conv2, scale[half:], shift[half:], module.SHIFT),
    )


def _branches(operation, names):
    """The branches of a candidate operation in 1 bit."""
    if is_exactly(operation, FactorizedReduce):

        def half(conv, scale, shift, skip=0):
            return _bit_conv(conv, names, layers.Rescale(_beta(conv), scale, shift), skip)

        return tuple((conv,) for conv in _halves(operation, half))
    if is_exactly(operation, Skip):
        return ((layers.PackedSkip(),),)
    if is_exactly(operation, Zero):
        return ((layers.PackedZero(operation.stride),),)
    if is_exactly(operation, Pool):
        pool = operation.pool
        kind = "avg" if is_exactly(pool, nn.AvgPool2d) and not pool.count_include_pad else "max"
        if (kind == "max" and not is_exactly(pool, nn.MaxPool2d)) or (
            pool.kernel_size,
            pool.padding,
        ) != (3, 1):
            raise InputError(
                "a pooling of the network is not 3×3 with padding 1, max or average over the pixels inside; "
                "no other is packed"
            )
        return ((layers.PackedPool(kind, pool.stride, *_affine(operation.bn)),),)
    return (_chain(operation, names, last=True),)


def _chain(operation, names, last):
    """The 1-bit convolutions of an operation; the last one of an edge puts out real numbers."""
    if is_exactly(operation, Chain):
        return _chain(operation.first, names, False) + _chain(operation.second, names, last)
    if is_exactly(operation, Separable):
        first, second = operation.depthwise, operation.pointwise
    elif is_exactly(operation, Factorized7):
        first, second = operation.conv1, operation.conv2
    else:
        raise InputError(
            f"the network has an operation of class {type(operation).__name__}, of which no packed form is "
            "known; find and train a network of the operations that come with bnas"
        )
    affine = layers.Rescale(_beta(second), *_affine(operation.bn))
    return (
        _bit_conv(first, names, _threshold(first, names, layers.Rescale(_beta(first), None, None))),
        _bit_conv(second, names, affine if last else _threshold(second, names, affine)),
    )


def _affine(bn):
    """(scale, shift) of a batch norm in evaluation mode, float32 (C,), as F.batch_norm computes them."""
    gamma = None if bn.weight is None else bn.weight.data
    beta = None if bn.bias is None else bn.bias.data
    with np.errstate(over="ignore", invalid="ignore"):
        affine = evaluation_affine(
            gamma, beta, bn.running_mean, bn.running_var, bn.eps, bn.running_mean.dtype
        )[1:]
    if not all(np.isfinite(array).all() for array in affine):
        raise InputError(
            "a batch norm of the network overflows, or has a negative variance; train it again with a smaller ",
            argument("lr"),
        )
    return affine


def _beta(conv):
    return (F.channel_scale(conv.weight.data) if conv.beta is None else conv.beta.data).copy()


def _bit_conv(conv, names, finish, skip=0):
    window, groups = conv.window._replace(skip=skip), conv.groups
    return layers.BitConv(names[conv], conv.weight.data > 0, window, groups, finish)


def _real_conv(conv, scale, shift, skip=0, relu=True):
    window, groups = conv.window._replace(skip=skip), conv.groups
    return layers.RealConv(conv.weight.data.copy(), window, groups, relu, scale, shift)


def _threshold(conv, names, affine):
    return threshold(int(np.prod(conv.weight.shape[1:])), affine, names[conv])


def threshold(most, affine, name):
    """The Threshold on the integer dot product that equals sign(batch norm(β dot)), to the bit.

    The dot product is -`most` to `most`; `affine` is a Rescale, whose scale and shift may be None; `name` is what
    an error calls the convolution.

    Every step of the float computation is monotone in the dot product, rounding included. So its values
    for all possible integers, computed as the training graph computes them, change sign at most once. That
    place is the threshold: exact for all β and γ, also where they are zero or negative.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        value = np.arange(-most, most + 1, dtype=np.float32)[:, None] * affine.beta
        if affine.scale is not None:
            value = value * affine.scale + affine.shift
    if not np.isfinite(value).all():
        raise InputError(
            f"β and batch norm of {name} overflow; train the network again with a smaller learning rate"
        )
    positive = value > 0
    rising = positive[-1] | ~positive[0]
    count = positive.sum(axis=0)
    least = np.where(rising, most + 1 - count, count - most)
    return layers.Threshold(least.astype(np.int32), rising)
