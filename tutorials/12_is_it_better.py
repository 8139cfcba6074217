# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12. Is it better?
#
# One search has found a network with 98.4 % test accuracy, another one with 97.8 %. Is the first search better?
# Perhaps. The seed was one of many, the test images were few, and somebody may have tried until it looked good.
# This tutorial tells a difference from noise, and compares two searches fairly.
#
# **You will be able to**
#
# * say how far an accuracy may be off because of few images, and how far because of the seed;
# * put an interval around a difference, and say how often such an interval misses the truth;
# * compare two searches at equal cost, with random search beside them, and read the result with suspicion.
#
# **It assumes** tutorials 1 to 11.

# %%
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from exercises import check, difference
from scipy.stats import binom, binomtest, t

import bnas
from bnas.comparison import bootstrap_interval
from bnas.config import SearchConfig, TrainConfig
from bnas.contents import FOUND
from bnas.data import load_dataset
from bnas.evaluation import NEIGHBOUR, predict, report
from bnas.plots import Figure, comparison_figure
from bnas.runs import RunFolder, Silent, run
from bnas.runs.files import checkpoint_digest
from bnas.search.strategies import new_search
from bnas.space import format_genotype, skip_genotype, write_genotype
from bnas.train import Training

# %%
BLUE, RED, GREY = "#0072B2", "#D55E00", "#999999"
digits = load_dataset("digits")
print(
    len(digits.train),
    "training,",
    len(digits.validation),
    "validation,",
    len(digits.test),
    "test images",
)

# %% [markdown]
# ## One network, 364 images
#
# Of all digits that anybody will ever write the network is right on a share $p$: that is what we want to know. We
# have $n = 364$ test images, drawn from all of them, and it is right on $k$. Each image is a toss of a coin that
# shows "right" with probability $p$, so $k$ follows the *binomial* distribution, and the measured accuracy
# $\hat p = k / n$ has
#
# $$\operatorname{mean} \hat p = p, \qquad \operatorname{sd} \hat p = \sqrt{p (1 - p) / n},$$
#
# because one toss has the variance $p (1 - p)$, independent tosses add their variances, and dividing by $n$
# divides the variance by $n^2$. One image more or less is $1/364 = 0.27$ percentage points, and the standard
# deviation is

# %%
n = len(digits.test)
for p in (0.90, 0.95, 0.98, 0.99):
    print(f"accuracy {p:.0%}: standard deviation {100 * np.sqrt(p * (1 - p) / n):.2f} points")

# %% [markdown]
# So two networks of the same quality, tested on different images, easily differ by a point.
#
# For an interval one can go $z = 1.96$ standard deviations to both sides, with $\hat p$ in place of the unknown
# $p$: $\hat p \pm z \sqrt{\hat p (1 - \hat p) / n}$. This is the interval of Wald, and it breaks where we need it:
# a network without any mistake gets the interval from 100 % to 100 %. Wilson (1927) asks the other way round:
# which $p$ would make our $\hat p$ no surprise? Those with
#
# $$|\hat p - p| \le z \sqrt{p (1 - p) / n} .$$
#
# Every candidate $p$ brings its own standard deviation. Square both sides and sort by powers of $p$,
#
# $$\Big(1 + \frac{z^2}{n}\Big) p^2 - \Big(2 \hat p + \frac{z^2}{n}\Big) p + \hat p^2 \le 0 ,$$
#
# a parabola that opens upwards. It is below zero between its two roots:
#
# $$\frac{\hat p + \frac{z^2}{2n} \pm z \sqrt{\frac{\hat p (1 - \hat p)}{n} + \frac{z^2}{4 n^2}}}{1 + z^2 / n} .$$


# %%
Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


def wald(k, n, z=Z):
    p, half = k / n, z * np.sqrt(k / n * (1 - k / n) / n)
    return p - half, p + half


def wilson(k, n, z=Z):
    p = k / n
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


for k in (364, 357, 300):
    scipys = binomtest(k, n).proportion_ci(method="wilson")  # what `bnas evaluate` prints
    print(f"{k} of {n} right:  Wald {wald(k, n)[0]:7.2%} to {wald(k, n)[1]:7.2%}", end="   ")
    print(f"Wilson {wilson(k, n)[0]:7.2%} to {wilson(k, n)[1]:7.2%}", end="   ")
    print("equal to SciPy's:", np.allclose(wilson(k, n), (scipys.low, scipys.high), atol=1e-6))

# %% [markdown]
# The interval of `bnas evaluate` is this one. Does a 95 % interval hold the truth in 95 % of cases? For a given
# $p$ that can be calculated: add up the probabilities of all $k$ whose interval holds $p$. This share is the
# *coverage*, and it is the question of this whole tutorial.

# %%
k, truths = np.arange(n + 1), np.linspace(0.9, 0.9995, 400)
figure = Figure(figsize=(6.4, 3.2), layout="constrained")
axes = figure.subplots()
for method, color in ((wald, RED), (wilson, BLUE)):
    low, high = method(k, n)
    inside = (low <= truths[:, None]) & (truths[:, None] <= high)  # (truths, k)
    covered = (binom.pmf(k, n, truths[:, None]) * inside).sum(axis=1)
    axes.plot(100 * truths, 100 * covered, color=color, label=method.__name__.capitalize())
axes.axhline(95, color=GREY, linestyle="--", linewidth=1, label="promised")
axes.set(xlabel="true accuracy, %", ylabel="coverage, %", ylim=(60, 101))
axes.legend(frameon=False, loc="lower left")
figure

# %% [markdown]
# Wilson's interval stays near 95 % nearly up to the end, and Wald's holds the truth less and less often as the
# accuracy nears 100 %. (The teeth come from $k$ being a whole number.)
#
# ## The seed
#
# Train the same architecture again with another seed, and other weights come out. Here the skips alone, a baseline
# of tutorial 11, five times, with everything else equal and the validation images held out:


# %%
def train(genotype, seed, epochs=5):
    """A small 1-bit network of that genotype, trained without the validation images."""
    config = TrainConfig(
        format_genotype(genotype), seed=seed, layers=3, channels=8, epochs=epochs, hold_out=True
    )
    training = Training(config, digits)
    for epoch in range(epochs):
        training.run_epoch(epoch, Silent())
    return training.network


def right(network):
    """Which test images it knows, bool (364,)."""
    return predict(network, digits.test.images).argmax(axis=1) == digits.test.labels


known = np.array([right(train(skip_genotype(2), seed)) for seed in range(5)])
shares = known.mean(axis=1)
print("test accuracy of five seeds, %:", np.round(100 * shares, 1))
print(f"mean {shares.mean():.2%}, standard deviation {100 * shares.std(ddof=1):.2f} points,")
print(f"standard error of the mean {100 * shares.std(ddof=1) / np.sqrt(5):.2f} points")

# %% [markdown]
# Nothing differs but random numbers, and yet the best seed is eight points above the worst. (These
# networks have barely begun to learn. Longer training brings the seeds closer together, but never to one value.)
# Three numbers that are often mixed up:
#
# * The **standard deviation over seeds**, $s$, says how far *one* run is from the mean. It does not shrink with
#   more seeds; it only gets known better. (`ddof=1` divides by one less than the number of seeds, since the mean
#   was taken from the same values.)
# * The **standard error** is $s$ divided by the square root of the number of seeds. It says how far the *mean* of
#   these seeds is from that of all seeds.
# * **Wilson's interval** says how far the accuracy of *one network* may be off because there are 364 images. More
#   seeds do not help against that: all five networks have been tested on the same images.
#
# A result should say which one stands behind its "±". In `bnas compare` it is the first.
#
# ## The bootstrap
#
# A mean of five values has an uncertainty, but what is its interval? The *bootstrap* (Efron, 1979) takes the
# sample for the world. It draws five values from the five, with replacement, takes their mean, and does so 10,000
# times. Between the 2.5th and the 97.5th percentile of these means lies the interval.


# %%
def bootstrap(values, rng, resamples=10_000):
    drawn = values[rng.integers(0, len(values), (resamples, len(values)))]
    return np.percentile(drawn.mean(axis=1), [2.5, 97.5])


ours, theirs = bootstrap(shares, np.random.default_rng(0)), bootstrap_interval(shares)
print("ours: {:.2%} to {:.2%}".format(*ours), "  bnas: {:.2%} to {:.2%}".format(*theirs))
print("equal:", np.allclose(ours, theirs, rtol=1e-12))

# %% [markdown]
# `bootstrap_interval` of `bnas` is SciPy's, with the same random numbers every time, so that a table does not
# change from one look to the next. The bootstrap needs no formula and no normal distribution. What it needs is a
# sample that looks like the world, and of five seeds that is much to ask. We shall count.
#
# ## Pairs
#
# To compare search A with search B, run both with the seeds 0, 1, 2, ... and subtract *seed by seed*. What is that
# good for? Let the accuracies of seed $i$ be
#
# $$a_i = \mu_A + c_i + e_i, \qquad b_i = \mu_B + c_i + e'_i,$$
#
# where $c_i$ is what the seed does to both (the same batches in the same order, say), and $e_i$ and $e'_i$ what it
# does to each alone, all independent. Write $\sigma^2$ for the variance of $a$ and of $b$, and
# $\rho = \operatorname{Var} c / \sigma^2$ for their correlation. In $a_i - b_i$ the common part cancels:
#
# $$\operatorname{Var}(a_i - b_i) = 2 \operatorname{Var} e = 2 \sigma^2 (1 - \rho),
#   \qquad \text{unpaired: } \operatorname{Var}(a_i - b_j) = 2 \sigma^2 \quad (i \ne j).$$
#
# So pairs gain what is common, and if nothing is common ($\rho = 0$) they lose nearly nothing. We count in a
# simulation, where the truth is known, how often an interval holds it. A resample is fully told by how often it
# draws each seed, so the means of all resamples are one matrix product.


# %%
def counts(size, rng, resamples=1000):
    """How often each of `size` values is drawn, in each resample, as shares (resamples, size)."""
    return rng.multinomial(size, np.full(size, 1 / size), size=resamples) / size


def compare_ways(rho, seeds=20, trials=1000, truth=0.5):
    """{way: (coverage, mean width)} of 95 % intervals; accuracies in points, standard deviation 1."""
    rng = np.random.default_rng(1)
    common = np.sqrt(rho) * rng.standard_normal((trials, seeds))
    own = np.sqrt(1 - rho) * rng.standard_normal((2, trials, seeds))
    a, b = truth + common + own[0], common + own[1]
    first, second = counts(seeds, rng), counts(seeds, rng)
    found = {}
    for way, means in (("paired", (a - b) @ first.T), ("unpaired", a @ first.T - b @ second.T)):
        low, high = np.percentile(means, [2.5, 97.5], axis=1)
        found[way] = np.mean((low <= truth) & (truth <= high)), np.mean(high - low)
    return found


for rho in (0, 0.5, 0.9):
    told = [f"{way} {c:.0%} with width {w:.2f}" for way, (c, w) in compare_ways(rho).items()]
    print(f"correlation {rho:3}: the truth is held by " + ", ".join(told))

# %% [markdown]
# With a correlation of 0.9 the paired interval is a third as wide ($\sqrt{1 - 0.9} = 0.32$). The unpaired one
# then holds the truth always, which is no virtue: it is far too wide, and says "noise" where there is a
# difference. How much two searches share with a seed is not known beforehand, and it may be little. Pairs cost
# nothing, so take them.
#
# There is a second pairing, and it nearly always helps. Two networks are tested on **the same images**, and most
# images are easy for both. For each image let $d$ be $+1$ where only the first is right, $-1$ where only the
# second is, else 0. The difference of the accuracies is the mean of $d$, and its standard error that of any mean,
# $\operatorname{sd}(d) / \sqrt n$.

# %%
first, second = known[0], known[1]
table = {"both": first & second, "only the first": first & ~second}
table |= {"only the second": second & ~first, "none": ~first & ~second}
print(
    "images that are known to",
    ", to ".join(f"{who}: {those.sum()}" for who, those in table.items()),
)
apart = np.sqrt(sum(s.mean() * (1 - s.mean()) for s in (first, second)) / n)
print(f"difference {100 * (first.mean() - second.mean()):+.2f} points")
print(f"if each had images of its own, the standard error would be {100 * apart:.2f} points")

# %% [markdown]
# For the same images it is smaller; exercise 1 computes it. This says how sure the difference between these *two
# networks* is. It says nothing about another seed.
#
# ## How often does a 95 % interval hold the truth?
#
# We draw $r$ differences with a known mean, put the bootstrap interval around them, and count, 4,000 times. Beside
# it the interval of Student (1908), $\bar d \pm t\, s / \sqrt r$. There $t$ is larger than 1.96, because $s$ comes
# from the same few values: 4.30 for three of them, 2.78 for five, 2.09 for twenty. It is exact if the differences
# are normal, as they are here.


# %%
def both_intervals(d, rng):
    """{name: (low, high)} for each row of d (trials, pairs)."""
    pairs = d.shape[1]
    half = t.ppf(0.975, pairs - 1) * d.std(axis=1, ddof=1) / np.sqrt(pairs)
    boot = np.percentile(d @ counts(pairs, rng).T, [2.5, 97.5], axis=1)
    return {"bootstrap": boot, "Student": d.mean(axis=1) + np.array([[-1], [1]]) * half}


rng, truth = np.random.default_rng(2), 0.5
pairs_tried, covered, shown = (2, 3, 4, 5, 6, 8, 10, 15, 20), {"bootstrap": [], "Student": []}, {}
for pairs in pairs_tried:
    d = truth + rng.standard_normal((4000, pairs))
    for name, (low, high) in both_intervals(d, rng).items():
        shown[pairs, name] = low[:50], high[:50]
        covered[name].append(np.mean((low <= truth) & (truth <= high)))
for pairs in (3, 5, 20):
    at = pairs_tried.index(pairs)
    print(
        f"{pairs:2} pairs: bootstrap {covered['bootstrap'][at]:.1%}, Student {covered['Student'][at]:.1%}"
    )

# %% tags=["picture"]
figure = Figure(figsize=(8.6, 3.8), layout="constrained")
left, right_axes = figure.subplots(1, 2, width_ratios=(1.25, 1))
low, high = shown[3, "bootstrap"]
holds = (low <= truth) & (truth <= high)
for color, those, label in ((BLUE, holds, "95 % interval"), (RED, ~holds, "misses the truth")):
    left.vlines(np.flatnonzero(those), low[those], high[those], color, linewidth=3, label=label)
left.axhline(truth, color="black", linewidth=1)
left.set(xlabel="experiment", ylabel="difference, points", title="50 experiments of 3 pairs")
left.legend(frameon=False, ncols=2, loc="upper center")
left.set_ylim(-3.4, 4.4)
for (name, values), color, marker in zip(covered.items(), (RED, BLUE), "os"):
    right_axes.plot(pairs_tried, 100 * np.array(values), color=color, marker=marker, label=name)
right_axes.axhline(95, color=GREY, linestyle="--", linewidth=1, label="promised")
right_axes.set(xlabel="pairs", ylabel="coverage, %", xticks=(2, 3, 5, 10, 15, 20), ylim=(40, 100))
right_axes.set_title("How often the truth is held")
right_axes.legend(frameon=False, loc="lower right")
figure

# %% [markdown]
# On the left, the black line is the truth. Of 50 intervals that promise 95 %, 20 miss it, which is bad luck even
# for such intervals: of all 4,000, a quarter do. On the right, the bootstrap keeps its promise slowly: far below
# 95 % with three pairs, still below with five, near it with twenty.
#
# Three pairs can even be done by hand. The resample with the smallest mean draws the smallest value three times.
# It has the probability $1/27 = 3.7\ \%$, more than 2.5 %. So the 2.5th percentile *is* the smallest value, and
# the interval is just the range of the three. It misses the truth if all three lie on one side of it, which for a
# symmetric distribution happens with probability $2 \cdot (1/2)^3 = 25\ \%$. In general $r$ pairs lie on one side
# with probability $2^{1 - r}$, and only from $r = 6$ on is that below 5 %. This is the note that `bnas compare`
# prints.
#
# ## Chosen by its luck
#
# Now many settings are tried, and the best is kept. Let $m$ settings all have the *same* true accuracy $p$. The
# measured ones differ by noise, and the largest of them is above $p$. By how much? The best of $m$ is at most $k$
# if all are, so with the distribution function $F$ of one
#
# $$P(\max \le k) = F(k)^m, \qquad
#   \operatorname{mean}(\max) = \sum_{k \ge 0} P(\max > k) = \sum_{k=0}^{n-1} \big(1 - F(k)^m\big) .$$
#
# What it has above $p$ is the *winner's curse*. Suppose then that settings do differ, with a standard deviation of
# half a point. One researcher chooses on the test images and reports the accuracy on the same images. Another
# chooses on the 362 validation images, and reports the accuracy on the test images, looked at once:


# %%
def curse(m, p=0.97, spread=0.005, trials=4000):
    """Means of (reported by who chose on test, its truth, reported by who chose on validation)."""
    rng = np.random.default_rng(3)
    truth = np.clip(rng.normal(p, spread, (trials, m)), 0, 1)
    validation, test = rng.binomial(362, truth) / 362, rng.binomial(n, truth) / n
    by_test, by_validation = test.argmax(axis=1), validation.argmax(axis=1)
    rows = np.arange(trials)
    picked = test[rows, by_test], truth[rows, by_test], test[rows, by_validation]
    return [100 * values.mean() for values in picked]


tried = (1, 2, 3, 5, 10, 20, 50, 100)
table = np.array([curse(m) for m in tried])
for m in (1, 10, 100):
    exact = (1 - binom.cdf(np.arange(n), n, 0.97) ** m).sum() / n
    print(f"best of {m:3} equal settings of 97 %: reported on average {exact:.2%}")

# %%
figure = Figure(figsize=(6.4, 3.4), layout="constrained")
axes = figure.subplots()
labels = ("reported: chosen and tested on the same images", "truth of what was chosen so")
labels += ("reported: chosen on validation, tested on test",)
for values, label, style in zip(
    table.T, labels, ((RED, "-", "o"), (RED, "--", "x"), (BLUE, "-", "s"))
):
    color, line, marker = style
    axes.plot(tried, values, color=color, linestyle=line, marker=marker, label=label)
axes.set(
    xlabel="settings tried", ylabel="accuracy, %", xscale="log", xticks=tried, ylim=(96.8, 99.8)
)
axes.set_xticks(tried, [str(m) for m in tried], minor=False)
axes.minorticks_off()
axes.legend(frameon=False, loc="upper left")
figure

# %% [markdown]
# The two red lines are the same networks. The gap between them was reported and is not there, a point and a half
# after a hundred settings; and it grows with every further look. The blue line lies on the dashed one: what was
# chosen on validation is as good, and is reported as it is. So choosing on validation costs nothing.
#
# ## What has to be beaten
#
# A search space that experts have made is full of good networks, and who compares hundreds of them finds one that
# looks good, whatever the strategy. There are two baselines for that.
#
# The **average random architecture** (Yang et al., 2020): draw genotypes at random and train them exactly as the
# found one. It tells how good the search space and the training are, without any search. Many published strategies
# hardly beat it.
#
# **Random search** (Li and Talwalkar, 2019): draw $N$, train each a little, keep the best on validation. How many?
# Each drawn one is among the best share $q$ with probability $q$, so at least one of $N$ is with probability
# $1 - (1 - q)^N$, whatever the space looks like:

# %%
for q in (0.25, 0.1, 0.05, 0.01):
    needed = int(np.ceil(np.log(0.05) / np.log(1 - q)))
    print(f"among the best {q:4.0%} with a certainty of 95 %: {needed} random architectures")

# %% [markdown]
# Sixty will do for the best twentieth, if the ranking can be trusted. A clever search has to find the best
# twentieth with *less* than that, or get beyond it.
#
# Which brings us to **cost**. A strategy that takes ten times as long is to be compared with a random search of
# ten times as many individuals. `bnas` counts gradient steps, images passed forward and seconds in every epoch of
# a search. One epoch of a direct search on the 1-bit supernet, and one of training a single random architecture:

# %%
SMALL = {"channels": 4, "nodes": 2}
for settings in (
    {"strategy": "bnas", "supernet_epochs": 2},
    {"strategy": "random", "individual_epochs": 3},
):
    job = new_search(SearchConfig(**SMALL, **settings), digits)
    job.run_epoch(0, Silent())
    record = job.run_epoch(1, Silent())
    cost = f"{record['gradient_steps']} gradient steps, {record['images_seen']} images, {record['seconds']:.2f} s"
    print(
        f"{settings['strategy']:6} {cost}, {1000 * record['seconds'] / record['gradient_steps']:.0f} ms a step"
    )

# %% [markdown]
# A gradient step of a supernet computes all candidates of all edges, one of a single network two operations for
# every node. So equal gradient steps are not equal cost, and neither are equal images or equal epochs. Seconds are
# what you pay, but they depend on the machine and on what else it does; therefore report both.
#
# ## The experiment
#
# Now for real, though tiny: a direct search (`bnas` in the tables) with a supernet of two epochs; a random search
# of four individuals with three epochs each, which takes about as long; and a random search with one individual,
# where nothing is chosen: that is the average random architecture (of the same seed, it is the first of the four).
# Three seeds each; the architectures found are trained alike, with the validation images held out. This is what
# `bnas search`, `bnas train --hold-out` and `bnas evaluate` do, without their figures:


# %%
def carry_out(job, path, genotype):
    """Run a search or a training in a run folder of its own."""
    with RunFolder.create(path, asdict(job.config)) as folder:
        run(job, folder, Silent())
        write_genotype(path / "genotype.txt", genotype(job))
    return job


def whole_run(path, seed, **settings):
    """Search, train what was found, evaluate it once on the test images; its folder."""
    search = new_search(SearchConfig(seed=seed, **SMALL, **settings), digits)
    carry_out(search, path, lambda job: job.genotype())
    found = search.genotype()
    final = TrainConfig(
        format_genotype(found), seed=seed, layers=3, channels=8, epochs=5, hold_out=True
    )
    training = carry_out(Training(final, digits), path / "binary", lambda job: found)
    _, figures = report([(FOUND, training.network)], digits)
    seal = {  # the training, and the weights, that these figures belong to
        "training": "binary",
        "checkpoint": checkpoint_digest(path / "binary" / "checkpoint.npz"),
    }
    RunFolder(path).write_result("evaluation.json", figures | {FOUND: figures[FOUND] | seal})
    return path


# %%
searches = {
    "direct": {"strategy": "bnas", "supernet_epochs": 2},
    "random": {"strategy": "random", "individuals": 4, "individual_epochs": 3},
    "average": {"strategy": "random", "individuals": 1, "individual_epochs": 1},
}
folder, paths = tempfile.TemporaryDirectory(), []


def three_seeds(name):
    for seed in range(3):
        paths.append(whole_run(Path(folder.name) / f"{name}{seed}", seed, **searches[name]))


three_seeds("direct")

# %%
three_seeds("random")

# %%
three_seeds("average")

# %%
comparison = bnas.compare(paths)
neighbour = bnas.load_run(paths[0]).evaluation[NEIGHBOUR]["test_accuracy"]
folder.cleanup()
print(comparison)

# %%
comparison_figure(comparison)

# %% [markdown]
# On the left is a dot for each seed, on the right the differences from the direct search, with their mean and its
# interval. Read it as a referee would.
#
# * **How many pairs?** Three. By our count, such intervals miss the truth in a quarter of cases. *lower* says that
#   the interval lies beside 0, no more.
# * **How many comparisons?** There are four intervals. The more, the surer one lies beside 0 by chance.
# * **What did it cost?** The second table tells. In seconds the first two are near each other, in gradient steps
#   they are not.
# * **Is it better than nothing?** The third row has chosen nothing, and both others are far above it, by much
#   more than its standard deviation. So something was found. The question is what.
# * **What was found?** Look at the last column of the first table: the more skips and poolings, the higher the
#   accuracy, and the direct search has taken hardly anything else. They have no weights to learn, and the
#   networks learned for five epochs only.
#
# That last suspicion can be tested. If it is not the search that has won, but the short training that favours
# what has no weights, then the genotype of skips alone, which nobody searched for, does well too. We have it
# already: it is the one that was trained above.

# %%
skips = shares[:3]  # of the same seeds
print(f"skips alone: {skips.mean():.1%} ± {100 * skips.std(ddof=1):.1f} points")

# %% [markdown]
# It does not; it is no better than the average random architecture. In this form the suspicion was wrong. Having
# no weights is not enough, so it may be the poolings; the next baseline would be random genotypes of skips and
# poolings. And whether the order is the same after fifty epochs, these runs cannot say: they compare what learns
# fastest.
#
# And one more question, which is seldom asked: does it beat what takes no learning at all?

# %%
groups = {group.label: group.test_accuracy.mean() for group in comparison.groups}
for label, accuracy in groups.items():
    print(f"{label:45} {accuracy:.1%}")
print(f"{'the nearest neighbour on pixels':45} {neighbour:.1%}")
print("\nthe differences by Student, in points")
for one in comparison.differences:
    half = t.ppf(0.975, len(one.values) - 1) * one.values.std(ddof=1) / np.sqrt(len(one.values))
    print(f"{one.label}, {one.measure}: {100 * one.values.mean():+.1f} ± {100 * half:.1f}")

# %% [markdown]
# It does not. Networks of this size, trained for seconds, are here to show how to compare, and not how good they
# get. And look at the intervals of Student: about two and a half times as wide as those of the bootstrap around
# the same three differences. For the random search of four the table says *lower* twice; Student's interval for
# the validation accuracy holds 0, and that for the test accuracy ends just beside it.
#
# ## What goes wrong
#
# **Mistake 1: the best of ten seeds is reported.** It is the winner's curse again, and a seed has no quality that
# one could choose. For ten normal values the largest is 1.54 standard deviations above the mean:

# %%
draws = np.random.default_rng(4).standard_normal((20_000, 2, 10))
print(f"best of ten: {draws.max(axis=2).mean():+.2f} standard deviations above the mean")
beaten = (draws[:, 0].max(axis=1) > draws[:, 1].mean(axis=1)).mean()
print(f"the best of ten of mine is above the mean of ten of theirs, of equal quality: {beaten:.1%}")

# %% [markdown]
# The symptom is a gain that nobody can repeat. Report mean, standard deviation, number of seeds, and all values if
# there is room.
#
# **Mistake 2: three seeds are called significant.** Two searches without any difference, a few pairs, and a look
# at whether the bootstrap interval holds 0; and five such comparisons in a table:

# %%
rng = np.random.default_rng(5)
for pairs in (3, 5, 10, 20):
    low, high = both_intervals(rng.standard_normal((5000, pairs)), rng)["bootstrap"]
    alarms = ((low > 0) | (high < 0)).reshape(1000, 5)
    print(f"{pairs:2} pairs: a difference is claimed in {alarms.mean():.0%}", end="")
    print(f" of cases, somewhere in a table of five in {alarms.any(axis=1).mean():.0%}")

# %% [markdown]
# The symptom is a bold number that moves to another row when somebody adds seeds. The remedies are more pairs,
# Student's interval while they are few, and to say beforehand which comparison counts.
#
# **Mistake 3: the test images choose.** Ours are 364. Of the five networks above, of one architecture, we take
# the best on one half of the test images, and look at it on the other half, which did not choose. The halves are
# drawn 2,000 times:

# %%
rng = np.random.default_rng(6)
chosen_on, looked_at = [], []
for _ in range(2000):
    order = rng.permutation(n)
    half, other = known[:, order[: n // 2]].mean(axis=1), known[:, order[n // 2 :]].mean(axis=1)
    chosen_on.append(half.max())
    looked_at.append(other[half.argmax()])
print(f"on the half that chose {np.mean(chosen_on):.2%}, on the other {np.mean(looked_at):.2%}")

# %% [markdown]
# The same networks and real images: the difference is the curse. The symptom is an accuracy that fresh images do
# not confirm, and who has looked at all images has no fresh ones. In `bnas` no strategy sees a test image, and
# `--hold-out` keeps images to choose by.
#
# ## Exercises
#
# **Exercise 1.** Two networks were tested on the same images. Given which images each one knows, write the
# difference of the accuracies and its standard error, $\operatorname{sd}(d) / \sqrt n$, with the standard
# deviation that divides by $n$. (NumPy does not subtract bools; make numbers of them. Try your function on
# `known[0]` and `known[1]` too.)


# %% tags=["exercise-1"]
def paired_difference(first, second):
    """first, second: bool (n,) -> (difference, standard error), two numbers."""
    ...


# %% tags=["check-1"]
def examine_1(answer):
    rng = np.random.default_rng(11)
    for size, share in ((364, 0.9), (50, 0.7), (1000, 0.98)):
        easy = rng.random(size) < share
        first, second = easy ^ (rng.random(size) < 0.05), easy ^ (rng.random(size) < 0.1)
        b, c = (first & ~second).sum(), (second & ~first).sum()
        expected = (b - c) / size, np.sqrt((b + c) / size - ((b - c) / size) ** 2) / np.sqrt(size)
        for name, one, other in zip(
            ("the difference", "the standard error"), answer(first, second), expected
        ):
            fault = difference(one, other, 1e-9)
            if fault:
                return f"{size} images, {name}: {fault}"


check(1, paired_difference, examine_1)

# %% [markdown]
# **Exercise 2.** A fair way to report random search is the best that one may *expect* after $m$ trials, for
# every $m$ (Dodge et al., 2019). Given $N$ measured accuracies, let $m$ of them be drawn with replacement, and
# write the mean of their largest. (The largest is at most $v$ if all are. For the $i$-th of the sorted values
# the share of values up to it is $i / N$. No simulation is needed.)


# %% tags=["exercise-2"]
def expected_best(values, m):
    """values (N,), m from 1 to 10,000 -> the expected largest of m draws, a number."""
    ...


# %% tags=["check-2"]
def examine_2(answer):
    rng = np.random.default_rng(12)
    for size in (1, 2, 3, 4):
        values = rng.uniform(0.8, 1, size)
        for m in (1, 2, 3, 5):
            every = np.indices((size,) * m).reshape(m, -1)  # all draws
            fault = difference(answer(values.copy(), m), values[every].max(axis=0).mean())
            if fault:
                return f"{size} values, {m} draws: {fault}"
    wide = rng.uniform(0, 1, 500)
    fault = difference(answer(wide.copy(), 10_000), wide.max(), 1e-6)
    return fault and f"500 values, 10,000 draws: {fault}"


check(2, expected_best, examine_2)

# %% [markdown]
# **Exercise 3.** If two searches are equally good, each difference might as well have had the other sign. So
# flip the signs in all $2^r$ ways, and see in what share of them $|\operatorname{mean}|$ is at least as large as
# the observed one: the exact *p-value*, without any distribution. Count what is equal up to rounding,
# $10^{-12}$, as equal. (What is the smallest value that three pairs can give?)


# %% tags=["exercise-3"]
def sign_flip_p(d):
    """d (r,), r up to 12 -> the p-value, a number."""
    ...


# %% tags=["check-3"]
def examine_3(answer):
    cases = {
        "three of one sign": ([0.3, 0.1, 0.2], 0.25),
        "six of one sign": ([1, 2, 3, 4, 5, 6], 1 / 32),
    }
    cases |= {"signs mixed": ([3, -1, 2, 1], 0.375), "a mean of 0": ([1, -1, 2, -2], 1)}
    cases |= {"one pair": ([0.7], 1), "negative ones": ([-0.1, -0.2, -0.3, -0.4], 0.125)}
    cases |= {"a zero among them": ([0.0, 0.1, 0.2], 0.5)}
    cases |= {"equal up to rounding": ([0.1, 0.2, -0.3, 0.4, 0.1], 0.5)}
    for name, (d, expected) in cases.items():
        fault = difference(answer(np.array(d, float)), expected)
        if fault:
            return f"{name}, d = {d}: {fault}"


check(3, sign_flip_p, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/comparison/groups.py`: `bootstrap_interval`, and `Difference.verdict`, what an interval says in a word;
#   `bnas/comparison/requirements.py`: what must be equal before two runs may be compared. `docs/results.md`,
#   *Pairs and intervals*.
# * `bnas/search/strategy.py`: `Cost`; `bnas/search/random.py` and `bnas/space/baselines.py`: the baselines.
#   `docs/strategies.md`: seven strategies over five seeds.
# * Lindauer and Hutter, *Best practices for scientific research on neural architecture search* (JMLR 21, 2020),
#   a checklist to go through before publishing; Li and Talwalkar, *Random search and reproducibility for neural
#   architecture search* (UAI 2019); Yang, Esperança, Carlucci, *NAS evaluation is frustratingly hard* (ICLR
#   2020, arXiv 1912.12522); Yu et al., *Evaluating the search phase of neural architecture search* (ICLR 2020,
#   1902.08142).
# * Brown, Cai, DasGupta, *Interval estimation for a binomial proportion* (Statistical Science 16, 2001); Efron,
#   *Bootstrap methods: another look at the jackknife* (Annals of Statistics 7, 1979); Dodge et al., *Show your
#   work* (EMNLP 2019).
