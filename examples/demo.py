"""The main job of `make demo`: every environment once, right and wrong; then GRPO and SDPO side by side on programming.

    python examples/demo.py [--steps 12] [--seed 0] [--run runs/demo]

No pretrained model is needed. A transformer of less than 0.2 million parameters is built on the spot and warmed up on
four of the bundled problems: asked plainly, it writes the reference program or one of up to three wrong ones; shown
feedback or a peer's program, it mostly writes the reference. From there GRPO and SDPO start, each at its own rate.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import matplotlib
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sdpo_agent import (
    GRPO,
    SDPO,
    Algorithm,
    Attempt,
    Conversation,
    Group,
    Policy,
    Reprompt,
    SDPOSettings,
    TrainSettings,
    Turn,
    hindsight,
    train,
    warm_start,
)
from sdpo_agent.run import Metrics
from sdpo_agent.warmstart import Example
from sdpo_envs import Feedback, FeedbackEnv, Task
from sdpo_envs.files import bundled

PROBLEMS = ("sdpo_s01", "sdpo_s08", "sdpo_f04", "sdpo_f05")
GROUP = 8

console = Console(width=110)


def main() -> None:
    """Show the environments, train both algorithms, and say what it means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warm-up", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S"))
    settings = parser.parse_args()
    show_environments()
    policy = warm_policy(settings.warm_up, settings.seed)
    rows = {}
    for name in ("GRPO", "SDPO"):
        console.rule(
            f"{name}: {settings.steps} steps of {len(PROBLEMS)} problems x {GROUP} attempts, run in the sandbox"
        )
        rows[name] = train_one(name, policy.copy(), settings.steps, settings.seed, settings.run / name.lower())
    report(rows, settings.run)


def show_environments() -> None:
    """Step each environment with a wrong and a right action."""
    for env_id, wrong in (
        ("sdpo/LiveCodeBench-v0", "```python\nn = int(input())\nprint(n + 1)\n```"),
        ("sdpo/SciKnowEval-v0", "I would say <answer>B</answer>, or maybe <answer>A and C</answer>."),
        ("sdpo/ToolUse-v0", 'Action: search\nAction Input: {"query": "anything"}'),
    ):
        env = gymnasium.make(env_id, reveal=False)
        prompt, _ = env.reset(seed=0)
        bare = env.unwrapped
        assert isinstance(bare, FeedbackEnv)
        console.rule(env_id)
        show(prompt, f"the task {bare.task.id}", "blue", 14)
        for title, action in (("a wrong action", wrong), ("the oracle's action", bare.oracle(bare.task) or "")):
            env.reset(options={"task_id": bare.task.id})
            text, reward, _, _, info = env.step(action)
            show(action, title, "white", 12)
            told = text or "(a success needs no feedback)"
            show(told, f"feedback: {info['verdict'].outcome.name}, reward {reward}", "green" if reward else "red", 14)
        env.close()


def show(text: str, title: str, style: str, lines: int) -> None:
    """Print the first lines of a text in a box."""
    kept = text.splitlines()[:lines]
    more = [f"... ({len(text.splitlines()) - lines} more lines)"] if len(text.splitlines()) > lines else []
    console.print(Panel(Text("\n".join([*kept, *more])), title=title, title_align="left", border_style=style))


def problem_settings() -> dict[str, Any]:
    """Return the keywords that leave only `PROBLEMS`."""
    env = gymnasium.make("sdpo/LiveCodeBench-v0")
    others = [task_id for task_id in env.get_wrapper_attr("task_ids") if task_id not in PROBLEMS]
    env.close()
    return {"exclude": others, "reveal": True}


def warm_policy(steps: int, seed: int) -> Policy:
    """Build the small policy and warm it up on right and wrong programs."""
    console.rule("A policy, built on the spot")
    env = gymnasium.make("sdpo/LiveCodeBench-v0", **problem_settings()).unwrapped
    assert isinstance(env, FeedbackEnv)
    examples = list(worked_examples(env))
    env.close()
    texts = [text for said, answer in examples for text in (said[-1]["content"], answer)]
    policy = Policy.small(texts=texts, vocab_size=1536, hidden=64, layers=2, seed=seed)
    size = sum(weight.numel() for weight in policy.trainable())
    console.print(f"{size:,} parameters; {steps} steps of supervised learning on {len(examples)} examples ...")
    start = time.perf_counter()
    losses = warm_start(policy, examples, steps=steps, batch=8, learning_rate=5e-3, seed=seed)
    console.print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f} nats per token, {time.perf_counter() - start:.0f} s")
    return policy


def worked_examples(env: FeedbackEnv) -> Iterator[Example]:
    """Yield, for each problem, its right and wrong programs; and with hindsight on each wrong one, the right one."""
    lines = bundled("tasks", "livecodebench", "wrong_solutions.jsonl").read_text().splitlines()
    mistakes = [json.loads(line) for line in lines]
    for task in env.tasks:
        right = env.oracle(task) or ""
        yield Conversation(task.prompt, task.system).messages(), right
        wrong = [each for each in mistakes if each["question_id"] == task.id and each["outcome"] != "timed_out"]
        for each in wrong[:3]:
            action = each["code"] if each["outcome"] == "malformed" else f"```python\n{each['code'].rstrip()}\n```"
            yield Conversation(task.prompt, task.system).messages(), action
            env.reset(options={"task_id": task.id})
            feedback = env.step(action)[-1]["feedback"]
            for told in (feedback, Feedback(peer=right)):
                yield Conversation(with_hindsight(task, action, told), task.system).messages(), right


def with_hindsight(task: Task, action: str, feedback: Feedback) -> str:
    """Write what the self-teacher would read."""
    attempt = Attempt(task.id, (Turn(task.prompt, action, (), ()),), 0.0, None, feedback)
    return hindsight(Group(task.id, (attempt,)), attempt, task.prompt, Reprompt()) or task.prompt


def train_one(name: str, policy: Policy, steps: int, seed: int, run: Path) -> list[Metrics]:
    """Train one algorithm from the warm policy."""
    size = {"num_envs": len(PROBLEMS) * GROUP, "group_size": GROUP}
    envs = gymnasium.make_vec("sdpo/LiveCodeBench-v0", **size, **problem_settings())
    algorithm: Algorithm = GRPO() if name == "GRPO" else SDPO(policy, SDPOSettings(teacher_rate=0.01))
    rate = 3e-4 if name == "GRPO" else 1e-3  # GRPO unlearns to write programs at SDPO's rate
    settings = TrainSettings(steps=steps, learning_rate=rate, max_tokens=160, seed=seed, microbatch=16)
    try:
        return train(policy, algorithm, envs, settings, run)
    finally:
        envs.close()


def report(rows: dict[str, list[Metrics]], run: Path) -> None:
    """Print a table, draw the curves, and say plainly what they show."""
    console.rule("What happened")
    table = Table("", "first 2 steps", "last 2 steps", "attempts", "sampling + sandbox", "learning")
    for name, metrics in rows.items():
        rates = [row["success_rate"] for row in metrics]
        seconds = [sum(row[key] for row in metrics) for key in ("seconds_sampling", "seconds_learning")]
        first, last = sum(rates[:2]) / len(rates[:2]), sum(rates[-2:]) / len(rates[-2:])
        attempts = sum(row["attempts"] for row in metrics)
        table.add_row(name, f"{first:.2f}", f"{last:.2f}", f"{attempts:.0f}", *(f"{each:.0f} s" for each in seconds))
    console.print(table)
    draw(rows, run / "success.png")
    console.print(f"Written to {run}: metrics.jsonl and a checkpoint per algorithm, and success.png.\n")
    console.print(
        "[bold]What this shows:[/] programs are written token by token, run behind a wall, judged, explained, and "
        "learned from, by both algorithms, from the same start and on the same problems.\n"
        "[bold]What it cannot show:[/] that one algorithm is better. The policy has seen these problems, it chooses "
        "between programs it knows, and this is one seed. Its feedback shows the hidden tests that it fails "
        "(reveal=True, as the paper does). It says nothing about new problems or large models."
    )


def draw(rows: dict[str, list[Metrics]], path: Path) -> None:
    """Plot success against attempts."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, metrics in rows.items():
        attempts = [row["attempts"] * row["step"] for row in metrics]
        axes.plot(attempts, [row["success_rate"] for row in metrics], marker="o", label=name)
    axes.set(xlabel="attempts", ylabel="share of attempts that pass every test", ylim=(0, 1.02))
    axes.set_title("A small warm policy on bundled problems, one seed")
    axes.legend()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
