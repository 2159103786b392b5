"""The simulated disk: crashes keep what was written, power failures tear what was being written."""

from random import Random

import pytest
from commits import prepare

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.secret import SecretBuffer
from mdiqkd_net.simulation.disk import SECTOR_BYTES, Disk


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path / "alice", Random(1))


def meta(number):
    return BlockMeta(
        block_id=bytes([number] * 16),
        pair=("alice", "bob"),
        owner="alice",
        peer="bob",
        block_no=number,
        origin="simulated",
        eps=0.1,
        leak_model="none",
    )


def hold(store, number):
    key = SecretKey(bytes([number] * 16), 512, "simulated", SecretBuffer(64))
    prepare(store, meta(number), key)


def held(disk):
    with KeyStore.open(disk.path / "keys.db", create=False) as store:
        return sorted({key.block_no for key in store.keys("bob")})


def test_a_crash_keeps_what_was_written_and_drops_what_the_dying_process_does(disk):
    with KeyStore.open(disk.path / "keys.db") as store:
        hold(store, 1)
        assert disk.crash() == ""
        hold(store, 2)
    disk.bury()
    assert held(disk) == [1]
    assert [path.name for path in disk.path.parent.iterdir()] == ["1"]


def test_power_that_fails_within_a_step_undoes_the_step_and_nothing_before_it(disk):
    for number in range(2, 12):
        with KeyStore.open(disk.path / "keys.db") as store:
            hold(store, number)
            before = disk.contents()
            hold(store, 100 + number)
            lost = disk.crash(before)
        assert "keys.db-wal cut to" in lost
        assert held(disk) == list(range(2, number + 1))


def test_a_step_over_several_files_is_not_torn(disk):
    (disk.path / "a").write_bytes(b"two")
    before = disk.contents()
    (disk.path / "a").write_bytes(b"two and more")
    (disk.path / "b").write_bytes(b"new")
    assert disk.crash(before) == ""
    assert (disk.path / "a").read_bytes() == b"two and more"
    before = disk.contents()
    (disk.path / "a").write_bytes(b"two and more and more")
    assert disk.crash(before).startswith("a cut to ")
    assert b"two and more and mor".startswith((disk.path / "a").read_bytes())


def test_of_sectors_that_are_written_over_each_is_old_or_new(disk):
    old, new = bytes(64 * SECTOR_BYTES), b"\1" * (64 * SECTOR_BYTES)
    (disk.path / "a").write_bytes(old)
    before = disk.contents()
    (disk.path / "a").write_bytes(new)
    assert disk.crash(before) == "a in part"
    found = (disk.path / "a").read_bytes()
    sectors = {found[i : i + SECTOR_BYTES] for i in range(0, len(found), SECTOR_BYTES)}
    assert sectors == {old[:SECTOR_BYTES], new[:SECTOR_BYTES]}


def test_older_files_are_put_back(disk):
    def write(text):
        for name in ("bob.pads", "keys.db", "keys.db-wal"):
            (disk.path / name).write_bytes(text)

    def found():
        return {file.name: file.read_bytes() for file in disk.path.iterdir()}

    (disk.path / "bob.pads").write_bytes(b"old")
    (disk.path / "keys.db").write_bytes(b"old")
    older = disk.contents()
    write(b"new")
    disk.put_back(older, pads=True, store=False)
    assert found() == {"bob.pads": b"old", "keys.db": b"new", "keys.db-wal": b"new"}
    write(b"new")
    disk.put_back(older, pads=False, store=True)
    assert found() == {"bob.pads": b"new", "keys.db": b"old"}
