"""Hostile relays for real: processes, TLS, and a scenario that asks for them."""

import json

from mdiqkd_net.cli import main


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


def test_a_relay_that_hides_its_measurement_is_shown_by_the_commissioned_link(
    write_scenario, tmp_path
):
    target, keep = tmp_path / "report.json", tmp_path / "kept"
    path = write_scenario(more='relay = "byzantine:photon_number"')
    options = ["--quiet", "--json", str(target), "--keep", str(keep), "--n-pulses", "5e7"]
    main(["run", str(path), *options])
    (pair,) = json.loads(target.read_text())["pairs"]
    assert (pair["secret_bits"], pair["failure"]) == (0, None)
    for user in ("alice", "bob"):
        alarms = {e["monitor"] for e in lines(keep, user) if e["event"] == "monitor.alarm"}
        assert {"MON-02", "MON-07"} <= alarms
