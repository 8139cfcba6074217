"""Tangent propagation: the Child's gradient for α̂ is drawn towards the Parent's (Eqs. 4.29-4.41).

Here a *model* is any function alpha -> logits (B, N), for a Tensor alpha of the shape of α̂ or, with a
copy for every sample, (B, ...). Arrays of the shape of α̂ are called g, t, v.
"""

from typing import NamedTuple

import numpy as np

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor, frozen, grad
from bnas.config import CURVATURES
from bnas.kernels.sums import accurate_sum
from bnas.search.objectives import kl_to_teacher, nas_loss


def tangent_direction(parent, batches):
    """t = ∂f̃^P/∂α, f̃^P the mean over the samples of Σ_n y_n log p_n (Eqs. 4.21, 4.29).

    The print has t = Σ_n ∂p_n/∂α; probabilities sum to one, so that would be zero.

    Args:
        parent: Supernet; its weights and running statistics stay as they are.
        batches: (images, labels) pairs, of the validation split.

    Returns:
        Array of the shape of α.
    """
    total, samples = np.zeros_like(parent.alpha.data), 0
    with nn.evaluating(parent), frozen(parent.weight_parameters()):
        for images, labels in batches:
            (share,) = grad(nas_loss(parent(images), labels), [parent.alpha])
            total -= share * len(labels)
            samples += len(labels)
    return total / total.dtype.type(samples)


def frobenius(g, t):
    """D = ‖g - t‖² (Eq. 4.31), the squared Frobenius norm. Returns (D, ∂D/∂g)."""
    difference = g - t
    return float((difference**2).sum()), 2 * difference


def l1(g, t):
    """D = Σ|g - t|, as tried in table 4.4. Returns (D, ∂D/∂g)."""
    difference = g - t
    return float(np.abs(difference).sum()), np.sign(difference)


def cosine(g, t):
    """D = 1 - cos(g, t), as tried in table 4.4. Returns (D, ∂D/∂g); without a direction, D = 1."""
    lengths = float(np.linalg.norm(g)), float(np.linalg.norm(t))
    if min(lengths) == 0:
        return 1.0, np.zeros_like(g)
    similarity = float((g * t).sum()) / (lengths[0] * lengths[1])
    slope = similarity / lengths[0] ** 2 * g - t / (lengths[0] * lengths[1])
    return 1 - similarity, slope.astype(g.dtype)


DISTANCES = {"frobenius": frobenius, "l1": l1, "cosine": cosine}


def angle(g, t):
    """Angle between g and t in degrees, 0 to 180; 90 if one of them is zero."""
    lengths = float(np.linalg.norm(g) * np.linalg.norm(t))
    similarity = float((g * t).sum()) / lengths if lengths > 0 else 0.0
    return float(np.degrees(np.arccos(np.clip(similarity, -1, 1))))


def per_sample(alpha, batch):
    """A leaf Tensor (B, ...) with a copy of the array `alpha` for every sample.

    One backward pass then leaves every sample's own share of the gradient in it.
    """
    return Tensor(np.repeat(alpha[None], batch, axis=0), requires_grad=True)


def fisher_product(shares, v):
    """F v = (1/B) Σ_b g_b (g_bᵀ v) (Eqs. 4.36-4.41).

    `shares` (B, ...) are the samples' shares of the gradient of a batch *mean*, so g_b = B shares_b.
    For the KL divergence with soft targets p all g_b vanish where p = p̂, and the product with them.
    """
    batch = len(shares)
    rows = batch * shares.reshape(batch, -1)
    return (rows.T @ (rows @ v.ravel()) / batch).reshape(v.shape).astype(v.dtype)


def ggn_product(logits, leaf, v):
    """F v = (1/B) Σ_b J_bᵀ (diag p̂_b - p̂_b p̂_bᵀ) J_b v, J_b = ∂logits_b/∂α̂, by N backward passes.

    `logits` (B, N) were computed from the per-sample `leaf`. The graph is kept.
    Exact while samples do not touch each other. Batch norm in training couples them: J_b is then
    sample b's share of Σ_b' logits_b', which lacks what moves the whole batch, and F v is too short.
    """
    batch, classes = logits.shape
    jacobian = np.empty((batch, classes, v.size), v.dtype)
    for n in range(classes):
        cotangent = np.zeros(logits.shape, logits.dtype)
        cotangent[:, n] = 1
        (share,) = grad(logits, [leaf], cotangent, retain_graph=True)
        jacobian[:, n] = share.reshape(batch, -1)
    p = F.softmax(logits.detach(), axis=1).data
    u = jacobian @ v.ravel()
    u = p * (u - (p * u).sum(axis=1, keepdims=True))
    return (np.einsum("bni,bn->i", jacobian, u) / batch).reshape(v.shape).astype(v.dtype)


def hvp_product(gradient, alpha, v):
    """∇²KL v by a central difference of `gradient` (array -> array) along v: two more gradients.

    The step is ∛ε / ‖v‖, ε the rounding unit, where truncation and rounding errors balance.
    """
    length = float(np.linalg.norm(v))
    if length == 0:
        return np.zeros_like(v)
    step = alpha.dtype.type(np.finfo(alpha.dtype).eps ** (1 / 3) / length)
    return (gradient(alpha + step * v) - gradient(alpha - step * v)) / (2 * step)


class TangentGradient(NamedTuple):
    """What `tangent_gradient` returns: the gradient for α̂ and what it was made of."""

    gradient: np.ndarray  # -∂G/∂α̂ + λ ∂D/∂α̂
    g: np.ndarray  # ∂G/∂α̂
    G: float
    D: float


def tangent_gradient(
    model, alpha, p, t, lam, distance="frobenius", curvature="fisher", scale="absolute"
):
    """Gradient of -G + λ D(α̂) for α̂ (Eqs. 4.32, 4.33): -g + λ H ∂D/∂g, H = ∂²G/∂α̂².

    For the squared Frobenius distance that is -g + 2λ H (g - t). G is *minus* a KL divergence, so H is
    replaced by -F, with F v from `fisher_product`, `ggn_product` or `hvp_product`. L_R does not
    depend on α̂.

    Args:
        model: alpha -> logits, as this module describes; run in training mode.
        alpha: array, α̂.
        p: Tensor (B, N), the Parent's probabilities.
        t: array like alpha, the Parent's tangent direction.
        lam: λ; at 0 nothing of D is computed but its value.
        distance: a key of DISTANCES.
        curvature: "fisher", "ggn" or "hvp".
        scale: "absolute", or "relative": H ∂D/∂g is given the length of g before it is weighted by λ, which then
            says how large a part of the step the tangent has; of a zero nothing is made.
    """
    if distance not in DISTANCES or curvature not in CURVATURES:
        raise ValueError(
            f"tangent_gradient: distance must be one of {', '.join(DISTANCES)} and curvature one of "
            f"{', '.join(CURVATURES)}; got {distance!r} and {curvature!r}"
        )
    leaf = per_sample(alpha, len(p))
    logits = model(leaf)
    kl = kl_to_teacher(logits, p)
    (shares,) = grad(kl, [leaf], retain_graph=curvature == "ggn" and lam > 0)
    g = -accurate_sum(shares, 0)
    D, slope = DISTANCES[distance](g, t)
    gradient = -g
    if lam > 0:
        if curvature == "fisher":
            curved = fisher_product(shares, slope)
        elif curvature == "ggn":
            curved = ggn_product(logits, leaf, slope)
        else:
            curved = hvp_product(lambda a: _kl_gradient(model, a, p), alpha, slope)
        if scale == "relative":
            curved = curved * (np.linalg.norm(g) / (np.linalg.norm(curved) or 1))
        gradient = gradient - alpha.dtype.type(lam) * curved
    return TangentGradient(gradient, g, -kl.item(), D)


def _kl_gradient(model, alpha, p):
    leaf = Tensor(alpha, requires_grad=True)
    return grad(kl_to_teacher(model(leaf), p), [leaf])[0]
