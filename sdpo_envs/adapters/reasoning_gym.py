"""The task families of reasoning-gym (arXiv 2505.24760) as environments with feedback.

reasoning-gym draws the tasks and scores the answers. Here an answer that is not right is told what its score says and
how its form differs from the right one's: that a number was expected, that it is too large, which line is the first
that differs. What was right is told under `reveal` alone.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sdpo_envs.adapters.hints import hints
from sdpo_envs.adapters.reasoning_process import shared_process
from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import JudgedEnv, natural
from sdpo_envs.errors import SettingError, choose
from sdpo_envs.feedback import LIMIT
from sdpo_envs.vector import GroupEnv

LEFT_OUT = {
    "composite": "it mixes other families; register each as an environment of its own, and mix these",
    "list_functions": "it draws from Python's global generator, so that a seed does not repeat its tasks",
}
"""Families that are not offered, and why."""
LONGEST = 20_000
"""Characters of an answer; a longer one is not scored."""
_DISTINCT = 8
"""Characters from which on a right answer is looked for in feedback: a shorter one stands there by chance."""
_WORTH_TELLING = 0.01


class ReasoningGym(JudgedEnv):
    """Tasks of one family of reasoning-gym.

    An action is whatever the policy writes; its answer is what stands in the last ``<answer>`` ... ``</answer>``. The
    reward is reasoning-gym's score, from 0 to 1, and an answer that scores 1 is a success. A task's `meta` holds its
    ``family`` and ``category``.

    Args:
        family: As reasoning-gym calls it, such as ``"chain_sum"``; one has to be given.
        size: How many tasks.
        seed: Which ones.
        config: More keywords of the family, such as ``{"max_terms": 4}``.
        system: The name of one of reasoning-gym's system prompts, which ask for the form of an answer.
        partial: Whether an answer that is not right earns its score; else it earns 0.
        reveal: Whether feedback tells a right answer.
        limit: Most characters of one feedback text.
        render_mode: None or ``"ansi"``.

    Raises:
        SettingError: a keyword has a value that is not offered, or the family is left out, or refuses its config.
        MissingExtra: reasoning-gym is not installed.
        JudgeError: the process in which it runs broke.
    """

    def __init__(
        self,
        family: str = "",
        *,
        size: int = 100,
        seed: int = 0,
        config: Mapping[str, Any] | None = None,
        system: str = "default",
        partial: bool = True,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        catalogue = shared_process().catalogue()
        if family in LEFT_OUT:
            raise SettingError(f"family={family!r} is not offered: {LEFT_OUT[family]}.")
        choose("family", family, [each for each in catalogue["families"] if each not in LEFT_OUT])
        choose("system", system, catalogue["systems"])
        if not isinstance(partial, bool):
            raise SettingError(f"partial={partial!r} is not offered; it is True or False.")
        if taken := {"size", "seed"} & set(config or {}):
            raise SettingError(
                f"config={config!r} is not offered; {' and '.join(sorted(taken))} is a keyword beside it."
            )
        given = {**(config or {}), "size": natural("size", size), "seed": natural("seed", seed, least=0)}
        loaded = shared_process().load(family, given)
        meta = {"family": family, "category": loaded["category"]}
        tasks = [
            Task(f"{family}/{seed}-{index}", question, (index, answer), catalogue["systems"][system], meta)
            for index, (question, answer) in enumerate(loaded["entries"])
        ]
        judge_answers = functools.partial(judge, config=given, single=loaded["single"], partial=partial)
        super().__init__(tasks, judge_answers, reveal=reveal, limit=limit, render_mode=render_mode)

    def oracle(self, task: Task) -> str | None:
        """Return the answer that reasoning-gym knows; a few families know none, and only check."""
        answer = task.answer[1]
        return None if answer is None else f"<answer>{answer}</answer>"

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the answer that reasoning-gym knows, unless it is so short that it stands anywhere by chance."""
        answer = task.answer[1]
        return [answer] if answer is not None and len(answer) >= _DISTINCT else []


ReasoningGymGroup = functools.partial(GroupEnv, ReasoningGym)
"""Groups of attempts at one task, for `gymnasium.make_vec`."""


def judge(task: Task, action: str, *, config: Mapping[str, Any], single: bool, partial: bool) -> Verdict:
    """Score the answer in `action`, and say how it differs in form from the right one.

    Raises:
        JudgeError: the process that scores broke.
    """
    index, right = task.answer
    known = {} if right is None else {"Right" if single else "One that is right": right}
    answer = extracted(action)
    if answer is None:
        return _malformed("No answer stands between <answer> and </answer>.", {}, known)
    told = {"Your answer": answer}
    if len(answer) > LONGEST:
        return _malformed(f"Your answer has {len(answer)} characters; {LONGEST} are allowed.", told, known)
    score = shared_process().score(task.meta["family"], config, index, answer)
    if score.value == 1.0:
        return Verdict(Outcome.PASSED, 1.0)
    if score.fault:
        return _malformed(f"Your answer cannot be scored: {score.fault}.", told, known)
    titles = hints(answer, right, single=single) or ["Your answer is not right."]
    worth = {"Score": f"{score.value:.2f} of 1"} if score.value >= _WORTH_TELLING else {}
    first = Finding(titles[0], {**told, **worth}, known)
    return Verdict(Outcome.WRONG, score.value if partial else 0.0, (first, *map(Finding, titles[1:])))


def extracted(action: str) -> str | None:
    """Return the answer in `action`, stripped, or None without one.

    It is what reasoning-gym's ``extract_answer`` finds, the last of the pairs of tags counted from the first, in a pass
    over the text.
    """
    found, place = None, 0
    while (opened := action.find("<answer>", place)) >= 0 and (closed := action.find("</answer>", opened)) >= 0:
        found = action[opened + len("<answer>") : closed].strip()
        place = closed + len("</answer>")
    return found


def _malformed(title: str, told: Mapping[str, str], known: Mapping[str, str]) -> Verdict:
    return Verdict(Outcome.MALFORMED, 0.0, (Finding(title, told, known),))
