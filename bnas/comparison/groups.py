"""What is compared: groups of runs that differ in the seed, and their differences seed by seed."""

from dataclasses import dataclass

import numpy as np

from bnas.results import Results
from bnas.space.operations import WEIGHTLESS

RESAMPLES = 10_000  # of the pairs, for an interval
MEASURES = {"test_accuracy": "test accuracy", "validation_accuracy": "validation accuracy"}


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing but the seed.

    Attributes:
        label: the strategy, and the settings in which it differs from other groups of that strategy.
        runs: their Results.
        name: of the training in each that is compared.
    """

    label: str
    runs: tuple[Results, ...]
    name: str

    @property
    def seeds(self):
        """The seeds of the searches, a tuple in the order of `runs`."""
        return tuple(run.config.seed for run in self.runs)

    @property
    def trained(self):
        """The Results of the trainings."""
        return [run.trainings[self.name] for run in self.runs]

    @property
    def test_accuracy(self):
        """Shares of the test images, 0 to 1, float64 (seeds,)."""
        return np.array([training.evaluation["test_accuracy"] for training in self.trained])

    @property
    def validation_accuracy(self):
        """The same of the validation images after the last epoch; None if the networks learnt them too."""
        if not self.trained[0].config.hold_out:
            return None
        return np.array([training.history["validation_accuracy"][-1] for training in self.trained])

    @property
    def operations(self):
        """How many operations the two cells have."""
        return len(_operations(self.trained[0]))

    @property
    def weightless(self):
        """How many of them are skips and poolings, int64 (seeds,)."""
        counts = [sum(op in WEIGHTLESS for op in _operations(one)) for one in self.trained]
        return np.array(counts)

    def cost(self, name):
        """The mean over the seeds of what a search took, of "peak_memory" the largest; None if not recorded.

        name: "seconds", "gradient_steps", "images_seen" or "peak_memory" (bytes).
        """
        costs = [getattr(run, name) for run in self.runs]
        if None in costs:
            return None
        return max(costs) if name == "peak_memory" else float(np.mean(costs))


@dataclass(frozen=True, eq=False)
class Difference:
    """Accuracies of a group minus those of the first group, seed by seed.

    Attributes:
        label, reference: of the group and of the first.
        measure: "test_accuracy" or "validation_accuracy".
        seeds: that both groups have.
        values: float64 (seeds,).
        low, high: the 95 % bootstrap interval of their mean; None for one pair, or where all are equal.
    """

    label: str
    reference: str
    measure: str
    seeds: tuple[int, ...]
    values: np.ndarray
    low: float | None
    high: float | None

    @property
    def mean(self):
        """Of the differences; None if there is no pair."""
        return float(self.values.mean()) if len(self.values) else None

    @property
    def verdict(self):
        """What the interval says in a word or two."""
        if not len(self.values):
            return "no seed in common"
        if self.low is None:
            return "one pair, no interval" if len(self.values) == 1 else "all equal, no interval"
        if self.low <= 0 <= self.high:
            return "within noise"
        return "higher" if self.low > 0 else "lower"


def spread(values):
    """(mean, standard deviation with n - 1) of an array; None for what there is not."""
    if values is None:
        return None, None
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def bootstrap_interval(values):
    """The 95 % percentile bootstrap interval of the mean of `values` (Efron, 1979): (low, high).

    The random numbers are the same each time. (None, None) for one value, or where all are equal: then every
    resample has the same mean, which tells nothing of how sure it is.
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return None, None
    from scipy.stats import bootstrap  # only now: it takes longer to import than all the rest

    interval = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=0.95,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    # A mean of resampled shares is 0 but for rounding where the images cancel.
    return round(float(interval.low), 12), round(float(interval.high), 12)


def _operations(training):
    """The names of all operations of a genotype."""
    return [name for name, _ in (*training.genotype.normal, *training.genotype.reduce)]
