"""Searches that ask the table instead of training: seconds of a search in microseconds.

A strategy is a function of one Simulation, which it asks to `train` architectures until the budget is spent.
What it sees is the validation accuracy of one training, with a seed that is drawn. Nothing else: test accuracy
tells afterwards what its choices were worth.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from bnas.errors import InputError
from bnas.space.genotype import shorten


class BudgetSpent(Exception):
    """The next training would take more seconds than are left; ends a strategy."""


class Simulation:
    """A search on a table, as its strategy sees it.

    Attributes:
        table: the Table; a strategy may use its space (`random`, `neighbours`), and only cheats if it queries it.
        dataset, precision: what is trained.
        rng: numpy.random.Generator, for all that is drawn.
        budget_seconds: what the trainings may take together; spent: what they have taken; shortest: the least that
            a whole training takes.
        epochs: of a whole training.
        records: (spent when it ended, architecture, seed, epoch, validation accuracy) of each training so far.
    """

    def __init__(self, table, dataset, budget_seconds, rng, precision="binary"):
        self.table, self.dataset, self.precision, self.rng = table, dataset, precision, rng
        self.epochs = table.epochs(dataset, precision)
        self.budget_seconds, self.spent = budget_seconds, 0.0
        self._seeds = table.seeds(dataset, precision)
        self._validation = table.right(dataset, "validation", precision)
        self._images = float(table.datasets[dataset]["validation_images"])
        self._seconds = table.datasets[dataset][f"{precision}_seconds"].astype(np.float64)
        self.shortest = float(self._seconds.min())
        self._paused = {}  # {architecture: (seed, epochs so far)} of its last training
        self.records = []

    def train(self, architecture, epoch=None):
        """Train an architecture up to an epoch, to the end if None; returns its validation accuracy, 0 to 1.

        A training that was stopped at an earlier epoch goes on, and costs the epochs that are new. Any other is a
        new one, from the first epoch, with a seed that is drawn.

        Raises BudgetSpent, which a strategy lets pass, if that would take more seconds than are left.
        """
        number = self.table.index(architecture)
        epoch = self.table.check_epoch(epoch, self.dataset, self.precision)
        seed, done = self._paused.get(number, (None, 0))
        if seed is None or epoch <= done:
            seed, done = int(self.rng.integers(self._seeds)), 0
        seconds = self._seconds[number, seed] * (epoch - done) / self.epochs
        if self.spent + seconds > self.budget_seconds:
            raise BudgetSpent
        self.spent += seconds
        self._paused[number] = seed, epoch
        accuracy = float(self._validation[number, seed, epoch - 1] / self._images)
        self.records.append((self.spent, number, seed, epoch, accuracy))
        return accuracy


@dataclass(frozen=True, eq=False)
class Trajectory:
    """How a simulated search went, a place for each training it did; all arrays are (trainings,).

    Attributes:
        seconds: spent when the training ended, float64, ascending.
        trained, seeds, epochs: the number of the architecture, its seed, and up to which epoch, int64.
        validation: its accuracy, float64.
        incumbents: the architecture chosen so far, int64: that of the highest validation accuracy, the first of
            equals.
        incumbent_validation: that accuracy, float64.
        incumbent_test: the true value of the incumbent, float64: its mean test accuracy over the seeds, after all
            epochs.
        regret: by how much that is less than the highest of the table, float64.
        budget_seconds: what there was to spend.
        exhausted: whether the strategy ended because the budget was spent, not by itself.
    """

    seconds: np.ndarray
    trained: np.ndarray
    seeds: np.ndarray
    epochs: np.ndarray
    validation: np.ndarray
    incumbents: np.ndarray
    incumbent_validation: np.ndarray
    incumbent_test: np.ndarray
    regret: np.ndarray
    budget_seconds: float
    exhausted: bool

    def __len__(self):
        return len(self.seconds)

    def regret_at(self, seconds):
        """The regret after so many seconds, a number or an array of them; NaN before the first training ended."""
        place = np.searchsorted(self.seconds, seconds, side="right") - 1
        return np.append(self.regret, np.nan)[place]  # -1 is the NaN


def simulate(
    table, strategy, budget_seconds, dataset="digits", seed=0, precision="binary", **settings
):
    """Let a strategy search the table; returns a Trajectory. The same seed gives the same one.

    Each training costs the seconds that it took on the machine that built the table, and one that the budget does
    not allow is not begun. The strategy is led by validation accuracy alone.

    Args:
        table: bnas.tabular.Table.
        strategy: "random", "evolution" or "local", or a function of a Simulation.
        budget_seconds: more than 0; may be infinite for one that ends by itself, as "random" and "local" do.
        dataset, precision: what is trained.
        seed: int, or a numpy.random.Generator.
        settings: handed on to the strategy.

    Raises InputError for an unknown strategy or a budget that does not allow a single training.
    """
    if not callable(strategy):
        if strategy not in STRATEGIES:
            raise InputError(
                f"there is no strategy {shorten(strategy)}; expected {', '.join(STRATEGIES)}, or a function"
            )
        strategy = STRATEGIES[strategy]
    if not budget_seconds > 0:
        raise InputError(f"budget_seconds is {budget_seconds}, expected more than 0")
    simulation = Simulation(table, dataset, budget_seconds, np.random.default_rng(seed), precision)
    exhausted = False
    try:
        strategy(simulation, **settings)
    except BudgetSpent:
        exhausted = True
    if not simulation.records:
        raise InputError(
            "the strategy trained nothing: a whole training takes "
            f"{simulation.shortest:.3g} seconds or more, and the budget is {budget_seconds:.3g}"
        )
    return _trajectory(simulation, exhausted)


def _trajectory(simulation, exhausted):
    seconds, trained, seeds, epochs, validation = map(np.array, zip(*simulation.records))
    highest = np.maximum.accumulate(validation)
    # The place of each training that was better than all before, carried on to the next such place.
    better = np.append(True, validation[1:] > highest[:-1])
    incumbents = trained[np.maximum.accumulate(np.where(better, np.arange(len(trained)), 0))]
    table = simulation.table
    values = table.accuracies(simulation.dataset, "test", simulation.precision).mean(axis=1)
    return Trajectory(
        seconds,
        trained,
        seeds,
        epochs,
        validation,
        incumbents,
        highest,
        values[incumbents],
        values.max() - values[incumbents],
        simulation.budget_seconds,
        exhausted,
    )


def random_search(simulation):
    """Train the architectures in an order that is drawn, each once."""
    for number in simulation.rng.permutation(len(simulation.table)):
        simulation.train(number)


def evolution(simulation, population=20, sample=5):
    """Regularised evolution (Real et al., AAAI 2019): never ends by itself.

    The best of `sample` members, drawn without replacement, has an offspring, one of its neighbours; the oldest
    member dies. The first `population` architectures are drawn.
    """
    if not 1 <= sample <= population:
        raise InputError(f"sample is {sample}, expected 1 to the population, {population}")
    rng, table = simulation.rng, simulation.table
    members = deque()  # (validation accuracy, architecture), oldest first
    while True:
        if len(members) < population:
            child = int(rng.integers(len(table)))
        else:
            drawn = rng.choice(population, sample, replace=False)
            _, parent = max((members[i] for i in drawn), key=lambda member: member[0])
            child = int(rng.choice(table.neighbour_numbers(parent)))
            members.popleft()
        members.append((simulation.train(child), child))


def local_search(simulation):
    """Hill climbing with restarts (White et al., 2005.02960): ends when every architecture has been trained.

    From an architecture that is drawn, train all neighbours that are new and go to the best of them all, as long
    as it is better; then start again at one that has not been trained.
    """
    rng, table, known = simulation.rng, simulation.table, {}

    def value(number):
        if number not in known:
            known[number] = simulation.train(number)
        return known[number]

    for start in rng.permutation(len(table)):
        if start in known:
            continue
        here, better = int(start), True
        value(here)
        while better:
            around = rng.permutation(table.neighbour_numbers(here))
            best = int(max(around, key=value))
            better = value(best) > value(here)
            here = best if better else here


STRATEGIES = {"random": random_search, "evolution": evolution, "local": local_search}
