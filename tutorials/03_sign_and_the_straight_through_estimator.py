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
# # 3. Sign and the straight-through estimator
#
# A 1-bit network computes with signs, and no gradient passes through a sign. This tutorial shows what is done
# about it, what that is worth, and where it fails.
#
# **You will be able to**
#
# * say why nothing is learned through the true derivative of sign, and what a *surrogate* puts in its place;
# * check a straight-through estimator by finite differences, namely of the function whose derivative it claims
#   to be;
# * recognise its failures in a training run: weights that flip to and fro, dead weights, saturated weights.
#
# **It assumes** tutorials 1 and 2.

# %%
import numpy as np
from exercises import check, difference

import bnas
import bnas.functional as F
from bnas.plots import Figure

BLUE, ORANGE, GREEN, PINK, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"

# %% [markdown]
# ## A weight that is used as its sign
#
# A 1-bit layer keeps a real number $\hat w$ for every weight, the *latent* weight, and computes with
#
# $$b = \operatorname{sign}(\hat w) = \begin{cases} +1 & \hat w > 0 \\ -1 & \hat w \le 0 . \end{cases}$$
#
# Zero counts as $-1$, because one bit has no room for a third value. (NumPy's `np.sign(0)` is 0, so we write our
# own.) The latent weight is what the optimiser moves; the rest of the network never sees it.
#
# The smallest problem on which everything can be seen has two weights and one data point. The layer computes
# $a_1 b_1 + a_2 b_2$, the target is $y$:
#
# $$L(b) = \tfrac12 (a \cdot b - y)^2, \qquad a = (1,\ 0.4), \quad y = 0.3 .$$


# %%
def sign(x):
    return np.where(x > 0, 1.0, -1.0)


a, y = np.array([1.0, 0.4]), 0.3


def loss(b):
    """L(b) for b of shape (..., 2)."""
    return 0.5 * (b @ a - y) ** 2


corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
for b in corners:
    print(f"b = {b}: loss {loss(b):.3f}")

# %% [markdown]
# There are only four networks, and $b = (1, -1)$ is the best of them. How would gradient descent on $\hat w$
# find it? By tutorial 2 we know how to ask for a derivative without any theory:

# %%
for w1 in (0.6, 0.001):
    for h in (1e-1, 1e-2, 1e-5):
        ahead, behind = np.array([w1 + h, 0.5]), np.array([w1 - h, 0.5])
        slope = (loss(sign(ahead)) - loss(sign(behind))) / (2 * h)
        print(f"w1 = {w1:5}, step {h:.0e}: slope {slope:.3f}")

# %% [markdown]
# The slope is 0, except where the step reaches across the jump at 0, and there it grows as the step shrinks. The
# loss is a staircase: flat almost everywhere, and vertical in between. The derivative of sign is 0 for
# $\hat w \ne 0$ and does not exist at 0. By the chain rule
#
# $$\frac{\partial L}{\partial \hat w_i} = \frac{\partial L}{\partial b_i}\frac{\partial b_i}{\partial \hat w_i},$$
#
# the second factor makes every gradient 0. It is correct, and useless.
#
# ## Four surrogates
#
# The way out is to keep sign in the forward pass, and to use in the backward pass the derivative of another
# function $s$, the *surrogate*, that looks like sign and has a slope. This is the *straight-through estimator*
# (STE). Four surrogates are in use:
#
# | name | $s(x)$ | $s'(x)$ |
# |---|---|---|
# | clip | $\min(\max(x, -1), 1)$ | $1$ where $\lvert x\rvert \le 1$, else $0$ |
# | identity | $x$ | $1$ |
# | polynomial | $2x - x\lvert x\rvert$ inside $[-1, 1]$, else sign | $2 - 2\lvert x\rvert$ inside, else $0$ |
# | tanh | $\tanh(T x)$, $T$ the *temperature* | $T\,(1 - \tanh^2(T x))$ |
#
# The first, $\partial b / \partial \hat w = 1_{\lvert \hat w\rvert \le 1}$, is Eq. 4.35 of the book that bnas
# follows (Zhang et al., *Binary Neural Networks*, 2024). The polynomial is that of Bi-Real Net. With a growing
# temperature the tanh approaches sign itself (that of a softmax works the other way round). The inputs of a 1-bit
# layer become signs too, and their gradients take the same way; what follows on surrogates holds for them as well.

# %%
T = 2.5  # temperature of the tanh

surrogates = {
    "clip": lambda x: np.clip(x, -1, 1),
    "identity": lambda x: x,
    "polynomial": lambda x: np.where(abs(x) < 1, 2 * x - x * abs(x), sign(x)),
    "tanh": lambda x: np.tanh(T * x),
}
derivatives = {
    "clip": lambda x: np.where(abs(x) <= 1, 1.0, 0.0),
    "identity": lambda x: np.ones_like(x),
    "polynomial": lambda x: np.maximum(2 - 2 * abs(x), 0),
    "tanh": lambda x: T * (1 - np.tanh(T * x) ** 2),
}

# %%
x = np.linspace(-2, 2, 801)
figure = Figure(figsize=(6.9, 3.6), layout="constrained")
axes = figure.subplots(2, 4, sharex=True, sharey="row")
for column, name in zip(axes.T, surrogates):
    column[0].step([-2, 0, 2], [-1, -1, 1], color="#999999", linewidth=3, label="sign")
    column[0].plot(x, surrogates[name](x), color=BLUE, label="surrogate")
    column[1].fill_between(x, derivatives[name](x), color=ORANGE, alpha=0.3)
    column[1].plot(x, derivatives[name](x), color=ORANGE)
    column[0].set_title(f"tanh, $T$ = {T}" if name == "tanh" else name)
    column[1].set_xlabel(r"latent weight $\hat w$")
axes[0, 0].set_ylim(-1.6, 1.6)
axes[0, 0].set_ylabel("forward")
axes[1, 0].set_ylabel("derivative")
figure.legend(
    *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False
)
figure

# %% [markdown]
# Look at the lower row, for that is all a surrogate contributes. Clip and identity treat all weights alike, clip
# only within $[-1, 1]$. Polynomial and tanh let a weight learn the faster the closer it is to a change of sign.
# The shaded area is 2 for all but the identity.
#
# ### Where surrogates come from: sign, blurred by noise
#
# These are not arbitrary drawings. Add noise $\varepsilon$ with a symmetric density $p$ to the latent weight
# before taking the sign, and average:
#
# $$\mathbb E \operatorname{sign}(\hat w + \varepsilon) = P(\varepsilon > -\hat w) - P(\varepsilon \le -\hat w)
#   = 2 P(\varepsilon < \hat w) - 1 ,$$
#
# by the symmetry of $p$. The derivative of the right side is $2 p(\hat w)$. So every surrogate whose derivative
# is nowhere negative, symmetric, and has area 2 *is* a blurred sign, and its noise has the density $p = s'/2$:
# uniform on $[-1, 1]$ for clip, a triangle for the polynomial, the logistic distribution for tanh. The average
# as a sum over a fine grid of noise:

# %%
step = 1e-3
noise = np.arange(-12, 12, step) + step / 2
w = np.array([-1.5, -0.7, -0.2, 0.35, 0.9])
for name in surrogates:
    density = derivatives[name](noise) / 2
    blurred = (sign(w[:, None] + noise) * density).sum(axis=1) * step
    error = abs(blurred - surrogates[name](w)).max()
    print(f"{name:10}  area of p {density.sum() * step:5.2f}   error {error:.1e}")

# %% [markdown]
# Three areas are 1, as that of a density must be, and there the blurred sign is the surrogate. For the identity
# the sum agrees too, but its "density" has an area of 12, half the width of the grid. It is no blurred sign: its
# noise would have to be spread evenly over the whole real line, which no distribution is.
#
# ## The estimator, and what it claims
#
# In code the STE is two lines: the sign forward, and backward the incoming gradient times $s'$.


# %%
def ste_gradient(w, name="clip"):
    """dL/dw of L(sign w), with a surrogate's derivative in place of that of sign."""
    b = sign(w)
    dL_db = a * (b @ a - y)
    return dL_db * derivatives[name](w)


w0 = np.array([0.12, -0.47])
for name in surrogates:
    w = bnas.Tensor(w0, requires_grad=True)
    output = (F.sign_ste(w, name, temperature=T) * a).sum()
    (0.5 * (output - y) ** 2).backward()
    print(f"{name:10} ours {ste_gradient(w0, name)}  bnas {w.grad}")

# %% [markdown]
# The two agree. But what have we computed? It is a gradient of *something*, or it could not be checked. For sign
# alone the claim is plain: the backward is the derivative of $s$. `bnas.check_gradients` takes that function as
# `surrogate` and compares with its finite differences, which we know from tutorial 2:

# %%
x = np.array([0.5, -0.3, 2.0, -0.9, 1.2])
for name in surrogates:
    report = bnas.check_gradients(lambda x: F.sign_ste(x, name, T), x, surrogate=surrogates[name])
    print(f"{name:10} relative error {report.error:.1e}")

# %% [markdown]
# All four backwards are the derivatives that they claim to be.
#
# For a loss *behind* the sign there is a trap. One is tempted to say that the STE gives the gradient of
# $L(s(\hat w))$, the network in which every sign is replaced by its surrogate. It does not, because
# $\partial L/\partial b$ is taken at $\operatorname{sign}\hat w$ and not at $s(\hat w)$. What it gives, at the
# point $\hat w_0$, is the gradient of
#
# $$\hat w \mapsto L\big(\operatorname{sign}\hat w_0 + s(\hat w) - s(\hat w_0)\big) .$$
#
# At $\hat w_0$ that function has the value of the real network, and a small change of $\hat w$ enters through
# $s$.


# %%
def slopes(f, w, h=1e-6):
    """The gradient of f at w (n,) by central differences."""
    return np.array([(f(w + h * e) - f(w - h * e)) / (2 * h) for e in np.eye(len(w))])


s = surrogates["polynomial"]
print("STE                             ", ste_gradient(w0, "polynomial"))
print("of L(sign w0 + s(w) - s(w0))    ", slopes(lambda w: loss(sign(w0) + s(w) - s(w0)), w0))
print("of L(s(w)), which it is not     ", slopes(lambda w: loss(s(w)), w0))

# %% [markdown]
# The first two rows agree; the third even has other signs. The same construction checks the whole 1-bit
# convolution in `bnas`: `XnorConv2d.surrogate` in `bnas/functional/binarise.py` lets a change of $s(x)$ meet the
# signs of $w$, and a change of $s(\hat w)$ the signs of $x$. So `bnas gradcheck` can verify every backward,
# those of signs included.
#
# This tells that the code does what it claims. Whether the claim is *useful* is another question.
#
# ## The bias
#
# Is there a truth to compare with? The loss of the signs has none, as its gradient is 0. But its blurred version
# has one. Take the noise of the clip surrogate, uniform on $[-1, 1]$, and let
#
# $$\bar L(\hat w) = \mathbb E\, L(\operatorname{sign}(\hat w + \varepsilon)) .$$
#
# (From here on a bar is an average, not a gradient as in tutorial 1.) This is smooth, up to kinks at $\pm 1$.
# For $|\hat w_i| \ge 1$ the noise changes nothing, so $\bar L$ has the values of the four networks at the four
# corners, and is never less than their minimum: to minimise it is to choose the best network. With two weights
# the expectation is a sum over four cases, where $b_i = \pm 1$ has the probability $(1 \pm m_i)/2$ with
# $m_i = \mathbb E\, b_i = \operatorname{clip}(\hat w_i)$.


# %%
def blurred_loss(w):
    """E L(sign(w + noise)), noise uniform on [-1, 1]: exact, a sum over the four corners. w (..., 2)."""
    m = np.clip(w, -1, 1)
    probabilities = ((1 + corners * m[..., None, :]) / 2).prod(axis=-1)
    return (probabilities * loss(corners)).sum(axis=-1)


def blurred_gradient(w):
    """The true gradient of blurred_loss."""
    m = np.clip(w, -1, 1)
    others = m @ a - a * m - y  # what the other weight gives on average, minus the target
    return a * others * derivatives["clip"](w)


rng = np.random.default_rng(0)
points = rng.uniform(-1.5, 1.5, (20, 2))
draws = [loss(sign(p + rng.uniform(-1, 1, (10**5, 2)))).mean() for p in points]
errors = [slopes(blurred_loss, p) - blurred_gradient(p) for p in points]
print(f"loss against 100,000 draws: at most {abs(blurred_loss(points) - draws).max():.4f} apart")
print(f"gradient against differences: at most {np.abs(errors).max():.1e} apart")

# %% [markdown]
# Both are right (an average over so many draws is known to about 0.002). The formula in `blurred_gradient`
# follows from writing out the sum. For the first weight
#
# $$\frac{\partial \bar L}{\partial \hat w_1} = s'(\hat w_1)\; \mathbb E_{b_2}\,
#   \tfrac12\big[L(+1, b_2) - L(-1, b_2)\big] = s'(\hat w_1)\; a_1 (a_2 m_2 - y),$$
#
# because $\frac12\cdot\frac12\big[(a_1 + r)^2 - (-a_1 + r)^2\big] = a_1 r$ with $r = a_2 b_2 - y$. The STE has
# instead of this difference the slope at one corner:
#
# $$\text{STE}_1 = s'(\hat w_1)\;\frac{\partial L}{\partial b_1} = s'(\hat w_1)\; a_1 (a_1 b_1 + a_2 b_2 - y).$$
#
# Two things differ. In place of the mean $m_2$ stands $b_2$; that would be right on average, if the signs were
# drawn with the noise. And the term $a_1^2 b_1$ is extra. This is the bias: the STE follows the tangent of $L$
# at the corner, as if $b_1$ could move a little; but $b_1$ can only jump by 2, and $L$ is curved in between. The
# extra term pushes $\hat w_1$ *towards zero from either side*. Draw both:

# %%
grid = np.linspace(-1.3, 1.3, 131)
plane = np.stack(np.meshgrid(grid, grid), axis=-1)
arrows = np.stack(np.meshgrid(np.linspace(-1.2, 1.2, 13), np.linspace(-1.2, 1.2, 13)), axis=-1)


def directions(gradient):
    """-g/|g| at every arrow, 0 where g is."""
    g = np.array([[gradient(w) for w in row] for row in arrows])
    return -g / np.maximum(np.linalg.norm(g, axis=-1, keepdims=True), 1e-12)


def draw_field(ax, gradient, color, title):
    ax.contourf(grid, grid, blurred_loss(plane), levels=20, cmap="Greys", alpha=0.75)
    vectors = (*arrows.transpose(2, 0, 1), *directions(gradient).transpose(2, 0, 1))
    ax.quiver(*vectors, color=color, scale=18, width=0.007, pivot="mid")
    ax.axhline(0, color="white", linewidth=1)
    ax.axvline(0, color="white", linewidth=1)
    ax.set(title=title, xlabel=r"latent weight $\hat w_1$", aspect="equal")


# %% tags=["picture"]
figure = Figure(figsize=(6.9, 3.7), layout="constrained")
left, right = figure.subplots(1, 2, sharey=True)
draw_field(left, blurred_gradient, BLUE, "downhill by the true gradient")
draw_field(right, ste_gradient, ORANGE, "downhill by the STE")
left.set_ylabel(r"latent weight $\hat w_2$")
figure

# %% [markdown]
# The grey is $\bar L$, dark where it is large; the arrows show directions only. The lightest corner, at the
# lower right, is the best network. On the left most arrows lead there. (Those at the upper left lead to the
# corner $(-1, 1)$, a local minimum: both of its neighbours are worse.) On the right they are the same in a whole
# quadrant, as the STE knows only which corner it is at; and the arrows on the two sides of the line
# $\hat w_1 = 0$ point at each other. The first weight cannot stay on either side, not even in the best corner.
# (In the outermost rows and columns a weight is beyond $\pm 1$, where clip has no slope. A dot is a gradient of
# 0.) Now let both descend from the same point:


# %%
def descend(gradient, w, rate=0.03, steps=600):
    path = [w]
    for _ in range(steps):
        path.append(path[-1] - rate * gradient(path[-1]))
    return np.array(path)


start = np.array([0.62, 0.47])
paths = {"true gradient": descend(blurred_gradient, start), "STE": descend(ste_gradient, start)}
for name, path in paths.items():
    b = sign(path)
    flips = (b[1:] != b[:-1]).sum()
    late = b[-200:]
    print(f"{name:14} ends at {path[-1].round(2)}, flips: {flips:3};", end=" ")
    print(f"last 200 steps: mean loss {loss(late).mean():.3f}, mean of a·b {(late @ a).mean():.3f}")

# %%
figure = Figure(figsize=(6.9, 3.6), layout="constrained")
left, right = figure.subplots(1, 2)
left.contourf(grid, grid, blurred_loss(plane), levels=20, cmap="Greys", alpha=0.75)
for (name, path), color in zip(paths.items(), (BLUE, ORANGE)):
    left.plot(*path.T, color=color, linewidth=1.8, label=name)
    right.plot(path[:150, 0], color=color, linewidth=1.2, label=name)
left.plot(*start, "o", color=BLACK, markersize=5)
left.set(xlabel=r"latent weight $\hat w_1$", ylabel=r"latent weight $\hat w_2$", aspect="equal")
right.axhline(0, color="#999999", linewidth=0.8)
right.set(xlabel="step", ylabel=r"latent weight $\hat w_1$")
right.legend(frameon=False)
figure

# %% [markdown]
# Left: the paths in the plane, from the black point. Right: the first weight over the steps. The true gradient
# reaches the best corner. The STE falls to $\hat w_1 = 0$ and flips to and fro there for ever, between the two
# *upper* corners, and neither of them is good.
#
# The last printed number tells why. On average over time, $a \cdot b$ is 0.3, exactly the target! The STE has
# solved another problem, the one in which $b$ may take values in between, and it makes the value in between by
# changing quickly. The algebra says the same. The mean of a square is the square of the mean plus the variance,
# the two signs are independent, and $\operatorname{Var} b_i = 1 - m_i^2$. So
#
# $$\bar L = \tfrac12 (a\cdot m - y)^2 + \tfrac12 \sum_i a_i^2 (1 - m_i^2) .$$
#
# The first term is the loss of the average network, the second is paid for being undecided, and drives the
# weights to the corners. The derivative of the second term is $-s'(\hat w_i)\, a_i^2 m_i$. The STE, averaged
# over the noise in $b$, is the gradient of the first term alone, since $\partial L / \partial b_i$ is linear in
# $b$. Its bias is that it does not see the price of indecision.
#
# Is it then worthless? No, and the reason is the number of weights. The extra term $a_i^2 b_i$ contains one
# weight; the rest of $a_i (a \cdot b - y)$ contains all the others. Take layers of $n$ weights with random
# inputs and targets, average over the noise, and compare the directions (a cosine of 1 means the same
# direction):

# %%
for n in (2, 8, 32, 128, 512, 2048):
    cosines = []
    for _ in range(1000):
        inputs, m = rng.standard_normal(n), rng.uniform(-1, 1, n)
        target = np.sqrt(n) * rng.standard_normal()
        ste = inputs * (inputs @ m - target)
        truth = ste - inputs**2 * m
        cosines.append(ste @ truth / np.linalg.norm(ste) / np.linalg.norm(truth))
    uphill = np.mean(np.array(cosines) < 0)
    print(f"n = {n:4}: mean cosine {np.mean(cosines):.3f}, uphill in {uphill:.1%}")

# %% [markdown]
# With two weights the STE points uphill in about one case of eight. With hundreds, the flip of one sign changes
# the output by little, the tangent is a good approximation over that distance, and the bias fades. Layers of
# real networks have hundreds of inputs to a sum. Depthwise convolutions, with nine, are the exception.
#
# ## Dead and saturated weights
#
# The second failure has nothing to do with bias. Under clip and polynomial a weight with
# $\lvert \hat w\rvert > 1$ has the gradient 0, exactly. It is *dead*: no step of SGD moves it, so it stays
# outside for ever, whatever the loss says. Under tanh it is *saturated*: alive on paper, but at $\hat w = 3$ and
# $T = 2.5$ the derivative is $4 T e^{-15} \approx 3\cdot 10^{-6}$.
#
# Weights come there by initial values that are too large or by steps that are too large. Let us see it on the
# digits, with a network of two 1-bit layers written in a few lines. (The factors 1/8 keep sums of 64 terms near 1;
# tutorial 5 puts batch norm in their place. The signs of the hidden units always have the clip surrogate, and the
# comparison is one of surrogates for weights.)

# %%
digits = bnas.data.load_dataset("digits")
images, labels = digits.train.images.reshape(-1, 64), digits.train.labels
test_images, test_labels = digits.test.images.reshape(-1, 64), digits.test.labels


def initial(scale):
    rng = np.random.default_rng(1)
    return [
        bnas.Tensor(np.float32(rng.uniform(-scale, scale, shape)), requires_grad=True)
        for shape in ((64, 64), (64, 10))
    ]


def forward(x, weights, name):
    hidden = F.matmul(x, F.sign_ste(weights[0], name, T)) / 8
    return F.matmul(F.sign_ste(hidden), F.sign_ste(weights[1], name, T)) / 8


def accuracy(weights):
    return (forward(test_images, weights, "clip").argmax(axis=1) == test_labels).mean()


# %%
def train(scale, name="clip", before=None, after=None, steps=150, rate=10):
    """SGD from uniform latent weights in [-scale, scale]; before and after: called with each weight array."""
    rng, weights = np.random.default_rng(2), initial(scale)
    for _ in range(steps):
        for w in weights:
            w.grad = None
            if before:
                before(w.data)
        chosen = rng.integers(len(images), size=64)
        F.cross_entropy(forward(images[chosen], weights, name), labels[chosen]).backward()
        with bnas.no_grad():
            for w in weights:
                w -= rate * w.grad
                if after:
                    after(w.data)
    return weights


def keep_inside(w):
    np.clip(w, -1, 1, out=w)


# %%
scales = [0.3, 1, 3, 10, 30]
found = {name: [accuracy(train(scale, name)) for scale in scales] for name in surrogates}
found["clip, kept inside"] = [accuracy(train(scale, after=keep_inside)) for scale in scales]
alive = [np.mean(np.abs(initial(scale)[0].data) <= 1) for scale in scales]
print("initial scale          ", *(f"{scale:6}" for scale in scales))
print("alive at the beginning ", *(f"{share:6.0%}" for share in alive))
for name, accuracies in found.items():
    print(f"{name:22} ", *(f"{value:6.1%}" for value in accuracies))

# %%
styles = zip(found, (BLUE, BLACK, PINK, GREEN, ORANGE), "so^Dv", ("-", "--", "-.", ":", "-"))
figure = Figure(figsize=(6.2, 3.4), layout="constrained")
ax = figure.subplots()
for name, color, marker, dashes in styles:
    style = {"color": color, "marker": marker, "linestyle": dashes}
    ax.plot(scales, 100 * np.array(found[name]), label=name, **style)
ax.set_xscale("log")
ax.set_xticks(scales, [f"{scale:g}" for scale in scales])
ax.minorticks_off()
ax.set(xlabel="scale of the initial latent weights", ylabel="test accuracy, %")
ax.legend(frameon=False, fontsize=9)
figure

# %% [markdown]
# Read the figure from left to right. Up to a scale of 1 all are close. Beyond it, clip and polynomial fall: most
# of their weights are dead before the first step (the second row of the table), and a dead weight is a random
# sign that nobody can correct. Under tanh these weights are saturated. The identity kills none, but a latent
# weight of 10 needs many steps before its sign changes, and it falls too. The curve that stays up, *clip, kept
# inside*, has one line more: after each step the latent weights are clipped to $[-1, 1]$. A weight at 1 is alive
# and one gradient away from coming back.
#
# ## What goes wrong
#
# **Mistake 1: the sign is checked against itself.** A finite difference of a step function is 0:

# %%
try:
    bnas.check_gradients(F.sign_ste, np.array([0.5, -0.3, 0.8]))
except bnas.gradcheck.GradientError as error:
    print(error)

# %% [markdown]
# The symptom is a numeric gradient of 0 for every input. The danger is the other way round: a backward that
# returns zeros *passes* such a comparison, and the network never learns. That is why `bnas` calls a comparison
# with zero powerless, and fails it.
#
# **Mistake 2: clipping is forgotten.** One weight; for 60 steps the gradient says "larger", then for 240 steps
# "smaller".

# %%
gradients = np.repeat([-1.0, 1.0], [60, 240])


def one_weight(w, masked, kept):
    """The latent weight after every step at rate 0.03."""
    path = []
    for g in gradients:
        w -= 0.03 * g * (abs(w) <= 1 or not masked)
        w = np.clip(w, -1, 1) if kept else w
        path.append(w)
    return np.array(path)


single = {
    "clip, kept inside": one_weight(0.2, masked=True, kept=True),
    "clip, not kept inside": one_weight(0.2, masked=True, kept=False),
    "identity": one_weight(0.2, masked=False, kept=False),
}

# %%
figure = Figure(figsize=(6.2, 3.2), layout="constrained")
ax = figure.subplots()
ax.axhspan(-1, 1, color="#EEEEEE")
for (name, path), color, dashes in zip(single.items(), (ORANGE, BLUE, BLACK), ("-", "-.", "--")):
    ax.plot(path, color=color, linestyle=dashes, label=name)
    back = np.flatnonzero(path[60:] <= 0)
    print(f"{name:22} {f'flips after {back[0] + 1} steps' if len(back) else 'never flips'}")
ax.set(xlabel="step", ylabel=r"latent weight $\hat w$")
ax.legend(frameon=False)
figure

# %% [markdown]
# Kept inside the grey band, the weight follows the change of mind after some 30 steps. Under clip without the
# band it steps over the edge once and is dead. Under the identity it needs as long to come back as it was away,
# so it gets slower the longer training lasts. In a real run the symptoms are these: fewer and fewer signs flip,
# while the training loss is still high; and a histogram of latent weights with heavy ends.
#
# **Mistake 3: the signs are updated instead of the latent weights.** It looks like a saving: why keep real
# numbers if only their signs are used?


# %%
def to_signs(w):
    w[...] = np.where(w > 0, 1, -1)


for rate in (1, 10, 100, 1000):
    first = initial(1)[0].data > 0
    weights = train(1, before=to_signs, rate=rate)
    flipped = np.mean((weights[0].data > 0) != first)  # in the first layer
    print(f"rate {rate:4}: {flipped:5.1%} of the signs differ, accuracy {accuracy(weights):.1%}")
print(f"before training:   accuracy {accuracy(initial(1)):.1%}")
print(f"latent weights, rate 10: accuracy {accuracy(train(1, after=keep_inside)):.1%}")

# %% [markdown]
# The rows tell how many signs of the first layer are not what they were before training. At the rates 1 and 10
# none has flipped: a step of 0.1 from $+1$ gives 0.9, whose sign is $+1$ again, and the step is forgotten. The
# symptom is a network that stays as good, or bad, as it was. At the rate 100 a sign flips when a single batch
# demands it strongly enough. That teaches something, but less than the latent weights learn, and the rate has to
# be just right: at 1000 about half of the signs differ, as if they had been drawn anew. The latent weight is the
# memory that adds up many small steps until they amount to a flip.
#
# ## Exercises
#
# Replace each stub, run its cell, then the one below it.
#
# **Exercise 1.** Another surrogate is a piece of a sine: $s(x) = \sin(\pi x / 2)$ for $\lvert x\rvert < 1$, and
# $\operatorname{sign} x$ outside. Write the backward of a sign with this surrogate: `dy` is the incoming
# gradient, an array of the shape of `x`, which may be any.


# %% tags=["exercise-1"]
def sine_backward(x, dy):
    """The gradient of x."""
    ...


# %% tags=["check-1"]
def examine_1(answer):
    rng = np.random.default_rng(5)
    for shape in ((7,), (3, 4), (2, 3, 5)):
        x, dy = rng.uniform(-2, 2, shape), rng.standard_normal(shape)
        x[np.abs(np.abs(x) - 1) < 1e-3] = 0.5
        ahead, behind = (
            np.where(abs(v) < 1, np.sin(np.pi * v / 2), sign(v)) for v in (x + 1e-6, x - 1e-6)
        )
        fault = difference(answer(x.copy(), dy.copy()), dy * (ahead - behind) / 2e-6, 1e-6)
        if fault:
            return f"by differences of dy s(x), with x = {x.ravel()[:4].round(2)}...: {fault}"


check(1, sine_backward, examine_1)

# %% [markdown]
# **Exercise 2.** Write the true gradient of a blurred loss for *any* loss of two signs, with Gaussian noise of
# standard deviation `sigma` on both latent weights. The loss is given as a table: `table[0, 0]` is $L(+1, +1)$,
# `table[0, 1]` is $L(+1, -1)$, `table[1, 0]` is $L(-1, +1)$, `table[1, 1]` is $L(-1, -1)$. (`math.erf` helps:
# the probability that a standard Gaussian is below $z$ is $\frac12(1 + \operatorname{erf}(z/\sqrt2))$.)

# %% tags=["exercise-2"]
import math


def gaussian_gradient(table, w, sigma):
    """The two derivatives of E L(sign(w + noise)), an array of shape (2,)."""
    ...


# %% tags=["check-2"]
def gaussian_blur(table, w, sigma):
    plus = [0.5 * (1 + math.erf(v / sigma / math.sqrt(2))) for v in w]
    first, second = ([p, 1 - p] for p in plus)
    return np.array(first) @ table @ np.array(second)


def examine_2(answer):
    rng = np.random.default_rng(6)
    for _ in range(20):
        table, w, sigma = rng.standard_normal((2, 2)), rng.standard_normal(2), rng.uniform(0.3, 2)
        truth = slopes(lambda w: gaussian_blur(table, w, sigma), w)
        fault = difference(answer(table.copy(), w.copy(), sigma), truth, 1e-6)
        if fault:
            return f"for w = {w.round(2)}, sigma = {sigma:.2f}, by finite differences: {fault}"


check(2, gaussian_gradient, examine_2)

# %% [markdown]
# **Exercise 3.** Write one step of SGD on latent weights, so that no weight dies: `dL_db` is the gradient for
# the signs, as the backward pass of the layer delivers it. Use the clip surrogate, and return the new latent
# weights.


# %% tags=["exercise-3"]
def latent_step(w, dL_db, rate):
    """The latent weights after the step, of the shape of w and dL_db, which may be any."""
    ...


# %% tags=["check-3"]
def examine_3(answer):
    rng = np.random.default_rng(7)
    for shape in ((50,), (8, 9)):
        w = rng.uniform(-1, 1, shape)
        for step in range(40):
            dL_db, before = rng.standard_normal(shape) + 0.5, w.copy()
            w = np.asarray(answer(w.copy(), dL_db.copy(), 0.2))
            if w.shape != shape:
                return f"for w of shape {shape} the result has shape {w.shape}"
            if np.abs(w).max() > 1:
                worst = w.flat[abs(w).argmax()]
                return f"after {step + 1} steps a weight is at {worst:.2f}, and dead"
            wrong = ~(abs(w - np.clip(before - 0.2 * dL_db, -1, 1)) < 1e-6)
            if wrong.any():
                i = tuple(np.argwhere(wrong)[0])
                return f"w = {before[i]:.3f} with dL_db = {dL_db[i]:.3f} and rate 0.2 became {w[i]:.3f}"


check(3, latent_step, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/functional/binarise.py`: `SignSTE` is this tutorial in forty lines, `XnorConv2d` a convolution with two
#   STEs (Eqs. 4.34 and 4.35). `bnas.nn.XnorConv2d` is the layer. `bnas` does not clip latent weights. Their
#   initial values are well inside $[-1, 1]$, and in a search weight decay and the loss $L_R$ of tutorial 4 draw
#   them back.
# * `bnas/gradcheck.py`: `check_gradients` and its argument `surrogate`; `bnas gradcheck` runs all of them.
# * Next: tutorial 4, how such layers are computed on bits; tutorial 5, a 1-bit CNN, with the flips counted.
# * Bengio, Léonard, Courville, *Estimating or propagating gradients through stochastic neurons* (2013, arXiv
#   1308.3432), where the name comes from; Courbariaux et al., *Binarized neural networks* (2016, 1602.02830),
#   clip and the clipping of latent weights; Liu et al., *Bi-Real Net* (2018, 1808.00278), the polynomial.
# * Yin et al. (2019, 1903.05662) and Shekhovtsov and Yanush (2020, 2006.06880) on what an STE estimates;
#   Helwegen et al., *Latent weights do not exist* (2019, 1906.02107), who see them as inertia; Nagel et al.
#   (2022, 2203.11086) on weights that oscillate.
