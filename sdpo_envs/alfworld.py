"""ALFWorld: tasks of a household, played in text on TextWorld's own engine (arXiv 2010.03768).

The prompts, the tags and the 50 turns are verl-agent's. Its wrapper pays 10 for a game that is won; here that is 1.0,
and nothing is paid for less. Where the game says "Nothing happens." the feedback says why.
"""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from sdpo_envs.alfredgame import GRAMMARS, TASK_TYPES, Game, Grammar, Split, load_games, shipped
from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import Tool, natural
from sdpo_envs.errors import choose
from sdpo_envs.feedback import LIMIT
from sdpo_envs.household import Household, progress, refusal
from sdpo_envs.textengine import Answer, Fact, Logic, shared_engine
from sdpo_envs.turns import Form, Move, Prompt, Seen, TurnsEnv, between_tags, recalled, skill
from sdpo_envs.vector import GroupEnv

_FIRST = """
You are an expert agent operating in the ALFRED Embodied Environment.
Your current observation is: {seen}
"""
_LATER = """
You are an expert agent operating in the ALFRED Embodied Environment. Your task is to: {task}
Prior to this step, you have already taken {steps} step(s). Below are the most recent {recent} observations and the \
corresponding actions you took: {past}
You are now at step {step} and your current observation is: {seen}
"""
_COMMANDS = "Your admissible actions of the current situation are: [{commands}].\n"
_ASKED: Mapping[Form, str] = {
    "thought": """
Now it's your turn to take an action.
You should first reason step-by-step about the current situation. This reasoning process MUST be enclosed within \
<think> </think> tags.\x20
Once you've finished your reasoning, you should choose an admissible action for current step and present it within \
<action> </action> tags.
""",
    "tagged": """
Now it's your turn to take an action.
You should choose an admissible action for current step and present it within <action> </action> tags.
""",
    "bare": """
Now it's your turn to take an action.
You should answer with an admissible action for current step, and with nothing else.
""",
}
FIRST_PROMPT = _FIRST + _COMMANDS
"""What the first turn shows before it asks for the form, verbatim."""
LATER_PROMPT = _LATER + _COMMANDS
"""What a later turn shows before it asks for the form, verbatim."""

_LAST = 30  # characters that are the command of an action without tags
_LONGEST = 200
"""Characters of a command; more are cut, as they would stand in later prompts. No command of a game is as long."""
_PASSED = Verdict(Outcome.PASSED, 1.0)
_NAMES = re.compile(r"[a-z]+ \d+")
_MOST_WORKERS = 4


class ALFWorld(TurnsEnv):
    """Games in a household: find things, clean, heat or cool them, and bring them to their place or to the light.

    An action holds a command, such as ``go to fridge 1``, between ``<action>`` and ``</action>``. Each turn shows what
    the game says and the commands that may be given. Feedback says why nothing came of a command; an episode that has
    run out of turns hears which parts of its goal are met, from what holds in the game. No feedback tells where a thing
    is that was not seen, unless `reveal` is set, which adds commands that would have won.

    A task's id is the name of its game; its `meta` holds ``task_type``, ``goal``, ``thing``, ``place`` (the lamp of a
    task with one) and, for a teacher, the `skill` of its type.

    Args:
        split: ``"train"`` or ``"test"`` of the bundled games; of others also ``"valid_seen"`` and ``"valid_unseen"``.
        source: None for the bundled games; a folder or an archive of ALFWorld's ``game.tw-pddl``; see `load_games`. (A
            str, and not a Path, where the environment's spec should become JSON.)
        task_types: Those to play, of `sdpo_envs.alfredgame.TASK_TYPES`; all if empty.
        grammar: ``"move"`` for the words of games since 2.1.2, "move X to Y"; ``"put"`` for those of 2.1.1, "put X
            in/on Y", in which the prompts of papers are written; ``"own"`` for what each file holds.
        form: ``"thought"`` where a thought between ``<think>`` and ``</think>`` is asked for, ``"tagged"`` where only
            the tags of the command are, ``"bare"`` where the whole action is the command.
        turns: As in `TurnsEnv`.
        history: As in `TurnsEnv`.
        prompt: As in `TurnsEnv`.
        tell: As in `TurnsEnv`.
        workers: Engine processes, which all environments of this process share; by default one per processor, at most
            4. They start when they are needed, and end when they idle.
        reveal: Whether feedback tells a way to win.
        limit: Most characters of one feedback text.
        render_mode: None or ``"ansi"``.

    Raises:
        SettingError: a keyword has a value that is not offered, or there are no such games.
        RecordError: a file is not a game; the message names it.
        MissingExtra: the extra ``alfworld`` is not installed.
    """

    waits = True

    def __init__(
        self,
        *,
        split: Split = "train",
        source: str | Path | None = None,
        task_types: Sequence[str] = (),
        grammar: Grammar = "own",
        form: Form = "thought",
        turns: int = 50,
        history: int = 2,
        prompt: Prompt = "complete",
        tell: bool = True,
        workers: int | None = None,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        self.grammar: str = choose("grammar", grammar, GRAMMARS)
        wanted = {choose("task_types", each, TASK_TYPES) for each in task_types} or set(TASK_TYPES)
        games = [game for game in load_games(source, split) if game.goal.task_type in wanted]
        super().__init__(
            [_task(game) for game in games],
            turns=turns,
            history=history,
            prompt=prompt,
            tell=tell,
            reveal=reveal,
            limit=limit,
            render_mode=render_mode,
        )
        choose("form", form, get_args(Form))
        self.form: Form = form
        self.workers = natural(
            "workers", min(_MOST_WORKERS, len(os.sched_getaffinity(0))) if workers is None else workers
        )
        shipped("move")  # says at once if the extra is missing
        self._logic: Logic = games[0].logic(grammar)
        self._path: tuple[str, ...] = ()
        self._facts: set[Fact] = set()
        self._met: set[str] = set()

    def walkthrough(self, task: Task) -> Sequence[str] | None:
        """Return commands that win, in the form that is asked for, or None where none are known for so few turns."""
        game: Game = task.answer
        if not game.walkthrough or len(game.walkthrough) > self.turns:
            return None
        old = game.logic(self.grammar).put.startswith("put")
        words = [re.sub(r"^move (.*) to (.*)$", r"put \1 in/on \2", each) if old else each for each in game.walkthrough]
        return [_WRITTEN[self.form].format(each) for each in words]

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the commands that take the things of the goal, which tell where those are."""
        game: Game = task.answer
        return [command for command in game.walkthrough if command.startswith("take ")]

    def tools(self) -> Sequence[Tool]:
        """Return the giving of a command."""

        def act(command: str) -> str:
            """Give one of the commands that may be given.

            Args:
                command: Such as: go to fridge 1
            """
            return _WRITTEN[self.form].format(command)

        return (act,)

    def open(self, task: Task) -> Seen:
        """Begin the game anew."""
        game: Game = task.answer
        self._logic = game.logic(self.grammar)
        self._path, self._facts, self._met = (), set(), set()
        return self._see(self._ask(None))

    def read(self, action: str) -> Move:
        """Read an action; see `between_tags`."""
        move = between_tags(action, form=self.form, last=_LAST)
        return Move(move.command.lower()[:_LONGEST], move.faults)

    def act(self, command: str) -> Seen | Verdict:
        """Give the game a command."""
        answer = self._ask(command)
        if not answer.moved:
            why = refusal(command, Household(self._facts), self._logic.put, answer.commands)
            return Seen(answer.text, answer.commands, (why,))
        self._path += (command,)
        return _PASSED if answer.won else self._see(answer)

    def run_out(self) -> Verdict:
        """Judge a game that was not won in time: which parts of the goal are met, by the facts of its state."""
        game: Game = self.task.answer
        house = Household(self._facts)
        details = progress(game.goal, house, self._met) | {"You hold": house.held or "nothing"}
        way = {f"Step {number} of one way": command for number, command in enumerate(game.walkthrough, start=1)}
        title = f"All {self.turns} turns are used, and the task is not done: {game.told}."
        return Verdict(Outcome.WRONG, 0.0, (Finding(title, details, way),))

    def written(self) -> str:
        """Write the prompt of this turn, or what is new in it."""
        commands = "\n ".join(f"'{command}'" for command in self.seen.commands if command != "help")
        if not self.past:
            return FIRST_PROMPT.format(seen=self.seen.text, commands=commands) + _ASKED[self.form]
        if self.prompt == "new":
            return f"{self.seen.text}\n{_COMMANDS.format(commands=commands)}"
        game: Game = self.task.answer
        prompt = LATER_PROMPT.format(
            task=f"{game.told}.",
            steps=len(self.past),
            recent=min(self.history, len(self.past)),
            past=recalled(self.past, self.history),
            step=len(self.past) + 1,
            seen=self.seen.text,
            commands=commands,
        )
        return prompt + _ASKED[self.form]

    def _ask(self, command: str | None) -> Answer:
        return shared_engine(self.workers).ask(self._logic, self._path, command)

    def _see(self, answer: Answer) -> Seen:
        for holds, fact in answer.changes:  # in this order: a switch names both what was and what is
            (self._facts.add if holds else self._facts.discard)(fact)
        self._met |= set(_NAMES.findall("\n".join((answer.text, *answer.commands))))
        return Seen(answer.text, answer.commands)


ALFWorldGroup = functools.partial(GroupEnv, ALFWorld)
"""Groups of attempts at one game; see `GroupEnv`."""

_WRITTEN: Mapping[Form, str] = {
    "thought": "<think>This is the next step.</think><action>{}</action>",
    "tagged": "<action>{}</action>",
    "bare": "{}",
}


def _task(game: Game) -> Task:
    goal = game.goal
    meta = {
        "task_type": goal.task_type,
        "goal": game.told,
        "thing": goal.thing,
        "place": goal.place or goal.lamp,
        "skill": skill("alfworld", goal.task_type),
    }
    return Task(game.name, f"Your task is to: {game.told}.", game, meta=meta)
