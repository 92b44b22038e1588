"""verl: an agent loop that plays episodes of several turns. It imports verl, which lives in a Python of its own.

A loop of verl plays one row of a data set once. This one begins the task that the row names, lets the policy write,
takes that as an action, shows what the environment says next, and so on until the episode ends. The reward is the
environment's, so no reward manager is asked; what one would have told is in ``reward_extra_info``. Only what the policy
wrote is trained on.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from uuid import uuid4

from verl.experimental.agent_loop import AgentLoopBase, AgentLoopOutput
from verl.utils.profiler import simple_timer

from sdpo_envs.adapters.verl import scored
from sdpo_envs.adapters.verl_episode import Episode
from sdpo_envs.errors import ContractError, choose

History = Literal["conversation", "observation"]
_MOST_EMPTY = 1000


@dataclass(slots=True)
class _Talk:
    """A conversation.

    Attributes:
        messages: What was said, up to the last thing that the policy heard.
        tokens: All of it, as the policy reads it.
        mask: Of the tokens after the prompt: 1 where the policy wrote it.
        logprobs: Of the same tokens; None where the server gives none.
    """

    messages: list[dict[str, str]]
    tokens: list[int]
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] | None = None


@dataclass(slots=True)
class _Play:
    """An episode.

    Attributes:
        talks: One, or one for each action.
        rewards: Of each action, those included that nobody wrote.
        written: How many actions the policy has written.
        full: Whether it writes no more.
        metrics: Seconds spent on writing and on the environment, and what the server said of itself.
        server: What else the server told: of which steps of training the weights were.
        request: By which the server knows the episode again.
    """

    talks: list[_Talk]
    rewards: list[float] = field(default_factory=list)
    written: int = 0
    full: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    request: str = field(default_factory=lambda: uuid4().hex)


class EpisodeLoop(AgentLoopBase):  # type: ignore[misc]
    """Plays rows that `sdpo_envs.adapters.verl.rows` made.

    Once a conversation leaves no room in ``response_length``, or the policy has written as often as
    ``multi_turn.max_assistant_turns``, nothing more is written: the environment hears empty actions until it ends the
    episode, by its own verdict.

    Args:
        *arguments: verl's.
        history: What is read before an action: ``"conversation"``, everything since the reset, one sample in all; or
            ``"observation"``, the last observation alone, a sample for each action, which suits environments whose
            observations are complete in themselves, and verl's default trainer only.
        **named: verl's.

    Raises:
        SettingError: there is no such `history`.
    """

    def __init__(self, *arguments: Any, history: History = "conversation", **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.history = choose("history", history, get_args(History))

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput | list[AgentLoopOutput]:
        """Play the episode of a row.

        Raises:
            InfrastructureError: the judge could not decide, or a world broke: nothing was learned about the policy.
            ContractError: the environment does not end its episode.
        """
        task_id = row["reward_model"]["ground_truth"]
        episode = await asyncio.to_thread(Episode, row["data_source"], task_id, row["extra_info"])
        play = _Play([await self._begin(list(row["raw_prompt"]))])
        ended, info = False, dict[str, Any]()
        while not ended:
            if len(play.rewards) - play.written > _MOST_EMPTY:
                raise ContractError(f"{row['data_source']} does not end on empty actions; give it a limit of steps.")
            action = "" if play.full else await self._write(play, sampling_params)
            with simple_timer("tool_calls", play.metrics):
                observation, reward, ended, info = await asyncio.to_thread(episode.step, action)
            play.rewards.append(reward)
            if not (ended or play.full):
                await self._hear(play, action, observation)
        outputs = [self._output(play, talk, info) for talk in play.talks]
        return outputs[0] if self.history == "conversation" else outputs

    async def _begin(self, messages: list[dict[str, str]]) -> _Talk:
        return _Talk(messages, await self.ct_build_initial_tokens(messages))

    async def _write(self, play: _Play, sampling_params: dict[str, Any]) -> str:
        """Let the policy write an action, within the room that is left."""
        talk = play.talks[-1]
        room = self.rollout_config.response_length - len(talk.mask)
        sampling = {**sampling_params, "max_tokens": room}
        with simple_timer("generate_sequences", play.metrics):
            said = await self.server_manager.generate(
                request_id=play.request, prompt_ids=talk.tokens, sampling_params=sampling
            )
        written = said.token_ids[:room]
        logprobs = said.log_probs[:room] if said.log_probs else None
        known = talk.logprobs if logprobs is None else talk.logprobs or []
        merged, talk.mask, talk.logprobs = await self.ct_merge_assistant_token(
            talk.tokens, written, talk.mask, known, assistant_logprobs=logprobs
        )
        talk.tokens = merged.token_ids
        play.written += 1
        newest = {"max_global_steps": said.extra_fields.get("max_global_steps")}
        play.server = {**(play.server or said.extra_fields), **newest}
        play.metrics["num_preempted"] = play.metrics.get("num_preempted", 0) + (said.num_preempted or 0)
        return str(self.tokenizer.decode(written, skip_special_tokens=True))

    async def _hear(self, play: _Play, action: str, observation: str) -> None:
        """Show what came of an action, if the policy may write another one."""
        talk, heard = play.talks[-1], {"role": "user", "content": observation}
        play.full = play.written == self.rollout_config.multi_turn.max_assistant_turns
        if play.full:
            return
        if self.history == "observation":
            play.talks.append(await self._begin([*play.talks[0].messages[:-1], heard]))
            return
        before = [*talk.messages, {"role": "assistant", "content": action}]
        after = [*before, heard]
        merged, mask, logprobs = await self.ct_merge_context_msg(before, after, talk.tokens, talk.mask, talk.logprobs)
        play.full = len(mask) >= self.rollout_config.response_length
        if not play.full:
            play.talks = [_Talk(after, merged.token_ids, mask, logprobs)]

    def _output(self, play: _Play, talk: _Talk, info: dict[str, Any]) -> AgentLoopOutput:
        prompt, reward = len(talk.tokens) - len(talk.mask), sum(play.rewards)
        told = {"turn_scores": play.rewards, "tool_rewards": [], "reward_extra_info": scored(reward, info)}
        return AgentLoopOutput(
            prompt_ids=talk.tokens[:prompt],
            response_ids=talk.tokens[prompt:],
            response_mask=talk.mask,
            response_logprobs=talk.logprobs,
            reward_score=reward,
            num_turns=2 * play.written,
            metrics=play.metrics,
            extra_fields={**play.server, **told},
        )
