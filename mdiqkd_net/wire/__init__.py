"""Bytes on the wire: frames, canonical MessagePack, messages. Pure; knows nothing of sockets."""
