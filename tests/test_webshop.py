"""WebShop: prompts as published, commands, the judge and its words, and attacks on both."""

import copy
import pickle
import re
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from boutique import ROWS, TOLD, built, row
from hypothesis import given, settings
from hypothesis import strategies as st

from sdpo_envs import Feedback, GroupEnv, MissingExtra, MultiAttempt, Outcome, RecordError, SettingError
from sdpo_envs.check import HOSTILE_ACTIONS
from sdpo_envs.shop import Goal, Product
from sdpo_envs.shopreward import plain_nouns
from sdpo_envs.turns import skill
from sdpo_envs.webshop import LONGEST_PROMPT, WebShop, judge

DATA = Path(__file__).parents[1] / "../shared/data/webshop"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="skips WebShop's products: they are not beside this")

BUY = "click[buy now]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def ten_turns(folder: Path) -> WebShop:
    return env_of(folder, turns=10)


def env_of(folder: Path, **changed: Any) -> WebShop:
    return WebShop(**{"source": folder, "form": "bare", "nouns": "words", **changed})


def red_and_small(env: WebShop) -> str:
    """Return the id of the task to buy the plain shirt, red and small."""
    return next(task.id for task in env.tasks if task.answer.options == (("color", "red"), ("size", "small")))


def played(folder: Path, *commands: str, **changed: Any) -> list[tuple[str, float, bool, bool, dict[str, Any]]]:
    env = env_of(folder, **changed)
    env.reset(options={"task_id": red_and_small(env)})
    return [env.step(command) for command in commands]


def last(folder: Path, *commands: str, **changed: Any) -> tuple[str, float, bool, bool, dict[str, Any]]:
    return played(folder, *commands, **changed)[-1]


RIGHT = ("search[plain shirt]", "click[a1]", "click[red]", "click[small]", BUY)


def test_what_was_asked_for_earns_one(folder: Path) -> None:
    observation, reward, terminated, truncated, info = last(folder, *RIGHT)
    assert (observation, reward, terminated, truncated) == ("", 1.0, True, False)
    assert info["verdict"].outcome is Outcome.PASSED
    assert info["feedback"] == Feedback()
    assert info["nouns"] == "words"


def test_a_purchase_that_fits_in_part_is_paid_its_part_and_is_wrong(folder: Path) -> None:
    observation, reward, terminated, _, info = last(folder, *RIGHT[:3], BUY)
    assert (reward, terminated, info["verdict"].outcome) == (0.8, True, Outcome.WRONG)
    assert observation == (
        "What you bought meets 4 of 5 wishes; the reward is 0.80.\n\n"
        "It was not bought with 1 of the 2 options asked for.\nMissing: size: small\nYou chose: color: red"
    )


def test_each_kind_of_miss_is_told(folder: Path) -> None:
    text, reward, *_ = last(folder, "search[oak table]", "click[a3]", BUY)
    assert reward == 0.0
    assert text == (
        "What you bought meets 1 of 5 wishes; the reward is 0.00.\n\n"
        "It lacks 1 of the 2 qualities asked for.\nMissing: slim fit\n\n"
        "It was not bought with 2 of the 2 options asked for.\nMissing: color: red, size: small\nYou chose: nothing\n\n"
        f"It costs more than was allowed.\nIts price: $100.00\nThe most to pay: ${most(folder):.2f}\n\n"
        "It is not the kind of product asked for, which multiplies the reward by 0.0."
    )


def most(folder: Path) -> float:
    env = env_of(folder)
    goal: Goal = env.find(red_and_small(env)).answer
    return goal.price_limit


def test_with_reveal_the_product_is_told(folder: Path) -> None:
    told, *_, info = last(folder, "search[striped shirt]", "click[a2]", BUY, reveal=True)
    assert "Right product: A1, Plain Shirt\nRight options: color: red, size: small" in told
    assert info["feedback"].reveals_answer
    assert "Plain Shirt" not in last(folder, "search[striped shirt]", "click[a2]", BUY)[0]


def test_of_the_right_kind_but_with_another_title_is_told_apart_from_another_kind(tmp_path: Path) -> None:
    folder = built(tmp_path, [row("A9", "Linen Blouse"), *ROWS])
    same = last(folder, "search[linen blouse]", "click[a9]", BUY)[0]
    other = last(folder, "search[oak table]", "click[a3]", BUY)[0]
    assert "It is of the kind asked for, but its title shares too few nouns" in same
    assert "It is not the kind of product asked for" in other
    assert all(text.endswith(", which multiplies the reward by 0.0.") for text in (same, other))


def test_what_is_chosen_as_asked_and_does_not_count_is_not_said_to_be_missing(tmp_path: Path) -> None:
    odd = {"Color": [{"value": "228Blue"}, {"value": "Red"}]}
    env = env_of(built(tmp_path, [row("A1", "Plain Shirt", customization_options=odd), *ROWS[1:]]), split="train")
    task = next(task for task in env.tasks if task.answer.options == (("color", "228blue"),))
    for color, told in (
        (
            "228blue",
            "Chosen as asked, but WebShop's way to compare options does not count it.\nNot counted: color: 228blue",
        ),
        ("red", "It was not bought with 1 of the 1 options asked for.\nMissing: color: 228blue\nYou chose: color: red"),
    ):
        env.reset(options={"task_id": task.id})
        text = [env.step(command)[0] for command in ("search[plain]", "click[a1]", f"click[{color}]", BUY)][-1]
        assert text == f"What you bought meets 3 of 4 wishes; the reward is 0.75.\n\n{told}"


def test_what_an_instruction_leaves_unsaid_is_only_given_away(tmp_path: Path) -> None:
    env = env_of(built(tmp_path), goals="human", split="train")
    goal: Goal = env.tasks[0].answer
    product = next(each for each in env.shop.products if each.asin == "A3")
    verdict = judge(product, {}, goal, plain_nouns)
    details = " ".join(text for finding in verdict.findings for text in (finding.title, *finding.details.values()))
    assert "slim fit" not in details
    assert "red" not in re.findall(r"\w+", details)
    answers = {label: text for finding in verdict.findings for label, text in finding.answer.items()}
    assert answers == {"Right product": "A1, Plain Shirt", "Right options": "red", "Missing, unsaid": "red"}
    assert set(env.secrets(env.tasks[0])) == {"A1", "Plain Shirt", "slim fit", "red"}


def test_who_buys_nothing_earns_nothing(folder: Path) -> None:
    steps = played(folder, "search[shirt]", "click[a1]", "click[red]", turns=3)
    assert [step[1:3] for step in steps] == [(0.0, False), (0.0, False), (0.0, True)]
    assert steps[-1][0] == "Nothing was bought within 3 turns."
    assert steps[-1][4]["verdict"].outcome is Outcome.WRONG


@pytest.mark.parametrize(
    ("before", "command", "why"),
    [
        ((), "buy the shirt", "an action is search[...] or click[...].\nYou said: buy the shirt"),
        ((), "", "an action is search[...] or click[...].\nYou said"),
        ((), "search[shirt", "an action is search[...] or click[...].\nYou said: search[shirt"),
        ((), "search[ ]", "a search needs words."),
        ((), "click[search]", "the search page has no buttons.\nSearch by: search[<your query>]"),
        ((), "click[a1]", "the search page has no buttons.\nSearch by: search[<your query>]"),
        (RIGHT[:1], "search[table]", "only the search page can search.\nGo there by: click[back to search]"),
        (
            RIGHT[:1],
            BUY,
            "only a product's first page has the button Buy Now.\nGo there by: click[<the number of a product>]",
        ),
        (
            (*RIGHT[:2], "click[features]"),
            BUY,
            "only a product's first page has the button Buy Now.\nGo there by: click[< prev]",
        ),
        (
            RIGHT[:1],
            "click[a3]",
            "there is no such button on this page.\nYou clicked: a3\n"
            "Buttons: back to search, next >, the number of a product",
        ),
        (
            RIGHT[:2],
            "click[green]",
            "there is no such button on this page.\nYou clicked: green\nButtons: back to search, < prev, description, "
            "features, reviews, buy now, a value of an option",
        ),
    ],
)
def test_a_command_that_cannot_be_followed_changes_nothing_and_is_told_why(
    folder: Path, before: tuple[str, ...], command: str, why: str
) -> None:
    env = env_of(folder)
    env.reset(options={"task_id": red_and_small(env)})
    for each in before:
        env.step(each)
    place, seen = env.place, env.seen
    observation, reward, terminated, _, info = env.step(command)
    assert (env.place, env.seen.text, env.seen.commands) == (place, seen.text, seen.commands)
    assert (reward, terminated, info["verdict"]) == (0.0, False, None)
    assert str(info["feedback"]) == f"Nothing came of the last action: {why}"
    assert observation.startswith(f"{info['feedback']}\n\n")


def test_a_search_that_finds_nothing_is_told(folder: Path) -> None:
    observation, *_, info = last(folder, "search[zzz]", prompt="new")
    assert str(info["feedback"]) == "No product has any of these words.\nYou searched for: zzz"
    assert observation.endswith("Back to Search [SEP] Page 1 (Total results: 0) [SEP] Next >")


@pytest.mark.parametrize("command", ["CLICK[A1]", " click [ a1 ]", "click[a1] please", "Click[A1\n]"])
def test_case_and_blanks_do_not_matter(folder: Path, command: str) -> None:
    env = env_of(folder)
    env.reset(options={"task_id": red_and_small(env)})
    env.step("SEARCH[Plain Shirt]")
    env.step(command)
    assert env.place.view == "item"


def test_values_with_brackets_and_blanks_can_be_chosen(tmp_path: Path) -> None:
    values = {"Size": [{"value": "2  pack [new]"}, {"value": "wide\xa0leg"}]}
    env = env_of(built(tmp_path, [row("X1", "Lamp", customization_options=values), *ROWS]))
    env.reset()
    for command in ("search[lamp]", "click[x1]", "click[2 pack [new]]"):
        env.step(command)
    assert env.place.chosen == {"size": "2  pack [new]"}
    env.step("click[wide leg]")
    assert env.place.chosen == {"size": "wide\xa0leg"}


FIRST = (
    "\nYou are an expert autonomous agent operating in the WebShop e\u2011commerce environment. \n"
    "Your task is to: {task}.\n"
    "Your current observation is: 'Search'.\n"
    "Your admissible actions of the current situation are: \n[\n'search[<your query>]',\n].\n\n"
    "Now it's your turn to take one action for the current step.\n"
    "You should first reason step-by-step about the current situation, then think carefully which admissible action "
    "best advances the shopping goal. This reasoning process MUST be enclosed within <think> </think> tags. \n"
    "Once you've finished your reasoning, you should choose an admissible action for current step and present it within"
    " <action> </action> tags.\n"
)


def test_the_first_prompt_is_the_published_one(folder: Path) -> None:
    env = env_of(folder, form="thought")
    observation, info = env.reset(options={"task_id": red_and_small(env)})
    assert observation == FIRST.format(task=env.task.prompt)
    assert (info["seen"], info["nouns"], info["system"]) == ("'Search'", "words", "")
    assert info["skill"] == env.task.meta["skill"] == skill("webshop", "fashion")


def test_a_skill_is_found_by_the_exact_category_and_else_is_the_general_one() -> None:
    general = skill("webshop", "toys")
    known = [skill("webshop", category) for category in ("beauty", "electronics", "fashion", "garden", "grocery")]
    assert len({*known}) == 5
    assert all(text.startswith(f"{general}\n6. ") for text in known)
    assert skill("webshop", "Fashion") == skill("webshop", "men's fashion") == skill("webshop", "") == general


def test_a_later_prompt_holds_the_last_turns(folder: Path) -> None:
    thought = [f"<think>hm</think><action>{command}</action>" for command in RIGHT]
    steps = played(folder, *thought[:3], form="thought")
    told = re.search(r"already taken.*?(?=Your admissible)", steps[-1][0], re.DOTALL)
    assert told is not None
    results = "'Back to Search' [SEP] 'Page 1 (Total results: 2)' [SEP] 'Next >' [SEP] 'A1' [SEP] 'Plain Shirt'"
    assert told[0].startswith(
        "already taken 3 step(s). Below are the most recent 2 observations and the corresponding actions you took: "
        f"[Observation 2: '{results}"
    )
    assert "', Action 2: 'click[a1]']\n[Observation 3: ''Back to Search' [SEP] '< Prev' [SEP] 'size'" in told[0]
    assert "', Action 3: 'click[red]']\nYou are now at step 4 and your current observation is: 'Back" in told[0]
    assert "\n'click[buy now]',\n'click[small]',\n" in steps[-1][0]
    assert "search[<your query>]" not in steps[-1][0]


def test_without_history_and_when_it_is_too_long_a_prompt_stands_alone(tmp_path: Path) -> None:
    long = row("X1", "Lamp", full_description="dim " * 4000)
    env = env_of(built(tmp_path, [long, *ROWS]), tell=False)
    env.reset()
    for command in ("search[lamp]", "click[x1]", "click[description]"):
        observation, *_ = env.step(command)
    assert len(observation) > LONGEST_PROMPT
    assert "already taken" not in observation
    short, *_ = env.step("click[back to search]")
    assert len(short) < LONGEST_PROMPT
    assert "already taken" not in short, "the description is among the last turns"
    assert "already taken" not in last(tmp_path, *RIGHT[:2], history=0)[0]


def test_a_prompt_of_what_is_new_is_the_page(folder: Path) -> None:
    env = env_of(folder, prompt="new")
    first, _ = env.reset(options={"task_id": red_and_small(env)})
    assert "Your task is to: Find me slim fit" in first
    page, *_ = env.step("search[plain shirt]")
    assert page.startswith(f"Instruction: [SEP] {env.task.prompt} [SEP] Back to Search [SEP] Page 1 (Total results: 2)")


@pytest.mark.parametrize(
    ("form", "asked"), [("tagged", "present an admissible action"), ("bare", "and with nothing else")]
)
def test_other_forms_are_asked_for(folder: Path, form: str, asked: str) -> None:
    env = env_of(folder, form=form)
    observation, _ = env.reset()
    assert asked in observation
    assert "<think>" not in observation


def test_without_tags_the_last_twenty_characters_are_the_command(folder: Path) -> None:
    observation, *_, info = last(folder, "I should search for it: search[plain shirt]", form="thought")
    assert "'A1'" in observation
    assert info["valid"] is False
    assert "No command stands between <action> and </action>." in str(info["feedback"])


@pytest.mark.parametrize("form", ["thought", "tagged", "bare"])
def test_a_walkthrough_earns_one_in_every_form(folder: Path, form: str) -> None:
    env = env_of(folder, form=form)
    for task in env.tasks:
        way = env.walkthrough(task)
        assert way is not None
        env.reset(options={"task_id": task.id})
        *_, end = [env.step(action) for action in way]
        assert (end[1], end[4]["valid"]) == (1.0, True)


def test_no_walkthrough_is_known_where_turns_or_options_do_not_allow_it(folder: Path, tmp_path: Path) -> None:
    short = env_of(folder, turns=3)
    assert short.walkthrough(short.find(red_and_small(short))) is None
    odd = row("A1", "Plain Shirt", customization_options={"Color": [{"value": "228Blue"}]})
    env = env_of(built(tmp_path, [odd, *ROWS[1:]]))
    task = next(task for task in env.tasks if task.answer.asin == "A1")
    assert env.walkthrough(task) is None, "blue is no word of 228blue, as in the original"


def test_the_splits_share_no_goal_and_ids_name_no_product(folder: Path) -> None:
    train, test = (env_of(folder, split=split) for split in ("train", "test"))
    assert (len(train.tasks), len(test.tasks)) == (4, 1)
    assert {*train.task_ids} | {*test.task_ids} == {f"webshop/{number}" for number in range(5)}
    assert train.task_ids == env_of(folder, split="train", goal_seed=9).task_ids


def test_another_seed_draws_other_limits_for_the_same_goals(folder: Path) -> None:
    prompts = {seed: [task.prompt for task in env_of(folder, goal_seed=seed).tasks] for seed in range(6)}
    assert len({tuple(each) for each in prompts.values()}) > 1
    assert len({tuple(prompt.partition(", and price")[0] for prompt in each) for each in prompts.values()}) == 1


# Attacks: to be paid without shopping, to see the answer, to break the shop.


def test_nothing_is_paid_before_a_purchase_nor_for_looking_at_the_right_thing(folder: Path) -> None:
    steps = played(folder, *RIGHT[:-1], *["click[features]", "click[< prev]"] * 4, turns=12)
    assert [step[1] for step in steps] == [0.0] * 12


def test_all_words_at_once_find_no_more_than_a_search(folder: Path) -> None:
    env = env_of(folder)
    env.reset()
    env.step(f"search[{' '.join(each['name'] for each in ROWS) * 50}]")
    assert len(env.place.found) <= 50
    assert len(env.seen.commands) == 12, "a page holds ten"


@pytest.mark.parametrize("words", ["<r>", "<a> slim fit", "<c> fashion", "<q> shirts", "* OR TRUE", "asin:A1"])
def test_commands_within_a_search_are_words(folder: Path, words: str) -> None:
    env = env_of(folder)
    env.reset()
    env.step(f"search[{words}]")
    assert all(env.shop.products[position].title.split()[-1] == "Shirt" for position in env.place.found)


def test_options_of_one_product_do_not_count_for_another(folder: Path) -> None:
    detour = ("search[shirt]", "click[a2]", "click[small]", "click[< prev]", "click[a1]", "click[red]", BUY)
    assert last(folder, *detour)[1] == 0.8


@pytest.mark.parametrize("goals", ["synthetic", "human"])
def test_no_feedback_on_a_command_holds_a_secret_wherever_one_stands(tmp_path: Path, goals: str) -> None:
    env = env_of(built(tmp_path), goals=goals, turns=99)
    ways = ("search[plain shirt]", "click[a1]", "click[features]", "click[< prev]", "click[< prev]", "click[next >]")
    for task in env.tasks:
        env.reset(options={"task_id": task.id})
        steps = [env.step(command) for way in ways for command in ("?", "click[?]", way)]
        told = [str(step[4]["feedback"]) for step in steps]
        assert all(told[3 * number + 1] for number in range(len(ways)))
        secrets = [rf"\b{re.escape(secret)}\b" for secret in env.secrets(task)]
        assert not [text for text in told for secret in secrets if re.search(secret, text, re.IGNORECASE)]


def test_hidden_fields_stay_hidden(folder: Path) -> None:
    env = env_of(folder, render_mode="ansi")
    _, told = env.reset(options={"task_id": red_and_small(env)})
    steps = [env.step(command) for command in ("click[a9]", "search[oak table]", "click[a3]", BUY)]
    sent = pickle.dumps([told, *(step for step in steps)]).decode("latin-1") + str(env.render()) + repr(env.task)
    assert "Plain Shirt" not in sent
    assert not re.search(r"\bA1\b", sent)
    assert "machine wash" not in repr(env.task).replace(env.task.prompt, "")
    assert "A1" not in repr(env)


@pytest.mark.parametrize("form", ["thought", "bare"])
@pytest.mark.parametrize("action", [*HOSTILE_ACTIONS.values(), f"<action>search[{'shirt ' * 200_000}]</action>"])
def test_hostile_actions_are_answered_in_time(folder: Path, form: str, action: str) -> None:
    began = time.monotonic()
    end = last(folder, *[action] * 3, form=form, turns=3)
    assert (end[1], end[2]) == (0.0, True)
    assert time.monotonic() - began < 20


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.sampled_from([*RIGHT, "click[back to search]", "click[next >]", "click[< prev]", "click[features]"]),
            st.text(max_size=9).map("search[{}]".format),
            st.text(max_size=9).map("click[{}]".format),
        ),
        max_size=10,
    )
)
def test_whatever_is_done_an_episode_ends_with_a_reward_from_0_to_1(ten_turns: WebShop, commands: list[str]) -> None:
    env = ten_turns
    env.reset(options={"task_id": red_and_small(env)})
    for command in [*commands, *["nothing"] * 10]:
        _, reward, terminated, _, info = env.step(command)
        assert 0 <= reward <= 1
        assert reward == 0 or terminated
        if terminated:
            assert (reward == 1) == info["verdict"].passed
            return
    raise AssertionError("ten turns are all there are")


# In company.


def test_a_copy_goes_its_own_way_in_the_same_shop(folder: Path) -> None:
    env = env_of(folder)
    env.reset(options={"task_id": red_and_small(env)})
    env.step(RIGHT[0])
    twin = copy.deepcopy(env)
    assert twin.shop is env.shop
    twin.step("click[a2]")
    assert env.place.view == "results"
    assert [env.step(command)[1] for command in RIGHT[1:]][-1] == 1.0


def test_after_a_purchase_that_fits_in_part_one_may_try_again(folder: Path) -> None:
    env: Any = MultiAttempt(env_of(folder), attempts=2)
    env.reset(options={"task_id": red_and_small(env.unwrapped)})
    steps = [env.step(command) for command in (*RIGHT[:3], BUY, *RIGHT)]
    assert [step[1] for step in steps] == [0.0] * 8 + [1.0]
    assert "Missing: size: small" in str(steps[3][4]["feedback"])
    assert steps[3][4]["verdict"].reward == 0.8


def test_in_a_group_the_way_of_a_peer_is_handed_on(folder: Path) -> None:
    envs: Any = gymnasium.make_vec(
        "sdpo_envs:sdpo/WebShop-v0", num_envs=2, group_size=2, source=str(folder), form="bare", nouns="words"
    )
    assert isinstance(envs.unwrapped, GroupEnv)
    bare = envs.unwrapped.envs[0].unwrapped
    envs.reset(options={"task_id": red_and_small(bare)})
    wrong = ("search[oak table]", "click[a3]", BUY, "", "")
    for pair in zip(RIGHT, wrong, strict=True):
        _, rewards, _, _, infos = envs.step(list(pair))
    assert rewards[0] == 1.0
    assert infos["feedback"][1].peer == "\n".join(RIGHT)
    envs.close()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"split": "dev"}, SettingError),
        ({"goals": "all"}, SettingError),
        ({"goal_seed": -1}, SettingError),
        ({"goal_seed": 1.5}, SettingError),
        ({"nouns": "none"}, SettingError),
        ({"form": "json"}, SettingError),
        ({"turns": 0}, SettingError),
        ({"source": "no/such/folder"}, SettingError),
        ({"source": 7}, SettingError),
    ],
)
def test_other_settings_are_refused(folder: Path, changed: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        env_of(folder, **changed)


def test_the_bundled_shop_has_no_goals_of_people() -> None:
    with pytest.raises(SettingError, match="items_human_ins"):
        WebShop(goals="human")


@pytest.mark.parametrize("people", [[], {"A1": {}}, {"A1": [{"instruction": "x"}]}])
def test_instructions_of_another_form_are_a_complaint(tmp_path: Path, people: Any) -> None:
    with pytest.raises(RecordError):
        env_of(built(tmp_path, ROWS, TOLD, people), goals="human")


@pytest.mark.parametrize(("module", "extra"), [("bm25s", "retrieval"), ("rapidfuzz", "webshop")])
def test_a_missing_library_is_named_before_anything_is_bought(
    folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"sdpo-envs\[{extra}\]"):
        env_of(folder)


@needs_data
def test_most_goals_of_webshop_can_be_met_by_their_own_product() -> None:
    env = env_of(DATA)
    assert len(env.tasks) == 6410
    ways = {task.id: env.walkthrough(task) for task in env.tasks[::16]}
    assert 0.9 < sum(way is not None for way in ways.values()) / len(ways) < 0.96
    for task_id in [task_id for task_id, way in ways.items() if way is not None][:20]:
        env.reset(options={"task_id": task_id})
        assert [env.step(action)[1] for action in ways[task_id] or ()][-1] == 1.0


@needs_data
def test_the_original_numbers_its_goals_alike() -> None:
    test = env_of(DATA, split="test")
    assert len(test.tasks) == 500
    goal: Goal = test.find("webshop/0").answer
    assert (goal.asin, goal.options) == ("B0743JKHBV", (("size", '28" x 28"'),))


def test_a_product_of_the_shop_is_data(folder: Path) -> None:
    env = env_of(folder)
    assert all(isinstance(product, Product) for product in env.shop.products)
    assert pickle.loads(pickle.dumps(env)).tasks == env.tasks
