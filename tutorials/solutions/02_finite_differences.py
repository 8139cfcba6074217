# %%
import numpy as np


# %% tags=["exercise-1"]
def five_points(f, x, h):
    # 2a + 4b = 1 and a + 8b = 0
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


# %% tags=["wrong-1a"]
def five_points(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)  # b = 0: the error is of the order h²


# %% tags=["wrong-1b"]
def five_points(f, x, h):
    return (8 * (f(x + h) - f(x - h)) + f(x + 2 * h) - f(x - 2 * h)) / (12 * h)  # the sign of b


# %% tags=["exercise-2"]
def hessian_product(g, x, v, h=1e-4):
    return (g(x + h * v) - g(x - h * v)) / (2 * h)


# %% tags=["wrong-2a"]
def hessian_product(g, x, v, h=1e-4):
    return (g(x + h * v) - g(x)) / h  # a forward difference: too inexact


# %% tags=["wrong-2b"]
def hessian_product(g, x, v, h=1e-4):
    v = v / np.linalg.norm(v)  # the direction is right, the length is lost
    return (g(x + h * v) - g(x - h * v)) / (2 * h)


# %% tags=["exercise-3"]
def fooling_backward(x, dy):
    # The right one is np.cumsum(dy[::-1])[::-1]; for a dy of ones it counts the outputs that an input is part of.
    return dy * np.arange(x.size, 0, -1)


# %% tags=["wrong-3a"]
def fooling_backward(x, dy):
    return np.cumsum(dy[::-1])[::-1]  # not wrong


# %% tags=["wrong-3b"]
def fooling_backward(x, dy):
    return np.cumsum(dy)  # in the other direction, which the naive check notices
