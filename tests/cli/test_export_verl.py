"""`sdpo export-verl` writes what verl reads, and says what verl has to be told."""

from pathlib import Path

import addition
import pyarrow.parquet
import pytest
from commandline import run

from sdpo_envs.adapters import verl


def test_it_writes_the_rows_and_tells_verl_of_the_reward_function(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new folder" / "train.parquet"
    settings = '{"split": "test", "reveal": true}'
    ended = run(capsys, "export-verl", "sdpo/ToolUse-v0", str(path), "--settings", settings)
    assert (ended.code, ended.err) == (0, "")
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert rows == list(verl.rows("sdpo/ToolUse-v0", settings={"split": "test", "reveal": True}))
    first, data, reward = ended.out.splitlines()
    assert first == f"{len(rows)} tasks of sdpo/ToolUse-v0 in {path}, played by single_turn_agent. Tell verl:"
    assert data == f"    'data.train_files={path}'"
    assert reward == "    reward.custom_reward_function.path=pkg://sdpo_envs.adapters.verl"


def test_it_tells_verl_of_the_loop_where_an_episode_has_several_turns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "guess.parquet"
    asked = [addition.TASKS[2].id, addition.TASKS[0].id]
    ended = run(capsys, "export-verl", addition.GUESSING, str(path), "--tasks", *asked)
    assert ended.code == 0
    assert [row["reward_model"]["ground_truth"] for row in pyarrow.parquet.read_table(path).to_pylist()] == asked
    loops = f"    actor_rollout_ref.rollout.agent.agent_loop_config_path={verl.AGENT_LOOPS}"
    assert ended.out.splitlines()[-1] == loops
    ended = run(capsys, "export-verl", addition.GUESSING, str(path), "--agent", "mine")
    assert ended.out.splitlines()[0].endswith("played by mine. Tell verl:")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sdpo/ToolUse-v0", "train.json"], "ending '.parquet'"),
        (["sdpo/ToolUse-v0", "train.parquet", "--settings", "[]"], "JSON object"),
        (["sdpo/ToolUse-v0", "train.parquet", "--settings", '{"splitt": "test"}'], "did you mean 'split'?"),
        (["sdpo/ToolUs-v0", "train.parquet"], "ToolUse"),
        (["sdpo/ToolUse-v0", "train.parquet", "--tasks", "tooluse/x"], "No task has the id 'tooluse/x'"),
    ],
)
def test_what_it_cannot_do_is_said_and_nothing_is_written(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run(capsys, "export-verl", *arguments)
    assert ended.code == 1
    assert said in ended.err
    assert not list(tmp_path.iterdir())
