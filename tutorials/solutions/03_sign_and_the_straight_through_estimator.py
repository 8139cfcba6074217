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
# # Answers to the exercises of tutorial 3

# %%
import math

import numpy as np

# %% [markdown]
# **Exercise 1.** The derivative of the surrogate where it has a slope, 0 outside, times the incoming gradient.


# %% tags=["exercise-1"]
def sine_backward(x, dy):
    slope = np.pi / 2 * np.cos(np.pi * x / 2)
    return dy * np.where(np.abs(x) < 1, slope, 0.0)


# %% [markdown]
# Wrong: the sine goes on outside $[-1, 1]$, the surrogate does not.


# %% tags=["wrong-1a"]
def sine_backward(x, dy):
    return dy * np.pi / 2 * np.cos(np.pi * x / 2)


# %% [markdown]
# Wrong: this is the derivative of the surrogate alone, without the chain rule.


# %% tags=["wrong-1b"]
def sine_backward(x, dy):
    return np.where(np.abs(x) < 1, np.pi / 2 * np.cos(np.pi * x / 2), 0.0)


# %% [markdown]
# **Exercise 2.** With $P_i = P(b_i = +1) = \Phi(\hat w_i / \sigma)$ the blurred loss is linear in $P_1$:
# $\bar L = P_1\, \mathbb E_{b_2} L(+1, b_2) + (1 - P_1)\, \mathbb E_{b_2} L(-1, b_2)$, and the derivative of
# $P_1$ is $\varphi(\hat w_1 / \sigma) / \sigma$. No slope of $L$ occurs, only differences of its four values.


# %% tags=["exercise-2"]
def gaussian_gradient(table, w, sigma):
    z = w / sigma
    plus = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in z])
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) / sigma
    first = plus[1] * (table[0, 0] - table[1, 0]) + (1 - plus[1]) * (table[0, 1] - table[1, 1])
    second = plus[0] * (table[0, 0] - table[0, 1]) + (1 - plus[0]) * (table[1, 0] - table[1, 1])
    return density * np.array([first, second])


# %% [markdown]
# Wrong: the other sign is held where it is, and not averaged over.


# %% tags=["wrong-2a"]
def gaussian_gradient(table, w, sigma):
    density = np.exp(-0.5 * (w / sigma) ** 2) / math.sqrt(2 * math.pi) / sigma
    row, column = (0 if v > 0 else 1 for v in w)
    return density * np.array([table[0, column] - table[1, column], table[row, 0] - table[row, 1]])


# %% [markdown]
# Wrong: the inner derivative of $\Phi(\hat w / \sigma)$, $1/\sigma$, is forgotten.


# %% tags=["wrong-2b"]
def gaussian_gradient(table, w, sigma):
    z = w / sigma
    plus = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in z])
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    first = plus[1] * (table[0, 0] - table[1, 0]) + (1 - plus[1]) * (table[0, 1] - table[1, 1])
    second = plus[0] * (table[0, 0] - table[0, 1]) + (1 - plus[0]) * (table[1, 0] - table[1, 1])
    return density * np.array([first, second])


# %% [markdown]
# **Exercise 3.** No mask is needed: weights that are kept inside have a derivative of 1.


# %% tags=["exercise-3"]
def latent_step(w, dL_db, rate):
    return np.clip(w - rate * dL_db, -1, 1)


# %% [markdown]
# Wrong: weights leave $[-1, 1]$ and are dead.


# %% tags=["wrong-3a"]
def latent_step(w, dL_db, rate):
    return w - rate * dL_db * (np.abs(w) <= 1)


# %% [markdown]
# Wrong: the step starts from the sign, and what earlier steps have added up is lost.


# %% tags=["wrong-3b"]
def latent_step(w, dL_db, rate):
    return np.clip(np.where(w > 0, 1.0, -1.0) - rate * dL_db, -1, 1)
