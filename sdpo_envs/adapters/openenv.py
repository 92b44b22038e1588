"""Any registered environment as one of OpenEnv 0.3 (Meta, Hugging Face): what is said on the wire, and a client.

`openenv_server` serves it::

    with served("sdpo/ToolUse-v0") as url, FeedbackClient(url).sync() as env:
        result = env.reset(seed=0)
        result = env.step(FeedbackAction(text="..."))
        print(result.reward, result.observation.feedback)
"""

import contextlib
import math
from typing import Any

from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field, SkipValidation
from websockets.exceptions import ConnectionClosed

from sdpo_envs.errors import InfrastructureError


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
