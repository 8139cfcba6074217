"""Assignment 4: the scaled 1-bit convolution and its gradients. Complete the functions; see README.md.

Shapes in all of them: x (N, Cin, H, W), latent weights w (Cout, Cin, Kh, Kw), scale beta (Cout,), and outputs
(N, Cout, Ho, Wo) with Ho = H + 2 padding - Kh + 1 and Wo likewise. The stride is 1; padding is an int, the
same on all four sides. All arrays of a call have one dtype, float32 or float64, and results have it too.
"""

import numpy as np


def patches(x, kernel, padding):
    """The window of x below every output: (N, C, H, W) -> (N, C, Ho, Wo, Kh, Kw), zeros beyond the border.

    kernel: (Kh, Kw).
    """
    pads = (0, 0), (0, 0), (padding, padding), (padding, padding)
    return np.lib.stride_tricks.sliding_window_view(np.pad(x, pads), kernel, axis=(2, 3))


def overlay(windows, shape, padding):
    """The transpose of `patches`: add every entry of every window to the place of x that it was taken from.

    windows: (N, C, Ho, Wo, Kh, Kw); shape: that of x, (N, C, H, W). Entries from beyond the border are dropped.
    """
    _, _, H, W = shape
    Ho, Wo, Kh, Kw = windows.shape[2:]
    padded = np.zeros((*shape[:2], H + 2 * padding, W + 2 * padding), windows.dtype)
    for k in range(Kh):
        for m in range(Kw):
            padded[:, :, k : k + Ho, m : m + Wo] += windows[..., k, m]
    return padded[:, :, padding : padding + H, padding : padding + W].copy()


def forward(x, w, beta, padding):
    """The layer: beta times sums of products of signs (Eq. 4.22), a padded tap counting 0.

    Every entry is an exact integer, multiplied by its channel's beta once. Returns (N, Cout, Ho, Wo).
    """
    raise NotImplementedError("this part is yours")


def input_gradient(dy, x, w, beta, padding):
    """The gradient for x: exact up to the sign of x, then through the clip surrogate (Eq. 4.35).

    dy: (N, Cout, Ho, Wo), the gradient for the output. Returns the shape of x.
    """
    raise NotImplementedError("this part is yours")


def weight_gradient(dy, x, w, beta, padding):
    """The gradient for the latent weights w: exact up to their signs, then through the clip surrogate
    (Eqs. 4.34 and 4.35; the term of L_R is task 5).

    dy: (N, Cout, Ho, Wo), the gradient for the output. Returns the shape of w.
    """
    raise NotImplementedError("this part is yours")


def scale_gradient(dy, x, w, padding):
    """The gradient for a beta that is learned. dy: (N, Cout, Ho, Wo). Returns (Cout,)."""
    raise NotImplementedError("this part is yours")


def best_scale(w):
    """The beta, (Cout,), that makes L_R smallest for given w (Cout, Cin, Kh, Kw), in closed form (Eq. 4.23)."""
    raise NotImplementedError("this part is yours")


def reconstruction(w, beta):
    """L_R = |w - beta sign w|² (Eq. 4.23), summed over all weights, and its gradients.

    w: (Cout, Cin, Kh, Kw); beta: any (Cout,), not only the best one. Returns (L_R, a number; its gradient for w,
    the shape of w; its gradient for beta, (Cout,)).
    """
    raise NotImplementedError("this part is yours")
