import os
import threading

import pytest

from mdiqkd_net.devices.entropy import (
    ENTROPY_SOURCES,
    REPEATS,
    DeviceEntropy,
    FileEntropy,
    SystemEntropy,
)
from mdiqkd_net.errors import DeviceError

RANDOM = bytes((37 * k * k + 11 * k + k // 7) % 256 for k in range(1000))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "random.bin"
    path.write_bytes(RANDOM)
    return path


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


class Feeder:
    """Keeps the writing end of a pipe open."""

    def __init__(self, path):
        self._path = path
        self._handle = -1

    def write(self, data):
        if self._handle < 0:
            self._handle = os.open(self._path, os.O_WRONLY)
        os.write(self._handle, data)

    def close(self):
        os.close(self._handle)


def test_a_file_gives_each_byte_once_over_restarts(file):
    first = FileEntropy(file)
    assert first(100) == RANDOM[:100]
    assert first(0) == b""
    first.close()
    second = FileEntropy(file)
    assert second(900) == RANDOM[100:]
    with pytest.raises(DeviceError, match="underrun: found 0 unused bytes, needed 1; bytes are ne"):
        second(1)
    second.close()
    assert file.read_bytes() == RANDOM


def test_a_file_that_has_too_little_stays_as_it_was(file):
    source = FileEntropy(file)
    with pytest.raises(DeviceError, match="found 1000 unused bytes, needed 1001"):
        source(1001)
    assert source(1000) == RANDOM
    source.close()


def test_used_bytes_are_on_record_before_they_are_given(file, monkeypatch):
    source = FileEntropy(file)

    def crash(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", crash)
    with pytest.raises(DeviceError, match="Input/output error"):
        source(32)
    monkeypatch.undo()
    source.close()
    again = FileEntropy(file)
    assert again(1) == RANDOM[32:33]
    again.close()


def test_two_users_of_a_file_are_refused(file):
    first = FileEntropy(file)
    with pytest.raises(DeviceError, match="in use by another process"):
        FileEntropy(file)
    first.close()
    first.close()
    FileEntropy(file).close()
    with pytest.raises(DeviceError, match="closed"):
        first(1)


def test_a_record_that_cannot_be_read_is_not_guessed(file):
    file.with_name("random.bin.used").write_text("twelve\n")
    with pytest.raises(DeviceError, match="found no number of used bytes"):
        FileEntropy(file)


def test_a_file_that_shrinks_is_an_underrun(file):
    source = FileEntropy(file)
    source(500)
    file.write_bytes(RANDOM[:100])
    with pytest.raises(DeviceError, match="underrun: found 0 unused"):
        source(1)
    source.close()


def test_threads_never_share_bytes(file):
    source, got = FileEntropy(file), []
    threads = [
        threading.Thread(target=lambda: got.extend(source(10) for _ in range(25))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.close()
    parts = {RANDOM[k : k + 10] for k in range(0, 1000, 10)}
    assert len(got) == 100
    assert sorted(got) == sorted(RANDOM[k : k + 10] for k in range(0, 1000, 10))
    assert set(got) == parts


@pytest.mark.parametrize("kind", ["file", "device"])
def test_what_is_not_there_is_refused(kind, tmp_path):
    with pytest.raises(DeviceError, match="No such file"):
        ENTROPY_SOURCES[kind](tmp_path / "absent")


def test_files_and_devices_are_not_mistaken_for_each_other(file, pipe, tmp_path):
    with pytest.raises(DeviceError, match="not a regular file"):
        FileEntropy(tmp_path)
    with pytest.raises(DeviceError, match="not a device"):
        DeviceEntropy(file)


def test_a_device_is_waited_for(pipe):
    source, feeder = DeviceEntropy(pipe, timeout_s=30.0), Feeder(pipe)
    feeder.write(RANDOM[:10])
    later = threading.Thread(target=feeder.write, args=(RANDOM[10:40],))
    later.start()
    assert source(32) == RANDOM[:32]
    later.join()
    assert source(8) == RANDOM[32:40]
    feeder.close()
    source.close()
    source.close()


def test_a_device_that_runs_dry_stays_refused(pipe):
    source, feeder = DeviceEntropy(pipe, timeout_s=0.01), Feeder(pipe)
    feeder.write(RANDOM[:10])
    with pytest.raises(DeviceError, match=r"underrun: found 10 bytes, needed 32; no more within"):
        source(32)
    feeder.write(RANDOM)
    with pytest.raises(DeviceError, match="underrun: found 10 bytes"):
        source(1)
    feeder.close()
    source.close()


def test_a_device_that_ends_is_an_underrun(pipe):
    source, feeder = DeviceEntropy(pipe), Feeder(pipe)
    feeder.write(RANDOM[:10])
    feeder.close()
    with pytest.raises(DeviceError, match="underrun: found 10 bytes, needed 11; ended"):
        source(11)
    source.close()
    with pytest.raises(DeviceError, match="closed"):
        source(1)


def test_a_stuck_device_is_refused_even_across_calls(pipe):
    source, feeder = DeviceEntropy(pipe), Feeder(pipe)
    feeder.write(RANDOM[:16] + b"\x7f" * REPEATS)
    assert source(16 + REPEATS - 1)[:16] == RANDOM[:16]
    for _ in range(2):
        with pytest.raises(DeviceError, match="stuck: 9 equal bytes in a row"):
            source(1)
    feeder.close()
    source.close()


def test_the_system_always_has_more():
    source = SystemEntropy()
    assert len(source(100)) == 100
    assert source(32) != source(32)
    source.close()
