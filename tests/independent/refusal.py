"""How the independent decoder says no."""

HEADER, SIZE, NOT_CANONICAL, SCHEMA, SEQUENCE, UNKNOWN = range(0x0101, 0x0107)
ILLEGAL = 0x0301
FAILED_CHECK = 0x0502


class RefusalError(Exception):
    """With the code of the specification."""

    def __init__(self, code, words):
        super().__init__(f"{code:#06x}: {words}")
        self.code = code


def refuse(unless, code, words):
    if not unless:
        raise RefusalError(code, words)
