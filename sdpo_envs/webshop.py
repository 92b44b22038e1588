"""WebShop: find a product for a customer, choose its options, and buy it (arXiv 2207.01206).

The pages, the reward and the files are WebShop's; the prompts, the tags and the 15 turns are verl-agent's. Its wrapper
pays 10 for a reward of 1 and nothing below; here a purchase that fits in part earns its part, and has not passed.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from sdpo_envs.core import Finding, Outcome, Task, Verdict
from sdpo_envs.env import Step, Tool, natural
from sdpo_envs.errors import choose, require
from sdpo_envs.feedback import LIMIT
from sdpo_envs.files import bundled
from sdpo_envs.shop import Goal, Product, Wishes, open_shop
from sdpo_envs.shopreward import NounFinder, Nouns, Reward, noun_finder, reward
from sdpo_envs.storefront import (
    BACK,
    BUY,
    NEXT,
    PREVIOUS,
    SEPARATOR,
    Place,
    buttons,
    click,
    product_at,
    search,
    signs,
    texts,
)
from sdpo_envs.turns import Form, Move, Prompt, Seen, TurnsEnv, between_tags, recalled, skill
from sdpo_envs.vector import GroupEnv

Split = Literal["train", "test"]

_ASKED = """
You are an expert autonomous agent operating in the WebShop e\u2011commerce environment.\x20
Your task is to: {task}.
"""
_FIRST = """\
Your current observation is: {seen}.
"""
_LATER = """\
Prior to this step, you have already taken {steps} step(s). Below are the most recent {recent} observations and the \
corresponding actions you took: {past}
You are now at step {step} and your current observation is: {seen}.
"""
_CHOICE = """\
Your admissible actions of the current situation are:\x20
[
{commands}
].

Now it's your turn to take one action for the current step.
"""
_FORMS: Mapping[Form, str] = {
    "thought": """\
You should first reason step-by-step about the current situation, then think carefully which admissible action best \
advances the shopping goal. This reasoning process MUST be enclosed within <think> </think> tags.\x20
Once you've finished your reasoning, you should choose an admissible action for current step and present it within \
<action> </action> tags.
""",
    "tagged": "You should present an admissible action for current step within <action> </action> tags.\n",
    "bare": "You should answer with an admissible action for current step, and with nothing else.\n",
}
FIRST_PROMPT = _ASKED + _FIRST + _CHOICE
"""What the first turn shows before it asks for the form, verbatim."""
LATER_PROMPT = _ASKED + _LATER + _CHOICE
"""What a later turn shows before it asks for the form, verbatim."""
LONGEST_PROMPT = 13_000
"""Characters of a prompt with past turns; where there would be more, it is written without them."""

_LAST = 20  # characters that are the command where the tags are missing
_MOST_TESTED = 500
_COMMAND = re.compile(r"(search|click)\s*\[(.*)\]", re.DOTALL)
_PASSED = Verdict(Outcome.PASSED, 1.0)


class WebShop(TurnsEnv):
    """A shop in which products are searched for, looked at and bought.

    A command is ``search[words]``, on the search page, or ``click[button]``; ``click[buy now]`` on a product's page
    ends the episode. Feedback says why nothing came of a command, and of a purchase which of the qualities, options and
    the price that the instruction asks for it misses. Neither the product that the instruction was made from nor
    anything that the instruction leaves unsaid is told unless `reveal` is set.

    A task's id is ``webshop/<n>``, where n counts the goals in WebShop's order; its `meta` holds the ``category`` and,
    for a teacher, the `skill` of that. ``info["nouns"]`` says at each reset and step what finds the nouns of titles.

    Args:
        split: ``"test"`` for the first 500 goals, or the first fifth where they are fewer than 2500; ``"train"`` for
            the others.
        source: None for the bundled shop; a folder of WebShop's data; or its catalogue, a file. See `open_shop`.
        goals: ``"synthetic"``, made from attributes and options; or ``"human"``, which the bundled shop has none of.
        goal_seed: Draws the price of a product whose tag shows a range, and the most that a customer would pay.
        nouns: ``"spacy"``, ``"words"``, or ``"auto"`` for the first of these that is installed; see `noun_finder`.
        form: What is asked for around a command; see `between_tags`.
        turns: As in `TurnsEnv`.
        history: As in `TurnsEnv`.
        prompt: As in `TurnsEnv`.
        tell: As in `TurnsEnv`.
        reveal: Whether feedback tells what was wanted, to the last.
        limit: Most characters of one feedback text.
        render_mode: None or ``"ansi"``.

    Raises:
        SettingError: a keyword has a value that is not offered, or a file is missing.
        RecordError: a file does not have WebShop's form; the message names the place.
        MissingExtra: the extra ``webshop`` is not installed, or spaCy is asked for and not installed.
    """

    def __init__(
        self,
        *,
        split: Split = "train",
        source: str | Path | None = None,
        goals: Wishes = "synthetic",
        goal_seed: int = 0,
        nouns: NounFinder | Literal["auto"] = "auto",
        form: Form = "thought",
        turns: int = 15,
        history: int = 2,
        prompt: Prompt = "complete",
        tell: bool = True,
        reveal: bool = False,
        limit: int = LIMIT,
        render_mode: str | None = None,
    ) -> None:
        choose("split", split, get_args(Split))
        choose("goals", goals, get_args(Wishes))
        choose("form", form, get_args(Form))
        require("rapidfuzz", "webshop")  # now, and not when something is bought
        self.form: Form = form
        self.nouns, self._find_nouns = noun_finder(nouns)
        place = bundled("tasks", "webshop") if source is None else source
        self.shop = open_shop(place, goals, natural("goal_seed", goal_seed, least=0))
        super().__init__(
            _tasks(self.shop.goals, split),
            turns=turns,
            history=history,
            prompt=prompt,
            tell=tell,
            reveal=reveal,
            limit=limit,
            render_mode=render_mode,
        )
        self.place = Place()

    def walkthrough(self, task: Task) -> Sequence[str] | None:
        """Return the way to the product that the task was made from, or None where that does not earn 1.0 in time."""
        goal: Goal = task.answer
        asin = goal.asin.lower()
        place, commands = search(self.shop, goal.title), [f"search[{goal.title.lower()}]"]
        if all(self.shop.products[position].asin != goal.asin for position in place.found):
            return None
        for name in (asin, *(value for _, value in goal.options)):
            while name == asin and name not in buttons(self.shop, place):
                place = click(self.shop, place, NEXT.lower())
                commands.append(f"click[{NEXT.lower()}]")
            if name not in buttons(self.shop, place):
                return None
            place = click(self.shop, place, name)
            commands.append(f"click[{name}]")
        commands.append(f"click[{BUY.lower()}]")
        passed = judge(product_at(self.shop, place), place.chosen, goal, self._find_nouns).passed
        return [self._formed(command) for command in commands] if passed and len(commands) <= self.turns else None

    def secrets(self, task: Task) -> Sequence[str]:
        """Return the product that the task was made from, and what of it is wanted without being said."""
        goal: Goal = task.answer
        unsaid = [*goal.attributes, *(value for _, value in goal.options)]
        return [goal.asin, goal.title, *(text for text in unsaid if not _said(text, goal))]

    def tools(self) -> Sequence[Tool]:
        """Return the search and the click."""

        def search(query: str) -> str:
            """Search the shop for products. Only the search page can search.

            Args:
                query: The words to search for.
            """
            return self._formed(f"search[{query}]")

        def click(button: str) -> str:
            """Click a button of this page: a product, an option, a tab, "< prev", "back to search" or "buy now".

            Args:
                button: What stands on it, as in click[...] among the admissible actions.
            """
            return self._formed(f"click[{button}]")

        return search, click

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Choose a task and show the search page."""
        observation, info = super().reset(seed=seed, options=options)
        return observation, {**info, "nouns": self.nouns}

    def step(self, action: str) -> Step:
        """Do what the action says; see `TurnsEnv.step`."""
        observation, earned, terminated, truncated, info = super().step(action)
        return observation, earned, terminated, truncated, {**info, "nouns": self.nouns}

    def open(self, task: Task) -> Seen:
        """Enter the shop."""
        return self._go(Place())

    def read(self, action: str) -> Move:
        """Read the command in an action."""
        return between_tags(action, form=self.form, last=_LAST)

    def act(self, command: str) -> Seen | Verdict:
        """Search, click or buy; a command that cannot be followed changes nothing."""
        read = _COMMAND.match(command.lower())
        if read is None:
            return self._stay("an action is search[...] or click[...].", {"You said": command})
        name, words = read[1], _spaced(read[2])
        if name == "search":
            return self._search(words)
        button = next((each for each in buttons(self.shop, self.place) if _spaced(each) == words), None)
        if button is None:
            return self._no_button(words)
        if button == BUY.lower():
            return judge(product_at(self.shop, self.place), self.place.chosen, self.task.answer, self._find_nouns)
        return self._go(click(self.shop, self.place, button))

    def run_out(self) -> Verdict:
        """Say that nothing was bought."""
        goal: Goal = self.task.answer
        finding = Finding(f"Nothing was bought within {self.turns} turns.", answer=_wanted(goal))
        return Verdict(Outcome.WRONG, 0.0, (finding,))

    def written(self) -> str:
        """Write the page, after the last turns."""
        goal: Goal = self.task.answer
        if self.prompt == "new" and self.past:
            return SEPARATOR.join(texts(self.shop, self.place, goal.instruction))
        told = {
            "task": goal.instruction,
            "seen": self.seen.text,
            "commands": "\n".join(f"'{command}'," for command in self.seen.commands),
        }
        alone = FIRST_PROMPT.format(**told) + _FORMS[self.form]
        recent = min(self.history, len(self.past))
        if not recent:
            return alone
        steps = len(self.past)
        past = recalled(self.past, recent)
        after = LATER_PROMPT.format(**told, steps=steps, recent=recent, past=past, step=steps + 1) + _FORMS[self.form]
        return after if len(after) <= LONGEST_PROMPT else alone

    def _search(self, words: str) -> Seen:
        if self.place.view != "search":
            return self._stay("only the search page can search.", {"Go there by": f"click[{BACK.lower()}]"})
        if not words:
            return self._stay("a search needs words.")
        place = search(self.shop, words)
        nothing = () if place.found else (Finding("No product has any of these words.", {"You searched for": words}),)
        return self._go(place, nothing)

    def _no_button(self, words: str) -> Seen:
        if self.place.view == "search":
            return self._stay("the search page has no buttons.", {"Search by": "search[<your query>]"})
        if words == BUY.lower():
            way = "<the number of a product>" if self.place.view == "results" else PREVIOUS.lower()
            return self._stay("only a product's first page has the button Buy Now.", {"Go there by": f"click[{way}]"})
        named = signs(self.place)
        if len(buttons(self.shop, self.place)) > len(named):
            named.append("the number of a product" if self.place.view == "results" else "a value of an option")
        return self._stay("there is no such button on this page.", {"You clicked": words, "Buttons": ", ".join(named)})

    def _stay(self, why: str, details: Mapping[str, str] | None = None) -> Seen:
        return self._go(self.place, (Finding(f"Nothing came of the last action: {why}", details or {}),))

    def _go(self, place: Place, findings: tuple[Finding, ...] = ()) -> Seen:
        """Show `place`: what stands below the instruction, each text in quotes, as verl-agent has it."""
        self.place = place
        goal: Goal = self.task.answer
        shown = texts(self.shop, place, goal.instruction)
        below = shown[shown.index("Instruction:") + 2 :]
        offered = [f"click[{name}]" for name in buttons(self.shop, place)]
        commands = ["search[<your query>]", *offered] if place.view == "search" else offered
        return Seen(SEPARATOR.join(f"'{text}'" for text in below), tuple(commands), findings)

    def _formed(self, command: str) -> str:
        if self.form == "bare":
            return command
        thought = "<think>This brings me nearer to what is asked for.</think>\n" if self.form == "thought" else ""
        return f"{thought}<action>{command}</action>"


WebShopGroup = functools.partial(GroupEnv, WebShop)
"""Groups of attempts at one task; see `GroupEnv`."""


def judge(product: Product, chosen: Mapping[str, str], goal: Goal, nouns: Nouns) -> Verdict:
    """Judge a purchase: its reward is WebShop's, and it has passed where that is 1.

    What the instruction says and the purchase misses is told; what it leaves unsaid stands in `Finding.answer` only.
    """
    parts = reward(product, chosen, goal, nouns)
    if parts.total == 1.0:
        return _PASSED
    met = sum(parts.attributes) + sum(parts.options) + parts.price
    wishes = len(parts.attributes) + len(parts.options) + 1
    title = f"What you bought meets {met} of {wishes} wishes; the reward is {parts.total:.2f}."
    findings = [Finding(title, answer=_wanted(goal)), *_missed(parts, chosen, goal)]
    if not parts.price:
        price = {"Its price": f"${product.price:.2f}", "The most to pay": f"${goal.price_limit:.2f}"}
        findings.append(Finding("It costs more than was allowed.", price))
    if parts.type < 1:
        same = "It is of the kind asked for, but its title shares too few nouns with that of the product meant"
        why = same if parts.same_query or parts.same_path else "It is not the kind of product asked for"
        findings.append(Finding(f"{why}, which multiplies the reward by {parts.type}."))
    return Verdict(Outcome.WRONG, parts.total, tuple(findings))


def _missed(parts: Reward, chosen: Mapping[str, str], goal: Goal) -> list[Finding]:
    """Tell of the qualities and of the options that are not met."""
    attributes = [("", text) for text, met in zip(goal.attributes, parts.attributes, strict=True) if not met]
    options = [option for option, met in zip(goal.options, parts.options, strict=True) if not met]
    uncounted = [wish for wish in options if wish[1] in chosen.values() and _said(wish[1], goal)]
    missing = [wish for wish in options if wish not in uncounted]
    found = []
    if attributes:
        title = f"It lacks {len(attributes)} of the {len(goal.attributes)} qualities asked for."
        found.append(Finding(title, *_said_and_unsaid(attributes, goal)))
    if missing:
        title = f"It was not bought with {len(missing)} of the {len(goal.options)} options asked for."
        said, unsaid = _said_and_unsaid(missing, goal)
        found.append(Finding(title, said | {"You chose": _listed(chosen.items()) or "nothing"}, unsaid))
    if uncounted:
        title = "Chosen as asked, but WebShop's way to compare options does not count it."
        found.append(Finding(title, {"Not counted": _listed(uncounted)}))
    return found


def _said_and_unsaid(wishes: Sequence[tuple[str, str]], goal: Goal) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the instruction says of these wishes, and what it does not, each under a label."""
    said = [wish for wish in wishes if _said(wish[1], goal)]
    unsaid = [wish for wish in wishes if not _said(wish[1], goal)]
    return {"Missing": _listed(said)} if said else {}, {"Missing, unsaid": _listed(unsaid)} if unsaid else {}


def _said(text: str, goal: Goal) -> bool:
    """Whether these words stand in the instruction."""
    return re.search(rf"(?<!\w){re.escape(text.lower())}(?!\w)", goal.instruction.lower()) is not None


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _listed(wishes: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name}: {value}" if name else value for name, value in wishes)


def _wanted(goal: Goal) -> dict[str, str]:
    options = {"Right options": _listed(goal.options)} if goal.options else {}
    return {"Right product": f"{goal.asin}, {goal.title}"} | options


def _tasks(goals: Sequence[Goal], split: Split) -> list[Task]:
    tested = min(_MOST_TESTED, len(goals) // 5)
    numbers = range(tested) if split == "test" else range(tested, len(goals))
    return [
        Task(
            f"webshop/{number}",
            goals[number].instruction,
            goals[number],
            meta={"category": goals[number].category, "skill": skill("webshop", goals[number].category)},
        )
        for number in numbers
    ]
