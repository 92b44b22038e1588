"""A Gymnasium environment of somebody else, played in text, as an environment with feedback.

Its tasks are seeds. What it shows is its observation if that is text, or else its rendering, or else its observation
written out; what it takes is a word for each of its discrete actions, or text. A verdict needs a rule for success: a
return from which on an episode is one, or a key of the last info. Who knows more of the game adds ``explain``.
"""

import builtins
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.spaces import Discrete, Text

from sdpo_envs.adapters.foreign import World, uncoloured
from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import natural
from sdpo_envs.errors import SettingError
from sdpo_envs.feedback import LIMIT
from sdpo_envs.parsing import tagged
from sdpo_envs.spaces import FreeText
from sdpo_envs.turns import Move, Prompt, Seen, TurnsEnv
from sdpo_envs.vector import GroupEnv

Explain = Callable[[Any, str, float, Mapping[str, Any]], Iterable[Finding]]
"""Says what a step shows, from the foreign observation, the command, the foreign reward and info."""

_LONGEST = 10_000
"""Characters of a command where the foreign action space takes any text; a longer one is none."""
_LONGEST_WORD = 200
"""Characters that are kept of what should have been a word for an action."""


class GymnasiumText(TurnsEnv):
    """A foreign environment whose tasks are seeds.

    An episode ends with the foreign one, by a verdict in either case: what the foreign environment calls truncated, and
    `turns`, are the time that the policy is given, and an episode that has used it up without success is a failure. An
    action that the foreign action space does not hold is not passed on; its turn is used up.

    What the foreign environment raises: an `OSError`, as when a server is gone, becomes a `JudgeError`; what `refuses`
    names is how it turns an action down, so nothing comes of the action and the policy is told the message; all else is
    a bug in it, of which nothing is learned by calling it the policy's failure, and comes through as it is.

    Subclass it and define `walkthrough` where a way to success is known.

    Args:
        env_id: As for `gymnasium.make`; one has to be given.
        settings: Keywords for `gymnasium.make`, such as ``{"render_mode": "ansi"}``.
        seeds: One task each.
        success: A number: the return from which on an episode is a success. Or a str: the key of the foreign info that
            must be true at the end.
        actions: A word for each action of a discrete space, in order; None for their numbers.
        rules: What the policy is told before what it sees; None for the first paragraph of the foreign docstring.
        tags: Whether a command stands between ``<action>`` and ``</action>``; else the whole action is the command.
        show: ``"module:function"`` or the function, from the foreign observation and info to what is seen.
        explain: ``"module:function"`` or the function; see `Explain`.
        refuses: Names of built-in exceptions, such as ``"ValueError"``.
        turns: As in `TurnsEnv`; None for the time limit of the foreign registration, or else 100.
        history: As in `TurnsEnv`.
        prompt: As in `TurnsEnv`.
        tell: As in `TurnsEnv`.
        reveal: As in `FeedbackEnv`.
        limit: As in `FeedbackEnv`.
        render_mode: As in `FeedbackEnv`: of this environment; the foreign one's stands in `settings`.

    Raises:
        SettingError: a keyword has a value that is not offered, or the foreign actions are neither discrete nor text.
    """

    def __init__(
        self,
        env_id: str = "",
        *,
        settings: Mapping[str, Any] | None = None,
        seeds: Sequence[int] = range(100),
        success: float | str = 1.0,
        actions: Sequence[str] | None = None,
        rules: str | None = None,
        tags: bool = False,
        show: str | Callable[[Any, Mapping[str, Any]], str] | None = None,
        explain: str | Explain | None = None,
        refuses: Sequence[str] = (),
        turns: int | None = None,
        history: int = 2,
        prompt: Prompt = "complete",
        tell: bool = True,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        if not env_id:
            raise SettingError("env_id='' is not offered; give the id of an environment, such as 'FrozenLake-v1'.")
        self._world = World(env_id, dict(settings or {}), tuple(_exception(name) for name in refuses))
        foreign = self._world.made()
        if isinstance(success, bool) or not isinstance(success, str | int | float):
            raise SettingError(f"success={success!r} is not offered; it is a return, or a key of the foreign info.")
        if rules is None:
            rules = " ".join((foreign.unwrapped.__doc__ or "").strip().partition("\n\n")[0].split())
        if turns is None:
            turns = (foreign.spec and foreign.spec.max_episode_steps) or 100
        super().__init__(
            [Task(f"{env_id}/{seed}", rules, natural("a seed", seed, least=0)) for seed in seeds],
            turns=turns,
            history=history,
            prompt=prompt,
            tell=tell,
            reveal=reveal,
            limit=limit,
            render_mode=render_mode,
        )
        self.success = success
        self.tags = tags
        self.words = _words(foreign.action_space, actions)
        self._space = foreign.action_space
        self._longest = getattr(self._space, "max_length", _LONGEST_WORD if self.words else _LONGEST)
        self._show = _function(show)
        self._explain = _function(explain)
        self._return = 0.0

    def read(self, action: str) -> Move:
        """Read a command: all of the action, or what stands between the tags if there are to be some."""
        inside = tagged(action, "action") if self.tags else action.strip()
        if inside is None:
            return Move("", (Finding("No command stands between <action> and </action>."),))
        return Move(inside[: self._longest + 1])

    def open(self, task: Task) -> Seen:
        """Reset the foreign environment by the task's seed."""
        self._return = 0.0
        observation, info = self._world.begin(task.answer)
        return self._seen(observation, info)

    def act(self, command: str) -> Seen | Verdict:
        """Take the foreign action that the command names."""
        action = self._action(command)
        if action is None:
            offered = {"Offered": ", ".join(self.seen.commands)} if self.seen.commands else {}
            unknown = Finding("There is no such command.", {"You wrote": command, **offered})
            return Seen(self.seen.text, self.seen.commands, (unknown,) if command or not self.tags else ())
        try:
            observation, reward, terminated, truncated, info = self._world.step(action)
        except self._world.refuses as error:
            refusal = Finding("The environment refuses this action.", {"You wrote": command, "It says": str(error)})
            return Seen(self.seen.text, self.seen.commands, (refusal,))
        self._return += float(reward)
        findings = tuple(self._explain(observation, command, float(reward), info)) if self._explain else ()
        seen = self._seen(observation, info, findings)
        if not terminated and not truncated:
            return seen
        if info.get(self.success) if isinstance(self.success, str) else self._return >= self.success:
            return Verdict(Outcome.PASSED, 1.0)
        return self._failed("Time is up" if truncated else "It is over", seen)

    def run_out(self) -> Verdict:
        """Judge an episode that has used up its turns: it has not ended by itself, so it is a failure."""
        return self._failed(f"All {self.turns} turns are used", self.seen)

    def written(self) -> str:
        """Write the rules, the last turns, what is seen, and what may be written."""
        if self.prompt == "new" and self.past:
            return self.seen.text
        recent = self.past[max(0, len(self.past) - self.history) :]
        past = "\n".join(f"{each.seen}\n> {each.command}" for each in recent)
        how = " between <action> and </action>" if self.tags else ""
        asked = f"Write one of these{how}: {', '.join(self.seen.commands)}" if self.words else f"Write a command{how}."
        return "\n\n".join(filter(None, (self.task.prompt, past, self.seen.text, asked)))

    def close(self) -> None:
        """Close the foreign environment."""
        self._world.close()

    def _seen(self, observation: Any, info: Mapping[str, Any], findings: tuple[Finding, ...] = ()) -> Seen:
        if self._show:
            text = self._show(observation, info)
        else:
            rendered = observation if isinstance(observation, str) else self._world.rendered()
            text = uncoloured(rendered) if isinstance(rendered, str) else str(observation)
        mask = info.get("action_mask")
        commands = self.words if mask is None else [word for word, may in zip(self.words, mask, strict=False) if may]
        return Seen(text.strip("\n"), tuple(commands), findings)

    def _action(self, command: str) -> Any:
        """Return the foreign action that a command names, or None if it names none."""
        if isinstance(self._space, Discrete):
            word = command.lower()
            return int(self._space.start) + self.words.index(word) if word in self.words else None
        return command if len(command) <= self._longest and self._space.contains(command) else None

    def _failed(self, how: str, seen: Seen) -> Verdict:
        needed = (
            f"a return of {self.success:g}" if not isinstance(self.success, str) else f"{self.success!r} in the info"
        )
        title = f"{how}, without success after {len(self.past) + (seen is not self.seen)} turns."
        details = {"Success is": needed, "Return": f"{self._return:g}", "Seen at last": seen.text}
        return Verdict(Outcome.WRONG, 0.0, (*seen.findings, Finding(title, details)))


GymnasiumTextGroup = functools.partial(GroupEnv, GymnasiumText)
"""Groups of attempts at one seed, for `gymnasium.make_vec`."""


def _words(space: gymnasium.Space[Any], actions: Sequence[str] | None) -> tuple[str, ...]:
    """Return a word for each action of a discrete space, none for text."""
    if isinstance(space, Text | FreeText):
        if actions is not None:
            raise SettingError(f"actions={actions!r} is not offered, as this environment takes text.")
        return ()
    if not isinstance(space, Discrete):
        raise SettingError(f"Actions of {space} cannot be written; wrap it so that they are Discrete or Text.")
    words = tuple(str(space.start + number) for number in range(space.n)) if actions is None else tuple(actions)
    if len(words) != space.n or len({word.strip().lower() for word in words}) != space.n:
        raise SettingError(
            f"actions={actions!r} is not offered; it is a word of its own for each of {space.n} actions."
        )
    return tuple(word.strip().lower() for word in words)


def _exception(name: str) -> type[Exception]:
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)) or issubclass(kind, OSError) or kind is Exception:
        raise SettingError(f"refuses={name!r} is not offered; name a built-in exception, such as 'ValueError'.")
    return kind


def _function(named: Any) -> Any:
    return load_env_creator(named) if isinstance(named, str) else named
