"""What the backward of 1-bit units in lanes claims to be the derivative of, written plainly in NCHW.

Every value is a pair: at the point where the backward is taken, and near it. An XNOR convolution is
β (sign x ⊙ sign w) at the point; near it a change of s(x) meets sign w, and a change of s(w) meets sign x,
s the surrogate of sign. β stays what it is at the point; norms are exact functions. With real weights w
stands for sign w and for s(w), and β is 1.
"""

import numpy as np

from bnas.functional.binarise import channel_scale, sign
from bnas.functional.conv import correlate
from bnas.fused.reference import from_lanes, to_lanes
from bnas.kernels.windows import POINT


def chain_surrogate(point, arithmetic, batch, stages, keep=None):
    """The function of (x, base, *weights) that FusedChain's backward belongs to at `point`; all in lanes."""

    def function(*arrays):
        x, (_, base), *weights = zip(point, arrays)
        y = _chain(_images(x, batch), stages, iter(weights), arithmetic)[1]
        y = to_lanes(y if keep is None else keep[:, None, None, None] * y)
        return y if base is None else base + y

    return function


def edge_surrogate(point, batch, parts):
    """The same for FusedEdge, a function of (s, base, x, *arrays of the parts)."""

    def function(weights, base, *arrays):
        x, *rest = zip(point[2:], arrays)
        x, rest, outputs = _images(x, batch), iter(rest), []
        for part in parts:
            if part is None:
                outputs.append(np.zeros(1, weights.dtype))
            elif hasattr(part, "stages"):
                outputs.append(_chain(x, part.stages, rest, part.arithmetic)[1])
            else:
                y = _images(next(rest), batch)[1]
                outputs.append(y if part.norm is None else _norm(y, part.norm))
        y = sum(w[..., None, None, None] * o for w, o in zip(weights.T, outputs))
        return to_lanes(y) if base is None else base + to_lanes(y)

    return function


def _images(pair, batch):
    return tuple(from_lanes(x, batch) for x in pair)


def _chain(x, stages, weights, arithmetic):
    """Stages and their norms on a pair of images; weights: an iterator of pairs."""
    for stage in stages:
        betas, dots = ([], []) if stage.windows else ([np.ones(1)], [x])
        for window in stage.windows:
            y = x
            if window.kernel != (1, 1):
                beta, *dot = _xnor(y, next(weights), window, arithmetic)
                y, window = [beta[:, None, None] * part for part in dot], POINT
            beta, *dot = _xnor(y, next(weights), window, arithmetic)
            betas.append(beta)
            dots.append(dot)
        beta = np.concatenate(betas)
        x = tuple(_norm(np.concatenate(z, axis=1), stage.norm, beta) for z in zip(*dots))
        if stage.norm.weight is not None:
            own = zip(x, next(weights), next(weights))
            x = tuple(gamma[:, None, None] * y + shift[:, None, None] for y, gamma, shift in own)
    return x


def _norm(z, norm, beta=np.ones(1)):
    """A BatchNorm2d of images β z, z (N, C, H, W) and β (C,), its running arrays left alone.

    Where z are integers with an integer mean, their zeros are exact: the next sign needs them.
    """
    mean, var = norm.running_mean, norm.running_var
    if norm.training:
        mean, var = z.mean(axis=(0, 2, 3)) * beta, z.var(axis=(0, 2, 3)) * beta**2
    centred = z * beta[:, None, None] - mean[:, None, None]
    return centred / np.sqrt(var + norm.eps)[:, None, None]


def _xnor(x, w, window, arithmetic):
    """Pairs x and w -> (β, the pair of their XNOR convolution before β)."""
    bits_x, bits_w, beta, change_w = sign(x[0]), w[0], np.ones(len(w[0])), w[1] - w[0]
    surrogate = arithmetic.surrogate
    if arithmetic.binary_weights:
        bits_w, beta, change_w = sign(w[0]), channel_scale(w[0]), _change(*w, surrogate)
    dot = _convolve(bits_x, bits_w, window)
    by_x = _convolve(_change(*x, surrogate), bits_w, window)
    return beta, dot, dot + by_x + _convolve(bits_x, change_w, window)


def _convolve(x, w, window):
    y = correlate(x, w, window, x.shape[1] // w.shape[1])
    return y[:, :, window.skip :, window.skip :]


def _change(x0, x, surrogate):
    """s(x) - s(x0), by the formula of s that holds at x0, see SignSTE: so nothing is a kink."""
    if surrogate == "identity":
        return x - x0
    inside = np.abs(x0) <= 1
    if surrogate == "clip":
        return inside * (x - x0)
    return inside * (2 * (x - x0) - np.sign(x0) * (x**2 - x0**2))
