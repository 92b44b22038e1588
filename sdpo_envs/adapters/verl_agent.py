"""verl: an agent loop that plays episodes of several turns. It imports verl, which lives in a Python of its own.

A loop of verl plays one row of a data set once. This one begins the task that the row names, lets the policy write,
takes that as an action, shows what the environment says next, and so on until the episode ends. The reward is the
environment's, so no reward manager is asked; what one would have told is in ``reward_extra_info``. All is one
conversation, of which only what the policy wrote is trained on.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop import AgentLoopBase, AgentLoopOutput
from verl.utils.profiler import simple_timer

from sdpo_envs.adapters.verl import Episode, scored
from sdpo_envs.errors import ContractError

_MOST_EMPTY = 1000


@dataclass(slots=True)
class _Talk:
    """A conversation.

    Attributes:
        messages: What was said, up to the last thing that the policy heard.
        tokens: All of it, as the policy reads it.
        mask: Of the tokens after the prompt: 1 where the policy wrote it.
        logprobs: Of the same tokens; None where the server gives none.
        written: How many actions the policy has written.
        full: Whether it writes no more.
        metrics: Seconds spent on writing and on the environment, and what the server said of itself.
        server: What else the server told: of which steps of training the weights were.
        request: By which the server knows the conversation again.
    """

    messages: list[dict[str, str]]
    tokens: list[int]
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] | None = None
    written: int = 0
    full: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    request: str = field(default_factory=lambda: uuid4().hex)


class EpisodeLoop(AgentLoopBase):  # type: ignore[misc]
    """Plays rows that `sdpo_envs.adapters.verl.rows` made.

    Once the conversation leaves no room in ``response_length``, or has as many actions of the policy as
    ``multi_turn.max_assistant_turns``, nothing more is written: the environment hears empty actions until it ends the
    episode, by its own verdict.
    """

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Play the episode of a row.

        Raises:
            InfrastructureError: the judge could not decide, or a world broke: nothing was learned about the policy.
            ContractError: the environment does not end its episode.
        """
        task_id = row["reward_model"]["ground_truth"]
        episode = await asyncio.to_thread(Episode, row["data_source"], task_id, row["extra_info"])
        messages = list(row["raw_prompt"])
        talk = _Talk(messages, await self.ct_build_initial_tokens(messages))
        rewards: list[float] = []
        ended, info = False, dict[str, Any]()
        while not ended:
            if len(rewards) - talk.written > _MOST_EMPTY:
                raise ContractError(f"{row['data_source']} does not end on empty actions; give it a limit of steps.")
            action = "" if talk.full else await self._write(talk, sampling_params)
            with simple_timer("tool_calls", talk.metrics):
                observation, reward, ended, info = await asyncio.to_thread(episode.step, action)
            rewards.append(reward)
            if not (ended or talk.full):
                await self._hear(talk, action, observation)
        return self._output(talk, rewards, info)

    async def _write(self, talk: _Talk, sampling_params: dict[str, Any]) -> str:
        """Let the policy write an action, within the room that is left."""
        room = self.rollout_config.response_length - len(talk.mask)
        sampling = {**sampling_params, "max_tokens": room}
        with simple_timer("generate_sequences", talk.metrics):
            said = await self.server_manager.generate(
                request_id=talk.request, prompt_ids=talk.tokens, sampling_params=sampling
            )
        written = said.token_ids[:room]
        logprobs = said.log_probs[:room] if said.log_probs else None
        known = talk.logprobs if logprobs is None else talk.logprobs or []
        merged, talk.mask, talk.logprobs = await self.ct_merge_assistant_token(
            talk.tokens, written, talk.mask, known, assistant_logprobs=logprobs
        )
        talk.tokens = merged.token_ids
        talk.written += 1
        newest = {"max_global_steps": said.extra_fields.get("max_global_steps")}
        talk.server = {**(talk.server or said.extra_fields), **newest}
        talk.metrics["num_preempted"] = talk.metrics.get("num_preempted", 0) + (said.num_preempted or 0)
        return str(self.tokenizer.decode(written, skip_special_tokens=True))

    async def _hear(self, talk: _Talk, action: str, observation: str) -> None:
        """Add what came of an action, if the policy may write another one."""
        before = [*talk.messages, {"role": "assistant", "content": action}]
        after = [*before, {"role": "user", "content": observation}]
        merged, mask, logprobs = await self.ct_merge_context_msg(before, after, talk.tokens, talk.mask, talk.logprobs)
        most = self.rollout_config.multi_turn.max_assistant_turns
        talk.full = len(mask) >= self.rollout_config.response_length or talk.written == most
        if not talk.full:
            talk.messages, talk.tokens, talk.mask, talk.logprobs = after, merged.token_ids, mask, logprobs

    def _output(self, talk: _Talk, rewards: list[float], info: dict[str, Any]) -> AgentLoopOutput:
        prompt = len(talk.tokens) - len(talk.mask)
        told = {"turn_scores": rewards, "tool_rewards": [], "reward_extra_info": scored(sum(rewards), info)}
        return AgentLoopOutput(
            prompt_ids=talk.tokens[:prompt],
            response_ids=talk.tokens[prompt:],
            response_mask=talk.mask,
            response_logprobs=talk.logprobs,
            reward_score=sum(rewards),
            num_turns=2 * talk.written,
            metrics=talk.metrics,
            extra_fields={**talk.server, **told},
        )
