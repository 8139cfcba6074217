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
# # 10. Decoupled optimisation
#
# In a supernet the architecture logits and the weights are multiplied with each other, and learned by turns. Each
# step of one is right only as long as the other stands still. DCP-NAS repairs $\alpha$ after its step, which the
# book calls *backtracking*. This tutorial derives it on a problem of two numbers, and asks what it is worth.
#
# **You will be able to**
#
# * say why two factors that are learned by turns run out of step, and derive the form of Eq. 4.50;
# * write backtracking with its learned factor $\psi$ (Eqs. 4.50 to 4.53) and check it against `bnas`;
# * say how large its step $\eta$ may be, recognise an $\alpha$ that explodes, and judge the effect against noise.
#
# **It assumes** tutorials 1 to 9.

# %%
import numpy as np
from exercises import check, difference

import bnas
from bnas import nn, optim
from bnas.config import SearchConfig
from bnas.data import batches
from bnas.optim import cosine_schedule
from bnas.plots import Figure
from bnas.search.decoupled import DecoupledAlpha
from bnas.search.objectives import nas_loss
from bnas.search.phases import SupervisedPhase, endless_batches
from bnas.space import REAL, Supernet, discretise

BLUE, ORANGE, GREEN, PINK, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"

# %% [markdown]
# ## Two factors
#
# In a mixed operation stands $s_m(\alpha)\cdot(w_m \otimes a)$, where $w_m \otimes a$ is the convolution of the
# input $a$ with the weights $w_m$. The least that has this form is one $\alpha$ times one $w$, with a target and a
# small penalty on both:
#
# $$L(\alpha, w) = \tfrac12 (\alpha w - 1)^2 + \tfrac\rho2 (\alpha^2 + w^2), \qquad \rho = 0.1 .$$
#
# The product inside is *bilinear*: linear in each factor while the other is held. We step as a search does, first
# $\alpha$, then $w$ at the new $\alpha$, with the learning rates $\eta_1$ and $\eta_2$ (`lr1` and `lr2`).

# %%
rho, lr1, lr2 = 0.1, 0.05, 0.05


def loss(alpha, w):
    return 0.5 * (alpha * w - 1) ** 2 + 0.5 * rho * (alpha**2 + w**2)


def slopes(alpha, w):
    """The derivatives for alpha and for w."""
    return (alpha * w - 1) * w + rho * alpha, (alpha * w - 1) * alpha + rho * w


def in_turns(alpha, w, steps):
    """Plain descent in turns; the path, (steps + 1, 2)."""
    path = [(alpha, w)]
    for _ in range(steps):
        alpha = alpha - lr1 * slopes(alpha, w)[0]
        w = w - lr2 * slopes(alpha, w)[1]
        path.append((alpha, w))
    return np.array(path)


# %%
best = loss(np.sqrt(1 - rho), np.sqrt(1 - rho))
path = in_turns(0.1, 3.0, 600)
for step in (0, 5, 20, 50, 100, 200, 400):
    alpha, w = path[step]
    print(f"step {step:3}: alpha {alpha:.3f}, w {w:.3f}, product {alpha * w:.3f},", end=" ")
    print(f"loss above the best {loss(alpha, w) - best:.4f}")

# %% [markdown]
# The best point is $\alpha = w = \sqrt{1 - \rho}$: by symmetry the factors are equal there, say both $u$, and
# $\tfrac12(u^2 - 1)^2 + \rho u^2$ has the derivative $2u(u^2 - 1 + \rho)$. The descent takes five steps to make
# the *product* nearly right, and hundreds to get the *factors* right. Where does the time go? Leave the penalty
# out, and write $\ell(\alpha w)$ for the loss. Then
#
# $$\frac{\partial L}{\partial \alpha} = \ell' w, \qquad \frac{\partial L}{\partial w} = \ell' \alpha,$$
#
# so with equal rates and small steps $\alpha^2$ and $w^2$ change by the same amount, $-2\eta\,\ell'\alpha w$, and
# the difference $w^2 - \alpha^2$ stays what it was. A factor that has run ahead stays ahead for ever:

# %%
for rho in (0, 0.1):  # it is read by slopes, and is 0.1 again in the end
    alpha, w = in_turns(0.1, 3.0, 600)[[0, 5, 20, 100, 600]].T
    print(f"rho {rho:3}: w² - alpha² =", (w**2 - alpha**2).round(2))

# %% [markdown]
# Without the penalty the lead of 9 has lost little after 600 steps. Only the penalty, which is small, makes up
# for it. This is what is meant by two factors that converge *out of step*.
#
# ## The form of backtracking
#
# The step of $\alpha$ treats $w$ as fixed, but $w$ will answer with a step of its own. Tutorial 7 knows the cure,
# the second order of DARTS: differentiate the loss *after* that answer, $w' = w - \eta_2\,\partial L/\partial w$.
# By the chain rule
#
# $$\frac{d}{d\alpha} L(\alpha, w') = \frac{\partial L}{\partial\alpha}
#   + \frac{\partial L}{\partial w}\,\frac{\partial w'}{\partial\alpha}
#   \approx \frac{\partial L}{\partial\alpha}
#   - \eta_2\, \frac{\partial L}{\partial w}\, \frac{\partial^2 L}{\partial w\,\partial\alpha} ,$$
#
# all taken at the old point. That last step is rough, in one place. On the left of the $\approx$ the derivatives
# belong to the point $(\alpha, w')$, and the change of $\partial L/\partial\alpha$ on the way there, to first
# order $-\eta_2\,\frac{\partial L}{\partial w}\frac{\partial^2 L}{\partial w\,\partial\alpha}$, is the second term
# once more. In full the correction is twice the one written here. The equations to come leave that out; it changes
# nothing below, where $\psi$ is learned.
#
# Now comes what is special about a product: $\partial L/\partial w = \ell'\alpha$ contains $\alpha$ as a factor. A
# step with the rate $\eta_1$ along this derivative is
#
# $$\tilde\alpha^{t+1} = \underbrace{\alpha^t - \eta_1 \frac{\partial L}{\partial\alpha}}_{\alpha^{t+1}}
#   + \;\eta_1\eta_2\; \psi\; \alpha^t, \qquad
#   \psi = \ell'\,\frac{\partial^2 L}{\partial w\,\partial\alpha} = \ell'\,(\ell' + \alpha w\, \ell'') .$$
#
# (Where the mixed derivative comes from: $\partial L/\partial\alpha = \ell'(\alpha w)\,w$, differentiated for $w$
# by the product rule.) That is Eq. 4.50: the ordinary step, plus $\eta\,\psi\,\alpha^t$ with
# $\eta = \eta_1\eta_2$. The book gets there with matrices, Eqs. 4.42 to 4.49. For the weights of a network $\psi$
# contains a derivative that nobody wants to compute, and so it is *learned*, one number for each edge.
# $\tilde\alpha$ depends on $\psi$, and the next gradient of the loss is taken at $\tilde\alpha$; so
#
# $$\frac{\partial L}{\partial\psi} = \eta\,\frac{\partial L}{\partial\tilde\alpha}\,\alpha^t, \qquad
#   \psi^{t+1} = \Big|\psi^t - \eta_\psi \frac{\partial L}{\partial\psi^t}\Big| \quad (4.51).$$
#
# And backtracking is done only where a weight has run ahead (4.52). Its norm $R(w) = \|w\|^2$ (4.53) has to rank
# above $\tau$ among the operations of its edge, where the smallest norm has rank 1. Those without weights count
# too: an identity as one weight of 1 for each channel. Let the rival of our $w$ be an identity of one channel, and
# $\tau = 1$; then we backtrack while $w^2 \ge 1$.


# %%
def backtracked(alpha, w, steps, eta, psi="learned", psi_lr=1.0):
    """The rule whole; rows of the path are alpha, w, psi, whether backtracked."""
    factor, before, ahead, path = 1.0, 0.0, False, [(alpha, w, 1.0, False)]
    for _ in range(steps):
        slope, slope_w = slopes(alpha, w)
        if psi == "learned":  # the slope is that at the present alpha, which psi has made
            factor = abs(factor - psi_lr * eta * slope * before * ahead)  # 4.51
        elif psi == "derived":  # factor * alpha = (dL/dw) (d²L/dw dalpha), penalty included
            factor = slope_w / alpha * (2 * alpha * w - 1)
        before = alpha
        alpha = alpha - lr1 * slope
        ahead = w**2 >= 1  # 4.52
        if ahead:
            alpha = alpha + eta * factor * before  # 4.50
        w = w - lr2 * slopes(alpha, w)[1]
        path.append((alpha, w, factor, ahead))
    return np.array(path)


# %%
runs = {
    "coupled": backtracked(0.1, 3.0, 600, 0.0),
    "η = η₁η₂, derived ψ": backtracked(0.1, 3.0, 600, lr1 * lr2, "derived"),
    "η = 2η₁η₂, derived ψ": backtracked(0.1, 3.0, 600, 2 * lr1 * lr2, "derived"),
    "η = η₁η₂, learned ψ": backtracked(0.1, 3.0, 600, lr1 * lr2),
    "η = 0.025, learned ψ": backtracked(0.1, 3.0, 600, 0.025),
    "η = 0.1, ψ = 1 fixed": backtracked(0.1, 3.0, 600, 0.1, "fixed"),
    "η = 0.1, learned ψ": backtracked(0.1, 3.0, 600, 0.1),
}
for name, path in runs.items():
    above = loss(*path.T[:2]) - best
    arrived = np.flatnonzero(above < 1e-3)[0]
    print(
        f"{name:22}: within 0.001 of the best after {arrived:3} steps, largest alpha {path[:, 0].max():.2f}"
    )

# %% tags=["picture"]
grid_w, grid_alpha = np.meshgrid(np.linspace(0.3, 3.2, 200), np.linspace(0, 2, 200))
shown = ("coupled", "η = 0.025, learned ψ", "η = 0.1, ψ = 1 fixed")
figure = Figure(figsize=(6.9, 3.9), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
height = np.log10(loss(grid_alpha, grid_w) - best + 1e-3)
left.contourf(grid_w, grid_alpha, height, levels=18, cmap="Greys", alpha=0.75)
for name, color, dashes in zip(shown, (BLUE, ORANGE, PINK), ("-", "--", "-.")):
    alpha, w, psi, _ = runs[name].T
    left.plot(w, alpha, color=color, linestyle=dashes, label=name)
    left.plot(w[100], alpha[100], "o", color=color, markersize=7)
    right.semilogy(loss(alpha, w) - best + 1e-9, color=color, linestyle=dashes)
left.plot(*[np.sqrt(0.9)] * 2, "*", color=BLACK, markersize=12)
left.axvline(1, color="white", linewidth=1)
left.set(xlabel="weight w", ylabel="architecture logit α")
right.set(xlabel="step", ylabel="loss above the best", xlim=(0, 400), ylim=(1e-6, 10))
figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
figure

# %% [markdown]
# Left, the landscape, dark where the loss is large (its logarithm). All start at the lower right. The light valley
# is $\alpha w = 1$, nearly; the star is the best point, and the dots are where each path is after 100 steps. The
# blue path goes into the valley at once, and then creeps along it. The orange one is pushed outwards until it
# crosses the white line ($w = 1$), where backtracking ends; it runs beside the valley and falls into it near the
# star, much sooner. The pink one is pushed four times as hard by a $\psi$ that does not learn: it overshoots, and
# beyond the white line has to come back. On the right the same as losses; both kinks are crossings of the line.
#
# So backtracking does what is claimed: $\alpha$ is pulled after a weight that has run ahead. Two things in the
# printed table should give you pause. With the $\eta$ of the derivation the gain is modest, and the large one
# comes from a step ten times that. And the $\psi$ of the derivation gains next to nothing, twice of it no more.
# Look at the factor itself:

# %%
print(f"{'step':22}", *(f"{step:6}" for step in (1, 5, 20, 50, 100, 150)))
for name in (
    "η = η₁η₂, derived ψ",
    "η = η₁η₂, learned ψ",
    "η = 0.025, learned ψ",
    "η = 0.1, learned ψ",
):
    print(f"{name:22}", *(f"{runs[name][step, 2]:6.2f}" for step in (1, 5, 20, 50, 100, 150)))

# %% [markdown]
# The derived $\psi$ is negative at first, which the absolute value in Eq. 4.51 forbids, and then falls to 0. The
# learned $\psi$ is no estimate of the $\psi$ in the derivation, nor is it trained to be one. It begins at 1, and
# moves by $\eta_\psi\,\eta\,\alpha\,\partial L/\partial\tilde\alpha$, a product of small numbers: at a small
# $\eta$ it hardly moves, at a large one it falls as soon as pushing hurts. That last part is useful, compare the
# two rows of the table with $\eta = 0.1$. What remains of the derivation is the *form* of the push, along
# $\alpha^t$; its size is a matter of $\eta$ and of the initial 1.
#
# ## Why η must be small
#
# Where nothing opposes it, 4.50 multiplies: $\alpha^{t+1} = (1 + \eta\psi)\,\alpha^t$, and after $T$ steps
# $\alpha$ has grown by $(1 + \eta\psi)^T \approx e^{\eta\psi T}$. In our toy the loss opposes it. In a supernet
# it does not: $\alpha$ acts through a softmax, its gradient is $s_m\langle g, o_m - y\rangle$ (tutorial 6), and
# that *vanishes* as soon as an edge is decided. Weight decay is left, and the optimiser is Adam, whose steps are
# about $\eta_1$ at most, however large the gradient. So backtracking wins for good once
# $\eta\,\psi\,|\alpha| > \eta_1$, that is, for
#
# $$|\alpha| > \frac{\eta_1}{\eta\,\psi}, \qquad\text{and with } \eta = \eta_1\eta_2:
#   \quad |\alpha| > \frac{1}{\eta_2\,\psi} .$$
#
# At the usual rates of a search on the digits, $\eta_1 = 0.01$ and $\eta_2 = 0.1$, that is 10; a logit of 10 is
# far more than a search needs. With a constant $\eta = 0.01$ it is 1, where every search arrives. One edge with
# four operations, all of them backtracked, the loss $\sum_m s_m u_m$ with fixed numbers $u_m$, 2,000 steps:


# %%
def one_edge(eta, scale=0.1, psi_lr=1.0, steps=2000):
    """max |alpha| and psi after every step; eta None: the product of the rates, falling by a cosine."""
    u, rng = scale * np.array([-1.0, 0.3, 0.5, -0.4]), np.random.default_rng(0)
    alpha = nn.Parameter(1e-3 * rng.standard_normal(4))
    adam = optim.Adam([alpha], 0.01, (0.5, 0.999), weight_decay=1e-3)
    psi, before, eta_before, path = 1.0, np.zeros(4), 0.0, []
    for step in range(steps):
        e = np.exp(alpha.data - alpha.data.max())
        s = e / e.sum()
        alpha.grad = s * (u - s @ u)
        psi = abs(psi - psi_lr * eta_before * (alpha.grad @ before))
        before = alpha.data.copy()
        adam.step()
        eta_before = 0.01 * cosine_schedule(step, steps, 0.1) if eta is None else eta
        alpha.data = alpha.data + eta_before * psi * before
        path.append((abs(alpha.data).max(), psi))
    return np.array(path).T


# %%
cases = {"0": 0.0, "η₁η₂, falling": None, "0.001": 0.001, "0.003": 0.003, "0.01": 0.01}
looks = zip((BLACK, BLUE, GREEN, PINK, ORANGE), ("-", "-", "--", "-.", ":"))
figure = Figure(figsize=(6.2, 3.4), layout="constrained")
ax = figure.subplots()
for (name, eta), (color, dashes) in zip(cases.items(), looks):
    largest, psi = one_edge(eta)
    ax.semilogy(largest, color=color, linestyle=dashes, label=f"η = {name}")
    print(f"eta = {name:14}: max |alpha| {largest[-1]:10.3g}, psi {psi[-1]:.2f}")
ax.set(xlabel="step", ylabel="max |α|")
ax.legend(frameon=False, fontsize=9)
figure

# %% [markdown]
# The axis is logarithmic, so a straight line is exponential growth. With $\eta = 0.01$, once the default of
# `bnas`, the line is straight from about 1 on and ends beyond $10^8$; $e^{0.01 \cdot 2000}$ is $5\cdot 10^8$.
# With 0.003 there is no stopping once it has passed 3.3, as the formula says, and later this line becomes straight
# too. With the product of the rates $\alpha$ stays close to where it is without backtracking (the blue line nearly
# covers the black one), and towards the end, where the rate has fallen, comes back to it.
#
# This is a bound in practice only. If the gradients are larger, $\psi$ learns faster, and takes $\alpha$ with it:

# %%
print("size of u   eta_psi   max |alpha|   largest psi")
for scale, psi_lr in ((0.1, 1), (10, 1), (100, 1), (0.1, 50), (10, 50)):
    largest, psi = one_edge(None, scale, psi_lr)
    print(f"{scale:9} {psi_lr:9} {largest.max():13.3g} {psi.max():13.3g}")

# %% [markdown]
# Here $u_m$ stands for $\langle g, o_m\rangle$. In searches on the digits that was found to stay below 1
# (`docs/strategies.md`, *An α that stays sane*), where $\eta_\psi = 1$ keeps $\psi$ near 1. The equations have no
# bound of their own.
#
# ## The library's
#
# `DecoupledAlpha` does these steps for a supernet: $\alpha$ is (2, E, M), $\psi$ is (2, E), and the norms are
# those of all kernels of an operation, averaged over the cells that an $\alpha$ serves. A K×K pooling counts as a
# kernel of $1/K^2$ in each channel, so $R = C/9$ for 3×3. Our own norms and ranks:


# %%
def norm(operation, name, channels):
    kernels = [m.weight.data for m in operation.modules() if isinstance(m, nn.Conv2d)]
    if kernels:
        return sum(float((kernel**2).sum()) for kernel in kernels)
    return {"none": 0, "skip_connect": channels}.get(name, channels / 9)


def norms_of(net):
    """R, (2, E, M)."""
    found = np.zeros(net.alpha.shape)
    for kind in (0, 1):
        cells = [cell for cell in net.cells if cell.reduction == kind]
        for cell in cells:
            channels = cell.out_channels // cell.nodes
            for e, candidates in enumerate(cell.edges):
                for m, (operation, name) in enumerate(zip(candidates, net.operations)):
                    found[kind, e, m] += norm(operation, name, channels) / len(cells)
    return found


def ahead_of(norms, tau):
    """Which operations have a rank above tau in their edge; the smallest norm has rank 1."""
    return (norms[..., None, :] <= norms[..., :, None]).sum(axis=-1) > tau


# %% [markdown]
# Now ten steps on real batches, with large values for $\eta$ and $\eta_\psi$, so that an error would show.

# %%
digits = bnas.data.load_dataset("digits")
net = Supernet(1, 10, channels=4, layers=3, nodes=2, precision=REAL, rng=np.random.default_rng(0))
eta, psi_lr, tau, rate = 0.05, 500.0, 5, 2.0
theirs = DecoupledAlpha(net, optim.SGD([net.alpha], rate), eta, psi_lr, tau)
weights = optim.SGD(net.weight_parameters(), 0.1)
alpha, psi = net.alpha.data.astype(np.float64), np.ones((2, 5))
before, mask = np.zeros_like(alpha), np.zeros(alpha.shape, bool)
train = batches(digits.train, 64, np.random.default_rng(1), drop_last=True)
for _, (images, labels) in zip(range(10), train):
    g, *slopes_w = bnas.grad(nas_loss(net(images), labels), [net.alpha, *weights.parameters])
    psi = abs(psi - psi_lr * eta * (g * before * mask).sum(axis=-1))
    before, mask = alpha, ahead_of(norms_of(net), tau)
    alpha = alpha - rate * g + np.where(mask, eta * psi[..., None] * before, 0)
    theirs.step(g)
    for parameter, slope in zip(weights.parameters, slopes_w):
        parameter.grad = slope
    weights.step()
print(f"largest difference: alpha {abs(net.alpha.data - alpha).max():.0e},", end=" ")
print(f"psi {abs(theirs.psi - psi).max():.0e}; largest |alpha| {abs(alpha).max():.2f}")
print(f"psi from {psi.min():.2f} to {psi.max():.2f}")
print("same entries backtracked:", np.array_equal(theirs.mask, mask))
print("how often, by operation:", dict(zip(net.operations, mask.sum(axis=(0, 1)).tolist())))

# %% [markdown]
# Equal but for rounding in float32. The last line tells who is backtracked: with eight operations and $\tau = 5$
# the three largest norms of each edge, all of them convolutions. The two `sep_conv` are always among them. That
# is no merit of theirs: they have four kernels where a `dil_conv` has two, and $R$ adds them up. So who "has run
# ahead" depends more on how an operation is built than on what it has learned. That is how the equation stands.
#
# ## What it does at the defaults
#
# A DCP search on the digits has 2 rounds of 5 and 8 epochs with 16 steps each. How far could backtracking move
# an $\alpha$ in all of it, if $\psi$ stays at 1?

# %%
config = SearchConfig(channels=4, layers=3, nodes=2, engine="plain")
steps = len(digits.train) // config.batch_size
growth = 1.0
for epochs in (config.parent_epochs, config.child_epochs) * config.rounds:
    for step in range(epochs * steps):
        lr = cosine_schedule(step, epochs * steps, config.lr)
        growth *= 1 + lr * config.alpha_lr
print(
    f"{config.rounds * (config.parent_epochs + config.child_epochs) * steps} steps: at most × {growth:.3f}"
)

# %% [markdown]
# Somewhat more than a fifth, over a whole search, and that without any opposition. Let us see a piece of one: the
# same supernet, the same batches, one epoch, with and without backtracking. For comparison, two runs without
# backtracking: one whose $\alpha$ begins a hundred-thousandth away, and one with the batches in another order.


# %%
def one_epoch(eta, order, nudge=0.0):
    """alpha after an epoch of the Parent."""
    net = Supernet(1, 10, 4, 3, 2, REAL, np.random.default_rng(0))
    net.alpha.data = net.alpha.data + np.float32(nudge)
    phase, rng = SupervisedPhase(net, config, 1, eta), np.random.default_rng(order)
    held_out = endless_batches(digits.validation, 64, rng)
    for step, batch in enumerate(batches(digits.train, 64, rng, drop_last=True)):
        phase.optimiser.lr = cosine_schedule(step, steps, config.lr)
        phase.alpha_step(*next(held_out))
        phase.weight_step(*batch)
    return net.alpha.data


def different(one, other):
    """How many entries of two genotypes are not the same."""
    return sum(a != b for a, b in zip(one.normal + one.reduce, other.normal + other.reduce))


# %%
tiny = 1e-5 * np.random.default_rng(5).standard_normal((2, 5, 8))
plain = one_epoch(0.0, order=2)
for name, alpha in (
    ("η = η₁η₂, the default", one_epoch(None, order=2)),
    ("none, α nudged by 0.00001", one_epoch(0.0, order=2, nudge=tiny)),
    ("none, other order of batches", one_epoch(0.0, order=3)),
):
    change = np.linalg.norm(alpha - plain) / np.linalg.norm(plain)
    entries = different(discretise(alpha), discretise(plain))
    print(f"{name:28}: α differs by {change:6.2%}, {entries} of 8 entries of the genotype")

# %% [markdown]
# Be honest about this table. Backtracking has changed $\alpha$ by a few per cent, and a nudge far too small to
# mean anything by an amount of the same order: training enlarges any difference, whatever made it. Another order
# of the batches changes ten times as much, and the genotype with it. One could not show on the digits, without
# very many seeds, whether backtracking helps. The book reports gains on ImageNet, with rates and lengths of its
# own. What we can say is what the rule does to $\alpha$, and that at a safe $\eta$ it does little. Tutorial 12 is
# about telling such effects from noise.
#
# ## What goes wrong
#
# **Mistake 1: a constant η that looks small.** You have seen it above: 0.01 does little in the first fifty steps.
# The symptom is that the largest $|\alpha|$ in the history grows by the same factor in every epoch, while the loss
# does not change. What it does to an edge, and to the factor $s(1 - s)$ of its gradients:

# %%
for size in (1, 5, 20, 60):
    e = np.exp(size * np.array([0.5, 0.3, -0.2, -0.4]))
    s = e / e.sum()
    print(f"α × {size:2}: weights {s.round(3)}, largest s(1 - s) {(s * (1 - s)).max():.0e}")

# %% [markdown]
# The direction of $\alpha$ stays, its length grows, and the softmax becomes a hard choice: of the operation that
# happened to lead when the growth set in. After that no gradient can revise it. `bnas` writes `max_alpha` and
# `entropy` into every record of a search, and draws them in `figures/entropy.png`.
#
# **Mistake 2: ψ learns from the wrong α.** Its gradient needs $\alpha^t$, the one that was multiplied, and the
# slope at $\tilde\alpha$, which came of it. It is tempting to take the $\alpha$ at hand. A finite difference
# tells. One edge, three operations; the loss is any smooth function:

# %%
rng = np.random.default_rng(4)
old, stepped, target = rng.standard_normal((3, 3))


def after(psi, eta=0.1):
    return stepped + eta * psi * old


def value(psi):
    return np.sin(after(psi) - target).sum()


slope = np.cos(after(1.0) - target)  # at the backtracked alpha
print(f"by differences             {(value(1 + 1e-5) - value(1 - 1e-5)) / 2e-5:+.6f}")
print(f"with alpha before the step {0.1 * slope @ old:+.6f}")
print(f"with alpha at hand         {0.1 * slope @ after(1.0):+.6f}")

# %% [markdown]
# With the wrong $\alpha$ even the sign is wrong here, where the step was a large one. In a search there is no such
# alarm: $\alpha$ changes little in a step, the signs agree most of the time, and the symptom is none at all. This
# is the kind of error for which one compares with finite differences *before* the search.
#
# **Mistake 3: τ does not fit the number of operations.** Ranks go from 1 to $M$. With five operations no rank is
# above 5:

# %%
five = ("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3", "dil_conv_3x3")
net = Supernet(1, 10, 4, 3, 2, REAL, np.random.default_rng(0), five)
for tau in (2, 3, 4, 5):
    print(f"tau = {tau}: {ahead_of(norms_of(net), tau).mean():.0%} of the entries are backtracked")

# %% [markdown]
# At $\tau = 5$ the whole machinery runs, costs time, and does nothing. The symptom is a result equal to the last
# bit to that of $\eta = 0$. `bnas search` says so when it begins; code of your own does not.
#
# ## Exercises
#
# **Exercise 1.** Write one step of $\alpha$ for a loss $\ell(\alpha w)$ with the $\psi$ of the derivation, not
# doubled: the ordinary step plus $\eta_1\eta_2\,\psi\,\alpha$. `d1` and `d2` are functions of the product, $\ell'$
# and $\ell''$.


# %% tags=["exercise-1"]
def derived_step(alpha, w, lr1, lr2, d1, d2): ...


# %% tags=["check-1"]
def examine_1(answer):
    rng = np.random.default_rng(11)
    losses = {
        "(p - 1)²/2": (lambda p: (p - 1) ** 2 / 2, lambda p: p - 1, lambda p: 1.0),
        "cosh p": (np.cosh, np.sinh, np.cosh),
        "sin p": (np.sin, np.cos, lambda p: -np.sin(p)),
    }
    for name, (ell, d1, d2) in losses.items():
        for _ in range(5):
            alpha, w = rng.uniform(-1.5, 1.5, 2)
            lr1, h = rng.uniform(0.01, 0.5), 1e-4
            for lr2 in (0.0, 0.3):

                def bent(a):  # its slope at alpha is the one of the derivation
                    return ell(a * w) - lr2 * (d1(alpha * w) * alpha) * d1(a * w) * a

                truth = alpha - lr1 * (bent(alpha + h) - bent(alpha - h)) / (2 * h)
                fault = difference(answer(alpha, w, lr1, lr2, d1, d2), truth, 1e-6)
                if fault:
                    return f"l = {name}, alpha {alpha:.3f}, w {w:.3f}, lr2 {lr2}: {fault}"


check(1, derived_step, examine_1)

# %% [markdown]
# **Exercise 2.** By what factor does an $\alpha$ grow in `steps` steps that nothing opposes? $\eta$ is the
# product of `lr1`, which is constant, and of a rate that falls from `lr2` by a cosine: in step $t = 0, 1, \dots$
# it is $\tfrac12\,\mathtt{lr2}\,(1 + \cos(\pi t/\mathtt{steps}))$. $\psi$ is constant.


# %% tags=["exercise-2"]
def growth_factor(lr1, lr2, steps, psi): ...


# %% tags=["check-2"]
def examine_2(answer):
    for lr1, lr2, steps, psi in (
        (0.01, 0.1, 416, 1),
        (0.1, 1, 50, 2),
        (0.3, 2, 7, 0.5),
        (1, 1, 1, 1),
    ):
        alpha = 1.0
        for t in range(steps):
            alpha = alpha + lr1 * cosine_schedule(t, steps, lr2) * psi * alpha
        fault = difference(answer(lr1, lr2, steps, psi), alpha)
        if fault:
            return f"lr1 {lr1}, lr2 {lr2}, {steps} steps, psi {psi}: {fault}"


check(2, growth_factor, examine_2)

# %% [markdown]
# **Exercise 3.** In the 1-bit Child the weight whose norm counts is not the latent one but what the layer
# computes with, the reconstruction $\beta\circ\operatorname{sign}\hat w$, where $\beta$ is the closed form of
# tutorial 4, one for each output channel. Write $R$ for a latent kernel of shape (Cout, Cin, K, K).


# %% tags=["exercise-3"]
def child_norm(latent): ...


# %% tags=["check-3"]
def examine_3(answer):
    rng = np.random.default_rng(12)
    for shape, groups in (
        ((4, 4, 1, 1), 1),
        ((8, 1, 3, 3), 8),
        ((5, 6, 3, 3), 1),
        ((2, 3, 5, 5), 1),
    ):
        layer = nn.XnorConv2d(shape[1] * groups, shape[0], shape[2], groups=groups)
        scale = rng.uniform(0.1, 2, (shape[0], 1, 1, 1))
        layer.weight.data = (scale * rng.standard_normal(shape)).astype(np.float32)
        latent = layer.weight.data.astype(np.float64)
        fault = difference(answer(latent), layer.squared_norm(), 1e-5)
        if fault:
            return f"a kernel of shape {shape}: {fault}"


check(3, child_norm, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/search/decoupled.py`: `backtrack`, `psi_gradient`, `psi_step`, `selected`, `weight_norms`, and
#   `DecoupledAlpha`, which puts them together. `bnas/search/phases.py`: `Phase.product_of_rates` is
#   $\eta_1\eta_2$.
# * `docs/strategies.md`, *An α that stays sane*: how large $\alpha$ became in tests of 2,000 steps.
# * `bnas/search/darts.py`: `unrolled_gradient`, the derivation of this tutorial carried out for a whole supernet.
# * Next: tutorial 11, a whole search.
# * Zhuo et al., *Cogradient Descent for Bilinear Optimization* (CVPR 2020, arXiv 2006.09142), where the idea
#   comes from; Liu et al., *DARTS* (2019, 1806.09055), section 2.3, the unrolled step; Zela et al. (2020,
#   1909.09656) on searches that end in a sharp and bad $\alpha$.
