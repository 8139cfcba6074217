"""The mixed operation: what makes an architecture differentiable (Eq. 4.28).

MixedSum takes the results of the candidates. MixedEdge is the candidates and their sum in one piece, on
images in lanes: what a search runs.
"""

import math
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from bnas import kernels
from bnas.autodiff import Function, Tensor
from bnas.functional._arguments import as_tensor
from bnas.functional._lane_surrogates import mixed_edge_surrogate
from bnas.functional.chains import Affine, StageRun, by_sample, identity
from bnas.functional.elementwise import step_away
from bnas.functional.lanes import pool_lanes
from bnas.gradcheck import Case


class MixedSum(Function):
    """y_b = Σ_m s_m o_m,b, or with weights of their own for every sample Σ_m s_bm o_m,b (Eq. 4.28).

    Backward: do_m,b = s_bm dy_b, ds_bm = ⟨dy_b, o_m,b⟩: every sample's share of the gradient for s;
    weights that all samples share get the sum of the shares.
    Shapes: s (M,) or (B, M), M outputs (B, ...), y (B, ...). gradient: exact.
    """

    @staticmethod
    def forward(ctx, weights, *outputs):
        ctx.weights, ctx.outputs = weights, outputs
        y = _factor(weights, 0, outputs[0]) * outputs[0]
        for m in range(1, len(outputs)):
            y += _factor(weights, m, outputs[m]) * outputs[m]
        return y

    @staticmethod
    def backward(ctx, dy):
        weights, outputs = ctx.weights, ctx.outputs
        dweights = None
        if ctx.needs[0]:
            flat = len(dy), math.prod(dy.shape[1:])
            rows = dy.reshape(flat)
            shares = [np.einsum("bi,bi->b", rows, o.reshape(flat)) for o in outputs]
            shares = np.stack(shares, axis=1)
            dweights = shares.sum(axis=0) if weights.ndim == 1 else shares
        needs = ctx.needs[1:]
        douts = (_factor(weights, m, dy) * dy if need else None for m, need in enumerate(needs))
        return dweights, *douts


def _factor(weights, m, output):
    """The weight of operation m, shaped to multiply its output."""
    if weights.ndim == 1:
        return weights[m]
    return weights[:, m].reshape(-1, *[1] * (output.ndim - 1))


def mixed_sum(weights, tensors):
    """Σ_m weights_m · tensors_m (Eq. 4.28), usually with weights from a softmax.

    Args:
        weights: Tensor (M,), or (B, M) with weights for every sample of the batch.
        tensors: M Tensors of one shape (B, ...).

    With (B, M) weights the gradient for them is every sample's own share, which is all that the Fisher
    matrix of Eqs. 4.36-4.41 needs, from a single backward pass.
    """
    weights = as_tensor(weights, "mixed_sum")
    tensors = [as_tensor(tensor, "mixed_sum") for tensor in tensors]
    if not tensors:
        raise ValueError("mixed_sum: no tensors given; expected at least one")
    shapes = {tensor.shape for tensor in tensors}
    if len(shapes) > 1 or tensors[0].ndim == 0:
        raise ValueError(f"mixed_sum: tensors must share one shape (B, ...), got {sorted(shapes)}")
    expected = ((len(tensors),), (tensors[0].shape[0], len(tensors)))
    if weights.shape not in expected:
        raise ValueError(
            f"mixed_sum: weights must have shape {expected[0]} or {expected[1]}, got {weights.shape}"
        )
    return MixedSum.apply(weights, *tensors)


class Edge(NamedTuple):
    """The candidates of an edge, as MixedEdge has them, without their weights.

    Attributes:
        skip: stages of skip_connect; none if it is the identity.
        dilated, separable: two tuples of stages each, for 3×3 and 5×5.
        pool_norms: the norms of max and average pooling.

    No norm has γ and β: the weights s take their place.
    """

    skip: tuple
    dilated: tuple
    separable: tuple
    pool_norms: tuple


class Branch(NamedTuple):
    """One candidate: its z and affine as in StageRun, and the StageRun, if it was computed here."""

    z: np.ndarray
    affine: Affine
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
            count = sum(stage.weights() for stage in stages)
            own, rest[:] = rest[:count], rest[count:]
            made = StageRun(call, x, stages, own)
            return Branch(made.z, made.affine, made)

        def pooled(z, norm, moments):
            nothing = np.empty(0, z.dtype)
            return Branch(z, norm.on(*moments, call.batch, z, nothing))

        skip = chain(edge.skip) if edge.skip else Branch(x, identity(x.shape[1], x.dtype))
        dilated = [chain(stages) for stages in edge.dilated]
        pools = map(pooled, (largest, average), edge.pool_norms, pool_moments)
        branches = [skip, *dilated, *pools, *(chain(stages) for stages in edge.separable)]
        means = np.stack([branch.affine.map[0] for branch in branches])
        inverses = np.stack([branch.affine.inverse for branch in branches])
        samples = by_sample(weights, call.batch, x.shape[-1])
        ctx.call, ctx.branches, ctx.means, ctx.inverses = call, branches, means, inverses
        ctx.samples, ctx.per_sample = samples, weights.ndim == 2
        factors = samples[:, :, None] * inverses[:, None, :, None]
        offset = np.zeros(factors.shape[1:], x.dtype)
        return kernels.weighted_sum(base, tuple(b.z for b in branches), means, factors, offset)

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
        for m, (z, affine, chain) in enumerate(branches):
            slopes = affine.slopes(sums[0], sums[1 + m], ctx.samples[m], batch)
            if chain is not None:
                dx, own = chain.backward(dy, slopes, learns, dx)
                gradients += own
            elif m == 0:
                dx = kernels.scale_lanes(dy, slopes[0])
            else:
                pools.append(kernels.norm_gradient(dy, z, affine.map[0], *slopes))
        if not learns:
            gradients = [None] * (len(ctx.needs) - 5)
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


class Pools(NamedTuple):
    """What the edges from one state share: its poolings, Tensors, and their `kernels.moments`."""

    largest: Tensor
    average: Tensor
    moments: tuple


def pools_in_lanes(x, stride):
    """3×3 max and average pooling with padding 1 of a Tensor in lanes, for `mixed_edge`."""
    pools = [pool_lanes(x, largest, stride) for largest in (True, False)]
    return Pools(*pools, tuple(kernels.moments(pool.data) for pool in pools))


def mixed_edge(weights, base, x, pools, unit_weights, call, edge):
    """All candidates of an edge, normed, weighted and added to `base` (a Tensor or None); see MixedEdge.

    weights: Tensor (M,) or (B, M); x: Tensor in lanes; pools: of `pools_in_lanes`; unit_weights:
    Tensors, in the order of the stages of `edge`. Raises ValueError for a norm with γ and β.
    """
    chains = edge.skip, *edge.dilated, *edge.separable
    if any(norm.affine for norm in (*edge.pool_norms, *(s.norm for c in chains for s in c))):
        raise ValueError("mixed_edge: a batch norm has γ and β; make it with affine=False")
    tensors = weights, base, x, pools.largest, pools.average, *unit_weights
    return MixedEdge.apply(*tensors, call=call, edge=edge, pool_moments=pools.moments)


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, probabilities = draw.normal, draw.probabilities
    return {
        "MixedSum": [
            Case("shared weights", (probabilities(3), x(2, 2, 3), x(2, 2, 3), x(2, 2, 3))),
            Case("weights of each sample", (probabilities(4, 2), x(4, 3), x(4, 3))),
            Case("batch of one, 4 axes", (probabilities(1, 2), x(1, 2, 2, 2), x(1, 2, 2, 2))),
            Case("non-contiguous", (probabilities(2), draw.transposed(3, 4), draw.transposed(3, 4))),
        ],
    }
