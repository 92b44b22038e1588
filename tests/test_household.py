"""Why nothing came of a command, and what is met of a goal: every reason, and nothing given away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdpo_envs.alfredgame import Goal
from sdpo_envs.household import Household, progress, refusal
from sdpo_envs.textengine import Fact

MOVE, PUT = "move {} to {}", "put {} in/on {}"

KITCHEN: frozenset[Fact] = frozenset(
    tuple(line.split(", "))
    for line in """\
atlocation, agent1, loc 1
receptacleatlocation, fridge 1, loc 1
receptacleatlocation, fridge 2, loc 2
receptacleatlocation, counter 1, loc 3
receptacleatlocation, drawer 1, loc 3
receptacleatlocation, microwave 1, loc 4
receptacleatlocation, sinkbasin 1, loc 5
receptacletype, fridge 1, fridgetype
receptacletype, fridge 2, fridgetype
receptacletype, counter 1, countertype
receptacletype, drawer 1, drawertype
receptacletype, microwave 1, microwavetype
receptacletype, sinkbasin 1, sinkbasintype
openable, fridge 1
openable, fridge 2
openable, drawer 1
opened, fridge 2
objecttype, apple 1, appletype
objecttype, apple 2, appletype
objecttype, knife 1, knifetype
objecttype, pebble 1, pebbletype
objecttype, desklamp 1, desklamptype
objecttype, statue 1, statuetype
inreceptacle, apple 1, fridge 1
inreceptacle, apple 2, counter 1
inreceptacle, knife 1, drawer 1
inreceptacle, desklamp 1, counter 1
inreceptacle, statue 1, counter 1
inreceptacle, pebble 1, counter 1
pickupable, apple 1
pickupable, apple 2
pickupable, knife 1
pickupable, pebble 1
toggleable, desklamp 1
heatable, apple 2
cancontain, countertype, appletype
cancontain, fridgetype, appletype""".splitlines()
)


def house(*, at: int = 1, held: str = "", **changes: str) -> Household:
    """The kitchen, with the player at a location, and with facts of one argument: ``opened="fridge 1"``."""
    facts = {fact for fact in KITCHEN if fact[0] != "atlocation" and not (held and fact[:2] == ("inreceptacle", held))}
    facts |= {("atlocation", "agent1", f"loc {at}")} | set(changes.items())
    return Household(facts | ({("holds", "agent1", held), ("holdsany", "agent1")} if held else set()))


@pytest.mark.parametrize(
    ("command", "state", "why"),
    [
        ("go to fridge 1", house(), "You are at the fridge 1 already."),
        ("go to oven 1", house(), "There is no place oven 1."),
        ("open oven 1", house(), "There is no place oven 1."),
        ("open fridge 2", house(), "You are not at the fridge 2. Go to it first."),
        ("open fridge 1", house(opened="fridge 1"), "The fridge 1 is open already."),
        ("open counter 1", house(at=3), "The counter 1 cannot be opened, and need not be."),
        ("close fridge 1", house(), "The fridge 1 is closed already."),
        ("close counter 1", house(at=3), "The counter 1 cannot be closed."),
        ("close fridge 2", house(), "You are not at the fridge 2. Go to it first."),
        ("take apple 1 from fridge 1", house(), "The fridge 1 is closed. Open it first."),
        ("take apple 2 from counter 1", house(), "You are not at the counter 1. Go to it first."),
        ("take apple 3 from counter 1", house(at=3), "There is no apple 3 in or on the counter 1."),
        ("take statue 1 from counter 1", house(at=3), "The statue 1 cannot be taken."),
        ("take apple 2 from counter 1", house(at=3, held="apple 2"), "You already hold the apple 2."),
        (
            "take apple 2 from counter 1",
            house(at=3, held="knife 1"),
            "You hold the knife 1, and cannot hold two things. Put it down first.",
        ),
        ("move apple 2 to counter 1", house(at=3), "You hold nothing. Take the apple 2 first."),
        ("move apple 2 to counter 1", house(at=3, held="knife 1"), "You hold the knife 1, not the apple 2."),
        ("move apple 2 to counter 1", house(held="apple 2"), "You are not at the counter 1. Go to it first."),
        ("move apple 2 to fridge 1", house(held="apple 2"), "The fridge 1 is closed. Open it first."),
        (
            "move pebble 1 to counter 1",
            house(at=3, held="pebble 1"),
            "Things of the kind pebble do not go in or on a counter.",
        ),
        ("heat apple 2 with microwave 1", house(at=4), "You hold nothing. Take the apple 2 first."),
        ("heat apple 2 with microwave 1", house(held="apple 2"), "You are not at the microwave 1. Go to it first."),
        (
            "heat apple 2 with fridge 1",
            house(held="apple 2"),
            "Things are heated with a microwave, not with the fridge 1.",
        ),
        ("heat knife 1 with microwave 1", house(at=4, held="knife 1"), "The knife 1 cannot be heated."),
        ("cool knife 1 with fridge 1", house(held="knife 1"), "The knife 1 cannot be cooled."),
        (
            "clean apple 2 with counter 1",
            house(at=3, held="apple 2"),
            "Things are cleaned with a sinkbasin, not with the counter 1.",
        ),
        ("use desklamp 1", house(), "There is no desklamp 1 to use here."),
        ("use apple 2", house(at=3), "The apple 2 has no switch. Only what has one can be used."),
        ("slice apple 2 with knife 1", house(at=3), "You hold nothing. Take the knife 1 first."),
        ("slice apple 1 with knife 1", house(at=3, held="knife 1"), "There is no apple 1 here that can be sliced."),
        ("slice apple 1 with apple 2", house(at=3, held="apple 2"), "The apple 2 is not a knife."),
        ("examine apple 2", house(at=3), "You do not hold the apple 2. A thing is examined while you hold it."),
        ("examine fridge 2", house(), "You are not at the fridge 2. Go to it first."),
        ("open fridge 1", house(), "That cannot be done here and now."),
    ],
)
def test_each_reason_is_told(command: str, state: Household, why: str) -> None:
    finding = refusal(command, state, MOVE)
    assert (finding.title, finding.details, finding.answer) == (why, {"You said": command}, {})


@pytest.mark.parametrize(
    "command", ["", "dance", "go to", "take apple from fridge", "put apple 1 in/on fridge 1", "undo"]
)
def test_what_is_no_command_is_answered_with_the_forms_of_commands(command: str) -> None:
    finding = refusal(command, house(), MOVE)
    assert finding.title == "There is no such command."
    assert "move <thing> to <place>" in finding.details["Commands"]
    assert len(finding.details["Commands"]) <= 250
    assert refusal("put apple 1 in/on fridge 1", house(), PUT).title == "You hold nothing. Take the apple 1 first."
    assert "put <thing> in/on <place>" in refusal("dance", house(), PUT).details["Commands"]


def test_a_possible_command_that_is_alike_is_named() -> None:
    finding = refusal("goto fridge1", house(), MOVE, ("go to fridge 1", "look"))
    assert finding.details["Alike and possible"] == "go to fridge 1"
    assert "Alike and possible" not in refusal("xyz", house(), MOVE, ("go to fridge 1", "look")).details


VERBS = ["go to", "open", "close", "take", "move", "put", "heat", "clean", "cool", "use", "slice", "examine", "restart"]
WORDS = st.sampled_from(
    [*VERBS, "from", "to", "in/on", "with", "apple", "knife", "fridge", "drawer", "1", "2", "3", "\n"]
)


@given(st.lists(WORDS, max_size=7).map(" ".join) | st.text(max_size=40), st.integers(1, 5))
def test_no_command_breaks_it_and_none_is_told_of_what_is_hidden(command: str, at: int) -> None:
    finding = refusal(command, house(at=at), MOVE)
    told = f"{finding.title} {finding.details}".replace(command, "")
    hidden = {"apple 1", "knife 1"} - {name for name in ("apple 1", "knife 1") if name in command}
    assert not [name for name in hidden if name in told]


@given(
    st.sampled_from(["take {} from fridge 1", "use {}", "examine {}", "move {} to fridge 1", "slice {} with apple 2"])
)
def test_a_hidden_thing_is_answered_like_one_that_does_not_exist(form: str) -> None:
    there, nowhere = (refusal(form.format(name), house(), MOVE).title for name in ("apple 1", "apple 7"))
    assert there.replace("apple 1", "apple 7") == nowhere


# Which part of a goal is met


def told(goal: Goal, state: Household, *met: str) -> tuple[str, str]:
    parts = progress(goal, state, met)
    return parts.get("Done", ""), parts.get("Not done", "")


def test_of_a_thing_to_be_placed_it_is_told_whether_it_was_found_and_is_there() -> None:
    goal = Goal("apple", "counter")
    assert told(goal, house()) == ("", "an apple found\nan apple in or on a counter")
    assert told(goal, house(), "apple 1") == ("an apple found", "an apple in or on a counter")
    assert told(goal, house(), "apple 2")[1] == ""


def test_of_what_the_player_has_not_met_nothing_is_told() -> None:
    """Apple 1 lies in a fridge from the start; to say so would tell where it is."""
    goal = Goal("apple", "fridge")
    assert told(goal, house(), "apple 2") == ("an apple found", "an apple in or on a fridge")
    assert told(goal, house(), "apple 1")[1] == ""


def test_of_a_change_it_is_told_whether_the_very_thing_has_it() -> None:
    goal = Goal("apple", "counter", "hot")
    nothing = told(goal, house(), "apple 2")
    assert nothing == ("an apple found", "an apple that is hot\na hot apple in or on a counter")
    assert told(goal, house(ishot="apple 1"), "apple 1", "apple 2") == (
        "an apple found\nan apple that is hot",
        "a hot apple in or on a counter",
    )
    assert told(goal, house(ishot="apple 2"), "apple 2")[1] == ""


def test_of_two_things_it_is_told_how_many_are_there() -> None:
    goal = Goal("apple", "counter", count=2)
    one = "one apple in or on a counter"
    assert told(goal, house(), "apple 1", "apple 2") == (
        f"an apple found\n{one}",
        "another apple in or on the same counter",
    )
    both = Household(house().facts | {("inreceptacle", "apple 1", "counter 1")})
    assert told(goal, both, "apple 1", "apple 2")[1] == ""


def test_of_a_lamp_it_is_told_whether_it_was_used_and_the_thing_held_beside_it() -> None:
    goal = Goal("apple", lamp="desklamp")
    assert told(goal, house())[0] == ""
    assert told(goal, house(held="apple 2"), "apple 2") == (
        "an apple found\nan apple held",
        "a desklamp used\nbeing where the used desklamp is",
    )
    assert told(goal, house(istoggled="desklamp 1"), "apple 1")[0] == "an apple found\na desklamp used"
    assert told(goal, house(at=3, held="apple 2", istoggled="desklamp 1"), "apple 2")[1] == ""
