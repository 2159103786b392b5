"""`python -m nodes.bob --config FILE`: `mdiqkd node bob` from a checkout."""

import sys

from mdiqkd_net.cli import main

if __name__ == "__main__":
    sys.exit(main(["node", "bob", *sys.argv[1:]]))
