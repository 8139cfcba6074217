"""The mixed operation: what makes an architecture differentiable (Eq. 4.28)."""

import math

import numpy as np

from bnas.autodiff import Function
from bnas.functional.arguments import as_tensor, as_tensors
from bnas.gradcheck import Case
from bnas.kernels.sums import accurate_sum


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
            shares = [(rows * o.reshape(flat)).sum(axis=1) for o in outputs]  # pairwise
            shares = np.stack(shares, axis=1)
            dweights = accurate_sum(shares, 0) if weights.ndim == 1 else shares
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
    tensors = as_tensors(tensors, "mixed_sum")
    shapes = {tensor.shape for tensor in tensors}
    if len(shapes) > 1 or tensors[0].ndim == 0:
        raise ValueError(f"mixed_sum: tensors must share one shape (B, ...), got {sorted(shapes)}")
    expected = ((len(tensors),), (tensors[0].shape[0], len(tensors)))
    if weights.shape not in expected:
        raise ValueError(
            f"mixed_sum: weights must have shape {expected[0]} or {expected[1]}, got {weights.shape}"
        )
    return MixedSum.apply(weights, *tensors)


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, probabilities = draw.normal, draw.probabilities
    return {
        "MixedSum": [
            Case("shared weights", (probabilities(3), x(2, 2, 3), x(2, 2, 3), x(2, 2, 3))),
            Case("weights of each sample", (probabilities(4, 2), x(4, 3), x(4, 3))),
            Case("batch of one, 4 axes", (probabilities(1, 2), x(1, 2, 2, 2), x(1, 2, 2, 2))),
            Case(
                "non-contiguous", (probabilities(2), draw.transposed(3, 4), draw.transposed(3, 4))
            ),
        ],
    }
