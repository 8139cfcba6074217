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
# # Answers to the exercises of tutorial 8

# %%
import numpy as np


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# %% [markdown]
# **Exercise 1.** With respect to $z/\tau$ the gradient is that of the text; the inner derivative is $1/\tau$, so
# $\tau^2$ becomes $\tau$. The mean over the batch divides by B.


# %% tags=["exercise-1"]
def softened_gradient(z, t, tau):
    return tau * (softmax(z / tau) - softmax(t / tau)) / len(z)


# %% [markdown]
# Wrong: the inner derivative $1/\tau$ is forgotten.


# %% tags=["wrong-1a"]
def softened_gradient(z, t, tau):
    return tau**2 * (softmax(z / tau) - softmax(t / tau)) / len(z)


# %% [markdown]
# Wrong: the sum over the batch, not the mean.


# %% tags=["wrong-1b"]
def softened_gradient(z, t, tau):
    return tau * (softmax(z / tau) - softmax(t / tau))


# %% [markdown]
# **Exercise 2.** Sums and counts by operation, edge by edge; what has no count is infinitely good.


# %% tags=["exercise-2"]
def worst_operations(paths, parent, child, beta_p):
    z = beta_p * (parent - child) + child
    worst = []
    for column in paths.T:
        counts = np.bincount(column)
        sums = np.bincount(column, weights=z)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
        worst.append(means.argmin())
    return np.array(worst)


# %% [markdown]
# Wrong: the least sum is that of an operation that was drawn rarely.


# %% tags=["wrong-2a"]
def worst_operations(paths, parent, child, beta_p):
    z = beta_p * (parent - child) + child
    worst = []
    for column in paths.T:
        counts = np.bincount(column)
        sums = np.bincount(column, weights=z)
        worst.append(np.where(counts > 0, sums, np.inf).argmin())
    return np.array(worst)


# %% [markdown]
# Wrong: what was never drawn counts as accuracy 0, and is dropped unseen.


# %% tags=["wrong-2b"]
def worst_operations(paths, parent, child, beta_p):
    z = beta_p * (parent - child) + child
    worst = []
    for column in paths.T:
        counts = np.bincount(column)
        sums = np.bincount(column, weights=z)
        worst.append((sums / np.maximum(counts, 1)).argmin())
    return np.array(worst)


# %% [markdown]
# **Exercise 3.** The mean first, then the mean squared deviation from it. (Sums of squares in one pass would do
# too, but lose digits where the mean is large.)


# %% tags=["exercise-3"]
def pooled_statistics(batches):
    count = sum(x[:, 0].size for x in batches)
    mean = sum(x.sum(axis=(0, 2, 3)) for x in batches) / count
    squares = sum(((x - mean[:, None, None]) ** 2).sum(axis=(0, 2, 3)) for x in batches)
    return np.stack([mean, squares / count])


# %% [markdown]
# Wrong: the variance within each batch alone; how far the batches are apart is missing.


# %% tags=["wrong-3a"]
def pooled_statistics(batches):
    counts = np.array([x[:, 0].size for x in batches])
    means = np.array([x.mean(axis=(0, 2, 3)) for x in batches])
    variances = np.array([x.var(axis=(0, 2, 3)) for x in batches])
    return np.stack([np.average(v, axis=0, weights=counts) for v in (means, variances)])


# %% [markdown]
# Wrong: every batch counts alike, also a small one.


# %% tags=["wrong-3b"]
def pooled_statistics(batches):
    mean = np.mean([x.mean(axis=(0, 2, 3)) for x in batches], axis=0)
    squares = [((x - mean[:, None, None]) ** 2).mean(axis=(0, 2, 3)) for x in batches]
    return np.stack([mean, np.mean(squares, axis=0)])
