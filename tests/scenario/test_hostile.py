"""Hostile relays for real: processes, TLS, and a scenario that asks for them."""

import json

from msgspec.structs import replace
from watched import simulated

from mdiqkd_net.cli import main
from mdiqkd_net.monitoring.watch import Watch
from mdiqkd_net.protocol.light import source_of, source_settings
from mdiqkd_net.scenario.network import commissioned
from mdiqkd_net.units import transmittance


def lines(keep, node):
    text = (keep / "nodes" / node / "events.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_relay_that_tells_two_stories_costs_one_block_and_pages(write_scenario, tmp_path, capsys):
    """The second of two sessions is honest; the report says what the relay is."""
    target, keep = tmp_path / "report.json", tmp_path / "kept"
    more = 'relay = "byzantine:equivocate"\nbyzantine = { sessions = 1 }\nblocks = 2'
    path = write_scenario(more=more)
    options = ["--quiet", "--json", str(target), "--keep", str(keep), "--n-pulses", "3e8"]
    main(["run", str(path), *options])
    report = json.loads(target.read_text())
    assert report["relay"] == "byzantine:equivocate"
    shown = capsys.readouterr().out
    assert "the relay is hostile (byzantine:equivocate)" in shown
    assert "no key in 1 block: the relay told the two users different things" in shown
    assert "MON-09 at bob, 1 block: the relay told the two users different things" in shown
    (pair,) = report["pairs"]
    first, second = pair["blocks"]
    assert (first["secret_bits"], pair["failure"]) == (0, None)
    assert first["reason"] == "the relay told the two users different things"
    alarm = {"user": "bob", "block": first["block"], "monitor": "MON-09"}
    assert pair["alarms"] == [{**alarm, "reason": first["reason"]}]
    assert max(abs(row["deviation"]) for row in pair["gains"]) < 6.0  # of revealed blocks alone
    assert second["secret_bits"] > 0
    assert pair["keys_match"]
    confessed = [e for e in lines(keep, "charles") if e["event"] == "relay.byzantine"]
    assert confessed[0]["case"] == "BZ-01"
    reports = [e for e in lines(keep, "charles") if e["event"].startswith("pair.")]
    assert {e["byzantine"] for e in reports} == {"byzantine:equivocate"}
    assert "HOSTILE" in (keep / "nodes" / "charles" / "stderr.log").read_text()
    alarms = [e["monitor"] for e in lines(keep, "bob") if e["event"] == "monitor.alarm"]
    assert alarms == ["MON-09"]
    figures = [e for e in lines(keep, "alice") if e["event"] == "block.monitors"]
    assert [block["alarms"] for block in figures] == [[], []]


def test_what_a_scenario_says_of_a_link_shows_a_relay_that_hides_its_measurement(make_scenario):
    """Chance alone: 1e-6 for each of two monitors."""
    scenario = make_scenario()
    users = ("alice", "bob")
    arms = [scenario.users[user] for user in users]
    alice, bob = (transmittance(arm.length_km * arm.attenuation_db_per_km) for arm in arms)
    link = {"source": source_of(source_settings(arms[0])), "transmittances": (alice, bob)}
    told = commissioned(scenario, users)
    honest = simulated(3, receiver=scenario.receiver, **link)
    assert not Watch(told).observe(honest, 0.0).alarms
    hidden = replace(scenario.receiver, attack="photon_number")
    found = Watch(told).observe(simulated(4, receiver=hidden, **link), 0.0)
    assert {"MON-02", "MON-07"} <= {alarm.monitor for alarm in found.alarms}
