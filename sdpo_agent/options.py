"""What the commands share: where the policy comes from, and what it is put to."""

import json
from dataclasses import dataclass
from typing import Literal

import gymnasium
import torch
from rich.console import Console

from sdpo_agent.policy import Policy
from sdpo_agent.rollout import Sampler
from sdpo_agent.server import Server
from sdpo_envs import GroupEnv, SettingError, bundled
from sdpo_envs.cli import parse_settings

WARM = ("micro", "microhouse")
"""Policies that come with the package, in ``tasks/NAME/policy``."""


@dataclass(frozen=True, slots=True)
class World:
    """What the policy is put to."""

    env: str = "sdpo/ToolUse-v0"
    """A registered environment; "module:id" imports the module first."""
    env_settings: str = "{}"
    """Keywords for the environment, as a JSON object, such as '{"domain": "physics"}'."""

    def groups(self, tasks: int, group_size: int) -> GroupEnv:
        """Make `tasks` groups of `group_size` attempts.

        Raises:
            SettingError: the vector environment is not a `GroupEnv`, or the settings are no JSON object.
        """
        remedy = f"{self.env} has no groups; register it with vector_entry_point=functools.partial(GroupEnv, ...)."
        settings = parse_settings(self.env_settings, "--env-settings")
        try:
            envs = gymnasium.make_vec(self.env, num_envs=tasks * group_size, group_size=group_size, **settings)
        except TypeError as error:
            if "group_size" not in str(error):
                raise
            raise SettingError(remedy) from error
        if not isinstance(envs, GroupEnv):
            raise SettingError(remedy)
        return envs

    def changed(self, settings: str) -> "World":
        """Return the world with other keywords for the environment, a JSON object, on top of its own."""
        own, more = parse_settings(self.env_settings, "--env-settings"), parse_settings(settings, "--test-settings")
        return World(self.env, json.dumps(own | more))


@dataclass(frozen=True, slots=True)
class Source:
    """Where the policy comes from."""

    policy: str = ""
    """A folder or the name of a model on the Hugging Face Hub; "micro" or "microhouse" for those of the laptop
    benchmark. None builds a small, untrained one."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights."""
    autocast: Literal["no", "bfloat16"] = "no"
    """What to compute in, while the weights keep their type."""
    lora_rank: int = 0
    """Of low-rank adapters, which are then all that is trained; 0 trains every weight."""
    recompute: bool = False
    """Whether to compute activations again in the backward pass (gradient checkpointing), to save memory."""
    context: int | None = None
    """Most tokens of a conversation and its answer; None for what the model can read."""

    def load(self, envs: GroupEnv, seed: int) -> Policy:
        """Load the policy, or build a small one that reads the prompts of `envs`."""
        dtype = getattr(torch, self.dtype)
        autocast = None if self.autocast == "no" else torch.bfloat16
        if self.policy:
            place = bundled("tasks", self.policy, "policy") if self.policy in WARM else self.policy
            policy = Policy.load(place, dtype=dtype, autocast=autocast, recompute=self.recompute)
        else:
            Console(stderr=True).print(
                "No --policy was given, so a small, untrained one is built. It shows that the loop runs; it learns "
                "little."
            )
            texts = [task.prompt for task in envs.envs[0].get_wrapper_attr("tasks")]
            small = Policy.small(texts=texts, vocab_size=1024, max_positions=16_384, seed=seed)
            policy = Policy(small.model.to(dtype), small.tokenizer, autocast=autocast, recompute=self.recompute)
        if self.lora_rank:
            policy = policy.with_lora(self.lora_rank, seed=seed)
        if self.context is not None:
            policy.max_positions = min(policy.max_positions, self.context)
        return policy


@dataclass(frozen=True, slots=True)
class Remote:
    """A server to sample from, in place of a policy in this process."""

    url: str = ""
    """Of an OpenAI-compatible server, such as http://localhost:8000/v1; none for a policy in this process."""
    model: str = ""
    """What the server calls the model."""
    key: str = ""
    """The server's key."""
    limit: int | None = None
    """Most characters that it reads; in multi-turn, the oldest attempts are forgotten beyond that."""
    concurrent: int = 32
    """Most requests at a time."""
    patience: float = 600.0
    """Seconds that it may be silent, and then take to answer, before a request is tried again."""
    tries: int = 5
    """Of a request that the server does not answer, or not now."""

    def sampler(self, source: Source, envs: GroupEnv, seed: int) -> Sampler:
        """Return the server, if one is named, or else the policy.

        Raises:
            SettingError: a server is named and no model of it, or the other way round; or a policy beside them.
        """
        if bool(self.url) != bool(self.model):
            raise SettingError("--url needs --model, what the server calls the model, and --model needs --url.")
        if not self.url:
            return source.load(envs, seed)
        if source.policy:
            raise SettingError("--policy is one in this process, and --url one behind a server; leave one out.")
        return Server(
            self.model,
            self.url,
            key=self.key,
            seconds=self.patience,
            retries=self.tries - 1,
            concurrent=self.concurrent,
            limit=self.limit,
        )
