"""A node's counter on a key store, whose peers agree to everything."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio

from mdiqkd_net.keys.asking import AwayError, socket_path
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.protocol.effects import HandStep
from mdiqkd_net.runtime.counter import serve
from mdiqkd_net.runtime.sockets import listen_local


class AgreeingClerk:
    """Sets keys aside as if the peer had done so, too."""

    def __init__(self, path: Path, peer: str) -> None:
        self.path, self.peer = path, peer
        self.n_agreed = 0
        self.away = False

    async def agree(self, n_keys: int, *, allow_simulated: bool) -> None:
        if self.away:
            raise AwayError(f"{self.peer} is not connected")
        with KeyStore.open(self.path, create=False) as store:
            keys = store.choose(self.peer, n_keys, allow_simulated=allow_simulated)
            self.n_agreed += 1
            request = self.n_agreed.to_bytes(16, "big")
            store.hand(self.peer, HandStep.RESERVE, request, keys)
            store.hand(self.peer, HandStep.AGREE, request, keys)


@contextmanager
def node_on(path: Path, *peers: str) -> Iterator[dict[str, AgreeingClerk]]:
    """Answer at the socket beside a store, from a thread of its own."""
    clerks = {peer: AgreeingClerk(path, peer) for peer in peers}
    listening = threading.Event()
    stop: list[partial[None]] = []

    async def work() -> None:
        listener = await listen_local(socket_path(path))
        with trio.CancelScope() as scope:
            token = trio.lowlevel.current_trio_token()
            stop.append(partial(token.run_sync_soon, scope.cancel))
            listening.set()
            await serve(listener, clerks)

    thread = threading.Thread(target=trio.run, args=(work,))
    thread.start()
    assert listening.wait(10)
    try:
        yield clerks
    finally:
        stop[0]()
        thread.join()
