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
# **Exercise 1.** None becomes smaller than the one before it: a running maximum over the sorted ones.


# %% tags=["exercise-1"]
def corrected(p):
    order = np.argsort(p)
    larger = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty(len(p))
    result[order] = np.minimum(larger, 1)
    return result


# %% [markdown]
# Wrong: Bonferroni's correction, all of them times m. It keeps the promise too, but finds less.


# %% tags=["wrong-1a"]
def corrected(p):
    return np.minimum(p * len(p), 1)


# %% [markdown]
# Wrong: a larger p-value may end below a smaller one.


# %% tags=["wrong-1b"]
def corrected(p):
    order = np.argsort(p)
    result = np.empty(len(p))
    result[order] = np.minimum(p[order] * np.arange(len(p), 0, -1), 1)
    return result


# %% [markdown]
# **Exercise 2.** Of the $\binom{N}{m}$ choices, $\binom{i-1}{m-1}$ have the $i$-th smallest as their highest.


# %% tags=["exercise-2"]
def expected_regret(values, m):
    from math import comb

    total = comb(len(values), m)
    shares = [comb(below, m - 1) / total for below in range(len(values))]
    return values.max() - np.sort(values) @ shares


# %% [markdown]
# Wrong: drawn with replacement, so that the best may be a mean of fewer than m.


# %% tags=["wrong-2a"]
def expected_regret(values, m):
    below = (np.arange(len(values) + 1) / len(values)) ** m
    return values.max() - np.sort(values) @ np.diff(below)


# %% [markdown]
# Wrong: the values are not sorted.


# %% tags=["wrong-2b"]
def expected_regret(values, m):
    from math import comb

    total = comb(len(values), m)
    shares = [comb(below, m - 1) / total for below in range(len(values))]
    return values.max() - values @ shares


# %% [markdown]
# **Exercise 3.** Once all, then the best ones twice more. To find out what it is worth, give the rival as many
# seconds, `simulation.spent`: the regret is a tenth of a point less or so, and 200 seeds hardly tell it from 0.


# %% tags=["exercise-3"]
def again(simulation, count, kept):
    drawn = simulation.rng.choice(len(simulation.table), count, replace=False)
    once = np.array([simulation.train(number) for number in drawn])
    best = np.argsort(-once)[:kept]
    means = [(once[k] + sum(simulation.train(drawn[k]) for _ in range(2))) / 3 for k in best]
    return drawn[best[np.argmax(means)]]


# %% [markdown]
# Wrong: the highest single accuracy of the three, which is the curse once more.


# %% tags=["wrong-3a"]
def again(simulation, count, kept):
    drawn = simulation.rng.choice(len(simulation.table), count, replace=False)
    once = np.array([simulation.train(number) for number in drawn])
    best = np.argsort(-once)[:kept]
    highest = [max(once[k], *(simulation.train(drawn[k]) for _ in range(2))) for k in best]
    return drawn[best[np.argmax(highest)]]


# %% [markdown]
# Wrong: drawn with replacement, so that some are trained twice at the beginning.


# %% tags=["wrong-3b"]
def again(simulation, count, kept):
    drawn = simulation.rng.integers(len(simulation.table), size=count)
    once = np.array([simulation.train(number) for number in drawn])
    best = np.argsort(-once)[:kept]
    means = [(once[k] + sum(simulation.train(drawn[k]) for _ in range(2))) / 3 for k in best]
    return drawn[best[np.argmax(means)]]
