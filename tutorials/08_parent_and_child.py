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
# # 8. Parent and Child
#
# How does one search for a 1-bit network? One may let a 1-bit supernet learn from the labels, as the real one of
# tutorial 7. One may also let a real supernet, the *Parent*, supervise a 1-bit one, the *Child*. This tutorial
# measures what passes from one to the other, and what is lost on the way from a supernet to an architecture. The
# method is CP-NAS (*Child-Parent*), on which DCP-NAS, the subject of tutorials 9 to 11, is built.
#
# **You will be able to**
#
# * write the supervision by a Parent as a KL divergence, derive its gradient, and say what it tells that a label
#   does not;
# * score operations by the accuracies of both supernets and drop the worst, as CP-NAS does;
# * measure what inheritance of weights brings, and the gap between a supernet and the path that is kept of it.
#
# **It assumes** tutorials 1 to 7.

# %%
import numpy as np
from exercises import check, difference

import bnas
from bnas import nn
from bnas.config import SearchConfig
from bnas.evaluation import accuracy
from bnas.plots import Figure
from bnas.runs import Silent  # a report of progress that says nothing
from bnas.search import cp, dcp
from bnas.search.objectives import kl_to_teacher, teacher_probabilities
from bnas.search.paths import restricted_accuracy
from bnas.search.strategies import new_search
from bnas.search.strategy import Cost, new_supernet
from bnas.space import Precision
from bnas.space.alpha import genotype_mask

BLUE, ORANGE, GREEN, PINK, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"

# %% [markdown]
# All searches here are tiny: 512 digits, 4 channels, two nodes a cell, five candidates an edge. One seed and 173
# validation images show how things work; they do not show which method is better. (One image is 0.6 points.)

# %%
digits = bnas.data.load_dataset("digits", limit=512)
validation = digits.validation
tiny = {
    "operations": "none, avg_pool_3x3, skip_connect, sep_conv_3x3, dil_conv_3x3",
    "limit": 512,
    "channels": 4,
    "nodes": 2,
    "batch_size": 32,
}


def run(search, epochs, progress=None):
    """Run the epochs of these numbers; the validation accuracy after each."""
    records = [search.run_epoch(number, progress or Silent()) for number in epochs]
    return [record["validation_accuracy"] for record in records]


# %% [markdown]
# ## The plain way: direct search
#
# Take tutorial 7's bilevel problem and put 1-bit convolutions into the supernet. A hat marks what belongs to a
# 1-bit network. The weights are now the latent $\hat w$ and the scales $\beta$, the architecture is $\hat\alpha$,
# and the loss is cross-entropy on labels as before, on either split (Eqs. 4.24 and 4.25 of the book that is named
# at the end):
#
# $$\min_{\hat\alpha} L_\text{val}\big(\hat w^*, \hat\alpha, \beta^*\big) \quad\text{where}\quad
#   \hat w^*, \beta^* = \arg\min_{\hat w, \beta} L_\text{train}(\hat w, \hat\alpha, \beta) .$$
#
# $\beta$ may be learned, as it is written here, or computed from $\hat w$ by the closed form of tutorial 4. The
# latter is the default of `bnas`, and what the searches below do.
#
# In code nothing is new but the precision: the step of $\hat\alpha$ and that of $\hat w$ alternate as in DARTS,
# and signs pass gradients by the straight-through estimator of tutorial 3.

# %%
direct = new_search(SearchConfig(strategy="bnas", supernet_epochs=8, **tiny), digits)
print("validation accuracy by epoch:", *(f"{share:.0%}" for share in run(direct, range(8))))

# %% [markdown]
# It learns. Keep this in mind as the baseline for all that follows: it needs no Parent at all. What it has to go
# by is one label an image, seen through signs whose gradients are biased (tutorial 3), and both $\hat w$ and
# $\hat\alpha$ have to be found from that.
#
# ## What a Parent says
#
# A Parent gives ten numbers an image, the probabilities $p_n$ of the classes. The Child with its logits $z$ and
# $\hat p = \operatorname{softmax} z$ shall come close to them. The distance is the Kullback-Leibler divergence,
# and $G$ is its negative, so that more is better (Eq. 4.30):
#
# $$-G = \operatorname{KL}(p \,\|\, \hat p) = \sum_n p_n \ln \frac{p_n}{\hat p_n}.$$
#
# *It is never negative.* From $\ln x \le x - 1$ follows
# $-\operatorname{KL} = \sum_n p_n \ln(\hat p_n / p_n) \le \sum_n (\hat p_n - p_n) = 0$, and equality needs
# $\hat p = p$.
#
# *It contains the label as a special case.* Written out it is $\sum_n p_n \ln p_n - \sum_n p_n \ln \hat p_n$.
# The first sum does not depend on the Child. The second is cross-entropy with $p$ in the place of the label $y$.
# With $p = y$ the first sum is 0 (read $0 \ln 0$ as 0), and KL is the cross-entropy.
#
# *Its gradient is simple.* With $\ln \hat p_n = z_n - \ln \sum_j e^{z_j}$ and $\sum_n p_n = 1$,
#
# $$\frac{\partial \operatorname{KL}}{\partial z_k} = -p_k + \sum_n p_n\, \hat p_k = \hat p_k - p_k .$$


# %%
def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def kl(p, q):
    """KL(p ‖ q) of each row, for p > 0."""
    return (p * np.log(p / q)).sum(axis=-1)


rng = np.random.default_rng(0)
z, p = rng.standard_normal((6, 10)), softmax(2 * rng.standard_normal((6, 10)))
logits = bnas.Tensor(z, requires_grad=True)
loss = kl_to_teacher(logits, bnas.Tensor(p))
loss.backward()
print(f"ours {kl(p, softmax(z)).mean():.12f}  bnas {loss.item():.12f}")
print("gradient:", difference(logits.grad, (softmax(z) - p) / len(z)) or "the same")

# %% [markdown]
# The two agree; the library averages over the batch, hence the division.
#
# Now a real Parent. `dcp` is the whole of DCP-NAS. With $\lambda = \eta = 0$ it does without tangent propagation
# and decoupled optimisation, the subjects of tutorials 9 and 10, and what is left is Parent and Child in turns.

# %%
alternating = SearchConfig(
    strategy="dcp", rounds=2, parent_epochs=5, child_epochs=4, lam=0.0, eta=0.0, **tiny
)
search = new_search(alternating, digits)
after_parent = run(search, range(5))
print("Parent's validation accuracy by epoch:", *(f"{share:.0%}" for share in after_parent))
kept = search.state()  # to start from here once more, below

p = np.float64(teacher_probabilities(search.parent, validation.images).data)
entropy = -(p * np.log(p)).sum(axis=1)
right = p.argmax(axis=1) == validation.labels
unsure = int(np.where(right, entropy, 0).argmax())
y = np.eye(10)[validation.labels[unsure]]

# %% tags=["picture"]
figure = Figure(figsize=(6.9, 2.9), layout="constrained")
left, right_axes = figure.subplots(1, 2, width_ratios=(1, 2.4))
left.imshow(validation.images[unsure, 0], cmap="gray_r")
left.set_axis_off()
right_axes.bar(np.arange(10) - 0.2, y, 0.4, color="#BBBBBB", label="the label")
right_axes.bar(np.arange(10) + 0.2, p[unsure], 0.4, color=BLUE, label="the Parent, $p$")
right_axes.set(xlabel="class", ylabel="probability", ylim=(0, 1.05))
right_axes.set_xticks(range(10))
right_axes.legend(frameon=False)
figure

# %% [markdown]
# Of all images that the Parent gets right, this is the one of which it is least sure: its $p$ has the largest
# entropy. The label says one thing, which class. The Parent also says which others the image resembles, and which
# it hardly resembles. For a Child that still knows nothing, $\hat p_n = 0.1$ for all $n$, the gradients
# $\hat p - y$ and $\hat p - p$ are

# %%
print("class           ", *(f"{n:6}" for n in range(10)))
print("from the label  ", *(f"{g:6.2f}" for g in 0.1 - y))
print("from the Parent ", *(f"{g:6.2f}" for g in 0.1 - p[unsure]))
same_class = p[validation.labels == validation.labels[unsure]]
spread = np.sqrt(((same_class - same_class.mean(axis=0)) ** 2).sum(axis=1).mean())
print(f"over all images of this class: distance of a row from their mean row {spread:.2f}")

# %% [markdown]
# A positive number pushes a class down, a negative one up. From the label, nine classes are pushed down alike, and
# the same happens for every image of this class. From the Parent, each image has a row of its own (the last line
# tells how far they typically lie from their mean; from the label it would be 0): a sharp image asks for a sharp
# answer, a doubtful one is not forced to it. A label also pushes for ever, as $\hat p = y$ needs infinite logits;
# $\hat p = p$ is reached by finite ones. What is not gained is truth: where the Parent is wrong, the Child learns
# the mistake.
#
# In CP-NAS the Child minimises $-G + \mu L_R$ for $(\hat w, \beta)$, with the reconstruction loss $L_R$ of
# tutorial 4, and $-G$ for $\hat\alpha$ (Eq. 4.26): it sees no label any more.
#
# ## Inheritance
#
# Parent and Child have the same shapes, so the Child can begin with the Parent's numbers: $\hat w \leftarrow w$,
# $\hat\alpha \leftarrow \alpha$. It then computes with $\beta\operatorname{sign} w$. How much of a layer survives
# that? The cosine between $w$ and $\operatorname{sign} w$ is $\sum |w_i| / (\sqrt n\, \lVert w\rVert)$. For
# Gaussian weights it tends to $\mathbb E|w| = \sqrt{2/\pi} \approx 0.80$. And activations become signs, too. A
# chain of random linear layers:

# %%
n = 400
x = x1 = rng.standard_normal((200, n))
print(f"sqrt(2/pi) = {np.sqrt(2 / np.pi):.3f}; correlation with the real layers after")
for depth in range(1, 7):
    w = rng.standard_normal((n, n)) / np.sqrt(n)
    weights_only = x @ np.sign(w)
    x, x1 = x @ w, np.sign(x1) @ np.sign(w)
    corr = [np.corrcoef(x.ravel(), other.ravel())[0, 1] for other in (weights_only, x1)]
    print(
        f"layer {depth}: its weights alone 1-bit {corr[0]:.2f}, all up to here 1-bit {corr[1]:.2f}"
    )

# %% [markdown]
# One layer keeps 0.8 if its weights become signs. With signs of inputs as well it is
# $\sqrt{2/\pi}\cdot\sqrt{2/\pi} = 2/\pi \approx 0.64$, and every further layer loses this factor again, because
# its input is already wrong. An inherited Child is neither the Parent nor random. The library does the copy in
# `inherit`; $\alpha$ is copied there too, and a learned $\beta$ restarts from the closed form of tutorial 4.

# %%
everything = np.ones(search.child.alpha.shape, bool)


def path_accuracy(supernet, mask=everything):
    """Validation accuracy of the candidates of a mask, batch norms by the statistics of the images."""
    return restricted_accuracy(supernet, mask, validation, Cost())


print(f"the Parent            {path_accuracy(search.parent):.1%}")
print(f"the Child at random   {path_accuracy(search.child):.1%}")
search.inherit()
print(f"the Child, inherited  {path_accuracy(search.child):.1%}")
print(f"  with the inherited running statistics {accuracy(search.child, validation):.1%}")
convolutions = everything & (np.arange(5) >= 3)
print(f"  its convolutions alone {path_accuracy(search.child, convolutions):.1%},", end=" ")
print(f"all others alone {path_accuracy(search.child, ~convolutions):.1%}")

# %% [markdown]
# Far below the Parent and far above chance, which is 10 %. All lines but the fourth let batch norm go by the
# statistics of the images at hand, so the first differs a little from the Parent's accuracy above. The fourth goes
# by the running means and variances that came with the weights. They are of the Parent's activations, not of the
# Child's, and the result is about chance; "What goes wrong" comes back to this.
#
# The last line tells what has survived: the candidates without bits. Pooling and skips are the same in both
# supernets; of the convolutions, two or four 1-bit layers deep each, next to nothing is left at first. (Here the
# whole does worse than a part of it, as the convolutions add noise.)
#
# Now let the Child learn, and beside it one that has the same Parent to learn from but does not inherit. `Watch`
# measures within the epochs.


# %%
class Watch(Silent):
    """Measures a supernet after every fourth step."""

    def __init__(self, supernet):
        self.supernet, self.curve, self.steps = supernet, [path_accuracy(supernet)], 0

    def step(self, label, loss, accuracy):
        self.steps += 1
        if self.steps % 4 == 0:
            self.curve.append(path_accuracy(self.supernet))


class WithoutInheritance(dcp.Search):
    def inherit(self):
        pass


# %%
alone = WithoutInheritance(alternating, digits)
alone.load_state(kept, 5)
watched = {"inherited": Watch(search.child), "not inherited": Watch(alone.child)}
run(search, range(5, 9), watched["inherited"])
run(alone, range(5, 9), watched["not inherited"])
run(search, range(9, 14))  # the Parent's second phase
before = path_accuracy(search.child)
search.inherit()  # also done by epoch 14 itself; here to look at once
watched["inherited, round 2"] = Watch(search.child)
run(search, range(14, 18), watched["inherited, round 2"])
for name, watch in watched.items():
    print(f"{name:20} first {watch.curve[0]:.1%}, after an epoch {watch.curve[4]:.1%},", end=" ")
    print(f"after four {watch.curve[-1]:.1%}")
print(f"the Child just before the second inheritance: {before:.1%}")

# %%
figure = Figure(figsize=(6.4, 3.3), layout="constrained")
ax = figure.subplots()
for (name, watch), color, style in zip(watched.items(), (BLUE, ORANGE, GREEN), ("-", "--", "-.")):
    steps = 4 * np.arange(len(watch.curve))
    ax.plot(steps, 100 * np.array(watch.curve), style, color=color, marker=".", label=name)
ax.axhline(
    100 * before, color=BLACK, linewidth=1, linestyle=":", label="Child at the end of round 1"
)
ax.set(xlabel="step of the Child's phase (16 are an epoch)", ylabel="validation accuracy, %")
ax.set_ylim(0, 100)
ax.legend(frameon=False, loc="lower right")
figure

# %% [markdown]
# First compare blue and orange. Both have the same Parent to learn from; the one that inherits starts far above
# chance, and is still ahead after four epochs. Then look at the green line: the second inheritance *throws the
# Child back*, from the dotted line to about where it was after the first one, because signs of new Parent weights
# replace what the Child had learned. Within an epoch or so it is level again, and after four far beyond. The
# histories that `bnas plot` draws show this as a notch at the first Child epoch of every later round; it is deeper
# there, since they measure by running statistics, which need some epochs to follow.
#
# ## CP-NAS: scores and drops
#
# CP-NAS does not read $\hat\alpha$. It asks of every operation how well paths do that contain it, in the Parent
# ($A_P$) and in the Child ($A_C$), and scores it by (Eq. 4.15)
#
# $$z = \beta_P (A_P - A_C) + A_C = \beta_P A_P + (1 - \beta_P) A_C .$$
#
# ($\beta_P$ is a weight that one chooses, and has nothing to do with the scales $\beta$.) The first form says what
# it was made for: an operation with a large difference $A_P - A_C$ suffers from its one bit at present, but has
# potential, and $\beta_P$ says how much that counts. The second form says what it is, a weighted mean. The
# operation of the least $z$ is dropped, the rest scored again. Made-up numbers of one edge:

# %%
names = np.array(["potential", "solid", "modest", "poor"])
table_P, table_C = np.array([0.90, 0.70, 0.60, 0.40]), np.array([0.45, 0.62, 0.55, 0.38])


def order_of_drops(beta_p):
    left, dropped = list(range(4)), []
    while len(left) > 1:
        z = beta_p * (table_P - table_C) + table_C
        worst = min(left, key=lambda m: z[m])
        left.remove(worst)
        dropped.append(str(names[worst]))
    return dropped, str(names[left[0]])


for beta_p in (0.0, 0.3, 0.5, 1.0):
    dropped, last = order_of_drops(beta_p)
    print(f"beta_P = {beta_p}: dropped {', '.join(dropped)}; left {last}")

# %% [markdown]
# At $\beta_P = 0$ the Child alone decides, at 1 the Parent alone. The operation that was called `potential` falls
# early for the Child, and stays to the end from $\beta_P = 0.5$ on. In reality there is no table for an edge: an
# accuracy belongs to a whole *path*, one operation on every edge. CP-NAS draws paths without replacement, so
# that after $M$ paths each operation of each edge has been used once, does that $T$ times, and averages $z$ over
# the paths that contain the operation. The other edges then act as noise. How many samplings $T$ does it take?

# %%
E, M, trials = 10, 5, 200


def share_right(T):
    """How often the worst operation of an edge has the least mean, if path accuracies are sums plus noise."""
    right = 0
    for _ in range(trials):
        quality, totals = rng.standard_normal((E, M)), np.zeros((E, M))
        for _ in range(T):
            order = rng.permuted(np.tile(np.arange(M), (E, 1)), axis=1)  # column k is path k
            for path in order.T:
                value = quality[np.arange(E), path].sum() + 0.5 * rng.standard_normal()
                totals[np.arange(E), path] += value
        right += (totals.argmin(axis=1) == quality.argmin(axis=1)).mean()
    return right / trials


print("by chance", 1 / M, *(f"| T = {T}: {share_right(T):.2f}" for T in (1, 4, 16, 64)))

# %% [markdown]
# With one sampling the choice is little better than chance, with 64 mostly right, although nothing here is
# misleading, only noisy. The library's three functions do what was said:

# %%
alive = np.ones((2, 5, 5), bool)
drawn = cp.sample_paths(alive, rng)
print(f"{len(drawn)} paths; each operation in one of them:", (np.sum(drawn, axis=0) == 1).all())
print(
    "score:", difference(cp.score(table_P, table_C, 0.3), 0.3 * table_P + 0.7 * table_C) or "same"
)
means = rng.random(alive.shape)
expected = np.arange(5) != means.argmin(axis=-1)[..., None]
print("drop_worst:", "same" if (cp.drop_worst(alive, means) == expected).all() else "differs")

# %% [markdown]
# A whole search, with $T = 4$: after every epoch of the Child one operation of each edge falls, until one is left.

# %%
competing = SearchConfig(
    strategy="cp", rounds=1, parent_epochs=5, child_epochs=4, samplings=4, **tiny
)
cp_search = new_search(competing, digits)
history = [cp_search.run_epoch(number, Silent()) for number in range(9)]
alive = np.array([record["active"] for record in history[4:]])  # (5, 2, E, M)
lifetimes = alive.sum(axis=0)  # 1: dropped after the first Child epoch; 5: never
print("Child, validation:", *(f"{record['validation_accuracy']:.0%}" for record in history[5:]))

# %%
figure = Figure(figsize=(6.9, 3.3), layout="constrained")
for ax, cell, title in zip(figure.subplots(1, 2, sharey=True), lifetimes, ("normal", "reduction")):
    ax.imshow(cell, cmap="Blues", vmin=0, vmax=7)
    for (e, m), lifetime in np.ndenumerate(cell):
        ax.text(m, e, "kept" if lifetime == 5 else lifetime, ha="center", va="center", fontsize=9)
    ax.set_xticks(range(5), competing.operation_names, rotation=30, ha="right", fontsize=9)
    ax.set_yticks(range(5), ["0→2", "1→2", "0→3", "1→3", "2→3"])
    ax.set_title(f"{title} cell")
figure.supylabel("edge", fontsize=10)
figure

# %% [markdown]
# A number is the Child's epoch after which the operation was dropped. Average pooling stayed on most edges
# here. The rest follows no rule that one would like to see: on some edges `none` outlived both convolutions, and
# the same convolution fell first on one edge and late or never on another. With $T = 4$ we had to expect as much.
#
# The Child's accuracies above are taken before each drop, the last one with two operations an edge. Every drop
# takes a part out of the sums of all nodes, and the Child has one epoch to learn to do without it. The Parent
# keeps all its operations while it teaches: it learns no more, so it could not make up for what it lost.
#
# Algorithm 9 of the book trains each sampled path for an epoch before it is scored; `bnas` scores with shared
# weights, which is much cheaper and cruder. How crude the next section shows.
#
# ## The discretisation gap
#
# A search by $\hat\alpha$ trains a mixture, $\sum_m s_m o_m$ on every edge, and then keeps one operation on each
# of two edges a node. Nobody has trained that path. Why might it be worse? A toy: four features, each an
# "operation"; the truth is the sign of their sum.

# %%
features = rng.standard_normal((10000, 4))
truth = np.sign(features.sum(axis=1))
weights = softmax(np.array([0.3, 0.1, 0.0, 0.0]))
mixed = (np.sign(features @ weights) == truth).mean()
single = (np.sign(features[:, weights.argmax()]) == truth).mean()
print(f"weights {weights.round(2)}: mixture {mixed:.1%}, its strongest member alone {single:.1%}")

# %% [markdown]
# The mixture is good because its members are mixed. That the strongest weighs 0.3 and not 0.25 says little about
# what it does alone. Now the two supernets that go by $\hat\alpha$:

# %%
found = {"direct": (direct, direct.supernet), "Child": (search, search.child)}
for name, (job, supernet) in found.items():
    path = genotype_mask(job.genotype(), alternating.operation_names)
    largest = np.median(softmax(np.float64(supernet.alpha.data)).max(axis=-1))
    whole, alone_accuracy = path_accuracy(supernet), path_accuracy(supernet, path)
    print(f"{name:6}  mixture {whole:.1%}   its path {alone_accuracy:.1%}", end="   ")
    print(f"gap {100 * (whole - alone_accuracy):.1f} points   median largest weight {largest:.2f}")

# %% [markdown]
# The gap is what is lost by discretising with the weights as they are. On a median edge the strongest operation
# weighs less than half, so more than half of what the next node receives is taken away. One can also walk there
# slowly, with $\operatorname{softmax}(\hat\alpha / T)$ and a temperature $T$ that falls from 1 towards 0, where
# the strongest operation of each edge weighs 1.

# %%
temperatures = np.geomspace(1, 0.003, 12)
curves = {}
for name, (_, supernet) in found.items():
    curves[name] = []
    for supernet.temperature in temperatures:
        curves[name].append(path_accuracy(supernet))
    supernet.temperature = 1.0

figure = Figure(figsize=(6.2, 3.2), layout="constrained")
ax = figure.subplots()
for (name, curve), color, style in zip(curves.items(), (ORANGE, BLUE), ("o--", "s-")):
    ax.plot(temperatures, 100 * np.array(curve), style, color=color, label=name)
ax.set_xscale("log")
ax.invert_xaxis()
ax.set(xlabel="temperature $T$ (logarithmic, falling)", ylabel="validation accuracy, %")
ax.set_ylim(0, 100)
ax.legend(frameon=False)
figure

# %% [markdown]
# Both curves end lower than they begin, with no weight $\hat w$ changed: what is lost are the weaker members of
# the mixture. On this way it is the Child that loses more, on the way to its path (the printed gap) the direct
# supernet. The two ends differ: at $T \to 0$ all edges stay and `none` may win one, while a genotype has two edges
# a node and no `none`. And it is one seed. What follows from it is this: the accuracy of a supernet is no estimate
# of its architecture's. A found path is trained anew before it is judged, as in tutorial 12.
#
# ## What goes wrong
#
# **Mistake 1: KL the wrong way round.** `F.kl_div(x, target)` wants the *logarithms* of the Child first, and the
# Parent's probabilities second. The other way round one has $\operatorname{KL}(\hat p \,\|\, p)$, which is 0 in
# the same place, so it looks fine. Its gradient is
#
# $$\frac{\partial}{\partial z_k} \operatorname{KL}(\hat p\,\|\,p) =
#   \hat p_k \Big(\ln\frac{\hat p_k}{p_k} - \operatorname{KL}(\hat p\,\|\,p)\Big),$$
#
# with $\hat p_k$ in front: a class that the Child thinks impossible can hardly be pushed up. Let a Child be sure
# of a wrong class.

# %%
p_toy, start = softmax(np.array([4.0, 3.0, 0, 0])), np.array([0.0, 0, 0, 8])


def descend(gradient, steps=120, rate=0.5):
    z, curve = start.copy(), []
    for _ in range(steps):
        q = softmax(z)
        curve.append(kl(p_toy, q))
        z -= rate * gradient(q)
    return np.array(curve), softmax(z)


ways = {
    "KL(p ‖ p̂), the Child's": lambda q: q - p_toy,
    "KL(p̂ ‖ p), reversed": lambda q: q * (np.log(q / p_toy) - kl(q, p_toy)),
}
ends = {name: descend(gradient) for name, gradient in ways.items()}
print("the Parent              ", p_toy.round(3))
for name, (_, q) in ends.items():
    print(
        f"{name:24}", q.round(3), f"first gradient {np.abs(ways[name](softmax(start))).max():.4f}"
    )

# %%
figure = Figure(figsize=(6.2, 2.9), layout="constrained")
ax = figure.subplots()
for (name, (curve, _)), color, style in zip(ends.items(), (BLUE, ORANGE), ("-", "--")):
    ax.plot(curve, style, color=color, label=name)
ax.set(xlabel="step", ylabel=r"KL(p ‖ p̂), nats")
ax.legend(frameon=False)
figure

# %% [markdown]
# The right way comes down at once. The reversed one hardly moves, the less the surer the Child is of its
# mistake. Where a Child cannot match the Parent at all, there is another difference:
# $\operatorname{KL}(p\,\|\,\hat p)$ punishes $\hat p_n \approx 0$ wherever $p_n$ is not, so it covers all that
# the Parent thinks possible, while the reversed one is content with one of several. The symptom in a run:
# images that the Child got wrong early stay wrong, with high confidence.
#
# **Mistake 2: a path by running statistics.** Batch norms in evaluation use the running means and variances,
# and those are of the *mixture*. A path has others. Paths through the direct supernet, the found one and 25
# drawn ones, both ways:

# %%
supernet, names_of = direct.supernet, alternating.operation_names
chosen = genotype_mask(direct.genotype(), names_of)
drawn = [mask for _ in range(5) for mask in cp.sample_paths(everything, rng)]


def by_running_statistics(mask):
    with supernet.restricted(mask):
        return accuracy(supernet, validation)


both = 100 * np.array(
    [[by_running_statistics(m), path_accuracy(supernet, m)] for m in [chosen, *drawn]]
)
print(
    f"the found path: {both[0, 0]:.1f} % by running statistics, {both[0, 1]:.1f} % by the batch's"
)
print(
    f"the mixture:    {100 * accuracy(supernet, validation):.1f} %, {100 * path_accuracy(supernet):.1f} %"
)

# %%
figure = Figure(figsize=(4.6, 3.9), layout="constrained")
ax = figure.subplots()
ax.axvline(10, color="#999999", linewidth=1, linestyle=":")
ax.axhline(10, color="#999999", linewidth=1, linestyle=":")
ax.plot([0, 100], [0, 100], color="#999999", linewidth=1)
ax.plot(*both[1:].T, "o", color=BLUE, label="drawn paths")
ax.plot(*both[0], "D", color=ORANGE, markersize=9, label="the found path")
ax.set(xlabel="accuracy by running statistics, %", ylabel="accuracy by the batch's statistics, %")
ax.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
ax.legend(frameon=False, loc="upper left")
figure

# %% [markdown]
# By running statistics the architecture that this search has found is close to chance; with those of the images it
# is right on most. The orange diamond is far above the diagonal. (Most of the drawn paths are near chance either
# way: drawn at random, they consist of operations that hardly weighed while the supernet learned. This is what
# CP-NAS's scores rest on here.) The symptom is an accuracy at chance for what should be good. That is why
# `restricted_accuracy` takes the statistics of the images, and leaves the running ones as they are.
#
# **Mistake 3: inherited weights, old $\beta$.** If $\beta$ is learned, it belongs to the Child's old weights.
# One who copies $w$ and forgets $\beta$ keeps it. We plant three sorts of old $\beta$ in a Child and copy the
# Parent's weights, with and without the reset.


# %%
def inherited(change, reset):
    """Of the Child after ŵ ← w, its old β having been `change`d: accuracy, cosine and error of its kernels."""
    rng = np.random.default_rng(3)
    child = new_supernet(alternating, digits, Precision(True, "clip", "learned"), rng)
    layers = [part for part in child.modules() if isinstance(part, nn.XnorConv2d)]
    for layer in layers:
        layer.beta.data = np.float32(change(layer.beta.data, rng))
    if reset:
        child.inherit_weights(alone.parent)
    else:
        old, given = child.state_dict(), alone.parent.state_dict()
        child.load_state_dict(old | {name: given[name] for name in given if name in old})
    child.alpha.data = alone.parent.alpha.data.copy()
    pairs = [(part.kernel().ravel(), part.weight.data.ravel()) for part in layers]
    norm = np.linalg.norm
    cosine = np.mean([k @ w / norm(k) / norm(w) for k, w in pairs])
    return path_accuracy(child), cosine, np.mean([norm(k - w) / norm(w) for k, w in pairs])


# %%
def flip(share):
    return lambda beta, rng: np.where(rng.random(beta.shape) < share, -beta, beta)


cases = {
    "reset": (flip(0.5), True),
    "old, as it was": (flip(0), False),
    "old, 5 times as large": (lambda beta, rng: 5 * beta, False),
    "old, a third negative": (flip(1 / 3), False),
    "old, half negative": (flip(0.5), False),
}
print("beta                    accuracy   cosine of kernel and w   relative error of kernel")
for name, case in cases.items():
    print("{:23} {:8.1%} {:15.2f} {:24.2f}".format(name, *inherited(*case)))

# %% [markdown]
# A $\beta$ that is too large does no harm to the accuracy: batch norm divides by it, and a sign does not see it.
# It shows in the error of the kernels, which is what $L_R$ measures, and with running statistics. A *negative*
# $\beta$ turns a channel upside down that the Parent has the right way up; then the cosine falls, and the accuracy
# with it. Nothing forbids a learned $\beta$ to become negative, though $L_R$ draws it to
# $\operatorname{mean}|\hat w|$. The symptom is a deeper notch in the green line above; $L_R$ alone does not tell,
# as it jumps at every inheritance, with the right $\beta$ too: new weights are far from $\pm\beta$.
#
# ## Exercises
#
# **Exercise 1.** Distillation often softens both sides by a temperature $\tau$:
# $L = \tau^2 \operatorname{KL}\big(\operatorname{softmax}(t/\tau) \,\|\, \operatorname{softmax}(z/\tau)\big)$,
# averaged over the batch, where $t$ are the Parent's logits. Derive and write $\partial L / \partial z$.


# %% tags=["exercise-1"]
def softened_gradient(z, t, tau):
    """z, t (B, N) -> the gradient for z (B, N)."""
    ...


# %% tags=["check-1"]
def examine_1(answer):
    rng = np.random.default_rng(21)
    for B, N, tau in ((1, 3, 1.0), (4, 10, 2.0), (3, 5, 0.5)):
        z, t = rng.standard_normal((2, B, N))

        def loss(z):
            return tau**2 * kl(softmax(t / tau), softmax(z / tau)).mean()

        slopes = np.empty_like(z)
        for at in np.ndindex(z.shape):
            h = np.zeros_like(z)
            h[at] = 1e-5
            slopes[at] = (loss(z + h) - loss(z - h)) / 2e-5
        fault = difference(answer(z.copy(), t.copy(), tau), slopes, 1e-6)
        if fault:
            return f"for shape {z.shape} and tau = {tau}, by finite differences: {fault}"


check(1, softened_gradient, examine_1)

# %% [markdown]
# **Exercise 2.** Score from any list of paths, drawn in whatever way. `paths` (S, E) holds for each of S paths the
# number of the operation on each of E edges; `parent` and `child` (S,) the two accuracies of each path. Return for
# every edge the number of the operation with the least mean $z$, among those that occur on it: what was never
# drawn is not dropped.


# %% tags=["exercise-2"]
def worst_operations(paths, parent, child, beta_p): ...


# %% tags=["check-2"]
def examine_2(answer):
    rng = np.random.default_rng(22)
    for S, E, M in ((6, 1, 3), (20, 5, 5), (60, 14, 8), (7, 4, 8)):
        paths = np.minimum(rng.geometric(0.3, (S, E)) - 1, M - 1)  # some operations much more often
        parent, child, beta_p = rng.uniform(0.1, 1, S), rng.uniform(0.1, 0.7, S), rng.uniform()
        found = answer(paths.copy(), parent.copy(), child.copy(), beta_p)
        expected, told = [], ""
        for e, column in enumerate(paths.T):
            used, count = np.unique(column, return_counts=True)
            z = [np.mean(cp.score(parent, child, beta_p)[column == m]) for m in used]
            expected.append(used[np.argmin(z)])
            if len(found) == E and found[e] != expected[e] and not told:
                each = (f"{m}: {k} paths, {v:.3f}" for m, k, v in zip(used, count, z))
                told = f"; edge {e} has, with the means of z, " + "; ".join(each)
        fault = difference(found, expected)
        if fault:
            return f"with {S} paths, {E} edges and {M} operations: {fault}{told}"


check(2, worst_operations, examine_2)

# %% [markdown]
# **Exercise 3.** A path's own statistics can be had: pass all images through it once more, batch by batch, and put
# together what is seen. A batch norm sees `batches`, a list of arrays (N, C, H, W) whose N may differ. Return the
# mean and the variance (dividing by the count) of each channel over *all* pixels of all batches, without joining
# the batches.


# %% tags=["exercise-3"]
def pooled_statistics(batches):
    """-> array (2, C): means and variances."""
    ...


# %% tags=["check-3"]
def examine_3(answer):
    rng = np.random.default_rng(23)
    for sizes in ((4,), (32, 32, 9), (1, 50, 3, 7)):
        shift = rng.standard_normal((len(sizes), 3, 1, 1)) * 2
        parts = [rng.standard_normal((n, 3, 4, 5)) + s for n, s in zip(sizes, shift)]
        together = np.concatenate(parts)
        truth = [together.mean(axis=(0, 2, 3)), together.var(axis=(0, 2, 3))]
        fault = difference(answer([part.copy() for part in parts]), truth)
        if fault:
            return f"for batches of {sizes} images: {fault} (first row means, second row variances)"


check(3, pooled_statistics, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/search/objectives.py`: `kl_to_teacher`, `child_loss`; `bnas/search/phases.py`: `SupervisedPhase` and
#   `ChildPhase`, the steps of both supernets; `bnas/search/dcp.py`: `algorithm`, the turns in four lines.
# * `bnas/search/bnas.py` (direct search), `bnas/search/cp.py` (CP-NAS), `bnas/search/paths.py` (accuracies of
#   paths). `docs/strategies.md` compares the strategies and says where they depart from the papers.
# * Try `bnas search RUN --strategy cp`, then `bnas plot RUN`.
# * Next: tutorial 9, what the Parent can say beyond its predictions: in which direction $\alpha$ wants to go.
# * Zhang, Xu, Lin, Wang, Doermann, *Binary Neural Networks: Algorithms, Architectures, and Applications* (2024):
#   "the book". Sections 4.3 and 4.4 tell CP-NAS and DCP-NAS; our equation numbers are its own.
# * Zhuo et al., *CP-NAS: Child-Parent Neural Architecture Search for 1-bit CNNs* (IJCAI 2020, arXiv
#   2005.00057); Hinton, Vinyals, Dean, *Distilling the Knowledge in a Neural Network* (2015, arXiv 1503.02531);
#   Liu, Simonyan, Yang, *DARTS* (2019, arXiv 1806.09055).
