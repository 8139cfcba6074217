"""Random regularisation: dropout of elements and of whole paths."""

import numpy as np

from bnas.autodiff import Function
from bnas.functional.arguments import as_tensor
from bnas.functional.elementwise import masked_product
from bnas.gradcheck import Case
from bnas.random import generator


class Dropout(Function):
    """y = x ∘ mask, mask ∈ {0, 1/(1-p)} drawn beforehand. Backward: dx = dy ∘ mask. gradient: exact.

    What is dropped is 0 also where x or dy is NaN or infinite.
    """

    @staticmethod
    def forward(ctx, x, mask):
        ctx.mask = mask
        return masked_product(mask, x)

    @staticmethod
    def backward(ctx, dy):
        return (masked_product(ctx.mask, dy),)


def _factors(p, rng, shape, dtype, operation):
    """Zeros with probability p, else 1/(1-p)."""
    return (generator(rng, operation).random(shape) >= p).astype(dtype) / dtype.type(1 - p)


def _drops(p, training, operation):
    """Whether anything is to be dropped at all."""
    if not 0 <= p < 1:
        raise ValueError(f"{operation}: p must lie in [0, 1), got {p}")
    return training and p > 0


def dropout(x, p=0.5, training=True, rng=None):
    """Zero each element with probability p and scale the rest by 1/(1-p), in training.

    rng: a numpy.random.Generator; None: the default one, see `bnas.manual_seed`.
    """
    x = as_tensor(x, "dropout")
    if not _drops(p, training, "dropout"):
        return x
    return Dropout.apply(x, mask=_factors(p, rng, x.shape, x.dtype, "dropout"))


def path_factors(batch, dtype, p, rng):
    """The factor of each sample of a batch in `drop_path`: an array (batch,), or None if p is 0."""
    return (
        _factors(p, rng, batch, dtype, "path_factors") if _drops(p, True, "path_factors") else None
    )


def drop_path(x, p=0.0, training=True, rng=None):
    """Zero each sample as a whole with probability p and scale the rest by 1/(1-p), in training.

    Source: Larsson et al. 2017 (FractalNet), as DARTS uses it. Shapes: x (N, ...). rng: as in `dropout`.
    """
    x = as_tensor(x, "drop_path")
    if not _drops(p, training, "drop_path"):
        return x
    factors = _factors(p, rng, len(x), x.dtype, "drop_path")
    return Dropout.apply(x, mask=factors.reshape(-1, *[1] * (x.ndim - 1)))


def gradient_cases(draw):
    """{name: [Case, ...]} of the operations of this file, see `bnas.gradcheck`."""
    x = draw.normal
    return {
        "Dropout": [
            Case("elements", (x(3, 4),), {"mask": 2.0 * draw.rng.integers(0, 2, (3, 4))}),
            Case("samples", (x(4, 2, 2),), {"mask": np.array([2.0, 0, 2, 2]).reshape(4, 1, 1)}),
        ],
    }
