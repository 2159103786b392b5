import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdiqkd_net.errors import AuthenticationError, ConfigError, KeyStoreError
from mdiqkd_net.keys import pad_layout, pads
from mdiqkd_net.keys.pad_layout import PAD_BYTES
from mdiqkd_net.keys.pads import PadFile, create_pads

PAGE = 4096


@pytest.fixture
def files(tmp_path):
    return create_pads(tmp_path, "bob", "alice", n_pads=8)


@pytest.fixture
def bobs(files):
    with PadFile.open(files[0], "bob", "alice", leased=False) as opened:
        yield opened


@pytest.fixture
def alices(files):
    with PadFile.open(files[1], "alice", "bob", leased=False) as opened:
        yield opened


def test_there_is_one_private_file_per_user(tmp_path, files):
    assert [path.name for path in files] == ["alice--bob.bob.pads", "alice--bob.alice.pads"]
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size == PAGE + 2 * 8 * PAD_BYTES
    assert files[0] == pads.pad_path(tmp_path, "bob", "alice", "bob")


def test_what_one_sends_the_other_receives(alices, bobs):
    assert alices.pool_id == bobs.pool_id
    assert alices.send_keys == bobs.receive_keys
    assert bobs.send_keys == alices.receive_keys
    assert len({bytes(key) for key in alices.send_keys + alices.receive_keys}) == 4
    seen = set()
    for sender, receiver in ((alices, bobs), (bobs, alices)):
        for expected in range(8):
            index, pad = sender.take_send()
            assert index == expected
            assert receiver.take_receive(index) == pad
            assert len(pad) == PAD_BYTES
            seen.add(bytes(pad))
    assert len(seen) == 16


def test_the_counters_count(alices):
    assert (alices.remaining_send, alices.remaining_receive) == (8, 8)
    alices.take_send()
    alices.take_send()
    alices.take_receive(5)
    assert (alices.remaining_send, alices.remaining_receive) == (6, 7)


def test_no_pad_is_accepted_twice(alices, bobs):
    index, _ = bobs.take_send()
    alices.take_receive(index)
    with pytest.raises(AuthenticationError, match=r"^authentication failed$"):
        alices.take_receive(index)
    assert alices.remaining_receive == 7


@pytest.mark.parametrize("index", [-1, 8, 2**64])
def test_pads_out_of_range_are_refused_without_a_reason(alices, index):
    with pytest.raises(AuthenticationError, match=r"^authentication failed$"):
        alices.take_receive(index)


def test_pads_may_be_accepted_in_any_order(alices, bobs):
    sent = dict(bobs.take_send() for _ in range(8))
    for index in (3, 7, 0, 1):
        assert alices.take_receive(index) == sent[index]


def test_exhaustion_says_how_to_make_new_ones(alices):
    for _ in range(8):
        alices.take_send()
    assert alices.remaining_send == 0
    with pytest.raises(KeyStoreError, match="mdiqkd pki new-pads alice bob"):
        alices.take_send()
    alices.take_receive(0)  # the other direction has its own pads


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(st.just("send"), st.just("reopen"), st.integers(0, 7))))
def test_no_history_of_restarts_hands_out_a_pad_twice(tmp_path, steps):
    for path in tmp_path.glob("*.pads"):
        path.unlink()
    path, _ = create_pads(tmp_path, "alice", "bob", n_pads=8)
    opened = PadFile.open(path, "alice", "bob", leased=False)
    sent, received, seen = [], set(), []
    try:
        for step in steps:
            if step == "reopen":
                opened.close()
                opened = PadFile.open(path, "alice", "bob", leased=False)
            elif step == "send":
                if len(sent) == 8:
                    with pytest.raises(KeyStoreError):
                        opened.take_send()
                    continue
                index, pad = opened.take_send()
                sent.append(index)
                seen.append(bytes(pad))
            elif step in received:
                with pytest.raises(AuthenticationError):
                    opened.take_receive(step)
            else:
                received.add(step)
                seen.append(bytes(opened.take_receive(step)))
            assert (opened.remaining_send, opened.remaining_receive) == (
                8 - len(sent),
                8 - len(received),
            )
    finally:
        opened.close()
    assert sent == list(range(len(sent)))
    assert len(set(seen)) == len(seen)


def test_a_pad_is_zero_on_disk_before_the_sync_and_synced_before_it_leaves(
    files, alices, monkeypatch
):
    events = []
    sync = os.fsync

    def watch(descriptor):
        events.append(files[1].read_bytes()[PAGE : PAGE + 2 * PAD_BYTES])
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    before = files[1].read_bytes()[PAGE : PAGE + 2 * PAD_BYTES]
    index, pad = alices.take_send()
    assert index == 0
    assert pad == before[:PAD_BYTES]
    assert events == [bytes(PAD_BYTES) + before[PAD_BYTES:]]


@pytest.mark.parametrize("take", ["take_send", "take_receive"])
def test_death_between_burning_and_returning_loses_the_pad(files, monkeypatch, take):
    class Death(BaseException):
        pass

    def die(descriptor):
        raise Death

    opened = PadFile.open(files[1], "alice", "bob", leased=False)
    with monkeypatch.context() as dying:
        dying.setattr(os, "fsync", die)
        with pytest.raises(Death):
            opened.take_send() if take == "take_send" else opened.take_receive(0)
    opened.close()
    with PadFile.open(files[1], "alice", "bob", leased=False) as again:
        if take == "take_send":
            assert again.take_send()[0] == 1
        else:
            with pytest.raises(AuthenticationError):
                again.take_receive(0)


TAKER = """
import os, sys
from pathlib import Path
from mdiqkd_net.keys.pads import PadFile
opened = PadFile.open(Path(sys.argv[1]), "alice", "bob", leased=False)
while True:
    index, pad = opened.take_send()
    os.write(1, f"{index} {pad.hex()}\\n".encode())
"""


def test_a_killed_process_leaves_no_pad_to_use_again(tmp_path):
    path, _ = create_pads(tmp_path, "alice", "bob", n_pads=2**16)
    seen: dict[int, str] = {}
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", TAKER, path], stdout=subprocess.PIPE) as taker:
            first = [taker.stdout.readline() for _ in range(20)]
            taker.send_signal(signal.SIGKILL)
            lines = [*first, *taker.stdout.read().splitlines()]
        for line in lines:
            index, pad = line.split()
            assert int(index) not in seen
            assert pad not in seen.values()
            assert any(bytes.fromhex(pad.decode()))
            seen[int(index)] = pad
    with PadFile.open(path, "alice", "bob", leased=False) as opened:
        assert opened.take_send()[0] > max(seen)


def test_a_disk_error_burns_the_trust_in_the_file_not_the_secret(files, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    with PadFile.open(files[1], "alice", "bob", leased=False) as opened:
        with monkeypatch.context() as failing:
            failing.setattr(os, "fsync", fail)
            with pytest.raises(KeyStoreError, match=r"alice\.pads: .*Input/output error"):
                opened.take_send()
        for take in (opened.take_send, lambda: opened.take_receive(0), lambda: opened.send_keys):
            with pytest.raises(KeyStoreError, match="restart after mending the disk"):
                take()
    with PadFile.open(files[1], "alice", "bob", leased=False) as opened:
        assert opened.take_send()[0] == 1


def test_a_short_write_is_a_disk_error(files, monkeypatch):
    with PadFile.open(files[1], "alice", "bob", leased=False) as opened:
        monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: 3)
        with pytest.raises(KeyStoreError, match="short write"):
            opened.take_send()


def test_pads_of_zeros_count_as_burnt(files):
    with files[1].open("r+b") as stream:
        stream.seek(PAGE + 2 * PAD_BYTES)
        stream.write(bytes(PAD_BYTES))  # pad 2 that Alice sends
        stream.seek(PAGE + (8 + 4) * PAD_BYTES)
        stream.write(bytes(PAD_BYTES))  # pad 4 that she receives
    with PadFile.open(files[1], "alice", "bob", leased=False) as opened:
        assert (opened.remaining_send, opened.remaining_receive) == (5, 7)
        assert opened.take_send()[0] == 3
        with pytest.raises(AuthenticationError):
            opened.take_receive(4)
        opened.take_receive(3)


@pytest.mark.parametrize("half", [0, 8])
def test_a_pad_with_one_half_of_zeros_is_a_pad(files, half):
    with files[1].open("r+b") as stream:
        stream.seek(PAGE + half)
        stream.write(bytes(8))
    with PadFile.open(files[1], "alice", "bob", leased=False) as opened:
        assert opened.take_send()[0] == 0


def test_only_one_process_may_use_a_file(files, alices):
    with pytest.raises(KeyStoreError, match="in use by another process"):
        PadFile.open(files[1], "alice", "bob", leased=False)
    alices.close()
    PadFile.open(files[1], "alice", "bob", leased=False).close()


def test_the_wrong_owner_or_peer_is_told_whose_pads_these_are(files):
    for owner, peer in (("bob", "alice"), ("alice", "carol"), ("carol", "bob")):
        with pytest.raises(KeyStoreError, match=r"found the pads of 'alice' for 'bob'; allowed"):
            PadFile.open(files[1], owner, peer, leased=False)


def test_a_readable_file_is_refused(files):
    files[1].chmod(0o644)
    with pytest.raises(KeyStoreError, match="found mode 0644"):
        PadFile.open(files[1], "alice", "bob", leased=False)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(KeyStoreError, match=r"nothing\.pads: No such file"):
        PadFile.open(tmp_path / "nothing.pads", "alice", "bob", leased=False)
    with pytest.raises(KeyStoreError, match=r"nothing\.pads: No such file"):
        pads.describe(tmp_path / "nothing.pads")


def test_a_file_system_without_locks_is_refused(files, monkeypatch):
    def unsupported(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with pytest.raises(KeyStoreError, match="cannot be locked: No locks available"):
        PadFile.open(files[1], "alice", "bob", leased=False)


@pytest.mark.parametrize("offset", [0, 9, 13, 20, 40, 70, 110, 130, 200])
def test_a_damaged_header_is_refused(files, offset):
    data = bytearray(files[1].read_bytes())
    data[offset] ^= 1
    files[1].write_bytes(data)
    with pytest.raises(KeyStoreError, match=r"no pad file|version|checksum"):
        PadFile.open(files[1], "alice", "bob", leased=False)


@pytest.mark.parametrize(
    ("n_bytes", "why"), [(0, "no pad file"), (100, "no pad file"), (PAGE + 17, "damaged: found")]
)
def test_a_truncated_file_is_refused(files, n_bytes, why):
    os.truncate(files[1], n_bytes)
    with pytest.raises(KeyStoreError, match=why):
        PadFile.open(files[1], "alice", "bob", leased=False)


def test_a_file_that_shrinks_while_it_is_read_is_refused(files, monkeypatch):
    header_only = pad_layout.read_header

    def shrink(descriptor, path):
        header = header_only(descriptor, path)
        os.truncate(path, PAGE)
        return header

    monkeypatch.setattr(pad_layout, "read_header", shrink)
    with pytest.raises(KeyStoreError, match="unexpected end of file"):
        PadFile.open(files[1], "alice", "bob", leased=False)


def test_a_closed_file_gives_nothing(files):
    opened = PadFile.open(files[1], "alice", "bob", leased=False)
    send, _ = opened.send_keys
    opened.close()
    opened.close()
    for take in (opened.take_send, lambda: opened.take_receive(0), lambda: opened.receive_keys):
        with pytest.raises(KeyStoreError, match="closed"):
            take()
    assert any(send)  # a copy: closing must not turn a key in use into zeros


def test_reprs_show_no_secrets(files, alices):
    for key in alices.send_keys + alices.receive_keys:
        assert key.hex() not in repr(alices)
    assert repr(alices) == (
        f"PadFile({str(files[1])!r}, owner='alice', remaining_send=8, remaining_receive=8)"
    )
    descriptor = os.open(files[1], os.O_RDONLY)
    assert "hash_keys" not in repr(pad_layout.read_header(descriptor, files[1]))
    os.close(descriptor)


@pytest.mark.parametrize("owner", [0, 1])
def test_describe_agrees_with_the_open_file(files, owner):
    names = ["bob", "alice"]
    with PadFile.open(files[owner], names[owner], names[1 - owner], leased=False) as opened:
        opened.take_send()
        opened.take_send()
        opened.take_receive(6)
        info = pads.describe(files[owner])
        assert (info.remaining_send, info.remaining_receive) == (6, 7)
        assert (info.pair, info.owner, info.n_pads) == (("alice", "bob"), names[owner], 8)
        assert info.pool_id == opened.pool_id.hex()


def test_files_are_never_overwritten(tmp_path, files):
    before = [path.read_bytes() for path in files]
    with pytest.raises(ConfigError, match="exists already"):
        create_pads(tmp_path, "alice", "bob")
    files[0].unlink()
    with pytest.raises(ConfigError, match="exists already"):
        create_pads(tmp_path, "alice", "bob")
    assert not files[0].exists()
    assert files[1].read_bytes() == before[1]


@pytest.mark.parametrize("n_pads", [0, -1, 2**20 + 1])
def test_absurd_numbers_of_pads_are_refused(tmp_path, n_pads):
    with pytest.raises(ConfigError, match=f"number of pads: found {n_pads}"):
        create_pads(tmp_path, "alice", "bob", n_pads)


def test_a_pair_needs_two_users(tmp_path):
    with pytest.raises(ConfigError, match="twice"):
        create_pads(tmp_path, "alice", "alice")


@pytest.mark.parametrize(
    ("users", "why"),
    [
        ((b"alice", b"bob", b"carol"), "found the users 'alice', 'bob', 'carol'"),
        ((b"bob", b"alice", b"bob"), "found the users"),
        ((b"alice", b"alice", b"alice"), "names no pair"),
        ((b"alice", b"b\xff", b"alice"), "names no pair"),
        ((b"", b"bob", b"bob"), "names no pair"),
    ],
)
def test_a_header_that_names_no_pair_is_refused(files, users, why):
    """Whoever can write the file can make the checksum fit."""
    path = files[0]
    data = bytearray(path.read_bytes())
    for i, name in enumerate(users):
        data[32 + 32 * i : 64 + 32 * i] = name.ljust(32, b"\0")
    data[192:224] = hashlib.sha256(data[:192]).digest()
    path.write_bytes(data)
    with pytest.raises(KeyStoreError, match=why):
        pads.describe(path)
    with pytest.raises(KeyStoreError, match=why):
        PadFile.open(path, "alice", "bob", leased=False)
