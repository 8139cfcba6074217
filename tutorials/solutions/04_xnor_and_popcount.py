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
# # Answers to the exercises of tutorial 4

# %%
import numpy as np

# %% [markdown]
# **Exercise 1.** The bits above the lowest $n$ must not be counted, so they are masked out of the xor.


# %% tags=["exercise-1"]
def integer_dot(a, b, n):
    differing = (a ^ b) & ((1 << n) - 1)
    return n - 2 * differing.bit_count()


# %% [markdown]
# Wrong: whatever lies above is counted too.


# %% tags=["wrong-1a"]
def integer_dot(a, b, n):
    return n - 2 * (a ^ b).bit_count()


# %% [markdown]
# Wrong: a position that differs costs 2, as it turns a $+1$ into a $-1$.


# %% tags=["wrong-1b"]
def integer_dot(a, b, n):
    return n - ((a ^ b) & ((1 << n) - 1)).bit_count()


# %% [markdown]
# **Exercise 2.** The derivative is $-2 \sum_i h_i |\hat w_i| + 2\beta \sum_i h_i$, so $\beta$ is the weighted
# mean of $|\hat w|$.


# %% tags=["exercise-2"]
def weighted_scale(w, h):
    w, h = (v.reshape(len(v), -1) for v in (w, h))
    return (h * np.abs(w)).sum(axis=1) / h.sum(axis=1)


# %% [markdown]
# Wrong: the weights of the errors are not used.


# %% tags=["wrong-2a"]
def weighted_scale(w, h):
    return np.abs(w).reshape(len(w), -1).mean(axis=1)


# %% [markdown]
# Wrong: a weighted mean is divided by the sum of the weights, not by their number.


# %% tags=["wrong-2b"]
def weighted_scale(w, h):
    return (h * np.abs(w)).reshape(len(w), -1).mean(axis=1)


# %% [markdown]
# **Exercise 3.** Only the positions of the mask count: there are popcount(mask) of them, and of these those that
# differ.


# %% tags=["exercise-3"]
def ternary_matmul(a, words, mask):
    differing = np.bitwise_count((a[:, None] ^ words) & mask).sum(axis=-1, dtype=np.int64)
    present = np.bitwise_count(mask).sum(axis=-1, dtype=np.int64)
    return present - 2 * differing


# %% [markdown]
# Wrong: the differing bits are counted outside the mask as well.


# %% tags=["wrong-3a"]
def ternary_matmul(a, words, mask):
    differing = np.bitwise_count(a[:, None] ^ words).sum(axis=-1, dtype=np.int64)
    return np.bitwise_count(mask).sum(axis=-1, dtype=np.int64) - 2 * differing


# %% [markdown]
# Wrong: counts are unsigned, and a negative product wraps around.


# %% tags=["wrong-3b"]
def ternary_matmul(a, words, mask):
    differing = np.bitwise_count((a[:, None] ^ words) & mask).sum(axis=-1)
    return np.bitwise_count(mask).sum(axis=-1) - 2 * differing
