"""A node that does not outlive whoever started it.

The starter holds the other end of the node's standard input and never writes. However the starter
ends, by SIGKILL too, the system closes that end, and the node reads the end of its input.
"""

import os
import signal
import sys
import threading
import time
from typing import Final

GRACE_S: Final = 5.0
"""From the word to stop until the process is ended, whatever it is doing."""


def end_with_stdin() -> None:
    """From now on end this process as by SIGTERM when its standard input ends."""
    threading.Thread(target=_wait_for_end, args=(sys.stdin.fileno(),), daemon=True).start()


def _wait_for_end(descriptor: int) -> None:
    while os.read(descriptor, 4096):
        pass  # whatever somebody says here means nothing
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)
