"""From a plain network to one that trains fast: each part by its type, from outside.

The network knows nothing of this. A part whose type is known here, and whose settings are, becomes stages of
fused kernels; any other (an operation of one's own, a 7×1 convolution, a learned β, the tanh surrogate) is
computed by its own `forward` in NCHW, inside an otherwise fused network.
"""

from typing import NamedTuple

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor
from bnas.fused import kernels
from bnas.fused.chains import Arithmetic, Norm, Stage, fused_chain
from bnas.fused.edges import ChainPart, GivenPart, fused_edge
from bnas.fused.layout import from_lanes, mean_of_lanes, pool_lanes, to_lanes
from bnas.space.genotype import edges
from bnas.space.network import FixedCell, Network
from bnas.space.operations import (
    Chain,
    FactorizedReduce,
    Pool,
    ReLUConvBN,
    Separable,
    Skip,
    Zero,
)
from bnas.space.supernet import MixedCell, Supernet

IDENTITY = ChainPart(Arithmetic(binary=False), ())


def compile(model):
    """A callable of the same arguments and results as `model`, several times as fast in training.

    It stands in for the model wherever a Module is wanted: its parts, Parameters, running statistics and attributes
    are the model's, so it is trained, evaluated, saved and loaded through either alike. Results agree with the
    model's but for the order of summation.

    Args:
        model: Supernet or Network. Any other Module is returned as it is.
    """
    for kind, compiled in ((Supernet, FusedSupernet), (Network, FusedNetwork)):
        if _is(model, kind):
            return compiled(model)
    return model


class Compiled(nn.Module):
    """A Module that stands in for another, its `model`; subclasses say how they compute."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        if name == "model":  # not set yet: a copy in the making
            raise AttributeError(name)
        return getattr(self.model, name)

    @property
    def training(self):
        return self.model.training

    def named_modules(self, prefix=""):
        return self.model.named_modules(prefix)

    def modules(self):
        return self.model.modules()


class FusedSupernet(Compiled):
    """A Supernet whose cells compute in lanes, an edge at a time."""

    def forward(self, x, alpha=None):
        """Logits (B, N); arguments as of Supernet."""
        model, batch = self.model, len(x)
        weights = F.softmax(model.alpha if alpha is None else alpha, axis=-1)
        by_kind = weights[..., 0, :, :], weights[..., 1, :, :]
        older = newer = _stem(model.stem, x)
        for cell in model.cells:
            older, newer = newer, _mixed_cell(cell, older, newer, by_kind[cell.reduction], batch)
        return model.classifier(mean_of_lanes(newer, batch))


class FusedNetwork(Compiled):
    """A Network that trains in lanes. In evaluation it is the network, whose bits a packed one repeats."""

    def forward(self, x):
        """Logits (B, N) of images (B, C, H, W)."""
        model, batch = self.model, len(x)
        if not model.training:
            return model(x)
        older = newer = _stem(model.stem, x)
        for cell in model.cells:
            older, newer = newer, _fixed_cell(cell, older, newer, batch, model.path_factors)
        return model.classifier(mean_of_lanes(newer, batch))


# ------------------------------------------------------------------------------------------ cells


class State:
    """A state of a cell in lanes, with what several of its edges need of it made once."""

    def __init__(self, x, batch):
        self.x, self.batch = x, batch
        self._images, self._pooled = None, {}

    @property
    def images(self):
        """The state in NCHW, a Tensor (B, C, H, W)."""
        if self._images is None:
            self._images = from_lanes(self.x, self.batch)
        return self._images

    def pooled(self, pooling, training):
        """(the Tensor that a pooling makes of it, its moments if they are wanted)."""
        if pooling not in self._pooled:
            y = pool_lanes(self.x, *pooling)
            self._pooled[pooling] = y, kernels.moments(y.data) if training else None
        return self._pooled[pooling]


def _stem(stem, x):
    """The stem's output in lanes."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    parts = list(stem)
    if len(parts) == 2 and _is(parts[1], nn.BatchNorm2d):
        conv, bn = parts
        stage, weights = _stage((), (), bn)
        return fused_chain(to_lanes(conv(x)), weights, IDENTITY.arithmetic, len(x), (stage,))
    return to_lanes(stem(x))


def _mixed_cell(cell, older, newer, weights, batch):
    """MixedCell.forward, an edge at a time."""
    if not _is(cell, MixedCell):
        images = (from_lanes(x, batch) for x in (older, newer))
        return to_lanes(cell(*images, weights))
    states, incoming = _inputs(cell, older, newer, batch), None
    for e, ((i, j), candidates) in enumerate(zip(edges(cell.nodes), cell.edges)):
        parts, tensors = _edge(candidates, states[i])
        row = weights[..., e, :]
        incoming = fused_edge(row, incoming, states[i].x, tensors, batch, parts)
        if i == j - 1:
            states.append(State(incoming, batch))
            incoming = None
    return F.concat([state.x for state in states[2:]], axis=1)


def _edge(candidates, state):
    """(parts, their tensors) of the candidates of an edge from `state`, for `fused_edge`."""
    parts, tensors = [], []
    for operation in candidates:
        if _is(operation, Zero):
            part, own = None, []
        elif _is(operation, Skip):
            part, own = IDENTITY, []
        else:
            lowered = _lower(operation)
            if lowered is None or any(stage.norm.affine for stage in lowered.stages):
                part, own = GivenPart(), [_apply(operation, state)]
            elif lowered.pooling is not None:
                norm = lowered.stages[0].norm
                y, moments = state.pooled(lowered.pooling, norm.training)
                part, own = GivenPart(norm, moments), [y]
            else:
                part, own = ChainPart(lowered.arithmetic, lowered.stages), lowered.weights
        parts.append(part)
        tensors += own
    return tuple(parts), tensors


def _fixed_cell(cell, older, newer, batch, path_factors):
    """FixedCell.forward, an operation at a time."""
    if not _is(cell, FixedCell):
        images = (from_lanes(x, batch) for x in (older, newer))
        return to_lanes(cell(*images))
    states = _inputs(cell, older, newer, batch)
    arriving = iter(zip(cell.operations, cell.predecessors))
    for operation, i in arriving:
        keep = path_factors(operation, batch, states[i].x.dtype)
        first = _apply(operation, states[i], None, keep)
        operation, i = next(arriving)
        keep = path_factors(operation, batch, states[i].x.dtype)
        states.append(State(_apply(operation, states[i], first, keep), batch))
    return F.concat([states[i].x for i in cell.concat], axis=1)


def _inputs(cell, older, newer, batch):
    """The two input States of a cell."""
    pairs = (cell.input0, older), (cell.input1, newer)
    return [State(_apply(part, State(x, batch)), batch) for part, x in pairs]


def _apply(operation, state, base=None, keep=None):
    """base + keep ∘ operation(state), a Tensor in lanes; keep: None or a factor (B,) for each sample."""
    if _is(operation, Skip):  # which is never dropped
        return state.x if base is None else base + state.x
    lowered = _lower(operation)
    if lowered is None:
        y = operation(state.images)
        if keep is not None:
            y = y * Tensor(keep.reshape(-1, 1, 1, 1))
        y = to_lanes(y)
        return y if base is None else base + y
    x = state.x
    if lowered.pooling is not None:
        x, _ = state.pooled(lowered.pooling, False)
    arithmetic, stages = lowered.arithmetic, lowered.stages
    return fused_chain(x, lowered.weights, arithmetic, state.batch, stages, base, keep)


# --------------------------------------------------------------------------------------- operations


class Lowered(NamedTuple):
    """What an operation does, in terms of `chains`.

    Attributes:
        arithmetic: of its units.
        stages: a tuple of Stage.
        weights: the Parameters of the stages in turn.
        pooling: the arguments of `pool_lanes` for what comes before the stages, or None.
    """

    arithmetic: Arithmetic
    stages: tuple
    weights: list
    pooling: tuple | None = None


def _is(module, kind):
    """Whether a module computes what the class `kind` says, and not a subclass or a patched instance."""
    return type(module) is kind and "forward" not in vars(module)


def _lower(operation):
    """The operation as a Lowered, or None if this module does not know it."""
    lower = _LOWERINGS.get(type(operation))
    return lower(operation) if lower and "forward" not in vars(operation) else None


def _lower_separable(operation):
    convolutions = operation.depthwise, operation.pointwise
    return _lower_units((operation.depthwise.sliding_window(),), convolutions, operation.bn)


def _lower_relu_conv_bn(operation):
    return _lower_units((operation.conv.sliding_window(),), (operation.conv,), operation.bn)


def _lower_factorized_reduce(operation):
    windows = operation.conv1.sliding_window(), operation.conv2.sliding_window(operation.SHIFT)
    return _lower_units(windows, (operation.conv1, operation.conv2), operation.bn)


def _lower_units(windows, convolutions, bn):
    """One stage: units with such windows, of these convolutions in turn, then a BatchNorm2d."""
    arithmetic = _arithmetic(convolutions)
    if arithmetic is None or not _is(bn, nn.BatchNorm2d):
        return None
    stage, weights = _stage(windows, convolutions, bn)
    return Lowered(arithmetic, (stage,), weights)


def _lower_chain(operation):
    first, second = _lower(operation.first), _lower(operation.second)
    if first is None or second is None or first.pooling or second.pooling:
        return None
    if first.arithmetic != second.arithmetic:
        return None
    return Lowered(
        first.arithmetic, (*first.stages, *second.stages), [*first.weights, *second.weights]
    )


def _lower_pool(operation):
    pool, largest = operation.pool, _is(operation.pool, nn.MaxPool2d)
    average = _is(pool, nn.AvgPool2d) and not pool.count_include_pad
    square = all(isinstance(n, int) for n in pool.window)
    if not (largest or average) or not square or not _is(operation.bn, nn.BatchNorm2d):
        return None
    stage, weights = _stage((), (), operation.bn)
    return Lowered(IDENTITY.arithmetic, (stage,), weights, (largest, *pool.window))


_LOWERINGS = {
    Chain: _lower_chain,
    FactorizedReduce: _lower_factorized_reduce,
    Pool: _lower_pool,
    ReLUConvBN: _lower_relu_conv_bn,
    Separable: _lower_separable,
}


def _arithmetic(convolutions):
    """The Arithmetic that all the convolutions share, or None."""
    found = {_arithmetic_of(conv) for conv in convolutions}
    return found.pop() if len(found) == 1 else None


def _arithmetic_of(conv):
    if _is(conv, nn.Conv2d) and conv.bias is None:
        return IDENTITY.arithmetic
    known = _is(conv, nn.XnorConv2d) and conv.beta is None and conv.surrogate != "tanh"
    return Arithmetic(True, conv.surrogate, conv.binary_weights) if known else None


def _stage(windows, convolutions, bn):
    """(Stage, its Parameters)."""
    affine = bn.weight is not None
    norm = Norm(bn.running_mean, bn.running_var, bn.momentum, bn.eps, bn.training, affine)
    weights = [conv.weight for conv in convolutions]
    return Stage(windows, norm), weights + ([bn.weight, bn.bias] if affine else [])
