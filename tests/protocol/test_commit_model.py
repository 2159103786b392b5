"""The commit, searched to the last history: no half key, no dead end; and variants that must fail.

The worlds are few, so nothing is sampled.
"""

import pytest
from commit_model import C, P, Search, settled

from mdiqkd_net.protocol.commit import COMMIT_MOVES, Heard, Move, Phase, Said
from mdiqkd_net.protocol.states import Role

GONE = (None, Phase.ABORTED)


def half_keys(search):
    """Worlds in which one user hands out what the other has not got and will not get."""
    return [
        world
        for world in search.worlds
        if (world.offers(C, search.offered) and world.phase(P) in GONE)
        or (world.offers(P, search.offered) and world.phase(C) in GONE)
    ]


def varied(role, **cells):
    """The tables with some cells of one role changed; None takes a cell out."""
    table = dict(COMMIT_MOVES[role])
    for name, move in cells.items():
        phase, heard = name.split("_", 1)
        key = (Phase[phase] if phase != "NONE" else None, Heard[heard])
        if move is None:
            del table[key]
        else:
            table[key] = move
    return {**COMMIT_MOVES, role: table}


@pytest.fixture(scope="module")
def search():
    return Search(faults=3)


def test_no_user_hands_out_half_a_key(search):
    assert not half_keys(search)
    for world in search.worlds:
        if world.phase(C) is Phase.CONFIRMED:
            assert world.phase(P) is Phase.COMMITTED


def test_every_history_can_come_to_an_agreed_end(search):
    assert not search.stuck(settled)


def test_every_cell_that_can_be_reached_is_on_the_table(search):
    assert not search.missing


def test_an_alarm_means_that_a_store_was_put_back_or_somebody_forges(search):
    assert not [w for w in search.worlds if w.alarmed and not w.forged and not w.restored]


def test_one_store_put_back_never_makes_half_a_key_of_an_honest_word():
    """With a store put back a block may stay in doubt for ever, behind an alarm.

    If somebody inside the encryption forges at the same time, a coordinator that was put back to
    before its decision can be made to abort what the participant hands out: that costs keys.
    """
    search = Search(faults=2, restores=1)
    assert not search.missing
    for world in half_keys(search):
        # Whoever was put back to before it knew of the block has nothing to hand out.
        assert world.restored
        assert world.forged or None in world.phases
    for world in search.stuck(settled):
        assert world.restored


def test_both_ends_are_reached(search):
    assert any(w.phases == (Phase.CONFIRMED, Phase.COMMITTED) for w in search.worlds)
    assert any(w.phases == (Phase.ABORTED, Phase.ABORTED) for w in search.worlds)
    assert len(search.worlds) > 1000


def test_handing_out_after_the_others_tag_alone_splits_the_decision():
    """What several systems do: keep the key once the peer's tag has been verified."""
    early = {Role.COORDINATOR: Phase.COMMITTED, Role.PARTICIPANT: Phase.PREPARED}
    assert half_keys(Search(faults=1, offered=early))


@pytest.mark.parametrize(
    ("role", "cells"),
    [
        # A coordinator that takes back what it has decided.
        (Role.COORDINATOR, {"COMMITTED_UNKNOWN": Move(Phase.ABORTED, Said.NOTHING)}),
        # A participant that ends alone what it has voted for.
        (Role.PARTICIPANT, {"PREPARED_UNKNOWN": Move(Phase.ABORTED, Said.NOTHING)}),
        # One that drops a key because the coordinator asks again.
        (Role.PARTICIPANT, {"COMMITTED_LISTED": Move(Phase.ABORTED, Said.NOTHING)}),
        # A coordinator that hands out before the participant has committed.
        (Role.COORDINATOR, {"PREPARED_VOTE": Move(Phase.CONFIRMED, Said.COMMIT)}),
    ],
    ids=["takes back", "ends alone", "drops", "hands out early"],
)
def test_a_bad_table_is_found(role, cells):
    search = Search(faults=3, moves=varied(role, **cells))
    confirmed_alone = [
        w
        for w in search.worlds
        if w.phase(C) is Phase.CONFIRMED and w.phase(P) is not Phase.COMMITTED
    ]
    assert half_keys(search) or confirmed_alone or search.stuck(settled)


@pytest.mark.parametrize(
    "options",
    [
        {"lists": False},
        {"moves": varied(Role.PARTICIPANT, PREPARED_LISTED=Move(Phase.PREPARED, Said.NOTHING))},
        {"moves": varied(Role.PARTICIPANT, COMMITTED_LISTED=Move(Phase.COMMITTED, Said.NOTHING))},
        {"moves": varied(Role.PARTICIPANT, NONE_LISTED=Move(None, Said.NOTHING))},
        {"moves": varied(Role.COORDINATOR, ABORTED_LISTED=Move(Phase.ABORTED, Said.NOTHING))},
    ],
    ids=["nobody lists", "no vote", "no committed", "no unknown", "no abort"],
)
def test_who_does_not_answer_gets_stuck(options):
    assert Search(faults=2, **options).stuck(settled)


def test_a_cell_that_is_missing_is_found():
    search = Search(faults=1, moves=varied(Role.PARTICIPANT, COMMITTED_COMMIT=None))
    assert (P, Phase.COMMITTED, Heard.COMMIT) in search.missing
