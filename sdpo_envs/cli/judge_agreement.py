"""``sdpo judge-agreement``: whether a language model judges as a rule does."""

import dataclasses
import inspect
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdpo_envs.agreement import Agreement, agreement
from sdpo_envs.cli import parse_settings
from sdpo_envs.cli.screen import facts, screen, shown, table, write_json
from sdpo_envs.cli.world import ForScript, Settings, make
from sdpo_envs.core import Outcome
from sdpo_envs.errors import JudgeError, choose
from sdpo_envs.llmjudge import LLMJudge
from sdpo_envs.rubric import CRITERIA, Rubric

_GIVEN = ("model", "rubric", "url", "reference", "cache")
"""Keywords of the judge that have an option of their own."""


@dataclass(frozen=True)
class JudgeAgreement:
    """Tell how far a model judges as a rule does.

    It is shown tasks, the right action of each as the reference, and a right, a wrong and a malformed action to judge.
    The key of its server is read from OPENAI_API_KEY.

    Examples:
        sdpo judge-agreement --model Qwen/Qwen3-8B --url http://localhost:8000/v1
        sdpo judge-agreement --model gpt-4.1-mini --url https://api.openai.com/v1 --tasks 50 --cache runs/judge --json
    """

    model: str
    """The model that judges, by its name on the server."""
    url: str = "http://localhost:8000/v1"
    """Where its server is."""
    env: str = "sdpo/SciKnowEval-v0"
    """An environment that judges single actions by a rule; "module:id" imports the module first."""
    settings: Settings = "{}"
    tasks: int = 20
    """How many tasks; there are three actions each."""
    seed: int = 0
    """Draws the tasks and the wrong actions."""
    criteria: Path | None = None
    """A file with a rubric in words; none compares with the reference."""
    cache: Path | None = None
    """A folder to remember answers in."""
    judge_settings: str = "{}"
    """More keywords for LLMJudge, as a JSON object; '{"max_tokens": null}' sends none to a server that refuses it."""
    concurrent: int = 8
    """Most judgements at a time."""
    json: ForScript = False

    def __call__(self) -> None:
        """Run it.

        Raises:
            SettingError: the judge has no such keyword, or not such a value.
            JudgeError: the model decided about nothing.
        """
        env, bare = make(self.env, self.settings)
        criteria = CRITERIA if self.criteria is None else self.criteria.read_text(encoding="utf-8")
        more = parse_settings(self.judge_settings, "--judge-settings")
        for keyword in more:
            choose("keyword", keyword, [each for each in inspect.signature(LLMJudge).parameters if each not in _GIVEN])
        judge = LLMJudge(
            self.model,
            Rubric(criteria),
            url=self.url,
            reference=lambda task: bare.oracle(task) or "",
            cache=self.cache,
            **more,
        )
        try:
            found = agreement(bare, judge, self.tasks, seed=self.seed, concurrent=self.concurrent)
        finally:
            env.close()
        if not found.judged:
            raise JudgeError(f"The model decided about none of {len(found.trials)} actions: {found.trials[0].error}")
        told = _told(found, judge)
        write_json({**told, "trials": _plain(found)}) if self.json else _show(found, told)


def _told(found: Agreement, judge: LLMJudge) -> dict[str, Any]:
    low, high = found.interval()
    return {
        "model": judge.model,
        "actions": len(found.trials),
        "judged": found.judged,
        "errors": len(found.trials) - found.judged,
        "agreement": found.rate,
        "low": low,
        "high": high,
        "kappa": None if math.isnan(found.kappa) else found.kappa,
        "table": {
            rule.value: {other.value: found.table.get((rule, other), 0) for other in _outcomes(found)}
            for rule in _outcomes(found)
        },
        "requests": judge.requests,
        "prompt_tokens": judge.prompt_tokens,
        "answer_tokens": judge.answer_tokens,
    }


def _outcomes(found: Agreement) -> list[Outcome]:
    seen = {outcome for pair in found.table for outcome in pair}
    return [outcome for outcome in Outcome if outcome in seen]


def _plain(found: Agreement) -> list[dict[str, Any]]:
    return [
        dataclasses.asdict(each) | {"rule": each.rule.value, "found": None if each.found is None else each.found.value}
        for each in found.trials
    ]


def _show(found: Agreement, told: dict[str, Any]) -> None:
    console, outcomes = screen(), _outcomes(found)
    kappa = "undefined" if told["kappa"] is None else f"{told['kappa']:.3f}"
    lines = {
        "agreement": f"{found.agreed} of {found.judged}, {found.rate:.3f} [{told['low']:.3f}, {told['high']:.3f}]",
        "Cohen's kappa": kappa,
        "judge errors": f"{told['errors']} of {told['actions']}",
        "cost": f"{told['requests']} requests, {told['prompt_tokens']} tokens read and {told['answer_tokens']} written",
    }
    facts(console, lines)
    counts = table("rule \\ model", *(outcome.value for outcome in outcomes))
    for rule in outcomes:
        counts.add_row(rule.value, *(str(found.table.get((rule, other), 0)) for other in outcomes))
    console.print(counts)
    for each in found.trials:
        if each.found is not each.rule:
            other = each.error if each.found is None else each.found.value
            console.print(shown(f"{each.task}, {each.kind}: {each.rule.value} by the rule; by the model: {other}"))
