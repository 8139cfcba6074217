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
# # 5. A 1-bit CNN on digits
#
# The parts are there: an engine, a sign that learns, a convolution on bits. This tutorial makes a network of
# them, trains it on real images, compares it with its real twin, and packs it into bits.
#
# **You will be able to**
#
# * say where batch norm belongs in a 1-bit network, and what it does there;
# * watch a training by the signs that flip, and train in two stages;
# * compare a 1-bit network with its real twin over several seeds, pack it, and say where its bits are.
#
# **It assumes** tutorials 1 to 4.

# %%
import numpy as np
from exercises import check, difference

import bnas
import bnas.functional as F
from bnas import nn, optim
from bnas.data import batches
from bnas.evaluation import accuracy
from bnas.packed import PackedNetwork
from bnas.plots import Figure

BLUE, ORANGE, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
digits = bnas.data.load_dataset("digits")
print(len(digits.train), len(digits.validation), len(digits.test), "images of", digits.image_shape)

# %% [markdown]
# ## The network
#
# The real twin is an ordinary small CNN of three convolutions. In a 1-bit network three things differ:
#
# * The convolutions in the middle are $\beta \circ (\operatorname{sign} x \odot \operatorname{sign} \hat w)$
#   (tutorial 4), layers of the class `nn.XnorConv2d`.
# * There is no ReLU. The sign at the entrance of the next 1-bit convolution *is* the activation.
# * Batch norm stands directly before that sign. (A max pooling would stand before the sign too: the largest of
#   four independent fair bits is $+1$ in 15 of 16 cases, and tells little.)
#
# The first convolution stays real, because the images are no signs and it has few weights: one input channel.
# The classifier stays real too, because its outputs are logits and not bits. Nearly all 1-bit networks are built
# so.


# %%
def build(seed, binary=True, norm=True, relu=False):
    """A CNN of three convolutions; the latter two are 1-bit if `binary`."""
    rng, layers = np.random.default_rng(seed), []
    for number, (before, after) in enumerate([(1, 16), (16, 32), (32, 64)]):
        settings = {"stride": 2 if number == 1 else 1, "padding": 1, "rng": rng}
        if number and binary:
            layers.append(nn.XnorConv2d(before, after, 3, **settings))
        else:
            layers.append(nn.Conv2d(before, after, 3, bias=False, **settings))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        if not binary or (relu and number < 2):  # before a sign only
            layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10, rng=rng))


print(build(0))

# %% [markdown]
# ## Where batch norm goes, and why
#
# A sign asks one question: is it above 0? The answer is worth most when both answers are about equally frequent.
# If a channel answers $+1$ for every pixel of every image, it says nothing about the image.
#
# What reaches the sign is a sum of $n$ products of signs. If those were $n$ independent fair coins, its mean
# would be 0 and its variance $n$. They are not fair. Write $m_i$ for the mean of input bit $i$ over the images.
# Then
#
# $$s = \sum_{i=1}^n b^w_i\, b^a_i, \qquad \mathbb E\, s = \sum_{i=1}^n b^w_i\, m_i ,$$
#
# an offset that differs from channel to channel and has nothing to do with the image. The larger it is against
# the spread of $s$, the less often the bit changes.
#
# Let us look at it without any training. The convolution in a few lines of NumPy:


# %%
def sign(x):
    return np.where(x > 0, 1.0, -1.0)


def correlate(x, w, stride=1):
    """x (N, C, H, W), w (O, C, 3, 3) -> (N, O, Ho, Wo), padding 1 with zeros."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride], w, optimize=True)


def normalise(x):
    """Each channel with mean 0 and standard deviation 1, over the images and their pixels."""
    axes = (0, 2, 3)
    return (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)


# %% [markdown]
# The untrained weights of the network, 128 images, and the integers of both 1-bit layers, once with batch norm
# before each sign and once without:

# %%
w0, w1, w2 = (p.data for name, p in build(0).named_parameters() if p.data.ndim == 4)
images = digits.train.images[:128]
sums, shares = {}, {}
for name, norm in (("without", lambda x: x), ("with", normalise)):
    first = norm(correlate(images, w0))
    second = correlate(sign(first), sign(w1), stride=2)
    third = correlate(sign(norm(second)), sign(w2))
    sums[name] = third
    shares[name] = np.sort((norm(third) > 0).mean(axis=(0, 2, 3)))
    low, high = shares[name].min(), shares[name].max()
    print(f"{name:8} batch norm: channels have {low:.0%} to {high:.0%} bits of +1")

# %%
figure = Figure(figsize=(6.9, 3.4), layout="constrained")
left, right = figure.subplots(1, 2)
s = sums["without"]
mean, spread = s.mean(axis=(0, 2, 3)), s.std(axis=(0, 2, 3))
order = np.argsort(mean)
left.axhline(0, color="#999999", linewidth=1)
left.errorbar(
    range(64), mean[order], spread[order], fmt=".", color=BLUE, ecolor="#56B4E9", markersize=4
)
left.set(xlabel="channel, by its mean", ylabel=r"integer sum $s$, mean ± std")
for (name, share), color, dashes in zip(shares.items(), (ORANGE, BLUE), ("--", "-")):
    right.plot(100 * share, color=color, linestyle=dashes, label=f"{name} batch norm")
right.set(xlabel="channel, by its share", ylabel="bits that are +1, %", ylim=(-3, 103))
right.legend(frameon=False, fontsize=9)
figure

# %% [markdown]
# On the left are the integers of the last layer without batch norm: the means differ from channel to channel,
# and the spread is far above 1. On the right see the consequence: the dashed line is the steeper one, its
# channels lean to one side; with batch norm all lie near the middle. The lean is mild here. These weights are
# drawn symmetrically about 0, so the products in the offset partly cancel; nothing keeps them so in training.
#
# That is the first task of batch norm, and it concerns the forward pass: it **centres**. The second concerns the
# backward pass: it **scales**. By tutorial 3 the STE lets a gradient through only where $|x| \le 1$. Of a sum of
# 288 signs hardly any is that small: its spread is of the order of $\sqrt{288} \approx 17$, in the figure some 13,
# as at the borders of these small images taps lie outside. After batch norm the standard deviation is 1, and of a
# Gaussian 68 % lie within. In the third row the integers are multiplied by $\beta$:

# %%
beta = abs(w2).mean(axis=(1, 2, 3))[:, None, None]
for name, x in (("integers", s), ("normalised", normalise(s)), ("beta times", beta * s)):
    print(f"{name:10}: the gradient passes at {(abs(x) <= 1).mean():4.0%} of all places")

# %% [markdown]
# So $\beta$ brings the size back too, at least at the beginning: initial weights have a variance of $2/n$ (He et
# al.), $\beta = \sqrt{2/n}\,\sqrt{2/\pi}$ for a Gaussian, and $\beta\sqrt n = 2/\sqrt\pi \approx 1.1$. But it is
# tied to the size of latent weights, which training moves, and it is positive, so it centres nothing. In front
# of a batch norm it does nothing at all: mean and standard deviation of $\beta s$ are $\beta$ times those of
# $s$, so
#
# $$\frac{\beta s - \beta\mu}{\beta\sigma} = \frac{s - \mu}{\sigma} .$$
#
# Is that what the layers of the library compute? (Their batch norm adds $\epsilon = 10^{-5}$ to the variance, so
# not to the last digit.)

# %%
layer, norm = nn.XnorConv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64)
layer.weight.data = w2
x = normalise(second).astype(np.float32)
output = layer(x)
print("beta s as in the layer:    ", np.allclose(beta * correlate(sign(x), sign(w2)), output.data))
error = abs(norm(output).data - normalise(correlate(sign(x), sign(w2)))).max()
print(f"batch norm with beta against without: at most {error:.0e} apart")

# %% [markdown]
# This is of use below: where a batch norm follows, the latent weights of a channel may be multiplied by any
# positive number, and the network computes the same in training. Only their signs count.
#
# ### It costs nothing
#
# In use, batch norm has fixed numbers: from here on $\mu$ and $\sigma$ are the mean and the standard deviation of
# $\beta s$ that it has stored. A sign follows. For one channel with learned $\gamma > 0$ and shift $b$
#
# $$\gamma\,\frac{\beta s - \mu}{\sigma} + b > 0 \iff s > t, \qquad
#   t = \frac1\beta\Big(\mu - \frac{b\,\sigma}{\gamma}\Big).$$
#
# $s$ is an integer, so $s > t$ is $s \ge \lfloor t \rfloor + 1$. Batch norm and sign together are *one
# comparison of two integers*. That is why they should stand next to each other. We will meet the thresholds
# again in the packed network. (What if $\gamma$ is negative? Exercise 1.)
#
# ## Training, and the flips
#
# The loss and the validation accuracy say how good a network is. In a 1-bit network there is a third number to
# watch: the share of weights whose **sign** is another one than an epoch before, the *flips*. A latent weight
# may move as much as it likes; only a flip changes the network.
#
# The training is Adam with a learning rate that falls along a cosine. The argument `real_epochs` will be used
# for two stages; it is 0 for now.


# %%
EPOCHS = 6


def latent(network):
    return [part for part in network.modules() if isinstance(part, nn.XnorConv2d)]


def epoch(network, optimiser, rng):
    """One pass over the training images; returns the mean loss."""
    network.train()
    losses = []
    for images, labels in batches(digits.train, 64, rng, drop_last=True):
        loss = F.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    network.eval()
    return np.mean(losses)


# %%
def train(network, seed=0, real_epochs=0, rate=0.01, decay=0.0, lowered=True):
    """Train; returns a list with a dict for every epoch."""
    rng, layers, history = np.random.default_rng(seed), latent(network), []
    for number in range(EPOCHS):
        if number in (0, real_epochs):  # a stage begins
            length = real_epochs if number < real_epochs else EPOCHS - real_epochs
            optimiser = optim.Adam(network.parameters(), lr=rate, weight_decay=decay)
            schedule = optim.lr_scheduler.CosineAnnealingLR(optimiser, length)
            for layer in layers:
                layer.binary_weights = number >= real_epochs
        before = [layer.weight.data > 0 for layer in layers]
        loss = epoch(network, optimiser, rng)
        if lowered:
            schedule.step()
        flips = [np.mean((layer.weight.data > 0) != b) for layer, b in zip(layers, before)]
        validation = accuracy(network, digits.validation)
        history.append({"loss": loss, "validation": validation, "flips": flips})
    return history


# %%
binary = build(0)
start = [layer.weight.data > 0 for layer in latent(binary)]
history = train(binary)
for number, row in enumerate(history, start=1):
    flips = "  ".join(f"{share:5.1%}" for share in row["flips"])
    print(
        f"epoch {number}: loss {row['loss']:.3f}, validation {row['validation']:.1%}, flips {flips}"
    )

# %% tags=["picture"]
epochs = np.arange(1, EPOCHS + 1)
figure = Figure(figsize=(6.9, 3.2), layout="constrained")
left, right = figure.subplots(1, 2)
left.plot(epochs, [100 * row["validation"] for row in history], "o-", color=BLUE)
left.set(xlabel="epoch", ylabel="validation accuracy, %")
for number, (color, marker) in enumerate(((ORANGE, "s-"), (BLACK, "^--"))):
    flips = [100 * row["flips"][number] for row in history]
    right.plot(epochs, flips, marker, color=color, label=f"1-bit layer {number + 1}")
right.set(xlabel="epoch", ylabel="weights whose sign flipped, %", ylim=(0, None))
right.legend(frameon=False)
figure

# %% [markdown]
# On the left the accuracy rises, fast at first. On the right see the flips fall from epoch to epoch in both
# layers, to almost none in the last, as the learning rate falls. This is what a healthy training looks like: first
# the signs are sorted out, then they settle, and what still moves is batch norm and the classifier.
#
# Do all these flips lead anywhere? Add them up, and compare with the signs that are different at the end:

# %%
flipped = np.sum([row["flips"] for row in history], axis=0)
changed = [np.mean((layer.weight.data > 0) != b) for layer, b in zip(latent(binary), start)]
for number, (total, share) in enumerate(zip(flipped, changed), start=1):
    print(f"layer {number}: {total:5.1%} flips in sum, yet {share:5.1%} of the signs have changed")

# %% [markdown]
# The rest cancelled: weights that went to and fro, as the STE lets them (tutorial 3). Flips are counted here
# only once an epoch, so those within an epoch come on top.
#
# ## In two stages
#
# Two approximations at once are hard to learn. So one can binarise in two stages: first only the *activations*,
# with real weights; then the weights too, starting from those learned. In `nn.XnorConv2d` the switch is
# `binary_weights`. `bnas train --stages 2` does the same for a network that a search has found (`bnas/train.py`);
# our `train` does it by hand. What happens at the switch?

# %%
first_stage = build(0)
for layer in latent(first_stage):
    layer.binary_weights = False
rng = np.random.default_rng(0)
optimiser = optim.Adam(first_stage.parameters(), lr=0.01)
for _ in range(EPOCHS // 2):
    epoch(first_stage, optimiser, rng)
print(f"real weights              {accuracy(first_stage, digits.validation):.1%}")
for layer in latent(first_stage):
    layer.binary_weights = True
print(f"the moment after          {accuracy(first_stage, digits.validation):.1%}")
optimiser = optim.Adam(first_stage.parameters(), lr=0.0)
epoch(first_stage, optimiser, rng)
print(f"batch norm measured anew  {accuracy(first_stage, digits.validation):.1%}")

# %% [markdown]
# At the switch a part of what was learned is lost. The third row shows how much of that is no fault of the
# signs: an epoch with learning rate 0 moves no weight, it only lets batch norm measure the means and variances
# of the new sums. The second stage has to win back the rest. Whether the detour pays is a question for an
# experiment.
#
# ## Against its real twin, over three seeds
#
# One run tells little: another seed, another result. So three networks each are trained with three seeds, which
# decide on the initial weights and on the order of images. All get the same number of epochs, so that two stages
# have to do with half of them each.

# %%
kinds = {"real": (False, 0), "1-bit": (True, 0), "1-bit, two stages": (True, EPOCHS // 2)}
networks, found = {}, {}
for name, (is_binary, real_epochs) in kinds.items():
    for seed in range(3):
        network = networks[name, seed] = build(seed, is_binary)
        train(network, seed, real_epochs)
    found[name] = [accuracy(networks[name, seed], digits.test) for seed in range(3)]
    print(f"{name:18}", *(f"{value:6.1%}" for value in found[name]))

# %% [markdown]
# The seeds are paired, so we look at the differences for each seed. Their mean $\bar d$ is uncertain by
# $\pm\, t\, s_d/\sqrt 3$, with the standard deviation $s_d$ of three differences and $t = 4.30$, the 97.5 %
# quantile of Student's distribution with 2 degrees of freedom. That number is so large because three seeds know
# little about their own spread.


# %%
def compare(first, second):
    d = 100 * (np.array(found[first]) - np.array(found[second]))
    half = 4.30 * d.std(ddof=1) / np.sqrt(3)
    verdict = "within noise" if abs(d.mean()) <= half else "beyond noise"
    print(f"{first} - {second}: {d.mean():+.1f} ± {half:.1f} percentage points, {verdict}")


compare("real", "1-bit")
compare("1-bit, two stages", "1-bit")

# %%
figure = Figure(figsize=(6.2, 2.4), layout="constrained")
ax = figure.subplots()
for height, (name, color) in enumerate(zip(found, (BLUE, ORANGE, GREEN))):
    for seed, marker in enumerate("os^"):
        ax.plot(100 * found[name][seed], height, marker, color=color, markersize=8, alpha=0.8)
    ax.plot(100 * np.mean(found[name]), height, "|", color=BLACK, markersize=22)
ax.set_yticks(range(3), list(found))
ax.set(xlabel="test accuracy, % (a symbol for each seed, a bar for the mean)", ylim=(2.6, -0.6))
figure

# %% [markdown]
# See how far the rows lie apart, and how far the symbols within a row. The gap between the real network and the
# 1-bit one is larger than chance over seeds explains: on this task, with networks of this size and so few epochs,
# one bit costs some points; how many, the first interval says, and it is wide. Two stages are no better here; the
# difference is within noise, and which of the two is better these runs cannot say. It would take more seeds, and
# more epochs: three for each stage are few.
#
# The interval covers another seed, and not other *images*. All networks have been tested on the same 364.
# Measured on so few, an accuracy of 92 % is uncertain by $1.96\sqrt{0.92 \cdot 0.08 / 364} = 2.8$ points either
# way. Tutorial 12 is about such comparisons.
#
# ## Packed
#
# `PackedNetwork.pack` takes a trained Module apart. It runs it once, records what it computes, and replaces what
# can be replaced: weights and activations by bits, batch norm with the next sign by thresholds.

# %%
packed = PackedNetwork.pack(binary, digits.image_shape, digits.mean, digits.std)
same = np.array_equal(
    packed.predict(digits.test.images), binary(digits.test.images).data.argmax(axis=1)
)
print(f"predictions of the {len(digits.test)} test images unchanged: {same}")
for step in packed.model.steps:
    finish = getattr(step.layer, "finish", None)
    print(
        type(step.layer).__name__,
        step.layer.w.shape,
        "" if finish is None else type(finish).__name__,
    )

# %% [markdown]
# The first 1-bit layer ends in a `Threshold`, since a 1-bit layer follows; the second in a `Rescale`, as the
# mean over pixels needs numbers. Are the thresholds ours, $\lfloor t \rfloor + 1$?

# %%
conv, norm = latent(binary)[0], [p for p in binary.modules() if isinstance(p, nn.BatchNorm2d)][1]
beta = abs(conv.weight.data).mean(axis=(1, 2, 3))
sigma = np.sqrt(norm.running_var + norm.eps)
t = (norm.running_mean - norm.bias.data * sigma / norm.weight.data) / beta
threshold = packed.model.steps[1].layer.finish
print("all gamma positive:", (norm.weight.data > 0).all())
print("ours    ", (np.floor(t) + 1).astype(int)[:12])
print("packed  ", threshold.least[:12])
print("all equal:", np.array_equal(np.floor(t) + 1, threshold.least))

# %% [markdown]
# And the size? `nn.size_in_bits` counts one bit for every 1-bit weight and 32 for any other number, running
# statistics included.

# %%
twin = networks["real", 0]
for name, network in (("real", twin), ("1-bit", binary)):
    print(
        f"{name:6} {nn.parameter_count(network):,} parameters, {nn.size_in_bits(network):8,} bits"
    )
print(f"ratio {nn.size_in_bits(twin) / nn.size_in_bits(binary):.1f}\n")
print(packed.size_table())

# %%
parts = nn.bits_by_part(binary)
totals = {}
for kinds_of_part in parts.values():
    for kind, bits in kinds_of_part.items():
        totals[kind] = totals.get(kind, 0) + bits
figure = Figure(figsize=(6.2, 2.5), layout="constrained")
ax = figure.subplots()
colors = (BLUE, "#56B4E9", ORANGE, "#E69F00", GREEN)
bars = ax.barh(list(totals), [bits / 1000 for bits in totals.values()], color=colors)
ax.bar_label(bars, [f"{bits / sum(totals.values()):.0%}" for bits in totals.values()], padding=4)
ax.margins(x=0.12)
ax.invert_yaxis()
ax.set_xlabel("thousands of bits")
figure

# %% [markdown]
# The ratio is not 32. See where the bits are: the 1-bit weights are nearly all of the parameters, and only about a
# third of the bits. What stayed real, batch norms, classifier and the first convolution, is the larger part. In
# wide networks the weights grow with the square of the channels and all the rest in proportion to them, so the
# ratio rises. Packing saves besides, as the table printed above tells: a threshold replaces five numbers, $\beta$
# and the four of batch norm. (It takes 33 bits: an integer, and one that tells its direction, which exercise 1
# needs. `scales back to floats` are the $\beta$, factor and shift of a `Rescale`.)
#
# ## What goes wrong
#
# Six trainings from the same seed, each with one mistake. First what they are.
#
# **Mistake 1: no batch norm.** Once with the scale $\beta$, once with bare integers.
#
# **Mistake 2: a ReLU before the sign**, out of habit. What does it do?

# %%
x = np.random.default_rng(0).standard_normal(10_000)
for name, v in (("no ReLU", x), ("ReLU", np.maximum(x, 0))):
    print(f"{name:8} bits of +1: {np.mean(v > 0):.0%} if 0 counts as -1,", end=" ")
    passes = (abs(v) <= 1) & ((x > 0) | (name == "no ReLU"))
    print(f"{np.mean(v >= 0):.0%} if it counts as +1; gradient passes at {np.mean(passes):.0%}")

# %% [markdown]
# Many programs count 0 as $+1$. There, behind a ReLU *all* bits are $+1$ and the network is blind: it computes
# the same for every image. In `bnas` 0 is $-1$, so $\operatorname{sign}(\max(x, 0)) = \operatorname{sign} x$,
# and the bits are the same as without it. But backward the ReLU blocks every negative input, and a bit of $-1$
# can no longer be told to become $+1$: half of the gradient is lost.
#
# **Mistake 3: a learning rate that is too high**, or not lowered in the end. **Mistake 4: weight decay on latent
# weights.** A flip happens where a step is larger than the distance of $\hat w$ from 0. So what counts is the
# rate *divided by the size of the latent weights*. Weight decay shrinks them; and as the network depends on
# their signs only, the loss does not object.


# %%
def bare_integers(network):
    """Without the scale: a beta that is given, 1, and not learned."""
    for layer in latent(network):
        layer.beta = nn.Parameter(np.ones(len(layer.weight), np.float32))
        layer.beta.requires_grad = False
    return network


mistakes = {
    "no batch norm": (build(0, norm=False), {}),
    "no batch norm, no beta": (bare_integers(build(0, norm=False)), {}),
    "ReLU before sign": (build(0, relu=True), {}),
    "rate 1": (build(0), {"rate": 1.0}),
    "rate 0.01, not lowered": (build(0), {"lowered": False}),
    "weight decay 0.01": (build(0), {"decay": 0.01}),
}
runs = {name: train(network, **settings) for name, (network, settings) in mistakes.items()}

# %%
runs = {"as it should be": history} | runs
trained = {"as it should be": binary} | {name: pair[0] for name, pair in mistakes.items()}
print(f"{'':23}   loss  validation  last flips  mean |w|")
for name, network in trained.items():
    last, layers = runs[name][-1], latent(network)
    size = np.mean([abs(layer.weight.data).mean() for layer in layers])
    row = f"{last['loss']:7.3f} {last['validation']:11.1%} {np.mean(last['flips']):11.1%}"
    print(f"{name:23}{row} {size:9.4f}")

# %%
figure = Figure(figsize=(6.2, 3.4), layout="constrained")
ax = figure.subplots()
shown = ("as it should be", "rate 1", "rate 0.01, not lowered", "weight decay 0.01")
for name, color, style in zip(shown, (BLACK, ORANGE, BLUE, GREEN), ("o-", "D:", "s--", "v-.")):
    flips = [100 * np.mean(row["flips"]) for row in runs[name]]
    ax.plot(epochs, flips, style, color=color, label=name)
ax.set(xlabel="epoch", ylabel="weights whose sign flipped, %", ylim=(-1, None))
ax.legend(frameon=False)
figure

# %% [markdown]
# First the table. One run on 362 validation images is uncertain by some three points, so differences smaller
# than that tell nothing.
#
# *No batch norm* costs little here, with $\beta$ and even with bare integers. That may surprise after all that was
# said, and it is the result. Two 1-bit layers forgive: before them stands a real convolution and behind them a
# real classifier, which can both adapt. In deep networks of bare integers every layer multiplies the gradient that
# it lets through by about the square root of the number of sums an input takes part in, and it explodes; that
# networks of many binary layers fail to train without batch norm is reported by Sari et al. Since it costs nothing
# after training, nobody leaves it out. *ReLU before sign* does not show clearly either, beyond a higher training
# loss, the mark of a gradient that is blocked by half. Mistakes of this kind are found by reading the network and
# by counting where bits and gradients pass, as above, not by looking at the accuracy.
#
# The others show in the flips. See the figure. At *rate 1* almost half of the signs flip in the first epoch, and
# then none at all: the latent weights were thrown far outside of $[-1, 1]$ (last column), where they are dead
# (tutorial 3). Flips that stop early while the loss is high are its symptom. With a rate that is *not lowered*
# the flips never settle: they stay at several per cent an epoch to the end. The accuracy need not suffer, but
# the network that one stops with is a matter of chance. With *weight decay* the latent weights are some thirty
# times smaller, and at the same rate half of all signs flip in an epoch: there is nothing left that remembers.
# They settle only because the rate goes to 0, and the loss is three times as high. So leave latent weights out
# of the decay, or make it far smaller.
#
# ## Exercises
#
# **Exercise 1.** Fold batch norm and sign into integers for *every* $\gamma$, negative ones and 0 included. For
# the channels of a layer of sums $s \in \{-n, \dots, n\}$, return two arrays: `least`, integers, and `rising`,
# booleans, such that the bit is `s >= least` where `rising`, and its opposite `s < least` elsewhere. $\beta$ and
# $\sigma$ are positive. (An entry of `least` may lie outside of $-n \dots n$.)


# %% tags=["exercise-1"]
def fold(beta, gamma, shift, mean, sigma, n):
    """Arrays (C,) and the integer n -> least (C,), rising (C,)."""
    ...


# %% tags=["check-1"]
def examine_1(answer):
    rng = np.random.default_rng(21)
    for n in (1, 9, 144):
        beta, sigma = 2.0 ** rng.integers(-2, 3, (2, 200))
        gamma, shift = rng.integers(-2, 3, 200) / 2.0, rng.integers(-3, 4, 200) / 2.0
        mean = beta * rng.integers(-n, n + 1, 200)
        s = np.arange(-n, n + 1)[:, None]
        truth = gamma * (beta * s - mean) / sigma + shift > 0
        result = answer(beta, gamma, shift, mean, sigma, n)
        if len(result) != 2:
            return "expected two arrays: least, rising"
        least, rising = (np.asarray(v) for v in result)
        if least.dtype.kind not in "iu" or rising.dtype != bool:
            return f"least is {least.dtype} and rising {rising.dtype}, expected integers and bool"
        if least.shape != (200,) or rising.shape != (200,):
            return f"the shapes are {least.shape} and {rising.shape}, expected (200,) both"
        wrong = np.where(rising, s >= least, s < least) != truth
        if wrong.any():
            row, c = (int(i) for i in np.argwhere(wrong)[0])
            return f"wrong at s = {s[row, 0]}, where gamma = {gamma[c]} and shift = {shift[c]}"


check(1, fold, examine_1)

# %% [markdown]
# **Exercise 2.** From which epoch on does a weight keep its sign? `signs` has a row for the beginning and one
# after every epoch. Return for each weight the first row from which on its sign is that of the end: 0 for a
# weight that never flips.


# %% tags=["exercise-2"]
def settled(signs):
    """signs, bool (E + 1, n) -> integers (n,)."""
    ...


# %% tags=["check-2"]
def examine_2(answer):
    rng = np.random.default_rng(22)
    for rows, n in ((2, 8), (9, 300), (5, 40)):
        signs = rng.random((rows, n)) < rng.random(n)
        truth = [
            min(e for e in range(rows) if (signs[e:, i] == signs[-1, i]).all()) for i in range(n)
        ]
        result = np.asarray(answer(signs.copy()))
        fault = difference(result, truth)
        if fault:
            at = int(np.argmax(result != truth)) if result.shape == (n,) else 0
            return f"{fault}; the signs of weight {at} are {signs[:, at].astype(int)}"


check(2, settled, examine_2)

# %% [markdown]
# **Exercise 3.** *Bi-Real Net* carries real numbers past each 1-bit convolution:
# $y = \mathrm{BN}(\beta \circ (\operatorname{sign} x \odot \operatorname{sign} \hat w)) + x$. Write it as a
# class `Residual(channels)`, an `nn.Module` with a convolution of 3×3 that keeps the size of the image. Name its
# two parts `conv` and `bn`.

# %% tags=["exercise-3"]
Residual = None


# %% tags=["check-3"]
def examine_3(answer):
    rng = np.random.default_rng(23)
    for channels, size in ((3, 5), (16, 4)):
        bnas.manual_seed(1)
        if isinstance(answer, nn.Module):
            return "expected the class, not a network made of it"
        block = answer(channels)
        if not isinstance(getattr(block, "conv", None), nn.XnorConv2d):
            return "its part conv is no nn.XnorConv2d"
        if not isinstance(getattr(block, "bn", None), nn.BatchNorm2d):
            return "its part bn is no nn.BatchNorm2d"
        block.bn.weight.data = rng.uniform(0.5, 2, channels).astype(np.float32)
        x = (3 * rng.standard_normal((4, channels, size, size))).astype(np.float32)
        gamma, w = block.bn.weight.data[:, None, None], block.conv.weight.data
        expected = gamma * normalise(correlate(sign(x), sign(w))) + x
        y = block(x)
        if y is None:
            return "its forward returned nothing; is a `return` missing?"
        fault = difference(y.data, expected, 2e-3)
        if fault:
            return f"for images {x.shape}, in training: {fault}"


check(3, Residual, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/nn/convolutions.py`: `XnorConv2d` with `binary_weights`; `bnas/train.py`: `Training.stage`, two stages
#   and distillation; `bnas/nn/sizes.py`: `bits_by_part`.
# * `bnas/packed/fold.py`: `threshold`, which is exact to the bit where our formula may round;
#   `bnas/packed/steps.py`: from any Module to bits. `docs/packed.md` has the format of the file and the speed.
# * Next: tutorial 6, a search space: which network is it that one should train?
# * Rastegari et al., *XNOR-Net* (2016, arXiv 1603.05279), on the order of batch norm, sign and convolution; Sari
#   et al., *How does batch normalization help binary training?* (2019, 1909.09139); Umuroglu et al., *FINN*
#   (2016, 1612.07119), on thresholds.
# * Martinez et al., *Training binary neural networks with real-to-binary convolutions* (2020, 2003.11535), on
#   stages; Liu et al., *How do Adam and training strategies help BNNs optimization?* (2021, 2106.11309), on
#   flips and weight decay; Liu et al., *Bi-Real Net* (2018, 1808.00278).
