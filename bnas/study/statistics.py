"""How searches are compared: what the found architectures are worth, and whether differences are more than chance.

The functions take plain numbers and arrays. Accuracies are shares, 0 to 1. What an architecture is worth, its
*value*, is its mean test accuracy over the seeds of the table.
"""

from typing import NamedTuple

import numpy as np

from bnas.comparison import bootstrap_interval

LEVEL = 0.05  # below which a corrected p-value is called more than chance


def regret(values, found):
    """By how much the found architectures are worse than the best of the table.

    Args:
        values: (N,) of all architectures.
        found: numbers of architectures, an int array of any shape.

    Returns:
        float64 of the shape of `found`, 0 or more.
    """
    values = np.asarray(values, np.float64)
    return values.max() - values[np.asarray(found)]


def percentile_rank(values, found):
    """The share of the table's architectures that the found ones are better than, in per cent, 0 to 100.

    Of equals one half counts, so a random architecture has 50 on average. Arguments as of `regret`.
    """
    values = np.asarray(values, np.float64)
    own = values[np.asarray(found)]
    ordered = np.sort(values)
    below, above = (np.searchsorted(ordered, own, side) for side in ("left", "right"))
    # The architecture itself is one of its equals, and no rival.
    return 100 * (below + (above - below - 1) / 2) / max(len(values) - 1, 1)


def improvement(values, found):
    """Relative improvement over the average random architecture: (a - ā) / ā, ā the mean of `values`.

    Yang et al., NAS evaluation is frustratingly hard (ICLR 2020, 1912.12522), who give it in per cent. Arguments
    as of `regret`; 0.01 is one per cent.
    """
    values = np.asarray(values, np.float64)
    average = values.mean()
    return (values[np.asarray(found)] - average) / average


class SignedRank(NamedTuple):
    """What Wilcoxon's test says of paired differences.

    Attributes:
        p: two-sided p-value.
        pairs: how many differences are not 0, on which it rests.
        correlation: rank-biserial, -1 to 1: the ranks of the positive differences minus those of the negative,
            as a share of all (Kerby, Comprehensive Psychology 2014); 0 without pairs.
    """

    p: float
    pairs: int
    correlation: float


def signed_rank(differences):
    """Wilcoxon's signed-rank test of paired differences against 0, two-sided.

    Differences of 0 are left out, as Wilcoxon did. Up to 50 pairs the p-value is exact, equal sizes included:
    every choice of signs is as likely as every other. Beyond that it is `scipy.stats.wilcoxon`'s, from the normal
    distribution. p is 1 if all differences are 0.

    Args:
        differences: (pairs,) numbers.

    Returns:
        SignedRank.
    """
    from scipy.stats import rankdata, wilcoxon  # slow to import

    differences = np.asarray(differences, np.float64)
    differences = differences[differences != 0]
    pairs = len(differences)
    if not pairs:
        return SignedRank(1.0, 0, 0.0)
    # Whole numbers, though equals share a rank.
    doubled = (2 * rankdata(abs(differences))).astype(int)
    total, positive = int(doubled.sum()), int(doubled[differences > 0].sum())
    correlation = 2 * positive / total - 1
    if pairs > 50:
        p = float(wilcoxon(differences, method="approx").pvalue)
        return SignedRank(p, pairs, correlation)
    ways = np.zeros(total + 1)  # [w]: in how many choices of signs the positive ranks sum to w
    ways[0] = 1
    for rank in doubled:
        ways[rank:] = ways[rank:] + ways[: total + 1 - rank]
    extreme = min(positive, total - positive)
    p = min(1.0, 2 * float(ways[: extreme + 1].sum() / 2.0**pairs))
    return SignedRank(p, pairs, correlation)


def holm(p_values):
    """The p-values of a family of tests, corrected by Holm's step-down method (1979), in their order.

    The k-th smallest of m, from 0, is multiplied by m - k; none becomes less than a smaller one, nor more than 1.
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return corrected


class Paired(NamedTuple):
    """A search compared with another, seed by seed; accuracies are shares.

    Attributes:
        mean: of the differences, and its 95 % bootstrap interval, low to high: None for one pair, or where all are
            equal.
        pairs: seeds that both have; unequal: in how many of them the two differ.
        p, correlation: of the signed-rank test; corrected: p by Holm's method, over the family.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: int
    unequal: int
    p: float
    corrected: float
    correlation: float

    @property
    def verdict(self):
        """higher, lower or within noise: by the corrected p-value; which of the two, by the test's ranks too.

        One outlier can give the mean the other sign.
        """
        if self.corrected >= LEVEL:
            return "within noise"
        return "higher" if self.correlation > 0 else "lower"


def compare_paired(families):
    """Compare searches with a reference, each seed by seed, as one family of tests.

    Args:
        families: {name: differences}, each (seeds,), what the search found minus what the reference did.

    Returns:
        {name: Paired}, in the same order.
    """
    differences = {name: np.round(values, 12) for name, values in families.items()}
    tests = {name: signed_rank(values) for name, values in differences.items()}
    corrected = holm([test.p for test in tests.values()])
    return {
        name: Paired(
            float(values.mean()),
            *bootstrap_interval(values),
            len(values),
            tests[name].pairs,
            tests[name].p,
            float(after),
            tests[name].correlation,
        )
        for (name, values), after in zip(differences.items(), corrected)
    }


def step_values(times, values, grid):
    """A curve that holds each value until the next time, read at the points of `grid`; NaN before the first.

    Args:
        times: (K,) ascending; values: (K,), NaN where there is none yet.
        grid: (G,).

    Returns:
        float64 (G,).
    """
    place = np.searchsorted(np.asarray(times, np.float64), grid, side="right") - 1
    return np.append(np.asarray(values, np.float64), np.nan)[place]  # -1 is the NaN


def anytime(curves, grid):
    """Median and quartiles, over the seeds, of step curves on a common grid.

    Args:
        curves: list of (times, values), one a seed.
        grid: (G,) of seconds, or of gradient steps.

    Returns:
        float64 (3, G): lower quartile, median, upper quartile; NaN where a seed has no value yet.
    """
    rows = np.array([step_values(times, values, grid) for times, values in curves])
    return np.quantile(rows, (0.25, 0.5, 0.75), axis=0)
