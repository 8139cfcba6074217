"""Assignment 3: a straight-through estimator and its surrogate. Complete the functions; see README.md."""

import numpy as np

SURROGATES = ("clip", "identity", "polynomial", "tanh")


def sign(x):
    """The sign of every entry, the forward pass of a 1-bit layer.

    x: float32 or float64, any shape. Returns a new array of the same shape and dtype, +1 where x > 0, else -1.
    """
    ### BEGIN SOLUTION
    return np.where(x > 0, 1, -1).astype(x.dtype)
    ### END SOLUTION


def sign_backward(dy, x, surrogate, temperature):
    """The backward of `sign`: the upstream gradient times the derivative of a surrogate, Eq. 4.35 for "clip".

    dy: the upstream gradient, of the shape and dtype of x. x: what sign was given, float32 or float64.
    surrogate: one of SURROGATES. temperature: float, positive, of the tanh; the others do not use it.
    Returns a new array, of the shape and dtype of x. Raises ValueError for another surrogate.
    """
    if surrogate not in SURROGATES:
        raise ValueError(f"surrogate must be one of {SURROGATES}, got {surrogate!r}")
    ### BEGIN SOLUTION
    size = np.abs(x)
    if surrogate == "clip":
        slope = size <= 1
    elif surrogate == "identity":
        slope = np.ones_like(x)
    elif surrogate == "polynomial":
        slope = np.where(size < 1, 2 - 2 * size, 0)
    else:
        slope = temperature * (1 - np.tanh(temperature * x) ** 2)
    return (dy * slope).astype(x.dtype)
    ### END SOLUTION


def estimate(loss_slope, s, w):
    """The straight-through gradient of a loss for latent weights, with any surrogate.

    loss_slope: a function; loss_slope(b) returns dL/db, of the shape of b, at signs b. s: a function; s(w) returns
    the surrogate of every entry, in the dtype of w. w: float32 or float64, any shape; no entry is closer than
    1e-3 to a kink of s. Both functions take arrays alone. Returns a new array of the shape and dtype of w: the
    gradient of L(sign(w0) + s(w) - s(w0)) for w at w0 = w, by central differences of s. Its error is at most 1e-6
    of the largest entry.
    """
    ### BEGIN SOLUTION
    signs = np.where(w > 0, 1, -1).astype(w.dtype)
    wide, h = w.astype(np.float64), 1e-5
    slope = (s(wide + h) - s(wide - h)) / (2 * h)
    return (loss_slope(signs) * slope).astype(w.dtype)
    ### END SOLUTION


def is_derivative(backward, s, x, kinks):
    """Whether a claim holds: that a backward is the derivative of a surrogate times the upstream gradient.

    backward: a function; backward(dy, x) returns the gradient for x, for arrays dy and x of the same shape.
    s: a function; s(x) returns the surrogate of every entry. x: float64, any shape: the points to look at, all in
    one call. kinks: float64 (J,), where s has a kink or jumps; may be empty. Points within 1e-3 of a kink say
    nothing and are left out. A right backward is off by at most 1e-6 of the largest derivative, a wrong one by at
    least 1e-2 of it at one of the other points or more.
    Returns a bool. It is False, too, if no point is left, or s has no slope at any that is: a comparison with
    nothing but 0 proves nothing.
    """
    ### BEGIN SOLUTION
    distance = np.abs(x[..., None] - kinks).min(axis=-1, initial=np.inf)
    far = distance > 1e-3
    rng, h = np.random.default_rng(0), 1e-5
    dy = rng.choice([-1, 1], x.shape) * rng.uniform(0.5, 2, x.shape)
    expected = dy * (s(x + h) - s(x - h)) / (2 * h)
    off = np.abs(backward(dy, x) - expected)[far]
    largest = np.abs(expected[far]).max(initial=0)
    return bool(largest > 1e-6 and np.all(off <= 1e-4 * largest))
    ### END SOLUTION


def step(w, db, rate):
    """A step of gradient descent for latent weights through the clip surrogate that kills none.

    w: latent weights, float32 or float64, any shape. db: dL/db for their signs b, of the shape and dtype of w.
    rate: float. Weights within [-1, 1], both ends included, move against their gradient (Eq. 4.35), the others
    have a gradient of 0; then every weight that lies outside of [-1, 1] is brought to the nearer end.
    Returns a new array of the shape and dtype of w.
    """
    ### BEGIN SOLUTION
    dw = np.where(np.abs(w) <= 1, db, 0)
    moved = w - rate * dw
    return np.clip(moved, -1, 1).astype(w.dtype)
    ### END SOLUTION
