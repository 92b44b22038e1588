"""``sdpo show``: a task as a policy reads it."""

import sys
from dataclasses import dataclass
from typing import Any

from sdpo_envs.cli.screen import body, facts, heading, screen, write_json
from sdpo_envs.cli.world import EnvId, ForScript, Settings, Switch, TaskId, make
from sdpo_envs.feedback import printable


@dataclass(frozen=True)
class Show:
    """Show a task as a policy reads it.

    The system prompt, the first observation, and the public facts to choose tasks by. The answer stays with the judge.

    Examples:
        sdpo show sdpo/ToolUse-v0
        sdpo show sdpo/ToolUse-v0 --task tooluse/37
        sdpo show sdpo/SciKnowEval-v0 --settings '{"domain": "physics", "split": "test"}' --json
        sdpo show sdpo/LiveCodeBench-v0 --ids
    """

    env: EnvId
    task: TaskId = None
    seed: int = 0
    """Draws the task."""
    settings: Settings = "{}"
    ids: Switch = False
    """Write the ids of all tasks instead, one a line."""
    json: ForScript = False

    def __call__(self) -> None:
        """Run it."""
        env, innermost = make(self.env, self.settings)
        try:
            if self.ids:
                self._list(innermost.task_ids)
                return
            prompt, info = env.reset(seed=self.seed, options=None if self.task is None else {"task_id": self.task})
            self._show(prompt, info["system"], innermost.task.id, dict(innermost.task.meta))
        finally:
            env.close()

    def _list(self, task_ids: tuple[str, ...]) -> None:
        if self.json:
            write_json(task_ids)
        else:
            sys.stdout.writelines(f"{printable(each)}\n" for each in task_ids)

    def _show(self, prompt: str, system: str, task_id: str, meta: dict[str, Any]) -> None:
        if self.json:
            write_json({"env": self.env, "task_id": task_id, "system": system, "prompt": prompt, "meta": meta})
            return
        console = screen()
        heading(console, self.env)
        facts(console, {"task": task_id, **meta})
        for name, text in (("system", system), ("prompt", prompt)):
            if text:
                console.print()
                heading(console, name, style="cyan")
                body(console, text.strip("\n"))
