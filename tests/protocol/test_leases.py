"""No pad is used twice, whatever happens to one file at a time; and less would not do."""

import random

import pytest
from lease_histories import ModelEnds, ReuseError, run_history

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol import leases
from mdiqkd_net.protocol.leases import (
    IN_USE,
    MAX_GRANTS,
    PERIOD_S,
    WINDOW,
    GrantLimit,
    check_lease,
    next_lease,
)


def histories(n_histories, seed, **variant):
    """How many random histories use a pad twice, and how many tags there were in all."""
    rng = random.Random(seed)
    n_bad = n_tags = 0
    for _ in range(n_histories):
        try:
            n_tags += run_history(ModelEnds(400, **variant), rng, 40)
        except ReuseError:
            n_bad += 1
    return n_bad, n_tags


def test_twenty_thousand_histories_use_no_pad_twice():
    n_bad, n_tags = histories(20_000, seed=1)
    assert n_bad == 0
    assert n_tags > 200_000


def test_the_same_histories_find_what_comparing_high_water_marks_misses():
    n_bad, _ = histories(2_000, seed=1, compare=True)
    assert n_bad > 200


def states_until_reuse(monkeypatch, *, compare, n_pads=4, both=False):
    """Search every history of small ends; returns the states, or None if a pad came twice.

    A state is all that the ends keep, the pads used so far, and which side was set back since the
    last lease. With `both`, that last rule is not kept.
    """
    monkeypatch.setattr(leases, "WINDOW", 2)
    ends = ModelEnds(n_pads, compare=compare)
    names = ("high_water", "granted", "accepted", "lease_end", "saved")

    def pack(used, set_back, answer):
        saved = tuple(sorted(ends.saved.items()))
        return (*(getattr(ends, name) for name in names[:-1]), saved, used, set_back, answer)

    def unpack(state):
        for name, value in zip(names[:-1], state, strict=False):
            setattr(ends, name, value)
        ends.saved = dict(state[4])
        return state[5:]

    start = pack(frozenset(), None, None)
    seen, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for event in ("ask", "accept", "tag", "tag arrives", "save", "restart", "restore"):
            for side in ("sender", "receiver"):
                used, set_back, answer = unpack(state)
                if event == "ask":
                    answer = ends.grant()
                elif event == "accept" and answer is not None:
                    try:
                        ends.accept(*answer)
                        set_back = None
                    except RemoteProtocolError:
                        continue
                elif event in ("tag", "tag arrives") and ends.lease_left():
                    index = ends.take()
                    if index in used:
                        return None
                    used |= {index}
                    if event == "tag arrives":
                        ends.deliver(index)
                elif event == "save":
                    ends.save(side)
                elif event == "restart":
                    ends.restart(side)
                    answer = None
                elif event == "restore" and (both or set_back in (None, side)):
                    ends.restore(side)
                    set_back, answer = side, None
                else:
                    continue
                after = pack(used, set_back, answer)
                if after not in seen:
                    seen.add(after)
                    todo.append(after)
    return len(seen)


def test_every_history_of_four_pads_uses_none_twice(monkeypatch):
    assert states_until_reuse(monkeypatch, compare=False) > 10_000


def test_the_search_finds_what_is_not_promised(monkeypatch):
    assert states_until_reuse(monkeypatch, compare=True) is None
    assert states_until_reuse(monkeypatch, compare=False, both=True) is None


def test_a_lease_begins_where_both_agree_that_nothing_was_used():
    assert next_lease(0, 0, 100) == (0, WINDOW)
    assert next_lease(32, 5, 100) == (32, WINDOW)
    assert next_lease(5, 32, 100) == (32, WINDOW)
    assert next_lease(90, 0, 100) == (90, 10)
    assert next_lease(100, 100, 100) == (100, 0)


@pytest.mark.parametrize("high_water", [-1, 101])
def test_a_mark_that_cannot_be_is_refused(high_water):
    with pytest.raises(RemoteProtocolError, match=f"mark of {high_water}; allowed: 0 to 100"):
        next_lease(0, high_water, 100)


@pytest.mark.parametrize(
    ("base", "count"), [(9, 16), (0, 0), (10, WINDOW + 1), (90, 11), (101, 0), (10, -1)]
)
def test_a_lease_that_cannot_be_used_is_refused(base, count):
    with pytest.raises(RemoteProtocolError, match=f"found {count} pads from {base}; allowed"):
        check_lease(10, base, count, 100)


def test_a_lease_that_can_be_used_passes():
    for base, count in ((10, WINDOW), (11, 3), (90, 10), (100, 0)):
        check_lease(10, base, count, 100)


def test_leases_that_are_put_to_use_are_not_limited():
    """Short blocks: a lease every few seconds, for days. Then somebody else asks."""
    limit = GrantLimit()
    for second in range(100 * MAX_GRANTS):
        limit.count_tags(IN_USE)
        limit.admit(float(second))
    for second in range(MAX_GRANTS):
        limit.count_tags(IN_USE - 1)
        limit.admit(6000.0 + second)
    with pytest.raises(RemoteProtocolError, match="more than 60 requests"):
        limit.admit(6000.0 + MAX_GRANTS)


def test_grants_are_limited_per_hour():
    limit = GrantLimit()
    for second in range(MAX_GRANTS):
        limit.admit(1000.0 + second)
    for now_s in (1000.0 + MAX_GRANTS, 999.0 + PERIOD_S):
        with pytest.raises(RemoteProtocolError, match="more than 60 requests within 3600 s"):
            limit.admit(now_s)
    limit.admit(1000.0 + PERIOD_S)  # the first one has left the window
    with pytest.raises(RemoteProtocolError):
        limit.admit(1000.5 + PERIOD_S)
