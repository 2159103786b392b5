"""Plans from routes: the better relay, turns, costs and demands, by hand and by other routes."""

import math

import msgspec
import pytest

from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.params import Setting
from mdiqkd_net.planning import shared
from mdiqkd_net.planning.detectors import FILE, HOURS_PER_YEAR, Detectors, chosen
from mdiqkd_net.planning.network import Demand
from mdiqkd_net.planning.plan import PlanTask, assemble, route_tasks, settled, shared_tasks
from mdiqkd_net.planning.prediction import predict
from mdiqkd_net.planning.route import route
from mdiqkd_net.planning.shared import GOALS, shared_settings

COSTLY = Detectors(capital_eur=HOURS_PER_YEAR, per_year_eur=0.0, lifetime_years=0.5)


def task_of(network, **more):
    base = {
        "network": network,
        "pairs": tuple(network.pairs),
        "detectors": {FILE: Detectors()},
        "demand": (),
        "analysis": Analysis(),
        "settings": "file",
    }
    return PlanTask(**(base | more))


def plan_of(task):
    routes = route_tasks(task)
    return assemble(task, routes, [route(one) for one in routes])


def pairs_of(plan, number=0):
    return {tuple(pair["users"]): pair for pair in plan["plans"][number]["pairs"]}


def test_the_better_relay_and_turns(network):
    plan = plan_of(task_of(network))
    pairs = pairs_of(plan)
    assert {users: pair["relay"] for users, pair in pairs.items()} == {
        ("ann", "ben"): "east",
        ("ann", "cid"): "west",
        ("ben", "cid"): "west",
    }
    near = pairs["ann", "ben"]
    assert near["relays"]["east"] > near["relays"]["west"] > 0.0
    assert [pair["share"] for pair in pairs.values()] == [1.0, 0.5, 0.5]
    for users, pair in pairs.items():
        found = predict(network.link(users, pair["relay"]), Analysis())
        assert pair["key_length_bits"] == found["key_length_bits"] > 0
        assert pair["block_s"] == 100.0
        assert pair["key_bits_per_s_alone"] == found["key_length_bits"] / 100.0
        assert pair["key_bits_per_s"] == pair["key_bits_per_s_alone"] * pair["share"]
        assert pair["keys_per_hour"] == pytest.approx(pair["key_bits_per_s"] * 3600 / 256)
        assert pair["first_key_s"] == 100.0 / pair["share"]
    assert plan["enough"]
    assert plan["cheapest"] is None


def test_the_loss_budget_adds_up(network):
    budget = pairs_of(plan_of(task_of(network)))["ann", "cid"]["loss_db"]
    assert budget["ann"]["fiber"] == pytest.approx(4.0)
    assert budget["ann"]["insertion"] == pytest.approx(1.0)
    assert budget["ann"]["detector"] == pytest.approx(-10.0 * math.log10(0.6))
    link = network.link(("ann", "cid"), "west")
    arrives = link.alice.transmittance * link.receiver.efficiency
    assert 10.0 ** (-budget["ann"]["total"] / 10.0) == pytest.approx(arrives)


def test_margins_are_where_the_key_ends(network):
    """The other route: whole predictions on both sides of the margin."""
    pair = pairs_of(plan_of(task_of(network)))["ann", "cid"]
    link = network.link(("ann", "cid"), "west")

    def bits(extra_db, n_pulses):
        alice, bob = (
            msgspec.structs.replace(arm, insertion_loss_db=arm.insertion_loss_db + extra_db / 2)
            for arm in (link.alice, link.bob)
        )
        worse = msgspec.structs.replace(link, alice=alice, bob=bob, n_pulses=n_pulses)
        return predict(worse, Analysis())["key_length_bits"]

    assert bits(pair["margin_db"], link.n_pulses) > 0 == bits(pair["margin_db"] + 0.02, 10**11)
    shortest = round(pair["first_key_s_alone"] * 1e9)
    assert 256 <= bits(0.0, shortest) < 256 + 1000
    assert bits(0.0, round(0.99 * shortest)) < 256
    assert pair["margin_time_factor"] == pytest.approx(100.0 / pair["first_key_s_alone"])


def test_demands_are_met_in_turn_or_not(network):
    rate = pairs_of(plan_of(task_of(network)))["ann", "cid"]["keys_per_hour"]
    demand = (
        Demand(users=("cid", "ann"), keys_per_hour=0.5 * rate),
        Demand(users=("ben", "cid"), keys_per_hour=1e12, key_bits=128),
    )
    plan = plan_of(task_of(network, demand=demand))
    pairs = pairs_of(plan)
    assert pairs["ann", "cid"]["met"]
    assert pairs["ann", "cid"]["demand_factor"] == pytest.approx(2.0)
    assert pairs["ann", "ben"]["met"] is None
    assert pairs["ben", "cid"]["met"] is False
    assert pairs["ben", "cid"]["key_bits"] == 128
    assert not plan["enough"]
    west, east = plan["plans"][0]["relays"]
    # Half of what a half share gives is a quarter of the time; the rest is out of reach.
    wanted = 1e12 * 128 / 3600 / pairs["ben", "cid"]["key_bits_per_s_alone"]
    assert west["load"] == pytest.approx(0.25 + wanted)
    assert (east["load"], east["n_pairs"]) == (0.0, 1)
    assert plan_of(task_of(network, demand=demand[:1]))["enough"]


def test_a_pair_without_a_relay_has_none(network):
    users = dict(network.users)
    users["cid"] = msgspec.structs.replace(users["cid"], arms={})
    plan = plan_of(task_of(msgspec.structs.replace(network, users=users)))
    alone = pairs_of(plan)["ann", "cid"]
    assert (alone["relay"], alone["reason"], alone["share"]) == (None, "no relay in common", 0.0)
    assert not plan["enough"]


def test_costs_of_keys_and_the_cheapest_that_is_enough(network):
    sets = chosen(
        ["dear", "fair", "blind"],
        {
            "dear": msgspec.structs.replace(COSTLY, capital_eur=2.0 * HOURS_PER_YEAR),
            "fair": COSTLY,
            "blind": msgspec.structs.replace(COSTLY, efficiency=0.0, capital_eur=0.0),
        },
    )
    plan = plan_of(task_of(network, detectors=sets))
    assert plan["cheapest"] == "fair"
    assert [one["enough"] for one in plan["plans"]] == [True, True, False]
    fair = plan["plans"][1]
    assert fair["cost_per_hour_eur"] == pytest.approx(2.0 * 2.0)
    pair = pairs_of(plan, 1)["ann", "cid"]
    assert pair["cost_per_mbit_eur"] == pytest.approx(1.0 / (pair["key_bits_per_s"] * 3600 / 1e6))
    mbit_per_hour = sum(p["key_bits_per_s"] for p in fair["pairs"]) * 3600 / 1e6
    assert fair["cost_per_mbit_eur"] == pytest.approx(4.0 / mbit_per_hour)
    blind = pairs_of(plan, 2)["ann", "cid"]
    assert blind["loss_db"]["ann"]["total"] is None
    assert (blind["margin_db"], blind["first_key_s_alone"], blind["share"]) == (None, None, 0.0)
    assert plan["plans"][2]["cost_per_mbit_eur"] is None


def test_settings_that_users_share(network, monkeypatch):
    """Equal settings beat those of the file for the worst pair; own ones of users beat equal."""
    monkeypatch.setattr(shared, "_ITERATIONS", 4)  # of the climb from equal to own settings
    worth = {}
    for settings in ("file", "equal", "user"):
        task = task_of(network, settings=settings, pairs=(("ann", "cid"), ("ben", "cid")))
        routes = route_tasks(task)
        searches = shared_tasks(task)
        assert len(searches) == (0 if settings == "file" else 1)
        if searches:
            found = shared_settings(searches[0])
            assert set(found) == {"ann", "ben", "cid"}
            assert (len(set(found.values())) == 1) == (settings == "equal")
            routes = settled(routes, found)
        bits = {}
        for one in routes:
            pair = one.users
            bits[pair] = max(bits.get(pair, 0), route(one)["key_length_bits"])
        worth[settings] = GOALS["worst"](bits)
    assert worth["equal"] > 1.02 * worth["file"]
    assert worth["user"] > worth["equal"]


def test_if_the_worst_pair_is_hopeless_the_others_count(network):
    far = msgspec.structs.replace(network.users["cid"].arms["west"], length_km=500.0)
    users = network.users | {
        "cid": msgspec.structs.replace(network.users["cid"], arms={"west": far})
    }
    task = task_of(msgspec.structs.replace(network, users=users), settings="equal")
    found = shared_settings(shared_tasks(task)[0])["ann"]
    near = [one for one in route_tasks(task) if one.users == ("ann", "ben") and one.relay == "east"]
    tuned = settled(near, dict.fromkeys(users, found))
    assert route(tuned[0])["key_length_bits"] > route(near[0])["key_length_bits"]


def test_each_pair_tuned_is_at_least_as_good_as_any_shared_settings(network):
    (one,) = (r for r in route_tasks(task_of(network, settings="pair", pairs=(("ann", "cid"),))))
    plain = route(msgspec.structs.replace(one, optimize=False))
    tuned = route(one)
    assert tuned["key_length_bits"] > plain["key_length_bits"]
    assert tuned["settings"]["ann"] != tuned["settings"]["cid"]
    again = msgspec.convert(tuned["settings"]["ann"]["z"], Setting)
    assert 0.0 < again.intensity <= 1.0
