"""Our relay passes every case; relays with one defect fail what is about it, and no other."""

import pytest
from conformance import networks, quick
from conformance.broken.relays import DEFECTS, Fragile

from mdiqkd_net.conformance.cases import FAILING, Verdict, select
from mdiqkd_net.conformance.runner import conforms, play
from mdiqkd_net.keys.pki import create_authority, issue


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    directory = tmp_path_factory.mktemp("network")
    create_authority(directory)
    for node in ("alice", "bob", "charles"):
        issue(directory, node)
    return directory


def failing(results):
    return {r.case.id: r.found for r in results if r.verdict in FAILING}


async def test_our_relay_passes_everything_over_tls(network, monkeypatch):
    async with networks.relay(network, monkeypatch) as harness:
        results = await play(harness, networks.OVER_TLS, strict=True)
    assert failing(results) == {}
    assert conforms(results)
    assert {r.verdict for r in results} == {Verdict.PASS}


async def test_our_relay_passes_everything_in_virtual_time(autojump_clock):
    async with quick.relay() as harness:
        results = await play(harness, quick.QUICK_RELAY_CASES, strict=True)
    assert failing(results) == {}


@pytest.mark.parametrize("name", DEFECTS)
async def test_a_broken_relay_fails_what_is_about_its_defect(monkeypatch, autojump_clock, name):
    defect = DEFECTS[name]
    for where, what, replacement in defect.patches:
        monkeypatch.setattr(where, what, replacement)
    async with quick.relay(defect.node) as harness:
        cases = [
            case
            for case in select(quick.QUICK_RELAY_CASES, defect.among)
            if not case.id.startswith(quick.LONG) or case.id in defect.found_by
        ]
        results = await play(harness, cases, strict=defect.strict)
    found = failing(results)
    assert set(found) == defect.found_by, found


async def test_a_relay_that_dies_fails_where_it_dies_and_shows_nothing_after(autojump_clock):
    cases = select(quick.QUICK_RELAY_CASES, ["CT-RL-F-0*", "CT-RL-S-05"])
    async with quick.relay(Fragile) as harness:
        results = await play(harness, cases)
    verdicts = [r.verdict for r in results]
    at = [r.case.id for r in results].index("CT-RL-F-08")
    assert set(verdicts[:at]) == {Verdict.PASS}
    assert verdicts[at] is Verdict.FAIL
    assert "afterwards the node does not answer" in results[at].found
    assert set(verdicts[at + 1 :]) == {Verdict.INCONCLUSIVE}
