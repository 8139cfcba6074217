"""Regularised evolution (Real et al., Regularized Evolution for Image Classifiers, AAAI 2019)."""

from bnas.errors import InputError, argument
from bnas.search.individuals import IndividualsSearch
from bnas.space.baselines import random_genotype


class EvolutionSearch(IndividualsSearch):
    """The oldest individual dies, not the worst; the best of a few drawn from the living has a mutated offspring.

    The first config.population individuals are drawn uniformly. Those of a tournament are distinct, where the
    paper draws with replacement. Raises InputError where the tournament is larger than the population, or the
    population takes up all individuals.
    """

    def __init__(self, config, dataset):
        if config.tournament > config.population:
            raise InputError(
                argument("tournament"),
                f" draws {config.tournament} of a population of {config.population}; give a smaller one, "
                "or a larger ",
                argument("population"),
            )
        if config.population >= config.individuals:
            raise InputError(
                argument("individuals"),
                f" are {config.individuals}, which a population of {config.population} takes up, so that none is "
                "evolved; give more, or a smaller ",
                argument("population"),
            )
        super().__init__(config, dataset)

    def propose(self, number, rng):
        """A random genotype at first, then the mutated one of the winner of a tournament."""
        config = self.config
        if number < config.population:
            return random_genotype(config.nodes, rng, config.operation_names, config.tied_cells)
        drawn = rng.choice(config.population, config.tournament, replace=False)
        living = number - config.population + drawn  # the youngest
        winner = max(living.tolist(), key=lambda k: self.accuracies[k])
        return mutate(self.individual(winner), rng, config.operation_names, config.tied_cells)


def mutate(genotype, rng, operations, tied=False):
    """`genotype` with one operation or one predecessor changed, of either cell, drawn evenly.

    Which of the two is as likely as the other, where both are possible: node 2 has no other predecessors, and a
    space of one operation no other operation. A genotype that cannot change at all stays. tied: the normal cell
    changes, and the reduction cell is what it has become.
    """
    cells = {"normal": list(genotype.normal), "reduce": list(genotype.reduce)}
    name = "normal" if tied else ("normal", "reduce")[rng.integers(2)]
    pairs = cells[name]
    operations = [operation for operation in operations if operation != "none"]
    kinds = ["operation"] * (len(operations) > 1) + ["predecessor"] * (len(pairs) > 2)
    if not kinds:
        return genotype
    if kinds[rng.integers(len(kinds))] == "operation":
        k = int(rng.integers(len(pairs)))
        others = [operation for operation in operations if operation != pairs[k][0]]
        pairs[k] = others[rng.integers(len(others))], pairs[k][1]
    else:
        k = int(rng.integers(2, len(pairs)))  # not those of node 2
        taken = {pairs[k][1], pairs[k ^ 1][1]}
        others = [i for i in range(k // 2 + 2) if i not in taken]
        pairs[k] = pairs[k][0], others[rng.integers(len(others))]
        first = k - k % 2
        pairs[first : first + 2] = sorted(pairs[first : first + 2], key=lambda pair: pair[1])
    changed = genotype._replace(**{name: tuple(pairs)})
    return changed._replace(reduce=changed.normal) if tied else changed
