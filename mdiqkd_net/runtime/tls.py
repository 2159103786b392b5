"""TLS 1.3 with certificates on both sides, on every link.

It keeps outsiders away; the security of a key rests on the one-time tags (protocol/tags.py).
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from mdiqkd_net.errors import AuthenticationError, ConfigError
from mdiqkd_net.runtime.config import Tls
from mdiqkd_net.runtime.secure import SecureStream

URN: Final = "urn:mdiqkd:node:"


class Certificates:
    """The `Credentials` of a real node."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        self._server = server
        self._client = client

    async def secure(
        self, stream: trio.abc.Stream, *, server_side: bool
    ) -> tuple[SecureStream, str]:
        """TLS over a fresh connection; also the node id in the peer's certificate.

        Raises:
            trio.BrokenResourceError: No TLS, or a certificate is refused.
            AuthenticationError: The certificate names no node.
        """
        context = self._server if server_side else self._client
        channel = SecureStream(stream, context, server_side=server_side)
        await channel.do_handshake()
        return channel, certified_node(channel.certificate)


def contexts(tls: Tls, base: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts to listen and to dial with.

    Raises:
        ConfigError: A file is missing, or is not what it should be.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        _load(context, tls, base)
    server.num_tickets = 0
    # A node is who its certificate's URI says, wherever it listens; `certified_node` checks that.
    client.check_hostname = False
    client.verify_mode = ssl.CERT_REQUIRED
    return server, client


def _load(context: ssl.SSLContext, tls: Tls, base: Path) -> None:
    authority, certificate, key = (
        base / name for name in (tls.authority, tls.certificate, tls.private_key)
    )
    for path in (authority, certificate, key):
        if not path.is_file():
            raise ConfigError(f"tls: no file {path}; `mdiqkd pki` makes certificates")
    try:
        context.load_verify_locations(authority)
    except ssl.SSLError as error:
        raise ConfigError(f"{authority}: not a PEM certificate: {error.reason}") from None
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ConfigError(f"{certificate} with {key}: {error.reason or error}") from None


def certified_node(certificate: Mapping[str, Any] | None) -> str:
    """Node id in the peer's certificate, as `ssl` decodes it.

    Raises:
        AuthenticationError: It names no node, or several.
    """
    names = (certificate or {}).get("subjectAltName", ())
    nodes = [v.removeprefix(URN) for k, v in names if k == "URI" and v.startswith(URN)]
    if len(nodes) != 1:
        raise AuthenticationError(
            f"certificate: found {len(nodes)} names {URN}...; allowed: exactly one"
        )
    return str(nodes[0])
