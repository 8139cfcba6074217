"""Strategies simulated on a table, and what a table's statistics tell."""

from itertools import combinations, permutations

import numpy as np
import pytest
from helpers.tables import write_table
from hypothesis import given, settings
from hypothesis import strategies as st

from bnas.errors import InputError
from bnas.tabular import OPERATIONS, Table, landscape, load, ndcg, rank_correlation
from bnas.tabular.statistics import (
    distinguishable,
    explained,
    seed_correlation,
    variance_components,
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A synthetic table of the whole space."""
    folder = tmp_path_factory.mktemp("table")
    write_table(folder)
    return load(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A synthetic table over three operations: 207 architectures."""
    folder = tmp_path_factory.mktemp("small")
    write_table(folder, OPERATIONS[1:])
    return load(folder)


STRATEGIES = "random", "evolution", "local"


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(STRATEGIES), st.floats(5, 500), st.integers(0, 2**32), st.booleans())
def test_a_simulation_spends_what_its_trainings_took_and_never_more(
    table, strategy, budget, seed, real
):
    precision = "real" if real else "binary"
    found = table.simulate(strategy, budget, "digits", seed, precision)
    costs = [
        table.query(i, "digits", epoch, s, precision).seconds
        for i, epoch, s in zip(found.trained, found.epochs, found.seeds)
    ]
    np.testing.assert_allclose(found.seconds, np.cumsum(costs), rtol=1e-6)
    assert found.seconds[-1] <= budget == found.budget_seconds and found.exhausted
    assert found.seconds[-1] + 5 > budget  # no training takes longer than 5 seconds


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(STRATEGIES), st.floats(5, 200), st.integers(0, 2**32))
def test_the_incumbent_is_the_best_by_validation_so_far(table, strategy, budget, seed):
    found = table.simulate(strategy, budget, "fashion", seed)
    best = max(table.query(i, "fashion").test_accuracy for i in range(len(table)))
    for k in range(len(found)):
        entry = table.query(found.trained[k], "fashion", seed=found.seeds[k])
        assert found.validation[k] == entry.validation_accuracy
        first = np.argmax(found.validation[: k + 1])
        assert found.incumbents[k] == found.trained[first]
        assert found.incumbent_validation[k] == found.validation[first]
        true = table.query(found.incumbents[k], "fashion").test_accuracy
        assert found.incumbent_test[k] == pytest.approx(true)
        assert found.regret[k] == pytest.approx(best - true, abs=1e-12) and found.regret[k] >= 0


@pytest.mark.parametrize("strategy", ["random", "local"])
def test_with_enough_to_spend_a_search_trains_everything_once_and_finds_the_best(small, strategy):
    found = small.simulate(strategy, np.inf, "digits", 3)
    assert sorted(found.trained) == list(range(len(small))) and not found.exhausted
    accuracies = [
        small.query(i, "digits", seed=s).validation_accuracy
        for i, s in zip(found.trained, found.seeds)
    ]
    assert found.incumbent_validation[-1] == max(accuracies)
    assert set(found.seeds) == {0, 1, 2}


def test_local_search_goes_to_the_best_neighbour_until_none_is_better(small):
    found = small.simulate("local", np.inf, "digits", 0)
    place = {number: k for k, number in enumerate(found.trained)}
    value = dict(zip(found.trained, found.validation))
    here = found.trained[0]
    known = {here}
    while True:
        around = small.neighbour_numbers(here)
        known |= set(around)
        # What is trained up to now are the places visited and their neighbours, and nothing else.
        assert set(found.trained[: len(known)]) == known
        best = max(around, key=lambda i: (value[i], -place[i]))
        if value[best] <= value[here]:
            break
        if sum(value[i] == value[best] for i in around) > 1:
            pytest.fail("choose a seed without equal neighbours")
        here = best
    assert found.trained[len(known)] not in known


def test_evolution_has_offspring_next_to_its_members(table):
    found = table.simulate("evolution", 2000, "digits", 0, population=10, sample=3)
    assert len(found) > 300
    for k in range(10, len(found)):
        members = found.trained[k - 10 : k]
        assert any(found.trained[k] in table.neighbour_numbers(i) for i in members)
    parents = [
        set(found.trained[k - 10 : k]) & set(table.neighbour_numbers(found.trained[k]))
        for k in range(10, len(found))
    ]
    assert any(len(possible) == 1 for possible in parents)


def test_evolution_chooses_the_best_of_its_sample(table):
    found = table.simulate("evolution", 500, "digits", 0, population=5, sample=5)
    for k in range(5, len(found)):
        members, values = found.trained[k - 5 : k], found.validation[k - 5 : k]
        best = members[values == values.max()]
        assert any(found.trained[k] in table.neighbour_numbers(i) for i in best)


def test_a_search_is_better_than_the_average_architecture(table):
    mean = np.mean([table.query(i, "digits").test_accuracy for i in range(len(table))])
    best = table.query(table.best("digits"), "digits").test_accuracy
    for strategy in STRATEGIES:
        regrets = [table.simulate(strategy, 300, "digits", s).regret[-1] for s in range(10)]
        assert np.mean(regrets) < 0.25 * (best - mean)


def test_the_same_seed_gives_the_same_search(table):
    for strategy in STRATEGIES:
        one, two, other = (table.simulate(strategy, 200, "digits", seed) for seed in (1, 1, 2))
        assert np.array_equal(one.trained, two.trained) and np.array_equal(one.seeds, two.seeds)
        assert not np.array_equal(one.trained, other.trained)
    rng = np.random.default_rng(1)
    assert np.array_equal(table.simulate("local", 200, seed=rng).trained, one.trained)


def test_test_accuracies_change_no_choice(table):
    arrays = {name: array.copy() for name, array in table.datasets["digits"].items()}
    arrays["binary_test"] = arrays["binary_test"][::-1].copy()
    turned = Table(table.genotypes, table.operations, {"digits": arrays}, {})
    for strategy in STRATEGIES:
        one, two = (t.simulate(strategy, 200, "digits", 5) for t in (table, turned))
        assert np.array_equal(one.trained, two.trained)
        assert np.array_equal(one.incumbents, two.incumbents)
        assert not np.array_equal(one.regret, two.regret)


def test_a_training_that_goes_on_costs_the_new_epochs_and_one_that_is_over_begins_anew(table):
    def strategy(simulation):
        for epoch in (1, 3, None, 2, 2):
            accuracy = simulation.train(table.arch(9), epoch)
            seen.append((simulation.spent, accuracy))

    seen = []
    found = table.simulate(strategy, np.inf, "digits", 0)
    assert list(found.epochs) == [1, 3, 4, 2, 2] and list(found.trained) == [9] * 5
    assert found.seeds[0] == found.seeds[1] == found.seeds[2]
    whole = [table.query(9, "digits", seed=s).seconds for s in found.seeds]
    spent = np.cumsum([whole[0] / 4, whole[0] / 2, whole[0] / 4, whole[3] / 2, whole[4] / 2])
    np.testing.assert_allclose(found.seconds, spent, rtol=1e-6)
    assert seen == list(zip(found.seconds, found.validation))
    for accuracy, epoch, seed in zip(found.validation, found.epochs, found.seeds):
        assert accuracy == table.query(9, "digits", int(epoch), int(seed)).validation_accuracy


def halving(simulation, count=64):
    """Successive halving, as docs/table.md shows it."""
    kept = list(simulation.rng.choice(len(simulation.table), count, replace=False))
    for epoch in (1, 2, simulation.epochs):
        values = [simulation.train(number, epoch) for number in kept]
        kept = [kept[k] for k in np.argsort(values)[::-1][: len(kept) // 4]]


def test_a_strategy_of_ones_own_may_stop_trainings_early(table):
    found = table.simulate(halving, np.inf, "digits", 0)
    assert [int((found.epochs == e).sum()) for e in (1, 2, 3, 4)] == [64, 16, 0, 4]
    assert not found.exhausted
    whole = sum(table.query(i, "digits").seconds for i in found.trained[:64])
    assert found.seconds[-1] < 0.5 * whole
    assert len(table.simulate(halving, np.inf, "digits", 0, count=16)) == 16 + 4 + 1


def test_the_regret_at_a_time_is_that_of_the_last_training_that_had_ended(table):
    found = table.simulate("random", 50, "digits", 0)
    between = (found.seconds[1:] + found.seconds[:-1]) / 2
    np.testing.assert_array_equal(found.regret_at(between), found.regret[:-1])
    np.testing.assert_array_equal(found.regret_at(found.seconds), found.regret)
    assert np.isnan(found.regret_at(0.0)) and found.regret_at(1e9) == found.regret[-1]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("darts", 10), "no strategy 'darts'; expected random, evolution, local, or a function"),
        (("random", 0), "budget_seconds is 0, expected more than 0"),
        (("random", float("nan")), "expected more than 0"),
        (("random", 0.5), "trained nothing: a whole training takes 1"),
        ((lambda simulation: None, 9), "trained nothing"),
        (("random", 10, "mnist"), "no data set 'mnist'"),
    ],
)
def test_a_search_that_cannot_be_is_an_error(table, arguments, said):
    with pytest.raises(InputError, match=said):
        table.simulate(*arguments)


def test_a_sample_is_no_larger_than_the_population(table):
    with pytest.raises(InputError, match="sample is 6, expected 1 to the population, 5"):
        table.simulate("evolution", 99, "digits", population=5, sample=6)


def test_variance_is_told_apart_without_bias():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        means = rng.normal(0.5, 0.03, (40, 1))
        found.append(variance_components(means + rng.normal(0, 0.06, (40, 3))))
    between, within = np.mean(found, axis=0)
    assert between == pytest.approx(
        0.03**2, rel=0.15
    )  # the variance of the means is 2.3 times that
    assert within == pytest.approx(0.06**2, rel=0.03)


def test_shares_of_variance_and_the_floor_follow_from_the_components():
    found = variance_components([[0.0, 0.2], [1.0, 1.2], [2.0, 2.2]])
    assert found.within == pytest.approx(0.02) and found.between == pytest.approx(1 - 0.01)
    assert found.share == pytest.approx(0.99 / 1.01)
    assert found.share_of_mean(2) == pytest.approx(0.99)
    assert distinguishable(0.02, 2) == pytest.approx(1.96 * 0.02**0.5)


def test_noise_alone_has_hardly_any_variance_between():
    noise = np.random.default_rng(0).normal(0, 1, (2000, 3))
    assert variance_components(noise).share < 0.05


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_kendall_counts_pairs(values):
    x, y = np.array(values).T
    pairs = [
        (np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in combinations(range(len(x)), 2)
    ]
    untied = [sum(pair[k] != 0 for pair in pairs) for k in (0, 1)]
    tau = rank_correlation(x, y)
    if 0 in untied:
        assert np.isnan(tau)
    else:
        assert tau == pytest.approx(sum(a * b for a, b in pairs) / np.sqrt(np.prod(untied)))


def test_the_correlation_of_seeds_is_the_mean_over_their_pairs():
    accuracies = np.random.default_rng(0).normal(size=(30, 3))
    for method in ("spearman", "kendall"):
        pairs = [rank_correlation(*accuracies[:, p].T, method) for p in ([0, 1], [0, 2], [1, 2])]
        assert seed_correlation(accuracies, method) == pytest.approx(np.mean(pairs))


def plain_ndcg(scores, accuracies, k):
    """The definition, in loops, for scores that differ."""
    lowest, highest = np.quantile(accuracies, 0.2), max(accuracies)

    def dcg(order):
        total = 0
        for r, i in enumerate(order[:k], start=1):
            relevance = 20 * min(max((accuracies[i] - lowest) / (highest - lowest), 0), 1)
            total += (2**relevance - 1) / np.log2(r + 1)
        return total

    def order(values):
        return sorted(range(len(values)), key=lambda i: -values[i])

    return dcg(order(scores)) / dcg(order(accuracies))


@pytest.mark.parametrize("k", [None, 1, 3, 50])
def test_ndcg_is_as_defined(k):
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, accuracies = rng.normal(size=(2, 15))
        assert ndcg(scores, accuracies, k) == pytest.approx(plain_ndcg(scores, accuracies, k))
        assert ndcg(accuracies, accuracies, k) == pytest.approx(1)


def test_ndcg_of_equal_scores_is_the_mean_over_their_orders():
    accuracies = [0.9, 0.8, 0.7, 0.6, 0.95]
    orders = [plain_ndcg([9, *order, 0], accuracies, 3) for order in permutations((1, 2, 3))]
    assert ndcg([9, 2, 2, 2, 0], accuracies, 3) == pytest.approx(np.mean(orders))
    assert np.isnan(ndcg([1, 2], [0.5, 0.5]))


def test_what_explains_is_told_from_what_does_not():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 4, 4000)
    values = groups + rng.normal(0, np.sqrt(1.25), 4000)  # as much variance within as between
    assert explained(values, groups) == pytest.approx(0.5, abs=0.04)
    assert explained(groups, groups) == 1
    many = rng.integers(0, 1000, 4000)
    assert explained(rng.normal(size=4000), many) < 0.03  # uncorrected it would be 0.25
    assert explained(values, np.stack([groups, groups], axis=1)) == explained(values, groups)
    assert np.isnan(explained([1, 1], [0, 0])) and np.isnan(explained([1, 2], [0, 1]))


@pytest.mark.parametrize(
    "measure, arguments",
    [
        (variance_components, ([[1.0], [2.0]],)),
        (variance_components, ([1.0, 2.0],)),
        (rank_correlation, ([1, 2], [1, 2, 3])),
        (rank_correlation, ([1, 2], [1, 2], "pearson")),
        (ndcg, ([1, 2], [1, 2, 3])),
        (ndcg, ([], [])),
    ],
)
def test_lists_that_do_not_fit_are_refused(measure, arguments):
    with pytest.raises(ValueError, match="expected"):
        measure(*arguments)


def test_a_landscape_tells_what_its_parts_do(table):
    found, accuracies = landscape(table, "digits"), table.accuracies("digits", "test")
    means, real = accuracies.mean(axis=1), table.accuracies("digits", "test", "real")[:, 0]
    assert (found.lowest, found.highest) == (means.min(), means.max()) and found.seeds == 3
    assert found.components == variance_components(accuracies)
    assert found.noise == found.components.within**0.5 < 0.03  # that is how the table was made
    assert found.distinguishable == distinguishable(found.components.within, 3)
    assert found.near_best == sum(means > means.max() - found.distinguishable)
    chosen = [table.best("digits", "validation", seed=seed) for seed in range(3)]
    regrets = [means.max() - table.query(one, "digits").test_accuracy for one in chosen]
    assert found.exhaustive_regret == pytest.approx(np.mean(regrets))
    assert found.twin_kendall == rank_correlation(real, means)
    assert found.twin_ndcg == ndcg(real, means)
    assert found.explained["max_pool_3x3"] == explained(means, table.counts("max_pool_3x3"))
    assert list(found.explained) == ["convolutions", *OPERATIONS, "operations"]


def test_a_landscape_of_one_seed_claims_nothing_of_noise(table):
    arrays = {
        name: array[:, :1] if name.startswith("binary") and array.ndim > 1 else array
        for name, array in table.datasets["digits"].items()
    }
    found = landscape(Table(table.genotypes, table.operations, {"digits": arrays}, {}), "digits")
    assert found.seeds == found.near_best == 1
    assert np.isnan([found.noise, found.distinguishable, found.spearman, found.kendall]).all()
