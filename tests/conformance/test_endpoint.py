"""Our endpoint passes every case; endpoints with one defect fail what is about it, and no other."""

import pytest
from conformance import networks, quick
from conformance.broken.endpoints import DEFECTS

from mdiqkd_net.conformance.cases import FAILING, Verdict
from mdiqkd_net.conformance.endpoint import ENDPOINT_CASES
from mdiqkd_net.conformance.runner import play
from mdiqkd_net.keys.pads import create_pads
from mdiqkd_net.keys.pki import create_authority, issue


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    directory = tmp_path_factory.mktemp("network")
    create_authority(directory)
    for node in ("alice", "charles"):
        issue(directory, node)
    create_pads(directory, "alice", "bob", 16)
    return directory


async def test_our_endpoint_passes_everything(network, monkeypatch):
    async with networks.endpoint(network, monkeypatch) as harness:
        results = await play(harness, ENDPOINT_CASES, strict=True)
    assert {r.case.id: (r.verdict, r.found) for r in results if r.verdict in FAILING} == {}
    assert {r.verdict for r in results} == {Verdict.PASS}


@pytest.mark.parametrize("name", DEFECTS)
async def test_a_broken_endpoint_fails_what_is_about_its_defect(
    network, monkeypatch, autojump_clock, name
):
    defect = DEFECTS[name]
    for where, what, replacement in defect.patches:
        monkeypatch.setattr(where, what, replacement)
    async with quick.endpoint(network) as harness:
        results = await play(harness, ENDPOINT_CASES)
    found = {r.case.id: r.found for r in results if r.verdict in FAILING}
    assert set(found) == defect.found_by, found
