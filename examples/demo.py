"""The main job of `make demo`: one failure, and what the self-teacher makes of it; then a small benchmark.

    python examples/demo.py [--seeds 2] [--steps 120] [--run runs/demo]

GRPO, SDPO and both at once start from the same small policy, which comes with this project, and learn in worlds that
it has never met. The report is one HTML file.
"""

import argparse
import time
from pathlib import Path

import gymnasium
import torch
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sdpo_agent import Group, Policy, Reprompt, Turn, collect, hindsight
from sdpo_agent.attempt import Attempt
from sdpo_agent.contest import ContestSettings, contest
from sdpo_envs import GroupEnv, Outcome, bundled

ENV = "sdpo/MicroCode-v0"

console = Console(width=110)


def main() -> None:
    """Show one failure, then train and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--run", type=Path, default=Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S"))
    given = parser.parse_args()
    policy = Policy.load(bundled("tasks", "micro", "policy"), device="cpu")
    show_a_failure(policy)
    console.rule(f"GRPO, SDPO and both at once: {given.seeds} seeds, {given.steps} steps of 64 attempts")
    contest(ContestSettings(seeds=given.seeds, tuning_seeds=0, steps=given.steps, test_every=10, run=given.run))
    console.print(
        "[bold]What this shows:[/] programs are written token by token, run behind a wall, judged, explained, and "
        "learned from, by three algorithms, from the same start, in the same worlds, tested on other tasks.\n"
        "[bold]What it cannot show:[/] more than so few seeds can, and nothing of large models. The benchmark with ten "
        "seeds and tuning, and what it does and does not say, is in docs/benchmark.md."
    )


def show_a_failure(policy: Policy) -> None:
    """Show a task, a failed attempt, what was said of it, and what the self-teacher would have written."""
    envs = gymnasium.make_vec(ENV, num_envs=16, group_size=16)
    assert isinstance(envs, GroupEnv)
    seed = 0
    while True:
        (group,) = collect(envs, policy, max_tokens=48, seeds=[seed])
        failed = [each for each in group.decided if each.verdict is not None and each.verdict.outcome is Outcome.WRONG]
        if failed:
            break
        seed += 1
    envs.close()
    attempt = failed[0]
    (turn,) = attempt.turns
    show(turn.observation, f"a task of {ENV}: {group.task_id}", "blue")
    show(turn.action, "a failed attempt of a policy of 0.7 million parameters", "white")
    show(str(attempt.feedback), "its feedback", "red")
    told = (
        hindsight(Group(group.task_id, (attempt,)), attempt, turn.observation, Reprompt(peer="none", attempt=True))
        or ""
    )
    show(told, "what the same policy reads as its own teacher", "green")
    console.print(token_by_token(policy, attempt, turn, told))
    console.print(
        "SDPO moves the student towards the teacher in every token; GRPO knows only that the whole attempt failed.\n"
    )


@torch.no_grad()
def token_by_token(policy: Policy, attempt: Attempt, turn: Turn, told: str) -> Table:
    """Lay the failed action out, with what student and teacher think of each token."""
    student_NV, teacher_NV = (
        policy.scores([policy.chat.script(attempt.turns, opening)]).logits(slice(None)).softmax(dim=-1)
        for opening in (None, told)
    )
    table = Table(title="The failed attempt, token by token", title_justify="left")
    for head in ("", "token", "student", "teacher", "the teacher would say"):
        table.add_column(head, justify="right" if head in ("student", "teacher") else "left")
    for place, token in enumerate(turn.token_ids):
        student, teacher = float(student_NV[place, token]), float(teacher_NV[place, token])
        best = int(teacher_NV[place].argmax())
        apart = teacher < student / 3
        row = (
            "!" if apart else "",
            repr(policy.tokenizer.decode([token])),
            f"{student:.2f}",
            f"{teacher:.2f}",
            "" if best == token else f"{policy.tokenizer.decode([best])!r} ({float(teacher_NV[place, best]):.2f})",
        )
        table.add_row(*map(Text, row), style="red" if apart else None)
    return table


def show(text: str, title: str, style: str) -> None:
    """Print a text in a box."""
    console.print(Panel(Text(text), title=title, title_align="left", border_style=style))


if __name__ == "__main__":
    main()
