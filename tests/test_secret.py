import copy
import errno
import gc
import os
import pickle
import subprocess
import sys
import threading
from mmap import PAGESIZE
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net import secret
from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.secret import SHARED_BYTES, SecretBuffer, in_use, wipe


@pytest.fixture
def arena(monkeypatch):
    """An arena of its own, without `memfd_secret`."""
    fresh = secret._Arena()
    fresh.has_memfd_secret = False
    monkeypatch.setattr(secret, "_arena", fresh)
    return fresh


def test_a_buffer_is_zeros_at_first_and_is_used_in_place():
    buffer = SecretBuffer(20)
    assert len(buffer) == 20
    assert bytes(buffer.view) == bytes(20)
    buffer.array[3:5] = 7, 8
    buffer.view[0] = 6
    assert bytes(buffer.view[:6]) == b"\6\0\0\7\x08\0"
    assert buffer.array.dtype == np.uint8


@pytest.mark.parametrize("n_bytes", [0, 1, 16, 17, 4096, SHARED_BYTES, SHARED_BYTES + 1, 300_000])
def test_any_length(n_bytes):
    data = os.urandom(n_bytes)
    with SecretBuffer.copy_of(data) as buffer:
        assert bytes(buffer.view) == data
    assert len(buffer) == n_bytes


def test_a_negative_length_is_refused():
    with pytest.raises(LocalProtocolError, match="found -1 bytes"):
        SecretBuffer(-1)


def test_a_wipe_reaches_all_views_and_ends_the_use():
    buffer = SecretBuffer.copy_of(b"sesame, open")
    view, array = buffer.view[3:], buffer.array
    buffer.wipe()
    buffer.wipe()
    assert bytes(view) == bytes(9)
    assert not array.any()
    assert buffer.is_wiped
    for use in (lambda: buffer.view, lambda: buffer.array, lambda: buffer == b"sesame, open"):
        with pytest.raises(LocalProtocolError, match="found it wiped"):
            use()


def test_a_with_block_wipes_also_after_an_error():
    buffer = SecretBuffer.copy_of(b"sesame")
    view = buffer.view
    with pytest.raises(KeyError), buffer:
        raise KeyError
    assert bytes(view) == bytes(6)


def test_it_does_not_print():
    buffer = SecretBuffer.copy_of(b"sesame")
    assert repr(buffer) == str(buffer) == f"{buffer}" == "SecretBuffer(6 bytes)"
    buffer.wipe()
    assert repr(buffer) == "SecretBuffer(wiped)"


def test_it_compares_with_bytes_and_its_like():
    one, same, other = map(SecretBuffer.copy_of, (b"sesame", b"sesame", b"Sesame"))
    assert one == same == b"sesame"
    assert one == memoryview(b"sesame")
    assert one == bytearray(b"sesame")
    assert one != other
    assert one != b"sesam"
    assert one != "sesame"
    with pytest.raises(TypeError):
        hash(one)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps, bytes, list])
def test_no_copy_by_accident(duplicate):
    with pytest.raises(TypeError):
        duplicate(SecretBuffer.copy_of(b"sesame"))


def test_random_buffers_differ():
    drawn = [SecretBuffer.random(n) for n in (32, 32, 100_000)]
    assert drawn[0] != drawn[1]
    assert len(np.unique(drawn[2].array)) == 256  # one is missing with probability 1e-167


@pytest.mark.skipif(sys.platform != "linux", reason="the generator of Linux")
def test_a_generator_that_fails_is_an_error_and_a_signal_is_none(monkeypatch):
    answers = iter([-1, 3, 29])
    calls = []

    def getrandom(address, n_bytes, flags):
        calls.append(n_bytes)
        secret.ctypes.set_errno(errno.EINTR)
        return next(answers)

    monkeypatch.setattr(secret._libc, "getrandom", getrandom)
    SecretBuffer.random(32)
    assert calls == [32, 32, 29]

    def refuse(address, n_bytes, flags):
        secret.ctypes.set_errno(errno.ENOSYS)
        return -1

    monkeypatch.setattr(secret._libc, "getrandom", refuse)
    with pytest.raises(OSError, match="getrandom failed"):
        SecretBuffer.random(32)


def test_memory_goes_back_as_zeros_when_the_last_view_is_gone(arena):
    buffer = SecretBuffer.copy_of(b"sesame")
    address = buffer.array.ctypes.data
    view = buffer.view
    del buffer
    assert SecretBuffer(6).array.ctypes.data != address
    assert bytes(view) == b"sesame"  # nobody has asked for a wipe
    del view
    taken = [SecretBuffer(6) for _ in range(2 * PAGESIZE // 16)]
    (again,) = (buffer for buffer in taken if buffer.array.ctypes.data == address)
    assert bytes(again.view) == bytes(6)


def test_memory_goes_back_from_a_reference_cycle(arena):
    for _ in range(2000):
        cycle = [SecretBuffer(16)]
        cycle.append(cycle)
    gc.collect()
    assert sum(in_use().values()) == secret.CHUNK_BYTES


def test_small_buffers_share_pages(arena):
    pads = [SecretBuffer(16) for _ in range(secret.CHUNK_BYTES // 16)]
    assert sum(in_use().values()) == secret.CHUNK_BYTES
    pads.append(SecretBuffer(16))
    assert sum(in_use().values()) == 2 * secret.CHUNK_BYTES


def test_large_buffers_give_their_pages_back(arena):
    buffer = SecretBuffer(1_000_000)
    assert sum(in_use().values()) == -(-1_000_000 // PAGESIZE) * PAGESIZE
    del buffer
    assert in_use() == {}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 9)), max_size=40))
def test_no_two_live_buffers_overlap(steps):
    live = {}
    for number, (n_bytes, drop) in enumerate(steps):
        buffer = SecretBuffer(n_bytes)
        assert not buffer.array.any()
        buffer.array[:] = number + 1
        live[number] = buffer
        live.pop(number - drop - 1, None)
    for number, buffer in live.items():
        assert (buffer.array == number + 1).all()


def test_threads_get_memory_of_their_own():
    wrong = []

    def work(mark):
        for size in range(1, 400):
            buffer = SecretBuffer(size)
            if buffer.array.any():
                wrong.append(size)
            buffer.array[:] = mark
            if not (buffer.array == mark).all():
                wrong.append(size)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def kernel_flags(buffer):
    """What the kernel says of the mapping that a buffer lies in; `lo` locked, `dd` not dumped."""
    address, inside = buffer.array.ctypes.data, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            start, stop = (int(part, 16) for part in words[0].split("-"))
            inside = start <= address < stop
        elif inside and words[0] == "VmFlags:":
            return set(words[1:])
    raise AssertionError("no such mapping")


linux = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")


@linux
@pytest.mark.parametrize("n_bytes", [16, 100_000])
def test_the_kernel_neither_swaps_nor_dumps_secrets(arena, n_bytes):
    plain = SecretBuffer(n_bytes)
    assert set(in_use()) <= {"locked", "unlocked"}
    assert {"dd", "wf"} <= kernel_flags(plain)
    assert ("lo" in kernel_flags(plain)) == (set(in_use()) == {"locked"})


@linux
def test_memory_that_only_we_can_read_is_used_where_there_is_any(monkeypatch):
    monkeypatch.setattr(secret, "_arena", secret._Arena())
    buffer = SecretBuffer.copy_of(b"sesame")
    if set(in_use()) != {"memfd_secret"}:
        pytest.skip("the kernel has no memfd_secret, or does not let us use it")
    assert {"lo", "dd"} <= kernel_flags(buffer)
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        memory.seek(buffer.array.ctypes.data)
        with pytest.raises(OSError, match="Input/output error"):
            memory.read(6)


@pytest.mark.parametrize(("code", "again"), [(errno.ENOSYS, False), (errno.EMFILE, True)])
def test_without_memfd_secret_there_is_other_memory(monkeypatch, code, again):
    fresh = secret._Arena()
    monkeypatch.setattr(secret, "_arena", fresh)

    def syscall(number, flags):
        secret.ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(secret._libc, "syscall", syscall)
    assert SecretBuffer.copy_of(b"sesame") == b"sesame"
    assert set(in_use()) <= {"locked", "unlocked"}
    assert fresh.has_memfd_secret is (again and sys.platform == "linux")


def test_a_lock_that_is_refused_is_told(arena, monkeypatch):
    monkeypatch.setattr(secret._libc, "mlock", lambda address, size: -1)
    buffer = SecretBuffer.copy_of(b"sesame")
    assert in_use() == {"unlocked": secret.CHUNK_BYTES}
    assert buffer == b"sesame"


def test_no_memory_is_an_error(arena):
    with pytest.raises(MemoryError, match="secret: no memory"):
        SecretBuffer(1 << 60)


@linux
@pytest.mark.parametrize("has_memfd_secret", [False, True])
def test_a_child_process_gets_zeros_and_memory_of_its_own(has_memfd_secret):
    program = f"""
import os
from mdiqkd_net import secret
secret._arena.has_memfd_secret = {has_memfd_secret}
small, large = secret.SecretBuffer.copy_of(b"sesame"), secret.SecretBuffer.copy_of(b"s" * 50000)
views = small.view, large.view
child = os.fork()
if child == 0:
    assert not any(views[0]) and not any(views[1])
    assert small.is_wiped and large.is_wiped
    small.wipe()
    assert secret.SecretBuffer.copy_of(b"own") == b"own"
    del small, large, views
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert small == b"sesame" and large == b"s" * 50000
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@linux
def test_dumps_are_forbidden():
    program = """
import ctypes, resource
from mdiqkd_net.secret import forbid_dumps
forbid_dumps()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_everything_that_can_be_written_can_be_wiped():
    buffer, plain, array = SecretBuffer(4), bytearray(b"abc"), np.arange(6)[::2]
    fixed = np.frombuffer(b"abc", np.uint8)
    wipe(buffer, plain, memoryview(plain)[1:], array, fixed, bytearray())
    assert buffer.is_wiped
    assert plain == bytes(3)
    assert array.tolist() == [0, 0, 0]
    assert fixed.tobytes() == b"abc"
