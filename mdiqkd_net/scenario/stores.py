"""Do both users of a pair hold the same keys? Answered without looking at a key."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.scenario.topology import UserPair


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two stores hold of a pair: how many keys (the fewer), and whether they are the same."""

    n_keys: int
    equal: bool

    @property
    def match(self) -> bool:
        """Whether there are keys, and the same in both."""
        return self.equal and self.n_keys > 0


def compare(stores: Mapping[UserPair, tuple[Path, Path]]) -> dict[UserPair, Comparison]:
    """Compare the two stores of each pair, the lower id's first.

    Keys are compared by fingerprints under a fresh random salt, so that nothing that is left in
    memory or printed by mistake would help to guess one.

    Raises:
        KeyStoreError: A store is missing or damaged.
    """
    salt = os.urandom(16)
    result = {}
    for (low, high), (low_path, high_path) in stores.items():
        with ExitStack() as stack:
            of_low = stack.enter_context(KeyStore.open(low_path, create=False))
            of_high = stack.enter_context(KeyStore.open(high_path, create=False))
            result[low, high] = compared(
                of_low.fingerprints(high, salt), of_high.fingerprints(low, salt)
            )
    return result


def compared(low: Mapping[str, str], high: Mapping[str, str]) -> Comparison:
    """Compare two sets of fingerprints by key id."""
    return Comparison(n_keys=min(len(low), len(high)), equal=dict(low) == dict(high))
