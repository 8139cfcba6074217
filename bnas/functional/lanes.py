"""The supernet's operations on images in lanes: into the layout, out of it, and the mixed operation.

`bnas.kernels.lanes` says what the layout is. The batch norms of an edge are never computed by themselves:
their sums come from the kernel before, their affine maps go into the kernel after. `bnas.supernet`
has the same operations once more, one by one, in NCHW; a test holds the two together.
"""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from bnas import kernels
from bnas.autodiff import Function, Tensor
from bnas.functional._arguments import as_images, as_tensor
from bnas.functional._lane_surrogates import chain_norm_surrogate, mixed_edge_surrogate
from bnas.functional.binarise import surrogate_slope
from bnas.functional.elementwise import step_away
from bnas.functional.norm import require_variance
from bnas.functional.shape import spread_apart


class ToLanes(Function):
    """(N, C, H, W) -> (blocks, C, H, W, L). Backward: the way back. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.batch = len(x)
        return kernels.to_lanes(x)

    @staticmethod
    def backward(ctx, dy):
        return (kernels.from_lanes(dy, ctx.batch),)


class MeanOfLanes(Function):
    """Global average pooling, out of lanes: (blocks, C, H, W, L) -> (N, C).

    Backward: dy / (H W) to each pixel. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, batch):
        ctx.shape, ctx.batch = x.shape, batch
        return kernels.from_lanes(x.mean(axis=(2, 3)), batch)

    @staticmethod
    def backward(ctx, dy):
        blocks, channels, height, width, lanes = ctx.shape
        planes = kernels.to_lanes(dy)[:, :, None, None] / dy.dtype.type(height * width)
        return (np.broadcast_to(planes, ctx.shape),)


class PoolLanes(Function):
    """3×3 max or average pooling with padding 1 of images in lanes, see MaxPool2d and AvgPool2d.

    Backward: dy to the first maximum, which is looked for again, or over the count to each pixel.
    Kinks: ties. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, largest, stride):
        ctx.x, ctx.window = x, (largest, 3, stride, 1)
        ctx.y = kernels.pool_lanes(x, *ctx.window)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (kernels.pool_lanes_dx(dy, ctx.y, ctx.x, *ctx.window),)

    @staticmethod
    def off_kinks(x, **params):
        return (spread_apart(x),)


class Norm(NamedTuple):
    """A batch norm without γ and β: running statistics (C,), momentum, ε, and whether it trains."""

    running_mean: np.ndarray
    running_var: np.ndarray
    momentum: float
    eps: float
    training: bool

    def statistics(self, sums, squares, batch, z, scale):
        """(mean, 1 / √(v + ε), n): of the n values of each channel of z, or the running ones and 0.

        sums, squares, batch, scale: as of `kernels.batch_statistics`.
        """
        if not self.training:
            inverse = (1 / np.sqrt(self.running_var + self.eps)).astype(self.running_mean.dtype)
            return self.running_mean.copy(), inverse, 0
        pixels = z.shape[2] * z.shape[3]
        require_variance(batch * pixels, (batch, *z.shape[1:4]))
        mean, inverse = kernels.batch_statistics(
            sums, squares, batch, pixels, scale, self.eps, self.running_mean, self.running_var,
            self.momentum,
        )  # fmt: skip
        return mean, inverse, batch * pixels


class Stage(NamedTuple):
    """Units side by side on one input (see `kernels.separable`), their channels joined, then a norm.

    A window is that of `kernels.separable`. With the kernel (1, 1) a unit is a pointwise convolution
    alone, of one weight, else it has two.
    """

    windows: tuple
    norm: Norm


class Call(NamedTuple):
    """What holds for all units of a call: images in the batch, and how the units compute."""

    batch: int
    binary: bool
    surrogate: str  # of sign, if binary


class Link(NamedTuple):
    """What a stage leaves for its backward."""

    x: np.ndarray
    before: tuple  # (mean, inverse, count) of the norm that x goes through
    units: list
    z: np.ndarray


class StageRun:
    """Stages one after another, the norm of the last left to who uses `z`.

    Attributes:
        z: array in lanes.
        statistics: (mean, inverse, count) of the last norm.
    """

    def __init__(self, call, x, stages, weights):
        self.call, self.stages, self.weights, self.links = call, stages, weights, []
        make, rest = kernels.binary_unit if call.binary else kernels.real_unit, iter(weights)
        statistics = identity(x)
        for stage in stages:
            units, results = [], []
            for window in stage.windows:
                units.append(make(next(rest) if has_depthwise(window) else None, next(rest)))
                results.append(kernels.separable(x, *statistics[:2], units[-1], window))
            z, sums, squares = map(_joined, zip(*results))
            self.links.append(Link(x, statistics, units, z))
            scale = np.concatenate([unit.scale for unit in units])
            x, statistics = z, stage.norm.statistics(sums, squares, call.batch, z, scale)
        self.z, self.statistics = x, statistics

    def backward(self, dy, slopes, learns, dx=None):
        """(dx, the gradients of the weights or Nones); dx is added to in place, if it is given.

        slopes: of `kernels.norm_slopes`, for the last norm and the gradient dy after it.
        """
        after, gradients = self.statistics, []
        for number in reversed(range(len(self.links))):
            link = self.links[number]
            dy, own = self._stage_backward(number, dy, after[0], slopes, learns, dx)
            gradients = own + gradients
            if number:
                sums = kernels.lane_sums(dy, (link.x,), link.before[0][None])
                ones = np.ones((len(dy), dy.shape[-1]), dy.dtype)
                slopes = kernels.norm_slopes(*sums, ones, *link.before[1:], self.call.batch)
                after = link.before
        if learns:
            gradients = [g.reshape(w.shape) for g, w in zip(gradients, self.weights)]
        if learns and self.call.binary:
            pairs = zip(gradients, self.weights)
            gradients = [g * surrogate_slope(w, self.call.surrogate) for g, w in pairs]
        return dy, gradients

    def _stage_backward(self, number, dy, mean, slopes, learns, dx):
        """(dx, gradients of the weights, flat) of one stage, of its units side by side."""
        link, call = self.links[number], self.call
        into, first, gradients = None if number else dx, 0, []
        for window, unit in zip(self.stages[number].windows, link.units):
            part = slice(first, first + unit.pointwise.size // link.x.shape[1])
            into, depthwise, pointwise = kernels.separable_gradients(
                dy[:, part], link.z[:, part], (mean[part], *(s[:, part] for s in slopes)), link.x,
                *link.before[:2], unit, window, call.surrogate if call.binary else "relu", learns,
                into,
            )  # fmt: skip
            gradients += [depthwise, pointwise] if has_depthwise(window) else [pointwise]
            first = part.stop
        return into, gradients


def has_depthwise(window):
    return window[0] != (1, 1)


def weights_of(stage):
    """How many weights a stage has."""
    return sum(1 + has_depthwise(window) for window in stage.windows)


def identity(x):
    """The statistics of no norm at all, for x in lanes."""
    return np.zeros(x.shape[1], x.dtype), np.ones(x.shape[1], x.dtype), 0


def _joined(arrays):
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)


def _by_sample(values, batch, lanes):
    """Rows (B, M), or (M,) for all samples alike, as (M, blocks, L), zeros where there is no image."""
    blocks = -(-batch // lanes)
    rows = np.zeros((blocks * lanes, values.shape[-1]), values.dtype)
    rows[:batch] = values
    return np.ascontiguousarray(rows.T).reshape(-1, blocks, lanes)


class ChainNorm(Function):
    """y = the last norm of a StageRun of stages: a cell's input in one piece.

    Backward: see `kernels.separable_gradients`.
    Shapes: x (blocks, C, H, W, L), then the weights of the stages, y (blocks, Cout, Ho, Wo, L).
    Kinks: 0, for real units. gradient: exact for real units, surrogate for 1-bit ones.
    """

    @staticmethod
    def forward(ctx, x, *weights, call, stages):
        chain = ctx.chain = StageRun(call, x, stages, weights)
        ctx.factor = _by_sample(np.ones(1, x.dtype), call.batch, x.shape[-1])[0]
        mean, inverse, _ = chain.statistics
        factors = ctx.factor[None, :, None] * inverse[:, None]
        return kernels.weighted_sum(None, (chain.z,), mean[None], factors)

    @staticmethod
    def backward(ctx, dy):
        dy = np.ascontiguousarray(dy)
        chain, (mean, inverse, count) = ctx.chain, ctx.chain.statistics
        sums = kernels.lane_sums(dy, (chain.z,), mean[None])
        slopes = kernels.norm_slopes(*sums, ctx.factor, inverse, count, chain.call.batch)
        dx, gradients = chain.backward(dy, slopes, any(ctx.needs[1:]))
        return dx, *gradients

    @staticmethod
    def surrogate(*arrays, call, stages):
        if call.binary:
            return chain_norm_surrogate(arrays, call, stages)
        return lambda *arrays: ChainNorm.forward(SimpleNamespace(), *arrays, call=call, stages=stages)

    @staticmethod
    def off_kinks(x, *weights, call, stages):
        return x if call.binary else step_away(x, 0), *weights


class Edge(NamedTuple):
    """The candidates of an edge, as MixedEdge has them, without their weights.

    Attributes:
        skip: stages of skip_connect; none if it is the identity.
        dilated, separable: two tuples of stages each, for 3×3 and 5×5.
        pool_norms: the norms of max and average pooling.
    """

    skip: tuple
    dilated: tuple
    separable: tuple
    pool_norms: tuple


class Branch(NamedTuple):
    """One candidate: its z and statistics as in StageRun, and the StageRun, if it was computed here."""

    z: np.ndarray
    statistics: tuple
    chain: StageRun | None = None


class MixedEdge(Function):
    """y = base + Σ_m s_m norm_m(o_m(x)), s_m one for all samples or one for each (Eqs. 4.27, 4.28).

    The candidates are those of PRIMITIVES in their order, but "none". The two poolings are inputs, as all
    edges from a state share them. No result of a norm is ever held: z, and sums over pixels, are all that
    the backward needs of a candidate.

    Backward: dbase = dy; ds_bm = ⟨dy_b, norm_m(o_m)_b⟩, each sample's share; s_bm dy_b goes on through
    norm m and its units.
    Shapes: s (M,) or (B, M), base (blocks, C, Ho, Wo, L) or None, x (blocks, C, H, W, L), the poolings as
    base, then the weights of all units; y as base. pool_moments: of the poolings, as `kernels.moments` has
    them. Kinks: 0, for real units. gradient: exact for real units, surrogate for 1-bit ones.
    """

    @staticmethod
    def forward(ctx, weights, base, x, largest, average, *unit_weights, call, edge, pool_moments):
        rest = list(unit_weights)

        def chain(stages):
            count = sum(map(weights_of, stages))
            own, rest[:] = rest[:count], rest[count:]
            made = StageRun(call, x, stages, own)
            return Branch(made.z, made.statistics, made)

        def pooled(z, norm, moments):
            nothing = np.empty(0, z.dtype)
            return Branch(z, norm.statistics(*moments, call.batch, z, nothing))

        skip = chain(edge.skip) if edge.skip else Branch(x, identity(x))
        dilated = [chain(stages) for stages in edge.dilated]
        pools = map(pooled, (largest, average), edge.pool_norms, pool_moments)
        branches = [skip, *dilated, *pools, *(chain(stages) for stages in edge.separable)]
        means, inverses = (np.stack([b.statistics[i] for b in branches]) for i in range(2))
        samples = _by_sample(weights, call.batch, x.shape[-1])
        ctx.call, ctx.branches, ctx.means, ctx.inverses = call, branches, means, inverses
        ctx.samples, ctx.per_sample = samples, weights.ndim == 2
        factors = samples[:, :, None] * inverses[:, None, :, None]
        return kernels.weighted_sum(base, tuple(b.z for b in branches), means, factors)

    @staticmethod
    def backward(ctx, dy):
        dy = np.ascontiguousarray(dy)  # one copy of a part of the cell's output, for all its edges
        branches, batch = ctx.branches, ctx.call.batch
        sums = kernels.lane_sums(dy, tuple(branch.z for branch in branches), ctx.means)
        dweights = None
        if ctx.needs[0]:
            shares = np.einsum("mbcl,mc->blm", sums[1:], ctx.inverses)
            shares = shares.reshape(-1, len(branches))[:batch]
            dweights = np.ascontiguousarray(shares) if ctx.per_sample else shares.sum(axis=0)
        if not any(ctx.needs[2:]):  # of the first cells, while α alone learns
            return dweights, dy, *[None] * (len(ctx.needs) - 2)
        learns, dx, gradients, pools = any(ctx.needs[5:]), None, [], []
        for m, (z, (mean, inverse, count), chain) in enumerate(branches):
            slopes = kernels.norm_slopes(sums[0], sums[1 + m], ctx.samples[m], inverse, count, batch)
            if chain is not None:
                dx, own = chain.backward(dy, slopes, learns, dx)
                gradients += own
            elif m == 0:
                dx = kernels.scale_lanes(dy, slopes[0])
            else:
                pools.append(kernels.norm_gradient(dy, z, mean, *slopes))
        return dweights, dy, dx, *pools, *gradients

    @staticmethod
    def surrogate(*arrays, call, edge, pool_moments):
        if call.binary:
            return mixed_edge_surrogate(arrays, call, edge)

        def function(*arrays):
            moments = tuple(map(kernels.moments, arrays[3:5]))  # the poolings move here
            given = {"call": call, "edge": edge, "pool_moments": moments}
            return MixedEdge.forward(SimpleNamespace(), *arrays, **given)

        return function

    @staticmethod
    def off_kinks(weights, base, x, *rest, call, edge, pool_moments):
        return weights, base, x if call.binary else step_away(x, 0), *rest


def to_lanes(x):
    """Images (N, C, H, W) as a Tensor in lanes (blocks, C, H, W, L), see `bnas.kernels.lanes`."""
    return ToLanes.apply(as_images(x, "to_lanes"))


def mean_of_lanes(x, batch):
    """Global average pooling out of lanes: (blocks, C, H, W, L) -> (batch, C)."""
    return MeanOfLanes.apply(as_tensor(x, "mean_of_lanes"), batch=batch)


class Pools(NamedTuple):
    """What the edges from one state share: its poolings, Tensors, and their `kernels.moments`."""

    largest: Tensor
    average: Tensor
    moments: tuple


def pools_in_lanes(x, stride):
    """3×3 max and average pooling with padding 1 of a Tensor in lanes, for `mixed_edge`."""
    pools = [PoolLanes.apply(x, largest=largest, stride=stride) for largest in (True, False)]
    return Pools(*pools, tuple(kernels.moments(pool.data) for pool in pools))


def chain_norm(x, weights, call, stages):
    """Stages of units, each with its norm, on a Tensor in lanes; see ChainNorm."""
    return ChainNorm.apply(x, *weights, call=call, stages=stages)


def mixed_edge(weights, base, x, pools, unit_weights, call, edge):
    """All candidates of an edge, normed, weighted and added to `base` (a Tensor or None); see MixedEdge.

    weights: Tensor (M,) or (B, M); x: Tensor in lanes; pools: of `pools_in_lanes`; unit_weights:
    Tensors, in the order of the stages of `edge`.
    """
    tensors = weights, base, x, pools.largest, pools.average, *unit_weights
    return MixedEdge.apply(*tensors, call=call, edge=edge, pool_moments=pools.moments)
