"""Wrappers for environments with feedback."""

from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from sdpo_envs.env import Step, natural
from sdpo_envs.errors import choose

_EARLIER = "The following is feedback from your unsuccessful earlier attempt:\n\n"
_AGAIN = "Correctly solve the original question."


class MultiAttempt(gymnasium.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Up to `attempts` attempts at one task, each shown the feedback of the earlier ones.

    This is the multi-turn baseline of the SDPO paper (arXiv 2601.20802, section 5): no weights change, the feedback
    stands in the prompt. The episode ends at the first success or after the last attempt, with the verdict of that
    attempt; a failed attempt before that has reward 0, and its own verdict in ``info``.

    Each observation is complete in itself, so that a policy without memory can act on it. With ``history="feedback"``,
    which the paper found clearly better, it is the question and the feedback of the earlier attempts. With
    ``history="conversation"`` it also holds the attempts, and ``info["messages"]`` has the same as chat turns, a tuple
    of ``{"role", "content"}`` without the system turn.

    Args:
        env: An environment of this package, wrapped or not, whose episode is one attempt.
        attempts: At least 1.
        history: ``"feedback"`` or ``"conversation"``.
        limit: Most characters of history to show; the oldest attempts are forgotten first. (The paper caps the prompt
            at 32,000 tokens in the same way.)

    Raises:
        SettingError: `attempts` or `limit` is not an int of at least 1, or there is no such history.
    """

    def __init__(
        self, env: gymnasium.Env[str, str], attempts: int, history: str = "feedback", limit: int = 100_000
    ) -> None:
        RecordConstructorArgs.__init__(self, attempts=attempts, history=history, limit=limit)
        super().__init__(env)
        self.attempts = natural("attempts", attempts)
        self.history = choose("history", history, ("feedback", "conversation"))
        self.limit = natural("limit", limit)
        self._question = ""
        self._task_id = ""
        self._earlier: list[tuple[str, str]] = []
        self._tried = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Choose a task and show it, with no history yet."""
        self._question, info = self.env.reset(seed=seed, options=options)
        self._task_id = info["task_id"]
        self._earlier, self._tried = [], 0
        return self._question, self._told(info)

    def step(self, action: str) -> Step:
        """Take one action of the current attempt; when the attempt fails and another is left, begin that one."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not terminated and not truncated:
            return observation, float(reward), False, False, self._told(info)
        self._tried += 1
        verdict = info["verdict"]
        if verdict is None or verdict.passed or self._tried == self.attempts:
            return observation, float(reward), terminated, truncated, self._told(info)
        self._earlier.append((self.env.get_wrapper_attr("attempt"), str(info["feedback"])))
        self._forget()
        self._question, _ = self.env.reset(options={"task_id": self._task_id})
        return self._prompt(), 0.0, False, False, self._told(info)

    def _forget(self) -> None:
        # An attempt longer than the limit is forgotten too: it would crowd out the question.
        kept = [action + feedback if self.history == "conversation" else feedback for action, feedback in self._earlier]
        while kept and sum(map(len, kept)) > self.limit:
            del kept[0], self._earlier[0]

    def _prompt(self) -> str:
        if self.history == "feedback":
            told = _heard("\n\n".join(text for _, text in self._earlier if text))
        else:
            told = "".join(f"Your attempt:\n\n{action}\n\n{_heard(text)}" for action, text in self._earlier)
        return f"{self._question}\n\n{told}{_AGAIN}" if told else self._question

    def _told(self, info: dict[str, Any]) -> dict[str, Any]:
        if self.history == "feedback":
            return info
        messages = [{"role": "user", "content": self._question}]
        for action, text in self._earlier:
            messages.append({"role": "assistant", "content": action})
            messages.append({"role": "user", "content": f"{_heard(text)}{_AGAIN}"})
        return {**info, "messages": tuple(messages)}


def _heard(text: str) -> str:
    return f"{_EARLIER}{text}\n\n" if text else ""
