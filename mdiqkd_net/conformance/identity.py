"""Who the harness is: certificates of the network under test, and of nobody."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.keys.identity import URN_PREFIX
from mdiqkd_net.keys.pki import create_authority, issue
from mdiqkd_net.runtime.config import Tls
from mdiqkd_net.runtime.tls import contexts


@dataclass(frozen=True, slots=True)
class Identity:
    """A node that the harness plays: its id, and contexts to listen and to dial with."""

    node: str
    server: ssl.SSLContext
    client: ssl.SSLContext


def load(certificate: Path, authority: Path | None = None) -> Identity:
    """The identity of `NODE.pem`, with `NODE.key` and (unless told) `authority.pem` beside it.

    Raises:
        ConfigError: A file is missing or is not what it should be.
    """
    trusted = certificate.with_name("authority.pem") if authority is None else authority
    files = Tls(
        authority=str(trusted),
        certificate=str(certificate),
        private_key=str(certificate.with_suffix(".key")),
    )
    server, client = contexts(files, Path())
    return Identity(_node_of(certificate), server, client)


def stranger(directory: Path, node: str) -> Identity:
    """`node`, certified by an authority that nobody knows; its files go to `directory`.

    It believes every certificate that it is shown, for it is to be refused, not to refuse.
    """
    create_authority(directory)
    issue(directory, node)
    found = load(directory / f"{node}.pem")
    found.client.verify_mode = ssl.CERT_NONE
    return found


def without_certificate() -> ssl.SSLContext:
    """A context to dial with that shows no certificate, and believes any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def of_old(certificate: Path) -> ssl.SSLContext:
    """A context to dial with that knows TLS 1.2 alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def _node_of(path: Path) -> str:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    nodes = [uri.removeprefix(URN_PREFIX) for uri in uris if uri.startswith(URN_PREFIX)]
    if len(nodes) != 1:
        raise ConfigError(f"{path}: found {len(nodes)} names {URN_PREFIX}...; allowed: exactly one")
    return nodes[0]
