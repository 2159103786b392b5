"""A node that speaks the events of a real one and computes nothing. For tests of the runner.

Called like `mdiqkd node ROLE --config FILE`. The environment variable FAKE_NODES, a JSON object,
says how a node misbehaves:

- "die:CODE": is ready, says why on both channels, and leaves with that code
- "mute": never becomes ready
- "wait": becomes ready, then does nothing
- "deaf": does its work, but does not heed SIGTERM
- "garbage": prints a line that is no event
- "abort": ends its blocks without a key
- "fail": gives every peer up
- "late:CODE": ends its blocks without a key, and at once leaves with that code
- "forge": does its work, but puts another key into its store
"""

import hashlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.commit import OFFERED, CommitRecord, Phase
from mdiqkd_net.runtime import config as configs
from mdiqkd_net.secret import SecretBuffer

SECRET_BITS = 2048
COUNTS = {"xx": 700, "zz": 90_000, "ox": 40, "xo": 41, "oy": 90, "yo": 95, "yy": 300, "oo": 0}
ERRORS = {"xx": 182, "zz": 900}


def main() -> None:
    role, config_path = sys.argv[1], Path(sys.argv[3])
    if role == "charles":
        config = configs.read(config_path, configs.CharlesConfig)
        address(config.device.light_listen)
    else:
        config = configs.read(config_path, configs.EndpointConfig)
    behavior = json.loads(os.environ.get("FAKE_NODES", "{}")).get(config.node, "")
    # At once: a machine under load takes long to take an interpreter down.
    signal.signal(signal.SIGTERM, lambda *_: None if behavior == "deaf" else os._exit(0))
    sys.stderr.write(f"{config.node} is a fake\n")
    if behavior != "mute":
        say(config.node, "ready", role=role, listen=address(config.listen))
        if behavior == "garbage":
            put("good morning")
        if behavior.startswith("die:"):
            sys.stderr.write("the sky fell\n")
            say(config.node, "error", message="no sky")
            sys.exit(int(behavior.removeprefix("die:")))
        if role == "charles":
            listen_to_users(config)
        elif behavior != "wait":
            await_light(config.relay.address)
            make_keys(config, behavior)
            if behavior.startswith("late:"):
                say(config.node, "error", message="too late")
                sys.exit(int(behavior.removeprefix("late:")))
    while True:
        signal.pause()


def put(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say(node: str, event: str, **fields: object) -> None:
    line = {"event": event, "node": node, "t_s": time.monotonic(), **fields}
    put(json.dumps(line))


def address(listen: str) -> str:
    """Where the inherited socket listens; fails if there is none."""
    descriptor = int(listen.removeprefix("fd://"))
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        host, port = listener.getsockname()
    return f"{host}:{port}"


def listen_to_users(config: configs.CharlesConfig) -> None:
    """Let the users go on only when all have come, and the light has passed."""
    descriptor = int(config.listen.removeprefix("fd://"))
    users = sorted(config.device.fibers)
    with socket.socket(fileno=descriptor) as listener:
        links = [listener.accept()[0] for _ in users]
    for i, low in enumerate(users):
        for high in users[i + 1 :]:
            pair = [low, high]
            say(config.node, "pair.started", users=pair, session="00", n_pulses=1000)
            say(config.node, "light.progress", users=pair, pulses=500, n_pulses=1000, announced=9)
            say(config.node, "pair.finished", users=pair, pulses=1000, announced=20, light_s=0.5)
    for link in links:
        link.close()


def await_light(relay: str) -> None:
    host, _, port = relay.rpartition(":")
    with socket.create_connection((host, int(port))) as link:
        link.recv(1)


def make_keys(config: configs.EndpointConfig, behavior: str) -> None:
    store = KeyStore.open(Path(config.store))
    for peer in config.peers:
        users = sorted([config.node, peer.node])
        for block in range(1, peer.blocks + 1):
            common = {"users": users, "block": block}
            say(config.node, "block.stage", **common, stage="sift")
            block_id = hashlib.sha256(f"{users} {block}".encode()).digest()[:16]
            result = {
                **common,
                "block_id": block_id.hex(),
                "pulses": peer.n_pulses,
                "n": COUNTS,
                "m": ERRORS,
                "qber_z": 0.01,
                "qber_x": 0.26,
                "s11_lower": 0.0123,
                "e11_upper": 0.15,
                "leak_ec_bits": 8500,
                "tag_failures": 0,
                "origin": "simulated",
                "bytes_relay": 5000,
                "bytes_peer": 3000,
                "bytes_light": 100,
                "seconds": {"sift": 0.25, "reconcile": 0.5},
            }
            if behavior == "fail":
                say(config.node, "pair.failed", users=users, reason="authentication failed")
                break
            if behavior == "abort" or behavior.startswith("late:"):
                say(config.node, "block.aborted", **result, secret_bits=0, reason="no light")
                continue
            seed = block_id + (b"forged" if behavior == "forge" else b"")
            value = SecretBuffer.copy_of(hashlib.shake_256(seed).digest(SECRET_BITS // 8))
            key = SecretKey(block_id=block_id, n_bits=SECRET_BITS, origin="simulated", value=value)
            meta = BlockMeta(
                block_id=block_id,
                pair=(users[0], users[1]),
                owner=config.node,
                peer=peer.node,
                block_no=block,
                origin="simulated",
                eps=1e-10,
                leak_model="fake",
            )
            record = CommitRecord(block_id, meta.role, Phase.PREPARED, key.n_bits)
            store.prepare(meta, key, record)
            store.settle(block_id, Phase.COMMITTED, b"")
            store.settle(block_id, OFFERED[meta.role], b"")
            say(config.node, "block.key", **result, secret_bits=SECRET_BITS)


if __name__ == "__main__":
    main()
