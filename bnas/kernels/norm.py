"""Batch normalisation in training and its gradient, one channel to a task.

Sums run in float64, and the variance takes a second pass over x - mean: E[x^2] - mean^2 would
cancel for data that lie far from zero.

A value that differs from its channel's mean by no more than rounding counts as the mean: 1-bit convolutions give
integers times β, and where such an integer is the mean of its channel (a tie), the next sign must not depend on
how the mean was rounded.
"""

import numpy as np

from bnas.kernels.jit import jit
from bnas.kernels.planes import ready
from bnas.kernels.threads import run_tasks

COST = 8  # of an element, in multiply-adds: three passes, in float64


@jit(allocates=False, fastmath={"reassoc", "contract"})
def _sum(a):
    total = 0.0
    for i in range(a.size):
        total += np.float64(a[i])
    return total


@jit(allocates=False, fastmath={"reassoc", "contract"})
def _sum_squares(a, centre):
    total = 0.0
    for i in range(a.size):
        deviation = np.float64(a[i]) - centre
        total += deviation * deviation
    return total


@jit(allocates=False, fastmath={"reassoc", "contract"})
def _sum_and_products(a, b, centre):
    """The sum of a, and the sum of a (b - centre)."""
    total, products = 0.0, 0.0
    for i in range(a.size):
        total += np.float64(a[i])
        products += np.float64(a[i]) * (np.float64(b[i]) - centre)
    return total, products


@jit(allocates=False)
def _combine(dy, x, centre, scale, slope, offset, dx):
    """In float64, as the forward is: a slope may be too small for float32 where deviations are large."""
    for i in range(dx.size):
        dx[i] = scale * np.float64(dy[i]) - (np.float64(x[i]) - centre) * slope - offset


@jit(forceinline=True)
def tie_margin(x, mean, var):
    """How far a value of the dtype of x may be from the mean of its channel and still be it.

    A rounding unit of the channel's root mean square: as much as β times an integer, and the mean of such
    products, can be off by. In float64, where sums round too, a margin far below any real difference.
    """
    unit = 2.0**-23 if x.itemsize == 4 else 2.0**-36
    return unit * np.sqrt(mean * mean + var)


@jit(allocates=False)
def _forward_channel(x, c, gamma, beta, eps, y, mean, var):
    count = max(x.shape[0] * x.shape[2], 1)
    centre, spread = 0.0, 0.0
    for n in range(x.shape[0]):
        centre += _sum(x[n, c])
    centre /= count
    for n in range(x.shape[0]):
        spread += _sum_squares(x[n, c], centre)
    spread /= count
    least = tie_margin(x, centre, spread)
    if abs(centre) <= least:
        centre = 0.0
    mean[c], var[c] = centre, spread
    scale, shift = gamma[c] / np.sqrt(spread + eps), beta[c]
    for n in range(x.shape[0]):
        source, target = x[n, c], y[n, c]
        for i in range(source.size):
            deviation = source[i] - centre
            target[i] = (deviation if abs(deviation) > least else 0.0) * scale + shift


@jit(allocates=False)
def _forward(x, gamma, beta, eps, y, mean, var, first, end):
    for c in range(first, end):
        _forward_channel(x, c, gamma, beta, eps, y, mean, var)


@jit(allocates=False)
def _dx_channel(dy, x, c, gamma, mean, var, eps, dx, dgamma, dbeta):
    count = max(x.shape[0] * x.shape[2], 1)
    inv_std = 1 / np.sqrt(var[c] + eps)
    sum_dy, sum_products = 0.0, 0.0
    for n in range(x.shape[0]):
        total, products = _sum_and_products(dy[n, c], x[n, c], mean[c])
        sum_dy += total
        sum_products += products
    dgamma[c], dbeta[c] = sum_products * inv_std, sum_dy
    scale = gamma[c] * inv_std
    slope, offset = scale * inv_std * inv_std * sum_products / count, scale * sum_dy / count
    for n in range(x.shape[0]):
        _combine(dy[n, c], x[n, c], mean[c], scale, slope, offset, dx[n, c])


@jit(allocates=False)
def _dx(dy, x, gamma, mean, var, eps, dx, dgamma, dbeta, first, end):
    for c in range(first, end):
        _dx_channel(dy, x, c, gamma, mean, var, eps, dx, dgamma, dbeta)


def batch_norm(x, gamma, beta, eps):
    """Batch normalisation in training: y = gamma (x - mean) / sqrt(var + eps) + beta.

    x (N, C, H, W); gamma, beta (C,) or None for ones and zeros -> (y, mean, var). mean and the
    biased var (C,) are float64, accumulated in two passes; 0 without data. What
    differs from the mean by no more than rounding (2⁻²³ of the root mean square of the channel, in float64
    2⁻³⁶) counts as the mean, and a mean as small as that as 0.
    """
    n, c, h, w = x.shape
    gamma = np.ones(c, x.dtype) if gamma is None else ready(gamma)
    beta = np.zeros(c, x.dtype) if beta is None else ready(beta)
    y, mean, var = np.empty(x.shape, x.dtype), np.empty(c), np.empty(c)
    flat = (n, c, h * w)
    run_tasks(
        _forward,
        COST * x.size,
        c,
        ready(x).reshape(flat),
        gamma,
        beta,
        float(eps),
        y.reshape(flat),
        mean,
        var,
    )
    return y, mean, var


def batch_norm_dx(dy, x, gamma, mean, var, eps):
    """Gradients of `batch_norm` -> (dx (N, C, H, W), dgamma (C,), dbeta (C,)); mean and var as it gave them.

    With x_hat the normalised x and averages over N, H, W:
    dx = gamma / sqrt(var + eps) (dy - avg(dy) - x_hat avg(dy x_hat)).
    """
    n, c, h, w = x.shape
    gamma = np.ones(c, x.dtype) if gamma is None else ready(gamma)
    dx, dgamma, dbeta = np.empty(x.shape, x.dtype), np.empty(c, x.dtype), np.empty(c, x.dtype)
    flat = (n, c, h * w)
    run_tasks(
        _dx,
        COST * x.size,
        c,
        ready(dy).reshape(flat),
        ready(x).reshape(flat),
        gamma,
        ready(mean),
        ready(var),
        float(eps),
        dx.reshape(flat),
        dgamma,
        dbeta,
    )
    return dx, dgamma, dbeta
