"""Activations: every element on its own."""

import numpy as np

from bnas.autodiff import Function
from bnas.functional.arguments import as_tensor
from bnas.functional.elementwise import chosen, step_away, unary_cases
from bnas.gradcheck import Case
from bnas.kernels.sums import accurate_sum


class Sigmoid(Function):
    """y = 1 / (1 + exp -x). Backward: dx = dy y (1 - y). gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        small = np.exp(-np.abs(x))  # at most 1: nothing overflows, and nothing cancels
        ctx.y = np.where(x >= 0, 1, small) / (1 + small)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (dy * ctx.y * (1 - ctx.y),)


class Tanh(Function):
    """y = tanh x. Backward: dx = dy (1 - y²). gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.y = np.tanh(x)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (dy * (1 - ctx.y**2),)


class ReLU(Function):
    """y = max(x, 0). Backward: dx = dy where x > 0, else 0. Kinks: 0. gradient: exact."""

    @staticmethod
    def forward(ctx, x):
        ctx.y = np.maximum(x, 0)
        return ctx.y

    @staticmethod
    def backward(ctx, dy):
        return (chosen(ctx.y > 0, dy),)

    @staticmethod
    def off_kinks(x):
        return (step_away(x, 0),)


class PReLU(Function):
    """y = x where x > 0, else a_c x (He et al. 2015), c the channel: axis 1 of x.

    Backward: dx = dy where x > 0, else a_c dy; da_c = Σ dy x over the entries with x <= 0.
    Shapes: x (N, C, ...), a (C,) or (1,). Kinks: 0. gradient: exact.
    """

    @staticmethod
    def forward(ctx, x, a):
        shape = [1] * x.ndim
        if a.size != 1:
            shape[1] = a.size
        ctx.x, ctx.slope, ctx.size = x, a.reshape(shape), a.size
        return np.where(x > 0, x, ctx.slope * x)

    @staticmethod
    def backward(ctx, dy):
        positive = ctx.x > 0
        dx = np.where(positive, dy, ctx.slope * dy)
        with np.errstate(invalid="ignore"):  # of 0 · ∞ where it is not chosen
            share = chosen(~positive, dy * ctx.x)
        if ctx.size == 1:
            return dx, accurate_sum(share).reshape(1)
        return dx, accurate_sum(share, (0, *range(2, share.ndim)))

    @staticmethod
    def off_kinks(x, a):
        return step_away(x, 0), a


def sigmoid(x):
    """1 / (1 + exp -x), element by element."""
    return Sigmoid.apply(as_tensor(x, "sigmoid"))


def tanh(x):
    """Hyperbolic tangent, element by element."""
    return Tanh.apply(as_tensor(x, "tanh"))


def relu(x):
    """max(x, 0), element by element; the gradient at 0 is 0."""
    return ReLU.apply(as_tensor(x, "relu"))


def prelu(x, weight):
    """x where positive, else weight · x. Shapes: x (N, C, ...), weight (C,) or (1,)."""
    x = as_tensor(x, "prelu")
    weight = as_tensor(weight, "prelu")
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.shape not in ((1,), (channels,)):
        raise ValueError(
            f"prelu: weight must have shape (1,) or ({channels},) for x {x.shape}, got {weight.shape}"
        )
    return PReLU.apply(x, weight)


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, unary = draw.normal, unary_cases(draw)
    return {
        "Sigmoid": unary,
        "Tanh": unary,
        "ReLU": unary,
        "PReLU": [
            Case("slope of each channel", (x(2, 3, 4), x(3))),
            Case("one slope", (x(2, 3, 2, 2), x(1))),
            Case("one channel, batch of one", (-draw.positive(1, 1, 3), x(1))),
            Case("non-contiguous", (draw.transposed(4, 3), x(3))),
        ],
    }
