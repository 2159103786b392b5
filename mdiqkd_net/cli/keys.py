"""Look at a node's key store, check its books and frozen designs, take keys, or give keys up.

A key is delivered once: what `take` prints is gone from the store before it is printed. The running
node has the peer set the same keys aside first; the peer then takes its copies with `--id`. Where
no node is running, keys are taken without asking the peer, which is safe as long as no store is put
back to an older state. Keys from simulated light are labelled, protect nothing, and are taken only
with --allow-simulated.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdiqkd_net.errors import ConfigError, KeyStoreError

if TYPE_CHECKING:
    from io import RawIOBase

    from mdiqkd_net.keys.records import BlockInfo, DeliveredKey
    from mdiqkd_net.keys.store import KeyStore

_STATUS_COLUMNS = (
    "peer", "origin", "available", "prepared", "delivered", "bits", "surplus_bits"
)  # fmt: skip
_STATES = ("prepared", "available", "reserved", "assigned", "delivered", "burned")
_LEDGER_COLUMNS = (
    "peer",
    "origin",
    "made",
    "prepared",
    "available",
    "reserved",
    "assigned",
    "delivered",
    "burned",
    "discarded",
    "surplus",
    "balances",
)
_DOUBT_COLUMNS = (
    "block_id", "peer", "block_no", "origin", "role", "phase", "free", "created_utc"
)  # fmt: skip
_FROZEN_COLUMNS = ("users", "block", "session", "design_sha256")
_LIST_COLUMNS = (
    "key_id",
    "peer",
    "origin",
    "state",
    "size_bits",
    "block_no",
    "index",
    "leak_model",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--store", type=Path, required=True, metavar="FILE", help="the store, as in the node's TOML"
    )
    common.add_argument("--peer", metavar="ID", help="the user who holds the same keys")
    common.add_argument("--json", action="store_true", help="print JSON")
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="status|list|ledger|take|doubts|burn|frozen"
    )
    actions.add_parser("status", parents=[common], help="how many keys there are, per peer")
    listing = actions.add_parser("list", parents=[common], help="the keys, without their values")
    listing.add_argument("--state", choices=_STATES)
    actions.add_parser(
        "ledger",
        parents=[common],
        help="where every bit of key has gone; exit code 1 if the books do not balance",
    )
    take = actions.add_parser("take", parents=[common], help="deliver keys; exit code 1 if none")
    what = take.add_mutually_exclusive_group()
    what.add_argument("--count", type=int, default=1, metavar="N", help="this many, or none")
    what.add_argument("--id", dest="key_id", metavar="UUID", help="the key of this name")
    take.add_argument(
        "--allow-simulated", action="store_true", help="also keys from simulated light"
    )
    take.add_argument(
        "--encoding", choices=("hex", "base64"), default="hex", help="how values are written"
    )
    take.add_argument(
        "--out", type=Path, metavar="FILE", help="write them to a new file with mode 0600"
    )
    actions.add_parser(
        "doubts", parents=[common], help="blocks whose commit waits for the peer's word"
    )
    burn = actions.add_parser("burn", parents=[common], help="erase the free keys of a block")
    burn.add_argument(
        "--block", required=True, metavar="HEX", help="as `doubts` or `list` names it"
    )
    burn.add_argument("--yes", action="store_true", help="do it; without, only say what it costs")
    frozen = actions.add_parser(
        "frozen",
        parents=[common],
        help="the design that each block was to be judged by, as it was stored before its light",
    )
    frozen.add_argument("--block", type=int, metavar="N", help="of this number alone")
    frozen.add_argument(
        "--design", type=Path, metavar="FILE", help="exit code 1 unless it is the design of all"
    )


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    from mdiqkd_net.keys.store import KeyStore
    from mdiqkd_net.secret import forbid_dumps

    if args.action == "frozen":
        return _frozen(args)
    if args.action == "take":
        forbid_dumps()
    # The ledger is there to be read when it does not balance, too.
    with KeyStore.open(args.store, create=False, audit=args.action != "ledger") as store:
        if args.action == "ledger":
            books = store.ledger(args.peer)
            _print_rows([asdict(row) for row in books], _LEDGER_COLUMNS, as_json=args.json)
            return 0 if all(row.balances for row in books) else 1
        if args.action == "status":
            rows = [asdict(row) for row in store.status() if args.peer in (None, row.peer)]
            _print_rows(rows, _STATUS_COLUMNS, as_json=args.json)
        elif args.action == "list":
            rows = [asdict(row) for row in store.keys(args.peer, args.state)]
            for row in rows:
                row["block_id"] = row["block_id"].hex()
            _print_rows(rows, _LIST_COLUMNS, as_json=args.json)
        elif args.action == "doubts":
            blocks = [asdict(block) for block in store.blocks() if block.in_doubt]
            found = [block for block in blocks if args.peer in (None, block["peer"])]
            _print_rows(found, _DOUBT_COLUMNS, as_json=args.json, nothing="no block is in doubt")
        elif args.action == "burn":
            _burn(store, args)
        else:
            _take(store, args)
    return 0


def _frozen(args: argparse.Namespace) -> int:
    import msgspec

    from mdiqkd_net.runtime.designs import frozen_designs, frozen_path, read_design

    rows = [
        msgspec.structs.asdict(line)
        for line in frozen_designs(frozen_path(args.store))
        if (args.peer is None or args.peer in line.users) and args.block in (None, line.block)
    ]
    columns: tuple[str, ...] = _FROZEN_COLUMNS
    if args.design is not None:
        digest = read_design(args.design).digest()
        columns = (*columns, "is_this_design")
        for row in rows:
            row["is_this_design"] = row["design_sha256"] == digest
    _print_rows(rows, columns, as_json=args.json, nothing="no such block was frozen")
    return int(args.design is not None and not (rows and all(r["is_this_design"] for r in rows)))


def _burn(store: "KeyStore", args: argparse.Namespace) -> None:
    from mdiqkd_net.keys.records import NoKeyError

    chosen = [
        block
        for block in store.blocks()
        if block.block_id == args.block.lower() and args.peer in (None, block.peer)
    ]
    if not chosen:
        raise NoKeyError(f"--block: found {args.block!r}; `mdiqkd keys doubts` names blocks")
    (block,) = chosen
    if not args.yes:
        raise ConfigError(_price(block))
    n_burned = store.burn(bytes.fromhex(block.block_id))
    row = {"block_id": block.block_id, "peer": block.peer, "burned": n_burned}
    _print_rows([row], ("block_id", "peer", "burned"), as_json=args.json)


def _price(block: "BlockInfo") -> str:
    doubt = (
        f"; {block.peer} may have settled the block already, and both settle it by themselves as "
        "soon as the nodes are connected"
        if block.in_doubt
        else ""
    )
    return (
        f"block {block.block_id} ({block.role}, {block.phase}): this erases {block.free} keys, "
        f"{block.free_bits} bits, for good, and makes the copies of {block.peer} useless: those "
        f"that {block.peer} hands out are refused and burned, and those taken there without "
        f"asking have no copy here{doubt}; nothing was burned, add --yes to do it"
    )


def _take(store: "KeyStore", args: argparse.Namespace) -> None:
    peer = args.peer or _only_peer(store, args.store)
    if args.out is None:
        keys = _delivered(store, peer, args)
        sys.stdout.flush()
        # Beneath the buffers of Python, which would keep what passes through them.
        stdout: Any = sys.stdout.buffer
        _write(getattr(stdout, "raw", stdout), keys, args)
        return
    with _new_file(args.out) as stream:
        keys = _delivered(store, peer, args)
        try:
            _write(stream, keys, args)
            os.fsync(stream.fileno())
        except OSError as error:
            raise KeyStoreError(
                f"{args.out}: {error.strerror}; {len(keys)} keys were delivered and are lost"
            ) from None
    rows = [{"key_id": key.key_id, "origin": key.origin} for key in keys]
    _print_rows(rows, ("key_id", "origin"), as_json=args.json)


def _delivered(store: "KeyStore", peer: str, args: argparse.Namespace) -> list["DeliveredKey"]:
    if args.key_id is not None:
        return [store.take(peer, key_id=args.key_id, allow_simulated=args.allow_simulated)]
    from mdiqkd_net.keys.asking import NoNodeError, take_new

    try:
        return take_new(store, args.store, peer, args.count, allow_simulated=args.allow_simulated)
    except NoNodeError:
        sys.stderr.write(
            f"no node is running on this store: {peer} is not asked, which is safe as long as "
            "neither store is put back to an older state\n"
        )
    return store.take_unagreed(peer, args.count, allow_simulated=args.allow_simulated)


def _only_peer(store: "KeyStore", path: Path) -> str:
    from mdiqkd_net.keys.records import NoKeyError

    peers = sorted({row.peer for row in store.status()})
    if not peers:
        raise NoKeyError(f"{path}: no keys yet")
    if len(peers) > 1:
        raise ConfigError(f"--peer: found none; allowed: {', '.join(peers)}")
    return peers[0]


def _write(stream: "RawIOBase", keys: list["DeliveredKey"], args: argparse.Namespace) -> None:
    """Write keys with their values, which exist as text in one buffer only, and wipe both."""
    from mdiqkd_net.keys.files import write_all
    from mdiqkd_net.keys.text import ENCODINGS
    from mdiqkd_net.secret import SecretBuffer

    encoding = ENCODINGS[args.encoding]
    around = [part.encode() for part in (_around_json if args.json else _around)(keys)]
    sizes = [encoding.size(len(key.value)) for key in keys]
    with SecretBuffer(sum(sizes) + sum(map(len, around))) as text:
        at = len(around[0])
        text.view[:at] = around[0]
        for key, size, behind in zip(keys, sizes, around[1:], strict=True):
            with key.value:
                encoding.write(key.value.view, text.view[at : at + size])
            text.view[at + size : at + size + len(behind)] = behind
            at += size + len(behind)
        write_all(stream, text.view)


def _around(keys: list["DeliveredKey"]) -> list[str]:
    """What stands before, between and behind the values."""
    first, *others = (f"{key.key_id} {key.origin} " for key in keys)
    return [first, *("\n" + other for other in others), "\n"]


def _around_json(keys: list["DeliveredKey"]) -> list[str]:
    """The same in JSON, where values come last."""
    from mdiqkd_net.keys.records import DeliveredKey

    names = [field.name for field in fields(DeliveredKey) if field.name != "value"]
    rows = [{**{name: getattr(key, name) for name in names}, "value": ""} for key in keys]
    # A quotation mark inside of a string would be escaped, so this is found nowhere else.
    first, *others, last = json.dumps(rows, indent=2).split('"value": ""')
    between = ['"' + other + '"value": "' for other in others]
    return [first + '"value": "', *between, '"' + last + "\n"]


@contextmanager
def _new_file(path: Path) -> Iterator["RawIOBase"]:
    """A new private file; removed again if nothing came to be written into it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path}: exists already, and nothing is overwritten") from None
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            yield stream
    except BaseException:
        if path.stat().st_size == 0:
            path.unlink()
        raise


def _print_rows(
    rows: list[dict[str, Any]],
    columns: tuple[str, ...],
    *,
    as_json: bool,
    nothing: str = "no keys",
) -> None:
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    if not rows:
        sys.stderr.write(f"{nothing}\n")
        return
    table = [columns, *(tuple(_cell(row[name]) for name in columns) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(value)
    return str(value)
