import random
from collections import Counter

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg, Krum, strategy_utils

from covey.federation.client_sampling import Sampler
from covey.federation.flower_internals import become_server, replace_sample_nodes
from covey.federation.grids import InlineGrid
from covey.federation.ledger import Ledger
from covey.federation.rounds_section import SamplingSection
from covey.platform.errors import UserError

NODES = list(range(2, 12))


def sampler(policy=None, samples=None, ledger=None, seed=1, **section):
    section = SamplingSection(policy=policy, **section) if policy else None
    return Sampler(section, seed, ledger or Ledger(), samples)


def cohorts(sampler, size, rounds, nodes=NODES, **begin):
    found = []
    for number in range(1, rounds + 1):
        sampler.begin("train", number, 0, set())
        found.append(sampler.choose(nodes, size, NODES))
    return found


def test_without_a_policy_it_draws_as_flower_does():
    random.seed(4)
    expected = [random.sample(NODES, 3) for _ in range(2)]
    random.seed(4)
    assert cohorts(sampler(), 3, 2) == expected


@pytest.mark.parametrize("policy", ["uniform", "weighted", "available"])
def test_a_policy_draws_from_seed_and_round_and_leaves_the_generators_alone(policy):
    before = random.getstate(), np.random.get_state()[1].tolist()
    first = cohorts(sampler(policy, probability=0.8 if policy == "available" else None), 3, 6)
    again = sampler(policy, probability=0.8 if policy == "available" else None)
    again.begin("train", 6, 0, set())
    assert again.choose(NODES, 3, NODES) == first[5]  # nothing of earlier rounds is needed
    assert len({tuple(cohort) for cohort in first}) > 3
    assert all(len(set(cohort)) == 3 for cohort in first)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_uniform_is_uniform():
    counts = Counter(node for cohort in cohorts(sampler("uniform"), 3, 500) for node in cohort)
    assert [counts[node] / 150 for node in NODES] == pytest.approx([1] * 10, abs=0.25)


def test_round_robin_takes_all_in_turn_and_goes_on_from_its_position():
    one = sampler("round-robin")
    assert cohorts(one, 4, 3) == [[2, 3, 4, 5], [6, 7, 8, 9], [10, 11, 2, 3]]
    resumed = sampler("round-robin")
    resumed.position = one.position
    assert cohorts(resumed, 2, 1) == [[4, 5]]
    assert cohorts(resumed, 2, 1, nodes=[3, 7, 11]) == [[7, 11]]  # the others are busy


def test_weighted_draws_by_samples_and_never_who_has_none():
    samples = [0, 1, 1, 1, 1, 1, 1, 1, 1, 8]
    counts = Counter(cohort[0] for cohort in cohorts(sampler("weighted", samples), 1, 800))
    assert counts[2] == 0
    assert counts[11] == pytest.approx(400, rel=0.15)
    with pytest.raises(UserError, match=r"10 clients are to be drawn .* only 9 have any"):
        cohorts(sampler("weighted", samples), 10, 1)


def test_weighted_goes_by_what_clients_have_told_where_the_server_does_not_know():
    ledger = Ledger()
    ledger.of(2).samples, ledger.of(3).samples = 60, 20  # the others count as 40
    counts = Counter(cohort[0] for cohort in cohorts(sampler("weighted", None, ledger), 1, 1000))
    assert counts[2] == pytest.approx(150, rel=0.25)
    assert counts[3] == pytest.approx(50, rel=0.4)
    assert counts[4] == pytest.approx(100, rel=0.25)


def test_available_takes_fewer_when_fewer_are_there():
    found = cohorts(sampler("available", probability=0.3), 10, 300)
    assert np.mean([len(cohort) for cohort in found]) == pytest.approx(3, abs=0.2)
    assert min(map(len, found)) < 3 < max(map(len, found))
    assert all(len(cohort) <= 2 for cohort in cohorts(sampler("available", probability=0.3), 2, 50))


def test_who_is_there_does_not_depend_on_who_is_busy():
    one = sampler("available", probability=0.5)
    there = set(cohorts(one, 10, 1)[0])
    assert set(cohorts(one, 10, 1, nodes=NODES[:5])[0]) == there & set(NODES[:5])


@pytest.mark.parametrize("policy", [None, "uniform", "weighted", "round-robin"])
def test_a_second_attempt_asks_others_first(policy):
    one = sampler(policy)
    one.begin("train", 1, 0, set())
    first = one.choose(NODES, 6, NODES)
    one.begin("train", 1, 1, set(first))
    second = one.choose(NODES, 6, NODES)
    assert set(second) >= set(NODES) - set(first)
    assert len(set(second)) == 6


def test_several_draws_of_a_round_differ():
    one = sampler("uniform")
    one.begin("train", 1, 0, set())
    assert len({tuple(one.choose(NODES, 3, NODES)) for _ in range(5)}) > 1


def test_evaluation_is_uniform_among_all_and_moves_no_turn():
    one = sampler("round-robin")
    one.begin("evaluate", 1, 0, set())
    assert len(set(one.choose(NODES, 4, NODES))) == 4
    assert one.position == 0


def test_flowers_strategies_ask_it_and_it_refuses_to_wait_for_ever():
    become_server()
    one = sampler("round-robin")
    grid = InlineGrid(ClientApp(), num_clients=10)
    undo = replace_sample_nodes(one.sample_nodes)
    try:
        for strategy in (FedAvg(min_train_nodes=3, fraction_train=0.3), Krum(fraction_train=0.3)):
            messages = list(strategy.configure_train(1, *_nothing(), grid))
            assert len(messages) == 3
        assert one.position == 6
        with pytest.raises(UserError, match="waits for 11 clients, but there are 10"):
            FedAvg(min_available_nodes=11).configure_train(1, *_nothing(), grid)
    finally:
        undo()
    assert strategy_utils.sample_nodes.__module__.startswith("flwr")


def _nothing():
    return ArrayRecord(), ConfigRecord()
