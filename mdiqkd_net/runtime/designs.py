"""Designs of the certificate on disk: read before a block, digests stored before its light."""

import json
import os
from pathlib import Path

from msgspec import structs

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.certificate.check import check_design
from mdiqkd_net.estimation.certificate.design import Design, parse_design
from mdiqkd_net.estimation.certificate.scope import outside
from mdiqkd_net.protocol.effects import Freeze
from mdiqkd_net.protocol.light import source_of, source_settings
from mdiqkd_net.runtime.config import EndpointConfig, Peer


def read_design(path: Path) -> Design:
    """Read a file that holds the canonical encoding of a design and nothing else.

    Raises:
        ConfigError: It cannot be read, holds something else, or fails the checker.
    """
    try:
        design = parse_design(path.read_bytes())
        check_design(design.canonical())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return design


def analysis_of(config: EndpointConfig, peer: Peer, base: Path) -> Analysis:
    """How the blocks with a peer are judged, with the design if the method asks for one.

    Raises:
        ConfigError: There is a design that does not fit, or one too many, or none.
    """
    chosen = Analysis(method=config.estimation.method, tail=config.estimation.tail)
    key = f"peers.{peer.node}.design"
    if not chosen.rules.frozen:
        if peer.design is not None:
            raise ConfigError(
                f"{key}: found one with estimation.method {chosen.method}; "
                "allowed: with certificate"
            )
        return chosen
    if peer.design is None:
        raise ConfigError(f"{key}: key is missing; the method {chosen.method} asks for a design")
    design = read_design(base / peer.design)
    if design.eps_sec != config.security.eps_sec:
        raise ConfigError(
            f"{key}: found a design for eps_sec {design.eps_sec:g}; "
            f"allowed: one for {config.security.eps_sec:g}"
        )
    ours = design.alice if config.node < peer.node else design.bob
    if why := outside(ours, source_of(source_settings(config.source))):
        raise ConfigError(f"{key}: our own {why}")
    return structs.replace(chosen, design=design, digest=design.digest())


def frozen_path(store: Path) -> Path:
    """Where a node keeps the digests of its blocks: beside its key store."""
    return store.with_name(store.name + ".frozen.jsonl")


def store_digest(path: Path, effect: Freeze) -> None:
    """Append what was frozen, and return once it is on disk.

    Raises:
        KeyStoreError: It cannot be written.
    """
    line = {
        "users": list(effect.users),
        "block": effect.block,
        "session": effect.session.hex(),
        "design_sha256": effect.digest,
    }
    try:
        with path.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}") from None
