"""Where a node's configuration wants its blocks to ripen."""

import ssl
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.postprocessing.processor import HERE, Processor
from mdiqkd_net.runtime import tls
from mdiqkd_net.runtime.cluster import KEY, Cluster
from mdiqkd_net.runtime.config import EndpointConfig, Postprocessing, Tls


def processor_of(config: EndpointConfig, base: Path) -> AbstractContextManager[Processor]:
    """Where a user's blocks are reconciled and amplified; waits for a cluster to answer.

    Args:
        config: Of the user.
        base: Where relative paths begin.

    Raises:
        ConfigError: Files or addresses that cannot be used, or the extra `dask` is not installed.
        WorkerError: The cluster has no worker, or one that cannot do it.
    """
    if config.postprocessing is None:
        return nullcontext(HERE)
    cluster = Cluster(config.postprocessing, _security(config.postprocessing, config.tls, base))
    try:
        cluster.open()
    except BaseException:
        cluster.close()
        raise
    return closing(cluster)


def _security(config: Postprocessing, network: Tls, base: Path) -> Any:
    try:
        import distributed  # noqa: PLC0415  # an extra, and slow to import
    except ImportError:
        raise ConfigError(
            f"{KEY}: found no `distributed`; it comes with the extra `dask`: "
            "pip install 'mdiqkd-net[dask]'"
        ) from None
    if config.tls is None:
        return distributed.Security(require_encryption=False)
    tls.contexts(config.tls, base)  # says better than Dask what is wrong with a file
    _require_another(base / config.tls.authority, base / network.authority)
    return distributed.Security(
        require_encryption=True,
        tls_ca_file=str(base / config.tls.authority),
        tls_client_cert=str(base / config.tls.certificate),
        tls_client_key=str(base / config.tls.private_key),
        tls_min_version=ssl.TLSVersion.TLSv1_3,
    )


def _require_another(authority: Path, network: Path) -> None:
    if _public_keys(authority) & _public_keys(network):
        raise ConfigError(
            f"postprocessing.tls.authority: found the authority of the network, {authority}, who "
            "has signed for the relay, too; allowed: one of the cluster alone"
        )


def _public_keys(path: Path) -> set[bytes]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        raise ConfigError(f"{path}: not a PEM certificate") from None
    return {
        certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for certificate in found
    }
