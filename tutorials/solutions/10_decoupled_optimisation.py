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
# # Answers to the exercises of tutorial 10

# %%
import numpy as np

# %% [markdown]
# **Exercise 1.** The derivation, line by line: $\psi = \ell'(\ell' + \alpha w\,\ell'')$.


# %% tags=["exercise-1"]
def derived_step(alpha, w, lr1, lr2, d1, d2):
    p = alpha * w
    psi = d1(p) * (d1(p) + p * d2(p))
    return alpha - lr1 * d1(p) * w + lr1 * lr2 * psi * alpha


# %% [markdown]
# Wrong: in the mixed second derivative the term with $\ell''$ is forgotten.


# %% tags=["wrong-1a"]
def derived_step(alpha, w, lr1, lr2, d1, d2):
    p = alpha * w
    return alpha - lr1 * d1(p) * w + lr1 * lr2 * d1(p) ** 2 * alpha


# %% [markdown]
# Wrong: the push goes along the new $\alpha$, not along the old one.


# %% tags=["wrong-1b"]
def derived_step(alpha, w, lr1, lr2, d1, d2):
    p = alpha * w
    psi = d1(p) * (d1(p) + p * d2(p))
    stepped = alpha - lr1 * d1(p) * w
    return stepped + lr1 * lr2 * psi * stepped


# %% [markdown]
# **Exercise 2.** A product of factors, one for each step.


# %% tags=["exercise-2"]
def growth_factor(lr1, lr2, steps, psi):
    rates = 0.5 * lr2 * (1 + np.cos(np.pi * np.arange(steps) / steps))
    return np.prod(1 + lr1 * rates * psi)


# %% [markdown]
# Wrong: the rate is taken at its peak all the time.


# %% tags=["wrong-2a"]
def growth_factor(lr1, lr2, steps, psi):
    return (1 + lr1 * lr2 * psi) ** steps


# %% [markdown]
# Wrong: growth is added up, where it multiplies. For small steps it is nearly right.


# %% tags=["wrong-2b"]
def growth_factor(lr1, lr2, steps, psi):
    rates = 0.5 * lr2 * (1 + np.cos(np.pi * np.arange(steps) / steps))
    return 1 + (lr1 * rates * psi).sum()


# %% [markdown]
# **Exercise 3.** All $n$ entries of a channel are $\pm\beta_c$, so a channel adds $n\beta_c^2$, with
# $\beta_c = \operatorname{mean}|\hat w_c|$.


# %% tags=["exercise-3"]
def child_norm(latent):
    beta = np.abs(latent).mean(axis=(1, 2, 3))
    return latent[0].size * (beta**2).sum()


# %% [markdown]
# Wrong: this is the norm of the latent weights.


# %% tags=["wrong-3a"]
def child_norm(latent):
    return (latent**2).sum()


# %% [markdown]
# Wrong: there is one scale for the whole layer.


# %% tags=["wrong-3b"]
def child_norm(latent):
    return latent.size * np.abs(latent).mean() ** 2
