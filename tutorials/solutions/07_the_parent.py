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
# # Answers to the exercises of tutorial 7

# %%
import numpy as np

# %% [markdown]
# **Exercise 1.** Each step is $w \leftarrow w - \xi(Aw - B\alpha - c)$. Differentiate it: with
# $Z = \partial w/\partial\alpha$, at first 0, it is $Z \leftarrow Z - \xi(AZ - B)$. Then the chain rule.


# %% tags=["exercise-1"]
def unrolled_k(alpha, w, A, B, c, xi, k, val_alpha, val_w):
    Z = np.zeros_like(B)
    for _ in range(k):
        w = w - xi * (A @ w - B @ alpha - c)
        Z = Z - xi * (A @ Z - B)
    return val_alpha(w, alpha) + Z.T @ val_w(w, alpha)


# %% [markdown]
# Wrong: only the last step is differentiated, as if the weights before it did not depend on $\alpha$.


# %% tags=["wrong-1a"]
def unrolled_k(alpha, w, A, B, c, xi, k, val_alpha, val_w):
    for _ in range(k):
        w = w - xi * (A @ w - B @ alpha - c)
    return val_alpha(w, alpha) + xi * B.T @ val_w(w, alpha)


# %% [markdown]
# Wrong: the gradients of the validation loss are taken at the old weights.


# %% tags=["wrong-1b"]
def unrolled_k(alpha, w, A, B, c, xi, k, val_alpha, val_w):
    Z = np.zeros_like(B)
    for _ in range(k):
        Z = Z - xi * (A @ Z - B)
    return val_alpha(w, alpha) + Z.T @ val_w(w, alpha)


# %% [markdown]
# **Exercise 2.** $A\, \partial w^*/\partial\alpha = B$, so $\partial w^*/\partial\alpha = A^{-1}B$. DARTS has
# $\xi B$ in its place: $\xi$ times the identity stands for the inverse of $A$.


# %% tags=["exercise-2"]
def at_the_optimum(alpha, A, B, c, val_alpha, val_w):
    w = np.linalg.solve(A, B @ alpha + c)
    return val_alpha(w, alpha) + B.T @ np.linalg.solve(A, val_w(w, alpha))


# %% [markdown]
# Wrong: the first order, at the trained weights.


# %% tags=["wrong-2a"]
def at_the_optimum(alpha, A, B, c, val_alpha, val_w):
    return val_alpha(np.linalg.solve(A, B @ alpha + c), alpha)


# %% [markdown]
# Wrong: a minus too many. The mixed derivative of $L_\text{train}$ is $-B$, and that has been used already.


# %% tags=["wrong-2b"]
def at_the_optimum(alpha, A, B, c, val_alpha, val_w):
    w = np.linalg.solve(A, B @ alpha + c)
    return val_alpha(w, alpha) - B.T @ np.linalg.solve(A, val_w(w, alpha))


# %% [markdown]
# **Exercise 3.** $\partial(-H)/\partial s_m = \ln s_m + 1$, and the softmax makes
# $s_m\big(\ln s_m + 1 - \sum_k s_k(\ln s_k + 1)\big) = s_m(\ln s_m + H)$ of it.


# %% tags=["exercise-3"]
def entropy_term(alpha, W):
    e = np.exp(alpha - alpha.max(axis=1, keepdims=True))
    s = e / e.sum(axis=1, keepdims=True)
    H = -(s * np.log(s)).sum(axis=1, keepdims=True)
    return W * s * (np.log(s) + H)


# %% [markdown]
# Wrong: the sign. This descends towards less entropy, and makes edges decide.


# %% tags=["wrong-3a"]
def entropy_term(alpha, W):
    e = np.exp(alpha - alpha.max(axis=1, keepdims=True))
    s = e / e.sum(axis=1, keepdims=True)
    H = -(s * np.log(s)).sum(axis=1, keepdims=True)
    return -W * s * (np.log(s) + H)


# %% [markdown]
# Wrong: the gradient for $s$ is taken for that of $\alpha$.


# %% tags=["wrong-3b"]
def entropy_term(alpha, W):
    e = np.exp(alpha - alpha.max(axis=1, keepdims=True))
    s = e / e.sum(axis=1, keepdims=True)
    return W * (np.log(s) + 1)
