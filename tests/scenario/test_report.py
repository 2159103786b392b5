import io
import json
import math

import msgspec
import pytest
from rich.console import Console

from mdiqkd_net.blocks import CATEGORIES
from mdiqkd_net.physics import expected
from mdiqkd_net.scenario import config, events, report, summary
from mdiqkd_net.scenario.progress import Board
from mdiqkd_net.scenario.stores import Comparison

PAIR = ("alice", "bob")
SAME = Comparison(n_keys=3, equal=True)
N = {"zz": 1000, "xx": 200, "xy": 50}
M = {"zz": 10, "xx": 52}

MEASURED = """
[measured]
source = "A paper"
n_pulses = 500_000_000
counts = { zz = 1000, xx = 50 }
errors = { zz = 20 }
"""

CONTRACT = {
    "users",
    "pulses",
    "secret_bits",
    "qber_z",
    "qber_x",
    "s11_lower",
    "e11_upper",
    "leak_ec_bits",
    "keys_match",
    "tag_failures",
}


def ending(node, block=0, t_s=6.0, kind=events.BlockKey, **fields):
    values = {
        "block_id": f"id{block}",
        "pulses": 10**9,
        "n": N,
        "m": M,
        "qber_z": 0.01,
        "qber_x": 0.26,
        "s11_lower": 0.02,
        "e11_upper": 0.1,
        "leak_ec_bits": 90,
        "secret_bits": 800,
        "bytes_relay": 1000,
        "bytes_peer": 400,
        "bytes_light": 7,
        "seconds": {"sift": 0.5},
        **fields,
    }
    return kind(node=node, t_s=t_s, users=PAIR, block=block, **values)


def aborted(node, block=0, **fields):
    fields = {"secret_bits": 0, "reason": "too dark", **fields}
    return ending(node, block, kind=events.BlockAborted, **fields)


def built(scenario, *endings, stores=SAME):
    board = Board(scenario.pairs, scenario.n_pulses, scenario.blocks)
    charles = {"node": "charles", "users": PAIR}
    board.take(events.PairStarted(t_s=2.0, n_pulses=10**9, **charles))
    board.take(events.PairFinished(t_s=4.0, pulses=10**9, announced=30, light_s=1.0, **charles))
    for event in endings:
        board.take(event)
    return report.build(scenario, board, {PAIR: stores}, command_s=1.0, wall_s=8.0)


def shown(result):
    stream = io.StringIO()
    summary.show(result, Console(file=stream, width=summary.WIDTH))
    return stream.getvalue()


def test_one_block_is_reported_as_both_users_ended_it(make_scenario):
    result = built(make_scenario(), ending("alice"), ending("bob", t_s=7.0))
    (pair,) = result.pairs
    assert (pair.users, pair.pulses, pair.secret_bits) == (PAIR, 10**9, 800)
    assert (pair.qber_z, pair.qber_x) == pytest.approx((0.01, 0.26))
    assert (pair.s11_lower, pair.e11_upper, pair.leak_ec_bits) == (0.02, 0.1, 90)
    assert pair.bits_per_pulse == 8e-7
    assert pair.n_keys == SAME.n_keys
    assert pair.f_ec == pytest.approx(90 / (1000 * 0.0807931), rel=1e-5)  # h(0.01)
    assert pair.keys_match
    assert result.every_pair_has_key


def test_traffic_counts_both_relay_links_and_the_peer_link_once(make_scenario):
    result = built(make_scenario(), ending("alice"), ending("bob", bytes_relay=2000))
    (pair,) = result.pairs
    assert (pair.bytes_relay, pair.bytes_peer, pair.bytes_light) == (3000, 400, 14)
    assert pair.bytes_per_secret_bit == 3400 / 800


def test_times_run_from_the_command_and_from_the_first_light(make_scenario):
    result = built(make_scenario(), ending("alice"), ending("bob", t_s=7.0))
    assert result.first_key_s == 6.0
    assert result.pulses_per_s == 10**9 / 5.0
    assert result.light_pulses_per_s == 10**9 / 2.0
    assert result.wall_s == 8.0


def test_blocks_are_summed_and_bounds_are_the_worst(make_scenario):
    scenario = make_scenario(more="blocks = 2")
    second = {"s11_lower": 0.01, "e11_upper": 0.2, "qber_z": 0.04, "n": {"zz": 2000}}
    result = built(
        scenario,
        ending("alice", 0),
        ending("bob", 0),
        ending("bob", 1, t_s=9.0, **second),
        ending("alice", 1, t_s=9.0, **second),
    )
    (pair,) = result.pairs
    assert (pair.pulses, pair.secret_bits, pair.leak_ec_bits) == (2 * 10**9, 1600, 180)
    assert (pair.s11_lower, pair.e11_upper) == (0.01, 0.2)
    assert pair.qber_z == pytest.approx((1000 * 0.01 + 2000 * 0.04) / 3000)
    assert [block.block for block in pair.blocks] == [0, 1]
    assert result.first_key_s == 5.0


def test_gains_stand_beside_the_closed_form(make_scenario):
    scenario = make_scenario()
    (pair,) = built(scenario, ending("alice"), ending("bob")).pairs
    rows = {row.category: row for row in pair.gains}
    assert tuple(rows) == CATEGORIES
    link = scenario.link(PAIR)
    share = link.alice.probabilities[3] * link.bob.probabilities[3]
    zz = rows["zz"]
    assert zz.gain == pytest.approx(1000 / (10**9 * share))
    assert zz.gain_expected == expected.gains(link)["zz"]
    assert zz.n_expected == pytest.approx(expected.expected_counts(link)["zz"])
    assert zz.ratio == pytest.approx(1000 / zz.n_expected)
    assert zz.deviation == pytest.approx((1000 - zz.n_expected) / math.sqrt(zz.n_expected))
    assert zz.error_rate == 0.01
    assert rows["xy"].m is None
    assert rows["xy"].error_rate is None
    assert zz.n_published is None


def test_the_closed_form_knows_the_receiver_of_the_scenario(make_scenario):
    def reported(**receiver):
        made = make_scenario()
        changed = msgspec.structs.replace(made.receiver, **receiver)
        scenario = msgspec.structs.replace(made, receiver=changed)
        return built(scenario, ending("alice"), ending("bob"))

    ideal, dead = reported(), reported(dead_time_s=2e-8)
    spad = reported(level="click", dead_time_s=2e-8, afterpulse_probability=0.02)
    zz = [{row.category: row for row in r.pairs[0].gains}["zz"] for r in (ideal, dead, spad)]
    assert zz[1].gain_expected < 0.5 * zz[0].gain_expected
    assert zz[1].gain_expected == zz[2].gain_expected
    assert [r.pairs[0].left_out for r in (ideal, dead, spad)] == [[], [], ["afterpulses"]]
    assert "closed form without" not in shown(dead)
    assert "closed form without: afterpulses" in shown(spad)


def test_published_counts_are_compared_per_pulse(make_scenario):
    result = built(make_scenario(more=MEASURED), ending("alice"), ending("bob"))
    rows = {row.category: row for row in result.pairs[0].gains}
    assert rows["zz"].ratio_published == pytest.approx((1000 / 1e9) / (1000 / 5e8))
    assert rows["xx"].ratio_published == pytest.approx((200 / 1e9) / (50 / 5e8))
    assert rows["zz"].gain_published == pytest.approx(2 * rows["zz"].gain)
    assert rows["zz"].error_rate_published == 0.02
    assert rows["xx"].error_rate_published is None
    assert rows["xy"].n_published is None
    assert "A paper" in shown(result)


def test_no_key_is_a_result_with_a_reason(make_scenario):
    empty = Comparison(n_keys=0, equal=True)
    result = built(make_scenario(), aborted("alice"), aborted("bob"), stores=empty)
    (pair,) = result.pairs
    assert (pair.secret_bits, pair.keys_match, pair.stores_differ) == (0, False, False)
    assert pair.reason == "too dark"
    assert pair.bytes_per_secret_bit is None
    assert result.first_key_s is None
    assert not result.every_pair_has_key
    assert "no key: too dark" in shown(result)
    assert "By the closed form, blocks from" in shown(result)


def test_the_outlook_says_from_how_many_pulses_a_key_is_to_be_expected(make_scenario):
    scenario = make_scenario()
    needed = report.pulses_needed(scenario, PAIR)
    assert needed is not None
    for factor, has_key in ((0.99, False), (1.01, True)):
        n_pulses = int(factor * needed)
        block = msgspec.structs.replace(scenario, n_pulses=n_pulses)
        assert (report.predicted_bits(block, PAIR) > 0) is has_key


def test_the_outlook_says_when_there_is_none(write_scenario):
    path = write_scenario()
    path.write_text(path.read_text().replace("misalignment = 0.005", "misalignment = 0.3"))
    scenario = config.read(path)
    assert report.pulses_needed(scenario, PAIR) is None
    empty = Comparison(n_keys=0, equal=True)
    result = built(scenario, aborted("alice"), aborted("bob"), stores=empty)
    assert "no number of pulses would give one" in shown(result)


def test_an_abort_that_knows_nothing_is_reported(make_scenario):
    nothing = {"pulses": 0, "n": {}, "m": {}, "qber_z": None, "qber_x": None}
    nothing |= {"s11_lower": None, "e11_upper": None, "leak_ec_bits": None, "block_id": None}
    result = built(
        make_scenario(),
        aborted("alice", **nothing),
        aborted("bob", **nothing),
        stores=Comparison(n_keys=0, equal=True),
    )
    (pair,) = result.pairs
    assert (pair.pulses, pair.qber_z, pair.leak_ec_bits) == (0, None, None)
    assert all(row.gain is None for row in pair.gains)
    shown(result)


@pytest.mark.parametrize("bob", [aborted("bob"), ending("bob", block_id="another")])
def test_users_that_disagree_have_no_key(make_scenario, bob):
    differ = Comparison(n_keys=0, equal=False)
    result = built(make_scenario(), ending("alice"), bob, stores=differ)
    (pair,) = result.pairs
    assert pair.secret_bits == 0
    assert pair.reason
    assert pair.stores_differ
    assert not result.every_pair_has_key


def test_the_json_keeps_its_contract(make_scenario):
    result = built(make_scenario(), ending("alice"), ending("bob"))
    decoded = json.loads(report.encode(result))
    assert {"pairs", "wall_s", "pulses_per_s", "first_key_s", "title", "version"} <= set(decoded)
    assert decoded["origin"] == "simulated"
    assert set(decoded["pairs"][0]) >= CONTRACT
    assert decoded["pairs"][0]["keys_match"] is True
    assert msgspec.json.decode(report.encode(result), type=report.Report).pairs[0].secret_bits


def test_the_summary_fits_its_width_and_says_simulated(make_scenario):
    text = shown(built(make_scenario(), ending("alice"), ending("bob")))
    assert max(map(len, text.splitlines())) <= summary.WIDTH
    assert "…" not in text
    assert "simulated" in text
    assert "800 secret bits, 3 keys, identical in both stores" in text
    assert "first key after 5.0 s" in text


def test_stores_that_differ_are_shouted(make_scenario):
    differ = Comparison(n_keys=3, equal=False)
    text = shown(built(make_scenario(), ending("alice"), ending("bob"), stores=differ))
    assert "do not hold the same keys" in text


def test_several_pairs_get_one_table(make_scenario):
    scenario = make_scenario(topology="star", users=("alice", "bob", "carol"))
    board = Board(scenario.pairs, scenario.n_pulses, 1)
    for low, high in scenario.pairs:
        for node in (low, high):
            kind = events.BlockKey if node != "carol" and high != "carol" else events.BlockAborted
            more = {"reason": "too dark"} if kind is events.BlockAborted else {}
            end = ending(node, kind=kind, secret_bits=0 if more else 800, **more)
            board.take(msgspec.structs.replace(end, users=(low, high)))
    stores = dict.fromkeys(scenario.pairs, SAME)
    result = report.build(scenario, board, stores, command_s=0.0, wall_s=1.0)
    text = shown(result)
    assert result.secret_bits == 800
    assert not result.every_pair_has_key
    assert "alice – bob" in text
    assert text.count("no key: too dark") == 2
    assert max(map(len, text.splitlines())) <= summary.WIDTH
    assert "…" not in text
