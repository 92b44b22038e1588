"""Where a server of environments listens, and how much it takes."""

from dataclasses import dataclass

from sdpo_envs.env import natural
from sdpo_envs.errors import SettingError

_LAST_PORT = 2**16 - 1
_AROUND = 2**16
"""Bytes of a message around its action."""


@dataclass(frozen=True)
class Service:
    """Where a server listens, and how much it takes.

    Raises:
        SettingError: `sessions` or `characters` is below 1, or `port` is none.
    """

    host: str = "127.0.0.1"
    """The address to listen at. Nobody is asked who they are, so this machine only, unless you say otherwise."""
    port: int = 8000
    """The port to listen at; 0 for one that is free."""
    sessions: int = 64
    """Open at once, at most; who comes next is told so, and may try again."""
    characters: int = 2**20
    """Of one action, at most; a longer one is refused with an error, and the session goes on."""

    def __post_init__(self) -> None:
        if natural("port", self.port, least=0) > _LAST_PORT:
            raise SettingError(f"port={self.port} is not offered; the last is {_LAST_PORT}.")
        natural("sessions", self.sessions)
        natural("characters", self.characters)

    @property
    def message_bytes(self) -> int:
        """Of one message, at most; JSON may write 12 bytes for a character. A longer one ends the session."""
        return 12 * self.characters + _AROUND
