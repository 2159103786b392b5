"""How much of a block is secret: decoy bounds, tail bounds, key length. Pure functions."""
