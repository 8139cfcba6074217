"""Chains of convolutions and batch norms on images in lanes, each in one piece (operator fusion).

`bnas.fused.kernels.lanes` says what the layout is. A batch norm is never computed by itself: its sums come from
the kernel before, its affine map goes into the kernel after. `bnas.space.operations` has the same operations
one by one, in NCHW; tests hold the two together.
"""

from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from bnas import nn
from bnas.autodiff import Function
from bnas.functional.binarise import through_surrogate
from bnas.functional.elementwise import step_away
from bnas.functional.norm import require_own_memory, require_variance
from bnas.fused import kernels
from bnas.fused.surrogates import chain_surrogate


class Arithmetic(NamedTuple):
    """How the units of a chain compute.

    Attributes:
        binary: whether inputs are 1-bit.
        surrogate: of sign, if so: "clip", "identity" or "polynomial".
        binary_weights: whether weights then are 1-bit too.
    """

    binary: bool
    surrogate: str = "clip"
    binary_weights: bool = True

    def unit(self, depthwise, pointwise):
        """The Unit of such weights (see `bnas.fused.kernels.separable`); depthwise may be None."""
        if self.binary:
            return kernels.binary_unit(depthwise, pointwise, self.binary_weights)
        return kernels.real_unit(depthwise, pointwise)

    @property
    def slope(self):
        """The derivative of the activation, by the name that the kernels have for it."""
        return self.surrogate if self.binary else "relu"


REAL = Arithmetic(binary=False)


class NormMap(NamedTuple):
    """What a norm does to z, (z - mean) · scale + shift, and what its backward needs to know.

    Attributes:
        map: (mean, scale, shift), each (C,), the mean float64.
        inverse: 1 / √(v + ε), (C,).
        count: how many values of a channel mean and v are from; 0 if they are constants.
        gamma: (C,), or None for ones.
    """

    map: tuple
    inverse: np.ndarray
    count: int
    gamma: np.ndarray | None = None

    def slopes(self, sum_dy, sum_dot, factor, batch):
        """(a, e, f) of `kernels.norm_slopes`, times γ."""
        found = kernels.norm_slopes(sum_dy, sum_dot, factor, self.inverse, self.count, batch)
        if self.gamma is None:
            return found
        return tuple(part * self.gamma[:, None] for part in found)

    def gradients(self, sum_dy, sum_dot, factor):
        """[dγ, dβ], or [] without them; arguments as of `slopes`."""
        if self.gamma is None:
            return []
        dgamma, dbeta = (np.einsum("bcl,bl->c", part, factor) for part in (sum_dot, sum_dy))
        real = self.inverse.dtype
        return [(dgamma * self.inverse).astype(real), dbeta.astype(real)]


def norm_map(bn, sums, squares, batch, z, scale, gamma=None, beta=None):
    """The NormMap that a BatchNorm2d is for z; in training its running statistics move.

    sums, squares, batch, scale: as of `kernels.batch_statistics`; gamma, beta: its γ and β as arrays.
    """
    count = 0
    if bn.training:
        pixels = z.shape[2] * z.shape[3]
        count = batch * pixels
        require_variance(count, (batch, *z.shape[1:4]))
        require_own_memory(bn.running_mean, bn.running_var, weight=gamma, bias=beta)
        mean, inverse = kernels.batch_statistics(
            sums,
            squares,
            batch,
            pixels,
            scale,
            bn.eps,
            bn.running_mean,
            bn.running_var,
            bn.momentum,
        )
    else:
        mean = bn.running_mean.astype(np.float64)
        inverse = (1 / np.sqrt(bn.running_var + bn.eps)).astype(z.dtype)
    if gamma is None:
        return NormMap((mean, inverse, _zeros(len(mean), z.dtype)), inverse, count)
    return NormMap((mean, gamma * inverse, beta), inverse, count, gamma)


@cache  # nobody may write to it
def _zeros(channels, dtype):
    return np.zeros(channels, dtype)


@cache  # nobody may write to it
def identity(channels, dtype):
    """The NormMap that leaves so many channels as they are."""
    ones = np.ones(channels, dtype)
    return NormMap((np.zeros(channels), ones, _zeros(channels, dtype)), ones, 0)


class Stage(NamedTuple):
    """Units side by side on one input (see `kernels.separable`), their channels joined, then a norm.

    Attributes:
        windows: the Window of each unit's depthwise convolution. With the kernel (1, 1) a unit is a
            pointwise convolution alone, of one weight, else it has two. Without any window the norm stands
            alone, and is the only stage.
        norm: a BatchNorm2d; its γ and β, if it has them, come last among the weights.
    """

    windows: tuple
    norm: nn.BatchNorm2d

    def weights(self):
        """How many arrays the stage takes."""
        units = sum(1 + has_depthwise(window) for window in self.windows)
        return units + 2 * (self.norm.weight is not None)


def has_depthwise(window):
    return window.kernel != (1, 1)


class StageRecord(NamedTuple):
    """What a stage leaves for its backward."""

    x: np.ndarray
    before: NormMap  # what x goes through first
    units: list
    weights: list  # of each unit, depthwise (or None) and pointwise
    z: np.ndarray


class Tape:
    """The forward of stages one after another, recorded; the norm of the last is left to who uses `z`.

    Attributes:
        z: array in lanes.
        norm: the last norm, a NormMap.
    """

    def __init__(self, arithmetic, batch, x, stages, weights):
        self.arithmetic, self.batch, self.stages, self.records = arithmetic, batch, stages, []
        rest, norm = iter(weights), identity(x.shape[1], x.dtype)
        for stage in stages:
            if not stage.windows and len(stages) > 1:
                raise ValueError("a stage without windows must be the only one")
            pairs = [(next(rest) if has_depthwise(w) else None, next(rest)) for w in stage.windows]
            units = [arithmetic.unit(*pair) for pair in pairs]
            if units:
                results = [
                    (*kernels.separable(x, norm.map, unit, window), unit.scale)
                    for unit, window in zip(units, stage.windows)
                ]
                z, *sums, scale = results[0] if len(units) == 1 else _side_by_side(results)
            else:
                sums = kernels.moments(x) if stage.norm.training else (None, None)
                z, scale = x, _zeros(0, x.dtype)
            self.records.append(StageRecord(x, norm, units, pairs, z))
            own = () if stage.norm.weight is None else (next(rest), next(rest))
            x, norm = z, norm_map(stage.norm, *sums, batch, z, scale, *own)
        self.z, self.norm = x, norm

    def backward(self, dy, slopes, learns, dx=None):
        """(dx, the gradients of the weights, or []); dx is added to in place, if it is given.

        slopes: of the last norm, for the gradient dy after it. The last γ and β, whose gradients the
        caller has to find too, are left out.
        """
        after, gradients = self.norm, []
        for number in reversed(range(len(self.records))):
            dy, own, sums = self._stage_backward(number, dy, after, slopes, learns, dx)
            gradients = own + gradients
            if number:
                after = self.records[number].before
                ones = np.ones((len(dy), dy.shape[-1]), dy.dtype)
                slopes = after.slopes(*sums, ones, self.batch)
                gradients = (after.gradients(*sums, ones) if learns else []) + gradients
        return dy, gradients

    def _stage_backward(self, number, dy, norm, slopes, learns, dx):
        """(dx, gradients of the units' weights, `lane_sums` for the norm before) of one stage; norm: after it."""
        record, mean, inverse = self.records[number], norm.map[0], norm.inverse
        if not record.units:
            return kernels.norm_gradient(dy, record.z, mean, inverse, *slopes), [], None
        blocks, channels, *_, lanes = record.x.shape
        into, sums, first, gradients = dx, None, 0, []
        if number:
            into, sums = None, np.empty((2, blocks, channels, lanes))
        for window, unit, pair in zip(self.stages[number].windows, record.units, record.weights):
            part = slice(first, first + unit.pointwise.size // channels)
            into, *own = kernels.separable_gradients(
                dy[:, part],
                record.z[:, part],
                (mean[part], inverse[part], *(s[:, part] for s in slopes)),
                record.x,
                record.before.map,
                unit,
                window,
                self.arithmetic.slope,
                learns,
                into,
                sums,
            )
            if learns:
                gradients += [self._for_latent(g, w) for g, w in zip(own, pair) if w is not None]
            first = part.stop
        return into, gradients, sums

    def _for_latent(self, gradient, weight):
        """The gradient for a weight from that for what the unit computes with."""
        gradient, arithmetic = gradient.reshape(weight.shape), self.arithmetic
        if arithmetic.binary and arithmetic.binary_weights:
            return through_surrogate(gradient, weight, arithmetic.surrogate)
        return gradient


def _side_by_side(results):
    """Tuples (z, sums, squares, scale) as one, their channels joined."""
    *parts, scales = zip(*results)
    return *(np.concatenate(part, axis=1) for part in parts), np.concatenate(scales)


def by_sample(values, batch, lanes):
    """Rows (B, M), or (M,) for all samples alike, as (M, blocks, L), zeros where there is no image."""
    blocks = -(-batch // lanes)
    rows = np.zeros((blocks * lanes, values.shape[-1]), values.dtype)
    rows[:batch] = values
    return np.ascontiguousarray(rows.T).reshape(-1, blocks, lanes)


class FusedChain(Function):
    """An operation of a cell in one piece: y = base + keep ∘ the last norm of stages of units.

    Backward: see `kernels.separable_gradients`.
    Shapes: x (blocks, C, H, W, L), base None or like y, then the weights of the stages, y (blocks, Cout,
    Ho, Wo, L); keep None or (B,), a factor for each sample, as of `path_factors`.
    Kinks: 0, for real units. gradient: exact for real units, surrogate for 1-bit ones.
    """

    makes = (0,)

    @staticmethod
    def forward(ctx, x, base, *weights, arithmetic, batch, stages, keep=None):
        expected = sum(stage.weights() for stage in stages)
        if len(weights) != expected:
            raise ValueError(f"fused_chain: {len(weights)} weights for stages that take {expected}")
        tape = ctx.tape = Tape(arithmetic, batch, x, stages, weights)
        if base is not None and base.shape != tape.z.shape:
            raise ValueError(f"fused_chain: base {base.shape} is added to {tape.z.shape}")
        keep = np.ones(1, x.dtype) if keep is None else keep[:, None]
        factor = ctx.factor = by_sample(keep, batch, x.shape[-1])[0]
        mean, scale, shift = tape.norm.map
        factors, offset = (factor[:, None] * part[:, None] for part in (scale, shift))
        return kernels.weighted_sum(base, (tape.z,), mean[None], factors[None], offset)

    @staticmethod
    def backward(ctx, dy):
        dy = np.ascontiguousarray(dy)
        tape, learns = ctx.tape, any(ctx.needs[2:])
        sums = *kernels.lane_sums(dy, (tape.z,), tape.norm.map[0][None]), ctx.factor
        slopes = tape.norm.slopes(*sums, tape.batch)
        dx, gradients = tape.backward(dy, slopes, learns)
        if learns:
            gradients += tape.norm.gradients(*sums)
        else:
            gradients = [None] * (len(ctx.needs) - 2)
        return dx, dy, *gradients

    @staticmethod
    def surrogate(*arrays, arithmetic, **params):
        if arithmetic.binary:
            return chain_surrogate(arrays, arithmetic, **params)
        given = {"arithmetic": arithmetic, **params}
        return lambda *arrays: FusedChain.forward(SimpleNamespace(), *arrays, **given)

    @staticmethod
    def off_kinks(x, *rest, arithmetic, **params):
        return x if arithmetic.binary else step_away(x, 0), *rest


def fused_chain(x, weights, arithmetic, batch, stages, base=None, keep=None):
    """Stages of units, each with its norm, on a Tensor in lanes; see FusedChain.

    weights: Tensors, those of the units of a stage, then γ and β if its norm has them, stage by stage.
    batch: how many images x holds.
    """
    settings = {"arithmetic": arithmetic, "batch": batch, "stages": stages, "keep": keep}
    return FusedChain.apply(x, base, *weights, **settings)
