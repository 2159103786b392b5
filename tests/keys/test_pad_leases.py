"""Leases on real pad files: durable before they count, whole or not at all."""

import errno
import os
import random
import shutil

import pytest
from lease_histories import run_history

from mdiqkd_net.errors import AuthenticationError, KeyStoreError, RemoteProtocolError
from mdiqkd_net.keys import pad_layout
from mdiqkd_net.keys.pad_layout import GRANT_OFFSETS, PAD_BYTES, PAGE_BYTES
from mdiqkd_net.keys.pads import PadFile, create_pads
from mdiqkd_net.protocol.leases import WINDOW, NoLeaseError

N_PADS = 40


@pytest.fixture
def files(tmp_path):
    return create_pads(tmp_path, "alice", "bob", n_pads=N_PADS)


def open_alice(files):
    return PadFile.open(files[0], "alice", "bob")


def open_bob(files):
    return PadFile.open(files[1], "bob", "alice")


@pytest.fixture
def alices(files):
    with open_alice(files) as opened:
        yield opened


@pytest.fixture
def bobs(files):
    with open_bob(files) as opened:
        yield opened


def lease(sender, receiver):
    sender.accept_lease(*receiver.grant(sender.high_water))


class FileEnds:
    """Alice sends, Bob receives; both on disk."""

    def __init__(self, directory):
        self.paths = dict(
            zip(("sender", "receiver"), create_pads(directory, "alice", "bob", 400), strict=True)
        )
        self.names = {"sender": ("alice", "bob"), "receiver": ("bob", "alice")}
        self.open = {}
        for side in self.paths:
            self.open[side] = PadFile.open(self.paths[side], *self.names[side])
            self.save(side)

    def grant(self):
        return self.open["receiver"].grant(self.open["sender"].high_water)

    def accept(self, base, count):
        self.open["sender"].accept_lease(base, count)

    def lease_left(self):
        return self.open["sender"].lease_left

    def take(self):
        index, pad = self.open["sender"].take_send()
        assert any(pad)
        return index

    def deliver(self, index):
        receiver = self.open["receiver"]
        try:
            receiver.read_receive(index)
        except AuthenticationError:  # its file was set back to before the grant
            return
        receiver.burn_receive(index)

    def restart(self, side):
        self.open[side].close()
        self.open[side] = PadFile.open(self.paths[side], *self.names[side])

    def save(self, side):
        shutil.copyfile(self.paths[side], f"{self.paths[side]}.saved")

    def restore(self, side):
        self.open[side].close()
        shutil.copyfile(f"{self.paths[side]}.saved", self.paths[side])
        self.restart(side)

    def close(self):
        for opened in self.open.values():
            opened.close()


def test_hundreds_of_histories_on_files_use_no_pad_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the logic, not the disk
    rng = random.Random(2)
    n_tags = 0
    for i in range(300):
        ends = FileEnds(tmp_path / str(i))
        try:
            n_tags += run_history(ends, rng, 40)
        finally:
            ends.close()
    assert n_tags > 3000


def test_tags_are_made_within_the_lease_only(alices, bobs):
    with pytest.raises(NoLeaseError, match="no pad for sending is left in the lease"):
        alices.take_send()
    lease(alices, bobs)
    assert alices.lease_left == WINDOW
    assert [alices.take_send()[0] for _ in range(WINDOW)] == list(range(WINDOW))
    assert (alices.lease_left, alices.high_water) == (0, WINDOW)
    with pytest.raises(NoLeaseError):
        alices.take_send()
    lease(alices, bobs)
    assert alices.take_send()[0] == WINDOW


def test_a_restart_abandons_the_lease_and_skips_its_rest(files, bobs):
    with open_alice(files) as alices:
        lease(alices, bobs)
        alices.take_send()
        assert alices.lease_left == WINDOW - 1
    with open_alice(files) as alices:
        assert (alices.lease_left, alices.high_water) == (0, 1)
        lease(alices, bobs)
        assert alices.take_send()[0] == WINDOW
        assert alices.remaining_send == N_PADS - WINDOW - 1
    data = files[0].read_bytes()
    assert not any(data[PAGE_BYTES : PAGE_BYTES + (WINDOW + 1) * PAD_BYTES])
    assert any(data[PAGE_BYTES + (WINDOW + 1) * PAD_BYTES :][:PAD_BYTES])


def test_skipped_pads_stay_burnt_after_a_restart(files, bobs):
    with open_alice(files) as alices:
        alices.accept_lease(10, 4)
    with open_alice(files) as alices:
        assert alices.high_water == 10


def test_the_last_leases_are_short_and_then_empty(alices, bobs):
    counts = []
    for _ in range(4):
        base, count = bobs.grant(alices.high_water)
        alices.accept_lease(base, count)
        counts.append(count)
        for _ in range(count):
            alices.take_send()
    assert counts == [16, 16, 8, 0]
    with pytest.raises(KeyStoreError, match="all 40 pads for sending are used up"):
        alices.take_send()


def test_a_grant_outlives_a_restart(files):
    with open_bob(files) as bobs:
        assert bobs.grant(0) == (0, 16)
        assert bobs.grant(0) == (16, 16)
    with open_bob(files) as bobs:
        assert bobs.grant(3) == (32, 8)


def test_the_marks_of_the_peer_are_checked(alices, bobs):
    with pytest.raises(RemoteProtocolError, match="allowed: 0 to 40"):
        bobs.grant(41)
    alices.accept_lease(8, 8)
    with pytest.raises(RemoteProtocolError, match="found 16 pads from 0; allowed"):
        alices.accept_lease(0, 16)
    assert alices.lease_left == 8


def test_pads_are_read_below_the_grant_and_burnt_when_told(alices, bobs):
    lease(alices, bobs)
    index, sent = alices.take_send()
    for _ in range(2):  # reading burns nothing
        assert bobs.read_receive(index) == sent
    assert bobs.remaining_receive == N_PADS
    bobs.burn_receive(index)
    bobs.burn_receive(index)
    assert bobs.remaining_receive == N_PADS - 1
    for refused in (index, -1, WINDOW, N_PADS):
        with pytest.raises(AuthenticationError, match=r"^authentication failed$"):
            bobs.read_receive(refused)
    for refused in (-1, WINDOW, N_PADS):
        with pytest.raises(AuthenticationError):
            bobs.burn_receive(refused)


def test_a_burnt_pad_stays_burnt(files):
    with open_bob(files) as bobs:
        bobs.grant(0)
        bobs.burn_receive(5)
    with open_bob(files) as bobs:
        with pytest.raises(AuthenticationError):
            bobs.read_receive(5)
        assert any(bobs.read_receive(6))


def test_a_file_from_before_leases_has_granted_what_it_accepted(files):
    with PadFile.open(files[1], "bob", "alice", leased=False) as bobs:
        bobs.take_receive(6)
    assert not any(files[1].read_bytes()[GRANT_OFFSETS[0] : PAGE_BYTES])
    with open_bob(files) as bobs:
        assert bobs.grant(0) == (7, 16)


def test_a_grant_is_durable_twice_before_it_returns(files, bobs, monkeypatch):
    seen = []
    sync = os.fsync

    def watch(descriptor):
        data = files[1].read_bytes()
        seen.append([any(data[offset : offset + 40]) for offset in GRANT_OFFSETS])
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    bobs.grant(0)
    assert seen == [[True, False], [True, True]]


@pytest.mark.parametrize("n_before", [0, 1])
@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("n_torn", [1, 8, 20, 39])
def test_a_torn_grant_leaves_what_was_granted_before(files, n_before, slot, n_torn):
    """The write of one record stops half-way; the process dies, and the grant never returned."""
    with open_bob(files) as bobs:
        for _ in range(n_before):
            bobs.grant(0)
        pool_id = bobs.pool_id
    record = pad_layout.grant_record(pool_id, WINDOW * (n_before + 1))
    with files[1].open("r+b") as stream:
        if slot == 1:
            stream.seek(GRANT_OFFSETS[0])
            stream.write(record)
        stream.seek(GRANT_OFFSETS[slot])
        stream.write(record[:n_torn])
    with open_bob(files) as bobs:
        base, count = bobs.grant(0)
        assert base >= WINDOW * n_before
        assert base == WINDOW * (n_before + slot)
        assert count > 0


def test_one_damaged_record_loses_nothing_and_two_are_refused(files):
    with open_bob(files) as bobs:
        bobs.grant(0)
    for offset, refused in zip(GRANT_OFFSETS, (False, True), strict=True):
        with files[1].open("r+b") as stream:
            stream.seek(offset + 3)
            stream.write(b"\x07")
        if refused:
            with pytest.raises(KeyStoreError, match="checksum of what was granted does not fit"):
                open_bob(files)
        else:
            with open_bob(files) as bobs:
                assert bobs.grant(0) == (WINDOW, WINDOW)
            with files[1].open("r+b") as stream:  # the grant mended it
                stream.seek(offset + 3)
                stream.write(b"\x07")


@pytest.mark.parametrize("act", ["grant", "accept_lease", "burn_receive"])
def test_what_the_disk_refuses_did_not_happen(files, act, monkeypatch):
    def full(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with open_alice(files) as alices:
        alices.grant(0)
        calls = {
            "grant": lambda: alices.grant(0),
            "accept_lease": lambda: alices.accept_lease(4, 4),
            "burn_receive": lambda: alices.burn_receive(0),
        }
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", full)
            with pytest.raises(KeyStoreError, match=r"could not be (granted|burnt): Input/output"):
                calls[act]()
        assert alices.lease_left == 0
        for use in (*calls.values(), alices.take_send, lambda: alices.read_receive(1)):
            with pytest.raises(KeyStoreError, match="restart after mending the disk"):
                use()
