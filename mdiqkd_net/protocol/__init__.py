"""The cores: a message in, effects out. No socket, clock, file or global randomness."""
