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
# # 7. The Parent
#
# A supernet of real weights that learns its own architecture: this is how differentiable search began, and in
# DCP-NAS it is the *Parent* of the 1-bit network to come. Here it learns, first in two dimensions, then on the
# digits, and we see what it likes too much.
#
# **You will be able to**
#
# * write a search as a bilevel problem, derive the gradients for $\alpha$ of first and second order, and say what
#   each of them leaves out;
# * run DARTS on the digits and see, in $\alpha$ and not in the accuracy, how operations without weights take over;
# * explain one reason why they may, test it, apply two remedies, and say what a few seeds can tell of them.
#
# **It assumes** tutorials 1 to 6.

# %%
import numpy as np
from exercises import check, difference

import bnas
import bnas.functional as F
from bnas.autodiff import grad
from bnas.config import SearchConfig
from bnas.plots import Figure
from bnas.search.darts import unrolled_gradient
from bnas.search.objectives import nas_loss
from bnas.search.paths import batch_statistics
from bnas.search.phases import SupervisedPhase
from bnas.search.strategies import new_search
from bnas.space.alpha import edge_entropies, mixing_weights
from bnas.space.operations import WEIGHTLESS

BLUE, ORANGE, GREEN, PINK, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"

# %% [markdown]
# ## Two problems, one inside the other
#
# Tutorial 6 ended with a supernet that has weights $w$ and architecture logits $\alpha$. What should they be? For
# a given architecture, the weights should be those that training finds. And the architecture should be one that,
# *after* its weights have been trained, does well on images they have not seen. That is one problem inside
# another, a *bilevel* problem:
#
# $$\min_\alpha\ L_\text{val}\big(w^*(\alpha), \alpha\big) \quad\text{where}\quad
#   w^*(\alpha) = \arg\min_w L_\text{train}(w, \alpha) .$$
#
# Both losses are the same function on different images (Eqs. 4.20, 4.21): $L_\text{NAS} = -\tilde f^P$, where
# $\tilde f^P$ is the mean over a batch of $\sum_n y_n \log p_n(w, \alpha)$, the log-likelihood of the labels $y$
# (and P is for Parent). So $L_\text{NAS}$ is cross-entropy. (The gradient of $\tilde f^P$ for $\alpha$ comes back
# in Eq. 4.29, and in tutorial 9.)
#
# *Why two sets of images?* On the images that $w$ has learned, the best architecture is the one that lets $w$
# learn them by heart. Only other images can object. (Mistake 1 shows it.)
#
# *Why alternate?* Each value of $w^*(\alpha)$ is a whole training. DARTS does not wait for it. It takes one step
# of $\alpha$ on validation images, then one step of $w$ on training images, and hopes that $w$ keeps up. The
# question is which gradient $\alpha$ should follow meanwhile.
#
# ## A problem one can draw
#
# The authors of DARTS give an example with one weight and one architecture parameter:
#
# $$L_\text{train} = (w - \alpha)^2, \qquad L_\text{val} = \alpha w - 2\alpha + 1 .$$
#
# The trained weight is $w^*(\alpha) = \alpha$. Put it in: $L_\text{val}(w^*(\alpha), \alpha) = (\alpha - 1)^2$. So
# the answer is $\alpha = w = 1$. The chain rule gives the gradient that leads there:
#
# $$\frac{d}{d\alpha} L_\text{val}\big(w^*(\alpha), \alpha\big) = \nabla_\alpha L_\text{val}
#   + \Big(\frac{\partial w^*}{\partial\alpha}\Big)^{\!\top} \nabla_w L_\text{val} .$$
#
# **First order** leaves out the second part: it acts as if $w$ were a constant. In our example it follows
# $\nabla_\alpha L_\text{val} = w - 2$, which is 0 at $w = 2$, and not at 1.
#
# **Second order** puts one step of training in the place of $w^*$, with a rate $\xi$ (xi):
# $w'(\alpha) = w - \xi \nabla_w L_\text{train}(w, \alpha)$. Its derivative is
# $\partial w'/\partial\alpha = -\xi\, \nabla^2_{w,\alpha} L_\text{train}$, so the chain rule makes
#
# $$\frac{d}{d\alpha} L_\text{val}(w'(\alpha), \alpha) = \nabla_\alpha L_\text{val}(w', \alpha)
#   - \xi\, \nabla^2_{\alpha,w} L_\text{train}(w, \alpha)\, v, \qquad v = \nabla_{w'} L_\text{val}(w', \alpha).$$
#
# The matrix $\nabla^2_{\alpha,w}$, the transpose of $\nabla^2_{w,\alpha}$, has a row for each entry of $\alpha$
# and a column for each weight. It is never formed, since only its product with $v$ is needed. That is how
# $\nabla_\alpha L_\text{train}$ changes as $w$ moves along $v$, a central difference (tutorial 2):
#
# $$\nabla^2_{\alpha,w} L_\text{train}\, v \approx \frac{\nabla_\alpha L_\text{train}(w + \epsilon v, \alpha)
#   - \nabla_\alpha L_\text{train}(w - \epsilon v, \alpha)}{2\epsilon}, \qquad
#   \epsilon = \frac{0.01}{\lVert v \rVert} .$$
#
# Four backward passes in all: one for $w'$, one for both gradients of $L_\text{val}$, two for the difference. With
# $\xi = 0$ it is the first order.


# %%
def train_alpha(a, w):
    return -2 * (w - a)  # ∂L_train/∂α


def train_weight(a, w):
    return 2 * (w - a)  # ∂L_train/∂w


def val(a, w):
    return a * w - 2 * a + 1


def second_order(a, w, xi, sign=-1):
    """dL_val(w'(α), α)/dα; its first order if xi = 0. (sign=+1 is for Mistake 2.)"""
    ahead = w - xi * train_weight(a, w)
    v = a  # ∂L_val/∂w
    eps = 0.01 / abs(v)
    product = (train_alpha(a, w + eps * v) - train_alpha(a, w - eps * v)) / (2 * eps)
    return ahead - 2 + sign * xi * product  # ∂L_val/∂α is w - 2


# %% [markdown]
# We compare it with the derivative of $L_\text{val}(w'(\alpha), \alpha)$ by a difference, and with the library.
# Its `unrolled_gradient` takes both losses as functions, $\alpha$, the weights and $\xi$, and last a function that
# makes $w'$ of the gradients, since an optimiser may have other steps than ours.

# %%
a, w, h = 2.0, -2.0, 1e-5
alpha, weight = (bnas.Tensor(np.array([value]), requires_grad=True) for value in (a, w))
for xi in (0.0, 0.1, 0.5):

    def unrolled(a):
        return val(a, w - xi * train_weight(a, w))

    library = unrolled_gradient(
        lambda: ((weight - alpha) ** 2).sum(),
        lambda: (alpha * weight - 2 * alpha + 1).sum(),
        alpha,
        [weight],
        xi,
        lambda gradients: [weight.data - xi * gradients[0]],
    )
    truth = (unrolled(a + h) - unrolled(a - h)) / (2 * h)
    print(
        f"xi {xi}: ours {second_order(a, w, xi):.6f}, differences {truth:.6f}, bnas {library[0]:.6f}"
    )

# %% [markdown]
# All three agree. Here a difference of gradients has no error but rounding, because $L_\text{train}$ is quadratic.
# Now walk: a step of $\alpha$, a step of $w$, and again.


# %%
def walk(xi, sign=-1, steps=150):
    a, w, path = 2.0, -2.0, []
    for _ in range(steps):
        path.append((a, w))
        a = a - 0.1 * second_order(a, w, xi, sign)
        w = w - 0.1 * train_weight(a, w)
    return np.array(path)


walks = {xi: walk(xi) for xi in (0.0, 0.1, 0.5)}
for xi, path in walks.items():
    print(f"xi {xi}: ends at α = {path[-1, 0]:.3f}; 2 / (1 + 2 xi) = {2 / (1 + 2 * xi):.3f}")

# %% tags=["picture"]
figure = Figure(figsize=(6.4, 4.4), layout="constrained")
ax = figure.subplots()
across, up = np.linspace(-0.2, 4.2, 60), np.linspace(-2.3, 3.2, 60)
height = val(*np.meshgrid(across, up))
style = {"colors": "#AAAAAA", "linewidths": 1, "linestyles": "solid"}
lines = ax.contour(across, up, height, levels=np.arange(-16, 6, 2), **style)
ax.clabel(lines, fontsize=8)
ax.plot(across, across, color=BLACK, linewidth=1.5, label=r"$w^*(\alpha)$, trained")
for (xi, path), color, dashes in zip(walks.items(), (ORANGE, GREEN, BLUE), ("--", "-.", "-")):
    ax.plot(*path.T, color=color, linestyle=dashes, linewidth=2, label=rf"$\xi$ = {xi}")
    ax.plot(*path[-1], "o", color=color, markersize=8)
ax.plot(1, 1, "*", mfc="none", mec=BLACK, markersize=26, label="the answer")
ax.set(xlabel=r"$\alpha$", ylabel="$w$", xlim=(-0.2, 4.2), ylim=(-2.3, 3.2))
ax.legend(loc="lower right", markerscale=0.6, framealpha=1, edgecolor="white")
figure

# %% [markdown]
# The grey lines are heights of $L_\text{val}$, the black one is where the weight is trained. All walks start at
# the bottom, and all end on the black line. But the dashed one, the first order, ends at $\alpha = 2$; the
# solid one, with $\xi = 0.5$, in the star; and $\xi = 0.1$ lies between them.
#
# Why? At rest $w = \alpha$, so $w' = w$, and the gradient is $(\alpha - 2) + 2\xi\alpha$. It vanishes at
# $\alpha = 2/(1 + 2\xi)$, as printed. One step of training is not $w^*$: $w'$ moves by $2\xi$ when $\alpha$ moves
# by 1, and $w^*$ moves by 1. At $\xi = \frac12$ the two are the same, because a quadratic of curvature 2 is
# solved by one step of $\frac12$. At a larger $\xi$ the walk would end left of the star. In a network nobody
# knows such a $\xi$; DARTS takes the learning rate of $w$. So the second order goes *part of the way* from the
# first order to the truth. (All of it is exercise 2.)
#
# ### With a mixed operation
#
# One that is not quadratic: three candidates in a mixed operation (Eq. 4.28), two of them with weights.
# (`grad(loss, wanted)` returns a gradient for each of the Tensors that are wanted, and touches no others.)

# %%
rng = np.random.default_rng(2)
sets = {name: (rng.standard_normal((20, 4)), rng.standard_normal((20, 4))) for name in "tv"}
start = [0.7 * rng.standard_normal(shape) for shape in ((3,), (4, 4), (4, 4))]


def problem(dtype):
    """(train loss, validation loss, alpha, weights), both losses as functions without arguments."""
    alpha, *weights = (bnas.Tensor(p.astype(dtype), requires_grad=True) for p in start)

    def loss(x, y):
        x, y = (bnas.Tensor(part.astype(dtype)) for part in (x, y))
        candidates = [x, x @ weights[0], F.tanh(x @ weights[1])]
        return ((F.mixed_sum(F.softmax(alpha, axis=0), candidates) - y) ** 2).mean()

    return lambda: loss(*sets["t"]), lambda: loss(*sets["v"]), alpha, weights


# %%
def ours(train, validation, alpha, weights, xi, c=0.01):
    """(direct part, product with the mixed derivatives) of the second order."""
    kept = [w.data for w in weights]

    def at(arrays, loss, wanted):
        for w, array in zip(weights, arrays):
            w.data = array.astype(w.dtype)
        return grad(loss(), wanted)

    ahead = [w - xi * g for w, g in zip(kept, at(kept, train, weights))]
    direct, *v = at(ahead, validation, [alpha, *weights])
    eps = c / np.sqrt(sum((part**2).sum() for part in v))
    forth, back = (
        at([w + e * part for w, part in zip(kept, v)], train, [alpha])[0] for e in (eps, -eps)
    )
    at(kept, train, [alpha])  # puts the weights back
    return direct, (forth - back) / (2 * eps)


# %%
train, validation, alpha, weights = problem(np.float64)
xi = 0.5


def after_a_step(logits):
    """L_val(w'(α), α), by a real step of the weights."""
    kept, alpha.data = [w.data for w in weights], logits
    for w, g in zip(weights, grad(train(), weights)):
        w.data = w.data - xi * g
    value = validation().item()
    for w, data in zip(weights, kept):
        w.data = data
    alpha.data = start[0]
    return value


# %%
steps = 1e-5 * np.eye(3)
truth = [(after_a_step(start[0] + e) - after_a_step(start[0] - e)) / 2e-5 for e in steps]
direct, product = ours(train, validation, alpha, weights, xi)


def next_weights(gradients):
    return [w.data - xi * g for w, g in zip(weights, gradients)]


library = unrolled_gradient(train, validation, alpha, weights, xi, next_weights)
print("first order ", grad(validation(), [alpha])[0].round(6))
print("second order", (direct - xi * product).round(6))
print("bnas        ", library.round(6))
print("differences ", np.array(truth).round(6))

# %% [markdown]
# Ours and the library's are the same, and both are the derivative of what a real step would bring. The first
# order has the same signs here, and other sizes.
#
# ## DARTS on the digits
#
# Now the same on a supernet: 512 digits for $w$, 173 others for $\alpha$, 4 channels, two nodes a cell, and all
# eight candidates. (The rate of $\alpha$ is five times the usual 0.01, because the search is so short.) `darts`
# makes a search, `run` runs it and keeps $\alpha$ after every epoch:

# %%
digits = bnas.data.load_dataset("digits", limit=512)
tiny = {"limit": 512, "channels": 4, "nodes": 2, "supernet_epochs": 6, "alpha_lr": 0.05}


class Quiet:
    """A report of progress that says nothing."""

    def step(self, label, loss, accuracy): ...

    def note(self, text): ...


def darts(**settings):
    return new_search(SearchConfig(strategy="darts", augment=False, **{**tiny, **settings}), digits)


def run(search, epochs=6):
    """The records of the epochs, and softmax(α) at the start and after each, (epochs + 1, 2, E, M)."""
    start = search.supernet.alpha.data.copy()
    records = [search.run_epoch(number, Quiet()) for number in range(epochs)]
    return records, mixing_weights(np.array([start, *(record["alpha"] for record in records)]))


# %% [markdown]
# What does the second order cost, and how far is it from the first? An epoch of it, then both on one batch:

# %%
second = darts(order=2)
records, _ = run(second, 1)
images, labels = digits.validation.images[:64], digits.validation.labels[:64]
with batch_statistics(second.supernet):  # the running statistics stay as they are
    two = second.phase.alpha_gradient(images, labels)[0]
    one = SupervisedPhase.alpha_gradient(second.phase, images, labels)[0]
cosine = (one * two).sum() / np.linalg.norm(one) / np.linalg.norm(two)
print(f"gradients in an epoch of {second.steps} steps: {records[0]['gradient_steps']}")
print(f"angle between both orders: {np.degrees(np.arccos(cosine)):.0f} degrees")

# %% [markdown]
# Four passes for $\alpha$ and one for $w$ make 40; with the first order it is one each, 16. The two point in
# different directions, but, on this batch, not in very different ones. The authors of DARTS found slightly better
# cells with the second order, at more than twice the time. We go on with the first, as the Parent of DCP-NAS does.
# A whole search:

# %%
search = darts()
names = search.config.operation_names
records, weights_of = run(search)
plain = search, records, weights_of  # for later
mean_weights = weights_of.mean(axis=2)  # (epochs + 1, 2, M), over the edges of a cell
print(f"gradients in an epoch of {search.steps} steps: {records[0]['gradient_steps']}")
print("accuracy, validation:", *(f"{record['validation_accuracy']:.0%}" for record in records))
print("normal cell:   ", *(name for name, _ in search.genotype().normal))
print("reduction cell:", *(name for name, _ in search.genotype().reduce))

# %%
styles = {
    "none": ("#999999", ":"),
    "skip_connect": (ORANGE, "-"),
    "dil_conv_3x3": (BLUE, ":"),
    "dil_conv_5x5": (BLUE, "-."),
    "max_pool_3x3": (PINK, "--"),
    "avg_pool_3x3": (PINK, "-"),
    "sep_conv_3x3": (BLUE, "-"),
    "sep_conv_5x5": (BLUE, "--"),
}
figure = Figure(figsize=(7.6, 3.4), layout="constrained")
axes = figure.subplots(1, 2, sharey=True)
for ax, kind, curves in zip(axes, ("normal cell", "reduction cell"), mean_weights.swapaxes(0, 1)):
    for name, curve in zip(names, curves.T):
        color, dashes = styles[name]
        ax.plot(curve, color=color, linestyle=dashes, linewidth=2, label=name)
    ax.axhline(1 / 8, color="#CCCCCC", linewidth=1, zorder=0)
    ax.set(xlabel="epochs", title=kind)
axes[0].set_ylabel("softmax(α), mean over the edges")
axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
figure

# %% [markdown]
# All begin at one eighth, the grey line. In the reduction cell, on the right, the two poolings (pink) rise at once
# and end with more than half of the weight, while all others end below the line. In the normal cell little is
# decided. In this run the skip (orange) leads there at the end; with another seed another may (put `darts(seed=1)`
# above).
#
# The two poolings and the skip have no weights to learn. (Only where it halves the image does a skip have some.)
# They began with three eighths of the weight of both cells, and end with about half. More than half of the eight
# operations kept are theirs, where a random genotype has 8 · 3/7 = 3.4 on average. Meanwhile the accuracy rises as
# if all were well. `bnas` calls it a *collapse* if they are more than three quarters of a genotype; here we see
# how one begins.
#
# In the literature it is the *skip* that takes over: on CIFAR-10, after many epochs, up to cells of nothing but
# skips. On our small images the poolings come first, and in the reduction cell. One mechanism would explain
# either, and can be drawn.
#
# ## Who is first
#
# An edge with two candidates: a skip, and a "convolution" of one weight $w$. The target is $1.5\,x$:
#
# $$y = s\,x + (1 - s)\,w\,x, \qquad s = \frac{1}{1 + e^{-\alpha}}, \qquad
#   L = \big(s + (1 - s)\,w - 1.5\big)^2 .$$
#
# The convolution alone can solve this, with $w = 1.5$. The skip alone cannot, and has $L = 0.25$. With $r$ for
# what is in the bracket, the gradients are
#
# $$\frac{\partial L}{\partial \alpha} = 2r\,(1 - w)\,s(1 - s), \qquad
#   \frac{\partial L}{\partial w} = 2r\,(1 - s) .$$
#
# Begin at $w = 0$, where the convolution knows nothing. Then $r < 0$: the output is too small. A larger $s$ helps
# *at once*, so $\alpha$ rises. That happens as long as $w < 1$, however good $w$ might become. And a larger $s$
# makes the factor $(1 - s)$ smaller, with which $w$ learns.


# %%
def output_error(alpha, w):
    s = 1 / (1 + np.exp(-alpha))
    return s, s + (1 - s) * w - 1.5


def race(alpha_rate, warmup=0, steps=400):
    """α and w in alternation; α rests for the first `warmup` steps."""
    alpha, w, path = 0.0, 0.0, [(0.0, 0.0)]
    for step in range(steps):
        if step >= warmup:
            s, r = output_error(alpha, w)
            alpha -= alpha_rate * 2 * r * (1 - w) * s * (1 - s)
        s, r = output_error(alpha, w)
        w -= 0.1 * 2 * r * (1 - s)
        path.append((alpha, w))
    return np.array(path)


# %%
races = {
    "α slow": race(0.2),
    "α fast": race(1.0),
    "α fast, after 10 steps of rest": race(1.0, warmup=10),
}
for name, path in (*races.items(), ("α fast, 1000 steps", race(1.0, steps=1000))):
    s, r = output_error(*path[-1])
    print(f"{name:31} skip weighs {s:.2f}, w = {path[-1, 1]:.2f}, L = {r**2:.3f}")

# %%
figure = Figure(figsize=(6.4, 4.2), layout="constrained")
ax = figure.subplots()
across, up = np.linspace(-2, 5.3, 80), np.linspace(-0.1, 3, 80)
s, r = output_error(*np.meshgrid(across, up))
ax.clabel(ax.contour(across, up, r**2, levels=[0.05, 0.2, 0.5, 1, 1.5], **style), fontsize=8)
s, r = output_error(across, 0)
ax.plot(across, -r / (1 - s), color=BLACK, linewidth=1.5, label="L = 0")
for (name, path), color, dashes in zip(races.items(), (BLUE, ORANGE, GREEN), ("-.", "-", "--")):
    ax.plot(*path.T, color=color, linestyle=dashes, linewidth=2.2, label=name)
    ax.plot(*path[-1], "o", color=color, markersize=8)
ax.axhline(1, color=BLACK, linewidth=1, linestyle=":", label="w = 1, where α turns")
ax.set(xlabel="α: left the convolution, right the skip", ylabel="w", ylim=(-0.1, 3))
ax.legend(loc="upper right", framealpha=1, edgecolor="white")
figure

# %% [markdown]
# On the black curve the mixture solves the task, with *any* share of the skip. So where a walk comes to rest on it
# is a question not of who is better but of who was faster. The orange walk is not there after 400 steps: $\alpha$
# ran ahead below the dotted line, the skip weighs 0.99, and $w$ learns with a hundredth of its rate. It is
# starved, not dead: the last line printed says that it arrives after all, within 1000 steps. But a search ends
# when its epochs are over, and keeps what leads then. Let $\alpha$ rest for ten steps first (green, straight up),
# and the walk crosses the dotted line early and turns to the left, to the convolution.
#
# It is a caricature: one edge, one weight, one loss for both, and rates chosen to show all three cases. What does
# it predict for the digits? Operations without weights should pull hardest while the convolutions know little, and
# less later, or even be pushed down, as the drawn skip is above the dotted line. So let the weights learn alone,
# for nine epochs, and look where $\alpha$ *would* go. All gradients shrink when the loss does. So we also print
# the pull of the poolings beside the size of an entry, the root of the mean of all squares.


# %%
def pull(supernet):
    """-∂L_val/∂α on all validation images, (2, E, M)."""
    with batch_statistics(supernet):  # batch norm as in training, without a trace of it
        loss = nas_loss(supernet(digits.validation.images), digits.validation.labels)
    return -grad(loss, [supernet.alpha])[0]


resting = darts(supernet_epochs=10, warmup=0.9)
pulls = [pull(resting.supernet)]
for number in range(9):
    resting.run_epoch(number, Quiet())
    pulls.append(pull(resting.supernet))
pulls = np.array(pulls)  # (10, 2, E, M)

# %%
poolings = [m for m, name in enumerate(names) if "pool" in name]
size = np.sqrt((pulls[:, 1] ** 2).mean(axis=(1, 2)))  # of an entry, in the reduction cell
relative = pulls[:, 1][..., poolings].mean(axis=(1, 2)) / size
print("reduction cell, pull of the poolings / size of an entry, by epoch:")
print(*(f"{value:.2f}" for value in relative))

# %%
convolutions = [m for m, name in enumerate(names) if "conv" in name]
skip = [names.index("skip_connect")]
figure = Figure(figsize=(6.9, 3.2), layout="constrained")
axes = figure.subplots(1, 2, sharey=True)
for k, (ax, kind) in enumerate(zip(axes, ("normal cell", "reduction cell"))):
    for name, chosen, mark in (
        ("poolings", poolings, "o-"),
        ("skip", skip, "s--"),
        ("convolutions", convolutions, "^-."),
    ):
        color, _ = styles[names[chosen[0]]]
        curve = 1000 * pulls[:, k][..., chosen].mean(axis=(1, 2))
        ax.plot(curve, mark, color=color, label=name)
    ax.axhline(0, color="#999999", linewidth=1)
    ax.set(xlabel="epochs of the weights alone", title=kind)
axes[0].set_ylabel(r"pull on $\alpha$, thousandths")
axes[1].legend(frameon=False)
figure

# %% [markdown]
# Above 0 an operation would gain weight. (Before the first step a pull tells nothing, as the classifier has
# learned nothing either.) In the reduction cell, on the right, the poolings are pulled up most after two epochs;
# then the pull falls to a third of that. So far the drawing is right. But most of this is plain shrinking: beside
# the size of an entry, in the printed line, the pull falls far less. And in nine epochs it does not turn, as it
# does in the drawing once $w > 1$. In the normal cell, on the left, all pulls are small.
#
# Why in the reduction cell, and why not the skip? Where the image is halved the skip has weights to learn, and is
# pushed down like the convolutions; only the poolings need none. That fits the drawing, but does not prove it.
# Pooling may just as well be a good way to halve an image of 8×8.
#
# ## Two remedies
#
# **Warm-up.** $\alpha$ rests until the convolutions know something. In `bnas` it is `warmup`, the share of the
# epochs.
#
# **A reward for entropy.** The loss of $\alpha$ becomes $L_\text{val} - W \sum_e H_e$ with the entropy
# $H_e = -\sum_m s_m \ln s_m$ of every edge, and $W$ falls to 0 over the search. As long as $W$ is large, whoever
# runs ahead is held back. In `bnas` it is `entropy`. (Its gradient is exercise 3.)
#
# Two seeds of each. We look at how much of the weight is on skips and poolings, three of the eight candidates:

# %%
free = [names.index(name) for name in WEIGHTLESS]


def summary(name, seed, search, records, weights_of):
    share = weights_of[..., free].sum(axis=-1).mean(axis=(1, 2))
    kept = [name for cell in search.genotype()[::2] for name, _ in cell]
    count = sum(names.index(name) in free for name in kept)
    entropy = edge_entropies(weights_of[-1]).mean()
    print(f"{name:8} seed {seed}: share by epoch", *(f"{value:.2f}" for value in share), end="; ")
    print(f"kept {count} of 8, entropy {entropy:.2f}")


runs = {"plain": {}, "warm-up": {"warmup": 0.5}, "entropy": {"entropy": 0.1}}
done = {("plain", 0): plain}
for name, settings in runs.items():
    for seed in (0, 1):
        if (name, seed) not in done:
            started = darts(seed=seed, **settings)
            done[name, seed] = started, *run(started)
        summary(name, seed, *done[name, seed])

# %% [markdown]
# Read the shares first. At the end both remedies have less on skips and poolings than the plain search of the same
# seed. Is that only because $\alpha$ moved less? With warm-up it moved in three epochs of six. But the plain
# searches had a larger share after *their* first three epochs already, so the late start matters, too. The entropy
# is at most $\ln 8 = 2.08$, where nothing is decided. With both remedies it is higher than without: all candidates
# are closer together. The reward holds back everyone who runs ahead, whether rightly or not.
#
# Now the counts of what is kept. They differ between seeds of the same search nearly as much as between the
# searches. That is tutorial 6's discretisation: it makes much of little.
#
# *What two seeds can tell:* that the options do what they say, and that the shares moved in the same direction
# both times. *What they cannot:* that either remedy keeps fewer poolings in general, or that the networks found
# are better. Two differences of the same sign come up in half of all cases where there is no difference at all.
# And poolings may be *right* on images of 8×8. How such a question is settled is the subject of tutorial 12.
#
# ## What goes wrong
#
# **Mistake 1: $\alpha$ and $w$ on the same images.** Two candidates, both linear: one sees the two features that
# matter, the other twenty that are noise. $s$ is the weight of the noise; the 0.01 in the code is a weight decay.


# %%
def sample(rng, n):
    useful, noise = rng.standard_normal((n, 2)), rng.standard_normal((n, 20))
    return useful, noise, useful.sum(axis=1) + rng.standard_normal(n)


def learn(train, other, steps=600):
    """(s, w for the useful, w for the noise); w learns on `train`, α on `other`."""
    alpha, w, u, n = 0.0, np.zeros(2), np.zeros(20), len(train[0])

    def residual(data):
        s = 1 / (1 + np.exp(-alpha))
        return s, (1 - s) * data[0] @ w + s * data[1] @ u - data[2]

    for _ in range(steps):
        s, r = residual(other)
        alpha -= 0.05 * 2 * s * (1 - s) * np.mean(r * (other[1] @ u - other[0] @ w))
        s, r = residual(train)
        w = w - 0.1 * ((1 - s) * train[0].T @ r / n + 0.01 * w)
        u = u - 0.1 * (s * train[1].T @ r / n + 0.01 * u)
    return s, w, u


# %%
for seed in (0, 1, 2):
    rng = np.random.default_rng(seed)
    train, held_out, unseen = (sample(rng, n) for n in (30, 30, 2000))
    for name, other in (("others", held_out), ("the same", train)):
        s, w, u = learn(train, other)
        seen, new = (np.mean(((1 - s) * x @ w + s * z @ u - y) ** 2) for x, z, y in (train, unseen))
        print(
            f"α on {name:8}: noise weighs {s:.2f}; error {seen:.2f} in training, {new:.2f} on new"
        )

# %% [markdown]
# With other samples the noise is all but switched off, and the error on new ones is near 1, the variance of what
# nobody can predict. On the same samples the noise keeps about half of the weight, as it helps to learn by heart.
# The symptom: the loss that $\alpha$ sees goes down with the training loss, while the error on new data is several
# times as large. Nothing else complains.
#
# **Mistake 2: the second order with a wrong sign, or a wrong step.** The sign is lost easily: $-\xi$ is in $w'$,
# and again in its derivative.

# %%
for xi in (0.1, 0.5):
    path = walk(xi, sign=+1)
    print(f"xi {xi}, + for -: α = {path[50, 0]:.2f} after 50 steps, {path[-1, 0]:.2f} after 150")

# %% [markdown]
# Now the second order goes *further* from the truth than the first, to $2/(1 - 2\xi)$; with $\xi = 0.5$ it never
# stops. The symptom: a larger $\xi$ makes things worse, and not better. The only safe test is the one from above,
# a difference of $L_\text{val}(w'(\alpha), \alpha)$.
#
# And the step $\epsilon = c/\lVert v\rVert$: how far off is the product with the mixed derivatives, for other $c$
# than 0.01, in both precisions?

# %%
exact = ours(*problem(np.float64), xi=0.5, c=5e-5)[1]
sizes = np.logspace(-7, 1, 17)
figure = Figure(figsize=(6.2, 3.2), layout="constrained")
ax = figure.subplots()
for dtype, color, dashes in ((np.float32, ORANGE, "o-"), (np.float64, BLUE, "s--")):
    found = [ours(*problem(dtype), xi=0.5, c=c)[1] for c in sizes]
    errors = np.linalg.norm(np.array(found) - exact, axis=1) / np.linalg.norm(exact)
    ax.loglog(sizes, errors, dashes, color=color, label=np.dtype(dtype).name)
ax.axvline(0.01, color="#999999", linewidth=1)
ax.text(0.012, 1e-7, "c = 0.01", color="#666666", fontsize=9)
ax.set(xlabel=r"$c$, the length of the step", ylabel="relative error of the product")
ax.legend(frameon=False)
figure

# %% [markdown]
# The V of tutorial 2. In float32, in which networks learn, steps of $10^{-6}$ are some per cent off by rounding,
# and steps of 10 by truncation; 0.01 is at the bottom. (The reference is float64's own, with a step at the bottom
# of *its* V.) One who forgets to divide by $\lVert v\rVert$, or does it twice, is somewhere else on this curve,
# and $\lVert v\rVert$ changes from step to step.
#
# **Mistake 3: reading a collapse off the validation accuracy.** The supernets of the last section:

# %%
for name in ("plain", "warm-up"):
    for seed in (0, 1):
        _, records, weights_of = done[name, seed]
        share = weights_of[-1][..., free].sum(axis=-1).mean()
        accuracies = " ".join(f"{record['validation_accuracy']:4.0%}" for record in records)
        print(f"{name:8} seed {seed}: {accuracies}; skips and poolings {share:.2f}")

# %% [markdown]
# The accuracy rises in every search, and is the higher in the two that lean more on skips and poolings. Why should
# it not? $\alpha$ goes where it helps the *mixture*, as well trained as it is at present. Of the network that will
# be cut out this says nothing. (In our drawing, too, the loss of the orange walk falls at every step.) The
# symptoms are elsewhere: in the weights by operation, in what the genotype keeps, in the entropy. Every history of
# `bnas` has $\alpha$ and the entropy of each epoch, and `bnas plot` draws them.
#
# ## Exercises
#
# **Exercise 1.** Unroll $k$ steps instead of one. Let $L_\text{train} = \frac12 w^\top A w - w^\top(B\alpha + c)$
# with a symmetric $A$, so that its gradient for $w$ is $Aw - B\alpha - c$. Return the exact gradient of
# $L_\text{val}(w_k(\alpha), \alpha)$, where $w_k$ is what $k$ steps with the rate $\xi$ make of $w$.
# (Follow $w$ *and* its derivative for $\alpha$.)


# %% tags=["exercise-1"]
def unrolled_k(alpha, w, A, B, c, xi, k, val_alpha, val_w):
    """alpha (K,), w (n,), A (n, n), B (n, K), c (n,) -> (K,).

    val_alpha(w, alpha) (K,) and val_w(w, alpha) (n,) are the partial gradients of L_val.
    """
    ...


# %% tags=["check-1"]
def examine_1(answer):
    rng = np.random.default_rng(11)
    for n, K, k in ((1, 1, 1), (4, 3, 1), (3, 5, 7), (6, 2, 30)):
        root, B, M = (rng.standard_normal(shape) for shape in ((n, n), (n, K), (n, K)))
        A, c, w, alpha = root @ root.T / n + np.eye(n), *rng.standard_normal((2, n)), np.ones(K)

        def value(a):
            now = w
            for _ in range(k):
                now = now - 0.1 * (A @ now - B @ a - c)
            return now @ M @ a + (now**2).sum()

        partial = (lambda v, a: M.T @ v), (lambda v, a: M @ a + 2 * v)
        h = 1e-5 * np.eye(K)
        truth = [(value(alpha + e) - value(alpha - e)) / 2e-5 for e in h]
        fault = difference(answer(alpha.copy(), w.copy(), A, B, c, 0.1, k, *partial), truth, 1e-6)
        if fault:
            return f"n = {n}, K = {K}, k = {k}, by differences: {fault}"


check(1, unrolled_k, examine_1)

# %% [markdown]
# **Exercise 2.** And all the way: with the same $L_\text{train}$, return the gradient of
# $L_\text{val}(w^*(\alpha), \alpha)$. At $w^*$ the gradient $A w^* - B\alpha - c$ is 0 for every $\alpha$;
# differentiate that. (Compare it with exercise 1 for $k = 1$: what does one step put in the place of $A^{-1}$?)


# %% tags=["exercise-2"]
def at_the_optimum(alpha, A, B, c, val_alpha, val_w):
    """Shapes and functions as in exercise 1 -> (K,)."""
    ...


# %% tags=["check-2"]
def examine_2(answer):
    rng = np.random.default_rng(12)
    for n, K in ((1, 1), (4, 3), (3, 6)):
        root, B, M = (rng.standard_normal(shape) for shape in ((n, n), (n, K), (n, K)))
        A, c, alpha = root @ root.T / n + np.eye(n), rng.standard_normal(n), np.ones(K)

        def value(a):
            best = np.linalg.solve(A, B @ a + c)
            return best @ M @ a + (best**2).sum()

        partial = (lambda v, a: M.T @ v), (lambda v, a: M @ a + 2 * v)
        h = 1e-5 * np.eye(K)
        truth = [(value(alpha + e) - value(alpha - e)) / 2e-5 for e in h]
        fault = difference(answer(alpha.copy(), A, B, c, *partial), truth, 1e-6)
        if fault:
            return f"n = {n}, K = {K}, by differences: {fault}"


check(2, at_the_optimum, examine_2)

# %% [markdown]
# **Exercise 3.** Derive and write the gradient for $\alpha$ of the remedy's term,
# $-W \sum_e H_e$ with $H_e = -\sum_m s_{e,m} \ln s_{e,m}$ and $s_e = \operatorname{softmax}(\alpha_e)$.


# %% tags=["exercise-3"]
def entropy_term(alpha, W):
    """alpha (E, M) -> (E, M)."""
    ...


# %% tags=["check-3"]
def examine_3(answer):
    rng = np.random.default_rng(13)
    for E, M, W in ((1, 2, 1.0), (5, 8, 0.1), (3, 4, -2.0)):
        alpha = 2 * rng.standard_normal((E, M))

        def value(a):
            return -W * edge_entropies(mixing_weights(a)).sum()

        truth, h = np.empty((E, M)), np.zeros((E, M))
        for at in np.ndindex(E, M):
            h[at] = 1e-5
            truth[at] = (value(alpha + h) - value(alpha - h)) / 2e-5
            h[at] = 0
        fault = difference(answer(alpha.copy(), W), truth, 1e-6)
        if fault:
            return f"E = {E}, M = {M}, W = {W}, by differences: {fault}"


check(3, entropy_term, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/search/darts.py`: `unrolled_gradient`, `DartsSearch`. `bnas/search/phases.py`: `Phase.run_epoch`, the
#   alternation, and `SupervisedPhase`, the Parent. `bnas/search/objectives.py`: `nas_loss`, Eq. 4.21.
# * `bnas/search/remedies.py` (`entropy_gradient`, `too_many_skips`, `perturbation_selection`) and
#   `bnas/search/epochs.py` (`PhasedSearch.rests`, the warm-up). `docs/strategies.md`, *Remedies for collapse*, has
#   the others, and tables over five seeds.
# * Try `bnas search RUN --strategy darts --order 2`, then `bnas plot RUN`.
# * Next: tutorial 8, where a Parent supervises a 1-bit Child.
# * Liu, Simonyan, Yang, *DARTS* (2019, arXiv 1806.09055), whose figure 2 is our first drawing; Zela et al.,
#   *RobustDARTS* (2020, 1909.09656), and Liang et al., *DARTS+* (2019, 1909.06035), on the collapse; Chen et al.,
#   *P-DARTS* (2019, 1904.12760), and Xu et al., *PC-DARTS* (2020, 1907.05737), on deeper and cheaper searches;
#   Wang et al. (2021, 2108.04392) on a reason for skips that holds in a well trained supernet, too.
