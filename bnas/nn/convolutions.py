"""Convolutions, with real and with binary weights."""

import math

import numpy as np

import bnas.functional as F
from bnas.autodiff import is_grad_enabled
from bnas.backend import kernels
from bnas.config import BETAS, SURROGATES
from bnas.functional.arguments import pair, require_memory, require_sizes
from bnas.functional.binarise import packed_xnor_conv2d
from bnas.kernels.windows import Window
from bnas.nn.kept import Kept
from bnas.nn.module import Module, Parameter
from bnas.random import generator


class Convolution(Module):
    """What Conv2d and XnorConv2d share: a kernel `weight`, and how it moves over an image.

    Attributes:
        window: a bnas.kernels.windows.Window, all of it pairs (height, width).
        groups: as in F.conv2d.
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, rng
    ):
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "groups": groups}
        require_sizes("convolution", 1, **sizes)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"convolution: groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}"
            )
        self.window = Window(
            pair(kernel_size, "kernel_size", "convolution", 1),
            pair(stride, "stride", "convolution", 1),
            pair(padding, "padding", "convolution", 0),
            pair(dilation, "dilation", "convolution", 1),
        )
        self.groups, rng = groups, generator(rng, "convolution")
        shape = out_channels, in_channels // groups, *self.window.kernel
        require_memory(shape, np.float64, "convolution")
        scale = np.sqrt(2 / math.prod(shape[1:]))  # He et al. 2015
        self.weight = Parameter((rng.standard_normal(shape) * scale).astype(np.float32))

    def extra_repr(self):
        window = zip(("stride", "padding", "dilation"), self.window[1:4], (1, 0, 1))
        shown = [f"{name}={own}" for name, own, usual in window if own != (usual, usual)]
        return ", ".join(shown + [f"groups={self.groups}"] * (self.groups > 1))

    def settings(self):
        """(stride, padding, dilation, groups), as F.conv2d takes them."""
        return *self.window[1:4], self.groups


class Conv2d(Convolution):
    """F.conv2d with a learned kernel and, if `bias`, an offset for each channel."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        *,
        rng=None,
    ):
        sizes = in_channels, out_channels, kernel_size
        super().__init__(*sizes, stride, padding, dilation, groups, rng)
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias, *self.settings())

    def kernel(self):
        """The kernel that the convolution computes with, as an array: w."""
        return self.weight.data

    def squared_norm(self):
        """‖kernel()‖², a float."""
        return float(np.vdot(self.weight.data, self.weight.data))


class XnorConv2d(Convolution):
    """F.xnor_conv2d with learned latent weights ŵ (Eqs. 4.22, 4.35).

    Args:
        surrogate: the derivative that stands in for sign's, for inputs and weights alike.
        beta: "closed", the scale mean|ŵ| (the minimiser of Eq. 4.23), or "learned", a Parameter that
            starts there and may change its sign.

    `binary_weights = False` leaves the weights real and binarises the inputs alone: the first of the
    two stages in which a 1-bit network can be trained. `temperature` is that of the tanh surrogate.

    Where nothing is recorded (`no_grad`) the packed weights are kept until the weights change.
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        *,
        surrogate="clip",
        beta="closed",
        rng=None,
    ):
        if surrogate not in SURROGATES:
            raise ValueError(
                f"XnorConv2d: surrogate must be one of {SURROGATES}, got {surrogate!r}"
            )
        if beta not in BETAS:
            raise ValueError(f"XnorConv2d: beta must be one of {BETAS}, got {beta!r}")
        sizes = in_channels, out_channels, kernel_size
        super().__init__(*sizes, stride, padding, dilation, groups, rng)
        self.beta = Parameter(F.channel_scale(self.weight.data)) if beta == "learned" else None
        self.surrogate, self.temperature = surrogate, 1.0
        self.binary_weights = True
        self._packed = Kept()

    def forward(self, x):
        if not is_grad_enabled() and self.binary_weights and type(self.weight) is Parameter:
            weights = self._packed.of(self.weight, kernels().pack_weights, self.groups)
            beta = None if self.beta is None else self.beta.data
            return packed_xnor_conv2d(x, weights, beta, *self.window[1:4])
        if not self.binary_weights:
            bits = F.sign_ste(x, self.surrogate, self.temperature)
            return F.conv2d(bits, self.weight, None, *self.settings())
        w, beta = self.weight, self.beta
        if self.surrogate != "clip":
            beta = F.channel_scale(w.data) if beta is None else beta
            x = F.sign_ste(x, self.surrogate, self.temperature)
            w = F.sign_ste(w, self.surrogate, self.temperature)
        return F.xnor_conv2d(x, w, beta, *self.settings())

    def kernel(self):
        """The kernel that the convolution computes with, as an array: β ∘ sign ŵ."""
        if not self.binary_weights:
            return self.weight.data
        return self._scale()[:, None, None, None] * F.sign_ste(self.weight).data

    def squared_norm(self):
        """‖kernel()‖², a float; of a 1-bit kernel β² for every weight."""
        w = self.weight.data
        if not self.binary_weights:
            return float(np.vdot(w, w))
        beta = self._scale()
        return float(np.vdot(beta, beta)) * (w.size // len(w))

    def _scale(self):
        """β, learned or in closed form, as an array (Cout,)."""
        return F.channel_scale(self.weight.data) if self.beta is None else self.beta.data

    def reset_beta(self):
        """Let a learned β start from the closed form of the present ŵ; else do nothing."""
        if self.beta is not None:
            self.beta.data = F.channel_scale(self.weight.data)

    def reconstruction_loss(self):
        """L_R of this layer (Eq. 4.23), a scalar Tensor."""
        return F.reconstruction_loss(self.weight, self.beta)
