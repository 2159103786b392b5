"""What memory for secrets costs, against what a key goes through anyway; CPU time, best of some.

Run with -s for the figures.
"""

import time
from collections.abc import Callable

from commits import agree, offer, prepare

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.secret import SecretBuffer

N_KEYS = 512


def cpu_us(task: Callable[[], object]) -> float:
    """Of one of `N_KEYS` calls, at best."""
    times = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(N_KEYS):
            task()
        times.append(time.process_time() - start)
    return min(times) / N_KEYS * 1e6


def use_buffer() -> None:
    with SecretBuffer(32) as buffer:
        buffer.view[0] = 1


def test_a_buffer_costs_little_beside_the_delivery_of_its_key(tmp_path):
    meta = BlockMeta(
        block_id=bytes(16),
        pair=("alice", "bob"),
        owner="alice",
        peer="bob",
        block_no=1,
        origin="measured",
        eps=1e-10,
        leak_model="none",
    )
    n_keys = 10 * N_KEYS  # half of them are ours
    value = SecretBuffer.random(32 * n_keys)
    with KeyStore.open(tmp_path / "a.db") as store:
        prepare(store, meta, SecretKey(meta.block_id, 256 * n_keys, "measured", value))
        offer(store, meta.block_id)
        agree(store, "bob")
        take = cpu_us(lambda: store.take("bob"))
    buffer = cpu_us(use_buffer)
    print(f"\na buffer {buffer:.1f} us, a delivery {take:.0f} us: {buffer / take:.3f}")  # noqa: T201
    assert buffer < 0.1 * take
