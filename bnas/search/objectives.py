"""What Parent and Child minimise."""

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor, no_grad


def nas_loss(logits, labels):
    """L_NAS = -f̃^P = mean over the batch of -Σ_n y_n log p_n (Eq. 4.21), a scalar Tensor."""
    return F.cross_entropy(logits, labels)


def teacher_probabilities(teacher, images):
    """p (B, N): the softmax of the teacher, the Child's Parent, in evaluation mode; a constant."""
    with nn.evaluating(teacher), no_grad():
        return F.softmax(teacher(images), axis=1)


def kl_to_teacher(logits, p):
    """-G = KL(p ‖ p̂), averaged over the batch (Eq. 4.30), p̂ = softmax(logits); a scalar Tensor.

    Shapes: logits (B, N), p (B, N), the teacher's probabilities.
    """
    return F.kl_div(F.log_softmax(logits, axis=1), p, reduction="batchmean")


def reconstruction(network):
    """L_R(ŵ, β) summed over all 1-bit convolutions that take part (Eq. 4.23), a scalar Tensor.

    network: Supernet or Network.
    """
    layers = [part for part in network.active_modules() if isinstance(part, nn.XnorConv2d)]
    if not layers:
        return Tensor(0.0, dtype=network.classifier.weight.dtype)
    return F.reconstruction_loss(*(part for layer in layers for part in (layer.weight, layer.beta)))


def child_loss(kl, D, L_R, lam, mu):
    """L = -G + λ D + μ L_R (Eq. 4.32), of numbers or Tensors; kl is -G, the KL divergence to the teacher.

    λ = 0 gives the objective of CP-NAS, λ = μ = 0 plain distillation.
    """
    return kl + lam * D + mu * L_R
