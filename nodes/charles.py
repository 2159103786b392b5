"""`python -m nodes.charles --config FILE`: `mdiqkd node charles` from a checkout."""

import sys

from mdiqkd_net.cli import main

if __name__ == "__main__":
    sys.exit(main(["node", "charles", *sys.argv[1:]]))
