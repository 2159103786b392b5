"""The hand-out of keys, searched to the last history; and variants that must fail.

The worlds are few, so nothing is sampled.
"""

import pytest
from handout_model import Search, burned, delivered_twice, missing_there, quiet, settled

from mdiqkd_net.protocol.handout import (
    HOLDER_MOVES,
    OWNER_MOVES,
    HandoutMove,
    HandoutSays,
    Holder,
    HolderHears,
    Owner,
    OwnerHears,
)

SAYS = HandoutSays


def owners(phase, heard, move):
    """The owner's table with one cell changed."""
    return {**OWNER_MOVES, (Owner[phase], OwnerHears[heard]): move}


def holders(phase, heard, move):
    """The holder's table with one cell changed."""
    return {**HOLDER_MOVES, (phase, HolderHears[heard]): move}


def wrong(search):
    """Why a search that knows of no restored store is not what we want; empty if it is."""
    found = {
        "delivered twice": any(map(delivered_twice, search.worlds)),
        "missing there": any(map(missing_there, search.worlds)),
        "stuck": bool(search.stuck(settled)),
        "false alarm": any(world.alarmed for world in search.worlds),
        "burned for nothing": any(burned(w) and not w.broken for w in search.worlds),
        "no cell": bool(search.missing),
    }
    return {why for why, so in found.items() if so}


@pytest.fixture(scope="module")
def one_key():
    return Search(faults=3)


@pytest.fixture(scope="module")
def two_keys():
    return Search(faults=2, n_keys=2)


@pytest.fixture(scope="module")
def put_back():
    return Search(faults=3, restores=1)


@pytest.fixture(scope="module")
def two_put_back():
    return Search(faults=2, n_keys=2, restores=1, n_requests=1)


def test_every_history_of_one_key_is_right(one_key):
    assert wrong(one_key) == set()


def test_every_history_of_two_keys_is_right(two_keys):
    assert wrong(two_keys) == set()


def test_every_end_is_reached(two_keys):
    ends = {
        keys
        for world in two_keys.worlds
        if settled(world)
        for keys in zip(*world.keys, strict=True)
    }
    states = {(at_a[0], at_b[0]) for at_a, at_b in ends}
    assert states == {
        ("free", "free"),
        ("delivered", "delivered"),
        ("delivered", Holder.ASSIGNED),
        (Owner.ASSIGNED, "delivered"),
        (Owner.ASSIGNED, Holder.ASSIGNED),
        ("gone", "gone"),
        ("gone", "delivered"),
    }


@pytest.mark.parametrize("which", ["put_back", "two_put_back"])
def test_one_store_put_back_never_delivers_a_key_under_two_requests(which, request):
    """It may cost keys: what the older copy does not know of is refused, or stays unused."""
    search = request.getfixturevalue(which)
    assert not search.missing
    assert not search.stuck(quiet)
    for world in search.worlds:
        assert not delivered_twice(world)
        if missing_there(world) or world.alarmed:
            assert world.restored
    assert all(world.restored for world in search.stuck(settled))


def test_no_cell_of_the_tables_is_idle(one_key, two_keys, put_back, two_put_back):
    used = one_key.used | two_keys.used | put_back.used | two_put_back.used
    assert used == OWNER_MOVES.keys() | HOLDER_MOVES.keys()


def test_delivering_before_the_peer_has_recorded_it_is_found():
    early = {"deliverable": (Owner.RESERVED, Owner.ASSIGNED)}
    assert "no cell" in wrong(Search(faults=1, **early))
    assert "delivered twice" in wrong(Search(faults=1, restores=1, **early))


def test_ownership_alone_is_enough_until_a_store_is_put_back():
    """What a user may do whose node does not run: deliver its own keys without a word."""
    assert wrong(Search(faults=3, alone=True)) == set()
    assert wrong(Search(faults=2, n_keys=2, alone=True)) == set()
    assert "delivered twice" in wrong(Search(faults=2, restores=1, alone=True))


def test_two_owners_of_a_key_are_found():
    """Both reserve it at once, each refuses the other, and nobody has it."""
    found = wrong(Search(faults=0, both_own=True))
    assert {"false alarm", "burned for nothing"} <= found


def test_burning_in_memory_alone_is_found():
    assert "missing there" in wrong(Search(faults=2, burns_durably=False))


@pytest.mark.parametrize(
    "tables",
    [
        {"holders": holders(None, "MISFIT", HandoutMove(Holder.ASSIGNED, SAYS.ASSIGNED))},
        {"owners": owners("ASSIGNED", "STARTED", HandoutMove(Owner.ASSIGNED, SAYS.NOTHING))},
        {"owners": owners("RESERVED", "REFUSED", HandoutMove(Owner.ASSIGNED, SAYS.NOTHING))},
    ],
    ids=["holder takes any key", "agreement outlives the process", "refusal ignored"],
)
def test_a_table_that_an_older_store_breaks_is_found(tables):
    assert "delivered twice" in wrong(Search(faults=2, restores=1, **tables))


@pytest.mark.parametrize(
    "tables",
    [
        {"owners": owners("RESERVED", "UNWANTED", HandoutMove(Owner.BURNED, SAYS.BURN))},
        {"owners": owners("RESERVED", "STARTED", HandoutMove(Owner.BURNED, SAYS.NOTHING))},
        {"owners": owners("RESERVED", "LINKED", HandoutMove(Owner.RESERVED, SAYS.NOTHING))},
        {"owners": owners("BURNING", "LINKED", HandoutMove(Owner.BURNING, SAYS.NOTHING))},
        {"holders": holders(Holder.ASSIGNED, "ASSIGN", HandoutMove(Holder.ASSIGNED, SAYS.NOTHING))},
        {"holders": holders(None, "BURN", HandoutMove(None, SAYS.NOTHING))},
    ],
    ids=[
        "forgets before it is confirmed",
        "forgets at the start",
        "does not ask again",
        "does not burn again",
        "does not agree again",
        "does not confirm again",
    ],
)
def test_a_table_that_leaves_a_key_behind_is_found(tables):
    assert "stuck" in wrong(Search(faults=2, **tables))


def test_a_cell_that_is_missing_is_found():
    owners = {cell: move for cell, move in OWNER_MOVES.items() if cell[0] is not Owner.BURNING}
    search = Search(faults=1, owners=owners)
    assert (Owner.BURNING, OwnerHears.BURNED) in search.missing
