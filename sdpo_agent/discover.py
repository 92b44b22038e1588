"""Test time: one task, attempt after attempt, until one succeeds (SDPO, arXiv 2601.20802, section 5).

Three ways to use the attempts that failed, behind one interface and with one record. Best-of-k forgets them. Multi-turn
shows their feedback, or all that was said, in the prompt; no weight changes. Test-time SDPO shows nothing and learns:
the self-teacher reads the feedback, and the policy follows it.

Attempts come in rounds of as many as the environment has slots. In multi-turn each slot is a chain of its own, so one
slot is the paper's protocol. The record is ``attempts.jsonl``, a row per attempt, from which `sdpo_agent.curves` draws
discovery@k; a run that was killed goes on after its last whole round.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sdpo_agent.attempt import Attempt, Conversation, Group, Turn
from sdpo_agent.learn import Algorithm, LearnSettings, learn, make_optimizer
from sdpo_agent.policy import Policy
from sdpo_agent.processes import Processes
from sdpo_agent.reprompt import FEEDBACK, INSTRUCTION
from sdpo_agent.rollout import Groups, Sampler, collect
from sdpo_agent.run import Run, State
from sdpo_envs import Feedback, InfrastructureError, Outcome, Verdict
from sdpo_envs.errors import within

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DiscoverSettings(LearnSettings):
    """How long to look, and how to learn where something is learned."""

    attempts: int = 256
    """Most attempts at the task; the round that reaches it is played to its end."""
    play_on: bool = False
    """Whether to use up all attempts after a success too; best-of-k needs that for an unbiased pass@k, and the command
    line asks it of that alone."""
    retries: int = 2
    """How often to play a round again in which every attempt broke in the machinery, before the run ends."""
    checkpoint_every: int = 1
    """Rounds between checkpoints of a policy that learns."""

    def __post_init__(self) -> None:
        LearnSettings.__post_init__(self)
        for name in ("attempts", "checkpoint_every"):
            within(name, getattr(self, name), 1)
        within("retries", self.retries, 0)


class Strategy(Protocol):
    """What is done with the attempts so far."""

    @property
    def sampler(self) -> Sampler:
        """Who writes."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What tells it from others of its kind, for ``config.json``: another one must not resume its run."""

    def ask(self, slot: int, conversation: Conversation) -> Conversation:
        """Return what a slot reads in place of the bare question."""

    def hear(self, group: Group, round: int) -> None:
        """Take in a round of attempts, the first being round 0."""

    def save(self, run: Run, rounds: int) -> None:
        """Write what cannot be heard again from the record."""

    def load(self, run: Run) -> int:
        """Take up what was saved, and return of how many rounds; the others are heard again from the record."""


class BestOfK:
    """Independent attempts: discovery@k is pass@k."""

    def __init__(self, sampler: Sampler, facts: Mapping[str, Any] | None = None) -> None:
        self.sampler = sampler
        self.facts = facts or {}

    def ask(self, slot: int, conversation: Conversation) -> Conversation:
        """Ask the bare question."""
        return conversation

    def hear(self, group: Group, round: int) -> None:
        """Forget it."""

    def save(self, run: Run, rounds: int) -> None:
        """Write nothing."""

    def load(self, run: Run) -> int:
        """Take up nothing."""
        return 0


class MultiTurn(BestOfK):
    """Chains of attempts, each shown the feedback of the earlier ones; the oldest are forgotten when room runs out.

    Args:
        sampler: Writes.
        settings: Tell how much room an action needs.
        conversation: Whether to show the attempts too, as turns of a chat, and not only their feedback in one turn,
            which the paper found clearly better.
        memory: Most failures to show; None for as many as there is room for. With 1 it is no more than asking again
            with feedback.
    """

    def __init__(
        self, sampler: Sampler, settings: DiscoverSettings, *, conversation: bool = False, memory: int | None = None
    ) -> None:
        super().__init__(sampler, {"conversation": conversation, "memory": memory})
        self._room = settings.max_tokens
        self._conversation = conversation
        self._memory = memory
        self._chains: dict[int, list[Attempt]] = {}
        self._starts: dict[int, int] = {}

    def ask(self, slot: int, conversation: Conversation) -> Conversation:
        """Ask the question with as much history as there is room for."""
        chain = self._chains.get(slot, [])

        def fits(start: int) -> bool:
            return self.sampler.fits(self._asked(chain[start:], conversation), self._room)

        oldest = 0 if self._memory is None else max(0, len(chain) - self._memory)
        start = self._starts.get(slot, len(chain))  # where to search from; what is found does not depend on it
        while start > oldest and fits(start - 1):
            start -= 1
        while start < len(chain) and (start < oldest or not fits(start)):
            start += 1
        self._starts[slot] = start
        return self._asked(chain[start:], conversation)

    def hear(self, group: Group, round: int) -> None:
        """Add each failure that something was said about to its chain."""
        for slot, attempt in enumerate(group.attempts):
            if attempt.feedback and not attempt.passed:
                self._chains.setdefault(slot, []).append(attempt)

    def _asked(self, chain: Sequence[Attempt], conversation: Conversation) -> Conversation:
        if not chain:
            return conversation
        told = [str(attempt.feedback) for attempt in chain]
        if not self._conversation:
            feedback = "\n\n".join(told)
            return replace(conversation, observation=f"{conversation.observation}\n{FEEDBACK}{feedback}{INSTRUCTION}")
        shown = [conversation.observation, *(f"{FEEDBACK.lstrip()}{text}{INSTRUCTION}" for text in told)]
        turns = [replace(attempt.turns[-1], observation=text) for attempt, text in zip(chain, shown, strict=False)]
        return replace(conversation, observation=shown[-1], turns=tuple(turns))


class TestTime(BestOfK):
    """Test-time self-distillation: the policy learns from each round, and is asked the bare question again.

    Args:
        policy: Learns, in place.
        algorithm: Such as `SDPO` with the preset ``"sdpo-test-time"``.
        settings: How.
    """

    __test__ = False  # it is no test, whatever pytest thinks of the name

    def __init__(self, policy: Policy, algorithm: Algorithm, settings: DiscoverSettings) -> None:
        own: Any = algorithm.settings
        super().__init__(policy, {"algorithm": type(algorithm).__name__, **asdict(own)})
        self.policy, self.algorithm, self.settings = policy, algorithm, settings
        self.optimizer = make_optimizer(policy, settings)
        self._processes = Processes()
        self._metrics: list[dict[str, float]] = []

    def hear(self, group: Group, round: int) -> None:
        """Learn from a round."""
        told = learn(
            self.policy,
            self.algorithm,
            self.optimizer,
            [group],
            self.settings,
            step=round,
            processes=self._processes,
        )
        means = {name: value / count if count else value for name, (value, count) in told.items()}
        self._metrics.append({"round": float(round), **means})

    def save(self, run: Run, rounds: int) -> None:
        """Write policy, teacher and optimizer."""
        if rounds % self.settings.checkpoint_every == 0:
            state = dict(self.algorithm.state())
            run.save(self.policy, State(self._metrics, [], self.optimizer.state_dict(), state))
            run.rewrite("metrics.jsonl", self._metrics)

    def load(self, run: Run) -> int:
        """Take them up."""
        state = run.load(self.policy)
        if state is not None:
            self._metrics = state.metrics
            self.optimizer.load_state_dict(state.optimizer)
            self.algorithm.restore(state.algorithm)
        return len(self._metrics)


def discover(
    strategy: Strategy,
    envs: Groups,
    task_id: str,
    settings: DiscoverSettings,
    run: str | Path,
    *,
    resume: bool = False,
    told: dict[str, Any] | None = None,
) -> list[Row]:
    """Attempt one task until an attempt succeeds or the attempts are used up.

    Args:
        strategy: What is done with failures.
        envs: One group; its slots are the attempts of a round.
        task_id: The task.
        settings: See there.
        run: A new folder, or with `resume` one that holds such a run.
        resume: Go on after the last whole round in `run`.
        told: What else to write into each row, such as the seed, and into ``config.json``.

    Returns:
        A row per attempt: ``round`` from 0, ``attempt`` from 1 (None if the machinery broke), ``passed``, ``reward``,
        ``outcome``, ``feedback``, ``peer``, ``reveals_answer``, ``tokens`` written, ``prompt_tokens`` read as far as a
        server told, ``turns``, ``error``, and what was `told`.

    Raises:
        FileExistsError: `run` holds a run already, and `resume` was not asked for.
        FileNotFoundError: there is no run to resume.
        SettingError: the run to resume was of another strategy or other settings.
        InfrastructureError: in some round every attempt broke, every time.
    """
    facts = {"task_id": task_id, "strategy": type(strategy).__name__, **(told or {})}
    begun = {**facts, **strategy.facts, "slots": envs.num_envs}
    config = {"algorithm": facts["strategy"], "settings": begun, "loop": asdict(settings)}
    folder = Run(run, config, resume=resume)
    rounds = _recorded(folder, envs.num_envs) if resume else []
    heard = strategy.load(folder) if resume else 0
    rows = [row for each in rounds for row in each]
    for number in range(heard, len(rounds) - _is_over(rows, settings)):  # nobody hears the round that ends a run
        strategy.hear(_group(rounds[number]), number)
    number = len(rounds)
    while not _is_over(rows, settings):
        group = _play(strategy, envs, task_id, settings, number)
        fresh = list(_rows(group, number, sum(row["attempt"] is not None for row in rows), facts))
        folder.append("attempts.jsonl", fresh)
        rows += fresh
        number += 1
        if not _is_over(rows, settings):
            strategy.hear(group, number - 1)
            strategy.save(folder, number)
    return rows


def first_success(rows: Sequence[Row]) -> float:
    """Return the number of the first attempt that passed, infinite if none did: the discovery time."""
    return min((row["attempt"] for row in rows if row["passed"]), default=math.inf)


def _play(strategy: Strategy, envs: Groups, task_id: str, settings: DiscoverSettings, number: int) -> Group:
    for _ in range(settings.retries + 1):
        (group,) = collect(
            envs,
            strategy.sampler,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seeds=np.random.SeedSequence([settings.seed, number]).generate_state(1).tolist(),
            task_ids=[task_id],
            ask=strategy.ask,
        )
        if group.decided:
            return group
    raise InfrastructureError(
        f"In round {number} every attempt at {task_id} broke, {settings.retries + 1} times in a row; the first because "
        f"of {group.attempts[0].error}. Mend that, and resume the run."
    )


def _is_over(rows: Sequence[Row], settings: DiscoverSettings) -> bool:
    found = not settings.play_on and math.isfinite(first_success(rows))
    return found or sum(row["attempt"] is not None for row in rows) >= settings.attempts


def _rows(group: Group, number: int, before: int, facts: dict[str, Any]) -> Iterator[Row]:
    for attempt in group.attempts:
        before += attempt.decided
        yield {
            **facts,
            "round": number,
            "attempt": before if attempt.decided else None,
            "passed": attempt.passed,
            "reward": attempt.reward if attempt.decided else None,
            "outcome": None if attempt.verdict is None else attempt.verdict.outcome.value,
            "feedback": str(attempt.feedback or ""),
            "peer": None if attempt.feedback is None else attempt.feedback.peer,
            "reveals_answer": bool(attempt.feedback and attempt.feedback.reveals_answer),
            "tokens": sum(turn.tokens for turn in attempt.turns),
            "prompt_tokens": sum(turn.prompt_tokens for turn in attempt.turns),
            "turns": [
                {**asdict(turn), "token_ids": list(turn.token_ids), "logprobs": list(turn.logprobs)}
                for turn in attempt.turns
            ],
            "error": attempt.error,
        }


def _recorded(folder: Run, slots: int) -> list[list[Row]]:
    """Read the whole rounds of a record; what was torn when the process was killed is dropped."""
    rows = folder.read("attempts.jsonl")
    rounds = [rows[start : start + slots] for start in range(0, len(rows), slots)]
    whole = [each for each in rounds if len(each) == slots]
    folder.rewrite("attempts.jsonl", [row for each in whole for row in each])
    return whole


def _group(rows: Sequence[Row]) -> Group:
    """Return a round as it was played, from its rows."""
    attempts = []
    for row in rows:
        turns = tuple(
            Turn(**{**turn, "token_ids": tuple(turn["token_ids"]), "logprobs": tuple(turn["logprobs"])})
            for turn in row["turns"]
        )
        verdict = Verdict(Outcome(row["outcome"]), row["reward"]) if row["outcome"] else None
        feedback = None if row["error"] else Feedback(row["feedback"], row["reveals_answer"], row["peer"])
        reward = math.nan if row["reward"] is None else row["reward"]
        attempts.append(Attempt(row["task_id"], turns, reward, verdict, feedback, row["error"]))
    return Group(rows[0]["task_id"], tuple(attempts))
