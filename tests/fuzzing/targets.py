"""Every parser of the package: good input to start from, hostile input near it, and one call."""

from fuzzing.file_targets import FILE_TARGETS
from fuzzing.scheme_targets import SCHEME_TARGETS
from fuzzing.wire_targets import WIRE_TARGETS

TARGETS = {**WIRE_TARGETS, **SCHEME_TARGETS, **FILE_TARGETS}
