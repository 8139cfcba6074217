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
# # 9. Tangent propagation
#
# In tutorial 8 the 1-bit Child learned from the predictions of its real-valued Parent. DCP-NAS hands over one
# thing more: the direction in which the Parent's architecture was going. This tutorial derives how that enters
# the gradient, and measures how well it does.
#
# **You will be able to**
#
# * say what the tangent direction $t$ and the distance $D$ are, and why the book's Eq. 4.29 cannot be meant as
#   it is printed;
# * derive the gradient of $D$, with the right sign of the curvature, and recognise the wrong one in a run;
# * multiply with a Fisher matrix, a Gauss-Newton matrix and a Hessian without forming any of them, and tell what
#   each is worth.
#
# **It assumes** tutorials 1 to 8.

# %%
import tracemalloc

import numpy as np
from exercises import check, difference

import bnas
import bnas.functional as F
from bnas import nn
from bnas.config import SearchConfig
from bnas.plots import Figure
from bnas.runs import Silent  # a report of progress that says nothing
from bnas.search import tangent
from bnas.search.dcp import Search
from bnas.search.objectives import kl_to_teacher, nas_loss, teacher_probabilities

BLUE, ORANGE, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"

# %% [markdown]
# ## A model small enough to differentiate by hand
#
# A supernet maps its architecture parameters $\alpha$ to logits. For a start take one without signs, batch norm
# or convolutions: two layers, each a mixture of three candidates weighted by $s = \operatorname{softmax}(\alpha)$
# (Eq. 4.28). So $\alpha$ has the shape $(2, 3)$. There are $B = 6$ samples and $N = 4$ classes.

# %%
B, N, WIDTH = 6, 4, 5
rng = np.random.default_rng(1)
x, labels = rng.standard_normal((B, WIDTH)), rng.integers(0, N, B)
child_weights = 0.8 * rng.standard_normal((3, WIDTH, WIDTH)), rng.standard_normal((3, WIDTH, N))
alpha0 = rng.standard_normal((2, 3))


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def candidates(alpha, weights):
    """Outputs of the candidates of both layers, (3, B, WIDTH) and (3, B, N)."""
    first = np.tanh(x @ weights[0])
    return first, np.tanh(np.tensordot(softmax(alpha)[0], first, 1) @ weights[1])


def logits(alpha, weights):
    return np.tensordot(softmax(alpha)[1], candidates(alpha, weights)[1], 1)


# %% [markdown]
# All that follows is made of one backward pass that keeps the samples apart. For a *cotangent* $\dot z_b$, a
# gradient for the logits of sample $b$, it returns $J_b^\top \dot z_b$ with
# $J_b = \partial z_b / \partial \alpha$:


# %%
def pull_back(alpha, weights, cotangent):
    """J_b^T cotangent_b for every sample: (B, N) -> (B, 2, 3)."""
    s, (first, second) = softmax(alpha), candidates(alpha, weights)
    # for the first layer's mixture, through tanh and weights of the second
    dh = np.einsum("m,mbn,mhn->bh", s[1], cotangent * (1 - second**2), weights[1])
    # for s: <gradient, candidate>, in both layers (tutorial 6)
    ds = np.einsum("mbh,bh->bm", first, dh), np.einsum("mbn,bn->bm", second, cotangent)
    ds = np.stack(ds, axis=1)
    # for alpha, through the softmax: s_m (ds_m - sum_k s_k ds_k)
    return s * (ds - (s * ds).sum(axis=-1, keepdims=True))


def slopes(f, at, h=1e-5):
    """The gradient of f: array -> number by central differences (tutorial 2)."""
    steps = h * np.eye(at.size).reshape(-1, *at.shape)
    return np.array([(f(at + e) - f(at - e)) / (2 * h) for e in steps]).reshape(at.shape)


cotangent = rng.standard_normal((B, N))
found = pull_back(alpha0, child_weights, cotangent).sum(axis=0)
truth = slopes(lambda a: (cotangent * logits(a, child_weights)).sum(), alpha0)
print(f"largest difference {abs(found - truth).max():.1e}")

# %% [markdown]
# The backward pass is right.
#
# ## The tangent direction, and an equation that is zero
#
# The Parent is trained on its log-likelihood
#
# $$\tilde f^P(w, \alpha) = \frac1B \sum_b \sum_n y_{bn} \log p_{bn}(w, \alpha) \qquad (4.21)$$
#
# with one-hot labels $y$. When its phase ends, $\alpha$ still has somewhere to go. That is the tangent direction
# $t = \partial \tilde f^P / \partial \alpha$. The book prints it as
#
# $$t = \sum_n \frac{\partial p_n}{\partial \alpha} . \qquad (4.29)$$
#
# Exchange sum and derivative. The probabilities of a sample sum to one whatever $\alpha$ is, so
#
# $$\sum_n \frac{\partial p_n}{\partial \alpha} = \frac{\partial}{\partial\alpha} \sum_n p_n
#   = \frac{\partial\, 1}{\partial\alpha} = 0 .$$
#
# What must be meant is the gradient of Eq. 4.21. As $\log p_n = z_n - \log\sum_k e^{z_k}$,
#
# $$t = \frac1B \sum_b \sum_n y_{bn} \frac{\partial \log p_{bn}}{\partial \alpha}
#     = \frac1B \sum_b J_b^\top (y_b - p_b) .$$
#
# For the derivatives of the probabilities themselves, $\partial p_n / \partial z = p_n (e_n - p)$, where $e_n$
# has a 1 at $n$. Take as the Parent a model whose weights are near those of the Child:

# %%
changes = [rng.standard_normal(w.shape) for w in child_weights]
onehot = np.eye(N)


def parent_weights(distance):
    return [w + distance * change for w, change in zip(child_weights, changes)]


def parent(distance):
    """(p, t) of a Parent whose weights are so far from those of the Child."""
    weights = parent_weights(distance)
    p = softmax(logits(alpha0, weights))
    return p, pull_back(alpha0, weights, onehot[labels] - p).mean(axis=0)


p, t = parent(0.3)
each = [
    pull_back(alpha0, parent_weights(0.3), p[:, n : n + 1] * (onehot[n] - p)).mean(axis=0)
    for n in range(N)
]
print("norm of each dp_n/dalpha ", *(f"{np.linalg.norm(part):.4f}" for part in each))
print(f"norm of their sum         {np.linalg.norm(sum(each)):.1e}")
print(f"norm of t                 {np.linalg.norm(t):.4f}")

# %% [markdown]
# Four derivatives of ordinary size (means over the samples) cancel to rounding. Only the labels, which weigh the
# classes unequally, leave something over. Whoever implements Eq. 4.29 to the letter gets a $t$ of rounding errors,
# and a search that runs without complaint.
#
# ## The Child, G and D
#
# The Child is drawn to the Parent's predictions by
#
# $$G(\hat\alpha) = -\mathrm{KL}(p \,\|\, \hat p) = \frac1B \sum_{b,n} p_{bn} \log \frac{\hat p_{bn}}{p_{bn}}
#   \qquad (4.30)$$
#
# where $p$ is a constant. Its gradient is
# $g = \partial G / \partial \hat\alpha = \frac1B \sum_b J_b^\top (p_b - \hat p_b)$, the same formula as for $t$,
# with the Parent's probabilities in the place of labels. Tangent propagation wants the Child to be drawn where the
# Parent was going, so $g$ shall be close to $t$:
#
# $$D(\hat\alpha) = \lVert g - t \rVert^2 \quad (4.31), \qquad
#   L = -G + \lambda D + \mu L_R \quad (4.32).$$
#
# $L_R$ of tutorial 4 does not depend on $\hat\alpha$; we leave it out here.


# %%
def G(alpha, p):
    return (p * np.log(softmax(logits(alpha, child_weights)) / p)).sum() / B


def sample_gradients(alpha, p):
    """g_b = J_b^T (p_b - q_b), (B, 2, 3), q = p̂ of the Child; their mean is g."""
    q = softmax(logits(alpha, child_weights))
    return pull_back(alpha, child_weights, p - q)


def gradient(alpha, p):
    return sample_gradients(alpha, p).mean(axis=0)


def D(alpha, p, t):
    return ((gradient(alpha, p) - t) ** 2).sum()


g = gradient(alpha0, p)
print(f"G = {G(alpha0, p):.4f}, D = {D(alpha0, p, t):.5f}")
print(f"g by differences of G: {abs(g - slopes(lambda a: G(a, p), alpha0)).max():.1e} apart")

# %% [markdown]
# ## Figure 4.10, from real networks
#
# The book's figure 4.10 sketches two landscapes over the architecture, that of the real network and that of the
# 1-bit one, whose optima lie apart, and the tangent. We can draw it from networks. Train a small Parent on the
# digits for three epochs, let the Child inherit, and train the Child's weights for three epochs at the same
# $\alpha$. (`Search` is DCP-NAS, algorithm 10 of the book; we call some of its steps by hand.)


# %%
config = SearchConfig(channels=4, nodes=2, rounds=1, parent_epochs=3, child_epochs=3, augment=False)
digits = bnas.data.load_dataset("digits")
search = Search(config, digits)
for epoch in range(config.parent_epochs):
    search.run_epoch(epoch, Silent())
search.inherit()
phase = search.train_child(config.child_epochs)
phase.alpha_rests = True  # the weights alone
for epoch in range(config.child_epochs):
    phase.run_epoch(epoch, digits, None, np.random.default_rng(epoch), "", Silent())

# %% [markdown]
# Now $\alpha$ has $2 \times 5 \times 8 = 80$ entries. A plane through it is spanned by two directions, and the
# two that matter are $t$ and $g$. The first axis is $t$, the second the part of $g$ at right angles to it.

# %%
images, targets = digits.validation.images[:128], digits.validation.labels[:128]
start = search.parent.alpha.data.copy()
digits_t = tangent.tangent_direction(search.parent, [(images, targets)])
digits_p = teacher_probabilities(search.parent, images)


def child(alpha):
    return search.child(images, alpha)


for weight in search.child.weight_parameters():  # only α̂ is to be differentiated from here on
    weight.requires_grad = False
result = tangent.tangent_gradient(child, start, digits_p, digits_t, lam=0.0)
digits_g = result.g
axis1 = digits_t / np.linalg.norm(digits_t)
axis2 = digits_g - (digits_g * axis1).sum() * axis1
axis2 /= np.linalg.norm(axis2)
print(
    f"|t| = {np.linalg.norm(digits_t):.3f}, |g| = {np.linalg.norm(digits_g):.3f}, D = {result.D:.4f}"
)
print(f"angle between g and t: {tangent.angle(digits_g, digits_t):.0f} degrees")


# %%
across, up = np.float32(np.linspace(-3, 3, 9)), np.float32(np.linspace(-2, 6, 9))
f_parent, G_child = np.empty((2, 9, 9))
with bnas.no_grad():
    for i, j in np.ndindex(9, 9):
        point = bnas.Tensor(start + across[j] * axis1 + up[i] * axis2)
        with nn.evaluating(search.parent):
            f_parent[i, j] = -nas_loss(search.parent(images, point), targets).item()
        G_child[i, j] = -kl_to_teacher(child(point), digits_p).item()


# %%
def descend_child(lam, steps=25):
    """α̂ in the plane over 25 steps of Adam, all 80 entries free, and the last D and angle."""
    alpha = nn.Parameter(start.copy())
    adam, path = bnas.optim.Adam([alpha], lr=0.15), []
    for _ in range(steps):
        moved = alpha.data - start
        path.append(((moved * axis1).sum(), (moved * axis2).sum()))
        step = tangent.tangent_gradient(child, alpha.data, digits_p, digits_t, lam)
        alpha.grad = step.gradient
        adam.step()
    print(
        f"lambda {lam:3}: G {step.G:.3f}  D {step.D:.4f}  angle {tangent.angle(step.g, digits_t):.0f}"
    )
    return np.array(path)


paths = {lam: descend_child(lam) for lam in (0, 30)}

# %% tags=["picture"]
figure = Figure(figsize=(6.9, 3.9), layout="constrained")
axes = figure.subplots(1, 2, sharey=True)
for ax, height, title in zip(
    axes, (f_parent, G_child), (r"$\tilde{f}$ of the Parent", "$G$ of the Child")
):
    ax.contourf(across, up, height, levels=18, cmap="Greys_r")
    i, j = np.unravel_index(height.argmax(), height.shape)
    ax.plot(across[j], up[i], "*", color=ORANGE, markersize=14, label="best on the grid")
    ax.set(title=title, xlabel="along $t$", aspect="equal")
for ax in axes:
    style = {"scale": 1, "scale_units": "xy", "angles": "xy", "width": 0.014, "zorder": 3}
    ax.quiver(0, 0, 1.4, 0, color=BLUE, label="direction of $t$", **style)
towards = [(digits_g * axis).sum() / np.linalg.norm(digits_g) * 1.4 for axis in (axis1, axis2)]
axes[1].quiver(0, 0, *towards, color=GREEN, label="direction of $g$", **style)
for (lam, path), dashes in zip(paths.items(), ("-", "--")):
    axes[1].plot(*path.T, color=BLACK, linestyle=dashes, label=rf"descent, $\lambda$ = {lam}")
axes[0].set_ylabel(r"along the rest of $g$")
figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
figure

# %% [markdown]
# Light is high. The Parent stands near its optimum in this plane (the star in the left panel): the little that is
# left to gain lies along $t$. The same $\alpha$, the origin, is not the best place for the Child, whose optimum lies
# elsewhere. That is the discrepancy in the name DCP-NAS, *Discrepant Child-Parent*. The black lines are descents,
# projected into the plane. (All 80 entries move, so they leave the plane, and the height at a point of them is not
# the one drawn.) The first steps of the solid line follow $g$. The dashed one, with $\lambda = 30$, bends to the
# left, *against* $t$. That looks odd, and is right: $D$ asks for a $g$ that points along $t$, and on a hill the
# slope points along $t$ only as long as the top is still ahead in that direction. The printed lines tell what is
# gained, a smaller $D$ and angle, and the price, a lower $G$. Keep this in mind; a small $D$ is not the same as a
# good Child.
#
# ## The gradient of D, and its sign
#
# By the chain rule, with $H = \partial^2 G / \partial \hat\alpha^2 = \partial g/\partial\hat\alpha$, which is
# symmetric,
#
# $$\frac{\partial D}{\partial \hat\alpha} = 2 H (g - t), \qquad
#   \frac{\partial L}{\partial \hat\alpha} = -g + 2 \lambda H (g - t) . \qquad (4.33)$$
#
# What is $H$? Differentiate $g = \frac1B \sum_b J_b^\top (p_b - \hat p_b)$ once more, by the product rule. Since
# $\partial \hat p / \partial z = \operatorname{diag}\hat p - \hat p \hat p^\top$,
#
# $$H = -\underbrace{\frac1B \sum_b J_b^\top (\operatorname{diag}\hat p_b - \hat p_b \hat p_b^\top) J_b}_{F}
#   \;+\; \frac1B \sum_{b,n} (p_{bn} - \hat p_{bn}) \frac{\partial^2 z_{bn}}{\partial \hat\alpha^2} .$$
#
# The second sum vanishes where the Child predicts what the Parent does. And $F$ is positive semi-definite: for
# any vector $u$, $u^\top (\operatorname{diag}\hat p - \hat p \hat p^\top) u$ is the *variance* of $u_n$ when $n$
# is drawn from $\hat p$. So $H \approx -F$, which is *negative* semi-definite. That is no surprise: $G$ is minus
# a KL divergence, and has a maximum where the two agree. The gradient to use is
#
# $$-g - 2 \lambda F (g - t) .$$


# %%
def hessian(alpha, p):
    """H by differences of g, (6, 6)."""
    rows = [slopes(lambda a: gradient(a, p)[i], alpha).ravel() for i in np.ndindex(2, 3)]
    return np.array(rows)


for distance in (0.0, 0.3, 1.0, 3.0):
    near, _ = parent(distance)
    values = np.linalg.eigvalsh(hessian(alpha0, near))
    print(
        f"KL {abs(G(alpha0, near)):.3f}: eigenvalues of H", *(f"{value:8.4f}" for value in values)
    )

# %% [markdown]
# Where the Parent is the Child's twin (first row) no eigenvalue is positive. Two are always 0, because adding a
# constant to a row of $\alpha$ changes nothing. Far from the optimum some eigenvalue can be positive, where the
# second sum of $H$ wins.
#
# The sign matters. Here are three descents on $-G + \lambda D$ with $\lambda = 20$: with the true gradient, with
# $-F$ for $H$, and with the sign that is so easily written, $+F$.


# %%
def gauss_newton(alpha, v):
    """F v, from the Jacobian of every sample."""
    q = softmax(logits(alpha, child_weights))
    rows = [pull_back(alpha, child_weights, np.tile(e, (B, 1))) for e in onehot]
    J = np.stack(rows, axis=1).reshape(B, N, -1)
    u = J @ v.ravel()  # (B, N)
    u = q * (u - (q * u).sum(axis=1, keepdims=True))
    return np.einsum("bni,bn->i", J, u).reshape(v.shape) / B


def descend(curved, lam=20, rate=0.3, steps=150):
    """D over a descent; curved(alpha, v) stands for H v."""
    alpha, distances = alpha0, []
    for _ in range(steps):
        distances.append(D(alpha, p, t))
        g = gradient(alpha, p)
        alpha = alpha - rate * (-g + 2 * lam * curved(alpha, g - t))
    return distances


runs = {
    "true H": descend(lambda a, v: (hessian(a, p) @ v.ravel()).reshape(v.shape)),
    "H ≈ −F": descend(lambda a, v: -gauss_newton(a, v)),
    "H ≈ +F, wrong": descend(gauss_newton),
}

# %%
figure = Figure(figsize=(6.2, 3.2), layout="constrained")
ax = figure.subplots()
for (name, distances), color, dashes in zip(runs.items(), (BLACK, BLUE, ORANGE), ("-", "--", "-.")):
    ax.semilogy(distances, color=color, linestyle=dashes, label=name)
    print(f"{name:14} D from {distances[0]:.5f} to {distances[-1]:.5f}")
ax.set(xlabel="step", ylabel="$D$ (logarithmic)")
ax.legend(frameon=False)
figure

# %% [markdown]
# With the true curvature and with $-F$ the distance falls to a third. With $+F$ the Child runs *away* from the
# tangent, and stays further from it than it was at the beginning. No error is raised, and $G$ falls in all three
# runs, as $\lambda$ is large. Only $D$ and the angle between $g$ and $t$ can tell.
#
# ## Three products with a curvature
#
# The matrix itself is never needed, only its product with one vector $v = 2(g - t)$. ($F$ is known as the
# *generalised Gauss-Newton matrix*.) Three candidates, with the name that each has in `bnas`:
#
# | name | product with $v$ | extra cost |
# |---|---|---|
# | `fisher` | $\frac1B \sum_b g_b (g_b^\top v)$ | none: the $g_b$ are there |
# | `ggn` | $F v$ as above | $N$ backward passes |
# | `hvp` | $\big(g(\hat\alpha - \epsilon v) - g(\hat\alpha + \epsilon v)\big) / 2\epsilon = -Hv$ | 2 gradients |
#
# The first is the one of the book (Eqs. 4.36-4.41). Its reason: for a label $n$ *drawn from $\hat p$*, the
# gradient of $\log \hat p_n$ is $J^\top (e_n - \hat p)$, and its mean square is
#
# $$\mathbb E_n\, J^\top (e_n - \hat p)(e_n - \hat p)^\top J
#   = J^\top (\operatorname{diag}\hat p - \hat p \hat p^\top) J ,$$
#
# which is $F$: a product of first derivatives has replaced second ones. (The mean on the left is the *Fisher
# matrix* of the model. For a softmax it and the Gauss-Newton matrix are one.) But the
# $g_b = J_b^\top (p_b - \hat p_b)$ of the Child are made with the Parent's *soft* targets $p_b$ and not with drawn
# labels. Where the Child agrees with its Parent, every $g_b$ is 0, and so is their product, while $F$ is not. Let
# us see how much that costs.


# %%
def fisher(alpha, p, v):
    g_b = sample_gradients(alpha, p)
    return np.einsum("bij,b->ij", g_b, (g_b * v).sum(axis=(1, 2))) / B


def hvp(alpha, p, v, epsilon=1e-5):
    return -(gradient(alpha + epsilon * v, p) - gradient(alpha - epsilon * v, p)) / (2 * epsilon)


def products(p, v):
    return {
        "fisher": fisher(alpha0, p, v),
        "ggn": gauss_newton(alpha0, v),
        "hvp": hvp(alpha0, p, v),
    }


# %%
measured = []
for distance in (0.05, 0.1, 0.3, 1.0, 2.0, 4.0):
    p_far, t_far = parent(distance)
    truth = slopes(lambda a: D(a, p_far, t_far), alpha0)
    print(f"KL {-G(alpha0, p_far):.4f}:", end="")
    for name, Fv in products(p_far, 2 * (gradient(alpha0, p_far) - t_far)).items():
        degrees = tangent.angle(-Fv, truth)
        length = np.linalg.norm(Fv) / np.linalg.norm(truth)
        measured.append((name, -G(alpha0, p_far), degrees, length))
        print(f"   {name} {degrees:5.1f}°, length {length:.2g}", end="")
    print()

# %%
figure = Figure(figsize=(6.9, 3.3), layout="constrained")
left, right = figure.subplots(1, 2)
for name, color, marker in (("fisher", ORANGE, "o"), ("ggn", BLUE, "s"), ("hvp", BLACK, "^")):
    divergence, degrees, length = zip(*[row[1:] for row in measured if row[0] == name])
    left.semilogx(divergence, degrees, color=color, marker=marker, label=name)
    right.loglog(divergence, length, color=color, marker=marker)
left.set(xlabel=r"KL$(p\,\|\,\hat p)$", ylabel="angle to the true gradient, degrees")
right.set(xlabel=r"KL$(p\,\|\,\hat p)$", ylabel="length relative to the true one")
left.legend(frameon=False)
figure

# %% [markdown]
# `hvp` is the truth up to rounding. `ggn` is right near the optimum and drifts off with the distance, as the
# formula of $H$ said: what it lacks is the second sum. `fisher` stays some 30 degrees off the truth, so it goes
# downhill on $D$; but it is far too short near the optimum. In effect it makes $\lambda$ smaller the better the
# Child has learned. At the last point, the Parent farthest from the Child, both are more than 90 degrees off:
# there they go *uphill* on $D$. We have seen why: far from the optimum $H$ has a positive eigenvalue, and no
# $-F$ can have one.
#
# The library's products are the same numbers. A model for `bnas.search.tangent` is a function from $\alpha$ to
# logits that also accepts a copy of $\alpha$ for every sample, (B, 2, 3); the gradient of that copy keeps the
# samples apart, as our `pull_back` does.


# %%
def model(alpha):
    s, (first, second) = F.softmax(alpha, axis=-1), child_weights
    h = F.mixed_sum(s[..., 0, :], [F.tanh(F.matmul(bnas.Tensor(x), w)) for w in first])
    return F.mixed_sum(s[..., 1, :], [F.tanh(F.matmul(h, w)) for w in second])


ours = products(p, 2 * (gradient(alpha0, p) - t))
for name, Fv in ours.items():
    theirs = tangent.tangent_gradient(model, alpha0, bnas.Tensor(p), t, 3.0, curvature=name)
    expected = -gradient(alpha0, p) - 3.0 * Fv
    error = np.linalg.norm(theirs.gradient - expected) / np.linalg.norm(expected)
    print(f"{name:7} relative difference {error:.1e}; D {theirs.D:.6f} and {D(alpha0, p, t):.6f}")

# %% [markdown]
# ## What goes wrong
#
# **Mistake 1: the method for smooth functions is trusted on a 1-bit network.** Back to the Child on the digits.
# When its $\hat\alpha$ moves, the inputs of its 1-bit convolutions change sign. $D$ is then full of little steps.
# Take its slope along $g - t$ with smaller and smaller differences, which by tutorial 2 converge for a smooth
# function:

# %%
along = (digits_g - digits_t) / np.linalg.norm(digits_g - digits_t)


def digits_D(alpha):
    return tangent.tangent_gradient(child, alpha, digits_p, digits_t, 0.0).D


for h in np.float32([0.3, 0.1, 0.03, 0.01, 0.003]):
    slope = (digits_D(start + h * along) - digits_D(start - h * along)) / (2 * h)
    print(f"step {h:5.3f}: slope {slope:7.4f}")
found = tangent.tangent_gradient(child, start, digits_p, digits_t, 1.0)
pull = found.gradient + found.g  # what D adds
print(f"fisher says  {(pull * along).sum():7.4f}")

# %% [markdown]
# They do not converge: the smallest steps give slopes many times as large as the largest step does, and in some
# runs with another sign. There is no truth for the three to agree with: `hvp`, exact on a smooth model, takes a
# very short step and measures the jumps. That speaks for `fisher`, the default in `bnas`, which is cheap and made
# of first derivatives only; and it is why its direction should be called a heuristic on a 1-bit Child.
#
# **Mistake 2: $\lambda$ is too small to matter, and $D$ is credited anyway.** The paper's value is
# $\lambda = 0.005$:

# %%
for lam in (0.005, 1.0, 30.0):
    share = lam * np.linalg.norm(pull) / np.linalg.norm(digits_g)
    print(f"lambda {lam:6}: the part of D is {share:.2%} of the length of g")

# %% [markdown]
# At the paper's value the term is next to nothing here. Yet $D$ falls over a Child phase at $\lambda = 0$ too: as
# the Child learns, $g$ shrinks, and $\lVert g - t \rVert^2$ with it. So it was in the descent with $\lambda = 0$
# above: $D$ fell, and the angle did not follow. The symptom is a falling $D$ together with an *angle* between $g$
# and $t$ that does not fall. A history in `bnas` records both, so look at both.
#
# **Mistake 3: $t$ is summed over the samples and $g$ is averaged.** Then $t$ is too long by the number of samples,
# and $D \approx \lVert t \rVert^2$ whatever the Child does. Here for the Child on the digits, as it is and with a
# $g$ of twice the length:

# %%
for name, factor in (("mean", 1), ("sum", len(images))):
    target = factor * digits_t
    values = [((g - target) ** 2).sum() / (target**2).sum() for g in (digits_g, 2 * digits_g)]
    print(f"t a {name:4}: D / |t|² is {values[0]:.2f}, with twice the g {values[1]:.2f}")

# %% [markdown]
# With the sum $D$ no longer sees $g$. Nor does the pull $2\lambda F (g - t) \approx -2\lambda F t$, which has
# grown with $t$: the Child is driven along $-F t$, wherever it stands.
#
# ## Exercises
#
# **Exercise 1.** Write the tangent direction from logits (B, N), integer labels (B,) and the Jacobians
# `J` (B, N, K) of the logits. The result has the shape (K,).


# %% tags=["exercise-1"]
def tangent_of(logits, labels, J): ...


# %% tags=["check-1"]
def examine_1(answer):
    rng = np.random.default_rng(5)
    for batch, classes, size in ((1, 2, 3), (7, 4, 5), (12, 10, 6)):
        z, J = rng.standard_normal((batch, classes)), rng.standard_normal((batch, classes, size))
        labels = rng.integers(0, classes, batch)

        def f(a):  # a model that is linear in alpha
            return np.log(softmax(z + J @ a))[np.arange(batch), labels].mean()

        found = answer(z.copy(), labels.copy(), J.copy())
        fault = difference(found, slopes(f, np.zeros(size)), 1e-6)
        if fault:
            return f"by differences of the mean log-likelihood of {batch} samples: {fault}"


check(1, tangent_of, examine_1)

# %% [markdown]
# **Exercise 2.** In `bnas` one backward pass through the batch *mean* leaves in every sample its **share** of the
# gradient: `shares` (B, K), whose *sum* is the gradient of the mean. Write the product $\frac1B\sum_b g_b
# (g_b^\top v)$ from them, without forming a (K, K) matrix.


# %% tags=["exercise-2"]
def product_of_shares(shares, v): ...


# %% tags=["check-2"]
def examine_2(answer):
    rng = np.random.default_rng(6)
    for batch, size in ((1, 3), (5, 4), (9, 6)):
        g_b, v = rng.standard_normal((batch, size)), rng.standard_normal(size)
        matrix = sum(np.outer(row, row) for row in g_b) / batch
        fault = difference(answer(g_b / batch, v.copy()), matrix @ v)
        if fault:
            return f"with {batch} samples, against the matrix: {fault}"
    wide = np.random.default_rng(7).standard_normal((4, 2000))
    tracemalloc.start()
    answer(wide / 4, wide[0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if peak > 16e6:  # half of the matrix
        return f"the numbers are right, but a (K, K) matrix is formed: {peak / 1e6:.0f} MB for K = 2000"


check(2, product_of_shares, examine_2)

# %% [markdown]
# **Exercise 3.** The book's table 4.4 also tries $D = \sum_i \lvert g_i - t_i \rvert$. Write the gradient of
# $-G + \lambda D$ for $\hat\alpha$, given $g$, $t$ (both (K,)), the matrix $F$ (K, K) that stands for $-H$, and
# $\lambda$.


# %% tags=["exercise-3"]
def l1_gradient(g, t, fisher_matrix, lam): ...


# %% tags=["check-3"]
def examine_3(answer):
    rng = np.random.default_rng(8)
    for size in (2, 5, 9):
        root, t = rng.standard_normal((size, size)), rng.standard_normal(size)
        matrix, at, lam = root @ root.T, rng.standard_normal(size), rng.uniform(0.2, 2)

        def objective(a):  # G = -a^T F a / 2, so g = -F a and H = -F
            return a @ matrix @ a / 2 + lam * np.abs(-matrix @ a - t).sum()

        found = answer(-matrix @ at, t.copy(), matrix.copy(), lam)
        fault = difference(found, slopes(objective, at), 1e-6)
        if fault:
            return f"by differences of -G + lambda D where H = -F exactly: {fault}"


check(3, l1_gradient, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/search/tangent.py`: all of this tutorial in some 170 lines; `tangent_direction`, `frobenius`, `l1`,
#   `cosine`, `fisher_product`, `ggn_product`, `hvp_product`, `tangent_gradient`. `tests/test_tangent.py` holds
#   each of them to finite differences.
# * `bnas/search/phases.py`: `ChildPhase.alpha_gradient`, where a search calls it. `docs/method.md`: where the
#   print is wrong, and the three curvatures measured on another model.
# * Next: tutorial 10, how $\alpha$ and the weights are kept in step.
# * Li et al., *DCP-NAS* (IJCV 2023, arXiv 2306.15390). Martens, *New insights and perspectives on the natural
#   gradient method* (JMLR 2020, 1412.1193), on Fisher and Gauss-Newton; Kunstner, Balles, Hennig, *Limitations of
#   the empirical Fisher approximation* (NeurIPS 2019, 1905.12558), on what happens when labels are not drawn from
#   the model; Pearlmutter, *Fast exact multiplication by the Hessian* (1994), for products with a Hessian.
