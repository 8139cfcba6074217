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
# # Answers to the exercises of tutorial 9

# %%
import numpy as np

# %% [markdown]
# **Exercise 1.** The mean over the samples of $J_b^\top (y_b - p_b)$.


# %% tags=["exercise-1"]
def tangent_of(logits, labels, J):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    residual = -e / e.sum(axis=1, keepdims=True)
    residual[np.arange(len(labels)), labels] += 1
    return np.einsum("bn,bnk->k", residual, J) / len(labels)


# %% [markdown]
# Wrong: the gradient of the loss, which is minus the log-likelihood.


# %% tags=["wrong-1a"]
def tangent_of(logits, labels, J):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    residual = e / e.sum(axis=1, keepdims=True)
    residual[np.arange(len(labels)), labels] -= 1
    return np.einsum("bn,bnk->k", residual, J) / len(labels)


# %% [markdown]
# Wrong: Eq. 4.29 as it is printed, the sum of the derivatives of all probabilities, which is zero.


# %% tags=["wrong-1b"]
def tangent_of(logits, labels, J):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    dp = p[:, :, None] * (J - np.einsum("bn,bnk->bk", p, J)[:, None])
    return dp.sum(axis=1).mean(axis=0)


# %% [markdown]
# **Exercise 2.** $g_b = B \cdot \text{share}_b$, so the factors make $B^2 / B = B$.


# %% tags=["exercise-2"]
def product_of_shares(shares, v):
    return len(shares) * (shares.T @ (shares @ v))


# %% [markdown]
# Wrong: shares are taken for gradients.


# %% tags=["wrong-2a"]
def product_of_shares(shares, v):
    return shares.T @ (shares @ v) / len(shares)


# %% [markdown]
# Wrong: the product of the mean gradient with itself, which has rank one.


# %% tags=["wrong-2b"]
def product_of_shares(shares, v):
    mean = shares.sum(axis=0)
    return mean * (mean @ v)


# %% [markdown]
# **Exercise 3.** $\partial D / \partial g = \operatorname{sign}(g - t)$, and $\partial g / \partial\hat\alpha =
# H = -F$.


# %% tags=["exercise-3"]
def l1_gradient(g, t, fisher_matrix, lam):
    return -g - lam * fisher_matrix @ np.sign(g - t)


# %% [markdown]
# Wrong: the sign of the curvature.


# %% tags=["wrong-3a"]
def l1_gradient(g, t, fisher_matrix, lam):
    return -g + lam * fisher_matrix @ np.sign(g - t)


# %% [markdown]
# Wrong: the slope of the squared Frobenius distance.


# %% tags=["wrong-3b"]
def l1_gradient(g, t, fisher_matrix, lam):
    return -g - 2 * lam * fisher_matrix @ (g - t)
