"""What the agent computes, done again by hand: in float64, from the bare model's logits, one sequence at a time."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdpo_agent import Algorithm, Attempt, Group, Policy, SDPOSettings, Turn
from sdpo_agent.learn import LearnSettings, learn
from sdpo_agent.processes import Processes
from sdpo_envs import Feedback, Outcome, Verdict

ASKED = "Say letter 0."
TEMPERATURE = 0.7
ONE_BATCH = LearnSettings(learning_rate=1.0, max_grad_norm=1e9, max_tokens=9, temperature=TEMPERATURE)


def attempt(
    policy: Policy,
    said: str | Sequence[tuple[str, str]],
    reward: float,
    text: str = "",
    peer: str | None = None,
    off: float = 0.0,
    together: bool = True,
) -> Attempt:
    """An attempt that the policy itself might have made just now; with `off`, another that thinks otherwise.

    `said` is an action, or pairs of what was asked and what was said; `text` and `peer` are its feedback.
    """
    pairs = [(ASKED, said)] if isinstance(said, str) else list(said)
    asked = [Turn(asked, action, tuple(policy.chat.answer_ids(action)), ()) for asked, action in pairs]
    scripts = [asked] if together else [[turn] for turn in asked]
    with torch.no_grad():
        logprobs = policy.logprobs([policy.chat.script(turns) for turns in scripts], TEMPERATURE).tolist()
    logprobs = [value + (off if number % 2 else -off) for number, value in enumerate(logprobs)]
    turns, start = [], 0
    for turn in asked:
        end = start + len(turn.token_ids)
        turns.append(Turn(turn.observation, turn.action, turn.token_ids, tuple(logprobs[start:end])))
        start = end
    verdict = None if math.isnan(reward) else Verdict(Outcome.PASSED if reward == 1 else Outcome.WRONG, reward)
    feedback = None if verdict is None else Feedback(text, peer=peer)
    error = "JudgeError: the judge is out" if verdict is None else ""
    return Attempt("say/a", tuple(turns), reward, verdict, feedback, error, one_conversation=together)


def group(*attempts: Attempt) -> Group:
    return Group("say/a", attempts)


class Still(torch.optim.SGD):
    """Keeps the gradients that it is given, and takes no step."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy.trainable(), 1.0)
        self.gradients: list[Tensor] = []

    def step(self, closure: Any = None) -> Any:
        weights = [weight for each in self.param_groups for weight in each["params"]]
        grads = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        self.gradients.append(torch.cat([grad.flatten().double() for grad in grads]))


def told_of(
    policy: Policy, algorithm: Algorithm, groups: Sequence[Group], settings: LearnSettings = ONE_BATCH
) -> tuple[dict[str, float], Tensor]:
    """What one batch says, and the gradient of its last mini-batch; zero if no step would be taken."""
    optimizer = Still(policy)
    tally = learn(policy, algorithm, optimizer, groups, settings, step=0, processes=Processes())
    told = {name: value / count if count else value for name, (value, count) in tally.items()}
    nothing = torch.zeros(sum(weight.numel() for weight in policy.trainable()), dtype=torch.float64)
    return told, optimizer.gradients[-1] if optimizer.gradients else nothing


def precise(policy: Policy) -> Any:
    """The bare model in float64, adapters and all."""
    return copy.deepcopy(policy.model).double()


def flat_gradient(loss: Tensor, model: Any) -> Tensor:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    grads = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.cat([grad.flatten() for grad in grads])


def read(policy: Policy, model: Any, turns: Sequence[Turn], opening: str | None = None) -> Tensor:
    """Every token's log-probabilities logprobs_TV, after writing the conversation out by hand."""
    ids: list[int] = []
    written: list[int] = []
    for number, turn in enumerate(turns):
        shown = opening if opening is not None and number == 0 else turn.observation
        ids += policy.tokenizer.encode(f"<|user|>{shown}<|end|><|assistant|>", add_special_tokens=False)
        written += range(len(ids), len(ids) + len(turn.token_ids))
        ids += turn.token_ids
    logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    return torch.stack([(logits[position - 1] / TEMPERATURE).log_softmax(-1) for position in written])


def spoken(logprobs_TV: Tensor, turns: Sequence[Turn]) -> Tensor:
    """Those of the tokens that were written."""
    ids = [token for turn in turns for token in turn.token_ids]
    return torch.stack([row[token] for row, token in zip(logprobs_TV, ids, strict=True)])


def old(turns: Sequence[Turn]) -> Tensor:
    return torch.tensor([value for turn in turns for value in turn.logprobs], dtype=torch.float64)


def moved(policy: Policy, by: float = 0.02, seed: int = 0) -> Policy:
    """The same policy, a little way off, in place."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.trainable():
            weight += by * torch.randn(weight.shape, generator=dice)
    return policy


def shared(losses: Tensor, how: str) -> tuple[Tensor, float]:
    """What the losses of one attempt's tokens add to the sum, and to what the sum is divided by."""
    if how == "token-mean":
        return losses.sum(), len(losses)
    return (losses.sum(), ONE_BATCH.max_tokens) if how == "length-mean" else (losses.mean(), 1)


def relative(ours: Tensor, theirs: Tensor) -> float:
    """How far apart two vectors are, in units of the second."""
    return float((ours - theirs).norm() / theirs.norm())


def weights_of(policy: Policy) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in policy.trainable()])


def categories(logprobs: Tensor, kept: Tensor, tail: bool) -> Tensor:
    probabilities = logprobs.exp()[kept]
    if tail:
        return torch.cat([probabilities, 1 - probabilities.sum().clamp(max=1 - 1e-7)[None]])
    return probabilities / probabilities.sum()


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum()


def distances(student: Tensor, teacher: Tensor, ids: list[int], settings: SDPOSettings) -> Tensor:
    """Each token's divergence, or what stands for it; student and teacher as logprobs_TV."""
    losses = []
    gaps = torch.stack([(t - s)[token].detach() for s, t, token in zip(student, teacher, ids, strict=True)])
    for position, (s, t, token) in enumerate(zip(student, teacher, ids, strict=True)):
        if settings.support in ("sampled-token", "sequence"):
            advantage = gaps[position] if settings.support == "sampled-token" else gaps.mean()
            if settings.advantage_clip is not None:
                advantage = advantage.clamp(-settings.advantage_clip, settings.advantage_clip)
            losses.append(-advantage * s[token])
            continue
        if settings.support == "full":
            p, q = s.exp(), t.exp()
        else:
            kept = (t if settings.support == "teacher-top-k" else s).detach().topk(min(settings.top_k, len(s))).indices
            p, q = (categories(each, kept, settings.tail) for each in (s, t))
        mixture = (1 - settings.alpha) * p + settings.alpha * q
        if settings.alpha in (0, 1):
            losses.append(kl(q, p) if settings.alpha == 0 else kl(p, q))
        else:
            losses.append((1 - settings.alpha) * kl(p, mixture) + settings.alpha * kl(q, mixture))
        if settings.advantage_clip is not None:
            with torch.no_grad():
                advantage = {0.0: q / p, 1.0: (q / p).log()}.get(
                    settings.alpha, (1 - settings.alpha) * (mixture / p).log()
                )
                advantage = advantage.clamp(-settings.advantage_clip, settings.advantage_clip)
            gradient = -(advantage * p).sum()  # d(sum of -A S) = sum of -A S dlog S
            losses[-1] = losses[-1].detach() + gradient - gradient.detach()
    return torch.stack(losses)
