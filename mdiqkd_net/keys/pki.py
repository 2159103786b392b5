"""Certificates of one network: an authority of its own, and a key pair per node.

Keys are ECDSA on P-256, which every TLS 1.3 implementation must support (RFC 8446, 9.1). The
certificates follow the profile of RFC 5280, so that strict verification accepts them. They guard
the transport against outsiders; the security claim of a key rests on the one-time pads instead.
"""

import datetime
import ipaddress
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.keys.files import (
    PRIVATE,
    PUBLIC,
    NewFile,
    check_private,
    create_together,
    make_directory,
    refuse_existing,
)
from mdiqkd_net.keys.identity import URN_PREFIX, check_node, node_urn

AUTHORITY: Final = "authority"
AUTHORITY_DAYS: Final = 3650
NODE_DAYS: Final = 730
MAX_DAYS: Final = 36500
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1")
CLOCK_SKEW: Final = datetime.timedelta(days=1)
"""Certificates begin this much earlier, because clocks of sites differ."""

_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """One certificate of a directory, for people.

    Attributes:
        node: Its node id; None for the authority.
        spki_sha256: SHA-256 of the public key (SubjectPublicKeyInfo), hex, for pinning.
        problems: What an operator should mend; empty if all is well.
    """

    path: Path
    node: str | None
    serial: str
    not_before_utc: datetime.datetime
    not_after_utc: datetime.datetime
    hosts: tuple[str, ...]
    spki_sha256: str
    problems: tuple[str, ...]


def create_authority(directory: Path, *, validity_days: int = AUTHORITY_DAYS) -> None:
    """Make `authority.pem` and `authority.key` (mode 0600) in `directory`.

    Raises:
        ConfigError: If one of the files exists, or the validity is out of range.
        KeyStoreError: If the disk refuses.
    """
    not_before, not_after = _validity(validity_days)
    make_directory(directory)
    refuse_existing([directory / f"{AUTHORITY}.key", directory / f"{AUTHORITY}.pem"])
    private_key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Two networks must not have authorities of the same name, or their chains would be confused.
    name = _name(f"mdiqkd authority {serial & 0xFFFFFFFF:08x}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(private_key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(private_key, hashes.SHA256())
    )
    _write(directory, AUTHORITY, private_key, certificate)


def issue(
    directory: Path,
    node: str,
    hosts: Sequence[str] = LOCAL_HOSTS,
    *,
    validity_days: int = NODE_DAYS,
) -> None:
    """Make `NODE.pem` and `NODE.key` (mode 0600), signed by the authority in `directory`.

    The subjectAltName carries `urn:mdiqkd:node:NODE` and the hosts. A certificate never outlives
    its authority, whatever `validity_days` says.

    Args:
        directory: Where the authority is and the new files go.
        node: Node id; "authority" is taken.
        hosts: DNS names and IP addresses under which the node is dialed.
        validity_days: From now.

    Raises:
        ConfigError: If an argument or the authority cannot be used, or a file exists.
        KeyStoreError: If the disk refuses, or the key of the authority is open to others.
    """
    names = check_issue([node], hosts, validity_days)
    not_before, not_after = _validity(validity_days)
    authority, authority_key = _load_authority(directory)
    now = datetime.datetime.now(datetime.UTC)
    if authority.not_valid_after_utc <= now:
        raise ConfigError(
            f"{directory / AUTHORITY}.pem: expired on {authority.not_valid_after_utc:%Y-%m-%d}; "
            "make a new network"
        )
    refuse_existing([directory / f"{node}.key", directory / f"{node}.pem"])
    issuer_identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    private_key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(f"mdiqkd node {node}"))
        .issuer_name(authority.subject)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(not_before, authority.not_valid_before_utc))
        .not_valid_after(min(not_after, authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            # Every node both dials and listens somewhere.
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(node_urn(node)), *names]),
            critical=False,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(private_key.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier.value),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    _write(directory, node, private_key, certificate)


def check_issue(
    nodes: Sequence[str], hosts: Sequence[str], validity_days: int
) -> list[x509.GeneralName]:
    """Return the names of `hosts` as a certificate carries them, if `issue` can use all this.

    Raises:
        ConfigError: Otherwise.
    """
    for node in nodes:
        if check_node(node) == AUTHORITY:
            raise ConfigError(f"node id: found {node!r}, which names the authority's own files")
    _validity(validity_days)
    return [_host(host) for host in hosts]


def certificates(directory: Path) -> list[CertificateInfo]:
    """What the certificates in a directory say, the authority first, then by node id.

    Raises:
        ConfigError: If there is no authority, or a file is no certificate.
    """
    authority = _load_certificate(directory / f"{AUTHORITY}.pem")
    now = datetime.datetime.now(datetime.UTC)
    rows = [_row(path, authority, now) for path in sorted(directory.glob("*.pem"))]
    return sorted(rows, key=lambda row: (row.node is not None, row.node or ""))


def _row(path: Path, authority: x509.Certificate, now: datetime.datetime) -> CertificateInfo:
    try:
        return _describe(path, _load_certificate(path), authority, now)
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        # Its parts are read only when they are asked for.
        raise ConfigError(f"{path}: a certificate that cannot be read: {error}") from None


def _describe(
    path: Path, certificate: x509.Certificate, authority: x509.Certificate, now: datetime.datetime
) -> CertificateInfo:
    problems = _key_problems(path.with_suffix(".key"), certificate)
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        problems.append("not signed by this authority")
    if certificate.not_valid_after_utc <= now:
        problems.append("expired")
    node, hosts = None, []
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    for name in names:
        if not isinstance(name, x509.UniformResourceIdentifier):
            hosts.append(str(name.value))
        elif name.value.startswith(URN_PREFIX):
            node = name.value.removeprefix(URN_PREFIX)
    if node is None and path.stem != AUTHORITY:
        problems.append("names no node")
    public_key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public_key)
    return CertificateInfo(
        path=path,
        node=node,
        serial=f"{certificate.serial_number:x}",
        not_before_utc=certificate.not_valid_before_utc,
        not_after_utc=certificate.not_valid_after_utc,
        hosts=tuple(hosts),
        spki_sha256=digest.finalize().hex(),
        problems=tuple(problems),
    )


def _key_problems(path: Path, certificate: x509.Certificate) -> list[str]:
    """What is wrong with a private key. A key that is elsewhere, as it should be, is no problem."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        private_key = _load_key(path)
    except FileNotFoundError:
        return []
    except (ConfigError, OSError):
        return [f"{path.name} cannot be read"]
    problems = []
    if mode & 0o077:
        problems.append(f"{path.name} has mode {mode:04o}; chmod 600")
    if private_key.public_key() != certificate.public_key():
        problems.append(f"{path.name} belongs to another certificate")
    return problems


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _validity(days: int) -> tuple[datetime.datetime, datetime.datetime]:
    if not 1 <= days <= MAX_DAYS:
        raise ConfigError(f"validity: found {days} days; allowed: 1 to {MAX_DAYS}")
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return now - CLOCK_SKEW, now + datetime.timedelta(days=days)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    # A name that ends in a number is a mistyped address, never a host (RFC 1123, 2.1).
    labels = host.split(".")
    if (
        len(host) > 253
        or labels[-1].isdigit()
        or not all(re.fullmatch(_LABEL, label) for label in labels)
    ):
        raise ConfigError(
            f"host: found {host!r}; allowed: a DNS name or an IP address, without a port"
        )
    return x509.DNSName(host)


def _load_authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate = _load_certificate(directory / f"{AUTHORITY}.pem")
    key_path = directory / f"{AUTHORITY}.key"
    try:
        check_private(key_path.stat(), key_path)
        private_key = _load_key(key_path)
    except OSError as error:
        raise ConfigError(f"{key_path}: {error.strerror}; only its holder can issue") from None
    if private_key.public_key() != certificate.public_key():
        raise ConfigError(f"{key_path}: belongs to another certificate than {AUTHORITY}.pem")
    return certificate, private_key


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; `mdiqkd pki new-network` makes an authority"
        ) from None
    except (ValueError, x509.InvalidVersion):
        raise ConfigError(f"{path}: no certificate in PEM format") from None


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Load a P-256 private key. Raises ConfigError, or OSError if it cannot be read."""
    try:
        private_key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{path}: no unencrypted private key in PEM format") from None
    if not isinstance(private_key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path}: found {type(private_key).__name__}; allowed: ECDSA keys")
    return private_key


def _write(
    directory: Path,
    stem: str,
    private_key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
) -> None:
    key_pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    create_together(
        [
            NewFile(directory / f"{stem}.key", PRIVATE, key_pem),
            NewFile(
                directory / f"{stem}.pem",
                PUBLIC,
                certificate.public_bytes(serialization.Encoding.PEM),
            ),
        ]
    )
