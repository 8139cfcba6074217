"""Layers, each with the name of torch.nn; what they compute is an operation of bnas.functional."""

import numpy as np

import bnas.functional as F
from bnas.functional.arguments import as_images, as_tensor, require_sizes
from bnas.nn.module import Module, Parameter
from bnas.random import generator


class Identity(Module):
    def forward(self, x):
        return x


class Flatten(Module):
    """F.flatten, from axis 1 on: the batch stays."""

    def __init__(self, start_axis=1, end_axis=-1):
        self.start_axis, self.end_axis = start_axis, end_axis

    def forward(self, x):
        return F.flatten(x, self.start_axis, self.end_axis)


class ReLU(Module):
    def forward(self, x):
        return F.relu(x)


class Sigmoid(Module):
    def forward(self, x):
        return F.sigmoid(x)


class Tanh(Module):
    def forward(self, x):
        return F.tanh(x)


class PReLU(Module):
    """x where positive, else a_c x, with one learned slope for each channel, or one for all."""

    def __init__(self, num_parameters=1, init=0.25):
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x):
        return F.prelu(x, self.weight)


class MaxPool2d(Module):
    """F.max_pool2d."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1):
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.dilation = padding, dilation

    def forward(self, x):
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation)


class AvgPool2d(Module):
    """F.avg_pool2d."""

    def __init__(self, kernel_size, stride=None, padding=0, *, count_include_pad=True):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.count_include_pad = count_include_pad

    def forward(self, x):
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, count_include_pad=self.count_include_pad
        )


class AdaptiveAvgPool2d(Module):
    """F.adaptive_avg_pool2d: images of one size out of images of any size."""

    def __init__(self, output_size):
        self.output_size = output_size

    def forward(self, x):
        return F.adaptive_avg_pool2d(x, self.output_size)


class Dropout(Module):
    """F.dropout in training. rng: a numpy.random.Generator of its own; None: the default one."""

    def __init__(self, p=0.5, rng=None):
        generator(rng, "Dropout")
        self.p, self.rng = p, rng

    def forward(self, x):
        return F.dropout(x, self.p, self.training, self.rng)


class Linear(Module):
    """x wᵀ + bias, initialised uniformly in ±1/√in as in torch."""

    def __init__(self, in_features, out_features, bias=True, *, rng=None):
        require_sizes("Linear", 0, in_features=in_features, out_features=out_features)
        rng, bound = generator(rng, "Linear"), in_features**-0.5 if in_features else 0
        self.weight = Parameter(_uniform(rng, bound, (out_features, in_features)))
        self.bias = Parameter(_uniform(rng, bound, (out_features,))) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


class _BatchNorm(Module):
    """F.batch_norm with running statistics and, if `affine`, learned γ and β."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True):
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.running_mean = np.zeros(num_features, np.float32)
        self.running_var = np.ones(num_features, np.float32)
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


class BatchNorm1d(_BatchNorm):
    """Batch norm of (N, C) or (N, C, L), with running statistics and, if `affine`, learned γ and β."""

    def forward(self, x):
        x = as_tensor(x, "BatchNorm1d")
        if x.ndim not in (2, 3):
            raise ValueError(f"BatchNorm1d: expected (N, C) or (N, C, L), got shape {x.shape}")
        return super().forward(x)


class BatchNorm2d(_BatchNorm):
    """Batch norm of images (N, C, H, W), with running statistics and, if `affine`, learned γ and β."""

    def forward(self, x):
        return super().forward(as_images(x, "BatchNorm2d"))


def _uniform(rng, bound, shape):
    return rng.uniform(-bound, bound, shape).astype(np.float32)
