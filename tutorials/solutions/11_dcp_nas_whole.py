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
# # Answers to the exercises of tutorial 11

# %%
import numpy as np

# %% [markdown]
# **Exercise 1.** softmax over all eight, with the largest logit subtracted first so that nothing overflows; the
# ranking without `none`.


# %% tags=["exercise-1"]
def margins(alpha):
    weights = np.exp(alpha - alpha.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    ranked = np.sort(weights[..., 1:], axis=-1)
    return ranked[..., -1] - ranked[..., -2]


# %% [markdown]
# Wrong: `none` is ranked too.


# %% tags=["wrong-1a"]
def margins(alpha):
    weights = np.exp(alpha - alpha.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    ranked = np.sort(weights, axis=-1)
    return ranked[..., -1] - ranked[..., -2]


# %% [markdown]
# Wrong: `none` is left out before the softmax, so the others weigh more than they do in the supernet.


# %% tags=["wrong-1b"]
def margins(alpha):
    alpha = alpha[..., 1:]
    weights = np.exp(alpha - alpha.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    ranked = np.sort(weights, axis=-1)
    return ranked[..., -1] - ranked[..., -2]


# %% [markdown]
# **Exercise 2.** The epoch after the last one whose genotype was another.


# %% tags=["exercise-2"]
def settled(genotypes):
    others = np.flatnonzero(genotypes != genotypes[-1])
    return others[-1] + 2 if len(others) else 1


# %% [markdown]
# Wrong: the genotype of the end may have been there before, and have been left again.


# %% tags=["wrong-2a"]
def settled(genotypes):
    return np.flatnonzero(genotypes == genotypes[-1])[0] + 1


# %% [markdown]
# Wrong: that is the last epoch with another genotype.


# %% tags=["wrong-2b"]
def settled(genotypes):
    others = np.flatnonzero(genotypes != genotypes[-1])
    return others[-1] + 1 if len(others) else 1


# %% [markdown]
# **Exercise 3.** Weights, momentum, and the best so far with its loss. The random numbers come from seed and
# epoch, so they need no state.


# %% tags=["exercise-3"]
def state(job):
    return {"w": job.w, "v": job.v, "best": job.best, "lowest": job.lowest}


# %% [markdown]
# Wrong: the momentum begins anew.


# %% tags=["wrong-3a"]
def state(job):
    return {"w": job.w, "best": job.best, "lowest": job.lowest}


# %% [markdown]
# Wrong: after the interruption the first point is the best, however bad it is.


# %% tags=["wrong-3b"]
def state(job):
    return {"w": job.w, "v": job.v, "best": job.best}
