"""The command itself: an overview at once, clear refusals, exit codes."""

import errno
import subprocess
import sys

import pytest

from mdiqkd_net import __version__, cli
from mdiqkd_net.cli import VERBS, main


def test_the_overview_names_every_verb(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)
    assert main([]) == 2


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mdiqkd {__version__}\n"


def test_an_unknown_verb(capsys):
    assert main(["frob"]) == 2
    assert "found verb 'frob'; allowed: run, node" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert f"usage: mdiqkd {verb}" in capsys.readouterr().out
    assert main([verb, "--no-such-option"]) == 2


def test_help_imports_no_heavy_library():
    code = (
        "import sys; from mdiqkd_net.cli import main; main(['--help']); main(['run', '--help']);"
        "sys.exit(any(name in sys.modules for name in ('numba', 'numpy', 'trio', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x.json"), 4, "x.json: No space left"),
        (OSError(errno.EACCES, "Permission denied", "x.json"), 2, "x.json: Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_of_the_system_are_one_line(error, code, words, monkeypatch, capsys):
    class Verb:
        @staticmethod
        def configure(parser):
            del parser

        @staticmethod
        def run(args):
            raise error

    monkeypatch.setattr(cli, "import_module", lambda name: Verb)
    assert main(["run"]) == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
