"""Layers: Modules that own Parameters and buffers, with the names of torch.nn.

A Module finds its parts by looking at its own attributes, in the order of their creation: Parameters,
NumPy arrays (buffers: saved but not learned), Modules. Nothing needs registering.
"""

import math
from contextlib import contextmanager
from numbers import Integral

import numpy as np

import bnas.functional as F
from bnas.autodiff import Tensor
from bnas.config import BETAS, SURROGATES
from bnas.functional.arguments import pair, require_memory
from bnas.kernels.windows import Window

FLOAT_BITS = 32  # what a real-valued number costs in a stored network


class Parameter(Tensor):
    """A Tensor that a Module learns."""

    __slots__ = ()

    def __init__(self, data, dtype=None):
        super().__init__(data, requires_grad=True, dtype=dtype)


class Module:
    """A part of a network. Subclasses set attributes in __init__ and define forward(...)."""

    training = True

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def forward(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def named_modules(self, prefix=""):
        """(name, module) for this module and all below it; the names are dotted paths."""
        yield prefix.rstrip("."), self
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield from value.named_modules(f"{prefix}{name}.")

    def modules(self):
        """This module and all below it, in the order of `named_modules`."""
        found = [self]
        for value in vars(self).values():
            if isinstance(value, Module):
                found += value.modules()
        return found

    def named_parameters(self):
        """(dotted name, Parameter) of everything learned here and below."""
        return self._named(Parameter)

    def parameters(self):
        """Everything learned here and below, each Parameter once."""
        return list(dict.fromkeys(parameter for _, parameter in self.named_parameters()))

    def _named(self, kind):
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, kind):
                    yield (f"{path}.{name}" if path else name), value

    def state_dict(self):
        """{dotted name: array}, copies of all Parameters and buffers."""
        state = {name: parameter.data.copy() for name, parameter in self._named(Parameter)}
        state.update((name, buffer.copy()) for name, buffer in self._named(np.ndarray))
        return state

    def load_state_dict(self, state):
        """Take over the arrays of `state_dict`; nothing changes unless all of them fit.

        Raises:
            ValueError: names are missing or unknown, or a shape or dtype differs.
        """
        own = {**dict(self._named(Parameter)), **dict(self._named(np.ndarray))}
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(
                f"load_state_dict: {len(missing)} names are missing {missing[:3]} and {len(unknown)} are "
                f"unknown {unknown[:3]}; give the state of a module built with the same arguments"
            )
        for name, value in own.items():
            if (state[name].shape, state[name].dtype) != (value.shape, value.dtype):
                raise ValueError(
                    f"load_state_dict: {name} has shape {state[name].shape} and dtype "
                    f"{state[name].dtype}, expected {value.shape} and {value.dtype}"
                )
        for name, value in own.items():
            if isinstance(value, Parameter):
                value.data = state[name].copy()
            else:
                value[...] = state[name]

    def train(self, mode=True):
        """Training mode (batch statistics, dropout) for this module and all below it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """Evaluation mode: running statistics, no dropout."""
        return self.train(False)

    def astype(self, dtype):
        """Convert all Parameters and floating buffers, in place; float64 is for gradient checks."""
        for module in self.modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    value.data = value.data.astype(dtype)
                elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    setattr(module, name, value.astype(dtype))
        return self

    def zero_grad(self):
        for parameter in self.parameters():
            parameter.grad = None


class Sequential(Module):
    """Modules one after another; `sequence[i]` is the i-th, its name in the state dict is `i`."""

    def __init__(self, *modules):
        for i, module in enumerate(modules):
            setattr(self, str(i), module)

    def __iter__(self):
        return iter([m for m in vars(self).values() if isinstance(m, Module)])

    def __len__(self):
        return len(list(iter(self)))

    def __getitem__(self, i):
        return list(self)[i]

    def forward(self, x):
        for module in self:
            x = module(x)
        return x


class Identity(Module):
    def forward(self, x):
        return x


class ReLU(Module):
    def forward(self, x):
        return F.relu(x)


class PReLU(Module):
    """x where positive, else a_c x, with one learned slope for each channel."""

    def __init__(self, channels, initial=0.25):
        self.weight = Parameter(np.full(channels, initial, np.float32))

    def forward(self, x):
        return F.prelu(x, self.weight)


class MaxPool2d(Module):
    """F.max_pool2d."""

    def __init__(self, kernel_size, stride=None, padding=0):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x):
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(Module):
    """F.avg_pool2d."""

    def __init__(self, kernel_size, stride=None, padding=0, count_include_pad=True):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.count_include_pad = count_include_pad

    def forward(self, x):
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, count_include_pad=self.count_include_pad
        )


class Dropout(Module):
    """F.dropout in training, with a numpy.random.Generator of its own."""

    def __init__(self, p, rng):
        self.p, self.rng = p, rng

    def forward(self, x):
        return F.dropout(x, self.p, self.training, self.rng)


def _require_sizes(layer, least, **sizes):
    for name, size in sizes.items():
        if not isinstance(size, Integral) or size < least:
            raise ValueError(f"{layer}: {name} must be an int, at least {least}; got {size!r}")


class Linear(Module):
    """x wᵀ + bias, initialised uniformly in ±1/√in as in torch."""

    def __init__(self, in_features, out_features, bias=True, *, rng):
        _require_sizes("Linear", 0, in_features=in_features, out_features=out_features)
        bound = in_features**-0.5 if in_features else 0
        self.weight = Parameter(_uniform(rng, bound, (out_features, in_features)))
        self.bias = Parameter(_uniform(rng, bound, (out_features,))) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


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
        _require_sizes("convolution", 1, **sizes)
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
        self.groups = groups
        shape = out_channels, in_channels // groups, *self.window.kernel
        require_memory(shape, np.float64, "convolution")
        scale = np.sqrt(2 / math.prod(shape[1:]))  # He et al. 2015
        self.weight = Parameter((rng.standard_normal(shape) * scale).astype(np.float32))

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
        rng,
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
        rng,
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

    def forward(self, x):
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


class BatchNorm2d(Module):
    """F.batch_norm with running statistics and, if `affine`, learned γ and β."""

    def __init__(self, channels, eps=1e-5, momentum=0.1, affine=True):
        self.weight = Parameter(np.ones(channels, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(channels, np.float32)) if affine else None
        self.running_mean = np.zeros(channels, np.float32)
        self.running_var = np.ones(channels, np.float32)
        self.eps, self.momentum = eps, momentum

    def forward(self, x):
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )


@contextmanager
def evaluating(module):
    """Inside this context `module` is in evaluation mode; afterwards in the mode it was in."""
    was_training, parts = module.training, module.modules()
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = was_training


def join_states(**parts):
    """Several {name: array} as one, the names prefixed with their part and a dot."""
    return {f"{part}.{name}": array for part, own in parts.items() for name, array in own.items()}


def part_of(arrays, part):
    """What `join_states` put in under the name `part`."""
    prefix = f"{part}."
    return {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}


def is_exactly(module, kind):
    """Whether a Module computes what the class `kind` says: no subclass, and no `forward` of its own."""
    return type(module) is kind and "forward" not in vars(module)


def parameter_count(module):
    """How many numbers `module` learns."""
    return sum(parameter.size for parameter in module.parameters())


def size_in_bits(module):
    """Bits needed to store `module` for inference.

    A weight of a 1-bit convolution costs one bit, its scale β 32 bits for each output channel;
    everything else, running statistics included, 32 bits a number.
    """
    bits = 0
    for part in module.modules():
        own = [v for v in vars(part).values() if isinstance(v, (Parameter, np.ndarray))]
        if isinstance(part, XnorConv2d) and part.binary_weights:
            bits += part.weight.size + FLOAT_BITS * part.weight.shape[0]
        else:
            bits += FLOAT_BITS * sum(value.size for value in own)
    return bits


def _uniform(rng, bound, shape):
    return rng.uniform(-bound, bound, shape).astype(np.float32)
