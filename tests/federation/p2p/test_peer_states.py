from itertools import pairwise

from covey.federation.p2p.peer_states import MAX_GAP, Neighbour, State


def test_a_neighbour_that_stays_away_is_asked_with_growing_gaps():
    neighbour, asked = Neighbour(), []
    assert neighbour.takes_part(0)
    assert neighbour.failed(0)
    for round in range(1, 60):
        assert not neighbour.takes_part(round)
        if neighbour.is_due(round):
            asked.append(round)
            neighbour.unanswered(round)
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert asked[0] == 1
    assert gaps[:3] == [2, 4, 8]
    assert max(gaps) == MAX_GAP


def test_a_vector_from_it_brings_it_back_at_once():
    neighbour = Neighbour()
    neighbour.failed(3)
    assert neighbour.sent(5)
    assert not neighbour.takes_part(4)  # it has begun without it
    assert neighbour.takes_part(5)
    assert not neighbour.sent(9)
    assert neighbour.takes_part(5)
    neighbour.failed(5)
    assert neighbour.is_due(6)  # the gaps begin anew


def test_one_that_answers_but_sends_nothing_is_asked_ever_more_rarely():
    neighbour, rounds = Neighbour(), []
    for round in range(40):
        if neighbour.takes_part(round):
            neighbour.failed(round)
            rounds.append(round)
        elif neighbour.is_due(round):
            neighbour.greeted(round + 1, round + 1, restarted=False)
    assert rounds == [0, 2, 5, 10, 19, 28, 37]


def test_both_sides_begin_with_the_round_that_neither_has_begun():
    neighbour = Neighbour()
    neighbour.failed(3)
    assert neighbour.greeted(theirs=8, ours=5, restarted=False)
    assert not neighbour.takes_part(7)
    assert neighbour.takes_part(8)
    assert not neighbour.greeted(theirs=9, ours=6, restarted=False)  # it says that it begins later
    assert not neighbour.takes_part(8)
    assert neighbour.takes_part(9)
    assert neighbour.greeted(theirs=3, ours=20, restarted=True)
    assert not neighbour.takes_part(19)
    assert neighbour.takes_part(20)


def test_one_that_says_hello_for_the_first_time_takes_part_from_the_beginning():
    """Its neighbour may have begun round 0, and waits for it there."""
    neighbour = Neighbour()
    assert not neighbour.greeted(theirs=0, ours=1, restarted=False)
    assert neighbour.takes_part(0)


def test_one_that_has_left_is_not_asked_until_it_says_hello():
    neighbour = Neighbour()
    neighbour.left()
    neighbour.failed(3)
    assert neighbour.state is State.LEFT
    assert not any(neighbour.is_due(round) or neighbour.takes_part(round) for round in range(50))
    assert neighbour.greeted(0, 50, restarted=True)
    assert neighbour.takes_part(50)


def test_one_that_starts_anew_within_a_round_is_not_down_for_it():
    neighbour = Neighbour()
    neighbour.greeted(2, 6, restarted=True)
    assert not neighbour.failed(5)
    assert neighbour.takes_part(6)


def test_a_question_that_comes_to_nothing_does_not_undo_a_hello():
    neighbour = Neighbour()
    neighbour.failed(3)
    neighbour.greeted(5, 5, restarted=True)
    neighbour.unanswered(4)
    assert neighbour.takes_part(5)
