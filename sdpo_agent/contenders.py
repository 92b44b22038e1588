"""What the benchmark compares: each contender a preset of `sdpo_agent train`, flags, and flags to choose between.

Every contender of a sweep chooses among the same number of variants, on seeds that are not reported. All share the
world, the policy, the tasks of every step and the draws of every attempt, as far as these follow from the seed.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

    def commands(self) -> list[tuple[str, ...]]:
        """Return what follows ``sdpo_agent train``, for each variant."""
        return [(self.preset, *shlex.split(self.flags), *shlex.split(variant)) for variant in self.variants]


_ON_POLICY = "--minibatches 1 --warmup-steps 0"
_SLOW_TEACHER = "--teacher-rate 0.01"
_OWN = ("tuning", "report")  # what a sweep writes beside the folders that have the names of contenders
_SLOWLY, _STEADILY, _FAST, _HASTILY = (f"--learning-rate {rate}" for rate in ("3e-4", "6e-4", "1e-3", "2e-3"))

CONTENDERS: Mapping[str, Contender] = {
    "grpo": Contender(
        "grpo",
        _ON_POLICY,
        (
            _STEADILY,
            _SLOWLY,
            _FAST,
            f"{_STEADILY} --gradient.scale std",
            f"{_FAST} --gradient.scale std",
            f"{_SLOWLY} --minibatches 4",
        ),
    ),
    "sdpo": Contender(
        "sdpo",
        _SLOW_TEACHER,
        (
            _FAST,
            _STEADILY,
            _HASTILY,
            f"{_FAST} --teacher-rate 0.003",
            f"{_FAST} --route failures",
            f"{_STEADILY} --minibatches 2",
        ),
    ),
    "hybrid": Contender(
        "sdpo",
        f"{_SLOW_TEACHER} --policy-share 0.5",
        (
            _FAST,
            _STEADILY,
            _HASTILY,
            f"{_FAST} --policy-share 0.9",
            f"{_FAST} --policy-share 0.2",
            f"{_STEADILY} --minibatches 2",
        ),
    ),
}
"""By name, the variant first that is taken without tuning. A comparison is fair as far as these lists are."""


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
