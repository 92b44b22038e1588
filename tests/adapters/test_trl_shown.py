"""What docs/trl.md and the examples show runs; the page's model is here a small untrained one of Qwen3's template."""

import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pytest
from recited import OLD_NAME, SAME, talker
from trl import GRPOConfig

from sdpo_envs.adapters.trl_turns import Episodes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "trl.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.filterwarnings(OLD_NAME)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["one action", "several turns", "sdpo"])
def test_what_the_page_shows_runs(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = talker()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    small: dict[str, Any] = {**SAME, "max_steps": 1, "max_completion_length": 8}
    shown = snippet.replace('"Qwen/Qwen3-0.6B"', repr(str(tmp_path / "model")))
    shown = re.sub(r'Config\("[^"]*", ', r"\g<0>**SMALL, ", shown)
    told: dict[str, Any] = {"SMALL": small}
    exec(shown, told)
    assert told["trainer"].state.global_step == 1


def test_the_page_names_the_tools_that_there_are() -> None:
    table = dict(re.findall(r"^\| `(sdpo/[^`]*)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert table
    for env_id, tools in table.items():
        if env_id == "sdpo/ALFWorld-v0":
            pytest.importorskip("alfworld", reason="the extra alfworld is not installed")
        episode = Episodes(env_id)()
        for name, argument in re.findall(r"`(\w+)\((\w+)\)`", tools):
            assert argument in getattr(type(episode), name).__annotations__


@pytest.mark.parametrize("name", ["trl_grpo", "trl_turns"])
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = load(name)
    monkeypatch.setattr(
        example, "GRPOConfig", lambda output, **given: GRPOConfig(output, **given | {"per_device_train_batch_size": 16})
    )
    (share,) = example.main(steps=1, output=str(tmp_path))
    assert 0.0 < share < 1.0, "the policy can do some of it, and has something to learn"


def test_the_example_of_sdpo_learns(tmp_path: Path) -> None:
    shares = load("trl_sdpo").main(steps=8, output=str(tmp_path))
    assert len(shares) == 8
    assert sum(shares[-3:]) > sum(shares[:3]) + 0.3
