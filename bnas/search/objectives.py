"""What Parent and Child minimise."""

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor, no_grad


def nas_loss(logits, labels):
    """L_NAS = -f̃^P = mean over the batch of -Σ_n y_n log p_n (Eq. 4.21), a scalar Tensor."""
    return F.cross_entropy(logits, labels)


def parent_probabilities(parent, images):
    """p (B, N): the Parent's softmax in evaluation mode, a constant for the Child."""
    with nn.evaluating(parent), no_grad():
        return F.softmax(parent(images), axis=1)


def supervision(logits, p):
    """G = -KL(p ‖ p̂), averaged over the batch (Eq. 4.30), p̂ = softmax(logits); a scalar Tensor."""
    return -F.kl_div(F.log_softmax(logits, axis=1), p, reduction="batchmean")


def reconstruction(network):
    """L_R(ŵ, β) summed over all 1-bit convolutions (Eq. 4.23), a scalar Tensor."""
    layers = [module for module in network.modules() if isinstance(module, nn.XnorConv2d)]
    if not layers:
        return Tensor(0.0, dtype=network.classifier.weight.dtype)
    return F.reconstruction_loss(*(part for layer in layers for part in (layer.weight, layer.beta)))


def child_loss(G, D, L_R, lam, mu):
    """L = -G + λ D + μ L_R (Eq. 4.32), of numbers or Tensors.

    λ = 0 gives the objective of CP-NAS, λ = μ = 0 plain distillation.
    """
    return -G + lam * D + mu * L_R
