"""`python -m nodes.alice --config FILE`: `mdiqkd node alice` from a checkout."""

import sys

from mdiqkd_net.cli import main

if __name__ == "__main__":
    sys.exit(main(["node", "alice", *sys.argv[1:]]))
