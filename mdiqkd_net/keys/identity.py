"""Names of nodes, and how a certificate carries them."""

import re
from typing import Final

from mdiqkd_net.errors import ConfigError

NODE_PATTERN: Final = r"[a-z][a-z0-9_-]{0,31}"
URN_PREFIX: Final = "urn:mdiqkd:node:"


def check_node(node: str) -> str:
    """Return `node` if it is a node id.

    Raises:
        ConfigError: Otherwise.
    """
    if re.fullmatch(NODE_PATTERN, node) is None:
        raise ConfigError(
            f"node id: found {node!r}; allowed: a small letter, then up to 31 of a-z 0-9 _ -"
        )
    return node


def check_pair(a: str, b: str) -> tuple[str, str]:
    """Return two node ids in order, the lower one first.

    Raises:
        ConfigError: If one is not a node id, or both are the same.
    """
    if check_node(a) == check_node(b):
        raise ConfigError(f"pair: found {a!r} twice; allowed: two different nodes")
    return (a, b) if a < b else (b, a)


def node_urn(node: str) -> str:
    """The name of a node in the subjectAltName of its certificate."""
    return URN_PREFIX + node
