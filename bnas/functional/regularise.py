"""Random regularisation: dropout of elements and of whole paths."""

from bnas.autodiff import Function
from bnas.functional._arguments import as_tensor


class Dropout(Function):
    """y = x ∘ mask, mask ∈ {0, 1/(1-p)} drawn beforehand. Backward: dx = dy ∘ mask. gradient: exact."""

    @staticmethod
    def forward(ctx, x, mask):
        ctx.mask = mask
        return x * mask

    @staticmethod
    def backward(ctx, dy):
        return (dy * ctx.mask,)


def _drop(x, p, rng, shape):
    keep = rng.random(shape) >= p
    return Dropout.apply(x, mask=keep.astype(x.dtype) / x.dtype.type(1 - p))


def _check(p, training, rng, operation):
    if not 0 <= p < 1:
        raise ValueError(f"{operation}: p must lie in [0, 1), got {p}")
    if training and p > 0 and rng is None:
        raise ValueError(f"{operation}: pass rng=, a numpy.random.Generator")


def dropout(x, p=0.5, training=True, rng=None):
    """Zero each element with probability p and scale the rest by 1/(1-p), in training."""
    x = as_tensor(x, "dropout")
    _check(p, training, rng, "dropout")
    return _drop(x, p, rng, x.shape) if training and p > 0 else x


def drop_path(x, p=0.0, training=True, rng=None):
    """Zero each sample as a whole with probability p and scale the rest by 1/(1-p), in training.

    Source: Larsson et al. 2017 (FractalNet), as DARTS uses it. Shapes: x (N, ...).
    """
    x = as_tensor(x, "drop_path")
    _check(p, training, rng, "drop_path")
    return _drop(x, p, rng, (x.shape[0],) + (1,) * (x.ndim - 1)) if training and p > 0 else x
