"""What is written of each token is what student and self-teacher score it with, and what the loss is made of."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from letters import Say, SayEven, SayTwice
from transformers import PreTrainedTokenizerFast

from sdpo_agent import (
    GRPO,
    PRESETS,
    SDPO,
    Group,
    Policy,
    Reprompt,
    SDPOSettings,
    TrainSettings,
    collect,
    make_algorithm,
    train,
)
from sdpo_agent.learn import Algorithm, LearnSettings, learn, make_optimizer
from sdpo_agent.processes import Processes
from sdpo_agent.sdar import SDAR, SDARSettings
from sdpo_agent.small import byte_tokenizer
from sdpo_agent.teacher import Teacher
from sdpo_agent.tokenwise import spelled, teacher_of, token_rows
from sdpo_envs import GroupEnv, SettingError, record

SEEDS = [3, 4]


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings(**{"steps": 2, "learning_rate": 1e-3, "max_tokens": 4, **changes})


def played(policy: Policy, env: Any = Say, history: Any = "observation") -> list[Group]:
    envs = GroupEnv(env, num_envs=8, group_size=4, reveal=True)
    return collect(envs, policy, max_tokens=4, seeds=SEEDS, history=history)


def own(policy: Policy, script: Any, temperature: float = 1.0) -> list[float]:
    """Log-probabilities of a policy, straight from the logits of its model, for what is written last in a script."""
    ids = torch.tensor([script.token_ids])
    with torch.no_grad():
        logprobs = (policy.model(input_ids=ids).logits[0].double() / temperature).log_softmax(-1)
    return [float(logprobs[at - 1, script.token_ids[at]]) for at in script.written]


def find(groups: list[Group], row: dict[str, Any]) -> tuple[Group, Any]:
    (group,) = [group for group in groups if group.task_id == row["task"]]
    return group, group.attempts[row["attempt"]]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_numbers_are_the_models_own(policy: Policy, temperature: float) -> None:
    algorithm, groups = SDPO(policy), played(policy)
    with torch.no_grad():  # so that the teacher is another than the student
        for weight in policy.trainable():
            weight.mul_(1.02)
    rows = token_rows(policy, algorithm, groups, 99, temperature=temperature, seed=[0])
    assert len(rows) >= 3
    for row in rows:
        group, attempt = find(groups, row)
        (turn,), (told,) = attempt.turns, row["turns"]
        (hint,) = [each.hindsight for each in algorithm.samples(group) if each.turns[0] is turn]
        assert (told["action"], told["saw"], told["reads"]) == (turn.action, turn.observation, hint)
        plain, hinted = (policy.chat.script(attempt.turns, opening) for opening in (None, hint))
        assert algorithm.teacher.initial is not None
        assert told["student"] == pytest.approx(own(policy, plain, temperature), abs=2e-5)
        assert told["teacher"] == pytest.approx(own(algorithm.teacher.initial, hinted, temperature), abs=2e-5)
        assert len(told["tokens"]) == len(turn.token_ids)
    apart = [
        abs(t - s)
        for row in rows
        for turn in row["turns"]
        for s, t in zip(turn["student"], turn["teacher"], strict=True)
    ]
    assert max(apart) > 0.5


@pytest.mark.parametrize("name", ["sdpo", "sdar"])
def test_their_mean_gap_is_the_one_that_learning_logs(policy: Policy, name: str) -> None:
    reads = Reprompt(peer="random", feedback="always")
    algorithm: Algorithm = SDPO(policy) if name == "sdpo" else SDAR(policy, SDARSettings(reprompt=reads))
    groups = played(policy)
    rows = token_rows(policy, algorithm, groups, 99, temperature=1.0, seed=[0])
    loop = LearnSettings(max_tokens=4, learning_rate=1e-9)
    told = learn(policy, algorithm, make_optimizer(policy, loop), groups, loop, step=0, processes=Processes())
    gaps = [
        teacher - student
        for row in rows
        for turn in row["turns"]
        for student, teacher in zip(turn["student"], turn["teacher"], strict=True)
    ]
    total, count = told["teacher_gap"]
    assert count == len(gaps) > 4
    assert float(np.mean(gaps)) == pytest.approx(total / count, abs=1e-4)
    assert float(np.mean(np.abs(gaps))) == pytest.approx(told["teacher_gap_size"][0] / count, abs=1e-4)


@pytest.mark.parametrize("history", ["observation", "conversation"])
def test_every_turn_has_its_own(policy: Policy, history: Any) -> None:
    algorithm, groups = SDPO(policy), played(policy, SayTwice, history)
    rows = token_rows(policy, algorithm, groups, 99, temperature=1.0, seed=[0])
    for row in rows:
        group, attempt = find(groups, row)
        assert [turn["action"] for turn in row["turns"]] == [turn.action for turn in attempt.turns]
        samples = [each for each in algorithm.samples(group) if any(each.turns[0] is turn for turn in attempt.turns)]
        student = [logprob for turn in row["turns"] for logprob in turn["student"]]
        assert student == pytest.approx(
            [logprob for each in samples for logprob in own(policy, policy.chat.script(each.turns))], abs=2e-5
        )
        reads = [turn["reads"] is not None for turn in row["turns"]]
        assert reads == ([True, True] if history == "observation" else [True, False])
        assert all(turn["teacher"] for turn in row["turns"])


def test_turns_that_the_teacher_forgot_are_not_taught(policy: Policy) -> None:
    algorithm, groups = SDPO(policy), played(policy, SayTwice, "conversation")
    (sample, *_) = [each for each in algorithm.samples(groups[0]) if each.is_taught]
    hinted = policy.chat.script(sample.turns, sample.hindsight)
    policy.max_positions = len(hinted.token_ids) - 1
    rows = token_rows(policy, algorithm, groups[:1], 99, temperature=1.0, seed=[0])
    forgot = [row for row in rows if row["turns"][0]["teacher"] is None]
    assert forgot
    for row in forgot:
        assert row["turns"][0]["reads"] is None
        assert row["turns"][1]["reads"] is not None
        assert len(row["turns"][1]["teacher"]) == len(row["turns"][1]["tokens"])


def test_as_many_as_are_wanted_are_drawn_by_seed(policy: Policy) -> None:
    algorithm, groups = SDPO(policy), played(policy)
    all_of_them, two, again, other = (
        [
            (row["task"], row["attempt"])
            for row in token_rows(policy, algorithm, groups, count, temperature=1.0, seed=seed)
        ]
        for count, seed in ((99, [0]), (2, [0]), (2, [0]), (99, [1]))
    )
    assert two == again == all_of_them[:2]
    assert sorted(all_of_them) == sorted(other)
    assert all_of_them != other
    assert token_rows(policy, algorithm, groups, 0, temperature=1.0, seed=[0]) == []


def test_what_is_not_finite_is_none(policy: Policy) -> None:
    groups = played(policy)
    algorithm = SDPO(policy, SDPOSettings(teacher="live"))
    with torch.no_grad():
        policy.trainable()[0].fill_(math.nan)
    (row, *_) = token_rows(policy, algorithm, groups, 1, temperature=1.0, seed=[0])
    assert set(row["turns"][0]["student"]) == {None}
    json.dumps(row, allow_nan=False)


def test_an_algorithm_without_a_teacher_says_so_before_anything_is_played(policy: Policy, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"GRPO has no self-teacher.*token_rows at 0"):
        train(policy, GRPO(), GroupEnv(SayEven, 4, 2), settings(token_rows=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_but_those_of_rewards_alone_has_a_teacher_to_ask(policy: Policy, name: str) -> None:
    algorithm = make_algorithm(policy, PRESETS[name].settings)
    if isinstance(algorithm, GRPO):
        with pytest.raises(SettingError, match="no self-teacher"):
            token_rows(policy, algorithm, [], 1, temperature=1.0, seed=[0])
    else:
        assert isinstance(teacher_of(algorithm), Teacher)
        assert len(token_rows(policy, algorithm, played(policy), 1, temperature=1.0, seed=[0])) <= 1


def test_a_run_writes_them_and_learns_the_same(policy: Policy, tmp_path: Path) -> None:
    for name, rows in (("without", 0), ("with", 3)):
        student = policy.copy()
        envs = record(GroupEnv(Say, 8, 4, reveal=True), tmp_path / name)
        train(student, SDPO(student), envs, settings(token_rows=rows), tmp_path / name)
    for name in ("metrics.jsonl", "attempts.jsonl"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    assert not (tmp_path / "without" / "tokens.jsonl").exists()
    rows = [json.loads(line) for line in (tmp_path / "with" / "tokens.jsonl").read_text().splitlines()]
    assert {(row["step"], row["generations"]) for row in rows} == {(1, 0), (2, 8)}
    attempts = [json.loads(line) for line in (tmp_path / "with" / "attempts.jsonl").read_text().splitlines()]
    for row in rows:
        group = [each for each in attempts if each["generations"] == row["generations"] and each["task"] == row["task"]]
        assert group[row["attempt"]]["actions"] == [turn["action"] for turn in row["turns"]]


TEXTS = ["return x[0]", "naïve", "日本語 🙂 ok", "a\u200bb", "\ufffd x", "e\u0301"]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
@pytest.mark.parametrize("merges", [261, 400])
def test_the_texts_of_tokens_make_the_action(text: str, merges: int) -> None:
    tokenizer = byte_tokenizer(TEXTS, merges)
    ids = tokenizer.encode(text)
    assert "".join(spelled(tokenizer, ids)) == text
    assert len(spelled(tokenizer, ids)) == len(ids)


def test_a_space_that_a_decoder_drops_at_the_start_is_kept() -> None:
    """As the tokenizers of Llama 2 and its kin do."""
    words = {"▁return": 0, "▁x": 1, "[": 2, "▁": 3, "<unk>": 4}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    assert fast.decode([1]) == "x"
    assert spelled(fast, [0, 1, 2, 1]) == ["return", " x", "[", " x"]


def test_bytes_that_make_no_text_end_all_the_same() -> None:
    tokenizer = byte_tokenizer(["a"], 261)
    half = tokenizer.encode("🙂")[:2]
    assert spelled(tokenizer, half) == ["", "\ufffd"]
    assert spelled(tokenizer, [half[1]] * 20)[-1]
    assert len(spelled(tokenizer, [half[1]] * 20)) == 20
    assert spelled(tokenizer, []) == []
