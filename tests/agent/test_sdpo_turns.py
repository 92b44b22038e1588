"""What SDPO's teacher reads: the hindsight of a turn or of a conversation, and what it forgets for want of room."""

import math
from typing import Any

import pytest
import torch
from byhand import ASKED, ONE_BATCH, attempt, distances, flat_gradient, group, moved, precise, read, relative, told_of
from letters import SayTwice
from torch import Tensor

from sdpo_agent import SDPO, Attempt, Group, Policy, Reprompt, Sample, SDPOSettings, collect
from sdpo_agent.tokens import lay_out
from sdpo_envs import GroupEnv

TALK = [(ASKED, "ab"), ("Again: letter 1.", "cde"), ("Now letter 2.", "f"), ("And letter 3.", "abcd")]
PEER = f"{ASKED}\nCorrect solution:\n\na\nb\n\nCorrectly solve the original question."


def only(policy: Policy, one: Attempt, settings: SDPOSettings | None = None, *peers: Attempt) -> Sample:
    (sample, *_) = SDPO(policy, settings).samples(group(one, *peers))
    return sample


def room(policy: Policy, tokens: float) -> Policy:
    policy.max_positions = tokens
    return policy


# --- hindsight


def test_what_has_no_hindsight_is_not_taught(policy: Policy) -> None:
    lone, taught, broken = (
        attempt(policy, "a", 1.0),
        attempt(policy, "b", 0.0, "Not b."),
        attempt(policy, "b", math.nan),
    )
    one, other = SDPO(policy).samples(group(lone, taught, broken))
    assert (one.hindsight, one.is_taught, one.teaches, one.counts) == (None, False, False, False)
    assert other.turns == taught.turns
    assert (other.is_taught, other.teaches, other.counts) == (True, True, True)
    assert "Not b." in (other.hindsight or "")


def test_a_peer_is_shown_also_where_there_is_no_feedback(policy: Policy) -> None:
    assert "Correct solution:\n\na" in (only(policy, attempt(policy, "b", 0.0, "", peer="a")).hindsight or "")
    assert "Correct solution:\n\naa" in (only(policy, attempt(policy, "a", 1.0, "", peer="aa")).hindsight or "")


def test_the_peer_is_shown_rather_than_the_feedback_by_default(policy: Policy) -> None:
    one = attempt(policy, "b", 0.0, "Not b.", peer="a")
    sample = only(policy, one)
    assert "Correct solution:\n\na" in (sample.hindsight or "")
    assert "Not b." not in (sample.hindsight or "")
    both = only(policy, one, SDPOSettings(reprompt=Reprompt(feedback="always")))
    assert "Not b." in (both.hindsight or "")
    never = only(policy, attempt(policy, "b", 0.0, "Not b."), SDPOSettings(reprompt=Reprompt(feedback="never")))
    assert never.hindsight is None


def test_turns_that_were_read_alone_have_hindsights_of_their_own(policy: Policy) -> None:
    samples = SDPO(policy).samples(group(attempt(policy, TALK, 0.0, peer="a\nb", together=False)))
    assert [len(sample.turns) for sample in samples] == [1] * 4
    for sample, (asked, _) in zip(samples, TALK, strict=True):
        assert (sample.hindsight or "").startswith(f"{asked}\nCorrect solution:\n\na\nb\n")


# --- conversations


def taught_by_hand(policy: Policy, model: Any, teacher: Any, samples: list[Sample]) -> Tensor:
    """Summed over the tokens that are taught: everything is read, only what was written is scored."""
    losses = []
    for sample in samples:
        kept = sample.turns[sample.forgotten :]
        ids = [token for turn in kept for token in turn.token_ids]
        student = read(policy, model, sample.turns)[-len(ids) :]
        with torch.no_grad():
            shown = read(policy, teacher, kept, sample.hindsight)
        losses.append(distances(student, shown, ids, SDPOSettings()))
    return torch.stack([loss.sum() for loss in losses]).sum()


def test_a_conversation_is_taught_with_the_hindsight_in_its_first_turn(policy: Policy) -> None:
    algorithm, teacher = SDPO(policy, SDPOSettings(importance_clip=None)), precise(policy)
    two = group(attempt(policy, TALK[:3], 0.0, peer="a\nb"), attempt(policy, TALK[:2], 0.0, peer="a\nb"))
    model = precise(moved(policy, 0.01))
    samples = algorithm.samples(two)
    assert [sample.hindsight for sample in samples] == [PEER, PEER]
    expected = taught_by_hand(policy, model, teacher, samples) / (3 + 4 + 2 + 3 + 4)
    told, gradient = told_of(policy, algorithm, [two])
    assert told["loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert relative(gradient, flat_gradient(expected, model)) < 1e-4


def test_only_what_the_policy_wrote_is_taught(policy: Policy) -> None:
    sample = only(policy, attempt(policy, TALK, 0.0, peer="a\nb"))
    tokens = lay_out([sample], [0.5], policy.device)
    assert len(tokens) == sum(len(turn.token_ids) for turn in sample.turns)
    assert tokens.taught_N.all()
    assert tokens.ids_N.tolist() == [token for turn in sample.turns for token in turn.token_ids]


def test_what_is_asked_later_is_read(policy: Policy) -> None:
    """By the student and by the teacher: another observation changes what is learned from the action after it."""
    changed = [*TALK[:2], ("No more letters.", TALK[2][1])]
    talks = (TALK[:3], changed)
    one, other = (told_of(policy, SDPO(policy), [group(attempt(policy, talk, 0.0, peer="a"))]) for talk in talks)
    assert abs(one[0]["loss"] - other[0]["loss"]) > 1e-4
    assert relative(one[1], other[1]) > 1e-2


@pytest.mark.parametrize("support", ["student-top-k", "sampled-token", "sequence", "full", "teacher-top-k"])
def test_a_conversation_beside_single_turns_is_the_mean_of_both(policy: Policy, support: Any) -> None:
    settings = SDPOSettings(support=support, top_k=9, teacher="frozen")
    talk, single = attempt(policy, TALK, 0.0, peer="a"), attempt(policy, "b", 0.0, peer="a")
    alone = [told_of(policy, SDPO(policy, settings), [group(each)])[1] for each in (talk, single)]
    _, both = told_of(policy, SDPO(policy, settings), [group(talk, single)])
    assert relative(both, (14 * alone[0] + 2 * alone[1]) / 16) < 1e-4


@pytest.mark.parametrize("history", ["observation", "conversation"])
def test_what_was_played_can_be_learned_from(policy: Policy, history: Any) -> None:
    envs = GroupEnv(SayTwice, num_envs=8, group_size=4, reveal=True)
    groups = collect(envs, policy, max_tokens=3, temperature=ONE_BATCH.temperature, seeds=[1, 2], history=history)
    attempts = [attempt for each in groups for attempt in each.attempts]
    assert all(len(one.threads) == (1 if history == "conversation" else 2) for one in attempts)
    for algorithm in (SDPO(policy), SDPO(policy, SDPOSettings(policy_share=0.5))):
        told, gradient = told_of(policy, algorithm, groups)
        assert told["taught_share"] > 0
        assert gradient.norm() > 0
    samples = [sample for each in groups for sample in SDPO(policy).samples(each)]
    scripts = [policy.chat.script(sample.turns) for sample in samples]
    before = [value for sample in samples for turn in sample.turns for value in turn.logprobs]
    again = policy.logprobs(scripts, ONE_BATCH.temperature).tolist()
    assert again == pytest.approx(before, abs=1e-4)  # what is learned from is what was sampled


# --- forgetting


def lengths(policy: Policy, one: Attempt) -> list[int]:
    """How long the whole script is, and with the oldest turns forgotten one by one, hindsight whole."""
    scripts = [policy.chat.script(one.turns, PEER)]
    for forgotten in range(1, len(one.turns)):
        opening = f"{PEER}\n\n{one.turns[forgotten].observation}"
        scripts.append(policy.chat.script(one.turns[forgotten:], opening))
    return [len(script.token_ids) for script in scripts]


def test_the_oldest_turns_are_forgotten_before_any_hindsight_is_cut(policy: Policy) -> None:
    one = attempt(policy, TALK, 0.0, peer="a\nb")
    for forgotten, tokens in enumerate(lengths(policy, one)):
        sample = only(room(policy, tokens), one)
        assert sample.forgotten == forgotten
        last = "" if not forgotten else f"\n\n{TALK[forgotten][0]}"
        assert sample.hindsight == PEER + last
    assert lengths(policy, one) == sorted(lengths(policy, one), reverse=True)


def test_the_last_action_and_the_question_stay_whatever_the_room(policy: Policy) -> None:
    one = attempt(policy, TALK, 0.0, "Not good. " * 30, peer="a\nb" * 20)
    algorithm = SDPO(policy, SDPOSettings(reprompt=Reprompt(feedback="always")))
    whole = algorithm.samples(group(one))[0].hindsight or ""
    longest = len(policy.chat.script(one.turns, whole).token_ids)
    before = (0, len(whole) + 1000)
    for tokens in range(longest, 0, -7):
        (sample,) = algorithm.samples(group(one))
        if sample.hindsight is None:
            break
        script = policy.chat.script(sample.turns[sample.forgotten :], sample.hindsight)
        assert len(script.token_ids) <= policy.max_positions
        assert sample.hindsight.startswith(f"{ASKED}\n")
        assert script.written_ids[-len(one.turns[-1].token_ids) :] == list(one.turns[-1].token_ids)
        text = sample.hindsight.split("\n\nCorrectly solve the original question.")[0]
        if sample.forgotten < 3:
            assert text == whole.split("\n\nCorrectly solve the original question.")[0]
        assert (sample.forgotten, -len(text)) >= (before[0], -before[1])
        before = (sample.forgotten, len(text))
        assert sample.turns == one.turns  # of the student nothing is forgotten
        room(policy, tokens)
    assert before[0] == 3
    assert sample.hindsight is None
    assert tokens < 0.2 * longest
    assert not sample.teaches


def test_forgotten_turns_are_not_taught(policy: Policy) -> None:
    algorithm, teacher = SDPO(policy, SDPOSettings(importance_clip=None)), precise(policy)
    short, long = attempt(policy, TALK[:2], 0.0, peer="a\nb"), attempt(policy, TALK, 0.0, peer="a\nb")
    model = precise(moved(policy, 0.01))
    room(policy, lengths(policy, long)[2])
    algorithm.teacher.initial.max_positions = policy.max_positions  # type: ignore[union-attr]
    samples = algorithm.samples(group(short, long))
    assert [sample.forgotten for sample in samples] == [0, 2]
    tokens = lay_out(samples, [1.0, 1.0], policy.device)
    assert tokens.taught_N.tolist() == [True] * 7 + [False] * 7 + [True] * 7
    student = room(policy, 10_000)  # the student read it all when it wrote
    expected = taught_by_hand(student, model, teacher, samples) / (7 + 7)

    class Forgetful(SDPO):
        def samples(self, group: Group) -> list[Sample]:
            return samples

    forgetful = Forgetful(policy, algorithm.settings)
    forgetful.teacher = algorithm.teacher
    told, gradient = told_of(policy, forgetful, [group(short, long)])
    assert told["loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert relative(gradient, flat_gradient(expected, model)) < 1e-4


@pytest.mark.parametrize("aggregate", ["sequence-mean", "released", "length-mean", "token-mean"])
def test_what_is_forgotten_does_not_dilute_the_rest(policy: Policy, aggregate: Any) -> None:
    settings = SDPOSettings(aggregate=aggregate, teacher="frozen", support="sampled-token")
    one = attempt(policy, TALK, 0.0, peer="a\nb")
    (sample,) = SDPO(room(policy, lengths(policy, one)[3]), settings).samples(group(one))
    assert sample.forgotten == 3
    room(policy, 10_000)

    class Fixed(SDPO):
        def samples(self, group: Group) -> list[Sample]:
            return [sample]

    loss = told_of(policy, Fixed(policy, settings), [group(one)])[0]["loss"]
    model = precise(policy)
    expected = distances(
        read(policy, model, sample.turns)[-5:], read(policy, model, sample.turns[3:], sample.hindsight),
        list(sample.turns[3].token_ids), settings,
    )  # fmt: skip
    divisor = ONE_BATCH.max_tokens if aggregate == "length-mean" else 5
    assert loss == pytest.approx(expected.sum().item() / divisor, rel=1e-3)


def test_no_room_is_no_error(policy: Policy) -> None:
    one = attempt(policy, "b", 0.0, "Not b. " * 400, peer="a")
    question = len(policy.chat.script(one.turns).token_ids)
    for tokens in range(question, question + 100, 3):
        told, _ = told_of(policy, SDPO(room(policy, tokens)), [group(one)])
        assert told["broken_gradients"] == 0
    sample = only(policy, one)
    assert (sample.hindsight or "").startswith(f"{ASKED}\n")
    assert only(room(policy, question), one).hindsight is None
