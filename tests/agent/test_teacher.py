"""The self-teacher's weights."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from byhand import ONE_BATCH, TEMPERATURE, attempt, group, moved, relative, told_of, weights_of
from tiny import SCRIPTS, family
from torch import Tensor

from sdpo_agent import SDPO, Policy, SDPOSettings
from sdpo_agent.chat import Script
from sdpo_agent.head import Scores
from sdpo_agent.teacher import Teacher

# peft asks for a name, and recomputation is turned on by one, that change with version 6 of the transformers library.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.(is_gradient_checkpointing|gradient_checkpointing_enable):FutureWarning"
)


@pytest.fixture
def scripts(policy: Policy) -> list[Script]:
    turns = [attempt(policy, said, 0.0).turns for said in ("a", "bcd")]
    return [policy.chat.script(turns[0], "Say letter 0.\nIt is b."), policy.chat.script(turns[1])]


@pytest.fixture
def adapted(policy: Policy) -> Policy:
    """With a fresh adapter."""
    return policy.with_lora(2, alpha=8)


def logits(scores: Scores) -> Tensor:
    return scores.logits(slice(None)).detach().clone()


def dense(policy: Policy) -> list[Tensor]:
    """The weights without adapters, their products added, by a merge of a deep copy."""
    model = copy.deepcopy(policy.model)
    model = model.merge_and_unload() if policy.adapters else model
    return [weight.detach().clone() for weight in model.parameters()]


def own(teacher: Teacher) -> list[Tensor]:
    assert teacher.initial is not None
    return [weight.detach() for weight in teacher.initial.model.parameters()]


# --- an average


def test_it_is_an_exponential_average(policy: Policy) -> None:
    teacher = Teacher(policy, "ema", 0.25)
    start = dense(policy)
    for shift in (1.0, 3.0):
        with torch.no_grad():
            for weight, began in zip(policy.trainable(), start, strict=True):
                weight.copy_(began + shift)
        teacher.follow(policy, "step")
    for mine, began in zip(own(teacher), start, strict=True):
        torch.testing.assert_close(mine, began + 0.75 * 0.25 * 1.0 + 0.25 * 3.0)


@pytest.mark.parametrize(("pace", "other"), [("step", "optimizer-step"), ("optimizer-step", "step")])
def test_it_moves_at_its_own_pace_alone(policy: Policy, pace: Any, other: Any) -> None:
    teacher, before = Teacher(policy, "ema", 0.5, pace), dense(policy)
    moved(policy)
    teacher.follow(policy, other)
    assert all(torch.equal(mine, was) for mine, was in zip(own(teacher), before, strict=True))
    teacher.follow(policy, pace)
    for mine, was, now in zip(own(teacher), before, dense(policy), strict=True):
        torch.testing.assert_close(mine, (was + now) / 2)


@pytest.mark.parametrize(("pace", "times"), [("step", 1), ("optimizer-step", 3)])
def test_a_step_of_three_mini_batches_moves_it_once_or_thrice(policy: Policy, pace: Any, times: int) -> None:
    algorithm = SDPO(policy, SDPOSettings(teacher_rate=0.5, teacher_pace=pace))
    groups = [group(attempt(policy, said, 0.0, peer="a")) for said in ("b", "c", "d")]
    start = own(algorithm.teacher)[0].clone()
    ahead = moved(policy)  # and there it stays: told_of takes no step
    told_of(ahead, algorithm, groups, replace(ONE_BATCH, minibatches=3))
    now, target = own(algorithm.teacher)[0], dense(ahead)[0]
    torch.testing.assert_close(now, start + (target - start) * (1 - 0.5**times))


def test_a_step_that_is_not_taken_moves_nothing(policy: Policy) -> None:
    algorithm = SDPO(policy, SDPOSettings(teacher_rate=0.5))
    before = dense(policy)
    moved(policy)
    told, _ = told_of(policy, algorithm, [group(attempt(policy, "a", 1.0), attempt(policy, "b", 0.0))])
    assert told["optimizer_steps"] == 0
    assert all(torch.equal(mine, was) for mine, was in zip(own(algorithm.teacher), before, strict=True))


@pytest.mark.parametrize(("rate", "still"), [(0.0, True), (1.0, False)])
def test_a_rate_of_zero_stays_and_a_rate_of_one_is_the_student(policy: Policy, rate: float, still: bool) -> None:
    teacher, before = Teacher(policy, "ema", rate), dense(policy)
    moved(policy)
    teacher.follow(policy, "step")
    for mine, wanted in zip(own(teacher), before if still else dense(policy), strict=True):
        assert torch.equal(mine, wanted)


def test_of_a_bfloat16_policy_it_is_float32_and_moves_by_less_than_bfloat16_tells(policy: Policy) -> None:
    policy.model.to(torch.bfloat16)
    teacher = Teacher(policy, "ema", 0.01)
    assert {weight.dtype for weight in own(teacher)} == {torch.float32}
    before = [weight.clone() for weight in own(teacher)]
    moved(policy, 0.001)
    for _ in range(50):
        teacher.follow(policy, "step")
    target = [weight.float() for weight in dense(policy)]
    for mine, was, wanted in zip(own(teacher), before, target, strict=True):
        torch.testing.assert_close(mine, was + (wanted - was) * (1 - 0.99**50), rtol=1e-4, atol=1e-6)


def test_of_a_bfloat16_policy_it_computes_as_the_policy_does(policy: Policy, scripts: list[Script]) -> None:
    policy.model.to(torch.bfloat16)
    teacher = Teacher(policy, "ema", 0.01)
    theirs, ours = logits(policy.scores(scripts)), logits(teacher.scores(policy, scripts, 1.0))
    assert teacher.initial is not None
    assert teacher.initial.autocast is torch.bfloat16
    frozen = logits(Teacher(policy, "frozen").scores(policy, scripts, 1.0))
    assert torch.equal(frozen, theirs)
    assert relative(ours, theirs) < 0.05


def test_with_autocast_it_is_an_average_all_the_same(policy: Policy, scripts: list[Script]) -> None:
    narrow = Policy(policy.model, policy.tokenizer, autocast=torch.bfloat16)
    teacher = Teacher(narrow, "ema", 0.5)
    assert teacher.initial is not None
    assert teacher.initial.autocast is torch.bfloat16
    assert torch.equal(logits(teacher.scores(narrow, scripts, 1.0)), logits(narrow.scores(scripts)))


# --- the other kinds


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_a_trust_region_is_between_the_logits_of_both(policy: Policy, scripts: list[Script], rate: float) -> None:
    teacher = Teacher(policy, "trust-region", rate)
    first = logits(policy.scores(scripts, TEMPERATURE))
    moved(policy)
    second = logits(policy.scores(scripts, TEMPERATURE))
    teacher.follow(policy, "step")
    blended = logits(teacher.scores(policy, scripts, TEMPERATURE))
    torch.testing.assert_close(blended, (1 - rate) * first + rate * second, rtol=1e-5, atol=1e-5)
    if rate in (0.0, 1.0):
        kind: Any = "live" if rate else "frozen"
        same = Teacher(policy, kind).scores(policy, scripts, TEMPERATURE)
        assert torch.equal(blended, logits(same) if rate else first)


def test_a_frozen_one_never_moves(policy: Policy, scripts: list[Script]) -> None:
    teacher, before = Teacher(policy, "frozen", 0.5), logits(policy.scores(scripts))
    moved(policy)
    teacher.follow(policy, "step")
    teacher.follow(policy, "optimizer-step")
    assert torch.equal(logits(teacher.scores(policy, scripts, 1.0)), before)


def test_a_live_one_is_the_student_as_it_is_and_keeps_no_copy(policy: Policy, scripts: list[Script]) -> None:
    teacher = Teacher(policy, "live")
    moved(policy)
    assert torch.equal(logits(teacher.scores(policy, scripts, 1.0)), logits(policy.scores(scripts)))
    assert (teacher.initial, teacher.state()) == (None, {})


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("kind", ["ema", "trust-region", "frozen", "live"])
def test_no_gradient_ever_reaches_it(policy: Policy, kind: Any, lora: bool) -> None:
    policy = policy.with_lora(2) if lora else policy
    algorithm = SDPO(policy, SDPOSettings(teacher=kind, teacher_rate=0.5, support="full"))
    if lora:
        moved(policy)
    told, gradient = told_of(policy, algorithm, [group(attempt(policy, "b", 0.0, peer="a"))])
    assert told["grad_norm"] > 0
    assert gradient.isfinite().all()
    if algorithm.teacher.initial is not None:
        assert not algorithm.teacher.initial.trainable()
        assert all(weight.grad is None for weight in algorithm.teacher.initial.model.parameters())
    scores = algorithm.teacher.scores(policy, [policy.chat.script(attempt(policy, "a", 0.0).turns)], 1.0)
    assert not scores.logits(slice(None)).requires_grad or kind in ("live", "trust-region")


# --- LoRA


def test_the_average_with_lora_is_of_products_and_not_of_factors(adapted: Policy, scripts: list[Script]) -> None:
    teacher = Teacher(adapted, "ema", 0.3)
    start = dense(adapted)
    expected = [weight.clone() for weight in start]
    factors = [weight.detach().clone() for weight in adapted.trainable()]
    for seed in range(3):
        moved(adapted, 0.1, seed)
        teacher.follow(adapted, "step")
        expected = [old.lerp(new, 0.3) for old, new in zip(expected, dense(adapted), strict=True)]
        factors = [old.lerp(new.detach(), 0.3) for old, new in zip(factors, adapted.trainable(), strict=True)]
    for mine, wanted in zip(own(teacher), expected, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-6)

    with torch.no_grad():
        for weight, average in zip(adapted.trainable(), factors, strict=True):
            weight.copy_(average)
    triples = zip(dense(adapted), expected, start, strict=True)
    gaps = [relative(wrong - was, right - was) for wrong, right, was in triples if not torch.equal(right, was)]
    assert len(gaps) == 14  # seven layers in each of two blocks
    assert min(gaps) > 0.1
    assert relative(logits(teacher.scores(adapted, scripts, 1.0)), logits(adapted.scores(scripts))) > 1e-3


@pytest.mark.parametrize("kind", ["frozen", "trust-region"])
def test_a_fresh_adapter_needs_no_copy_of_the_base(policy: Policy, scripts: list[Script], kind: Any) -> None:
    before = logits(policy.scores(scripts))
    adapted = policy.with_lora(2)
    teacher = Teacher(adapted, kind, 0.0)
    assert (teacher.initial, teacher.state()) == (None, {})
    moved(adapted, 0.1)
    assert relative(logits(adapted.scores(scripts)), before) > 0.01
    assert torch.equal(logits(teacher.scores(adapted, scripts, 1.0)), before)
    assert relative(logits(adapted.scores(scripts)), before) > 0.01  # the adapter is on again
    assert len(adapted.trainable()) == 28


@pytest.mark.parametrize("kind", ["frozen", "trust-region", "ema"])
def test_an_adapter_that_is_not_fresh_belongs_to_where_the_teacher_starts(
    adapted: Policy, scripts: list[Script], kind: Any
) -> None:
    moved(adapted, 0.1)
    before = logits(adapted.scores(scripts))
    teacher = Teacher(adapted, kind, 0.0)
    assert teacher.initial is not None
    assert not teacher.initial.adapters
    moved(adapted, 0.1, seed=1)
    assert relative(logits(teacher.scores(adapted, scripts, 1.0)), before) < 1e-5


def test_an_adapter_is_not_fresh_where_one_layer_of_it_is_not(adapted: Policy, scripts: list[Script]) -> None:
    with torch.no_grad():
        adapted.trainable()[-1].fill_(0.1)
    before, teacher = logits(adapted.scores(scripts)), Teacher(adapted, "frozen")
    moved(adapted, 0.1)
    assert relative(logits(teacher.scores(adapted, scripts, 1.0)), before) < 1e-5


def test_an_adapter_on_an_embedding_that_is_not_fresh_belongs_too() -> None:
    """Its factors go by other names."""
    adapted = family("llama").with_lora(2, targets=["embed_tokens"])
    assert Teacher(adapted, "frozen").initial is None
    moved(adapted, 0.1)
    teacher, before = Teacher(adapted, "frozen"), logits(adapted.scores(SCRIPTS))
    moved(adapted, 0.1, seed=1)
    assert relative(logits(teacher.scores(adapted, SCRIPTS, 1.0)), before) < 1e-5


def test_the_student_learns_the_same_with_the_teacher_on_its_own_base(policy: Policy) -> None:
    """Turning the adapter off and on again must not disturb the graph of the student's pass."""
    adapted = policy.with_lora(2)
    one = [group(attempt(adapted, "bc", 0.0, peer="a"), attempt(adapted, "b", 0.0, peer="a"))]
    shared = SDPO(adapted, SDPOSettings(teacher="frozen"))
    copied = SDPO(adapted, SDPOSettings(teacher="ema", teacher_rate=0.0))
    moved(adapted, 0.05)
    assert shared.teacher.initial is None
    assert copied.teacher.initial is not None
    ours, theirs = told_of(adapted, shared, one), told_of(adapted, copied, one)
    assert relative(ours[1], theirs[1]) < 1e-5
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)


def test_the_student_learns_the_same_with_activations_computed_again(policy: Policy) -> None:
    adapted = policy.with_lora(2)
    again = Policy(adapted.model, adapted.tokenizer, recompute=True)
    one = [group(attempt(adapted, "bc", 0.0, peer="a"))]
    results = []
    for each in (adapted, again):
        algorithm = SDPO(each, SDPOSettings(teacher="trust-region", teacher_rate=0.5))
        results.append(told_of(each, algorithm, one)[1])
    assert relative(results[1], results[0]) < 1e-5


# --- checkpoints


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("kind", ["ema", "trust-region", "frozen", "live"])
def test_it_comes_back_from_a_checkpoint(policy: Policy, scripts: list[Script], kind: Any, lora: bool) -> None:
    twin = policy.copy()
    student, fresh = (each.with_lora(2) if lora else each for each in (policy, twin))
    teacher = Teacher(student, kind, 0.3)
    moved(student, 0.05)
    teacher.follow(student, "step")
    state = {name: weight.clone() for name, weight in teacher.state().items()}
    expected = logits(teacher.scores(student, scripts, 1.0))

    other = Teacher(fresh, kind, 0.3)
    moved(fresh, 0.05)  # as the student's own checkpoint does
    other.restore(state)
    assert torch.equal(weights_of(fresh), weights_of(student))
    assert torch.equal(logits(other.scores(fresh, scripts, 1.0)), expected)
    moved(student, 0.05, seed=1)
    moved(fresh, 0.05, seed=1)
    for each, its in ((teacher, student), (other, fresh)):
        each.follow(its, "step")
    assert torch.equal(logits(other.scores(fresh, scripts, 1.0)), logits(teacher.scores(student, scripts, 1.0)))
