"""The operations that an edge can choose from, real and 1-bit, and the table that names them.

Both forms of an operation have the same parts under the same names, so that the Child can inherit the
Parent's weights. Real: ReLU, then convolutions. 1-bit: XNOR convolutions, each of which takes the sign of
its own input (section 4.4.2, figure 4.13).

`OPERATIONS` is the one place where a name gets its meaning; `register_operation` adds to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

import bnas.functional as F
from bnas import nn
from bnas.autodiff import Tensor
from bnas.errors import InputError


@dataclass(frozen=True)
class Precision:
    """How the convolutions of the operations compute: real, or 1-bit with these choices.

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
            in_channels,
            out_channels,
            kernel_size,
            surrogate=self.surrogate,
            beta=self.beta,
            rng=rng,
            **window,
        )

    def activation(self, x):
        """What stands before a convolution: ReLU, or nothing where the convolution takes the sign."""
        return x if self.binary else F.relu(x)


REAL = Precision(binary=False)
BINARY = Precision(binary=True)


class Operation(nn.Module):
    """An operation of a cell: (N, C, H, W) -> (N, C, H', W').

    H' and W' are H and W, or half of them, rounded up, where it was built for a stride of 2. Subclasses
    are built by __init__(channels, stride, precision, affine, rng), see `make_operation`.
    """

    def convolutions(self):
        """Its convolutions, in the order of its attributes, which is that in which they are computed."""
        return [part for part in self.modules() if isinstance(part, nn.Convolution)]

    def squared_norm(self):
        """R(w) = ‖w‖² (Eq. 4.53), a float: w are the kernels of its convolutions."""
        return sum(conv.squared_norm() for conv in self.convolutions())


class Zero(Operation):
    """Zero: the edge is absent. Without weights: R = 0."""

    def __init__(self, channels, stride, precision, affine, rng):
        self.stride = stride

    def forward(self, x):
        array = x.data if isinstance(x, Tensor) else x
        return Tensor(np.zeros_like(array[:, :, :: self.stride, :: self.stride]))


class Skip(Operation):
    """The input itself; it counts as one weight of 1 for every channel."""

    def __init__(self, channels):
        self.channels = channels

    def forward(self, x):
        return x

    def squared_norm(self):
        return float(self.channels)


class FactorizedReduce(Operation):
    """Half the size by two 1×1 convolutions of stride 2, one of them looking a pixel further; BN."""

    SHIFT = 1  # rows and columns of the second convolution's outputs that are left out

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
        shifted = self.conv2(x)[:, :, self.SHIFT :, self.SHIFT :]
        return self.bn(F.concat([self.conv1(x), shifted], axis=1))


def skip_connect(channels, stride, precision, affine, rng):
    """The identity, or where the size is halved a FactorizedReduce."""
    if stride == 1:
        return Skip(channels)
    return FactorizedReduce(channels, channels, precision, affine, rng)


class Pool(Operation):
    """3×3 pooling, then BN; it counts as a kernel of 1/K² for every channel."""

    def __init__(self, channels, stride, precision, affine, rng, kind):
        self.pool = nn.MaxPool2d(3, stride, 1)
        if kind == "avg":
            self.pool = nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        self.bn = nn.BatchNorm2d(channels, affine=affine)
        self.channels = channels

    def forward(self, x):
        return self.bn(self.pool(x))

    def squared_norm(self):
        return self.channels / 9  # 9 weights of 1/9 a channel


class Separable(Operation):
    """Depthwise K×K, then 1×1, then BN."""

    def __init__(self, channels, stride, precision, affine, rng, kernel_size, dilation=1):
        self.precision = precision
        padding = dilation * (kernel_size - 1) // 2
        self.depthwise = precision.conv(
            channels,
            channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=channels,
            rng=rng,
        )
        self.pointwise = precision.conv(channels, channels, 1, rng=rng)
        self.bn = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x):
        return self.bn(self.pointwise(self.depthwise(self.precision.activation(x))))


class Chain(Operation):
    """Two operations one after the other."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def forward(self, x):
        return self.second(self.first(x))


def sep_conv(channels, stride, precision, affine, rng, kernel_size):
    """Two Separables, of which the first has the stride."""
    rest = precision, affine, rng, kernel_size
    return Chain(Separable(channels, stride, *rest), Separable(channels, 1, *rest))


class Factorized7(Operation):
    """1×7, then 7×1, then BN: conv_7x1_1x7 of AmoebaNet."""

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


class ReLUConvBN(Operation):
    """ReLU, real 1×1 convolution, BN: what brings the inputs of a cell to its number of channels."""

    def __init__(self, in_channels, out_channels, affine, rng):
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False, rng=rng)
        self.bn = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x):
        return self.bn(self.conv(F.relu(x)))


# {name: what builds the operation from (channels, stride, precision, affine, rng)}. The first eight are
# PRIMITIVES, the search space of the book; the others occur in published genotypes.
OPERATIONS = {
    "none": Zero,
    "skip_connect": skip_connect,
    "dil_conv_3x3": partial(Separable, kernel_size=3, dilation=2),
    "dil_conv_5x5": partial(Separable, kernel_size=5, dilation=2),
    "max_pool_3x3": partial(Pool, kind="max"),
    "avg_pool_3x3": partial(Pool, kind="avg"),
    "sep_conv_3x3": partial(sep_conv, kernel_size=3),
    "sep_conv_5x5": partial(sep_conv, kernel_size=5),
    "sep_conv_7x7": partial(sep_conv, kernel_size=7),
    "conv_7x1_1x7": Factorized7,
}
# Those of them that learn nothing themselves, but for batch norm; a skip of stride 2 does.
WEIGHTLESS = ("skip_connect", "max_pool_3x3", "avg_pool_3x3")
COLLAPSED = 3 / 4  # a larger share of them than this is a collapse of the search


def register_operation(name: str, build: Callable):
    """Add an operation to the table, for supernets, genotypes and `bnas search --operations`.

    Args:
        name: what genotypes and options call it: letters, digits and underscores, beginning with a letter.
        build: a subclass of Operation, or a function that makes one, of (channels, stride, precision,
            affine, rng); see `make_operation`.

    Raises:
        InputError: the name is taken, or no name.
        TypeError: `build` cannot be called.
    """
    if not isinstance(name, str) or not name.isidentifier() or not name[0].isalpha():
        raise InputError(
            f"an operation needs a name of letters, digits and underscores, such as conv_5x5; got {name!r}"
        )
    if name in OPERATIONS:
        raise InputError(f"there is an operation {name!r} already; give yours another name")
    if not callable(build):
        raise TypeError(
            f"register_operation: build must be a subclass of Operation or a function that makes one, "
            f"got {type(build).__name__}"
        )
    OPERATIONS[name] = build


def make_operation(name, channels, stride, precision, affine, rng):
    """The operation `name` of OPERATIONS on `channels` channels.

    Args:
        stride: 1, or 2 on the edges from a reduction cell's inputs.
        precision: REAL, BINARY or another Precision.
        affine: whether batch norm learns γ and β (in a found network; not during search).
        rng: numpy.random.Generator for the initial weights.

    Raises:
        InputError: an unknown name.
        TypeError: what was registered under that name makes no Operation.
    """
    if name not in OPERATIONS:
        raise InputError(
            f"unknown operation {name!r}; expected one of {', '.join(OPERATIONS)}, or register it first "
            "with bnas.register_operation"
        )
    operation = OPERATIONS[name](channels, stride, precision, affine, rng)
    if not isinstance(operation, Operation):
        raise TypeError(
            f"what is registered as {name!r} made a {type(operation).__name__}, expected an Operation; "
            "derive your class from bnas.space.Operation"
        )
    return operation


def distinct_names(names):
    """Names of operations as a tuple, if they are distinct and one of them at least is not `none`.

    Raises:
        InputError: they are not, or no names.
    """
    names = names if isinstance(names, str) else tuple(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InputError(f"operations must be a tuple of names, got {names!r}")
    twice = [name for k, name in enumerate(names) if name in names[:k]]
    if twice:
        raise InputError(f"operations lists {twice[0]!r} twice: every name must be another")
    if set(names) <= {"none"}:
        raise InputError(
            f"operations are {names}: expected at least one other than 'none' to keep, such as skip_connect"
        )
    return names


def search_space(names):
    """`names`, such as PRIMITIVES, as a tuple, checked: the candidates of every edge, along axis M of α.

    Raises:
        InputError: a name is unknown or stands twice, or there is nothing but "none".
    """
    names = distinct_names(names)
    for name in names:
        if name not in OPERATIONS:
            raise InputError(
                f"unknown operation {name!r} in the search space; known are {', '.join(OPERATIONS)}; one of "
                "your own is registered first, with bnas.register_operation"
            )
    return names
