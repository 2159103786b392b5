"""Designs of the certificate on disk: read before a block, digests stored before its light."""

import os
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import msgspec
from msgspec import Meta, Struct, structs

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.certificate.check import check_design
from mdiqkd_net.estimation.certificate.design import Design, parse_design
from mdiqkd_net.estimation.certificate.scope import outside
from mdiqkd_net.keys.files import sync_directory
from mdiqkd_net.protocol.effects import Freeze
from mdiqkd_net.protocol.light import source_of, source_settings
from mdiqkd_net.runtime.config import EndpointConfig, NodeId, Peer

MAX_LINE_BYTES: Final = 4096
"""More than a line of the frozen designs has."""


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


class Frozen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of that file: the design by which a block is judged, stored before its light.

    Attributes:
        users: Lower id first.
        block: Its number.
        session: The relay's number of the session, in hex.
        design_sha256: Digest of the design.
    """

    users: tuple[NodeId, NodeId]
    block: Annotated[int, Meta(ge=0)]
    session: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    design_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


def frozen_designs(path: Path) -> list[Frozen]:
    """Everything that was frozen at a node, oldest first; nothing if the file is not there.

    A last line without an end was torn by a crash before the light of its block, which has never
    come: it is left out.

    Raises:
        KeyStoreError: The file cannot be read, or is damaged.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(msgspec.json.decode(line, type=Frozen))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise KeyStoreError(f"{path}: damaged in line {number}: {error}") from None
    return found


def store_digest(path: Path, effect: Freeze) -> None:
    """Append what was frozen, and return once it is on disk.

    Raises:
        KeyStoreError: It cannot be written.
    """
    line = Frozen(
        users=effect.users,
        block=effect.block,
        session=effect.session.hex(),
        design_sha256=effect.digest,
    )
    try:
        with path.open("a+b") as file:
            is_new = file.tell() == 0
            _cut_torn_line(file)
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_directory(path.parent)
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}") from None


def _cut_torn_line(file: BinaryIO) -> None:
    """Remove what a crash has left of a line, so that the next one stands for itself."""
    file.seek(max(0, file.tell() - MAX_LINE_BYTES))
    rest = file.read()
    torn = len(rest) - (rest.rfind(b"\n") + 1)
    if torn:
        file.truncate(file.tell() - torn)
