"""Everything by einsum in float64; what is not active is put to 0 first, not left out."""

import numpy as np


def weights(alpha, active, temperature):
    z = np.ma.masked_array(alpha.astype(np.float64) / temperature, ~active)
    log_sum = z.max(axis=1) + np.log(np.exp(z - z.max(axis=1)[:, None]).sum(axis=1))
    return np.exp(z - log_sum[:, None]).filled(0).astype(alpha.dtype)


def silent(outputs, active):
    return np.where(active.reshape(-1, *[1] * (outputs.ndim - 1)), outputs, 0).astype(np.float64)


def mix(s, outputs, active):
    return np.einsum("m,m...->...", s, silent(outputs, active)).astype(s.dtype)


def output_gradients(dy, s):
    return np.einsum("m,...->m...", s, dy)


def shares(dy, outputs, active):
    product = dy * silent(outputs, active)
    return product.sum(axis=tuple(range(2, product.ndim))).T.astype(dy.dtype)


def logit_shares(ds, s, temperature):
    ds64, s64 = ds.astype(np.float64), s.astype(np.float64)
    ds64 = ds64 - np.einsum("em,bem->be", s64, ds64)[..., None]
    return (np.einsum("em,bem->bem", s64, ds64) / temperature).astype(ds.dtype)


def fisher_product(shares, v):
    return np.einsum("bem,bfn,fn->em", shares, shares, len(shares) * v, optimize=True)
