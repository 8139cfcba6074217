"""What a table can tell: how far architectures differ, how far seeds do, and who ranks alike.

Every function but `landscape` takes plain arrays, so that any ranking can be measured with it. Accuracies have
the shape (architectures, seeds).
"""

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

RELEVANCE = 20.0  # of the best architecture in NDCG, as in AceNAS
IRRELEVANT = 0.2  # the share of architectures at the bottom that have none
_NORMAL = 1.96  # standard deviations to either side that hold 95 %


class Components(NamedTuple):
    """Variance of accuracies in two parts: Var = `between` architectures + `within` (between seeds of one)."""

    between: float
    within: float

    @property
    def share(self):
        """The share between architectures, 0 to 1: the intraclass correlation ICC(1) of one training."""
        total = self.between + self.within
        return self.between / total if total else float("nan")

    def share_of_mean(self, seeds):
        """The same of the mean over so many seeds."""
        total = self.between + self.within / seeds
        return self.between / total if total else float("nan")


def variance_components(accuracies):
    """The Components of accuracies (N, S), S >= 2, estimated without bias (one-way analysis of variance).

    The variance of the means over S seeds holds a share of the seeds' own variance, which is subtracted:
    between = Var(means) - within / S, or 0 where that is less (Shrout and Fleiss, Psychological Bulletin 1979).
    """
    accuracies = _matrix(accuracies, 2)
    within = float(accuracies.var(axis=1, ddof=1).mean())
    between = float(accuracies.mean(axis=1).var(ddof=1)) - within / accuracies.shape[1]
    return Components(max(between, 0.0), within)


def distinguishable(within, seeds):
    """The least difference of two architectures' means over `seeds` that a 95 % interval tells from none."""
    return _NORMAL * float(np.sqrt(2 * within / seeds))


def seed_correlation(accuracies, method="spearman"):
    """The mean rank correlation of two seeds' accuracies, over all pairs of the S >= 2 seeds of (N, S).

    method: "spearman", or "kendall" for τ-b, which allows for ties.
    """
    columns = _matrix(accuracies, 2).T
    return float(np.mean([rank_correlation(a, b, method) for a, b in combinations(columns, 2)]))


def rank_correlation(first, second, method="kendall"):
    """Kendall's τ-b or Spearman's ρ of two lists of values, -1 to 1; NaN where all values of one are equal."""
    from scipy import stats  # slow to import, and nothing else here needs it

    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"expected two lists of one length, got {first.shape} and {second.shape}")
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    functions = {"kendall": stats.kendalltau, "spearman": stats.spearmanr}
    if method not in functions:
        raise ValueError(f"method is {method!r}, expected kendall or spearman")
    return float(functions[method](first, second).statistic)


def ndcg(scores, accuracies, k=None):
    """Normalised discounted cumulative gain, 0 to 1: whether `scores` put the best architectures first.

    With a_r the accuracy of the architecture that `scores` rank r-th (from 1),
        relevance_r = 20 · clip((a_r - q) / (max a - q), 0, 1),  q the 20 % quantile of the accuracies,
        DCG = Σ_r (2^relevance_r - 1) / log₂(r + 1),  over r = 1 ... k,
    divided by the DCG of the accuracies' own order. So what the scores say of the lower ranks hardly counts, and
    of the lowest fifth not at all. As in AceNAS (Zhang et al., 2108.03001, and the code of its authors), but
    architectures of equal score share the mean gain of their places.

    Args:
        scores: (N,), higher is better: of a supernet, of a real twin, of few epochs.
        accuracies: (N,), the true ones.
        k: how many places count, 1 or more; all if None.

    Returns NaN if all accuracies are equal.
    """
    scores, accuracies = np.asarray(scores, np.float64), np.asarray(accuracies, np.float64)
    if scores.ndim != 1 or scores.shape != accuracies.shape or not len(scores):
        raise ValueError(
            f"expected two lists of one length, got {scores.shape} and {accuracies.shape}"
        )
    lowest, highest = np.quantile(accuracies, IRRELEVANT), accuracies.max()
    if lowest == highest:
        return float("nan")
    gains = 2 ** (RELEVANCE * np.clip((accuracies - lowest) / (highest - lowest), 0, 1)) - 1
    discounts = 1 / np.log2(np.arange(len(gains)) + 2)
    if k is not None:
        discounts[k:] = 0
    order = np.argsort(-scores, kind="stable")
    _, group = np.unique(-scores[order], return_inverse=True)
    mean_gains = np.bincount(group, gains[order]) / np.bincount(group)
    return float((mean_gains[group] * discounts).sum() / (np.sort(gains)[::-1] * discounts).sum())


def explained(values, groups):
    """The share of the variance of `values` (N,) that the means of its groups explain: ε², 0 to 1.

    It is corrected for what groups that mean nothing would seem to explain:
    1 - (variance within, over N - groups degrees of freedom) / (variance of all, over N - 1).

    groups: (N,) or (N, K): equal entries, or rows, are one group. NaN where all values are equal, or no group has
    two members.
    """
    values, groups = np.asarray(values, np.float64), np.asarray(groups)
    _, group = np.unique(groups.reshape(len(groups), -1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    means = np.bincount(group, values) / np.bincount(group)
    freedom, total = len(values) - len(means), values.var(ddof=1)
    if freedom < 1 or not total:
        return float("nan")
    return max(0.0, 1 - float(((values - means[group]) ** 2).sum() / freedom / total))


@dataclass(frozen=True)
class Landscape:
    """What a table tells of a data set: test accuracies after the last epoch of its 1-bit networks.

    Attributes:
        lowest, median, highest: of the architectures' means over the seeds, 0 to 1.
        deviation: standard deviation of those means.
        components: Components of the variance.
        seeds: trainings of each architecture.
        noise: standard deviation between seeds of one architecture.
        distinguishable: the least difference of two means that is told from none, at 95 %.
        near_best: how many architectures, the best included, are closer to the best than that.
        spearman, kendall: mean rank correlation between two seeds; all these are NaN with one seed alone.
        exhaustive_regret: what is left where all are trained once: by how much the mean test accuracy of the
            architecture with the highest validation accuracy is less than the highest; mean over the seeds.
        validation_kendall: τ of the mean validation and mean test accuracies, over the architectures.
        convolutions, parameters: Spearman's correlation of the means with their numbers.
        explained: {what: the share of the means' variance that it explains}, of the number of convolutions, the
            number of each operation, and how many there are of all ("operations": the rest is where they are).
        twin_kendall, twin_ndcg: how the real twins rank the 1-bit networks.
        real_lowest, real_median, real_highest: of the real twins' accuracies.
    """

    lowest: float
    median: float
    highest: float
    deviation: float
    components: Components
    seeds: int
    noise: float
    distinguishable: float
    near_best: int
    spearman: float
    kendall: float
    exhaustive_regret: float
    validation_kendall: float
    convolutions: float
    parameters: float
    explained: dict[str, float]
    twin_kendall: float
    twin_ndcg: float
    real_lowest: float
    real_median: float
    real_highest: float


def landscape(table, dataset):
    """The Landscape of a Table's data set."""
    accuracies = table.accuracies(dataset, "test")
    means, seeds = accuracies.mean(axis=1), accuracies.shape[1]
    validation = table.accuracies(dataset, "validation")
    real = table.accuracies(dataset, "test", "real").mean(axis=1)
    counts = {kind: table.counts(kind) for kind in ("convolutions", *table.operations)}
    counts["operations"] = np.stack([counts[name] for name in table.operations], axis=1)
    nan = float("nan")
    components, floor = Components(nan, nan), nan
    if seeds > 1:
        components = variance_components(accuracies)
        floor = distinguishable(components.within, seeds)
    return Landscape(
        *(float(np.quantile(means, q)) for q in (0, 0.5, 1)),
        float(means.std(ddof=1)),
        components,
        seeds,
        float(np.sqrt(components.within)),
        floor,
        int((means > means.max() - floor).sum()) if seeds > 1 else 1,
        seed_correlation(accuracies, "spearman") if seeds > 1 else nan,
        seed_correlation(accuracies, "kendall") if seeds > 1 else nan,
        float(np.mean(means.max() - means[validation.argmax(axis=0)])),
        rank_correlation(validation.mean(axis=1), means),
        rank_correlation(counts["convolutions"], means, "spearman"),
        rank_correlation(table.datasets[dataset]["parameters"], means, "spearman"),
        {kind: explained(means, count) for kind, count in counts.items()},
        rank_correlation(real, means),
        ndcg(real, means),
        *(float(np.quantile(real, q)) for q in (0, 0.5, 1)),
    )


def _matrix(accuracies, least):
    accuracies = np.asarray(accuracies, np.float64)
    if accuracies.ndim != 2 or accuracies.shape[1] < least or len(accuracies) < 2:
        raise ValueError(
            f"expected accuracies of 2 or more architectures with {least} or more seeds, got shape "
            f"{accuracies.shape}"
        )
    return accuracies
