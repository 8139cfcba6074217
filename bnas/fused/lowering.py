"""Operations in terms of fused stages: which are known, and what they become."""

from bnas import nn
from bnas.fused.chains import REAL, Arithmetic, Stage, fused_chain
from bnas.kernels.windows import POINT
from bnas.nn import is_exactly
from bnas.space.operations import Chain, FactorizedReduce, Pool, ReLUConvBN, Separable


class Lowered:
    """What an operation does, as stages of `chains`; weights, statistics and modes are read at each call.

    Args:
        convolutions: of all stages in turn, of the same class and surrogate.
        windows: for each stage, those of its units.
        norms: the BatchNorm2d of each stage.
        pooling: the arguments of `pool_lanes` for what comes before the stages, or None.
    """

    def __init__(self, convolutions, windows, norms, pooling=None):
        self.convolutions, self.pooling = convolutions, pooling
        self.stages = tuple(map(Stage, windows, norms))
        self.affine = any(norm.weight is not None for norm in norms)
        self.binary = any(isinstance(conv, nn.XnorConv2d) for conv in convolutions)
        self.surrogate = convolutions[0].surrogate if self.binary else None
        self._sources, rest = [], iter(convolutions)
        for stage in self.stages:
            own = stage.weights() - 2 * (stage.norm.weight is not None)
            self._sources += [(next(rest), "weight") for _ in range(own)]
            if stage.norm.weight is not None:
                self._sources += [(stage.norm, "weight"), (stage.norm, "bias")]

    def weights(self):
        """The Parameters of the stages in turn."""
        return [getattr(module, name) for module, name in self._sources]

    def arithmetic(self):
        """The Arithmetic of the units; None if some weights are 1-bit now and others real."""
        if not self.binary:
            return REAL
        first = self.convolutions[0]
        if any(conv.binary_weights != first.binary_weights for conv in self.convolutions):
            return None
        return Arithmetic(True, self.surrogate, first.binary_weights)

    def chain(self, x, batch, base=None, keep=None):
        """The stages on a Tensor in lanes, see `fused_chain`."""
        arithmetic, weights = self.arithmetic(), self.weights()
        return fused_chain(x, weights, arithmetic, batch, self.stages, base, keep)


def lower(operation):
    """The operation as a Lowered, or None if this module does not know it."""
    lowering = _LOWERINGS.get(type(operation))
    return lowering(operation) if lowering and "forward" not in vars(operation) else None


def _lower_separable(operation):
    depthwise, pointwise = operation.depthwise, operation.pointwise
    channels = depthwise.weight.shape[0]
    by_channel = depthwise.groups == channels and depthwise.weight.shape[1] == 1
    if not by_channel or pointwise.window != POINT or pointwise.weight.shape[1] != channels:
        return None
    return _lower_units((depthwise.window,), (depthwise, pointwise), operation.bn)


def _lower_relu_conv_bn(operation):
    conv = operation.conv
    return _lower_pointwise((conv.window,), (conv,), operation.bn)


def _lower_factorized_reduce(operation):
    shifted = operation.conv2.window._replace(skip=operation.SHIFT)
    windows, convolutions = (operation.conv1.window, shifted), (operation.conv1, operation.conv2)
    return _lower_pointwise(windows, convolutions, operation.bn)


def _lower_pointwise(windows, convolutions, bn):
    """Units without a depthwise convolution, side by side."""
    fits = all(conv.window.kernel == (1, 1) and conv.groups == 1 for conv in convolutions)
    return _lower_units(windows, convolutions, bn) if fits else None


def _lower_units(windows, convolutions, bn):
    """One stage: units with such windows, of these convolutions in turn, then a BatchNorm2d."""
    kinds = {_kind(conv) for conv in convolutions}
    if len(kinds) > 1 or None in kinds or not is_exactly(bn, nn.BatchNorm2d):
        return None
    ends = convolutions[-len(windows) :]  # the units' pointwise convolutions
    if bn.running_mean.size != sum(conv.weight.shape[0] for conv in ends):
        return None
    return Lowered(convolutions, (windows,), (bn,))


def _kind(conv):
    """What all convolutions of an operation must share; None for a convolution that is not known."""
    if is_exactly(conv, nn.Conv2d) and conv.bias is None:
        return "real"
    known = is_exactly(conv, nn.XnorConv2d) and conv.beta is None and conv.surrogate != "tanh"
    return conv.surrogate if known else None


def _lower_chain(operation):
    first, second = lower(operation.first), lower(operation.second)
    if first is None or second is None or not (first.convolutions and second.convolutions):
        return None
    convolutions = *first.convolutions, *second.convolutions
    if len({_kind(conv) for conv in convolutions}) > 1:
        return None
    stages = *first.stages, *second.stages
    return Lowered(convolutions, [s.windows for s in stages], [s.norm for s in stages])


def _lower_pool(operation):
    pool, largest = operation.pool, is_exactly(operation.pool, nn.MaxPool2d)
    average = is_exactly(pool, nn.AvgPool2d) and not pool.count_include_pad
    settings = pool.kernel_size, pool.stride, pool.padding
    square = all(isinstance(n, int) for n in settings)
    if not (largest or average) or not square or not is_exactly(operation.bn, nn.BatchNorm2d):
        return None
    return Lowered((), ((),), (operation.bn,), (largest, *settings))


_LOWERINGS = {
    Chain: _lower_chain,
    FactorizedReduce: _lower_factorized_reduce,
    Pool: _lower_pool,
    ReLUConvBN: _lower_relu_conv_bn,
    Separable: _lower_separable,
}
