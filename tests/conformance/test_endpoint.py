"""Our endpoint passes every case; endpoints with one defect fail what is about it, and no other."""

import pytest
from conformance import networks, quick
from conformance.broken.coordinators import COORDINATORS
from conformance.broken.endpoints import DEFECTS
from conformance.broken.holders import HOLDERS
from conformance.broken.participants import PARTICIPANTS

from mdiqkd_net.conformance.cases import FAILING, Verdict
from mdiqkd_net.conformance.endpoint import ENDPOINT_CASES
from mdiqkd_net.conformance.endpoint.harness import GREATER, LESSER, PEER
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


RELAY_LINK = [case for case in ENDPOINT_CASES if not case.needs]
PLAYED = {"alice": (PEER, GREATER), "bob": (PEER, LESSER)}
"""What the cases need that hold a node against the specification beside the other of the two."""
OTHER = {"alice": "bob", "bob": "alice"}
BROKEN = [
    *(("alice", kind, name) for kind in (COORDINATORS, HOLDERS) for name in kind),
    *(("bob", PARTICIPANTS, name) for name in PARTICIPANTS),
]


async def test_our_endpoint_passes_its_relay_link_over_tls(network, monkeypatch):
    async with networks.endpoint(network, monkeypatch) as harness:
        results = await play(harness, ENDPOINT_CASES, strict=True)
    passed = [r.case for r in results if r.verdict is Verdict.PASS]
    skipped = [r.case for r in results if r.verdict is Verdict.SKIP]
    assert passed == RELAY_LINK
    assert [*passed, *skipped].sort(key=ENDPOINT_CASES.index) is None
    assert len(passed) + len(skipped) == len(ENDPOINT_CASES)


@pytest.mark.parametrize("node", PLAYED)
async def test_our_endpoint_passes_everything_with_a_peer(paired, autojump_clock, node):
    async with quick.endpoint(paired, node, OTHER[node]) as harness:
        results = await play(harness, ENDPOINT_CASES, strict=True)
    played = [case for case in ENDPOINT_CASES if set(case.needs) <= set(PLAYED[node])]
    assert [r.case for r in results if r.verdict is not Verdict.SKIP] == played
    assert {r.case.id: r.found for r in results if r.verdict in FAILING} == {}


@pytest.mark.parametrize(
    ("node", "kind", "name"),
    BROKEN,
    ids=[f"{node}: {name}" for node, _, name in BROKEN],
)
async def test_a_broken_user_fails_what_is_about_its_defect(
    paired, monkeypatch, autojump_clock, node, kind, name
):
    broken = kind[name]
    monkeypatch.setattr(pair, "Endpoint", broken.endpoint)
    for (where, what), replacement in broken.patches.items():
        monkeypatch.setattr(where, what, replacement)
    cases = [case for case in ENDPOINT_CASES if case.id in broken.found_by | broken.spared]
    async with quick.endpoint(paired, node, OTHER[node]) as harness:
        results = await play(harness, cases)
    verdicts = {r.case.id: r.verdict for r in results}
    found = {r.case.id: r.found for r in results if r.verdict in FAILING}
    assert set(found) == broken.found_by, found
    assert {verdicts[case] for case in broken.spared} == {Verdict.PASS}


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
