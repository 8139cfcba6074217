"""Chains of convolutions and batch norms on images in lanes, each in one piece.

`bnas.kernels.lanes` says what the layout is. A batch norm is never computed by itself: its sums come from
the kernel before, its affine map goes into the kernel after. `bnas.candidates` has the same operations once
more, one by one, in NCHW; a test holds the two together.
"""

from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from bnas import kernels
from bnas.autodiff import Function
from bnas.functional._lane_surrogates import chain_norm_surrogate
from bnas.functional.binarise import surrogate_slope
from bnas.functional.elementwise import step_away
from bnas.functional.norm import require_variance


class Call(NamedTuple):
    """What holds for all units of a call.

    Attributes:
        batch: images in it.
        binary: whether inputs are 1-bit.
        surrogate: of sign, if so.
        binary_weights: whether weights then are 1-bit too.
    """

    batch: int
    binary: bool
    surrogate: str
    binary_weights: bool = True

    def unit(self, depthwise, pointwise):
        """The kernels.Unit of such weights; depthwise may be None."""
        if self.binary:
            return kernels.binary_unit(depthwise, pointwise, self.binary_weights)
        return kernels.real_unit(depthwise, pointwise)


class Norm(NamedTuple):
    """A batch norm: running statistics (C,), momentum, ε, whether it trains, whether it has γ and β."""

    running_mean: np.ndarray
    running_var: np.ndarray
    momentum: float
    eps: float
    training: bool
    affine: bool = False

    def on(self, sums, squares, batch, z, scale, gamma=None, beta=None):
        """The Affine that the norm is for z; sums, squares, batch, scale: as of `batch_statistics`."""
        count = 0
        if self.training:
            pixels = z.shape[2] * z.shape[3]
            count = batch * pixels
            require_variance(count, (batch, *z.shape[1:4]))
            mean, inverse = kernels.batch_statistics(
                sums, squares, batch, pixels, scale, self.eps, self.running_mean, self.running_var,
                self.momentum,
            )  # fmt: skip
        else:
            mean = self.running_mean.copy()
            inverse = (1 / np.sqrt(self.running_var + self.eps)).astype(mean.dtype)
        if gamma is None:
            return Affine((mean, inverse, _zeros(len(mean), mean.dtype)), inverse, count)
        return Affine((mean, gamma * inverse, beta), inverse, count, gamma)


class Affine(NamedTuple):
    """What a norm does to z, (z - mean) · scale + shift, and what its backward needs to know.

    Attributes:
        map: (mean, scale, shift), each (C,).
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
        return [dgamma * self.inverse, dbeta]


@cache  # nobody may write to it
def _zeros(channels, dtype):
    return np.zeros(channels, dtype)


@cache  # nobody may write to it
def identity(channels, dtype):
    """The Affine that leaves so many channels as they are."""
    ones, zeros = np.ones(channels, dtype), _zeros(channels, dtype)
    return Affine((zeros, ones, zeros), ones, 0)


class Stage(NamedTuple):
    """Units side by side on one input (see `kernels.separable`), their channels joined, then a norm.

    A window is that of `kernels.separable`. With the kernel (1, 1) a unit is a pointwise convolution
    alone, of one weight, else it has two; γ and β, if the norm has them, come last. Without any window
    the norm stands alone, and is the only stage.
    """

    windows: tuple
    norm: Norm

    def weights(self):
        """How many arrays the stage takes."""
        return sum(1 + has_depthwise(window) for window in self.windows) + 2 * self.norm.affine


def has_depthwise(window):
    return window[0] != (1, 1)


class Link(NamedTuple):
    """What a stage leaves for its backward."""

    x: np.ndarray
    before: Affine  # what x goes through first
    units: list
    weights: list  # of each unit, depthwise (or None) and pointwise
    z: np.ndarray


class StageRun:
    """Stages one after another, the norm of the last left to who uses `z`.

    Attributes:
        z: array in lanes.
        affine: the last norm, an Affine.
    """

    def __init__(self, call, x, stages, weights):
        self.call, self.stages, self.links = call, stages, []
        rest, affine = iter(weights), identity(x.shape[1], x.dtype)
        for stage in stages:
            if not stage.windows and len(stages) > 1:
                raise ValueError("a stage without windows must be the only one")
            pairs = [(next(rest) if has_depthwise(w) else None, next(rest)) for w in stage.windows]
            units = [call.unit(*pair) for pair in pairs]
            if units:
                results = [
                    (*kernels.separable(x, affine.map, unit, window), unit.scale)
                    for unit, window in zip(units, stage.windows)
                ]
                z, *sums, scale = results[0] if len(units) == 1 else _side_by_side(results)
            else:
                sums = kernels.moments(x) if stage.norm.training else (None, None)
                z, scale = x, _zeros(0, x.dtype)
            self.links.append(Link(x, affine, units, pairs, z))
            own = (next(rest), next(rest)) if stage.norm.affine else ()
            x, affine = z, stage.norm.on(*sums, call.batch, z, scale, *own)
        self.z, self.affine = x, affine

    def backward(self, dy, slopes, learns, dx=None):
        """(dx, the gradients of the weights, or []); dx is added to in place, if it is given.

        slopes: of the last norm, for the gradient dy after it. The last γ and β, whose gradients the
        caller has to find too, are left out.
        """
        after, gradients = self.affine, []
        for number in reversed(range(len(self.links))):
            link = self.links[number]
            dy, own = self._stage_backward(number, dy, after.map[0], slopes, learns, dx)
            gradients = own + gradients
            if number:
                after = link.before
                sums = kernels.lane_sums(dy, (link.x,), after.map[0][None])
                ones = np.ones((len(dy), dy.shape[-1]), dy.dtype)
                slopes = after.slopes(*sums, ones, self.call.batch)
                gradients = (after.gradients(*sums, ones) if learns else []) + gradients
        return dy, gradients

    def _stage_backward(self, number, dy, mean, slopes, learns, dx):
        """(dx, gradients of the units' weights) of one stage, of its units side by side."""
        link, call = self.links[number], self.call
        if not link.units:
            return kernels.norm_gradient(dy, link.z, mean, *slopes), []
        into, first, gradients = None if number else dx, 0, []
        for window, unit, pair in zip(self.stages[number].windows, link.units, link.weights):
            part = slice(first, first + unit.pointwise.size // link.x.shape[1])
            into, *own = kernels.separable_gradients(
                dy[:, part], link.z[:, part], (mean[part], *(s[:, part] for s in slopes)), link.x,
                link.before.map, unit, window, call.surrogate if call.binary else "relu", learns, into,
            )  # fmt: skip
            if learns:
                gradients += [self._for_latent(g, w) for g, w in zip(own, pair) if w is not None]
            first = part.stop
        return into, gradients

    def _for_latent(self, gradient, weight):
        """The gradient for a weight from that for what the unit computes with."""
        gradient, call = gradient.reshape(weight.shape), self.call
        if call.binary and call.binary_weights:
            gradient *= surrogate_slope(weight, call.surrogate)
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


class ChainNorm(Function):
    """y = base + keep ∘ the last norm of a StageRun of stages: an operation of a cell in one piece.

    Backward: see `kernels.separable_gradients`.
    Shapes: x (blocks, C, H, W, L), base None or like y, then the weights of the stages, y (blocks, Cout,
    Ho, Wo, L); keep None or (B,), a factor for each sample, as of `path_factors`.
    Kinks: 0, for real units. gradient: exact for real units, surrogate for 1-bit ones.
    """

    @staticmethod
    def forward(ctx, x, base, *weights, call, stages, keep=None):
        expected = sum(stage.weights() for stage in stages)
        if len(weights) != expected:
            raise ValueError(f"chain_norm: {len(weights)} weights for stages that take {expected}")
        chain = ctx.chain = StageRun(call, x, stages, weights)
        if base is not None and base.shape != chain.z.shape:
            raise ValueError(f"chain_norm: base {base.shape} is added to {chain.z.shape}")
        keep = np.ones(1, x.dtype) if keep is None else keep[:, None]
        factor = ctx.factor = by_sample(keep, call.batch, x.shape[-1])[0]
        mean, scale, shift = chain.affine.map
        factors, offset = (factor[:, None] * part[:, None] for part in (scale, shift))
        return kernels.weighted_sum(base, (chain.z,), mean[None], factors[None], offset)

    @staticmethod
    def backward(ctx, dy):
        dy = np.ascontiguousarray(dy)
        chain, learns = ctx.chain, any(ctx.needs[2:])
        sums = *kernels.lane_sums(dy, (chain.z,), chain.affine.map[0][None]), ctx.factor
        slopes = chain.affine.slopes(*sums, chain.call.batch)
        dx, gradients = chain.backward(dy, slopes, learns)
        if learns:
            gradients += chain.affine.gradients(*sums)
        else:
            gradients = [None] * (len(ctx.needs) - 2)
        return dx, dy, *gradients

    @staticmethod
    def surrogate(*arrays, call, stages, keep=None):
        params = {"call": call, "stages": stages, "keep": keep}
        if call.binary:
            return chain_norm_surrogate(arrays, **params)
        return lambda *arrays: ChainNorm.forward(SimpleNamespace(), *arrays, **params)

    @staticmethod
    def off_kinks(x, *rest, call, stages, keep=None):
        return x if call.binary else step_away(x, 0), *rest


def chain_norm(x, weights, call, stages, base=None, keep=None):
    """Stages of units, each with its norm, on a Tensor in lanes; see ChainNorm.

    weights: Tensors, those of the units of a stage, then γ and β if its norm has them, stage by stage.
    """
    return ChainNorm.apply(x, base, *weights, call=call, stages=stages, keep=keep)
