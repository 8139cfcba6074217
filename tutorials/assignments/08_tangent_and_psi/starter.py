"""Assignment 8: the tangent step and the update of ψ. Complete the functions; see README.md.

α may have any shape A, such as (K,) or (2, E, M); B samples, N classes. Arrays are float64 or float32. No function
may change its arguments or return one of them.
"""

import numpy as np


def softmax(z):
    """Probabilities from logits of any size, over the last axis."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def through_logits(cotangents, J):
    """J_bᵀ c_b for every sample: cotangents (B, N), J (B, N, *A); returns (B, *A)."""
    return np.einsum("bn,bn...->b...", cotangents, J)


def tangent(logits, labels, J):
    """The tangent direction t = ∂f̃/∂α, f̃ the mean log-likelihood of the labels (Eqs. 4.21, 4.29).

    logits: (B, N); labels: int64 (B,), 0 to N - 1; J: (B, N, *A), the derivatives ∂logits/∂α. Returns A.
    """
    raise NotImplementedError("this part is yours")


def child_shares(logits, targets, J):
    """Every sample's share of g = ∂G/∂α̂, G = -KL(p ‖ p̂), the mean over the batch (Eq. 4.30).

    logits: (B, N), of the Child; targets: (B, N), the Parent's probabilities p, constants, zeros among them; J:
    (B, N, *A), the derivatives ∂logits/∂α̂. Returns (B, *A), whose sum over the samples is g.
    """
    raise NotImplementedError("this part is yours")


def fisher_product(shares, v):
    """F v = (1/B) Σ_b g_b (g_bᵀ v), without a matrix (Eqs. 4.36 to 4.41).

    shares: (B, *A), every sample's share of the gradient of a batch *mean*, so g_b = B · shares_b; v: A.
    Returns A. Memory: a few arrays like shares at most; A may have 100,000 entries.
    """
    raise NotImplementedError("this part is yours")


def objective_gradient(g, t, lam, fisher):
    """D and the gradient for α̂ of -G + λ D, where H = -F stands for ∂²G/∂α̂² (Eqs. 4.31 to 4.33).

    g, t: A; lam: λ, a float; fisher: a function, fisher(v) is F v for an array v of shape A.
    Returns (D, gradient): D = ‖g - t‖², the sum over all entries, a number; gradient, A.
    """
    raise NotImplementedError("this part is yours")


def psi_step(psi, gradient, before, mask, eta, psi_lr):
    """ψ after its step: |ψ - η_ψ ∂L/∂ψ| (Eq. 4.51).

    psi: (2, E), one for each edge; gradient: (2, E, M), ∂L/∂α̃; before: (2, E, M), the α^t of the last
    backtracking, and mask: bool (2, E, M), the entries which that changed; eta, psi_lr: η and η_ψ, floats.
    Returns (2, E).
    """
    raise NotImplementedError("this part is yours")


def backtrack(alpha_next, before, psi, eta, norms, tau):
    """α̃ and which entries were backtracked (Eqs. 4.50, 4.52).

    alpha_next: (2, E, M), α^{t+1}, after the optimiser's step; before: (2, E, M), α^t; psi: (2, E); eta: η, a
    float; norms: (2, E, M), R(w) of every operation; tau: τ, an int. The rank of an operation is how many
    operations of its edge, itself among them, have a norm no larger, 1 to M.
    Returns (α̃, mask): (2, E, M), and bool (2, E, M), True where the rank is above τ.
    """
    raise NotImplementedError("this part is yours")
