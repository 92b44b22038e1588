"""TRL's SDPO with live feedback: the self-teacher reads what the environment said of that very attempt.

`SDPOTrainer` reads feedback from a column of the data set, the same for every attempt, and shows as a solution the
first success of the group, even one that is word for word the attempt itself. Here both come from the environment as it
judged the attempt: its own words, and a peer that it drew. All else, sampling, teacher and loss, is TRL's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdpo_envs.adapters.trl import Judged, Reward
from sdpo_envs.core import Outcome
from sdpo_envs.errors import SettingError, require

try:
    import torch
    import trl
    from trl.experimental.sdpo import SDPOConfig, SDPOTrainer
    from trl.experimental.sdpo.sdpo_trainer import SuccessfulRolloutTeacherContextBuilder, _extract_last_user_text
except ModuleNotFoundError:
    require("trl", "trl")
    raise

RELEASE = "1.16"
"""What of TRL this is written for: 1.16.0 and its patches, as what it replaces is no public interface of TRL's."""
CUT_SHORT = (
    "Truncated Attempt: Your previous response was too long and truncated because it reached the maximum response "
    "length. Try again with a shorter response."
)
"""What is said of an attempt without form that the token limit cut, of which the environment cannot know."""
_THINKING = re.compile(r"<think>.*?</think>\s*", re.DOTALL)


@dataclass
class LiveSDPOConfig(SDPOConfig):
    """TRL's settings, with other defaults: SDPO's released prompts, which are not cut, and feedback where no peer is.

    `success_reward_threshold` and `dont_reprompt_on_self_success` have one value each: the environment tells what a
    success is, and no attempt is shown its own words.

    Raises:
        SettingError: one of the two has another value.
    """

    max_prompt_length: int | None = None
    include_environment_feedback: bool = True
    environment_feedback_only_without_solution: bool = True
    remove_thinking_from_demonstration: bool = True
    reprompt_template: str = "{prompt}{solution}{feedback}\n\nCorrectly solve the original question."
    solution_template: str = "\nCorrect solution:\n\n{successful_previous_attempt}"
    feedback_template: str = "\nThe following is feedback from your unsuccessful earlier attempt:\n\n{feedback_raw}"

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        if self.success_reward_threshold != 1.0 or not self.dont_reprompt_on_self_success:
            raise SettingError(
                "success_reward_threshold and dont_reprompt_on_self_success are not offered; leave them at 1.0 and "
                "True. The environment tells what a success is, and no attempt is shown its own words."
            )


class LiveSDPOTrainer(SDPOTrainer):
    """`SDPOTrainer` whose feedback and peers are an environment's.

    An attempt whose machinery broke teaches nothing: it has no feedback, and its advantage is 0. (TRL's own counts a
    reward of None as 0, and in its ``reward_mean`` still does so for a group of which all broke.)

    Args:
        model: As TRL takes it.
        reward_funcs: A `Reward`, or a list that holds one, beside others.
        args: Settings.
        train_dataset: Prompts with a ``task_id``; None for all tasks of the environment.
        **more: As TRL takes it.

    Raises:
        SettingError: TRL is of another release, `args` are no `LiveSDPOConfig`, there is not one `Reward`, or its
            groups are not those of `args`.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Reward | Sequence[Any],
        args: LiveSDPOConfig,
        train_dataset: Any = None,
        **more: Any,
    ) -> None:
        _check_release(trl.__version__)
        if not isinstance(args, LiveSDPOConfig):
            raise SettingError(f"args is a {type(args).__name__}, which shows no feedback; give a LiveSDPOConfig.")
        funcs = [reward_funcs] if isinstance(reward_funcs, Reward) else list(reward_funcs)
        rewards = [each for each in funcs if isinstance(each, Reward)]
        if len(rewards) != 1:
            raise SettingError(f"{len(rewards)} of the reward functions are a Reward; one of them has to be.")
        _check_groups(rewards[0].group_size, args)
        rows = rewards[0].dataset() if train_dataset is None else train_dataset
        super().__init__(model, funcs, args, rows, **more)
        self.teacher_context_builder: LiveContext = LiveContext(self, rewards[0])

    def _calculate_rewards(self, *batch: Any, **named: Any) -> torch.Tensor:
        """Give an attempt that the environment left undecided the mean of its group, so that it changes no advantage.

        That is the mean of every reward function, as the others count for nothing there.
        """
        rewards: torch.Tensor = super()._calculate_rewards(*batch, **named)  # type: ignore[no-untyped-call]
        reward = self.teacher_context_builder.reward
        groups = rewards.view(-1, reward.group_size, rewards.shape[-1])
        undecided = groups[..., [self.reward_funcs.index(reward)]].isnan()
        decided = groups.nan_to_num(0.0).masked_fill(undecided, 0.0)  # TRL counts None as 0
        means = decided.sum(dim=1, keepdim=True) / (~undecided).sum(dim=1, keepdim=True)
        return torch.where(undecided, means, groups).view_as(rewards)


class LiveContext(SuccessfulRolloutTeacherContextBuilder):
    """Writes what the self-teacher reads, from what `reward` judged last."""

    def __init__(self, trainer: SDPOTrainer, reward: Reward) -> None:
        super().__init__(trainer)  # type: ignore[no-untyped-call]
        self.reward = reward

    def build(
        self,
        output: dict[str, Any],
        prompts: list[Any],
        rewards: torch.Tensor,
        feedbacks: list[Any] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return the teacher's tokens, their mask, and which attempts it teaches.

        Raises:
            SettingError: the data set has a ``privileged_context``, which would have no effect.
        """
        if feedbacks and any(feedbacks):
            raise SettingError("The column 'privileged_context' has no effect beside live feedback; remove it.")
        tokens = self.trainer._get_completion_ids_list(output)
        read = [self._hindsight(*each) for each in zip(self.reward.judged, tokens, strict=True)]
        asked = [self._asked(*each) for each in zip(prompts, read, strict=True)]
        teacher = self._tokenize_teacher_messages(asked)
        taught = [bool(peer or feedback) for peer, feedback in read]
        self.last_metrics = self._measured(read, taught)
        return {
            "teacher_input_ids": torch.cat([teacher["prompt_ids"], output["completion_ids"]], dim=1),
            "teacher_attention_mask": torch.cat([teacher["prompt_mask"], output["completion_mask"]], dim=1),
            "self_distillation_mask": self._tensor(taught),
        }

    def _hindsight(self, judged: Judged, tokens: Sequence[int]) -> tuple[str, str]:
        """Return what is shown of a peer and of the attempt's own feedback, ``""`` for nothing."""
        args = self.trainer.args
        peer = (judged.feedback.peer or "") if args.use_successful_as_teacher else ""
        peer = (_THINKING.sub("", peer) if args.remove_thinking_from_demonstration else peer).strip()
        if not args.include_environment_feedback or (peer and args.environment_feedback_only_without_solution):
            return peer, ""
        malformed = judged.verdict is not None and judged.verdict.outcome is Outcome.MALFORMED
        ended = bool(tokens) and tokens[-1] in self.trainer.eos_token_ids
        return peer, CUT_SHORT if malformed and not ended else str(judged.feedback).strip()

    def _asked(self, prompt: Any, read: tuple[str, str]) -> Any:
        """Return the prompt, with its last turn written anew where there is something to read."""
        peer, feedback = read
        if not peer and not feedback:
            return prompt
        args = self.trainer.args
        solution = args.solution_template.format(successful_previous_attempt=peer) if peer else ""
        heard = args.feedback_template.format(feedback_raw=feedback) if feedback else ""
        if isinstance(prompt, str):
            return self._build_reprompt_text(prompt, solution, heard)
        written = self._build_reprompt_text(_extract_last_user_text(prompt), solution, heard)
        return [*prompt[:-1], {"role": "user", "content": written}]

    def _measured(self, read: Sequence[tuple[str, str]], taught: Sequence[bool]) -> dict[str, float]:
        """Return TRL's metrics of the same names, over all processes."""
        judged, size = self.reward.judged, self.reward.group_size
        passed = [each.passed for each in judged]
        shares = {
            "success_group_fraction": [any(passed[at : at + size]) for at in range(0, len(passed), size)],
            "success_sample_fraction": [bool(peer) for peer, _ in read],
            "feedback_available_fraction": [bool(each.feedback) for each in judged],
            "feedback_used_fraction": [bool(feedback) for _, feedback in read],
            "reprompt_sample_fraction": taught,
            "undecided_fraction": [bool(each.error) for each in judged],
        }
        gather = self.trainer.accelerator.gather
        return {f"self_distillation/{name}": gather(self._tensor(each)).mean().item() for name, each in shares.items()}

    def _tensor(self, flags: Sequence[bool]) -> torch.Tensor:
        return torch.tensor(flags, dtype=torch.float32, device=self.trainer.accelerator.device)


def _check_release(version: str) -> None:
    if version.split(".")[:2] != RELEASE.split("."):
        raise SettingError(
            f"Live feedback is written for TRL {RELEASE}, and {version} is installed. It replaces what is no public "
            f"interface of TRL's; install trl>={RELEASE},<1.17, or train by sdpo_agent, which needs no TRL."
        )


def _check_groups(size: int, args: SDPOConfig) -> None:
    """A group must be judged whole, by one process: a peer is one of it."""
    told = {
        "num_generations": args.num_generations,
        "num_generations_eval": args.num_generations_eval or args.num_generations,
    }
    for name, given in told.items():
        if given != size:
            raise SettingError(f"{name}={given} is not the group_size={size} of the Reward; make them the same.")
    batch = args.per_device_train_batch_size * (args.steps_per_generation or 1)
    if batch % size:
        raise SettingError(
            f"A process samples {batch} completions at once (per_device_train_batch_size * steps_per_generation), and "
            f"these are no whole groups of {size}; make it a multiple."
        )
