import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mdiqkd_net.keys.store import KeyStore

TAKER = """
import os, sys
from pathlib import Path
from mdiqkd_net.keys.records import NoKeyError
from mdiqkd_net.keys.store import KeyStore
store = KeyStore.open(Path(sys.argv[1]))
try:
    while True:
        key = store.take("bob")
        os.write(1, f"{key.key_id} {key.value.view.hex()}\\n".encode())
except NoKeyError:
    store.close()
"""


def taker(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", TAKER, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_a_crash_after_delivery_loses_the_key_and_never_delivers_it_again(path, fill):
    """The value is dropped, as if the process had died between the commit and the return."""
    first = KeyStore.open(path)
    value = fill(first, agreed=True)
    first.take("bob")
    second = KeyStore.open(path)  # the first one is still open: nothing was closed in order
    assert second.take("bob").value == value[64:96]  # the owner has even numbers
    second.close()
    first.close()


def test_death_before_the_commit_delivers_nothing(path, monkeypatch, fill):
    store = KeyStore.open(path)
    value = fill(store, agreed=True)

    class Death(BaseException):
        pass

    def die():
        raise Death

    with monkeypatch.context() as dying:
        dying.setattr("mdiqkd_net.keys.contents.utc_now", die)
        with pytest.raises(Death):
            store.take("bob")
    assert store.take("bob").value == value[:32]
    store.close()


def test_two_processes_never_get_the_same_key(path, fill):
    with KeyStore.open(path) as store:
        fill(store, n_bits=800 * 256, agreed=True)
        rows = store.keys()
        everything = {row.key_id for row in rows if row.index % 2 == 0}
    with taker(path) as one, taker(path) as other:
        outputs = [process.communicate() for process in (one, other)]
    assert [process.returncode for process in (one, other)] == [0, 0], outputs
    names = [line.split()[0].decode() for out, _ in outputs for line in out.splitlines()]
    assert len(names) == len(set(names)) == 400
    assert set(names) == everything


def test_a_killed_process_leaves_no_key_to_deliver_again(path, fill):
    with KeyStore.open(path) as store:
        fill(store, n_bits=6000 * 256, agreed=True)
    with taker(path) as process:
        lines = [process.stdout.readline() for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate()
    seen = {line.split()[0].decode() for line in [*lines, *out.splitlines()]}
    assert 20 <= len(seen) < 3000
    with KeyStore.open(path) as store:
        again = {key.key_id for key in store.take_many("bob", 3000 - store.status()[0].delivered)}
    assert not seen & again
    assert len(seen | again) >= 2999  # at most the one that was under way is lost


def test_threads_share_a_store(store, fill):
    fill(store, n_bits=400 * 256, agreed=True)
    taken, lock = [], threading.Lock()

    def work():
        for _ in range(50):
            key = store.take("bob")
            with lock:
                taken.append(key.key_id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 200
