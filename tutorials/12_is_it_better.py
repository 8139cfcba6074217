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
# One search strategy has found a network with 96.9 % test accuracy, another one with 95.4 %. Is the first
# strategy better? Perhaps. The seed was one of many, the images were few, and somebody may have tried until it
# looked good. To know, one has to search again and again, and each search trains many networks.
#
# Here nobody has to wait. All 648 architectures of a small space have been trained, and what they gave stands in
# a table. A search looks up what it would have trained, so that minutes of training pass in a millisecond; we can
# repeat an experiment a thousand times, and count how often it misleads.
#
# **You will be able to**
#
# * say how far accuracies in a search space differ, and how much of that is noise;
# * compare strategies at an equal budget, over seeds, with intervals, tests and baselines, and say how many seeds
#   it takes;
# * write a strategy of your own, and find out whether it is better.
#
# **It assumes** tutorials 1 to 11.

# %%
import itertools

import numpy as np
from exercises import check, difference
from scipy import stats

import bnas
from bnas.comparison import bootstrap_interval
from bnas.data import load_dataset
from bnas.evaluation import neighbour_accuracy
from bnas.plots import Figure
from bnas.study.statistics import compare_paired, holm, improvement, percentile_rank, signed_rank
from bnas.study.words import p_value
from bnas.tabular import Simulation, landscape

BLUE, RED, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#999999"
COLORS = {"random": GREY, "evolution": BLUE, "local": GREEN, "linear": RED}

# %% [markdown]
# ## The table
#
# The space: a cell of two intermediate nodes, the same cell everywhere in the network; each node adds two
# operations on two earlier states; each operation is a skip, a max pooling, a separable or a dilated convolution.
# Each architecture was trained from scratch as a 1-bit network, with several seeds and the validation images held
# out. `docs/table.md` has the details.

# %%
DATASET = "digits"
table = bnas.tabular.load()
seeds, epochs = table.seeds(DATASET), table.epochs(DATASET)
print(f"{len(table)} architectures, {seeds} seeds, {epochs} epochs")
number = 143
print(
    "architecture", number, "is", *(f"{name}({origin})" for name, origin in table.arch(number)[0])
)
for seed in range(seeds):
    entry = table.query(number, DATASET, seed=seed)
    print(
        f"seed {seed}: validation {entry.validation_accuracy:.1%}, test {entry.test_accuracy:.1%}, "
        f"{entry.seconds:.1f} s"
    )
hours = table.total_seconds(DATASET, "binary") / 3600
print(f"all 1-bit trainings of this data set: {hours:.1f} hours")

# %% [markdown]
# Nothing differs between these lines but the seed.
#
# ## The landscape, and its noise floor
#
# Before one compares those who climb, one looks at the mountain. What is an architecture worth? We call the mean
# of its test accuracies over the seeds its *value*. A value is off for two reasons.
#
# **The images are few.** Of all digits that anybody will ever write a network is right on a share $p$. Each of
# the $n$ test images is a toss of a coin that shows "right" with probability $p$. One toss has the variance
# $p(1-p)$, independent tosses add their variances, and dividing by $n$ divides the variance by $n^2$. So the
# measured share $\hat p$ has
#
# $$\operatorname{sd} \hat p = \sqrt{p (1 - p) / n} .$$
#
# For an interval, Wilson (1927) asks which $p$ would make our $\hat p$ no surprise: those with
# $|\hat p - p| \le z \sqrt{p (1 - p) / n}$, $z = 1.96$. Squared and sorted by powers of $p$, that is
# $(1 + z^2/n)\, p^2 - (2 \hat p + z^2/n)\, p + \hat p^2 \le 0$, a parabola, below zero between its roots.


# %%
def wilson(right, n, z=1.959964):
    p = right / n
    return np.sort(np.roots([1 + z**2 / n, -(2 * p + z**2 / n), p**2]).real)


images = int(table.datasets[DATASET]["test_images"])
for right in (images, round(0.97 * images), round(0.8 * images)):
    low, high = wilson(right, images)
    scipys = stats.binomtest(right, images).proportion_ci(method="wilson")
    print(f"{right} of {images} right: {low:.1%} to {high:.1%}", end="   ")
    print("equal to SciPy's:", np.allclose((low, high), (scipys.low, scipys.high), atol=1e-6))

# %% [markdown]
# `bnas evaluate` prints this interval. All architectures are tested on the same images, so that a set of easy
# ones lifts them all; the comparison between them suffers less than this.
#
# **The seeds are few.** Let training $s$ of architecture $i$ give $a_{is} = \mu + A_i + e_{is}$, where $A_i$ has
# the variance $\sigma_A^2$ over the architectures and $e_{is}$, the seed's part, $\sigma_e^2$, all independent.
# The mean over $S$ seeds then has the variance $\sigma_A^2 + \sigma_e^2 / S$ over the architectures: noise makes
# the space look richer than it is. But $\sigma_e^2$ can be measured alone, within each architecture, and
# subtracted. And two values whose true difference is 0 have a difference with the variance $2 \sigma_e^2 / S$.
# Below 1.96 standard deviations of that, the *noise floor*, one value is not told from another.

# %%
accuracies = table.accuracies(DATASET, "test")  # (architectures, seeds)
values = accuracies.mean(axis=1)
noise = accuracies.var(axis=1, ddof=1)
within = noise.mean()
between = values.var(ddof=1) - within / seeds
floor = 1.96 * np.sqrt(2 * within / seeds)
known = landscape(table, DATASET)
print(
    "equal to the library's:",
    np.allclose((between, within, floor), (*known.components, known.distinguishable)),
)
print(
    f"between architectures {100 * np.sqrt(between):.1f} points, between seeds {100 * np.sqrt(within):.1f}"
)
print(
    f"of the variance of one training, {between / (between + within):.0%} are between architectures"
)
top = np.argsort(-values)[: len(values) // 4]
top_floor = 1.96 * np.sqrt(2 * noise[top].mean() / seeds)
print(f"noise floor {100 * floor:.1f} points; in the best quarter {100 * top_floor:.1f}")
near = (values > values.max() - top_floor).sum()
print(f"so the best, {values.max():.1%}, may be any of {near}")

# %%
once = table.accuracies(DATASET, "validation")[:, 0]
neighbour = neighbour_accuracy(load_dataset(DATASET))
order, ranks = np.argsort(-values), np.arange(len(table))
figure = Figure(figsize=(8.8, 3.8), layout="constrained")
left, right_axes = figure.subplots(1, 2)
left.plot(ranks, 100 * accuracies[order], ".", color=GREY, markersize=2)
left.plot(ranks, 100 * values[order], color=BLUE, label="mean of the seeds")
left.axhline(100 * values.mean(), color=RED, linestyle="--", label="average architecture")
left.axhline(100 * neighbour, color="black", linestyle=":", label="nearest neighbour on pixels")
left.set(xlabel="rank", ylabel="test accuracy, %", title="All architectures")
left.legend(frameon=False, loc="lower left")

# %%
upper = [100 * np.quantile(these, 0.4) for these in (once, values)]
right_axes.plot(100 * once, 100 * values, ".", color=BLUE, markersize=4)
for number, style, label in (
    (values.argmax(), {"marker": "*", "color": GREEN, "markersize": 14}, "the best"),
    (once.argmax(), {"marker": "X", "color": RED, "markersize": 9}, "chosen by validation"),
):
    right_axes.plot(100 * once[number], 100 * values[number], linestyle="", label=label, **style)
right_axes.set_xlim(upper[0])
right_axes.set_ylim(upper[1])
right_axes.set(xlabel="validation accuracy of one training, %", ylabel="value, %")
right_axes.set_title("What a search sees, and what it is worth")
right_axes.legend(frameon=False, loc="upper left")
figure

# %% [markdown]
# On the left are the values in blue, and in grey the single trainings that they are means of. The curve is flat
# where it matters: the better half of the architectures lies within four points, and the grey dots of one reach
# over hundreds of ranks. (Good architectures scatter less than bad ones, so the noise floor among the best is the
# lower one.) The dotted line is a classifier that has nothing to learn: no architecture of this table reaches it.
# On the right is the upper corner. A search sees the horizontal axis. Whoever trains *all* architectures once,
# with this seed, and takes the best by validation ends at the red cross, more than a point below the star.
#
# ## A search is a lookup
#
# The rules, the same for all: a training costs the seconds that it took when the table was built, and one that
# the budget does not allow is not begun. The seed of a training is drawn, one of those behind the value. The
# strategy sees its validation accuracy, and nothing else. Its answer, the *incumbent*, is the architecture with
# the highest validation accuracy so far. What it is worth is the *regret*, by how much its value is below the
# highest of the table: looked up when all is done, since test images choose nothing. (The highest value is a
# lucky one too, so that all regrets are somewhat too large.) Random search by these rules:

# %%
BUDGET = 120 * table.datasets[DATASET]["binary_seconds"].mean(dtype=float)


def random_search(seed):
    """(seconds spent, incumbent) after each training."""
    rng, seconds = (
        np.random.default_rng(seed),
        table.datasets[DATASET]["binary_seconds"].astype(float),
    )
    validation = table.accuracies(DATASET, "validation")
    spent, highest, incumbent, history = 0.0, -1.0, None, []
    for number in rng.permutation(len(table)):
        drawn = rng.integers(seeds)
        if spent + seconds[number, drawn] > BUDGET:
            break
        spent += seconds[number, drawn]
        if validation[number, drawn] > highest:
            highest, incumbent = validation[number, drawn], number
        history.append((spent, incumbent))
    return map(np.array, zip(*history))


# %%
ours, found = [*random_search(seed=3)], table.simulate("random", BUDGET, DATASET, seed=3)
print("equal:", np.array_equal(ours[0], found.seconds), np.array_equal(ours[1], found.incumbents))
print(
    f"{len(found)} trainings; incumbent {found.incumbents[-1]}, regret {100 * found.regret[-1]:.2f} points"
)

# %% [markdown]
# Two rivals know the *neighbours* of an architecture, those with one operation or one origin changed.
# *Regularised evolution* (Real et al., 2019) keeps the last twenty architectures; the best of five of them that
# are drawn has a random neighbour as offspring, and the oldest dies. *Local search* (White et al., 2020) trains
# all neighbours of an architecture and goes to the best, as long as it is better; then it starts elsewhere.
#
# Each searches with 200 seeds. **The experiment is the first 20.** We look at the rest only to learn how far an
# experiment may be trusted; in real life there is no rest.

# %%
SEEDS, POOL = 20, 200


def searches(strategy, count=POOL, **settings):
    """The trajectories of the seeds 0, 1, ..."""
    return [table.simulate(strategy, BUDGET, DATASET, seed, **settings) for seed in range(count)]


pool = {name: searches(name) for name in ("random", "evolution", "local")}
for name, found in pool.items():
    print(
        f"{name:9} trains {np.mean([len(one) for one in found[:SEEDS]]):.0f} architectures in {BUDGET:.0f} s"
    )


# %% [markdown]
# The budget is in seconds, because seconds are what one pays. Counted in trainings it would favour who trains
# slow networks.
#
# ## Anytime curves
#
# Who is ahead may depend on when one looks, so we look at all times. The incumbent stays until the next one
# comes, so a curve is a staircase, and its height at a time is the last entry at or before that time.


# %%
def at(found, quantity, grid):
    """A quantity of each trajectory at the times of the grid: (searches, times)."""
    places = [np.searchsorted(one.seconds, grid, side="right") - 1 for one in found]
    return np.array([getattr(one, quantity)[place] for one, place in zip(found, places)])


grid = np.geomspace(BUDGET / 27, BUDGET, 100)
curves = {name: at(found[:SEEDS], "regret", grid) for name, found in pool.items()}
theirs = [one.regret_at(grid) for one in pool["local"][:SEEDS]]
print("equal to the library's:", np.array_equal(curves["local"], theirs))

# %%
twenty = pool["random"][:SEEDS]
said, worth = (100 * at(twenty, name, grid) for name in ("incumbent_validation", "incumbent_test"))
places = [np.searchsorted(one.seconds, grid, side="right") - 1 for one in twenty]
best = [
    100 * np.maximum.accumulate(values[one.trained])[place] for one, place in zip(twenty, places)
]
figure = Figure(figsize=(8.8, 3.8), layout="constrained")
left, right_axes = figure.subplots(1, 2)
for (name, curve), line in zip(curves.items(), ("--", "-", "-.")):
    mean, error = 100 * curve.mean(axis=0), 100 * curve.std(axis=0, ddof=1) / np.sqrt(SEEDS)
    left.plot(grid, mean, line, color=COLORS[name], label=name)
    left.fill_between(grid, mean - error, mean + error, color=COLORS[name], alpha=0.2, linewidth=0)
all_trained = [table.simulate("random", np.inf, DATASET, seed).regret[-1] for seed in range(SEEDS)]
left.axhline(100 * np.mean(all_trained), color="black", linestyle=":", label="random, all trained")
left.set(ylabel="regret, points", ylim=(0, 6), title="Mean of 20 seeds")

# %% tags=["picture"]
for lines, label, line, color in (
    (said, "validation accuracy that it saw", "-", GREY),
    (best, "value of the best that it trained", "--", GREEN),
    (worth, "value of the one that it chose", "-", RED),
):
    right_axes.plot(grid, np.mean(lines, axis=0), line, color=color, label=label)
right_axes.set(ylabel="accuracy, %", title="Random search: seen and chosen")
ticks = BUDGET / np.array([27, 9, 3, 1])
for axes in (left, right_axes):
    axes.set(xscale="log", xlabel="seconds of training")
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False)
figure

# %% [markdown]
# On the left, the curves fall at first and then slowly, and for most of the time their bands (one standard error)
# overlap. The dotted line is what is left when random search has trained *everything*, in five times the time.
# Evolution is there already, and still misses the best by more than a point. On the right is the reason. (The
# grey line is on other images, which are a little harder. Compare how far each one rises.) The longer random
# search goes on, the better is the best that it has *trained*, in green. But it does not choose that one, it
# chooses the luckiest: the validation accuracy of its choice, grey, rises three times as far as the value, red.
# This is the *winner's curse*. The highest of noisy values stands where the value is high *or the noise is*, and
# among many that are nearly equal it is the noise. Of the regret at the end, two thirds are lost in choosing, one
# third in searching.
#
# ## Against what?
#
# Three figures of each search, and three baselines. The **percentile rank** is the share of all architectures
# that are worse. The **improvement over the average random architecture**, $(a - \bar a) / \bar a$ (Yang et al.,
# 2020), tells what the *search* has brought, for in a space that experts have made a blind draw is good already.
# Random *search* is the second baseline (Li and Talwalkar, 2019), and the third a rule of thumb that costs
# nothing: draw blindly among the architectures with three or more poolings.


# %%
def summary(name, numbers):
    worth = values[numbers]
    worse = [(values < one).sum() + ((values == one).sum() - 1) / 2 for one in worth]
    rank, gain = 100 * np.array(worse) / (len(values) - 1), worth / values.mean() - 1
    assert np.allclose(rank, percentile_rank(values, numbers))
    assert np.allclose(gain, improvement(values, numbers))
    below = 100 * (values.max() - worth.mean())
    print(f"{name:28}{worth.mean():6.1%} {below:8.2f} {rank.mean():8.1f} {gain.mean():+10.1%}")


answers = {name: np.array([one.incumbents[-1] for one in found]) for name, found in pool.items()}
print(f"{'':29}value   regret     rank  improvement")
for name in answers:
    summary(name, answers[name][:SEEDS])
summary("any architecture", np.arange(len(table)))
summary("any with 3 or more poolings", np.flatnonzero(table.counts("max_pool_3x3") >= 3))
print(f"{'nearest neighbour on pixels':28}{neighbour:6.1%}")

# %% [markdown]
# All searches are far above the average architecture, so there is something to find. But random and local search
# are no better than the rule of thumb, which trains nothing. (It is hindsight, read off this table; but somebody
# who has worked with such images may well know it.) Whoever reports the first three lines only has told half of
# it. And the last line again: these networks are small and learned for eight epochs. They are here to compare
# searches with.
#
# ## Pairs, intervals, tests
#
# To compare A with B, run both with the same seeds and subtract *seed by seed*. Let $a_i = \mu_A + c_i + e_i$ and
# $b_i = \mu_B + c_i + e'_i$, where $c_i$ is what seed $i$ does to both. In $a_i - b_i$ it cancels. With the
# variance $\sigma^2$ of $a$ and of $b$, and their correlation $\rho$,
#
# $$\operatorname{Var}(a_i - b_i) = 2 \sigma^2 (1 - \rho), \qquad
#   \text{unpaired: } \operatorname{Var}(a_i - b_j) = 2 \sigma^2 \quad (i \ne j).$$
#
# What have two strategies in common if they start from the same random number?

# %%
final = {name: np.array([one.regret[-1] for one in found]) for name, found in pool.items()}
bolder = np.array([one.regret[-1] for one in searches("evolution", sample=15)])
for label, one, other in (
    ("random, evolution", final["random"], final["evolution"]),
    ("random, local", final["random"], final["local"]),
    ("evolution, sample 5 or 15", final["evolution"], bolder),
):
    print(f"{label:27} correlation {np.corrcoef(one, other)[0, 1]:+.2f}")

# %% [markdown]
# Next to nothing, here: even two evolutions that begin with the same twenty architectures soon go their own ways.
# Other things have more in common, such as two variants of DCP-NAS that start from the same initial weights.
# Pairs cost nothing, so take them.
#
# The mean difference needs an **interval**. The *bootstrap* (Efron, 1979) takes the sample for the world: it
# draws as many differences, with replacement, 10,000 times, and takes the middle 95 % of their means.


# %%
def bootstrap(d, resamples=10_000):
    drawn = d[np.random.default_rng(0).integers(0, len(d), (resamples, len(d)))]
    return np.percentile(drawn.mean(axis=1), [2.5, 97.5])


d = (final["random"] - final["evolution"])[:SEEDS]  # positive: evolution is better
print(
    f"evolution is better by {100 * d.mean():.2f} points, 95 % interval {np.round(100 * bootstrap(d), 2)}"
)
print("equal to the library's:", np.allclose(bootstrap(d), bootstrap_interval(d), rtol=1e-12))

# %% [markdown]
# And a **test**. If A and B are equally good, each difference might as well have had the other sign. Wilcoxon
# (1945) ranks the differences by size, so that one bad seed does not decide alone, and adds the ranks with their
# signs: $W = \sum_i \operatorname{sign}(d_i) \operatorname{rank}|d_i|$. All $2^r$ choices of signs are equally
# likely; the *p-value* is the share of them with $|W|$ at least as large as ours. (Differences of 0 are left
# out.)


# %%
def wilcoxon(d):
    d = d[d != 0]
    rank = stats.rankdata(abs(d))  # equal sizes share a rank
    signs = np.array([*itertools.product((-1, 1), repeat=len(d))])
    return np.mean(abs(signs @ rank) >= abs(np.sign(d) @ rank) - 1e-9)


for r in (3, 5, 6, 12):
    some = np.round(d[:r], 12)  # equal but for rounding is equal
    print(f"{r:2} pairs: p = {wilcoxon(some):.3f}, the library's {signed_rank(some).p:.3f}", end="")
    print(f"; the least that {r} pairs can give: {wilcoxon(np.arange(1.0, r + 1)):.4f}")

# %% [markdown]
# Look at the last column. With five pairs, even if all point the same way, $p = 2/2^5 = 0.0625$: **no result of
# five seeds is significant at 5 % by this test.**
#
# Three strategies make three comparisons, and each may raise a false alarm. By **Holm's** correction (1979) the
# smallest of $m$ p-values is multiplied by $m$, the next by $m - 1$, and so on; none becomes smaller than the one
# before it, nor larger than 1. Then the chance of *any* false alarm is at most 5 %. Why: let $m_0$ of the $m$
# hypotheses be true. For a false alarm, the smallest of their p-values must pass; at most $m - m_0$ come before
# it, so it is multiplied by $m_0$ or more. That one of $m_0$ is below $0.05 / m_0$ has a probability of at most
# $m_0 \cdot 0.05 / m_0$.

# %%
pairs = [("random", "evolution"), ("random", "local"), ("local", "evolution")]


def tested(pairs, results):
    compared = compare_paired({f"{b} against {a}": results[a] - results[b] for a, b in pairs})
    assert np.allclose(
        [c.corrected for c in compared.values()], holm([c.p for c in compared.values()])
    )
    print(f"{'points of regret less':28} mean    95 % interval        p   corrected")
    for name, c in compared.items():
        interval = f"{100 * c.low:+5.2f} to {100 * c.high:+5.2f}"
        print(
            f"{name:27} {100 * c.mean:+5.2f}   {interval}   {p_value(c.p):>7}   {p_value(c.corrected):>7}"
        )


tested(pairs, {name: regrets[:SEEDS] for name, regrets in final.items()})

# %% [markdown]
# No corrected p-value is below 0.05. That is not "equal": the intervals tell how large a difference may have been
# missed. What would you write into the abstract?
#
# ## Five seeds
#
# Now to the rest. The truth, as nearly as 200 seeds tell it:

# %%
for a, b in pairs:
    d = final[a] - final[b]
    error = d.std(ddof=1) / np.sqrt(POOL)
    print(f"{b} has {100 * d.mean():+.2f} ± {100 * error:.2f} points of regret less than {a}")

# %% [markdown]
# How often would an experiment have told that? We draw many small experiments out of the 200, and claim a winner
# in each by three rules: the better mean is printed **bold**; the bootstrap interval lies beside 0; the interval
# of **Student** (1908), $\bar d \pm t\,s/\sqrt r$, does, where $t$ is larger than 1.96 for few pairs (2.78 for
# five). In one series A is evolution and B random search. In the other *both* are random search, with different
# seeds.


# %%
def experiments(a, b, r, trials=2000):
    """Differences of the regrets a and b over r pairs: (trials, r)."""
    first, second = np.random.default_rng(1).integers(POOL, size=(2, trials, r))
    return a[first] - b[second]


def intervals(d):
    """{rule: (low, high)} of the rows of d (trials, r)."""
    r = d.shape[1]
    drawn = np.random.default_rng(2).multinomial(r, np.full(r, 1 / r), size=2000) / r
    half = stats.t.ppf(0.975, r - 1) * d.std(axis=1, ddof=1) / np.sqrt(r)
    mean = d.mean(axis=1)
    return {
        "bold": (mean, mean),
        "bootstrap": np.percentile(d @ drawn.T, [2.5, 97.5], axis=1),
        "Student": (mean - half, mean + half),
    }


# %%
sizes = (3, 5, 10, 20, 50, 100)
claims = {}  # {(A, rule, size): shares of experiments that call A (better, worse)}
for name, r in itertools.product(("evolution", "random"), sizes):
    d = experiments(final["random"], final[name], r)
    for rule, (low, high) in intervals(d).items():
        claims[name, rule, r] = np.mean(low > 0), np.mean(high < 0)
print("5 seeds: called better or worse than random search")
for (name, rule, r), (better, worse) in claims.items():
    if r == 5:
        print(f"{name:9} by {rule:9}: better in {better:4.0%}, worse in {worse:4.0%}")

# %%
figure = Figure(figsize=(8.8, 4.2), layout="constrained")
left, right_axes = figure.subplots(1, 2)
d = 100 * experiments(final["random"], final["evolution"], 5)[:50]
low, high = intervals(d)["bootstrap"]
kinds = ((low > 0, BLUE, "evolution wins"), (high < 0, RED, "random wins"))
kinds += ((~((low > 0) | (high < 0)), GREY, "no winner"),)
for those, color, label in kinds:
    left.vlines(np.flatnonzero(those), low[those], high[those], color, linewidth=3, label=label)
left.axhline(0, color="black", linewidth=1)
left.set(xlabel="experiment", ylabel="regret less by evolution, points")
left.set_title("50 experiments of 5 seeds, bootstrap")
left.legend(frameon=False, loc="upper left")
left.set_ylim(low.min() - 0.5, high.max() + 0.45 * np.ptp([low.min(), high.max()]))

# %%
for name, rule in itertools.product(("evolution", "random"), ("bootstrap", "Student")):
    shares = [100 * sum(claims[name, rule, r]) for r in sizes]
    line = {"bootstrap": "-o", "Student": "--s"}[rule]
    color, label = {"random": (RED, "both random")}.get(name, (BLUE, "evolution, random"))
    right_axes.plot(sizes, shares, line, color=color, label=f"{label}, {rule}")
right_axes.axhline(5, color="black", linewidth=1, linestyle=":")
right_axes.set(xlabel="seeds", xscale="log", ylabel="share, %", ylim=(0, 105))
right_axes.set_title("Experiments that claim a winner")
right_axes.set_xticks(sizes, [str(r) for r in sizes])
right_axes.minorticks_off()
right_axes.legend(frameon=False, loc="upper left")
figure

# %% [markdown]
# On the left are fifty papers that might have been written about the same two strategies, with five seeds each.
# On the right, red: there is nothing to be found, and with few seeds the bootstrap finds it all the same, far
# more often than in the promised 5 % (dotted). For three seeds one can see why: the smallest value is drawn three
# times with probability $1/27$, more than 2.5 %, so the interval is just their range; and all three lie on one
# side of 0 with probability $2 \cdot (1/2)^3 = 25\ \%$, a little less where two may be equal. Student's interval
# keeps its promise. Blue: evolution *is* better, and about half of all experiments of 20 seeds do not notice.
# Ours was one of these. The bold print of five seeds is on the wrong line in every sixth case.
#
# How many seeds does it take? The mean of $r$ differences has the standard deviation $s / \sqrt r$. To be beside
# 0 it must be 1.96 of them away, and to be so in 80 % of cases its truth must lie another 0.84 further, as 80 %
# of a normal distribution lie above its mean less 0.84 standard deviations. So $r = (2.8\, s / \Delta)^2$: half
# the difference takes four times the seeds.

# %%
for a, b in pairs:
    d = final[a] - final[b]
    needed = (2.8 * d.std(ddof=1) / d.mean()) ** 2
    print(f"{a} and {b}: about {needed:,.0f} seeds for {100 * abs(d.mean()):.2f} points")

# %% [markdown]
# ## A strategy of one's own
#
# A strategy is a function of a `Simulation`. It asks `train` for validation accuracies until the budget is spent,
# which ends it from outside, and uses `rng` for all that it draws.
#
# An idea: neighbours share most operations. So let the strategy learn what operations are good for, from *all*
# that it has trained. With the counts of the four operations as $x$, it fits $y \approx \bar y + w \cdot x$ by
# ridge regression, $w = (X^\top X + I)^{-1} X^\top (y - \bar y)$. A mean over many trainings has less noise than
# any one of them. It then trains the five new architectures of which it expects most, and fits again.


# %%
def linear(simulation, first=20, step=5):
    rng, table = simulation.rng, simulation.table
    x = np.stack([table.counts(name) for name in table.operations], axis=1)
    x = x - x.mean(axis=0)
    trained = [*rng.permutation(len(table))[:first]]
    y = [simulation.train(number) for number in trained]
    while len(trained) < len(table):
        known = x[trained]
        w = np.linalg.solve(known.T @ known + np.eye(x.shape[1]), known.T @ (y - np.mean(y)))
        expected = x @ w + 1e-6 * rng.random(len(x))  # equals in any order
        expected[trained] = -np.inf
        for number in np.argsort(-expected)[:step]:
            trained.append(number)
            y.append(simulation.train(number))


pool["linear"] = searches(linear)
final["linear"] = np.array([one.regret[-1] for one in pool["linear"]])
answers["linear"] = np.array([one.incumbents[-1] for one in pool["linear"]])
summary("linear", answers["linear"][:SEEDS])
rivals = [(name, "linear") for name in ("random", "evolution", "local")]
tested(rivals, {name: regrets[:SEEDS] for name, regrets in final.items()})

# %%
print("200 seeds")
tested(rivals, final)

# %% [markdown]
# Is it better? Read it as a referee would.
#
# * **What was announced?** The experiment of 20 seeds. By it, the strategy is better than random and local
#   search; that it is better than evolution, it does not show. The 200 seeds do, and the size of that difference
#   was right; there were too few seeds for it.
# * **How many tests?** With those above six, and we corrected for three at a time. Doubled, the small p-values
#   stay small.
# * **Where did the idea come from?** From the rule of thumb, which was read off *this* table. So the author has
#   looked at the test images, if only with half an eye. The honest test is a data set on which nobody looked: for
#   that, `DATASET` is a variable.
# * **By how much?** By less than the noise floor of a single architecture. It holds of many searches; of one
#   search it promises little.
# * **In which space?** In one of 648, in which four counts say so much. In a large one they may say less.
#
# And DCP-NAS? A search that trains a supernet cannot be looked up. It has to be run, and then what it *found* is
# looked up. `docs/study.md` does that, and asks by the same statistics, at equal cost, whether its parts help.
#
# ## What goes wrong
#
# **Mistake 1: the best of ten seeds is reported.** A seed has no quality that one could choose.

# %%
ten = final["random"].reshape(20, 10)  # 20 authors
beaten = np.mean(ten.min(axis=1)[:, None] < final["linear"].reshape(20, 10).mean(axis=1))
print(
    f"random search, mean of ten {100 * ten.mean():.2f}, best of ten {100 * ten.min(axis=1).mean():.2f} points"
)
print(f"the best of ten of random search is ahead of the mean of ten of linear in {beaten:.0%}")

# %% [markdown]
# The symptom is a gain that nobody can repeat. Report mean, standard deviation and number of seeds.
#
# **Mistake 2: the test images choose a setting.** Twenty settings of random search are tried with five seeds
# each, and the one with the least regret goes into the paper. (The setting is a number that is never used.)
# Somebody else repeats it with five other seeds.

# %%
rng, reported, repeated = np.random.default_rng(3), [], []
for _ in range(1000):
    first, second = rng.permutation(final["random"]).reshape(2, 20, 5).mean(axis=2)
    reported.append(first.min())
    repeated.append(second[first.argmin()])
print(f"all settings {100 * final['random'].mean():.2f} points of regret", end=", ")
print(f"the best reported {100 * np.mean(reported):.2f}, repeated {100 * np.mean(repeated):.2f}")

# %% [markdown]
# A fine improvement, made of nothing. Regret is measured on test images, so who tunes by it chooses on them. The
# symptom is that fresh seeds and fresh images do not confirm it. Tune on validation, or on another data set.
#
# **Mistake 3: seeds are added until it is significant.** Random search against itself again; from six seeds on,
# after each new one, a look at Wilcoxon's p.

# %%
looks = range(6, 31)
d = np.round(experiments(final["random"], final["random"], 30, trials=400), 12)
alarms = np.array([[signed_rank(row[:r]).p < 0.05 for r in looks] for row in d])
print(f"a single look, at 30 seeds: {alarms[:, -1].mean():.0%} false alarms")
print(f"a look after each seed, and stop when p < 0.05: {alarms.any(axis=1).mean():.0%}")

# %% [markdown]
# The symptom is a number of seeds, such as 17, that nobody can explain. Say before you begin how many seeds there
# will be, and which comparison counts.
#
# ## Exercises
#
# **Exercise 1.** Write Holm's correction for any number of p-values, in the order in which they come.


# %% tags=["exercise-1"]
def corrected(p):
    """p (m,), not sorted -> (m,), corrected."""
    ...


# %% tags=["check-1"]
def examine_1(answer):
    rng = np.random.default_rng(11)
    cases = [
        [0.01, 0.04, 0.03],
        [0.02],
        [0.04, 0.04, 0.04],
        [0.9, 0.02, 0.6],
        [0.01, 0.011, 0.5, 0.02],
    ]
    cases += [rng.random(m) ** 3 for m in (2, 3, 5, 8, 8, 20)]
    for p in map(np.array, cases):
        order = np.argsort(p, kind="stable")
        expected, before = np.empty(len(p)), 0.0
        for place, which in enumerate(order):
            before = max(before, min(1.0, p[which] * (len(p) - place)))
            expected[which] = before
        fault = difference(answer(p.copy()), expected)
        if fault:
            return f"p = {np.round(p, 3)}: {fault}"


check(1, corrected, examine_1)

# %% [markdown]
# **Exercise 2.** How good would random search be if it saw values instead of single trainings? Of $N$ values, $m$
# different ones are drawn, and the highest is kept. Write the mean of its regret, without a simulation. (The
# highest of the drawn is the $i$-th smallest of all if that one is drawn, and the $m - 1$ others are among the
# $i - 1$ below it. How many of all choices of $m$ are so? For equal values any order will do.) Then put it beside
# the regret of random search after as many trainings: what has the noise cost?


# %% tags=["exercise-2"]
def expected_regret(values, m):
    """values (N,), not sorted, m from 1 to N -> the mean regret of the best of m, a number."""
    ...


# %% tags=["check-2"]
def examine_2(answer):
    def fault(some, m, expected):
        got = answer(some.copy(), m)
        near = np.shape(got) == () and abs(got - expected) < 1e-8 * some.max()  # 0 up to rounding
        return None if near else difference(got, expected, 1e-7)

    rng = np.random.default_rng(12)
    for size in (1, 2, 3, 5, 7):
        for some in (rng.uniform(0.5, 1, size), np.round(rng.uniform(0.5, 1, size), 1)):
            for m in range(1, size + 1):
                best = [max(drawn) for drawn in itertools.combinations(some, m)]
                if found := fault(some, m, some.max() - np.mean(best)):
                    return f"values {np.round(some, 3)}, m = {m}: {found}"
    for m in (
        1,
        20,
        324,
        648,
    ):  # the largest of m numbers out of 1 ... N has the mean m (N + 1) / (m + 1)
        if found := fault(rng.permutation(648) + 1.0, m, 648 - m * 649 / (m + 1)):
            return f"the numbers 1 to 648 in any order, m = {m}: {found}"


check(2, expected_regret, examine_2)

# %% [markdown]
# **Exercise 3.** A remedy against the curse: train the best ones again. Write a strategy
# `again(simulation, count, kept)`. It trains `count` *different* architectures, drawn at random, once each; then
# the `kept` ones with the highest validation accuracy twice more each; and returns the number of the one with the
# highest mean of its three accuracies. (With the right answer, find out what it is worth: is its regret less than
# that of random search that spends as many seconds?)


# %% tags=["exercise-3"]
def again(simulation, count, kept): ...


# %% tags=["check-3"]
def examine_3(answer):
    starts = set()
    for seed, count, kept in ((0, 60, 5), (1, 60, 5), (2, 100, 10), (3, 80, 1), (4, 648, 8)):
        simulation = Simulation(table, DATASET, np.inf, np.random.default_rng(seed))
        told = table.index(answer(simulation, count, kept))
        trained, seen = np.array([(one[1], one[4]) for one in simulation.records]).T
        if len(trained) != count + 2 * kept:
            return f"{len(trained)} trainings for count {count}, kept {kept}: too few or too many"
        first, rest = dict(zip(trained[:count], seen)), list(trained[count:])
        if len(first) < count:
            return f"among the first {count} trainings an architecture comes twice"
        least = sorted(first.values())[-kept]
        if any(rest.count(one) != 2 or first.get(one, -1) < least for one in rest):
            return f"kept {kept}: other ones were trained than the best, or not twice more each"
        means = {one: seen[trained == one].mean() for one in rest}
        if means.get(told, -1) < max(means.values()) - 1e-12:
            return f"{told} was returned, another architecture has a higher mean of three"
        starts.add(tuple(trained[:20]))
    if len(starts) < 5:
        return "another rng should draw other architectures"


check(3, again, examine_3)

# %% [markdown]
# ## Where to read on
#
# * `bnas/tabular/simulate.py`: the rules and the three strategies; `bnas/tabular/statistics.py`: noise and ranks.
#   `docs/table.md`: what the table can tell, and what not.
# * `bnas/study/statistics.py`: all comparisons of this tutorial; `docs/study.md`: what they say of DCP-NAS.
#   `bnas/comparison/groups.py`: the same for runs of your own, by `bnas compare`.
# * Lindauer and Hutter, *Best practices for scientific research on neural architecture search* (JMLR 21, 2020), a
#   checklist to go through before publishing; Li and Talwalkar, *Random search and reproducibility for neural
#   architecture search* (UAI 2019); Yang, Esperança, Carlucci, *NAS evaluation is frustratingly hard* (ICLR 2020,
#   arXiv 1912.12522).
# * Ying et al., *NAS-Bench-101* (ICML 2019), the first such table, of real networks; White, Nolen, Savani, *Local
#   search is state of the art for NAS benchmarks* (arXiv 2005.02960), on how easy small spaces are.
# * Efron, *Bootstrap methods: another look at the jackknife* (Annals of Statistics 7, 1979); Wilcoxon,
#   *Individual comparisons by ranking methods* (Biometrics Bulletin 1, 1945); Holm, *A simple sequentially
#   rejective multiple test procedure* (Scandinavian Journal of Statistics 6, 1979).
