"""Any registered environment as one of OpenEnv 0.3 (Meta, Hugging Face): its types, its sessions, and its client.

`openenv_server` serves it. There a WebSocket is a session, and each session has an environment of its own::

    with served("sdpo/ToolUse-v0") as url, FeedbackClient(url).sync() as env:
        result = env.reset(seed=0)
        result = env.step(FeedbackAction(text="..."))
        print(result.reward, result.observation.feedback)
"""

import contextlib
import copy
import math
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State
from pydantic import Field, SkipValidation
from websockets.exceptions import ConnectionClosed

from sdpo_envs.adapters.told import told
from sdpo_envs.core import Feedback
from sdpo_envs.errors import InfrastructureError, SettingError, choose

_TOLD = ("task_id", "system", "verdict", "feedback")
"""What has a field of its own in an observation; the rest of an environment's info is in `info`."""


class FeedbackAction(Action):  # type: ignore[misc]
    """What the policy wrote: any text."""

    text: SkipValidation[str] = Field(description="What the policy wrote.")


class FeedbackObservation(Observation):  # type: ignore[misc]
    """What `reset` and `step` say. `reward` and `done` stand in the `StepResult` around it."""

    text: str = Field(description="What the policy reads next: the prompt, the next turn, or the feedback at the end.")
    task_id: str = Field(description="Which task this is.")
    system: str = Field("", description="The system prompt, empty for none.")
    outcome: str | None = Field(None, description="How the attempt ended, such as 'passed' or 'wrong'; null before.")
    feedback: str = Field("", description="The verdict, or this turn's fault, in words.")
    reveals_answer: bool = Field(False, description="Whether the feedback gives away what was right.")
    findings: list[dict[str, Any]] = Field([], description="The verdict's facts: title, details, answer.")
    truncated: bool = Field(False, description="Whether the episode was cut without a verdict.")
    error: str = Field("", description="What broke; nothing was learned about the policy, and there is no reward.")
    info: dict[str, Any] = Field({}, description="What else the environment tells, such as the commands of a turn.")


class FeedbackState(State):  # type: ignore[misc]
    """Where a session stands: ``episode_id``, ``step_count``, and the episode's task, empty before a reset."""

    env: str = ""
    task_id: str = ""


class ServedEnv(Environment):  # type: ignore[misc]
    """One session's environment: a copy of `env`, which shares its tasks, judge and sandbox and leaves it as it is.

    Args:
        env: Has not been reset; many threads may copy it at once.
        characters: Of one action, at most.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, env: gymnasium.Env[str, str], characters: int) -> None:
        super().__init__()
        self.env = copy.deepcopy(env)
        self.characters = characters
        self._id = "" if env.spec is None else env.spec.id
        self._system = ""
        self._state = FeedbackState(env=self._id)

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, task_id: str | None = None, **unknown: Any
    ) -> FeedbackObservation:
        """Begin an episode: the one that the environment alone begins with this seed, or with this task.

        Raises:
            SettingError: an argument is of another type, or unknown: OpenEnv itself would drop it without a word.
            TaskNotFound: no task has that id.
            InfrastructureError: the world behind the task could not be opened.
        """
        for name in unknown:
            choose("argument of reset", name, ("seed", "episode_id", "task_id"))
        text, info = self.env.reset(seed=seed, options=None if task_id is None else {"task_id": task_id})
        self._system = info["system"]
        self._state = FeedbackState(
            episode_id=str(episode_id or uuid.uuid4()), env=self._id, task_id=info["task_id"], step_count=0
        )
        return self._observation(text, {"verdict": None, "feedback": Feedback(), **info}, done=False)

    def step(
        self,
        action: FeedbackAction,
        request_id: str | None = None,
        task_id: str | None = None,
        **unknown: Any,
    ) -> FeedbackObservation:
        """Take an action. What breaks behind it is no failure of the policy: reward NaN, `error`, and `done`.

        Over HTTP, where no session remembers a reset, `task_id` names the task, and the action is the first.

        Raises:
            ActionError: the action is not a str.
            SettingError: it is longer than this server takes, or an argument is unknown.
            ResetNeeded: the episode has ended, or none has begun.
        """
        for name in unknown:
            choose("argument of step", name, ("action", "task_id"))
        if isinstance(action.text, str) and len(action.text) > self.characters:
            raise SettingError(f"An action of {len(action.text)} characters; this server takes {self.characters}.")
        if task_id is not None:
            self.reset(task_id=task_id)
        try:
            text, reward, terminated, truncated, info = self.env.step(action.text)
        except InfrastructureError as error:
            broken = {"task_id": self._state.task_id, "verdict": None, "feedback": Feedback()}
            why = f"{type(error).__name__}: {error}"
            return self._observation("", broken, reward=math.nan, done=True, truncated=True, error=why)
        self._state.step_count += 1
        return self._observation(text, info, reward=reward, done=terminated or truncated, truncated=truncated)

    @property
    def state(self) -> FeedbackState:
        """Where the session stands."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """What is served here."""
        about = (type(self.env.unwrapped).__doc__ or "An environment with feedback.").strip().splitlines()[0]
        return EnvironmentMetadata(name=self._id, description=about, version=version("sdpo-envs"))

    def close(self) -> None:
        """Close the session's environment."""
        self.env.close()

    def _observation(self, text: str, info: Mapping[str, Any], **standing: Any) -> FeedbackObservation:
        rest = {name: value for name, value in info.items() if name not in _TOLD}
        said = {"text": text, "task_id": info["task_id"], "system": self._system, "info": rest, **told(info)}
        return FeedbackObservation(**_encodable({**said, **standing}))


def _encodable(value: Any) -> Any:
    """Return `value` with an escape for each lone surrogate, which a policy may write and UTF-8 cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_encodable(name): _encodable(each) for name, each in value.items()}
    return [_encodable(each) for each in value] if isinstance(value, list | tuple) else value


class FeedbackClient(EnvClient[FeedbackAction, FeedbackObservation, FeedbackState]):  # type: ignore[misc]
    """OpenEnv's client for such a server; ``.sync()`` gives one for code without ``await``.

    A lost connection, and no reply in `message_timeout_s`, raise `InfrastructureError`, and end the session: a late
    reply must not be taken for that to the next action. Give it longer than the slowest judge takes.
    """

    def __init__(self, base_url: str, *, message_timeout_s: float = 600.0, **settings: Any) -> None:
        super().__init__(base_url, message_timeout_s=message_timeout_s, **settings)

    async def connect(self) -> "FeedbackClient":
        """Connect, and never hang up because the other side was too busy to answer a ping."""
        await super().connect()
        self._ws.ping_timeout = None
        return self

    async def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionClosed):  # what the server said as it closed is then the reply
            await super()._send(message)

    async def _send_and_receive(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            reply: dict[str, Any] = await super()._send_and_receive(message)
        except (ConnectionClosed, TimeoutError) as error:
            await self.disconnect()
            why = str(error) or f"no reply in {self._message_timeout:g} seconds"
            raise InfrastructureError(f"The session is lost ({why}); call reset() to begin in another.") from error
        return reply

    def _step_payload(self, action: FeedbackAction) -> dict[str, Any]:
        return {"text": action.text}

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[FeedbackObservation]:
        observation = FeedbackObservation(**payload["observation"])
        reward = math.nan if observation.error else payload["reward"]  # JSON has no NaN
        return StepResult(observation, reward=reward, done=payload["done"])

    def _parse_state(self, payload: dict[str, Any]) -> FeedbackState:
        return FeedbackState(**payload)
