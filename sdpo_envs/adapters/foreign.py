"""An environment of somebody else, as `gymnasium_text` plays it: made when it is needed, and shown without colours."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import gymnasium

from sdpo_envs.errors import JudgeError

_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_COLOURED = re.compile(r"(?P<codes>(\x1b\[[\d;]*m)+)(?P<text>[^\x1b]*)(\x1b\[0?m)+")


class World:
    """The foreign environment, made when it is needed. A copy makes its own, which goes where the first one is.

    Args:
        env_id: As for `gymnasium.make`.
        settings: Keywords for `gymnasium.make`.
        refuses: By what it turns down an action that it does not like.
    """

    def __init__(self, env_id: str, settings: dict[str, Any], refuses: tuple[type[Exception], ...]) -> None:
        self.refuses = refuses
        self._env_id, self._settings = env_id, settings
        self._seed = 0
        self._taken: tuple[Any, ...] = ()
        self._env: gymnasium.Env[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_env": None}

    def made(self) -> gymnasium.Env[Any, Any]:
        """Return the foreign environment, where this episode stands."""
        if self._env is None:
            self._env = gymnasium.make(self._env_id, disable_env_checker=True, **self._settings)
            self._env.reset(seed=self._seed)
            for action in self._taken:
                self._env.step(action)
        return self._env

    def begin(self, seed: int) -> tuple[Any, dict[str, Any]]:
        """Reset it.

        Raises:
            JudgeError: it could not be reached.
        """
        self._seed, self._taken = seed, ()
        with self._reaching():
            return self.made().reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one of its actions.

        Raises:
            JudgeError: it could not be reached.
        """
        with self._reaching():
            reply = self.made().step(action)
        self._taken += (action,)
        return reply

    def rendered(self) -> Any:
        """Render it, if it was told how.

        Raises:
            JudgeError: it could not be reached.
        """
        with self._reaching():
            env = self.made()
            return env.render() if env.render_mode == "ansi" else None

    def close(self) -> None:
        """Close it; it is made again if it is needed again."""
        if self._env is not None:
            self._env.close()
            self._env = None

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._env = None  # nobody knows in which state it is
            raise JudgeError(f"{self._env_id} could not be reached: {error}") from error


def uncoloured(text: str) -> str:
    r"""Return `text` with words in place of a terminal's colours, which often say where somebody stands.

    >>> uncoloured("S\x1b[41mF\x1b[0mF")
    'S[red:F]F'
    """
    return _COLOURED.sub(_in_words, text)


def _in_words(match: re.Match[str]) -> str:
    """Write ``[red:F]`` for an F that is red, or stands on red."""
    numbers = [int(code) for code in re.findall(r"\d+", match["codes"])]
    colours = [_COLOURS[number % 10] for number in numbers if number // 10 in (3, 4, 9, 10) and number % 10 < 8]
    return f"[{' '.join(colours)}:{match['text']}]" if colours and match["text"] else match["text"]
