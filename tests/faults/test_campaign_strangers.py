"""Real nodes and what is not as they are: other versions, hostile relays, other times of day."""

import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from live_books import USERS, other
from live_faults import hand_out, refused_to_start
from live_site import NODES, WAIT_S
from old_stores import make_old

from mdiqkd_net.conformance.cases import Close
from mdiqkd_net.conformance.connection import TlsConnection
from mdiqkd_net.conformance.deadlines import Deadlines
from mdiqkd_net.conformance.identity import load
from mdiqkd_net.conformance.peer import Peer
from mdiqkd_net.conformance.wirelog import WireLog
from mdiqkd_net.keys.schema import SCHEMA_VERSION
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.handshake import BAD_VERSION, PROTOCOL_VERSION
from mdiqkd_net.runtime.node import EXIT_SOFTWARE

pytestmark = pytest.mark.campaign

NEXT_VERSION = [PROTOCOL_VERSION + 1]


async def refused_for_its_version(site, name, role, stream, *, server_side=False):
    """Be a node of the next version; the other side says why it refuses us, and closes."""
    identity = load(site.base / "pki" / f"{name}.pem")
    context = identity.server if server_side else identity.client
    secured = trio.SSLStream(stream, context, server_side=server_side, https_compatible=True)
    with trio.fail_after(30):
        await secured.do_handshake()
    peer = Peer(TlsConnection(secured), name, Deadlines(), WireLog())
    await peer.greet(name, role, versions=NEXT_VERSION)
    ending = await peer.refused(BAD_VERSION)
    await peer.drop()
    assert ending.close is Close.CLEAN, ending.found


async def dialed(site, name):
    host, port = site.address(name).split(":")
    return await trio.open_tcp_stream(host, int(port))


async def test_a_peer_of_the_next_version_that_dials(open_site, report):
    """It is turned away, again and again; the honest one that comes then is served."""
    site = open_site()
    await site.start("charles", "alice")
    for name in ("alice", "charles"):
        node = site.nodes[name]
        await node.wait_for("ready")
        for _ in range(3):
            since = len(node.events)
            await refused_for_its_version(site, "bob", "endpoint", await dialed(site, name))
            refused = await node.wait_for("link.refused", since=since)
            assert refused["reason"] == "protocol version: found [2]; allowed: 1"
    await site.start("bob")
    report("17", "a peer of the next version dials three times", [await site.new_key()])


@pytest.mark.parametrize(("name", "role"), [("alice", "endpoint"), ("charles", "relay")])
async def test_a_node_of_the_next_version_that_is_dialed(open_site, report, name, role):
    """Trying again is of no use: the node leaves, and its service manager starts it later."""
    site = open_site()
    if name != "charles":
        await site.start("charles")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused_to_start, site, "bob", EXIT_SOFTWARE, "protocol version")
        stream = await site.accept(name)
        await refused_for_its_version(site, name, role, stream, server_side=True)
    await site.start(*(node for node in NODES if not site.nodes[node].alive))
    report("17", f"{name} was of the next version when bob dialed", [await site.new_key()])


async def test_stores_of_an_older_release(through, report):
    """Brought up to date when their nodes start; settled keys are served, and doubts settled."""
    (site,) = await through()
    await hand_out(site, "alice", 2)
    await site.kill("bob")
    await site.start("bob", crash_at="hold.after:2")
    assert await site.nodes["bob"].ended() == -signal.SIGKILL
    await site.stop("alice")
    prints = {}
    for user in USERS:
        path = site.store_path(user)
        with KeyStore.open(path, create=False) as store:
            prints[user] = store.fingerprints(other(user), b"salt")
        make_old(path)
    assert len(prints["alice"]) > 2
    since = {user: len(site.nodes[user].events) for user in USERS}
    await site.start(*USERS)
    for user in USERS:
        await site.nodes[user].wait_for("ready", since=since[user])
    times = [await site.new_key()]
    for user in USERS:
        with closing(sqlite3.connect(site.store_path(user))) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        with KeyStore.open(site.store_path(user), create=False) as store:
            assert prints[user].items() <= store.fingerprints(other(user), b"salt").items()
    for user in USERS:
        keys = await hand_out(site, user, 2)
        assert {key.key_id for key in keys} <= set(prints[user])
    await site.stop(*USERS)
    site.books.check(settled=True)
    report("17", "both users' stores were those of schema 1", times)


HOSTILE = {
    "equivocate": ("block.aborted", "the relay told the two users different things"),
    "withhold": ("block.aborted", "has said anything for"),
    "random_labels": ("block.aborted", ""),
    "intercept_resend": ("block.aborted", ""),
    "replay": ("relay.violation", "announcement"),
}
"""What the users report, by what the relay does."""


@pytest.mark.parametrize("conduct", HOSTILE)
async def test_a_hostile_relay(open_site, report, conduct):
    """There is no key as long as it is there, and no harm once an honest one has its place."""
    site = open_site(relay={"relay": f"byzantine:{conduct}"}, patience_s=15.0)
    await site.start(*NODES)
    event, words = HOSTILE[conduct]
    users = [site.nodes[user] for user in USERS]
    with trio.fail_after(WAIT_S):
        for user in users:
            await user.until(lambda user=user: len(user.named(event)) >= 2)
    reasons = {end["reason"] for user in users for end in user.named(event)}
    assert any(words in reason for reason in reasons), reasons
    assert not any(user.named("block.key") for user in users)
    assert site.books.phases() == {}
    await site.kill("charles")
    site.relay_fields.clear()
    await site.start("charles")
    times = [await site.new_key()]
    for user in USERS:
        await hand_out(site, user)
    report("18", f"the relay was hostile ({conduct})", times)


async def test_clocks_that_are_years_off_and_jump(through, report):
    """One user years ahead and one behind, then the reverse, then to and fro with every look."""
    (site,) = await through()
    times = []
    for alice, bob in (((3650,), (-3650,)), ((-3650,), (3650,)), ((0, 3650), (0, -1, 1, -3650))):
        await site.kill(*USERS)
        known = site.books.known_blocks()
        for user, days in (("alice", alice), ("bob", bob)):
            await site.start(user, strange=[f"--days={day}" for day in days])
        times.append(await site.new_key())
        for user, days in (("alice", alice), ("bob", bob)):
            with KeyStore.open(site.store_path(user), create=False) as store:
                new = [block for block in store.blocks() if block.block_id not in known]
            offs = {datetime.fromisoformat(b.created_utc) - datetime.now(UTC) for b in new}
            assert {round(off / timedelta(days=1)) for off in offs} <= set(days)
            await hand_out(site, user)
    report("16", "both users' clocks off by ten years", times)


def redate(directory, node, start, end):
    """Sign a node's certificate once more, valid from and until so many days from now."""
    authority = serialization.load_pem_private_key((directory / "authority.key").read_bytes(), None)
    path, now = directory / f"{node}.pem", datetime.now(UTC)
    old = x509.load_pem_x509_certificate(path.read_bytes())
    certificate = x509.CertificateBuilder(
        issuer_name=old.issuer,
        subject_name=old.subject,
        public_key=old.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now + timedelta(days=start),
        not_valid_after=now + timedelta(days=end),
        extensions=list(old.extensions),
    ).sign(authority, hashes.SHA256())
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(
    ("start", "end", "found", "told"),
    [
        (-400, -30, "certificate has expired", "CERTIFICATE_EXPIRED"),
        (30, 400, "certificate is not yet valid", "BAD_CERTIFICATE"),
    ],
)
@pytest.mark.parametrize("node", ["bob", "charles"])
async def test_certificates_of_another_time(through, report, node, start, end, found, told):
    """What a clock that is off makes of them: who refuses one and who is refused both say why."""
    (site,) = await through(patience_s=15.0)
    await site.kill(*NODES)
    path = site.base / "pki" / f"{node}.pem"
    good = path.read_bytes()
    redate(site.base / "pki", node, start, end)
    await site.start("charles", "alice")
    if node == "bob":  # is refused, and tries again for as long as he is patient
        await refused_to_start(site, "bob", EXIT_SOFTWARE)
        for name, words in (("bob", told), ("charles", f"TLS: certificate refused: {found}")):
            reasons = [event["reason"] for event in site.nodes[name].named("link.refused")]
            assert any(words in reason for reason in reasons), reasons
    else:
        await refused_to_start(site, "bob", EXIT_SOFTWARE, f"TLS: certificate refused: {found}")
        await site.kill("charles")
    assert await site.nodes["alice"].ended() == EXIT_SOFTWARE
    path.write_bytes(good)
    await site.start(*(name for name in NODES if not site.nodes[name].alive))
    report("16", f"{node}'s {found}", [await site.new_key()])
