"""The candidate operations of an edge, real and 1-bit (section 4.4.2, figure 4.13).

Both forms of a candidate have the same parts under the same names, so that the Child can inherit the
Parent's weights. Real: ReLU, then convolutions. 1-bit: XNOR convolutions, each of
which takes the sign of its own input.
"""

from dataclasses import dataclass

import numpy as np

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor
from bnas.genotypes import OPERATIONS


@dataclass(frozen=True)
class Precision:
    """How the convolutions of the candidates compute: real, or 1-bit with these choices.

    Attributes:
        binary: 1-bit weights and activations.
        surrogate: the derivative that stands in for sign's ("clip", "identity", "polynomial", "tanh").
        beta: channel scale, "closed" (mean|ŵ|) or "learned".
    """

    binary: bool
    surrogate: str = "clip"
    beta: str = "closed"

    def conv(self, in_channels, out_channels, kernel_size, *, rng, **window):
        """A convolution without bias in this precision."""
        if not self.binary:
            return nn.Conv2d(in_channels, out_channels, kernel_size, bias=False, rng=rng, **window)
        return nn.XnorConv2d(
            in_channels, out_channels, kernel_size,
            surrogate=self.surrogate, beta=self.beta, rng=rng, **window,
        )  # fmt: skip

    def activation(self, x):
        """What stands before a convolution: ReLU, or nothing where the convolution takes the sign."""
        return x if self.binary else F.relu(x)

    @property
    def runs_in_lanes(self):
        """Whether units in lanes (`bnas.functional.chains`) can compute with it."""
        return not self.binary or (self.beta == "closed" and self.surrogate != "tanh")


REAL = Precision(binary=False)
BINARY = Precision(binary=True)


class Candidate(nn.Module):
    """An operation of a cell; `stride` 2 halves height and width (rounding up).

    `kernels()` lists the arrays that count for R(w) (Eq. 4.53): those of its convolutions, or what the
    book counts for an operation without any.

    Attributes:
        runs_in_lanes: whether there is an `in_lanes` that computes what `forward` does.
    """

    runs_in_lanes = True

    def kernels(self):
        return [m.kernel() for m in self.modules() if isinstance(m, (nn.Conv2d, nn.XnorConv2d))]

    def squared_norm(self):
        """R(w) = ‖w‖², without making the kernels of convolutions where there are any (Eq. 4.53)."""
        convolutions = [m for m in self.modules() if isinstance(m, (nn.Conv2d, nn.XnorConv2d))]
        if convolutions:
            return sum(convolution.squared_norm() for convolution in convolutions)
        return sum(float(np.vdot(kernel, kernel)) for kernel in self.kernels())

    def stages(self, size):
        """What `forward` does to images of `size` (H, W), for `F.chain_norm`: (stages, their weights)."""
        raise NotImplementedError(f"no lanes for {type(self).__name__}; set lanes = False")

    def in_lanes(self, x, call, base=None, keep=None):
        """base + keep ∘ forward(x) for a Tensor in lanes; arguments as of `F.chain_norm`."""
        stages, weights = self.stages(x.shape[2:4])
        return F.chain_norm(x, weights, call, stages, base, keep)


def norm_of(bn):
    """A BatchNorm2d as an F.Norm."""
    affine = bn.weight is not None
    return F.Norm(bn.running_mean, bn.running_var, bn.momentum, bn.eps, bn.training, affine)


def stage_of(windows, convolutions, bn):
    """(stages, their weights) of one stage: convolutions with such windows, then a BatchNorm2d."""
    weights, norm = [convolution.weight for convolution in convolutions], norm_of(bn)
    return (F.Stage(windows, norm),), weights + ([bn.weight, bn.bias] if norm.affine else [])


class None_(Candidate):
    """Zero: the edge is absent. Without weights: R = 0."""

    runs_in_lanes = False

    def __init__(self, stride):
        self.stride = stride

    def forward(self, x):
        return Tensor(np.zeros_like(x.data[:, :, :: self.stride, :: self.stride]))


class Skip(Candidate):
    """The input itself; it counts as one weight of 1 for every channel."""

    def __init__(self, channels):
        self.channels = channels

    def forward(self, x):
        return x

    def kernels(self):
        return [np.ones((self.channels, 1, 1, 1), np.float32)]

    def stages(self, size):
        return (), []

    def in_lanes(self, x, call, base=None, keep=None):
        """base + x; an identity is never dropped."""
        return x if base is None else base + x


class FactorizedReduce(Candidate):
    """Half the size by two 1×1 convolutions of stride 2, one of them looking a pixel further; BN."""

    def __init__(self, in_channels, out_channels, precision, affine, rng):
        self.precision = precision
        half = out_channels // 2
        self.conv1 = precision.conv(in_channels, half, 1, stride=2, rng=rng)
        self.conv2 = precision.conv(
            in_channels, out_channels - half, 1, stride=2, padding=1, rng=rng
        )
        self.bn = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x):
        x = self.precision.activation(x)
        # Padding by 1 puts the windows on the odd pixels; the first of them lies outside.
        shifted = self.conv2(x)[:, :, 1:, 1:]
        return self.bn(F.concat([self.conv1(x), shifted], axis=1))

    def stages(self, size):
        half = tuple(-(-n // 2) for n in size)
        windows = tuple(((1, 1), 2, (-offset, -offset), 1, half) for offset in (0, 1))
        return stage_of(windows, (self.conv1, self.conv2), self.bn)


class Pool(Candidate):
    """3×3 pooling, then BN; it counts as a kernel of 1/K² for every channel."""

    def __init__(self, kind, channels, stride, affine):
        self.largest, self.stride = kind == "max", stride
        self.pool = nn.MaxPool2d(3, stride, 1)
        if kind == "avg":
            self.pool = nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        self.bn = nn.BatchNorm2d(channels, affine=affine)
        self.channels = channels

    def forward(self, x):
        return self.bn(self.pool(x))

    def kernels(self):
        return [np.full((self.channels, 1, 3, 3), 1 / 9, np.float32)]

    def stages(self, size):
        """The norm; what it is computed on has been pooled before."""
        return stage_of((), (), self.bn)

    def in_lanes(self, x, call, base=None, keep=None):
        return super().in_lanes(F.pool_lanes(x, self.largest, self.stride), call, base, keep)


class Separable(Candidate):
    """Depthwise K×K, then 1×1, then BN."""

    def __init__(self, channels, kernel_size, stride, dilation, precision, affine, rng):
        self.precision = precision
        padding = dilation * (kernel_size - 1) // 2
        self.depthwise = precision.conv(
            channels, channels, kernel_size, stride=stride, padding=padding, dilation=dilation,
            groups=channels, rng=rng,
        )  # fmt: skip
        self.pointwise = precision.conv(channels, channels, 1, rng=rng)
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x):
        return self.bn(self.pointwise(self.depthwise(self.precision.activation(x))))

    def stages(self, size):
        stride, padding, dilation, _ = self.depthwise.window
        kernel = self.depthwise.weight.shape[2:]
        window = kernel, stride, (padding, padding), dilation, None
        return stage_of((window,), (self.depthwise, self.pointwise), self.bn)


class Chain(Candidate):
    """Two candidates one after the other."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def forward(self, x):
        return self.second(self.first(x))

    def stages(self, size):
        (first, weights), (second, more) = self.first.stages(size), self.second.stages(size)
        return (*first, *second), [*weights, *more]


class Factorized7(Candidate):
    """1×7, then 7×1, then BN: conv_7x1_1x7 of AmoebaNet."""

    runs_in_lanes = False

    def __init__(self, channels, stride, precision, affine, rng):
        self.precision = precision
        self.conv1 = precision.conv(
            channels, channels, (1, 7), stride=(1, stride), padding=(0, 3), rng=rng
        )
        self.conv2 = precision.conv(
            channels, channels, (7, 1), stride=(stride, 1), padding=(3, 0), rng=rng
        )
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x):
        return self.bn(self.conv2(self.conv1(self.precision.activation(x))))


def make_candidate(name, channels, stride, precision, affine, rng):
    """The operation `name` of `bnas.genotypes.OPERATIONS` on `channels` channels.

    Args:
        stride: 1, or 2 on the edges from a reduction cell's inputs.
        precision: REAL, BINARY or another Precision.
        affine: whether batch norm learns γ and β (in a found network; not during search).
        rng: numpy.random.Generator for the initial weights.

    Raises:
        ValueError: an unknown name.
    """
    if name not in OPERATIONS:
        raise ValueError(f"unknown operation {name!r}; expected one of {', '.join(OPERATIONS)}")
    if name == "none":
        return None_(stride)
    if name == "skip_connect":
        if stride == 1:
            return Skip(channels)
        return FactorizedReduce(channels, channels, precision, affine, rng)
    if name.endswith("pool_3x3"):
        return Pool(name[:3], channels, stride, affine)
    if name == "conv_7x1_1x7":
        return Factorized7(channels, stride, precision, affine, rng)
    kernel_size = int(name[-1])

    def separable(stride, dilation=1):
        return Separable(channels, kernel_size, stride, dilation, precision, affine, rng)

    if name.startswith("dil_conv"):
        return separable(stride, dilation=2)
    return Chain(separable(stride), separable(1))
