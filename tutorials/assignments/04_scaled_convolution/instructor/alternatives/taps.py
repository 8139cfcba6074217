"""Tap by tap, with slices that leave out what lies beyond the border; integers for the sums."""

import numpy as np


def places(x, w, padding):
    """For every tap: its place in the kernel, the part of the output that it reaches, the part of x it reads."""
    _, _, H, W = x.shape
    Kh, Kw = w.shape[2:]
    Ho, Wo = H + 2 * padding - Kh + 1, W + 2 * padding - Kw + 1
    for k in range(Kh):
        for m in range(Kw):
            up, left = k - padding, m - padding
            i = slice(max(0, -up), max(0, min(Ho, H - up)))
            j = slice(max(0, -left), max(0, min(Wo, W - left)))
            if i.start < i.stop and j.start < j.stop:
                rows, columns = (
                    slice(i.start + up, i.stop + up),
                    slice(j.start + left, j.stop + left),
                )
                yield (k, m), (..., i, j), (..., rows, columns)


def bits(v):
    return 2 * (v > 0).astype(np.int64) - 1


def products(x, w, padding):
    height, width = (x.shape[i] + 2 * padding - w.shape[i] + 1 for i in (2, 3))
    s = np.zeros((len(x), len(w), height, width), np.int64)
    a, b = bits(x), bits(w)
    for (k, m), out, source in places(x, w, padding):
        s[out] += np.einsum("nchw,oc->nohw", a[source], b[:, :, k, m])
    return s


def forward(x, w, beta, padding):
    return (products(x, w, padding) * beta.astype(np.float64)[:, None, None]).astype(x.dtype)


def input_gradient(dy, x, w, beta, padding):
    dx, z, b = np.zeros(x.shape), np.einsum("nohw,o->nohw", dy, beta), bits(w)
    for (k, m), out, target in places(x, w, padding):
        dx[target] += np.einsum("nohw,oc->nchw", z[out], b[:, :, k, m])
    dx[abs(x) > 1] = 0
    return dx.astype(x.dtype)


def weight_gradient(dy, x, w, beta, padding):
    dw, a = np.zeros(w.shape), bits(x)
    for (k, m), out, source in places(x, w, padding):
        dw[:, :, k, m] = np.einsum("nohw,nchw,o->oc", dy[out], a[source], beta)
    return np.where(abs(w) > 1, 0, dw).astype(w.dtype)


def scale_gradient(dy, x, w, padding):
    return np.einsum("nohw,nohw->o", dy, products(x, w, padding)).astype(dy.dtype)


def best_scale(w):
    flat = w.reshape(len(w), -1)
    return np.array([np.mean(abs(row)) for row in flat], w.dtype)


def reconstruction(w, beta):
    dw, dbeta, total = np.empty_like(w), np.empty_like(beta), 0.0
    for o, b in enumerate(beta):
        short = abs(w[o]) - b  # (w - b sign w) sign w
        total += float((short.astype(np.float64) ** 2).sum())
        dw[o], dbeta[o] = 2 * short * bits(w[o]), -2 * short.sum()
    return [total, dw, dbeta]
