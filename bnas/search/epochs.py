"""How a search of supernets runs epoch by epoch, so that it can be interrupted between any two of them.

A strategy says in `algorithm` what it does, as a list of steps; here the steps become epochs, and an epoch
knows what has to happen before and after it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bnas.errors import InputError, argument
from bnas.evaluation import accuracy
from bnas.kernels import buffers
from bnas.nn import join_states, part_of, require_alike, without
from bnas.search.remedies import perturbation_selection, temperature_at, too_many_skips
from bnas.search.strategy import Strategy
from bnas.space.alpha import (
    decided_edges,
    edge_entropies,
    for_both_kinds,
    mask_genotype,
    mixing_weights,
)
from bnas.space.genotype import discretise, edges
from bnas.space.skeleton import reduction_layers

CELLS = ("normal", "reduction")


class Step(NamedTuple):
    """A step of an algorithm.

    Attributes:
        name: of the phase, in the history.
        do: without epochs, a function without arguments that does it; else a function that makes the
            phase from their number.
        epochs: how many the phase takes; 0 for what happens at once.
        then: what to do when its last epoch has ended, or None.
    """

    name: str
    do: Callable
    epochs: int = 0
    then: Callable | None = None


class Epoch(NamedTuple):
    """Where an epoch stands.

    Attributes:
        step: the Step whose phase it belongs to.
        round: how many phases of that name have come before.
        index: within its phase, of `step.epochs`.
        before: functions to call when it begins: the steps without epochs just before its phase.
    """

    step: Step
    round: int
    index: int
    before: tuple

    def __str__(self):
        return f"round {self.round + 1}, {self.step.name}"


def schedule(steps):
    """The epochs of an algorithm, in order. Steps after the last epoch are never done."""
    epochs, before, rounds = [], (), {}
    for step in steps:
        if not step.epochs:
            before += (step.do,)
            continue
        rounds[step.name] = rounds.get(step.name, -1) + 1
        for index in range(step.epochs):
            epochs.append(Epoch(step, rounds[step.name], index, before))
            before = ()
    return epochs


class PhasedSearch(Strategy):
    """What every search of supernets shares: its epochs, their records, its state.

    Subclasses define algorithm() -> Steps, `deciding`, STATE, the names of the attributes whose state dicts make
    up the state, and, for the rest of it, arrays() and load_arrays(arrays).

    Attributes:
        schedule: a list of Epoch.
        phase: the phase in force.
        deciding: the supernet whose α is the answer.
        selection: what the genotype keeps, bool of the shape of α, where it goes by perturbation; all False
            until then.
        decided: what `decided_edges` said of the supernet of the last epoch.

    Raises InputError where skips are to be counted and there is no normal cell, and for a warm-up of no epoch.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.schedule = schedule(self.algorithm())
        self.epochs = len(self.schedule)
        if config.stop_skips is not None and len(reduction_layers(config.layers)) == config.layers:
            raise InputError(
                argument("stop_skips"),
                f" counts the skips of the normal cell, and a supernet of {config.layers} layers has none; give "
                "3 or more ",
                argument("layers"),
            )
        if config.warmup and not any(map(self.rests, self.schedule)):
            raise InputError(
                argument("warmup"),
                f" {config.warmup:g} is less than an epoch of every phase, so that α would never rest; give more, "
                "or more epochs",
            )
        self.phase, self.decided = None, set()
        self.selection = np.zeros(self.deciding.alpha.shape, bool)

    def search_epoch(self, number, rng, progress):
        """Epoch `number` and what the algorithm does around it; returns its figures."""
        epoch, config = self.schedule[number], self.config
        self.set_temperature(number)
        for action in epoch.before:
            action()
        if epoch.index == 0:
            self.phase = epoch.step.do(epoch.step.epochs)
        phase, supernet = self.phase, self.phase.supernet
        phase.cost = self.cost
        phase.alpha_rests = self.rests(epoch)
        phase.entropy = config.entropy * (1 - number / self.epochs)
        label = f"epoch {number + 1} of {self.epochs} ({epoch})"
        figures = phase.run_epoch(epoch.index, self.dataset, self.augment, rng, label, progress)
        buffers.release()  # what follows comes in batches of other sizes
        if epoch.step.then is not None and epoch.index == epoch.step.epochs - 1:
            epoch.step.then()
        figures["validation_accuracy"] = self.validation_accuracy(supernet, rng)
        self.conclude(number, rng)
        weights, mask = mixing_weights(*supernet.mixing), supernet.mixing[-1]
        before, self.decided = self.decided, decided_edges(*supernet.mixing)
        for entry in sorted(self.decided - before):
            progress.note(f"{label}: {self.sentence(entry, weights[entry])}")
        if supernet is self.deciding and not phase.alpha_rests:
            self.end_early(number)
        if config.selection == "perturbation" and (self.stopped or number == self.epochs - 1):
            self.selection = perturbation_selection(
                self.deciding, self.dataset.validation, rng, self.cost
            )
        return {
            "round": epoch.round,
            "phase": epoch.step.name,
            **figures,
            "alpha": for_both_kinds(supernet.alpha.data).tolist(),
            "temperature": supernet.temperature,
            "entropy": float(edge_entropies(weights).mean()),
            "max_alpha": float(np.abs(supernet.alpha.data[... if mask is None else mask]).max()),
        }

    def conclude(self, number, rng):
        """What else a strategy does at the end of epoch `number`, its supernet having learned and been judged."""

    def rests(self, epoch):
        """Whether α rests in an Epoch: in the first of its phase, as many as the share `warmup` has whole ones."""
        share = self.config.warmup * epoch.step.epochs
        return epoch.index < int(share + 1e-9)  # 0.29 of 100 is 28.999999999999996

    def validation_accuracy(self, supernet, rng):
        """Accuracy of the supernet of the present phase on the validation images."""
        self.cost.evaluate(len(self.dataset.validation))
        return accuracy(supernet, self.dataset.validation)

    def supernets(self):
        """All supernets of the search."""
        return [part for name in self.STATE if hasattr(part := getattr(self, name), "alpha")]

    def set_temperature(self, number):
        """Give all supernets the temperature of softmax(α / T) in epoch `number`."""
        progress = number / max(self.epochs - 1, 1)
        for supernet in self.supernets():
            supernet.temperature = temperature_at(progress, self.config.temperature)

    def sentence(self, entry, weight):
        """What there is to say of a candidate (cell, edge, number) that has won its edge."""
        kind, e, m = entry
        i, j = edges(self.config.nodes)[e]
        cell = "cell" if self.config.tied_cells else f"{CELLS[kind]} cell"
        return (
            f"edge {i} → {j} of the {cell} is decided, hardly to return: "
            f"{self.config.operation_names[m]} weighs {weight:.3f}, the others learn next to nothing"
        )

    def end_early(self, number):
        """Stop the search if its normal cell skips too much."""
        most, genotype = self.config.stop_skips, self.genotype()
        if most is not None and genotype is not None and number < self.epochs - 1:
            self.stopped = too_many_skips(genotype, most)

    def genotype(self):
        """The discretised α of the deciding supernet, or what perturbation selected."""
        supernet, names = self.deciding, self.config.operation_names
        if self.selection.any():
            return mask_genotype(self.selection, names)
        return discretise(np.float64(supernet.alpha.data) / supernet.temperature, names)

    def arrays(self):
        """{name: array} of what belongs to no part; a subclass adds its own."""
        own = {}
        if self.config.selection == "perturbation":
            own["selection"] = self.selection
        if self.config.stop_skips is not None:
            own["stopped"] = np.array(self.stopped)
        return own

    def load_arrays(self, arrays):
        """Take over what `arrays` gave."""
        self.selection = arrays.get("selection", self.selection)
        self.stopped = bool(arrays.get("stopped", False))

    def state(self):
        """{name: array}: all that is needed to go on after the present epoch."""
        parts = {name: getattr(self, name).state_dict() for name in self.STATE}
        return {**self.arrays(), **join_states(**parts)}

    def load_state(self, arrays, epochs_done):
        """Take over the `state` after `epochs_done` epochs of the same search; ValueError if it is another's."""
        rest = without(arrays, self.STATE)
        require_alike(rest, self.arrays())
        self.load_arrays(rest)
        self.set_temperature(epochs_done - 1)
        step = self.schedule[epochs_done - 1].step
        self.phase = step.do(step.epochs)
        for name in self.STATE:
            getattr(self, name).load_state_dict(part_of(arrays, name))
        self.decided = decided_edges(*self.phase.supernet.mixing)
