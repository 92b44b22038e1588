"""Makes the small policy of the laptop benchmark, and writes down how: one command, the same each time.

    sdpo warm-start --out tasks/micro/policy

Nothing but the environments' own episodes is learned from (`sdpo_agent.episodes`), so whoever has them has the data.
"""

import hashlib
import json
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium
import torch

from sdpo_agent.episodes import episodes, kinds_of
from sdpo_agent.policy import Policy
from sdpo_agent.warmstart import Example, script, warm_start
from sdpo_envs import FeedbackEnv
from sdpo_envs.errors import within

_READ_BY_THE_TOKENIZER = 16_384
_EXAMINED = 1024
_OTHER_TASKS = 1_000_003  # added to the seed, for episodes that nothing was learned from
_FIRST = 8
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class WarmStartSettings:
    """The policy, and what it learns from."""

    envs: tuple[str, ...] = ("sdpo/MicroCode-v0", "sdpo/MicroCode-v0", "sdpo/MicroTool-v0")
    """Environments that have a split "warm", an oracle and a guess. One that is named twice has twice the episodes."""
    steps: int = 14_000
    """Optimizer steps."""
    batch: int = 32
    """Episodes per step."""
    learning_rate: float = 1.5e-3
    """Its height; it falls linearly to 0."""
    warmup_steps: int = 200
    """Over which it rises."""
    prompt_weight: float = 0.1
    """What a token of the prompt counts, beside 1 for one of the answer."""
    vocab_size: int = 768
    """Tokens, learned from the episodes."""
    hidden: int = 128
    """Width."""
    layers: int = 3
    """Decoder layers."""
    heads: int = 4
    """Attention heads."""
    max_positions: int = 1024
    """The longest conversation, in tokens."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "hidden", "layers", "heads", "max_positions"):
            within(name, getattr(self, name), 1)


def warm_policy(settings: WarmStartSettings, steps: int | None = None) -> tuple[Policy, list[float]]:
    """Make the policy; return it with the loss of every step, nats per answer token.

    Args:
        settings: See there.
        steps: Stop after so many of them.
    """
    said = list(islice(episodes(settings.envs, settings.seed), _READ_BY_THE_TOKENIZER))
    texts = [text for messages, answer in said for text in (*(each["content"] for each in messages), answer)]
    policy = Policy.small(
        texts=texts,
        vocab_size=settings.vocab_size,
        seed=settings.seed,
        hidden=settings.hidden,
        layers=settings.layers,
        heads=settings.heads,
        max_positions=settings.max_positions,
    )
    losses = warm_start(
        policy,
        episodes(settings.envs, settings.seed),
        steps=settings.steps,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        prompt_weight=settings.prompt_weight,
        seed=settings.seed,
        stop=steps,
    )
    return policy, losses


def save_with_card(settings: WarmStartSettings, folder: Path) -> Mapping[str, Any]:
    """Make the policy, write it to `folder`, with ``card.json``, and return what the card says."""
    start = time.perf_counter()
    policy, losses = warm_policy(settings)
    seconds = time.perf_counter() - start
    policy.save(folder)
    weights = (folder / "model.safetensors").read_bytes()
    card = {
        "command": "sdpo warm-start",
        "settings": asdict(settings),
        "parameters": sum(weight.numel() for weight in policy.trainable()),
        "episodes": settings.steps * settings.batch,
        "minutes": round(seconds / 60, 1),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "first_losses": [round(loss, 4) for loss in losses[:_FIRST]],
        "last_loss": round(sum(losses[-100:]) / len(losses[-100:]), 4),
        "chance_of_the_right_action": {env: examine(policy, env, settings.seed) for env in sorted({*settings.envs})},
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card


def examine(policy: Policy, env_id: str, seed: int, kinds: Iterable[str] = ()) -> dict[str, float]:
    """Return the mean probability of the right action on 1024 new tasks, by what is read besides the question."""
    env = gymnasium.make(env_id, split="warm").unwrapped
    assert isinstance(env, FeedbackEnv)
    offered = kinds_of(env)
    env.close()
    found = {}
    for kind in kinds or offered:
        _, writer = offered[kind]
        drawn = episodes([env_id], seed + _OTHER_TASKS, {kind: (1.0, writer)})
        found[kind] = round(_chance(policy, list(islice(drawn, _EXAMINED))), 3)
    return found


@torch.no_grad()
def _chance(policy: Policy, examples: Sequence[Example]) -> float:
    chances: list[float] = []
    for start in range(0, len(examples), _AT_ONCE):
        scripts = [script(policy, *example) for example in examples[start : start + _AT_ONCE]]
        parts = policy.logprobs(scripts).split([len(each.written) for each in scripts])  # type: ignore[no-untyped-call]
        chances += [float(part.sum().exp()) for part in parts]
    return sum(chances) / len(chances)
