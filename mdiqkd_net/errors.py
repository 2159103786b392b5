"""Errors whose name says whose fault it is."""


class MdiqkdError(Exception):
    """Root of every error that this package raises on purpose."""

    exit_code = 3


class ConfigError(MdiqkdError):
    """A file or a command line that cannot be used; says what was found and what is allowed."""

    exit_code = 2


class WireError(MdiqkdError):
    """Bytes that are not a frame or a message of this protocol."""

    abort_code = 0x0101

    def __init__(self, message: str, abort_code: int | None = None) -> None:
        super().__init__(message)
        if abort_code is not None:
            self.abort_code = abort_code


class AuthenticationError(WireError):
    """A tag or signature that does not fit. Never says why."""

    abort_code = 0x0502


class ProtocolError(MdiqkdError):
    """A legal message at the wrong time, or with contents that cannot be true."""


class LocalProtocolError(ProtocolError):
    """This node was asked to do something that the protocol forbids: a bug on our side."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; `abort_code` is what it is told (spec 10)."""

    def __init__(self, message: str, abort_code: int = 0x0301) -> None:
        super().__init__(message)
        self.abort_code = abort_code


class DeviceError(MdiqkdError):
    """Hardware, or its simulation, cannot do what was asked."""

    exit_code = 4


class KeyStoreError(MdiqkdError):
    """The key store or a pad file refuses: locked, damaged or full."""

    exit_code = 4


class WorkerError(MdiqkdError):
    """A process or a cluster that was to compute has gone, or computes something else."""

    exit_code = 4
