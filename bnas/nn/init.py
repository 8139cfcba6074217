"""Initial values of Parameters, with the names of torch.nn.init.

Each function gives the Tensor a new array, drawn from `rng` (None: the default generator, see
`bnas.manual_seed`), and returns the Tensor.
"""

import math

import numpy as np

from bnas.random import generator


def zeros_(tensor):
    """All 0."""
    return constant_(tensor, 0.0)


def ones_(tensor):
    """All 1."""
    return constant_(tensor, 1.0)


def constant_(tensor, value):
    """All `value`."""
    tensor.data = np.full(tensor.shape, value, tensor.dtype)
    return tensor


def uniform_(tensor, low=0.0, high=1.0, *, rng=None):
    """Uniformly between `low` and `high`."""
    drawn = generator(rng, "uniform_").uniform(low, high, tensor.shape)
    tensor.data = np.asarray(drawn, tensor.dtype)
    return tensor


def normal_(tensor, mean=0.0, std=1.0, *, rng=None):
    """Normally distributed with that mean and standard deviation."""
    drawn = generator(rng, "normal_").normal(mean, std, tensor.shape)
    tensor.data = np.asarray(drawn, tensor.dtype)
    return tensor


def kaiming_normal_(tensor, *, rng=None):
    """Normal with the variance 2 / fan-in (He et al. 2015), for a layer that a ReLU follows."""
    return normal_(tensor, 0.0, math.sqrt(2 / _fans(tensor)[0]), rng=rng)


def kaiming_uniform_(tensor, *, rng=None):
    """Uniform with the variance 2 / fan-in (He et al. 2015), for a layer that a ReLU follows."""
    bound = math.sqrt(6 / _fans(tensor)[0])
    return uniform_(tensor, -bound, bound, rng=rng)


def xavier_normal_(tensor, gain=1.0, *, rng=None):
    """Normal with the variance gain² · 2 / (fan-in + fan-out) (Glorot & Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor))), rng=rng)


def xavier_uniform_(tensor, gain=1.0, *, rng=None):
    """Uniform with the variance gain² · 2 / (fan-in + fan-out) (Glorot & Bengio 2010)."""
    bound = gain * math.sqrt(6 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, rng=rng)


def _fans(tensor):
    """(fan-in, fan-out) of a weight (out, in, ...): the inputs of an output, and the reverse."""
    if tensor.ndim < 2 or 0 in tensor.shape:
        raise ValueError(
            f"an initialisation by fan-in is for weights (out, in, ...), got shape {tensor.shape}"
        )
    taps = math.prod(tensor.shape[2:])
    return tensor.shape[1] * taps, tensor.shape[0] * taps
