"""TRL's SDPO with live feedback: what the self-teacher reads is what this project's own agent would write."""

import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import addition
import gymnasium
import pytest
import torch
import trl
from datasets import Dataset
from kept import Kept, settings, told
from recited import MICRO, OLD_NAME, SAME, in_turn, micro, recite, weights
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer, sdpo_trainer

from sdpo_agent import reprompt as words
from sdpo_envs import JudgedEnv, MissingExtra, Outcome, SettingError, Task, Verdict
from sdpo_envs.adapters import trl_sdpo
from sdpo_envs.adapters.trl import Judged, Reward
from sdpo_envs.adapters.trl_sdpo import LiveContext, LiveSDPOConfig, LiveSDPOTrainer

pytestmark = pytest.mark.filterwarnings(OLD_NAME)


def test_a_real_trainer_takes_two_steps_and_its_teacher_reads_what_the_agents_would(tmp_path: Path) -> None:
    reward = Reward("sdpo/MicroTool-v0", group_size=4)
    trainer = Kept(MICRO, reward, settings(tmp_path, 4, gradient_accumulation_steps=4))
    before = weights(trainer.model)
    trainer.train()
    assert not torch.equal(weights(trainer.model), before)
    expected = told(trainer)
    assert len(expected) == 32
    assert [read + action for _, read, action in expected] == trainer.heard
    masks = torch.cat([batch["self_distillation_mask"] for batch in trainer.batches]).bool().tolist()
    assert masks == [asked != read for asked, read, _ in expected]
    env: Any = gymnasium.make("sdpo/MicroTool-v0")
    for batch in trainer.batches:
        rows = zip(batch["rows"], batch["judged"], trainer._get_completion_ids_list(batch), strict=True)
        for row, judged, ids in rows:
            env.reset(options={"task_id": row["task_id"]})
            observation, earned, *_, info = env.step(trainer.processing_class.decode(ids, skip_special_tokens=True))
            assert (judged.reward, judged.verdict, str(judged.feedback)) == (earned, info["verdict"], observation)
    by_peer = sum(words.SOLUTION in read for _, read, _ in expected)
    by_feedback = sum(words.FEEDBACK in read for _, read, _ in expected)
    assert by_peer
    assert by_feedback
    first, second, _ = trainer.state.log_history
    shares = ("success_sample", "feedback_used", "reprompt_sample")
    logged = [
        16 * (first[f"self_distillation/{n}_fraction"] + second[f"self_distillation/{n}_fraction"]) for n in shares
    ]
    assert logged == pytest.approx([by_peer, by_feedback, sum(masks)])


def recited(tmp_path: Path, says: Sequence[str], others: Sequence[Any] = (), **more: Any) -> Kept:
    """Train for a step on one group at the first sum, whose attempts are these; other functions reward them, too."""
    model, tokenizer = micro()
    recite(model, tokenizer, in_turn(says))
    reward = Reward(addition.ADDITION, group_size=len(says))
    args = settings(tmp_path, len(says), **{"max_steps": 1, **more})
    trainer = Kept(model, [*others, reward], args, reward.dataset().select([0]), processing_class=tokenizer)
    trainer.train()
    return trainer


def test_what_is_learned_from_again_and_after_a_resume_is_read_with_the_same_attempt(tmp_path: Path) -> None:
    """A batch of attempts is taken apart, each part learned from twice; a resumed run samples its own."""
    apart = {"per_device_train_batch_size": 2, "num_generations": 4, "steps_per_generation": 2, "num_iterations": 2}
    saved = {"max_steps": 4, "save_strategy": "steps", "save_steps": 3}
    args = settings(tmp_path, 4, **apart, **saved)
    trainer = Kept(MICRO, Reward("sdpo/MicroTool-v0", group_size=4), args)
    trainer.train()
    expected = [read + action for _, read, action in told(trainer)]
    assert trainer.heard == expected * 2
    assert len(set(expected)) > 1
    trainer = Kept(MICRO, Reward("sdpo/MicroTool-v0", group_size=4), args)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert trainer.heard == [read + action for _, read, action in told(trainer)][:2]


RIGHT = addition.answer(addition.TASKS[0].id)


def test_an_attempt_reads_its_own_feedback_and_never_its_own_words(tmp_path: Path) -> None:
    trainer = recited(tmp_path, ["1", "99999", "ten", "1"])
    assert [read + action for _, read, action in told(trainer)] == trainer.heard
    heard = [read.partition(words.FEEDBACK)[2].partition(words.INSTRUCTION)[0] for read in trainer.heard]
    assert heard == [
        "This is too small.\nYou wrote: 1",
        "This is too large.\nYou wrote: 99999",
        "This is not a number.\nYou wrote: ten",
        "This is too small.\nYou wrote: 1",
    ]
    assert not any(RIGHT in read for read in trainer.heard), "no feedback gives the sum away"
    assert not any(words.SOLUTION in read for read in trainer.heard)


def test_failures_read_a_peer_and_successes_one_that_is_not_their_own_text(tmp_path: Path) -> None:
    trainer = recited(tmp_path, [RIGHT, "7", RIGHT, "8"])
    assert [read + action for _, read, action in told(trainer)] == trainer.heard
    peers = [read.partition(words.SOLUTION)[2].partition(words.INSTRUCTION)[0] for read in trainer.heard]
    assert peers == ["", RIGHT, "", RIGHT], "the same success twice teaches neither"
    assert trainer.batches[0]["self_distillation_mask"].tolist() == [0.0, 1.0, 0.0, 1.0]
    other = recited(tmp_path, [RIGHT, f" {RIGHT}", "7", "8"])
    assert [read + action for _, read, action in told(other)] == other.heard
    assert other.batches[0]["self_distillation_mask"].tolist() == [1.0] * 4, "another text of the same sum does"


def test_a_form_that_was_missed_as_the_limit_came_is_told_so(tmp_path: Path) -> None:
    trainer = Kept(
        MICRO, reward := Reward(addition.ADDITION, group_size=4), settings(tmp_path, 4, max_completion_length=3)
    )
    trainer.train()
    assert all(each.verdict is not None and each.verdict.outcome is Outcome.MALFORMED for each in reward.judged)
    assert [read + action for _, read, action in told(trainer)] == trainer.heard
    assert any(trl_sdpo.CUT_SHORT in read for read in trainer.heard)


def gradients(trainer: Kept) -> list[float]:
    """The largest gradient that each attempt of the first batch gives by itself."""
    batch = {name: value for name, value in trainer.batches[0].items() if isinstance(value, torch.Tensor)}
    found = []
    for at in range(len(batch["rewards"])):
        trainer.model.zero_grad()
        loss = trainer.compute_loss(trainer.model, {name: value[at : at + 1] for name, value in batch.items()})
        loss.backward()
        found.append(max(float(each.grad.abs().max()) for each in trainer.model.parameters() if each.grad is not None))
    return found


def test_an_attempt_with_nothing_to_learn_from_gives_no_gradient(tmp_path: Path) -> None:
    trainer = recited(tmp_path, [RIGHT, "7", addition.BREAK_JUDGE, "ten"])
    assert trainer.batches[0]["self_distillation_mask"].tolist() == [0.0, 1.0, 0.0, 1.0]
    lone, peer, broken, other = gradients(trainer)
    assert lone == broken == 0.0
    assert min(peer, other) > 0.0


class Silent(JudgedEnv):
    """Says nothing to anybody, and nobody passes."""

    def __init__(self) -> None:
        tasks = [Task(f"silent/{number}", f"Say {number}.", "") for number in range(4)]
        super().__init__(tasks, lambda task, action: Verdict(Outcome.WRONG, 0.0), limit=0)


@pytest.fixture
def silent() -> Any:
    gymnasium.register("tests/Silent-v0", entry_point=Silent)
    yield "tests/Silent-v0"
    del gymnasium.registry["tests/Silent-v0"]


def test_a_batch_with_nothing_to_learn_from_changes_no_weight(tmp_path: Path, silent: str) -> None:
    trainer = Kept(MICRO, Reward(silent, group_size=4), settings(tmp_path, 4))
    before = weights(trainer.model)
    trainer.train()
    assert torch.equal(weights(trainer.model), before)
    assert not any(words.INSTRUCTION in read for read in trainer.heard)
    assert trainer.state.log_history[0]["self_distillation/reprompt_sample_fraction"] == 0.0


def test_what_broke_is_no_reward_of_zero_beside_a_policy_loss(tmp_path: Path) -> None:
    trainer = recited(tmp_path, [RIGHT, addition.BREAK_WALL, addition.BREAK_JUDGE, "7"], distillation_weight=0.5)
    assert trainer.batches[0]["advantages"].tolist() == pytest.approx([1.2247, 0.0, 0.0, -1.2247], abs=1e-3)
    logged = trainer.state.log_history[0]
    assert logged["self_distillation/reward_mean"] == 0.5
    assert logged["self_distillation/undecided_fraction"] == 0.5
    assert not any("lost its glasses" in read or "has a hole" in read for read in trainer.heard)


def test_what_broke_has_no_advantage_even_where_another_function_rewards_it(tmp_path: Path) -> None:
    def short(completions: Sequence[Any], **_: Any) -> list[float]:
        return [1.0 if len(each[0]["content"]) < 3 else 0.0 for each in completions]

    says = [RIGHT, addition.BREAK_WALL, "7", "8"]
    trainer = recited(tmp_path, says, [short], distillation_weight=0.5, scale_rewards="none")
    short_of_right = float(len(RIGHT) < 3)
    mean = (1.0 + short_of_right + 1.0 + 1.0) / 3
    assert trainer.batches[0]["advantages"].tolist() == pytest.approx(
        [1.0 + short_of_right - mean, 0.0, 1.0 - mean, 1.0 - mean]
    )


def test_settings_choose_what_is_read(tmp_path: Path) -> None:
    both = recited(tmp_path, [RIGHT, "7"], environment_feedback_only_without_solution=False)
    assert words.SOLUTION in both.heard[1]
    assert words.FEEDBACK in both.heard[1]
    alone = recited(tmp_path, [RIGHT, "7"], use_successful_as_teacher=False)
    assert words.SOLUTION not in alone.heard[1]
    assert words.FEEDBACK in alone.heard[1]
    neither = recited(tmp_path, [RIGHT, "7"], use_successful_as_teacher=False, include_environment_feedback=False)
    assert neither.batches[0]["self_distillation_mask"].tolist() == [0.0, 0.0]


def test_thoughts_of_a_peer_are_left_out_unless_they_are_wanted() -> None:
    class Args:
        use_successful_as_teacher = include_environment_feedback = environment_feedback_only_without_solution = True
        remove_thinking_from_demonstration = True

    class Trainer:
        args = Args()

    context = LiveContext(Trainer(), Reward(addition.ADDITION))  # type: ignore[arg-type]
    wrong = Verdict(Outcome.WRONG, 0.0)
    peer = Judged(0.0, wrong, words_of("<think>Hm.\n</think>\n 42 "))
    assert context._hindsight(peer, [1]) == ("42", "")
    Args.remove_thinking_from_demonstration = False
    assert context._hindsight(peer, [1]) == ("<think>Hm.\n</think>\n 42", "")


def words_of(peer: str) -> Any:
    from sdpo_envs import Feedback

    return Feedback("No.", peer=peer)


def test_the_words_are_those_of_this_projects_agent() -> None:
    config = LiveSDPOConfig
    assert config.reprompt_template == f"{{prompt}}{{solution}}{{feedback}}{words.INSTRUCTION}"
    assert config.solution_template == f"{words.SOLUTION}{{successful_previous_attempt}}"
    assert config.feedback_template == f"{words.FEEDBACK}{{feedback_raw}}"
    assert trl_sdpo.CUT_SHORT == words.CUT_SHORT
    assert trl_sdpo._THINKING == words._THINKING


def test_braces_in_what_is_read_are_left_alone(tmp_path: Path) -> None:
    trainer = recited(tmp_path, ["{prompt}", '{"a": {}}'])
    assert [read + action for _, read, action in told(trainer)] == trainer.heard


def test_mistakes_of_the_caller_name_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reward = Reward(addition.ADDITION, group_size=4)
    with pytest.raises(SettingError, match="2 of the reward functions are a Reward"):
        LiveSDPOTrainer(MICRO, [reward, reward], settings(tmp_path, 4))
    with pytest.raises(SettingError, match="0 of the reward functions are a Reward"):
        LiveSDPOTrainer(MICRO, [lambda **_: [0.0]], settings(tmp_path, 4))
    plain: Any = SDPOConfig(str(tmp_path), **SAME)
    with pytest.raises(SettingError, match="args is a SDPOConfig, which shows no feedback; give a LiveSDPOConfig"):
        LiveSDPOTrainer(MICRO, reward, plain)
    with pytest.raises(SettingError, match="num_generations=2 is not the group_size=4"):
        LiveSDPOTrainer(MICRO, reward, settings(tmp_path, 4, num_generations=2))
    with pytest.raises(SettingError, match="num_generations_eval=2 is not the group_size=4"):
        LiveSDPOTrainer(MICRO, reward, settings(tmp_path, 4, num_generations_eval=2))
    with pytest.raises(SettingError, match=r"leave them at 1.0 and True"):
        settings(tmp_path, 4, success_reward_threshold=0.5)
    with pytest.raises(SettingError, match=r"leave them at 1.0 and True"):
        settings(tmp_path, 4, dont_reprompt_on_self_success=False)
    rows = Dataset.from_list([{**row, "privileged_context": "Think."} for row in reward.dataset()])
    with pytest.raises(SettingError, match="'privileged_context' has no effect beside live feedback; remove it"):
        LiveSDPOTrainer(MICRO, reward, settings(tmp_path, 4), rows).train()
    monkeypatch.setattr(trl, "__version__", "1.17.0")
    with pytest.raises(SettingError, match=r"written for TRL 1.16, and 1.17.0 is installed.*install trl>=1.16,<1.17"):
        LiveSDPOTrainer(MICRO, reward, settings(tmp_path, 4))


def test_without_trl_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    monkeypatch.delitem(sys.modules, trl_sdpo.__name__)
    with pytest.raises(MissingExtra, match=r"needs the module 'trl'.*sdpo-envs\[trl\]"):
        importlib.import_module(trl_sdpo.__name__)


def test_processes_that_share_a_group_are_refused(tmp_path: Path) -> None:
    args = settings(tmp_path, 4)
    args.per_device_train_batch_size = 2  # as with two processes of two
    with pytest.raises(SettingError, match=r"samples 2 completions at once .* no whole groups of 4"):
        LiveSDPOTrainer(MICRO, Reward(addition.ADDITION, group_size=4), args)


TWO = """
import os, socket, sys
sys.path[:0] = {path!r}
from pathlib import Path
from kept import Kept, settings, told
from recited import MICRO
from sdpo_envs.adapters.trl import Reward
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
other = os.fork()  # what was imported is shared, and nothing has run yet
rank = "0" if other else "1"
os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
trainer = Kept(MICRO, Reward("sdpo/MicroTool-v0", group_size=4), settings(Path({folder!r}), 4, max_steps=1))
trainer.train()
assert trainer.accelerator.num_processes == 2
expected = told(trainer)
assert [read + action for _, read, action in expected] == trainer.heard, trainer.heard
taught = trainer.accelerator.gather(trainer.batches[0]["self_distillation_mask"])
assert len(taught) == 8
assert trainer.state.log_history[0]["self_distillation/reprompt_sample_fraction"] == taught.mean().item()
Path({folder!r}, str(trainer.accelerator.process_index)).write_text(trainer.batches[0]["rows"][0]["task_id"])
if other:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
"""


def test_each_of_two_processes_judges_its_own_groups(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        TWO.format(path=[str(Path(__file__).parent), str(Path(addition.__file__).parent)], folder=str(tmp_path))
    )
    here = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], env=here, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "0").read_text() != (tmp_path / "1").read_text()


def test_an_evaluation_judges_its_groups_too(tmp_path: Path) -> None:
    reward = Reward("sdpo/MicroTool-v0", group_size=4)
    rows = reward.dataset()
    args = settings(tmp_path, 4, per_device_eval_batch_size=8)
    trainer = Kept(MICRO, reward, args, rows, eval_dataset=rows.select(range(3)))
    told_of = trainer.evaluate()
    assert [len(batch["rows"]) for batch in trainer.batches] == [8, 4], "the last batch is smaller"
    assert [read + action for _, read, action in told(trainer)] == trainer.heard
    earned = [each.reward for batch in trainer.batches for each in batch["judged"]]
    means = (sum(earned[:8]) / 8, sum(earned[8:]) / 4)
    assert told_of["eval_self_distillation/reward_mean"] == pytest.approx(sum(means) / 2)


def test_of_trl_there_is_what_this_takes_over() -> None:
    """If this fails, TRL has changed beneath `trl_sdpo`: read it again, and only then move RELEASE."""
    assert trl.__version__.startswith(f"{trl_sdpo.RELEASE}.")
    builder = sdpo_trainer.SuccessfulRolloutTeacherContextBuilder
    assert list(inspect.signature(builder.build).parameters) == ["self", "output", "prompts", "rewards", "feedbacks"]
    assert list(inspect.signature(builder.__init__).parameters) == ["self", "trainer"]
    assert list(inspect.signature(builder._tokenize_teacher_messages).parameters)[1:] == ["teacher_messages_list"]
    texts = ["prompt_text", "solution_text", "feedback_text"]
    assert list(inspect.signature(builder._build_reprompt_text).parameters)[1:] == texts
    made = inspect.getsource(SDPOTrainer._prepare_training_batch)
    order = [
        "self.sample_rollouts(inputs)",
        "skip_special_tokens=True",
        "self._calculate_rewards(inputs, prompts, completions, completion_ids_list)",
        "self.teacher_context_builder.build(",
        "self.teacher_context_builder.last_metrics",
    ]
    places = [made.index(each) for each in order]
    assert places == sorted(places), "an attempt is judged before its teacher's prompt is written"
    for key in ("teacher_input_ids", "teacher_attention_mask", "self_distillation_mask"):
        assert f'teacher_context["{key}"]' in made
    assert made.count("teacher_context[") == 2 * 3, "and nothing else of it"
    assert "nansum(dim=1)" in made, "TRL counts a reward of None as 0, for which _calculate_rewards makes up"
    given = inspect.getsource(SDPOTrainer._calculate_rewards)
    assert 'reward_kwargs["trainer_state"] = self.state' in given
    assert "self.accelerator.gather(rewards_per_func)" in given
    assert "self.teacher_context_builder = " in inspect.getsource(SDPOTrainer.__init__)
    sampled = inspect.getsource(SDPOTrainer._get_train_sampler)
    assert "mini_repeat_count=self.num_generations" in sampled, "the attempts of a group are neighbours"
    read = {"use_successful_as_teacher", "include_environment_feedback", "environment_feedback_only_without_solution"}
    read |= {"remove_thinking_from_demonstration", "success_reward_threshold", "dont_reprompt_on_self_success"}
    read |= {"reprompt_template", "solution_template", "feedback_template", "max_prompt_length"}
    assert read <= set(SDPOConfig.__dataclass_fields__)


def test_trls_own_teacher_reads_what_this_was_written_to_mend(tmp_path: Path) -> None:
    """The same success twice: TRL shows each the other, which is its own text."""
    model, tokenizer = micro()
    recite(model, tokenizer, in_turn([RIGHT, RIGHT]))
    reward = Reward(addition.ADDITION, group_size=2)
    args = SDPOConfig(str(tmp_path), **{**SAME, "max_steps": 1, "per_device_train_batch_size": 2, "num_generations": 2})
    trainer = SDPOTrainer(model, reward, args, reward.dataset().select([0]), processing_class=tokenizer)
    batch = trainer._prepare_training_batch([trainer.train_dataset[0]] * 2)
    assert batch["self_distillation_mask"].tolist() == [1.0, 1.0]
    assert words.SOLUTION + RIGHT in tokenizer.decode(batch["teacher_input_ids"][0])
