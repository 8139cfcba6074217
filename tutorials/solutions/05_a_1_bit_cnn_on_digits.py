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
# # Answers to the exercises of tutorial 5

# %%
import numpy as np

from bnas import nn

# %% [markdown]
# **Exercise 1.** Dividing by a negative $\gamma$ turns the inequality round: the bit is $s < t$, which for
# integers is $s < \lceil t \rceil$. With $\gamma = 0$ the bit is that of the shift, always the same.


# %% tags=["exercise-1"]
def fold(beta, gamma, shift, mean, sigma, n):
    t = (mean - shift * sigma / np.where(gamma == 0, 1, gamma)) / beta
    least = np.where(gamma > 0, np.floor(t) + 1, np.ceil(t))
    least = np.where(gamma == 0, np.where(shift > 0, -n, n + 1), least)
    return least.astype(int), gamma >= 0


# %% [markdown]
# Wrong: as if every $\gamma$ were positive.


# %% tags=["wrong-1a"]
def fold(beta, gamma, shift, mean, sigma, n):
    t = (mean - shift * sigma / np.where(gamma == 0, 1e-9, gamma)) / beta
    return (np.floor(t) + 1).astype(int), np.ones(len(t), bool)


# %% [markdown]
# Wrong: where $s = t$ exactly, batch norm gives 0, whose sign is $-1$; $\lceil t \rceil$ makes it $+1$.


# %% tags=["wrong-1b"]
def fold(beta, gamma, shift, mean, sigma, n):
    t = (mean - shift * sigma / np.where(gamma == 0, 1, gamma)) / beta
    least = np.where(gamma == 0, np.where(shift > 0, -n, n + 1), np.ceil(t))
    return least.astype(int), gamma >= 0


# %% [markdown]
# **Exercise 2.** The last row in which the sign is another one than at the end, plus one. Seen from the end, a
# weight has settled as long as no row differs.


# %% tags=["exercise-2"]
def settled(signs):
    differs = signs != signs[-1]
    rows = np.arange(1, len(signs) + 1)[:, None]
    return (rows * differs).max(axis=0)


# %% [markdown]
# Wrong: the first row with the sign of the end; it may flip again.


# %% tags=["wrong-2a"]
def settled(signs):
    return (signs == signs[-1]).argmax(axis=0)


# %% [markdown]
# Wrong: the number of flips.


# %% tags=["wrong-2b"]
def settled(signs):
    return (signs[1:] != signs[:-1]).sum(axis=0)


# %% [markdown]
# **Exercise 3.** The sign is taken inside the convolution; the shortcut carries the real numbers, past batch
# norm too.


# %% tags=["exercise-3"]
class Residual(nn.Module):
    def __init__(self, channels):
        self.conv = nn.XnorConv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn(self.conv(x)) + x


# %% [markdown]
# Wrong: the shortcut is normalised together with the sum.


# %% tags=["wrong-3a"]
class Residual(nn.Module):
    def __init__(self, channels):
        self.conv = nn.XnorConv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn(self.conv(x) + x)


# %% [markdown]
# Wrong: without padding the image shrinks, and nothing can be added.


# %% tags=["wrong-3b"]
class Residual(nn.Module):
    def __init__(self, channels):
        self.conv = nn.XnorConv2d(channels, channels, 3)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn(self.conv(x)) + x
