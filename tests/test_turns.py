"""Episodes of many turns, in a corridor of numbered doors."""

from typing import Any

import pytest

from sdpo_envs import Feedback, Finding, Outcome, SettingError, Task, Verdict
from sdpo_envs.turns import Form, Move, Past, Seen, TurnsEnv, between_tags, recalled

TASKS = [Task(f"door/{number}", f"Get to door {number}.", number) for number in (2, 3)]


class Corridor(TurnsEnv):
    """Walk right until the door is reached."""

    def __init__(self, *, form: Form = "bare", turns: int = 4, **settings: Any) -> None:
        super().__init__(TASKS, turns=turns, **settings)
        self.form = form
        self.place = 0

    def open(self, task: Task) -> Seen:
        self.place = 0
        return self._here()

    def read(self, action: str) -> Move:
        return between_tags(action, form=self.form, last=5)

    def act(self, command: str) -> Seen | Verdict:
        if command != "right":
            return Seen("Nothing happens.", ("right",), (Finding("There is no such command.", {"You said": command}),))
        self.place += 1
        return Verdict(Outcome.PASSED, 1.0) if self.place == self.task.answer else self._here()

    def run_out(self) -> Verdict:
        return Verdict(Outcome.WRONG, 0.0, (Finding(f"After {self.turns} turns you stand at door {self.place}."),))

    def written(self) -> str:
        if self.prompt == "new":
            return self.seen.text
        return f"{self.task.prompt}\n{recalled(self.past, self.history)}\n{self.seen.text}"

    def _here(self) -> Seen:
        return Seen(f"You stand at door {self.place}.", ("right",))


def played(*actions: str, **settings: Any) -> list[tuple[str, float, bool, bool, dict[str, Any]]]:
    env = Corridor(**settings)
    env.reset(options={"task_id": "door/2"})
    return [env.step(action) for action in actions]


def test_an_episode_ends_where_the_world_says_so() -> None:
    first, last = played("right", "right")
    assert first[1:4] == (0.0, False, False)
    assert last[:4] == ("", 1.0, True, False)
    assert last[4]["verdict"] == Verdict(Outcome.PASSED, 1.0)


def test_an_episode_that_runs_out_of_turns_is_judged() -> None:
    *_, last = played("left", "right", "left", "left")
    assert (last[1], last[2], last[4]["verdict"].outcome) == (0.0, True, Outcome.WRONG)
    assert last[0] == str(last[4]["feedback"]) == "After 4 turns you stand at door 1."
    *_, last = played("left", "left", "right", "right")
    assert last[1] == 1.0, "the last turn counts"


def test_a_complete_prompt_holds_the_last_turns_and_a_new_one_what_is_new() -> None:
    env = Corridor(turns=9)
    env.reset(options={"task_id": "door/3"})
    env.step("left")
    env.step("right")
    observation, *_ = env.step("right")
    assert observation == (
        "Get to door 3.\n"
        "[Observation 2: 'Nothing happens.', Action 2: 'right']\n"
        "[Observation 3: 'You stand at door 1.', Action 3: 'right']\n"
        "You stand at door 2."
    )
    assert played("right", prompt="new")[0][0] == "You stand at door 1."
    assert played("right", history=0)[0][0] == "Get to door 2.\n\nYou stand at door 1."


def test_why_nothing_came_of_an_action_is_told_and_shown_if_wanted() -> None:
    why = "There is no such command.\nYou said: left"
    ((shown, _, _, _, info),) = played("left", prompt="new")
    assert (shown, info["feedback"]) == (f"{why}\n\nNothing happens.", Feedback(why))
    ((shown, _, _, _, info),) = played("left", prompt="new", tell=False)
    assert (shown, str(info["feedback"])) == ("Nothing happens.", why)
    ((shown, _, _, _, info),) = played("left", prompt="new", limit=0)
    assert (shown, str(info["feedback"])) == ("Nothing happens.", "")


def test_a_new_episode_remembers_nothing() -> None:
    env = Corridor()
    first, _ = env.reset(options={"task_id": "door/2"})
    env.step("right")
    observation, info = env.reset(options={"task_id": "door/2"})
    assert (observation, env.past) == (first, ())
    assert (info["seen"], info["commands"], info["skill"]) == ("You stand at door 0.", ("right",), "")


def test_an_action_without_the_form_is_done_and_said_to_be_at_fault() -> None:
    ((shown, _, _, _, info),) = played("go right", form="tagged", prompt="new")
    assert "You stand at door 1." in shown
    assert info["valid"] is False
    assert "No command stands between <action> and </action>." in str(info["feedback"])
    ((_, _, _, _, info),) = played("<action>right</action>", form="tagged")
    assert (info["valid"], info["feedback"]) == (True, Feedback())
    assert (info["seen"], info["commands"]) == ("You stand at door 1.", ("right",))


def test_the_last_action_s_faults_are_told_too_but_not_of_a_success() -> None:
    (*_, last) = played(*["go left"] * 4, form="tagged")
    assert last[4]["valid"] is False
    first, then = str(last[4]["feedback"]).split("\n\n")
    assert first.startswith("No command stands between <action> and </action>.")
    assert then == "After 4 turns you stand at door 0."
    (*_, last) = played("right", "right", form="tagged")
    assert (last[4]["valid"], last[4]["feedback"]) == (False, Feedback())


@pytest.mark.parametrize(
    ("action", "command", "faults"),
    [
        ("<think>hm</think><action> Go East </action>", "go east", 0),
        ("<think>hm</think><ACTION>east</ACTION>", "east", 0),
        ("<THINK>hm</THINK><action>east</action>", "east", 1),
        ("<action>one</action><action>two</action>", "one", 1),
        ("</action><action>east", "tion>east", 2),
        ("no tags but an ending", "an ending", 2),
        ("<think>东</think><action>east</action>", "east", 1),
        ("", "", 2),
    ],
)
def test_actions_are_read_as_published(action: str, command: str, faults: int) -> None:
    move = between_tags(action, form="thought", last=9)
    assert (move.command.strip(), len(move.faults)) == (command, faults)


def test_a_thought_is_asked_for_only_where_it_is_wanted_and_a_bare_action_is_all_command() -> None:
    assert between_tags("<action>a</action>", form="tagged", last=9) == Move("a")
    assert between_tags(" Look\n at  it ", form="bare", last=3) == Move("Look at it")


def test_turns_are_recalled_with_their_numbers() -> None:
    past = [Past(f"see {number}", f"do {number}") for number in range(1, 5)]
    assert recalled(past, 2) == (
        "[Observation 3: 'see 3', Action 3: 'do 3']\n[Observation 4: 'see 4', Action 4: 'do 4']"
    )
    assert recalled(past, 0) == recalled([], 2) == ""
    assert recalled(past, 9).startswith("[Observation 1: 'see 1'")


@pytest.mark.parametrize("settings", [{"turns": 0}, {"history": -1}, {"prompt": "old"}, {"tell": "yes"}])
def test_other_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Corridor(**settings)
