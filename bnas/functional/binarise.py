"""1-bit operations: sign with a straight-through estimator, the scaled XNOR convolution, L_R.

sign(x) is +1 where x > 0 and -1 elsewhere, zero included. Its derivative is zero or infinite, so
each backward here is that of a *surrogate*, a function with a useful derivative, and says which.
"""

import math

import numpy as np

from bnas.autodiff import Function, Tensor
from bnas.backend import kernels
from bnas.config import SURROGATES
from bnas.functional.arguments import as_images, as_tensor
from bnas.functional.conv import (
    conv_arguments,
    convolution_cases,
    correlate,
    correlate_dw,
    correlate_dx,
)
from bnas.functional.elementwise import chosen, masked_product, step_away
from bnas.gradcheck import Case


def sign(x):
    """+1 where x > 0, else -1 (zeros and NaN too), as an array of the dtype of x."""
    return 2 * (x > 0).astype(x.dtype) - 1


def through_surrogate(dy, x, surrogate, temperature=1.0):
    """dy s'(x), s a surrogate, see SignSTE; exactly 0 where s' is, whatever dy. Arrays of one shape."""
    if surrogate == "identity":
        return dy
    if surrogate == "clip":
        return chosen(np.abs(x) <= 1, dy)
    if surrogate == "polynomial":
        return masked_product(np.maximum(2 - 2 * np.abs(x), 0), dy)
    return masked_product(temperature * (1 - np.tanh(temperature * x) ** 2), dy)


class SignSTE(Function):
    """y = sign x. Backward: dx = dy s'(x), s the surrogate (Eq. 4.35 for clip):

    clip         s = min(max(x, -1), 1)                 s' = 1 where |x| <= 1, else 0
    identity     s = x                                  s' = 1
    polynomial   s = 2x - x|x| inside [-1, 1], sign x   s' = 2 - 2|x| inside, 0 outside
                 outside (Bi-Real Net, Liu et al. 2018)
    tanh         s = tanh(T x), T the temperature       s' = T (1 - tanh²(T x))

    Kinks of the surrogates: clip ±1. gradient: surrogate.
    """

    @staticmethod
    def forward(ctx, x, surrogate, temperature):
        ctx.x, ctx.surrogate, ctx.temperature = x, surrogate, temperature
        return sign(x)

    @staticmethod
    def backward(ctx, dy):
        return (through_surrogate(dy, ctx.x, ctx.surrogate, ctx.temperature),)

    @staticmethod
    def surrogate(x, surrogate, temperature):
        if surrogate == "identity":
            return lambda x: x
        if surrogate == "clip":
            return lambda x: np.clip(x, -1, 1)
        if surrogate == "polynomial":
            return lambda x: np.where(np.abs(x) < 1, 2 * x - x * np.abs(x), np.sign(x))
        return lambda x: np.tanh(temperature * x)

    @staticmethod
    def off_kinks(x, surrogate, temperature):
        return (step_away(x, [-1, 0, 1]),)


class XnorConv2d(Function):
    """y = β ∘ (sign x ⊙ sign w), ⊙ an exact integer sum by XNOR and popcount (Eq. 4.22).

    Backward, with z = β ∘ dy (Eqs. 4.34, 4.35): dx = (z ⊗ᵀ sign w) 1_{|x| <= 1},
    dw = (z ⊗ sign x) 1_{|w| <= 1}, dβ_o = Σ dy (sign x ⊙ sign w).
    Without β it is mean|w|, a constant in the backward.
    Shapes: x (N, Cin, H, W), w (Cout, Cin/groups, Kh, Kw), β (Cout,), y (N, Cout, Ho, Wo).
    Kinks of the surrogate: ±1. gradient: surrogate for x and w, exact for β.
    """

    @staticmethod
    def forward(ctx, x, w, beta, window, groups):
        weights = kernels().pack_weights(w, groups)
        beta = weights.beta if beta is None else beta
        ctx.x, ctx.w, ctx.beta, ctx.window, ctx.groups = x, w, beta, window, groups
        settings = window.stride, window.padding, window.dilation
        if not ctx.needs[2]:
            return kernels().packed_xnor_conv2d(x, weights, beta, *settings)
        ctx.dot = kernels().packed_xnor_conv2d(x, weights, None, *settings)  # dβ is a sum over it
        return ctx.dot.astype(x.dtype) * beta[:, None, None]

    @staticmethod
    def backward(ctx, dy):
        need_x, need_w, need_beta = ctx.needs
        x, w, window, groups = ctx.x, ctx.w, ctx.window, ctx.groups
        scaled = dy * ctx.beta[:, None, None]
        dx = dw = dbeta = None
        if need_x:
            dx = through_surrogate(
                correlate_dx(scaled, sign(w), x.shape, window, groups), x, "clip"
            )
        if need_w:
            dw = through_surrogate(
                correlate_dw(scaled, sign(x), w.shape, window, groups), w, "clip"
            )
        if need_beta:
            dbeta = (dy * ctx.dot).sum(axis=(0, 2, 3), dtype=np.float64).astype(dy.dtype)
        return dx, dw, dbeta

    @staticmethod
    def surrogate(x, w, beta, window, groups):
        """Around (x, w): a change of clip(x) meets sign w, a change of clip(w) meets sign x."""
        bits_x, bits_w = sign(x), sign(w)
        dot = correlate(bits_x, bits_w, window, groups)
        clipped_x, clipped_w = np.clip(x, -1, 1), np.clip(w, -1, 1)
        closed = channel_scale(w)

        def function(x, w, beta):
            beta = closed if beta is None else beta
            by_x = correlate(np.clip(x, -1, 1) - clipped_x, bits_w, window, groups)
            by_w = correlate(bits_x, np.clip(w, -1, 1) - clipped_w, window, groups)
            return beta[:, None, None] * (dot + by_x + by_w)

        return function

    @staticmethod
    def off_kinks(x, w, beta, **params):
        return step_away(x, [-1, 0, 1]), step_away(w, [-1, 0, 1]), beta


class ReconstructionLoss(Function):
    """L_R = Σ ‖w - β ∘ sign w‖² over all layers, summed over all weights (Eq. 4.23).

    Backward, r = w - β ∘ sign w: dw = 2 dL r, dβ_o = -2 dL Σ r sign w. sign is constant almost
    everywhere, and the closed-form β = mean|w_o| minimises L_R, so neither adds a term to dw.
    Inputs: w, β of the first layer, w, β of the second, ...: hundreds of small ones in a supernet, so
    the channels of all layers are strung together. There r sign w = |w| - β is what is computed.
    Shapes: w (Cout, ...), β (Cout,) or absent for the closed form; L_R a scalar. Kinks: w = 0.
    gradient: exact.
    """

    @staticmethod
    def forward(ctx, *pairs):
        weights, betas = pairs[::2], pairs[1::2]
        rest = np.concatenate([w.ravel() for w in weights])
        ctx.positive = rest > 0
        np.abs(rest, out=rest)
        channels = [len(w) for w in weights]
        lengths = np.repeat([math.prod(w.shape[1:]) for w in weights], channels)  # of each channel
        starts = np.cumsum(lengths) - lengths
        scale = (np.add.reduceat(rest, starts) / lengths).astype(rest.dtype)
        for beta, stop in zip(betas, np.cumsum(channels).tolist()):
            if beta is not None:
                scale[stop - len(beta) : stop] = beta
        rest -= np.repeat(scale, lengths)
        ctx.rest, ctx.starts = rest, starts
        return np.asarray((rest**2).sum())

    @staticmethod
    def backward(ctx, dy):
        dw = ctx.positive.astype(dy.dtype)
        dw -= 0.5  # sign w / 2
        dw *= 4 * dy
        dw *= ctx.rest
        dbeta = None
        if any(ctx.needs[1::2]):
            dbeta = -2 * dy * np.add.reduceat(ctx.rest, ctx.starts)
        gradients, weight, channel = [], 0, 0
        for shape in ctx.shapes[::2]:
            end, last = weight + math.prod(shape), channel + shape[0]
            gradients.append(dw[weight:end].reshape(shape))
            gradients.append(None if dbeta is None else dbeta[channel:last])
            weight, channel = end, last
        return tuple(gradients)

    @staticmethod
    def off_kinks(*pairs):
        return tuple(step_away(a, 0) if i % 2 == 0 else a for i, a in enumerate(pairs))


def channel_scale(w):
    """β in closed form: mean|w| of every output channel, the minimiser of L_R (Eq. 4.23).

    Array w (Cout, ...) -> array (Cout,).
    """
    length = math.prod(w.shape[1:])
    if length == 0:
        raise ValueError(f"channel_scale: w has no weights to average, its shape is {w.shape}")
    # What mean() does, without its checks: they take longer than to sum a small kernel.
    return np.add.reduce(np.abs(w).reshape(len(w), length), axis=1) / length


def sign_ste(x, surrogate="clip", temperature=1.0):
    """sign x in {-1, +1} with sign(0) = -1, and a surrogate's derivative in the backward.

    Args:
        x: Tensor of any shape.
        surrogate: "clip" (Eq. 4.35), "identity", "polynomial" (Bi-Real Net) or "tanh".
        temperature: of the tanh; raise it during training to anneal the tanh towards the sign.
    """
    if surrogate not in SURROGATES:
        raise ValueError(f"sign_ste: surrogate must be one of {SURROGATES}, got {surrogate!r}")
    if not temperature > 0:
        raise ValueError(f"sign_ste: temperature must be positive, got {temperature}")
    x = as_tensor(x, "sign_ste")
    return SignSTE.apply(x, surrogate=surrogate, temperature=float(temperature))


def xnor_conv2d(x, w, beta=None, stride=1, padding=0, dilation=1, groups=1):
    """The 1-bit convolution β ∘ (sign x ⊙ sign w) of Eq. 4.22; a padded tap contributes 0.

    Both operands are binarised here, with the clip surrogate (Eq. 4.35) in the backward. sign is
    idempotent and the clip passes ±1 whole, so for another surrogate hand in F.sign_ste(x, ...) or
    F.sign_ste(w, ...) instead (with `beta` given, since mean|±1| is 1).

    Args:
        x: Tensor (N, Cin, H, W), any real values.
        w: Tensor (Cout, Cin/groups, Kh, Kw), the latent weights ŵ.
        beta: Tensor (Cout,), the channel scale, which gets its gradient; None: the closed form
            mean|w|, a constant in the backward.
        stride, padding, dilation: ints or pairs (height, width).

    Returns:
        Tensor (N, Cout, Ho, Wo). Before β it is an integer, exact for any number of channels.
    """
    x, w, window, groups = conv_arguments(x, w, stride, padding, dilation, groups, "xnor_conv2d")
    if beta is not None:
        beta = as_tensor(beta, "xnor_conv2d")
        if beta.shape != (w.shape[0],):
            raise ValueError(f"xnor_conv2d: beta must have shape ({w.shape[0]},), got {beta.shape}")
    return XnorConv2d.apply(x, w, beta, window=window, groups=groups)


def packed_xnor_conv2d(x, weights, beta=None, stride=1, padding=0, dilation=1):
    """`xnor_conv2d` with weights that `bnas.backend.kernels().pack_weights` has packed; nothing is recorded.

    x: Tensor (N, Cin, H, W); beta: array (Cout,) or None, the closed form -> Tensor (N, Cout, Ho, Wo).
    """
    x, beta = as_images(x, "xnor_conv2d"), weights.beta if beta is None else beta
    if x.dtype != beta.dtype:
        raise TypeError(
            f"xnor_conv2d: x is {x.dtype} and the weights are {beta.dtype}; convert one of them, with "
            "Tensor(x, dtype=...) or layer.astype(...)"
        )
    return Tensor(kernels().packed_xnor_conv2d(x.data, weights, beta, stride, padding, dilation))


def reconstruction_loss(w, beta=None, *more):
    """L_R(ŵ, β) = ‖ŵ - β ∘ sign ŵ‖² (Eq. 4.23); beta None: the closed form mean|ŵ|.

    `more` are w and beta of further layers, over all of which L_R is summed.
    Shapes: w (Cout, ...), beta (Cout,) -> scalar.
    """
    if len(more) % 2:
        raise ValueError(
            f"reconstruction_loss: after w and beta come pairs of them, got {len(more)} more arguments"
        )
    pairs = []
    for w, beta in zip((w, *more[::2]), (beta, *more[1::2])):
        w = as_tensor(w, "reconstruction_loss")
        if w.ndim < 1 or 0 in w.shape[1:]:
            raise ValueError(
                f"reconstruction_loss: w must have weights for each channel, got shape {w.shape}"
            )
        if beta is not None:
            beta = as_tensor(beta, "reconstruction_loss")
            if beta.shape != w.shape[:1]:
                raise ValueError(
                    f"reconstruction_loss: beta must have shape {w.shape[:1]}, got {beta.shape}"
                )
        pairs += w, beta
    return ReconstructionLoss.apply(*pairs)


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x, positive, transposed = draw.normal, draw.positive, draw.transposed
    return {
        "SignSTE": [
            Case(surrogate, (x(6, 7),), {"surrogate": surrogate, "temperature": 2.5})
            for surrogate in SURROGATES
        ],
        "XnorConv2d": [
            case._replace(inputs=(*case.inputs[:2], positive(len(case.inputs[1]))))
            for case in convolution_cases(draw)
        ]
        + [
            case._replace(name=f"{case.name}, closed form", inputs=(*case.inputs[:2], None))
            for case in convolution_cases(draw)
        ],
        "ReconstructionLoss": [
            Case("closed form", (x(3, 2, 3, 3), None)),
            Case("learned scale", (x(3, 2, 3, 3), positive(3))),
            Case("70 channels, 1×1", (x(2, 70, 1, 1), positive(2))),
            Case("one output channel", (x(1, 3, 2, 2), positive(1))),
            Case(
                "three layers",
                (x(3, 2, 3, 3), None, x(2, 5, 1, 1), positive(2), transposed(2, 4), None),
            ),
            Case(
                "three learned scales",
                (x(2, 3), positive(2), x(1, 1), positive(1), x(3, 2), positive(3)),
            ),
        ],
    }
