"""Layers: Modules that own Parameters and buffers, with the names of torch.nn."""

from bnas.nn import init
from bnas.nn.containers import ModuleList, Sequential
from bnas.nn.convolutions import Conv2d, Convolution, XnorConv2d
from bnas.nn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    PReLU,
    ReLU,
    Sigmoid,
    Tanh,
)
from bnas.nn.losses import CrossEntropyLoss, MSELoss, NLLLoss
from bnas.nn.module import (
    Module,
    Parameter,
    evaluating,
    in_mode,
    is_exactly,
    parameter_count,
)
from bnas.nn.sizes import bits_by_part, multiply_adds, size_in_bits
from bnas.nn.states import ShapeMismatch, join_states, part_of, require_alike, without

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Convolution",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "PReLU",
    "Parameter",
    "ReLU",
    "Sequential",
    "ShapeMismatch",
    "Sigmoid",
    "Tanh",
    "XnorConv2d",
    "bits_by_part",
    "evaluating",
    "in_mode",
    "init",
    "is_exactly",
    "join_states",
    "multiply_adds",
    "parameter_count",
    "part_of",
    "require_alike",
    "size_in_bits",
    "without",
]


def __dir__():
    return sorted(__all__)
