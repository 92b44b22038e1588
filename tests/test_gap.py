"""The script that asks whether the gap before training foretells the gain: what it reads, and what it makes of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
REPROMPT = {"peer": "random", "feedback": "without-peer", "attempt": False, "thinking": False, "limit": 30_000}


@pytest.fixture
def gap(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gap

    return gap


def write(
    run: Path, tests: list[float], algorithm: str = "SDPO", *, done: bool = True, size: int = 4, **reprompt: Any
) -> None:
    """Leave what the gap is read from behind, as a finished run would."""
    run.mkdir(parents=True)
    config = {
        "world": {
            "env": "sdpo/MicroTool-v0",
            "env_settings": json.dumps({"world": int(run.name), "feedback": "first"}),
        },
        "source": {"policy": "micro"},
        "group_size": size,
        "algorithm": algorithm,
        "settings": {"reprompt": REPROMPT | reprompt} if algorithm == "SDPO" else {},
        "loop": {"max_tokens": 64, "temperature": 1.0, "seed": int(run.name)},
    }
    (run / "config.json").write_text(json.dumps(config))
    (run / "recording.json").write_text(json.dumps({"told": {"algorithm": run.parent.name}}))
    (run / "tests.jsonl").write_text("".join(json.dumps({"success_rate": each}) + "\n" for each in tests))
    if done:
        (run / "done.json").write_text("[]")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 9], [0, 5, 6, 7], 1.0),
        ([1, 2, 3], [3, 2, -1], -1.0),
        ([1, 2, 3, 4], [2, 1, 4, 3], 0.6),
        ([1, 1, 2], [1, 2, 3], np.sqrt(3) / 2),  # equal values share a rank
    ],
)
def test_the_correlation_is_of_ranks(gap: Any, first: list[float], second: list[float], expected: float) -> None:
    assert gap.rank_correlation(np.array([first, second])) == pytest.approx(expected)
    assert gap.correlation(first, second).startswith(f"{expected:.2f} [")


def test_a_gain_is_the_last_three_tests_less_the_first_of_finished_runs(gap: Any, tmp_path: Path) -> None:
    write(tmp_path / "peers" / "0", [0.1, 0.9, 0.2, 0.3, 0.4], feedback="never")
    write(tmp_path / "peers" / "1", [0.0, 0.5, 0.5, 0.5], feedback="never")
    write(tmp_path / "peers" / "2", [0.0, 1.0], done=False)
    write(tmp_path / "grpo" / "0", [0.0, 0.5], "GRPO")
    write(tmp_path / "tuning" / "peers-0" / "1000", [0.0, 0.7])
    write(tmp_path / "another" / "0", [0.0, 0.7])
    (way,) = gap.read([tmp_path], 2, ["peers"])
    assert {each.name for each in gap.read([tmp_path], 2)} == {"peers", "another"}
    assert (way.name, way.world) == ("peers", "MicroTool, feedback first")
    assert way.gains == pytest.approx([0.2, 0.5])
    assert len(way.seen) == 2


def test_what_the_teacher_reads_is_what_is_probed(gap: Any, tmp_path: Path) -> None:
    write(tmp_path / "feedback" / "0", [0.0, 0.9], peer="none", feedback="always")
    write(tmp_path / "nothing" / "0", [0.0, 0.0], peer="none", feedback="never")
    feedback, nothing = gap.read([tmp_path], 8)
    assert feedback.gap > 0.1
    assert feedback.lift > 0.1
    assert (nothing.gap, nothing.lift) == (0, 0)


def test_equal_ways_are_probed_once_and_groups_of_another_size_again(
    gap: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("base", 4), ("fast", 4), ("alone", 1)):
        write(tmp_path / name / "0", [0.0, 0.5], size=size)
    sizes: list[int] = []
    monkeypatch.setattr(gap, "seen", lambda config, tasks: sizes.append(config["group_size"]) or gap.Seen(0.1, 0.1))
    assert len(gap.read([tmp_path], 2)) == 3
    assert sorted(sizes) == [1, 4]


def test_it_says_draws_and_writes(
    gap: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("one", "two", "three")):
        write(tmp_path / name / "0", [0.1, 0.2 + number / 10], limit=number)
    monkeypatch.setattr(gap, "seen", lambda config, tasks: gap.Seen(config["settings"]["reprompt"]["limit"], 0.5))
    monkeypatch.setattr("sys.argv", ["gap.py", str(tmp_path), "--out", str(tmp_path / "out")])
    gap.main()
    said = capsys.readouterr().out
    assert all(name in said for name in ("one", "two", "three", "All, 3 ways: rank correlation"))
    assert "with the gain, of gap 1.00 [1.00, 1.00] and of lift undefined" in said
    assert (tmp_path / "out" / "gap.png").stat().st_size > 5_000
    rows = json.loads((tmp_path / "out" / "gap.json").read_text())
    assert [row["way"] for row in rows] == ["one", "three", "two"]


def test_points_that_nearly_meet_are_named_together(gap: Any) -> None:
    told = gap.labels([(0.5, 0.1, "low"), (0.5, 0.8, "second"), (0.51, 0.82, "first"), (0.6, 0.82, "right")])
    assert told == [((0.51, 0.82), "first, second"), ((0.6, 0.82), "right"), ((0.5, 0.1), "low")]


def test_too_few_ways_are_refused(gap: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one" / "0", [0.1, 0.2])
    monkeypatch.setattr("sys.argv", ["gap.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"1 ways to teach; .* three or more"):
        gap.main()
