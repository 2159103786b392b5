import dataclasses
import uuid

import pytest

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys.records import key_id_of


def test_key_ids_are_uuids_of_version_8_with_a_known_answer():
    # Computed with `printf 'mdiqkd1 keyid...' | sha256sum`, then the two nibbles set by hand.
    known = key_id_of(bytes(range(16)), 1, 256)
    assert known == "22658083-46b3-837b-8569-5a821afc6e08"
    parsed = uuid.UUID(known)
    assert parsed.version == 8
    assert parsed.variant == uuid.RFC_4122


def test_key_ids_depend_on_block_index_and_size():
    ids = {
        key_id_of(bytes([b]) * 16, index, size)
        for b in range(3)
        for index in range(3)
        for size in (128, 256)
    }
    assert len(ids) == 18


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"block_id": bytes(15)}, "block_id: found 15 bytes"),
        ({"pair": ("bob", "alice")}, "pair: found"),
        ({"pair": ("alice", "alice")}, "pair: found"),
        ({"owner": "bob"}, "owner and peer: found 'bob' and 'bob'"),
        ({"peer": "carol"}, "owner and peer: found 'alice' and 'carol'"),
        ({"origin": "real"}, "origin: found 'real'"),
        ({"block_no": -1}, "block_no: found -1"),
        ({"block_no": 2**63}, "block_no: found"),
        ({"eps": float("nan")}, "eps: found nan"),
        ({"eps": 1.5}, "eps: found 1.5"),
    ],
)
def test_blocks_that_cannot_be_are_refused(change, found, block):
    with pytest.raises((KeyStoreError, ConfigError), match=found):
        dataclasses.replace(block()[0], **change)
