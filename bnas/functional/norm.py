"""Batch normalisation (Ioffe & Szegedy 2015)."""

from numbers import Real

import numpy as np

from bnas.autodiff import FLOATS, Function, Tensor
from bnas.backend import kernels
from bnas.functional.arguments import as_tensor
from bnas.functional.shape import reshape
from bnas.gradcheck import Case
from bnas.kernels.sums import accurate_sum


class BatchNorm(Function):
    """y = γ x̂ + β with x̂ = (x - m) / √(v + ε), m and v the mean and variance of each channel.

    The running arrays, if given, move towards m and the unbiased v, in place.
    Backward: dβ = Σ dy, dγ = Σ dy x̂, dx = γ / √(v + ε) · (dy - dβ/n - x̂ dγ/n), n = N·H·W.
    Shapes: x (N, C, H, W), γ and β (C,). gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, gamma, beta, eps, running_mean=None, running_var=None, momentum=0.1):
        y, mean, var = kernels().batch_norm(x, gamma, beta, eps)
        ctx.saved = x, gamma, mean, var, eps
        if running_mean is not None:
            running_mean += momentum * (mean - running_mean)
        if running_var is not None:
            count = x.size // x.shape[1]
            running_var += momentum * (var * (count / (count - 1)) - running_var)
        return y

    @staticmethod
    def backward(ctx, dy):
        return kernels().batch_norm_dx(dy, *ctx.saved)


class BatchNormEvaluation(Function):
    """y = γ (x - m) / √(v + ε) + β with m and v constants.

    Backward: dx = dy γ / √(v + ε), dγ = Σ dy (x - m) / √(v + ε), dβ = Σ dy.
    Shapes: x (N, C, H, W), the others (C,). gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, gamma, beta, mean, var, eps):
        inverse, scale, shift = evaluation_affine(gamma, beta, mean, var, eps, x.dtype)
        # A copy of the mean: training moves the running one in place.
        ctx.x, ctx.mean, ctx.inverse, ctx.scale = x, mean.copy(), inverse, scale
        return x * scale[:, None, None] + shift[:, None, None]

    @staticmethod
    def backward(ctx, dy):
        need_x, need_gamma, need_beta = ctx.needs
        dx = dy * ctx.scale[:, None, None] if need_x else None
        dgamma = dbeta = None
        if need_gamma:
            normalised = (ctx.x - ctx.mean[:, None, None]) * ctx.inverse[:, None, None]
            dgamma = accurate_sum(dy * normalised, (0, 2, 3))
        if need_beta:
            dbeta = accurate_sum(dy, (0, 2, 3))
        return dx, dgamma, dbeta


def evaluation_affine(gamma, beta, mean, var, eps, dtype):
    """Batch norm in evaluation as y = scale x + shift: (1 / √(v + ε), scale, shift), each (C,)."""
    inverse = (1 / np.sqrt(var + eps)).astype(dtype)
    scale = inverse if gamma is None else gamma * inverse
    shift = -mean * scale if beta is None else beta - mean * scale
    return inverse, scale, shift.astype(dtype)


def require_variance(count, shape):
    """Raise ValueError unless a channel of images of `shape` has at least two values."""
    if count < 2:
        raise ValueError(
            f"batch_norm: {count} value per channel has no variance, x {shape}; "
            "train with a larger batch or image"
        )


def _statistic(value, name):
    """The array of a running statistic that is an array, a Tensor or None."""
    if type(value) is np.ndarray and value.dtype in FLOATS:  # nearly always
        return value
    if isinstance(value, Tensor) and value.requires_grad:
        raise TypeError(f"batch_norm: {name} is moved in place, so it cannot require a gradient")
    array = value.data if isinstance(value, Tensor) else value
    if array is not None and (not isinstance(array, np.ndarray) or array.dtype not in FLOATS):
        raise TypeError(
            f"batch_norm: {name} must be an array of float32 or float64, which is moved in place, "
            f"got {value!r}"
        )
    return array


def require_own_memory(running_mean, running_var, **others):
    """Raise ValueError if a running array, which moves in place, lies in the memory of another array.

    others: arrays or None, by the names that the error calls them.
    """
    running = [a for a in (running_mean, running_var) if a is not None]
    owners = [_owner(array) for array in running]
    rest = [_owner(array) for array in others.values() if array is not None]
    if len({id(owner) for owner in owners}) == len(running) and not any(
        one is other for one in owners for other in rest
    ):
        return  # nearly always, and asked in every step
    arrays = {"running_mean": running_mean, "running_var": running_var, **others}
    given = [(name, array) for name, array in arrays.items() if array is not None]
    for i, (name, array) in enumerate(given[: len(running)]):
        for other, second in given[i + 1 :]:
            if np.shares_memory(array, second):
                raise ValueError(
                    f"batch_norm: {name} moves in place and shares memory with {other}; give it a copy"
                )


def _owner(array):
    """What the memory of an array belongs to: views of one array have one owner."""
    return array if array.base is None else array.base


def batch_norm(
    x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Batch normalisation, arguments as in torch.nn.functional.batch_norm.

    In training, the batch's own statistics normalise and `running_mean` and `running_var` (arrays, or Tensors
    that require no gradient, if given) move towards them by `momentum` (in place; the variance unbiased). In
    evaluation they normalise. Shapes: x (N, C, H, W), (N, C, L) or (N, C); the others (C,).

    Raises:
        TypeError: a running statistic is no array of floats; the momentum is no number.
        ValueError: wrong shapes; one value per channel in training; no running arrays in evaluation;
            in training, a running array that shares memory with another array.
    """
    x = as_tensor(x, "batch_norm")
    if x.ndim in (2, 3):
        planes = reshape(x, (*x.shape, *[1] * (4 - x.ndim)))
        y = batch_norm(planes, running_mean, running_var, weight, bias, training, momentum, eps)
        return reshape(y, x.shape)
    if x.ndim != 4 or x.shape[1] == 0:
        raise ValueError(
            "batch_norm: expected (N, C, H, W), (N, C, L) or (N, C) with channels, got shape "
            f"{x.shape}"
        )
    channels = x.shape[1]
    running_mean = _statistic(running_mean, "running_mean")
    running_var = _statistic(running_var, "running_var")
    if type(momentum) is not float and not isinstance(momentum, Real):
        raise TypeError(
            f"batch_norm: momentum must be a number, got {momentum!r}; PyTorch's None, a cumulative "
            "average, is not offered"
        )
    given = (running_mean, running_var, weight, bias)
    for name, array in zip(("running_mean", "running_var", "weight", "bias"), given):
        if array is not None and array.shape != (channels,):
            raise ValueError(f"batch_norm: {name} must have shape ({channels},), got {array.shape}")
    gamma = None if weight is None else as_tensor(weight, "batch_norm")
    beta = None if bias is None else as_tensor(bias, "batch_norm")
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: evaluation needs running_mean and running_var")
        return BatchNormEvaluation.apply(
            x, gamma, beta, mean=running_mean, var=running_var, eps=eps
        )
    require_variance(x.size // channels, x.shape)
    parameters = {"weight": gamma, "bias": beta}
    values = {name: None if t is None else t.data for name, t in parameters.items()}
    require_own_memory(running_mean, running_var, x=x.data, **values)
    running = {"running_mean": running_mean, "running_var": running_var, "momentum": momentum}
    return BatchNorm.apply(x, gamma, beta, eps=eps, **running)


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x = draw.normal

    def constants(channels):
        return {"mean": x(channels), "var": draw.positive(channels), "eps": 1e-5}

    return {
        "BatchNorm": [
            Case("affine", (x(4, 3, 2, 2), x(3), x(3)), {"eps": 1e-5}),
            Case("plain", (x(3, 2, 3, 3), None, None), {"eps": 1e-5}),
            Case("one channel", (x(3, 1, 2, 3), x(1), x(1)), {"eps": 1e-5}),
            Case("large mean", (x(4, 2, 3, 3) + 1000, x(2), x(2)), {"eps": 1e-5}),
            Case("batch of one", (x(1, 2, 3, 3), x(2), x(2)), {"eps": 1e-3}),
            Case("70 channels", (x(2, 70, 2, 2), x(70), x(70)), {"eps": 1e-2}),
            Case("non-contiguous", (draw.transposed(3, 2, 3, 2), x(2), x(2)), {"eps": 1e-5}),
        ],
        "BatchNormEvaluation": [
            Case("affine", (x(2, 3, 2, 2), x(3), x(3)), constants(3)),
            Case("plain", (x(1, 2, 3, 3), None, None), constants(2)),
        ],
    }
