"""What student and self-teacher think of each token of a few attempts: rows to look at, such as `sdpo view` shows.

They are scored as learning finds them, before the policy moves, by the very functions that the loss calls.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdpo_agent.attempt import Attempt, Group, Sample, Turn
from sdpo_agent.head import peek
from sdpo_agent.learn import Algorithm
from sdpo_agent.policy import Policy
from sdpo_agent.teacher import Teacher
from sdpo_envs import SettingError

_TOKENWISE = 2  # tells this choice from the other draws of a step
_DECIMALS = 6
_HELD = 8  # tokens that one character may take, and more


def teacher_of(algorithm: Algorithm) -> Teacher:
    """Return the self-teacher.

    Raises:
        SettingError: the algorithm has none.
    """
    teacher = getattr(algorithm, "teacher", None)
    if not isinstance(teacher, Teacher):
        name = type(algorithm).__name__
        raise SettingError(f"{name} has no self-teacher, so no token has a gap to show; leave token_rows at 0.")
    return teacher


@torch.no_grad()
def token_rows(
    policy: Policy,
    algorithm: Algorithm,
    groups: Sequence[Group],
    count: int,
    *,
    temperature: float,
    seed: Sequence[int],
) -> list[dict[str, Any]]:
    """Score the tokens of some attempts that have something to teach, drawn from all such.

    Args:
        policy: The student.
        algorithm: One with a self-teacher.
        groups: What was played.
        count: How many attempts, or all that there are if fewer; 0 for none.
        temperature: Of the sampling.
        seed: The draw follows from it.

    Returns:
        A row per attempt: ``task``; ``attempt``, its slot within its group; and ``turns``, each with its ``action``,
        what it ``saw``, what the teacher ``reads`` in place of that (None for what the student saw), ``tokens``, the
        texts of the tokens, and the log-probabilities of ``student`` and ``teacher``, a number per token, in nats, None
        where one is not finite. ``teacher`` is None for a turn that is not taught.

    Raises:
        SettingError: the algorithm has no self-teacher.
    """
    if not count:
        return []
    teacher, rows = teacher_of(algorithm), list[dict[str, Any]]()
    for slot, attempt, samples in _taught(algorithm, groups, np.random.default_rng([*seed, _TOKENWISE])):
        turns = [turn for sample in samples for turn in _turns(policy, teacher, sample, temperature)]
        rows.append({"task": attempt.task_id, "attempt": slot, "turns": turns})
        if len(rows) == count:
            break
    return rows


def _taught(
    algorithm: Algorithm, groups: Sequence[Group], rng: np.random.Generator
) -> Iterator[tuple[int, Attempt, list[Sample]]]:
    """Yield the attempts that are taught, in an order that is drawn, with the samples that were made of each."""
    places = [(number, slot) for number, group in enumerate(groups) for slot in range(len(group.attempts))]
    known: dict[int, list[Sample]] = {}
    for place in rng.permutation(len(places)).tolist():
        number, slot = places[place]
        attempt = groups[number].attempts[slot]
        if number not in known:
            known[number] = algorithm.samples(groups[number])
        samples = [each for each in known[number] if any(turn is each.turns[0] for turn in attempt.turns)]
        if any(sample.is_taught and sample.tokens for sample in samples):
            yield slot, attempt, samples


def _turns(policy: Policy, teacher: Teacher, sample: Sample, temperature: float) -> Iterator[dict[str, Any]]:
    """Yield each turn of a sample, as it is in a row."""
    ids_N = torch.tensor(sample.token_ids, dtype=torch.long, device=policy.device)
    student_N = peek(policy.scores([policy.chat.script(sample.turns)], temperature), ids_N)
    untaught = sample.forgotten if sample.is_taught else len(sample.turns)
    start = sum(len(turn.token_ids) for turn in sample.turns[:untaught])
    teacher_N = student_N.new_full(student_N.shape, math.nan)
    if sample.is_taught:
        script = policy.chat.script(sample.turns[untaught:], sample.hindsight)
        teacher_N[start:] = peek(teacher.scores(policy, [script], temperature), ids_N[start:])
    end = 0
    for number, turn in enumerate(sample.turns):
        at, end = slice(end, end + len(turn.token_ids)), end + len(turn.token_ids)
        yield {
            **_told(policy, turn),
            "reads": sample.hindsight if number == untaught else None,
            "student": _plain(student_N[at]),
            "teacher": _plain(teacher_N[at]) if number >= untaught else None,
        }


def _told(policy: Policy, turn: Turn) -> dict[str, Any]:
    saw = turn.state or turn.observation
    return {"action": turn.action, "saw": saw, "tokens": spelled(policy.tokenizer, turn.token_ids)}


def spelled(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """Return the text of each token. A character that several tokens make together stands at the last of them."""
    texts: list[str] = []
    held: list[int] = []
    before: list[int] = []
    for position, token in enumerate(token_ids, start=1):
        held.append(token)
        known = tokenizer.decode(before, clean_up_tokenization_spaces=False) if before else ""
        text = tokenizer.decode([*before, *held], clean_up_tokenization_spaces=False)[len(known) :]
        if text.endswith("\ufffd") and len(held) < _HELD and position < len(token_ids):
            texts.append("")
            continue
        texts.append(text)
        before, held = held[-1:], []  # some tokenizers drop a space at the start, so that a token needs one before it
    return texts


def _plain(logprobs_N: Tensor) -> list[float | None]:
    return [round(each, _DECIMALS) if math.isfinite(each) else None for each in logprobs_N.double().tolist()]
