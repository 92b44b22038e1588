"""Why an answer is not right, where a checker of reasoning-gym says so from the answer and the question alone."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from sdpo_envs.errors import require


def reason(family: str, answer: str, metadata: Mapping[str, Any]) -> str:
    """Return what the checker of this family says of an answer that is not right; ``""`` where there is none.

    Raises:
        LookupError, TypeError, ValueError: the answer cannot be read.
    """
    return _CHECKERS[family](answer, metadata) if family in _CHECKERS else ""


def _colouring(answer: str, metadata: Mapping[str, Any]) -> str:
    library = require("reasoning_gym.algorithmic.graph_color", "reasoning-gym")
    return str(library.verify_graph_coloring_solution(metadata["puzzle"], json.loads(answer))[1])


def _cryptarithm(answer: str, metadata: Mapping[str, Any]) -> str:
    library = require("reasoning_gym.algorithmic.cryptarithm", "reasoning-gym")
    pairs = (pair.split("=") for pair in answer.split(","))
    digits = {letter.strip(): int(digit) for letter, digit in pairs}
    puzzle = metadata["words_letters"], metadata["result_letters"], metadata.get("allow_leading_zero", False)
    return str(library.verify_cryptarithm_solution(digits, *puzzle)[1])


_CHECKERS: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "cryptarithm": _cryptarithm,
    "graph_color": _colouring,
}
