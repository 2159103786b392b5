"""Our endpoint passes every case; endpoints with one defect fail what is about it, and no other."""

import pytest
from conformance import networks, quick
from conformance.broken.coordinators import COORDINATORS
from conformance.broken.endpoints import DEFECTS

from mdiqkd_net.conformance.cases import FAILING, Verdict
from mdiqkd_net.conformance.endpoint import ENDPOINT_CASES
from mdiqkd_net.conformance.endpoint.harness import PEER
from mdiqkd_net.conformance.runner import play
from mdiqkd_net.keys.pads import create_pads
from mdiqkd_net.keys.pki import create_authority, issue
from mdiqkd_net.runtime import pair


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    directory = tmp_path_factory.mktemp("network")
    create_authority(directory)
    for node in ("alice", "charles"):
        issue(directory, node)
    create_pads(directory, "alice", "bob", 2048)
    return directory


@pytest.fixture
def paired(tmp_path):
    """A directory with a pair's pads, never used before."""
    create_pads(tmp_path, "alice", "bob", 2048)
    return tmp_path


RELAY_LINK = [case for case in ENDPOINT_CASES if PEER not in case.needs]
WITH_A_PEER = [case for case in ENDPOINT_CASES if PEER in case.needs]


async def test_our_endpoint_passes_its_relay_link_over_tls(network, monkeypatch):
    async with networks.endpoint(network, monkeypatch) as harness:
        results = await play(harness, ENDPOINT_CASES, strict=True)
    verdicts = {r.case.id: r.verdict for r in results}
    assert {verdicts[case.id] for case in RELAY_LINK} == {Verdict.PASS}
    assert {verdicts[case.id] for case in WITH_A_PEER} == {Verdict.SKIP}


async def test_our_endpoint_passes_everything_with_a_peer(paired, autojump_clock):
    async with quick.endpoint(paired) as harness:
        results = await play(harness, ENDPOINT_CASES, strict=True)
    assert {r.case.id: r.found for r in results if r.verdict is not Verdict.PASS} == {}


@pytest.mark.parametrize("name", COORDINATORS)
async def test_a_broken_coordinator_fails_what_is_about_its_defect(
    paired, monkeypatch, autojump_clock, name
):
    broken, found_by = COORDINATORS[name]
    monkeypatch.setattr(pair, "Endpoint", broken)
    async with quick.endpoint(paired) as harness:
        areas = {case_id.rpartition("-")[0] for case_id in found_by} | {"CT-EP-S"}
        cases = [case for case in WITH_A_PEER if case.id.rpartition("-")[0] in areas]
        results = await play(harness, cases)
    found = {r.case.id: r.found for r in results if r.verdict in FAILING}
    assert set(found) == found_by, found


@pytest.mark.parametrize("name", DEFECTS)
async def test_a_broken_endpoint_fails_what_is_about_its_defect(
    network, monkeypatch, autojump_clock, name
):
    defect = DEFECTS[name]
    for where, what, replacement in defect.patches:
        monkeypatch.setattr(where, what, replacement)
    async with quick.endpoint(network, paired=False) as harness:
        results = await play(harness, ENDPOINT_CASES)
    found = {r.case.id: r.found for r in results if r.verdict in FAILING}
    assert set(found) == defect.found_by, found
