"""What the benchmark compares: each contender a preset of `sdpo_agent train`, flags, and flags to choose between.

Every contender of a sweep chooses among the same number of variants, on seeds that are not reported. All share the
world, the policy, the order of the tasks and the number of attempts per step, which a variant may share out otherwise:
16 tasks of 4 attempts, say, in place of 8 of 8.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from sdpo_agent.presets import PRESETS
from sdpo_envs import SettingError
from sdpo_envs.errors import choose


@dataclass(frozen=True, slots=True)
class Contender:
    """An algorithm with its settings, as command lines have them.

    Attributes:
        preset: One of `PRESETS`.
        flags: On top of it.
        variants: Flags to choose between, on top of these.
    """

    preset: str
    flags: str = ""
    variants: tuple[str, ...] = ("",)

    def commands(self, steps: int) -> list[tuple[str, ...]]:
        """Return what follows ``sdpo_agent train``, for each variant; in flags, ``{steps}`` stands for `steps`."""
        words = [(*shlex.split(self.flags), *shlex.split(variant)) for variant in self.variants]
        return [(self.preset, *(word.replace("{steps}", str(steps)) for word in each)) for each in words]


_OWN = ("tuning", "report")  # what a sweep writes beside the folders that have the names of contenders
_FALLING = "--decay-steps {steps}"
_WIDE = "--tasks 16 --group-size 4"
_WIDER = "--tasks 32 --group-size 2"
_READS_ATTEMPT = "--alpha 1 --teacher-rate 0.01 --reprompt.attempt"


def _pace(learning_rate: str, minibatches: int, *more: str) -> str:
    return " ".join((f"--learning-rate {learning_rate} --minibatches {minibatches}", *more))


_AGENT = "--warmup-steps 0"
_PACES = (_pace("3e-4", 2), _pace("3e-4", 4, _FALLING), _pace("6e-4", 4, _FALLING), _pace("6e-4", 4, _FALLING, _WIDE))


def _each(*others: str) -> tuple[str, ...]:
    """Return every pace with each of the other flags."""
    return tuple(f"{pace} {other}".strip() for other, pace in product(others, _PACES))


_COEFFICIENTS = _each("--coefficient 0.1", "--coefficient 1")

CONTENDERS: Mapping[str, Contender] = {
    "grpo": Contender(
        "grpo",
        "--warmup-steps 0",
        (
            _pace("3e-4", 2),
            _pace("3e-4", 4),
            _pace("3e-4", 4, _FALLING),
            _pace("6e-4", 1),
            _pace("3e-4", 2, "--gradient.scale std"),
            _pace("3e-4", 4, "--gradient.clip-high 0.5"),
            _pace("3e-4", 2, "--max-grad-norm 0.3"),
            _pace("3e-4", 2, _WIDE),
        ),
    ),
    "dapo": Contender(
        "dapo",
        "--warmup-steps 0 --batches 3",
        (
            _pace("3e-4", 4),
            _pace("3e-4", 2),
            _pace("3e-4", 4, _FALLING),
            _pace("6e-4", 4),
            _pace("6e-4", 4, _FALLING),
            _pace("6e-4", 1),
            _pace("3e-4", 4, "--max-grad-norm 0.3"),
            _pace("3e-4", 4, _WIDE),
        ),
    ),
    "sdpo-released": Contender(
        "sdpo",
        "",
        (
            _pace("6e-4", 1),
            _pace("3e-4", 1),
            _pace("1e-3", 1),
            _pace("1e-3", 1, _FALLING),
            _pace("3e-4", 4),
            _pace("6e-4", 4, _FALLING),
            _pace("3e-4", 1, _WIDE),
            _pace("3e-4", 1, _WIDER),
        ),
    ),
    "sdpo": Contender(
        "sdpo",
        _READS_ATTEMPT,
        (
            _pace("6e-4", 4, _FALLING, _WIDER),
            _pace("6e-4", 4, _FALLING, _WIDER, "--max-grad-norm 0.3"),
            _pace("6e-4", 4, _FALLING, _WIDE),
            _pace("6e-4", 4, _FALLING, _WIDE, "--max-grad-norm 0.3 --reprompt.feedback always"),
            _pace("6e-4", 4, _FALLING),
            _pace("6e-4", 4, _FALLING, "--route failures"),
            _pace("3e-4", 4, "--route failures"),
            _pace("1e-3", 1, _FALLING, _WIDER),
        ),
    ),
    "hybrid": Contender(
        "sdpo",
        f"{_READS_ATTEMPT} --policy-share 0.5",
        (
            _pace("6e-4", 4, _FALLING, _WIDE),
            _pace("3e-4", 4, _WIDE),
            _pace("6e-4", 4, _FALLING, _WIDER),
            _pace("6e-4", 4, _FALLING),
            _pace("3e-4", 4, _FALLING),
            _pace("3e-4", 4),
            _pace("6e-4", 1),
            _pace("3e-4", 4, "--policy-share 0.9"),
        ),
    ),
    "grpo-agent": Contender("grpo-agent", _AGENT, _each("--gradient.scale none", "--gradient.scale std")),
    "sdpo-agent": Contender("sdpo", _READS_ATTEMPT, _each("", "--reprompt.transcript")),
    "hybrid-agent": Contender("sdpo", _READS_ATTEMPT, _each("--policy-share 0.5", "--policy-share 0.9")),
    "gigpo": Contender("gigpo", _AGENT, _each("--gradient.scale none", "--gradient.scale std")),
    "sdar": Contender("sdar", _AGENT, _COEFFICIENTS),
    "grpo-opsd": Contender("grpo-opsd", _AGENT, _COEFFICIENTS),
    "grpo-opsd-shipped": Contender("sdar-grpo-opsd", _AGENT, _COEFFICIENTS),
    "skill-sd": Contender("skill-sd", _AGENT, _COEFFICIENTS),
    "rlsd": Contender("rlsd", _AGENT, _each("--share 0.5", "--share 1")),
}
"""By name, the variant first that is taken without tuning. A comparison is fair as far as these lists are.

``sdpo-released`` is SDPO as its code was released. ``sdpo`` is what holds here: the paper's settings for rich feedback,
with the teacher shown the failed attempt too. ``dapo`` plays up to three batches a step: give it a third of the steps.
Those from ``grpo-agent`` on are for episodes of several turns.
"""


def contenders(names: Sequence[str]) -> dict[str, Contender]:
    """Return the contenders of these names; ``"mine=sdpo --teacher frozen"`` makes one of a preset and flags.

    Raises:
        SettingError: there is no such contender or preset, two have one name, or a name is none of a folder.
    """
    chosen: dict[str, Contender] = {}
    for each in names:
        name, made, command = each.partition("=")
        if name in _OWN or not re.fullmatch(r"\w[\w.+-]*", name):
            raise SettingError(f"{name!r} cannot be the name of a folder for runs; take letters and digits.")
        if name in chosen:
            raise SettingError(f"Two contenders are called {name!r}; name each differently.")
        if made:
            preset, _, flags = command.strip().partition(" ")
            chosen[name] = Contender(choose("preset", preset, PRESETS), flags)
        else:
            chosen[name] = CONTENDERS[choose("algorithms", name, CONTENDERS)]
    return chosen
