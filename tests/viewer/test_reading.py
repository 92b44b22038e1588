"""What is read of a run, and what is not."""

import json
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from recorded import row, write_run
from stories import EVIL, SECOND, hostile, scored, small, write_tokens

from sdpo_envs import RecordError
from sdpo_envs.record import record
from sdpo_envs.viewer import read, view


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return small(tmp_path / "run")


def test_attempts_have_their_slots_and_tokens_their_attempt(run: Path) -> None:
    found = read(run)
    assert found.slots == (0, 1, 0, 1, 0, 1, 0)
    assert list(found.turns) == [5]  # not 1, which was made before the step began, nor 4, which has another slot
    (turn,) = found.turns[5]
    assert turn.tokens == ("return", " min", "(x)", "<|end|>")
    assert turn.teacher == (-0.5, -5.5, -0.01, -0.5)
    assert (turn.saw, turn.reads) == ("the question", "the question, and why")


def test_what_an_environment_heard_when_there_was_no_room_to_write_is_no_turn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [row(False, task="t", actions=["go", "", "stop", "", ""])])
    told = scored("t", 0, "go", ["go"])
    told["turns"] += scored("t", 0, "", [])["turns"] + scored("t", 0, "stop", ["st", "op"])["turns"]
    write_tokens(run, told)
    assert [turn.tokens for turn in read(run).turns[0]] == [("go",), (), ("st", "op")]


def test_prompts_come_from_the_environment_and_hold_no_answer(run: Path) -> None:
    found = read(run)
    env = gymnasium.make("sdpo/MicroCode-v0")
    for (phase, task_id), task in found.prompts.items():
        assert phase == "train"
        assert task.prompt == env.reset(options={"task_id": task_id})[0]
        assert task.answer is None
    assert {task_id for _, task_id in found.prompts} == {"microcode/0/mixed/train/0", SECOND}
    assert read(run, prompts=False).prompts == {}


def test_what_is_missing_is_said(run: Path) -> None:
    (note,) = read(run).notes
    assert "nobody/Knows-v9 is not registered here" in note
    write_tokens(run, scored("microcode/0/mixed/train/0", 1, "another action", ["a"]))
    assert any("1 rows of tokens.jsonl are of no attempt" in note for note in read(run).notes)
    assert not read(run).turns


def test_what_may_be_a_key_is_not_shown(run: Path) -> None:
    found = read(run)
    assert found.facts["test environment"] == "nobody/Knows-v9 (api_key='(hidden)', max_tokens=9)"
    assert "s3cret" not in view(run).read_text()
    assert "s3cret" not in found._repr_html_()


def test_no_module_of_a_run_is_imported_and_no_wrapper_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('a run had a module imported')")
    monkeypatch.syspath_prepend(tmp_path)
    wrappers = [{"entry_point": "trap:Wrapper", "kwargs": {}}]
    phases = {
        "train": {"env": "trap:sdpo/MicroCode-v0", "settings": {}},
        "test": {"env": "sdpo/MicroCode-v0", "settings": {}, "wrappers": wrappers},
        "other": {"env": "CartPole-v1", "settings": {"nonsense": 1}},
    }
    run = write_run(tmp_path / "run", [row(True, phase=phase, task="t") for phase in phases], phases=phases)
    notes = read(run).notes
    assert any("trap:sdpo/MicroCode-v0 is not registered" in note for note in notes)
    assert any("of 'other' could not tell all" in note for note in notes)
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"turns": {}}, "'turns' must be list"),
        ({"turns": ["x"]}, "each of 'turns' must be an object"),
        ({"attempt": "1"}, "'attempt' must be int"),
        ({"task": 1}, "'task' must be str"),
        ({"generations": None}, "'generations' must be int"),
    ],
)
def test_a_row_of_tokens_that_is_none_is_named(run: Path, change: dict[str, Any], words: str) -> None:
    write_tokens(run, scored("microcode/0/mixed/train/0", 1, "return min(x)", ["a"]) | change)
    with pytest.raises(RecordError, match=r"run/tokens.jsonl line 1") as caught:
        read(run)
    assert words.split("'")[1] in str(caught.value)


@pytest.mark.parametrize("numbers", [[-1.0], [-1.0, "x"], [-1.0, float("inf")], [-1.0, -1.0, -1.0]], ids=str)
@pytest.mark.parametrize("column", ["student", "teacher"])
def test_there_is_a_number_for_each_token(run: Path, column: str, numbers: list[Any]) -> None:
    told = scored("microcode/0/mixed/train/0", 1, "return min(x)", ["a", "b"])
    told["turns"][0][column] = numbers
    write_tokens(run, told)
    with pytest.raises(RecordError, match=f"'{column}' must be 2 numbers"):
        read(run)


def test_a_torn_last_row_is_left_out(run: Path) -> None:
    with (run / "tokens.jsonl").open("a") as file:
        file.write('{"step": 2, "gener')
    assert list(read(run).turns) == [5]


def test_a_file_of_rows_that_anybody_wrote_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"task": "a", "reward": 0.5}) + "\n" + json.dumps({"task": "b", "passed": True}) + "\n")
    found = read(path)
    assert [row.task for row in found.rows] == ["a", "b"]
    assert "no prompts" in found.notes[0]
    assert view(path) == tmp_path / "view.html"
    with pytest.raises(FileNotFoundError, match="no attempts"):
        read(tmp_path / "nowhere")


def test_a_recording_that_was_just_made_is_read_as_it_was(tmp_path: Path) -> None:
    envs = record(gymnasium.make_vec("sdpo/ToolUse-v0", num_envs=4, group_size=4), tmp_path)
    prompts, infos = envs.reset(seed=0)
    right = envs.envs[0].get_wrapper_attr("oracle")(envs.envs[0].get_wrapper_attr("task"))
    envs.step(["Action: x", right, "?", "Action: y"])
    envs.close()
    found = read(tmp_path)
    assert [row.passed for row in found.rows] == [False, True, False, False]
    assert found.prompts["train", infos["task_id"][0]].prompt == prompts[0]
    assert "1" in found._repr_html_()


def test_episodes_are_played_again_where_that_is_wished(tmp_path: Path) -> None:
    envs = record(gymnasium.make_vec("sdpo/MicroHouse-v0", num_envs=2, group_size=2), tmp_path)
    observations, _ = envs.reset(seed=0)
    saw: list[list[str]] = [[], []]
    actions = ("go trunk", "open trunk", "wait") * 5
    for action in actions:
        for slot in (0, 1):
            saw[slot].append(observations[slot])
        observations, _, ended, cut, _ = envs.step([action, "look"])
        if (ended | cut).all():
            break
    envs.close()
    assert read(tmp_path).seen == {}
    found = read(tmp_path, play=True)
    for number, seen in found.seen.items():
        assert list(seen) == saw[number][: len(found.rows[number].actions)]
    assert len(found.seen) == 2


def test_a_notebook_sees_the_phases_and_nothing_that_runs(tmp_path: Path) -> None:
    shown = read(small(tmp_path / "small"))._repr_html_()
    for words in ("sdpo", "train", "test", "0.200", "broken 1", "1 attempts with scored tokens", "nobody/Knows-v9"):
        assert words in shown
    evil = read(hostile(tmp_path / "evil"))._repr_html_()
    assert "&lt;script&gt;" in evil
    assert not any(each in evil for each in EVIL if "<" in each)
    evil.encode()
