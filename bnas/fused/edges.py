"""The mixed operation on images in lanes: all candidates of an edge and their weighted sum in one piece."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from bnas import nn
from bnas.autodiff import Function
from bnas.functional.elementwise import step_away
from bnas.fused import kernels
from bnas.fused.chains import Arithmetic, NormMap, Tape, by_sample, identity, norm_map
from bnas.fused.surrogates import edge_surrogate


class ChainPart(NamedTuple):
    """A candidate that the edge computes itself.

    Attributes:
        arithmetic: of its units.
        stages: its stages, none for the identity; no norm has γ and β.
        count: how many arrays it takes, its weights.
    """

    arithmetic: Arithmetic
    stages: tuple
    count: int


class GivenPart(NamedTuple):
    """A candidate whose result, but for a last norm, is an input: a pooling, or what is not known here.

    Attributes:
        norm: the BatchNorm2d to apply to it, without γ and β, or None.
        moments: of the result, as `kernels.moments` has them; None where no norm trains on it.
        count: how many arrays it takes.
    """

    norm: nn.BatchNorm2d | None = None
    moments: tuple | None = None
    count: int = 1


class Branch(NamedTuple):
    """One candidate: its z before the norm, the norm, and the Tape, if it was computed here."""

    z: np.ndarray
    norm: NormMap
    tape: Tape | None = None


class FusedEdge(Function):
    """The mixed operation of an edge in one piece: y = base + Σ_m s_m norm_m(o_m(x)) (Eqs. 4.27, 4.28).

    No result of a norm is ever held: z, and sums over pixels, are all that the backward needs of a candidate.
    Backward: dbase = dy; ds_bm = ⟨dy_b, norm_m(o_m)_b⟩, each sample's share; s_bm dy_b goes on through
    norm m and its units. A part None contributes nothing, and its weight gets no gradient.
    Shapes: s (M,) or (B, M), base (blocks, C, Ho, Wo, L) or None, x (blocks, C, H, W, L), then the arrays
    of the M parts in turn: weights of a ChainPart, the result of a GivenPart, like base; y like base.
    Kinks: 0, for real units. gradient: exact for real units, surrogate for 1-bit ones.
    """

    makes = (2,)

    @staticmethod
    def forward(ctx, weights, base, x, *arrays, batch, parts):
        branches = {}
        for m, part, own in _of_parts(parts, arrays):
            if isinstance(part, ChainPart) and part.stages:
                tape = Tape(part.arithmetic, batch, x, part.stages, own)
                branches[m] = Branch(tape.z, tape.norm, tape)
            elif isinstance(part, ChainPart):
                branches[m] = Branch(x, identity(x.shape[1], x.dtype))
            elif part.norm is None:
                branches[m] = Branch(own[0], identity(own[0].shape[1], x.dtype))
            else:
                sums = part.moments or (None, None)
                norm = norm_map(part.norm, *sums, batch, own[0], np.empty(0, x.dtype))
                branches[m] = Branch(own[0], norm)
        means = np.stack([branch.norm.map[0] for branch in branches.values()])
        inverses = np.stack([branch.norm.inverse for branch in branches.values()])
        samples = by_sample(weights[..., list(branches)], batch, x.shape[-1])
        ctx.batch, ctx.parts, ctx.branches, ctx.samples = batch, parts, branches, samples
        ctx.means, ctx.inverses, ctx.weights_shape = means, inverses, weights.shape
        factors = samples[:, :, None] * inverses[:, None, :, None]
        offset = np.zeros(factors.shape[1:], x.dtype)
        results = tuple(branch.z for branch in branches.values())
        return kernels.weighted_sum(base, results, means, factors, offset)

    @staticmethod
    def backward(ctx, dy):
        dy = np.ascontiguousarray(dy)  # one copy of a part of the cell's output, for all its edges
        branches, batch = ctx.branches, ctx.batch
        results = tuple(branch.z for branch in branches.values())
        sums = kernels.lane_sums(dy, results, ctx.means)
        dweights = None
        if ctx.needs[0]:
            shares = np.einsum("mbcl,mc->blm", sums[1:], ctx.inverses)
            shares = shares.reshape(-1, len(branches))[:batch]
            dweights = np.zeros(ctx.weights_shape, dy.dtype)
            dweights[..., list(branches)] = shares if dweights.ndim == 2 else shares.sum(axis=0)
        needs = ctx.needs[3:]
        if not any(ctx.needs[2:]):  # of the first cells, while α alone learns
            return dweights, dy, None, *[None] * len(needs)
        dx, gradients, number = None, [], 0
        for m, part, need in _of_parts(ctx.parts, needs):
            z, norm, tape = branches[m]
            slopes = norm.slopes(sums[0], sums[1 + number], ctx.samples[number], batch)
            number += 1
            if tape is not None:
                dx, own = tape.backward(dy, slopes, any(need), dx)
                gradients += own or [None] * len(need)
            elif isinstance(part, ChainPart):
                own = kernels.scale_lanes(dy, slopes[0])
                dx = own if dx is None else np.add(dx, own, out=dx)
            elif part.norm is None:
                gradients.append(kernels.scale_lanes(dy, slopes[0]) if need[0] else None)
            else:
                own = None
                if need[0]:
                    own = kernels.norm_gradient(dy, z, norm.map[0], norm.inverse, *slopes)
                gradients.append(own)
        return dweights, dy, dx, *gradients

    @staticmethod
    def surrogate(*arrays, batch, parts):
        if any(isinstance(p, ChainPart) and p.arithmetic.binary for p in parts):
            return edge_surrogate(arrays, batch, parts)

        def function(weights, base, x, *arrays):
            moved = []  # the results that are given move here, and their moments with them
            for _, part, own in _of_parts(parts, arrays, absent=True):
                if isinstance(part, GivenPart) and part.moments is not None:
                    part = part._replace(moments=kernels.moments(own[0]))
                moved.append(part)
            given = {"batch": batch, "parts": tuple(moved)}
            return FusedEdge.forward(SimpleNamespace(), weights, base, x, *arrays, **given)

        return function

    @staticmethod
    def off_kinks(weights, base, x, *rest, batch, parts):
        binary = any(isinstance(p, ChainPart) and p.arithmetic.binary for p in parts)
        return weights, base, x if binary else step_away(x, 0), *rest


def _of_parts(parts, values, absent=False):
    """(number, part, its own slice of `values`) of the parts, those that are None if `absent`."""
    start = 0
    for m, part in enumerate(parts):
        if part is not None:
            stop = start + part.count
            yield m, part, values[start:stop]
            start = stop
        elif absent:
            yield m, part, ()


def fused_edge(weights, base, x, tensors, batch, parts):
    """All candidates of an edge, normed, weighted and added to `base` (a Tensor or None); see FusedEdge.

    weights: Tensor (M,) or (B, M); x: Tensor in lanes; parts: M of ChainPart, GivenPart or None, of which one
    at least is not None; tensors: those of the parts in turn. Raises ValueError for weights of another shape.
    """
    if weights.shape not in ((len(parts),), (batch, len(parts))):
        raise ValueError(
            f"fused_edge: weights must have shape {(len(parts),)} or {(batch, len(parts))}, got {weights.shape}"
        )
    return FusedEdge.apply(weights, base, x, *tensors, batch=batch, parts=parts)
