"""`python -m mdiqkd_net` is `mdiqkd`."""

from mdiqkd_net.cli import entry

entry()
