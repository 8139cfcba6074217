# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Answers to the exercises of tutorial 2

# %%
import numpy as np

# %% [markdown]
# **Exercise 1.** By Taylor $f(x + h) - f(x - h) = 2 h f' + \frac{1}{3} h^3 f''' + O(h^5)$, and with $2 h$ in
# place of $h$ it is $4 h f' + \frac{8}{3} h^3 f''' + O(h^5)$. The slope is right if $2 a + 4 b = 1$, and the
# term with $h^3$ is gone if $a + 8 b = 0$: $a = 2/3$, $b = -1/12$.


# %% tags=["exercise-1"]
def five_points(f, x, h):
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


# %% tags=["wrong-1a"]
def five_points(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)  # b = 0: the error is of the order h²


# %% tags=["wrong-1b"]
def five_points(f, x, h):
    return (8 * (f(x + h) - f(x - h)) + f(x + 2 * h) - f(x - 2 * h)) / (12 * h)  # the sign of b


# %% [markdown]
# **Exercise 2.** $H$ is the Jacobian of $g$, so $H v$ is the derivative of $g$ in the direction $v$: a
# difference of two gradients, whatever the number of weights.


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


# %% [markdown]
# **Exercise 3.** $x_k$ is part of all outputs from $y_k$ on, so $\bar x_k = \sum_{i \ge k} \bar y_i$. For a
# cotangent of ones that is the number of these outputs. A backward that multiplies by this number instead of
# adding up is wrong, and right for ones. (So is any that is wrong in another coordinate than the middle one, or
# by less than 0.01.)


# %% tags=["exercise-3"]
def fooling_backward(x, dy):
    return dy * np.arange(x.size, 0, -1)


# %% tags=["wrong-3a"]
def fooling_backward(x, dy):
    return np.cumsum(dy[::-1])[::-1]  # not wrong


# %% tags=["wrong-3b"]
def fooling_backward(x, dy):
    return np.cumsum(dy)  # in the other direction, which the naive check notices
