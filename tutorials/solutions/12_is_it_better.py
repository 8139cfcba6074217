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
# # Answers to the exercises of tutorial 12

# %%
import numpy as np

# %% [markdown]
# **Exercise 1.** $d$ is the difference of two truth values, as numbers.


# %% tags=["exercise-1"]
def paired_difference(first, second):
    d = first.astype(float) - second
    return d.mean(), d.std() / np.sqrt(len(d))


# %% [markdown]
# Wrong: the formula for two networks that were tested on different images.


# %% tags=["wrong-1a"]
def paired_difference(first, second):
    a, b = first.mean(), second.mean()
    return a - b, np.sqrt((a * (1 - a) + b * (1 - b)) / len(first))


# %% [markdown]
# Wrong: a standard deviation is that of one image, not that of the mean.


# %% tags=["wrong-1b"]
def paired_difference(first, second):
    d = first.astype(float) - second
    return d.mean(), d.std()


# %% [markdown]
# **Exercise 2.** $P(\max \le v_i) = (i/N)^m$ for the sorted values, so $v_i$ is the largest with probability
# $(i/N)^m - ((i-1)/N)^m$.


# %% tags=["exercise-2"]
def expected_best(values, m):
    below = (np.arange(len(values) + 1) / len(values)) ** m
    return (np.sort(values) * np.diff(below)).sum()


# %% [markdown]
# Wrong: the values are not sorted.


# %% tags=["wrong-2a"]
def expected_best(values, m):
    below = (np.arange(len(values) + 1) / len(values)) ** m
    return (values * np.diff(below)).sum()


# %% [markdown]
# Wrong: the largest of all, whatever the number of trials.


# %% tags=["wrong-2b"]
def expected_best(values, m):
    return values.max()


# %% [markdown]
# **Exercise 3.** The observed signs and their opposites are among the $2^n$, so the smallest value for three pairs
# is $2/8$.


# %% tags=["exercise-3"]
def sign_flip_p(d):
    signs = 2 * np.indices((2,) * len(d)).reshape(len(d), -1).T - 1  # all, (2^r, r)
    means = np.abs(signs @ d) / len(d)
    return (means >= abs(d.mean()) - 1e-12).mean()


# %% [markdown]
# Wrong: on one side only, which halves the value.


# %% tags=["wrong-3a"]
def sign_flip_p(d):
    signs = 2 * np.indices((2,) * len(d)).reshape(len(d), -1).T - 1  # all, (2^r, r)
    return (signs @ d / len(d) >= d.mean() - 1e-12).mean()


# %% [markdown]
# Wrong: what is as large as the observed value counts too; without it three pairs seem to prove everything.


# %% tags=["wrong-3b"]
def sign_flip_p(d):
    signs = 2 * np.indices((2,) * len(d)).reshape(len(d), -1).T - 1  # all, (2^r, r)
    return (np.abs(signs @ d) / len(d) > abs(d.mean()) + 1e-12).mean()
