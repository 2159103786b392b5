"""How long the harness waits. The specification's own times, and what it grants on top."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadlines:
    """All waits but that for light, multiplied by one factor.

    A node whose own times are shortened for a test is met with the same `scale`.

    Attributes:
        scale: 1 for a node as it is.
    """

    scale: float = 1.0

    @property
    def reaction_s(self) -> float:
        """For an answer that needs no thought."""
        return 5.0 * self.scale

    @property
    def close_s(self) -> float:
        """From an Error to the close of its link."""
        return 2.0 * self.scale

    @property
    def quiet_s(self) -> float:
        """How long nothing must come, where nothing may come."""
        return 1.0 * self.scale

    @property
    def handshake_s(self) -> float:
        """For a link to be given up that says nothing: 10 s (spec 4.1), and a grace."""
        return 12.0 * self.scale

    @property
    def arming_s(self) -> float:
        """For a session to be given up that is not armed: 30 s (spec 5.3), and a grace."""
        return 35.0 * self.scale

    @property
    def return_s(self) -> float:
        """For a user to be given up that stays away: 30 s (spec 5.7), and a grace."""
        return 35.0 * self.scale

    @property
    def light_s(self) -> float:
        """For a whole session's light, which takes what it takes: never scaled."""
        return 60.0
