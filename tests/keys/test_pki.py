import base64
import datetime
import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys import pki
from mdiqkd_net.keys.identity import check_node, check_pair

CLIENT, SERVER = ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    directory = tmp_path_factory.mktemp("network")
    pki.create_authority(directory)
    for node in ("alice", "bob"):
        pki.issue(directory, node)
    return directory


def context(directory: Path, node: str, protocol: int, trusted: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    # Python 3.13 sets these by default.
    made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    made.load_verify_locations(trusted / "authority.pem")
    made.load_cert_chain(directory / f"{node}.pem", directory / f"{node}.key")
    return made


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str):
    """Shake hands in memory, then pass one byte each way; return both ends."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=host),
        server.wrap_bio(up, down, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    # In TLS 1.3 a refused client certificate shows only when the client reads.
    for writer, reader in (ends, ends[::-1]):
        writer.write(b"!")
        assert reader.read(1) == b"!"
    return ends


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize(("dialer", "listener"), [("alice", "bob"), ("bob", "alice")])
def test_nodes_shake_hands_with_tls_1_3_both_ways(network, dialer, listener, host):
    client, server = handshake(
        context(network, dialer, CLIENT, network), context(network, listener, SERVER, network), host
    )
    assert client.version() == server.version() == "TLSv1.3"
    assert ("URI", f"urn:mdiqkd:node:{listener}") in client.getpeercert()["subjectAltName"]
    assert ("URI", f"urn:mdiqkd:node:{dialer}") in server.getpeercert()["subjectAltName"]


def test_a_client_of_another_network_is_refused(network, tmp_path):
    pki.create_authority(tmp_path)
    pki.issue(tmp_path, "alice")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(
            context(tmp_path, "alice", CLIENT, network),
            context(network, "bob", SERVER, network),
            "localhost",
        )


def test_a_server_under_another_name_is_refused(network):
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname"):
        handshake(
            context(network, "alice", CLIENT, network),
            context(network, "bob", SERVER, network),
            "elsewhere.example",
        )


def test_a_node_cannot_sign_certificates(network):
    certificate = x509.load_pem_x509_certificate((network / "alice.pem").read_bytes())
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_identifiers_link_node_and_authority(network):
    def load(name, kind):
        certificate = x509.load_pem_x509_certificate((network / name).read_bytes())
        return certificate.extensions.get_extension_for_class(kind).value

    authority_id = load("authority.pem", x509.SubjectKeyIdentifier).key_identifier
    for name in ("authority.pem", "alice.pem"):
        assert load(name, x509.AuthorityKeyIdentifier).key_identifier == authority_id
    assert load("alice.pem", x509.SubjectKeyIdentifier).key_identifier != authority_id
    assert load("authority.pem", x509.BasicConstraints).path_length == 0


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_private_keys_are_private_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        pki.create_authority(tmp_path)
        pki.issue(tmp_path, "alice")
    finally:
        os.umask(before)
    for stem in ("authority", "alice"):
        assert stat.S_IMODE((tmp_path / f"{stem}.key").stat().st_mode) == 0o600


def test_a_new_directory_is_private(tmp_path):
    pki.create_authority(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


@pytest.mark.parametrize("existing", ["authority.key", "authority.pem"])
def test_an_authority_is_never_overwritten(tmp_path, existing):
    (tmp_path / existing).write_text("precious")
    with pytest.raises(ConfigError, match=f"{existing}: exists already"):
        pki.create_authority(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [
        (existing, "precious")
    ]


@pytest.mark.parametrize("existing", ["carol.key", "carol.pem"])
def test_a_node_is_never_overwritten(tmp_path, existing):
    pki.create_authority(tmp_path)
    (tmp_path / existing).write_text("precious")
    with pytest.raises(ConfigError, match=f"{existing}: exists already"):
        pki.issue(tmp_path, "carol")
    assert (tmp_path / existing).read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 3


def test_the_default_validities(network):
    authority, alice, _ = pki.certificates(network)
    now = datetime.datetime.now(datetime.UTC)
    assert authority.not_after_utc - now < datetime.timedelta(days=3650)
    assert authority.not_after_utc - now > datetime.timedelta(days=3649)
    assert alice.not_after_utc - now < datetime.timedelta(days=730)
    assert alice.not_after_utc - now > datetime.timedelta(days=729)
    assert alice.not_before_utc < now - datetime.timedelta(hours=12)


def test_a_node_does_not_outlive_its_authority(tmp_path):
    pki.create_authority(tmp_path, validity_days=10)
    pki.issue(tmp_path, "alice", validity_days=20)
    pki.issue(tmp_path, "bob", validity_days=5)
    authority, alice, bob = pki.certificates(tmp_path)
    assert alice.not_after_utc == authority.not_after_utc > bob.not_after_utc


@pytest.mark.parametrize("days", [0, -1, 36501])
def test_validities_out_of_range_are_refused(tmp_path, days):
    with pytest.raises(ConfigError, match=f"validity: found {days} days"):
        pki.create_authority(tmp_path / "new", validity_days=days)
    assert not (tmp_path / "new").exists()


def test_an_expired_authority_issues_nothing_and_says_so(tmp_path, monkeypatch):
    with monkeypatch.context() as past:
        now = datetime.datetime.now(datetime.UTC)
        span = (now - datetime.timedelta(days=9), now - datetime.timedelta(days=2))
        past.setattr(pki, "_validity", lambda days: span)
        pki.create_authority(tmp_path)
    with pytest.raises(ConfigError, match="expired on"):
        pki.issue(tmp_path, "alice")
    assert pki.certificates(tmp_path)[0].problems == ("expired",)


@pytest.mark.parametrize(
    "host", ["", "a b", "*.example", "host:4001", "-a", "a..b", "256.1.1.1", "x" * 64, "é.example"]
)
def test_hosts_that_no_certificate_may_carry_are_refused(network, host):
    with pytest.raises(ConfigError, match="host: found"):
        pki.issue(network, "carol", [host])
    assert not (network / "carol.key").exists()


def test_hosts_are_carried_as_names_and_addresses(tmp_path):
    pki.create_authority(tmp_path)
    pki.issue(tmp_path, "alice", ["qkd-1.example.org", "10.0.0.7", "::1"])
    assert pki.certificates(tmp_path)[1].hosts == ("qkd-1.example.org", "10.0.0.7", "::1")


@pytest.mark.parametrize("node", ["", "Alice", "1alice", "a" * 33, "al ice", "../x", "alice\n"])
def test_ids_that_are_no_node_ids_are_refused(network, node):
    with pytest.raises(ConfigError, match="node id: found"):
        pki.issue(network, node)


def test_no_node_may_take_the_name_of_the_authority(network):
    with pytest.raises(ConfigError, match="authority's own files"):
        pki.issue(network, "authority")


NODES = st.builds(str.__add__, st.sampled_from("az"), st.text(alphabet="abz059_-", max_size=31))


@given(NODES, NODES)
def test_a_pair_has_one_order(a, b):
    assert check_node(a) == a
    if a == b:
        with pytest.raises(ConfigError, match="twice"):
            check_pair(a, b)
    else:
        assert check_pair(a, b) == check_pair(b, a) == tuple(sorted((a, b)))


def test_issuing_needs_an_authority(tmp_path):
    with pytest.raises(ConfigError, match=r"authority\.pem.*new-network"):
        pki.issue(tmp_path, "alice")


def test_issuing_needs_the_key_of_the_authority(tmp_path):
    pki.create_authority(tmp_path)
    (tmp_path / "authority.key").unlink()
    with pytest.raises(ConfigError, match=r"authority\.key.*only its holder"):
        pki.issue(tmp_path, "alice")


def test_a_readable_key_of_the_authority_is_refused(tmp_path):
    pki.create_authority(tmp_path)
    (tmp_path / "authority.key").chmod(0o640)
    with pytest.raises(KeyStoreError, match="found mode 0640"):
        pki.issue(tmp_path, "alice")


def test_the_key_of_another_authority_is_refused(tmp_path):
    for name in ("one", "two"):
        pki.create_authority(tmp_path / name)
    (tmp_path / "two" / "authority.key").replace(tmp_path / "one" / "authority.key")
    with pytest.raises(ConfigError, match="belongs to another certificate"):
        pki.issue(tmp_path / "one", "alice")


@pytest.mark.parametrize(
    ("name", "found"),
    [("authority.pem", "no certificate"), ("authority.key", "no unencrypted private key")],
)
def test_damaged_files_are_named(tmp_path, name, found):
    pki.create_authority(tmp_path)
    (tmp_path / name).write_bytes(b"\xffnonsense")
    with pytest.raises(ConfigError, match=f"{name}: {found}"):
        pki.issue(tmp_path, "alice")


def test_keys_of_another_kind_are_refused(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    pki.create_authority(tmp_path)
    (tmp_path / "authority.key").write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(ConfigError, match="allowed: ECDSA keys"):
        pki.issue(tmp_path, "alice")


def test_certificates_lists_the_authority_first_and_no_problems(network):
    rows = pki.certificates(network)
    assert [row.node for row in rows] == [None, "alice", "bob"]
    assert all(row.problems == () for row in rows)
    assert rows[1].hosts == ("localhost", "127.0.0.1")
    assert len({row.spki_sha256 for row in rows}) == 3


def test_certificates_names_what_to_mend(tmp_path):
    for name in ("ours", "theirs"):
        pki.create_authority(tmp_path / name)
    for node in ("bob", "carol", "dave"):
        pki.issue(tmp_path / "ours", node)
    pki.issue(tmp_path / "theirs", "mallory")
    (tmp_path / "theirs" / "mallory.pem").replace(tmp_path / "ours" / "mallory.pem")
    (tmp_path / "theirs" / "authority.pem").replace(tmp_path / "ours" / "zed.pem")
    (tmp_path / "ours" / "bob.key").chmod(0o644)
    (tmp_path / "ours" / "carol.key").write_bytes((tmp_path / "ours" / "bob.key").read_bytes())
    (tmp_path / "ours" / "dave.key").write_text("nonsense")
    found = {row.path.stem: row.problems for row in pki.certificates(tmp_path / "ours")}
    assert found == {
        "authority": (),
        "bob": ("bob.key has mode 0644; chmod 600",),
        "carol": ("carol.key belongs to another certificate",),
        "dave": ("dave.key cannot be read",),
        "mallory": ("not signed by this authority",),
        "zed": ("not signed by this authority", "names no node"),
    }


def test_a_certificate_for_something_else_names_no_node(tmp_path, monkeypatch):
    pki.create_authority(tmp_path)
    monkeypatch.setattr(pki, "node_urn", lambda node: f"urn:example:{node}")
    pki.issue(tmp_path, "alice")
    assert pki.certificates(tmp_path)[0].problems + pki.certificates(tmp_path)[1].problems == (
        "names no node",
    )


@pytest.mark.parametrize(
    ("good", "bad", "why"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x7d", "no certificate in PEM format"),
        (b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\xce\x57\x02\x01", "cannot be read"),
        (b"\x03\x42\x00\x04", b"\x03\x42\x00\x05", "cannot be read"),
    ],
    ids=["version", "algorithm", "point"],
)
def test_a_certificate_with_hostile_parts_is_refused(tmp_path, good, bad, why):
    pki.create_authority(tmp_path)
    pki.issue(tmp_path, "alice")
    path = tmp_path / "alice.pem"
    der = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    assert good in der
    text = base64.encodebytes(der.replace(good, bad, 1)).decode()
    path.write_text(f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigError, match=why):
        pki.certificates(tmp_path)
