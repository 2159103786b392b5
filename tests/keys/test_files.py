import errno
import os
import stat

import pytest

from mdiqkd_net.errors import ConfigError, KeyStoreError
from mdiqkd_net.keys.files import NewFile, check_private, create_together, make_directory


def test_modes_hold_from_the_first_moment(tmp_path, monkeypatch):
    seen = []
    sync = os.fsync

    def watch(descriptor):
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    create_together([NewFile(tmp_path / "a", 0o600, b"secret")])
    assert seen[0] == 0o600
    assert len(seen) == 2  # the file, then the name in its directory


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    files = [NewFile(tmp_path / name, 0o600, b"secret") for name in "abc"]
    with pytest.raises(KeyStoreError, match=r"b: No space left"):
        create_together(files)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        create_together([NewFile(tmp_path / "a", 0o600, b"secret")])
    assert list(tmp_path.iterdir()) == []


def test_of_two_racing_creators_one_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("mdiqkd_net.keys.files.refuse_existing", lambda paths: None)
    (tmp_path / "b").write_text("theirs")
    with pytest.raises(ConfigError, match="b: exists already"):
        create_together([NewFile(tmp_path / name, 0o600, b"ours") for name in "ab"])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("b", "theirs")]


def test_a_dangling_link_is_not_followed(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="exists already"):
        create_together([NewFile(tmp_path / "a", 0o600, b"secret")])
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(KeyStoreError, match="missing/a: No such file"):
        create_together([NewFile(tmp_path / "missing" / "a", 0o600, b"")])


def test_a_file_in_the_way_of_a_directory_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(KeyStoreError, match="a: "):
        make_directory(tmp_path / "a")


def test_only_regular_private_files_pass(tmp_path):
    with pytest.raises(KeyStoreError, match="no regular file"):
        check_private(tmp_path.stat(), tmp_path)
    path = tmp_path / "a"
    path.write_text("")
    for mode in (0o600, 0o400):
        path.chmod(mode)
        check_private(path.stat(), path)
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(KeyStoreError, match=f"found mode {mode:04o}"):
            check_private(path.stat(), path)


def test_the_repr_of_a_new_file_shows_no_secret(tmp_path):
    assert "secret" not in repr(NewFile(tmp_path, 0o600, b"secret"))
