"""LiveCodeBench: the loader, the choice of tests, the environment; on rows made here, the bundled and the real ones."""

import base64
import functools
import gzip
import json
import pickle
import pickletools
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from sums import FakeSandbox, wall

from sdpo_envs import (
    GroupEnv,
    Outcome,
    RecordError,
    Run,
    SandboxError,
    SettingError,
    TaskNotFound,
    Verdict,
    check_env,
    explain,
    livecodebench,
)
from sdpo_envs.codejudge import Case, judge_code
from sdpo_envs.files import bundled
from sdpo_envs.livecodebench import SHARDS, LiveCodeBench, LiveCodeBenchGroup, exam, judge_problem, load_problems

DATA = Path(__file__).parents[1] / "../shared/data/livecodebench"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="skips LiveCodeBench's real rows and programs: not beside this"
)

PUBLIC = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
HIDDEN = [{"input": f"{n} 27182818\n", "output": f"{n + 27182818}\n", "testtype": "stdin"} for n in range(9)]
STARTER = "class Solution:\n    def total(self, numbers: List[int], more: Dict[str, int]) -> int:\n        "


def pack(tests: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def row(question_id: str = "sum", **columns: Any) -> dict[str, Any]:
    return {
        "question_title": "Sum",
        "question_content": "Print the sum of two numbers {a} and {b}.",
        "platform": "atcoder",
        "question_id": question_id,
        "contest_id": "abc1",
        "contest_date": "2025-02-15T06:30:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(PUBLIC),
        "private_test_cases": pack(HIDDEN),
        "metadata": "{}",
    } | columns


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def fenced(code: str) -> str:
    return f"It is simple.\n```python\n{code}\n```\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of three problems."""
    return write(
        tmp_path / "rows.jsonl",
        row("one", contest_date="2025-01-31T23:59:59", difficulty="hard", platform="codeforces"),
        row("two", contest_date="2025-02-01T00:00:00", solution="print(sum(map(int, input().split())))"),
        row("three", contest_date="2025-04-30T12:00:00", private_test_cases=json.dumps(HIDDEN[:4])),
    )


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder laid out like the data set: one problem in each file."""
    folder = tmp_path / "release"
    folder.mkdir()
    for number, shard in enumerate(SHARDS, start=1):
        write(folder / shard, row(f"q{number}"))
    return folder


def ids(*args: Any, **settings: Any) -> list[str]:
    return [task.id for task in load_problems(*args, **settings)]


# Loading.

SECONDS = ("time_limit_seconds", "total_seconds")
UNOFFERED_SECONDS = (0, -1.5, float("nan"), float("inf"), "6", True)


def test_a_problem_is_a_prompt_public_facts_and_tests_out_of_sight(source: Path) -> None:
    task = load_problems(source)[1]
    assert task.id == "two"
    assert task.meta == {"title": "Sum", "platform": "atcoder", "difficulty": "easy", "date": "2025-02-01"}
    assert task.prompt == (
        "You are a coding expert. You will be given a coding problem, and you need to write a correct Python program "
        "that matches the specification and passes all tests. The time limit is 1 second. You may start by outlining "
        "your thought process. In the end, please provide the complete code in a code block enclosed with ``` ```.\n\n"
        "Print the sum of two numbers {a} and {b}."
    )
    assert not any(secret in repr(task) for secret in ("27182818", pack(HIDDEN)[:20], "print(sum"))
    assert not any(secret in repr(exam(task.answer)) for secret in ("27182818", "print(sum"))


def test_a_functional_problem_shows_its_signature_and_knows_its_parameters(tmp_path: Path) -> None:
    test = {"input": "[1, 2]\n{}", "output": "3", "testtype": "functional"}
    columns = {"public_test_cases": json.dumps([test]), "metadata": '{"func_name": "total"}', "starter_code": STARTER}
    (task,) = load_problems(write(tmp_path / "rows.jsonl", row(**columns)), tests="public")
    assert task.prompt.endswith(
        "Print the sum of two numbers {a} and {b}.\n\nYour solution should have the following signature: ```python\n"
        "def total(self, numbers: List[int], more: Dict[str, int]) -> int:\n```"
    )
    assert exam(task.answer).function == "total"
    assert exam(task.answer).parameters == ("numbers", "more")


def test_a_window_holds_its_first_day_and_not_its_last(source: Path) -> None:
    assert ids(source) == ["one", "two", "three"]
    assert ids(source, window=("2025-01-31", "2025-02-01")) == ["one"]
    assert ids(source, window=("2025-02-01", "2025-04-30")) == ["two"]
    assert ids(source, window="sdpo-v6") == ["two", "three"]


def test_filters_keep_what_they_name(source: Path) -> None:
    assert ids(source, difficulty="hard") == ["one"]
    assert ids(source, platform="atcoder", window=("2025-02-01", "2025-03-01")) == ["two"]
    assert ids(source, exclude=["two"]) == ids(source, exclude={"two"}) == ["one", "three"]


def test_release_n_is_the_first_n_files_of_a_folder(release: Path) -> None:
    assert ids(release, release="v1") == ["q1"]
    assert ids(release, release="v4") == ["q1", "q2", "q3", "q4"]
    assert ids(release) == ids(release, release="v6") == ["q1", "q2", "q3", "q4", "q5", "q6"]


def test_several_files_may_be_named_and_gzipped(release: Path, tmp_path: Path) -> None:
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress((release / SHARDS[4]).read_bytes()))
    assert ids([release / SHARDS[1], str(packed)]) == ["q2", "q5"]


def test_the_hub_is_read_file_by_file_as_its_loading_script_cannot_be_run(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="skips the Hub: the extra 'data' is not installed")
    read, addresses = datasets.load_dataset, []

    def from_folder(builder: str, *, data_files: str, **keywords: Any) -> Any:
        addresses.append(data_files)
        local = str(release / data_files.rpartition("/")[2])
        return read(builder, data_files=local, cache_dir=str(tmp_path / "cache"), **keywords)

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets, "load_dataset", from_folder)
    tasks = load_problems(
        "livecodebench/code_generation_lite@refs/pr/6", release="v2", window="sdpo-v6", tests="hidden"
    )
    assert [task.id for task in tasks] == ["q1", "q2"]
    assert addresses == [
        f"hf://datasets/livecodebench/code_generation_lite@refs/pr/6/{shard}" for shard in ("test.jsonl", "test2.jsonl")
    ]
    assert len(exam(tasks[0].answer).cases) == len(HIDDEN)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"release": "v7"}, "release='v7' is not offered"),
        ({"window": "sdpo-v5"}, "did you mean 'sdpo-v6'"),
        ({"window": ("2025-02-01", "soon")}, "must be two dates such as"),
        ({"window": ("2025-02-01",)}, "must be two dates such as"),
        ({"difficulty": "medum"}, "did you mean 'medium'"),
        ({"platform": "topcoder"}, r"Choose from \['atcoder'"),
        ({"tests": "private"}, r"Choose from \['public', 'hidden', 'half', 'all'\]"),
        ({"sample": 0}, "sample=0 is not offered; it must be a whole number, an int, above 0"),
        ({"sample": 1.5}, "sample=1.5 is not offered; it must be a whole number"),
        ({"exclude": "q1 q2"}, "exclude='q1 q2' is not offered; give a list of ids"),
        ({"exclude": None}, "exclude=None is not offered; give a list of ids"),
        ({"exclude": ["q2", "q11"]}, "no record of the source has the id 'q11'; did you mean 'q1'"),
        ({"reward": "dense"}, r"Choose from \['sparse', 'fraction'\]"),
        ({"stop": "timeuot"}, "stop='timeuot' is not offered; did you mean 'timeout'"),
        ({"stop": "timeout", "reward": "fraction"}, "stop='timeout' leaves tests out"),
        *(({name: value}, f"{name}={value!r} is not offered") for name in SECONDS for value in UNOFFERED_SECONDS),
        ({"time_limit_seconds": None}, "time_limit_seconds=None is not offered"),
        ({"memory_limit_mb": 512.5}, "memory_limit_mb=512.5 is not offered; it must be a whole number"),
        ({"memory_limit_mb": True}, "memory_limit_mb=True is not offered"),
        ({"memory_limit_mb": -1}, "memory_limit_mb=-1 is not offered"),
        ({"sandbox": "none"}, "sandbox='none' is not offered"),
        ({"sandbox": None}, "sandbox=None is not offered; give a Sandbox, or a name from"),
        ({"sandbox": 3}, "sandbox=3 is not offered"),
        ({"window": ("1999-01-01", "1999-02-01")}, "No task is left"),
    ],
)
def test_a_setting_that_is_not_offered_is_an_error(release: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        LiveCodeBench(release, **settings)


def test_a_release_of_one_file_and_a_file_that_is_missing_are_errors(source: Path) -> None:
    with pytest.raises(SettingError, match="needs a source of several files"):
        load_problems(source, release="v6")
    with pytest.raises(SettingError, match="There is no file"):
        load_problems(source.with_name("nowhere.jsonl"))
    for name in (str(source.with_name("nowhere")), "./nowhere", "nowhere"):
        with pytest.raises(SettingError, match="There is no file"):
            load_problems(name)
    with pytest.raises(SettingError, match="source=3 is not offered"):
        load_problems(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"question_content": None}, "the column 'question_content' must be str, not NoneType"),
        (
            {"contest_date": "spring"},
            "the column 'contest_date' must be a date such as '2025-02-01T00:00:00', not 'spr",
        ),
        ({"starter_code": "class Solution:"}, "the column 'starter_code' must define a function"),
        ({"difficulty": 3}, "the column 'difficulty' must be str, not int"),
        ({"question_id": 7}, "the column 'question_id' must be str, not int"),
    ],
)
def test_a_malformed_row_is_an_error_that_names_its_place_at_once(
    tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    path = write(tmp_path / "rows.jsonl", row("fine"), row(**columns))
    with pytest.raises(RecordError, match=f"/rows.jsonl line 2: {words}"):
        load_problems(path)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"private_test_cases": "oops!"}, "the column 'private_test_cases' must be JSON, or base64"),
        ({"private_test_cases": pack([])}, "the column 'private_test_cases' must list tests"),
        ({"private_test_cases": 7}, "the column 'private_test_cases' must be str, not int"),
        ({"metadata": "{"}, "the column 'metadata' must hold JSON"),
        ({"metadata": "[]"}, "the column 'metadata' must hold the name of a function"),
        ({"metadata": '{"func_name": "os.system"}'}, "the column 'metadata' must hold the name of a function"),
        ({"metadata": '{"func_name": "total"}'}, "has a test of type 'stdin', but 'metadata' says 'functional'"),
    ],
)
def test_malformed_tests_are_an_error_when_their_task_is_chosen(
    tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    env = LiveCodeBench(write(tmp_path / "rows.jsonl", row(**columns)), sandbox=FakeSandbox())
    with pytest.raises(RecordError, match=f"/rows.jsonl line 1: .*{words}"):
        env.reset(seed=0)


def test_one_id_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"the id 'sum' was already used by .*rows\.jsonl line 1"):
        load_problems(write(tmp_path / "rows.jsonl", row(), row()))


def test_rows_without_the_tests_asked_for_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    bare = row("bare")
    del bare["private_test_cases"]
    path = write(tmp_path / "rows.jsonl", bare, row("open", public_test_cases="[]"), row("full"))
    for tests in ("hidden", "half", "all"):
        with pytest.raises(RecordError, match=r"1 of 3 records have no tests .*\(bare.*tests='public'"):
            load_problems(path, tests=tests)
    with pytest.raises(RecordError, match=r"1 of 3 records have no tests .*\(open.*tests='hidden'"):
        load_problems(path, tests="public")
    assert ids(path, exclude=["bare"]) == ["open", "full"]


# Which tests count.


def inputs(source: Path, task_id: str = "two", **settings: Any) -> list[str]:
    (task,) = (task for task in load_problems(source, **settings) if task.id == task_id)
    return [case.input for case in exam(task.answer).cases]


def test_tests_are_public_or_hidden_or_both(source: Path) -> None:
    public, hidden = [test["input"] for test in PUBLIC], [test["input"] for test in HIDDEN]
    assert inputs(source, tests="public") == public
    assert inputs(source, tests="hidden") == hidden
    assert inputs(source, tests="all") == inputs(source) == public + hidden
    cases = exam(load_problems(source, tests="all")[0].answer).cases
    assert [case.public for case in cases] == [True] + [False] * len(HIDDEN)


def test_half_is_what_numpy_draws_for_sdpo_from_the_same_rows(source: Path) -> None:
    state = np.random.get_state()
    try:
        np.random.seed(0)
        expected = [np.sort(np.random.choice(count, size=max(1, int(count * 0.5)), replace=False)) for count in (9, 4)]
    finally:
        np.random.set_state(state)
    for task_id, positions in zip(("two", "three"), expected, strict=True):
        assert inputs(source, task_id, tests="half", window="sdpo-v6") == [
            HIDDEN[position]["input"] for position in positions
        ]


def test_half_depends_on_the_rows_before_but_not_on_difficulty_or_platform(source: Path) -> None:
    half = inputs(source, tests="half")
    assert inputs(source, tests="half", difficulty="easy", platform="atcoder") == half
    assert len(half) == len(HIDDEN) // 2


def test_choosing_tests_leaves_the_global_generators_alone(source: Path) -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    inputs(source, tests="half", sample=2)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


def test_a_sample_is_a_part_in_order_and_always_the_same_for_a_task(source: Path) -> None:
    everything = [test["input"] for test in (*PUBLIC, *HIDDEN)]
    sample = inputs(source, sample=3)
    assert sample == inputs(source, sample=3, window="sdpo-v6") == sorted(sample, key=everything.index)
    assert len(set(sample)) == 3
    assert inputs(source, "one", sample=3) != sample
    assert inputs(source, sample=99) == everything
    assert len(inputs(source, tests="half", sample=2)) == 2


# The environment.

SUM = "print(sum(map(int, input().split())))"


def play(env: LiveCodeBench, action: str, task_id: str = "two") -> tuple[float, Verdict, str]:
    env.reset(options={"task_id": task_id})
    _, reward, terminated, truncated, info = env.step(action)
    assert (terminated, truncated) == (True, False)
    return reward, info["verdict"], info["feedback"].text


def test_a_right_program_earns_one_and_no_words(source: Path) -> None:
    env = LiveCodeBench(source, sandbox=wall())
    assert play(env, fenced(SUM)) == (1.0, Verdict(Outcome.PASSED, 1.0), "")
    assert env.oracle(env.find("two")) == f"```python\n{SUM}\n```"
    assert env.oracle(env.find("one")) is None


@pytest.mark.parametrize("action", ["", "I do not know.", SUM, "```python\n \n```", "`print(3)`"])
def test_an_action_without_a_fenced_program_is_malformed(source: Path, action: str) -> None:
    sandbox = FakeSandbox()
    reward, verdict, text = play(LiveCodeBench(source, tests="hidden", sandbox=sandbox), action)
    assert (reward, verdict.outcome) == (0.0, Outcome.MALFORMED)
    assert text == "Incorrect Format: Put your code inside a ```python ... ``` block."
    assert sandbox.given is None


def test_a_wrong_program_learns_about_public_tests_everything_and_about_hidden_ones_how_they_ended(
    source: Path,
) -> None:
    reward, verdict, text = play(LiveCodeBench(source, tests="all", sandbox=wall()), fenced("print(input())"))
    assert (reward, verdict.outcome) == (0.0, Outcome.WRONG)
    assert "Test 1: Wrong Answer\nInput: 1 2\nOutput: 1 2\nExpected: 3" in text
    assert "27182818" not in text + str(verdict)
    _, _, text = play(LiveCodeBench(source, tests="all", sandbox=wall(), reveal=True), fenced("print(input())"))
    assert "Input: 0 27182818\nOutput: 0 27182818\nExpected: 27182818" in text


def test_the_fraction_of_tests_passed_may_be_the_reward(source: Path) -> None:
    code = fenced("a, b = map(int, input().split())\nprint(a + b if a < 3 else 0)")
    assert play(LiveCodeBench(source, sandbox=wall()), code)[0] == 0.0
    assert play(LiveCodeBench(source, tests="hidden", sandbox=wall(), reward="fraction"), code)[0] == pytest.approx(
        3 / 9
    )


def test_limits_reach_the_sandbox(source: Path) -> None:
    sandbox = FakeSandbox([Run(0)] * len(HIDDEN))
    play(
        LiveCodeBench(source, tests="hidden", sandbox=sandbox, time_limit_seconds=2.5, memory_limit_mb=99), fenced(SUM)
    )
    assert sandbox.given is not None
    assert (sandbox.given.seconds, sandbox.given.memory_mb, sandbox.given.timeouts) == (2.5, 99, 1)
    assert sandbox.given.total_seconds == 60.0


@pytest.mark.parametrize(
    ("settings", "isolated", "timeouts"),
    [
        ({}, False, 1),
        ({"isolated": True}, True, 1),
        ({"stop": "never"}, False, None),
        ({"stop": "failure"}, False, 1),
        ({"reward": "fraction"}, False, None),
    ],
)
def test_how_tests_are_run_is_a_setting(
    source: Path, settings: dict[str, Any], isolated: bool, timeouts: int | None
) -> None:
    sandbox = FakeSandbox([Run(0, stdout=test["output"]) for test in HIDDEN])
    assert play(LiveCodeBench(source, tests="hidden", sandbox=sandbox, **settings), fenced(SUM))[0] == 1.0
    assert sandbox.given is not None
    assert (sandbox.given.isolated, sandbox.given.timeouts) == (isolated, timeouts)


def test_a_broken_wall_is_an_error_and_the_action_may_be_tried_again(source: Path) -> None:
    sandbox = FakeSandbox([Run(0, stdout=test["output"]) for test in HIDDEN], error=SandboxError("the wall fell"))
    env = LiveCodeBench(source, tests="hidden", sandbox=sandbox)
    env.reset(options={"task_id": "two"})
    with pytest.raises(SandboxError, match="the wall fell"):
        env.step(fenced(SUM))
    sandbox.error = None
    assert env.step(fenced(SUM))[1] == 1.0


def test_only_a_sandbox_opened_by_name_is_closed_with_the_environment(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, opened = FakeSandbox(), FakeSandbox()
    LiveCodeBench(source, sandbox=given).close()
    assert given.closed == 0
    monkeypatch.setattr("sdpo_envs.livecodebench.open_sandbox", lambda sandbox: opened)
    LiveCodeBench(source, sandbox="local").close()
    assert opened.closed == 1


def test_secrets_are_the_solution_and_what_only_hidden_tests_say(source: Path) -> None:
    env = LiveCodeBench(source, tests="all", sandbox=FakeSandbox())
    secrets = env.secrets(env.find("two"))
    assert secrets[0] == SUM
    assert "0 27182818" in secrets
    assert "1 2" not in secrets
    assert env.secrets(LiveCodeBench(source, tests="public", sandbox=FakeSandbox()).find("one")) == []


def test_secrets_are_bounded(tmp_path: Path) -> None:
    tests = [{"input": "x" * 20_000 + f"{n}\n", "output": f"{n:0200}\n", "testtype": "stdin"} for n in range(300)]
    path = write(tmp_path / "rows.jsonl", row(private_test_cases=json.dumps(tests)))
    env = LiveCodeBench(path, sandbox=FakeSandbox())
    assert sum(map(len, env.secrets(env.find("sum")))) < 10_000


def test_an_unknown_task_is_an_error_that_names_the_nearest(source: Path) -> None:
    with pytest.raises(TaskNotFound, match="did you mean 'three'"):
        LiveCodeBench(source, sandbox=FakeSandbox()).reset(options={"task_id": "threee"})


def test_attempts_of_a_group_share_tasks_and_sandbox_and_learn_of_a_peer(source: Path) -> None:
    envs = LiveCodeBenchGroup(num_envs=3, group_size=3, source=source, sandbox=wall())
    assert isinstance(envs, GroupEnv)
    envs.reset(options={"task_id": "two"})
    _, rewards, *_, infos = envs.step([fenced("print(0)"), fenced(SUM), "no idea"])
    assert rewards.tolist() == [0.0, 1.0, 0.0]
    assert [feedback.peer for feedback in infos["feedback"]] == [fenced(SUM), None, fenced(SUM)]


def test_a_group_reads_the_tests_of_its_problem_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, count = write(tmp_path / "rows.jsonl", *(row(f"q{number}") for number in range(20))), 0
    read = livecodebench.read_cases

    def counting(*args: Any, **settings: Any) -> list[Case]:
        nonlocal count
        count += 1
        return read(*args, **settings)

    monkeypatch.setattr(livecodebench, "read_cases", counting)
    sandbox = FakeSandbox([Run(0)] * len(HIDDEN))
    envs = LiveCodeBenchGroup(num_envs=40, group_size=2, source=source, tests="hidden", sandbox=sandbox)
    envs.reset(options={"task_id": [f"q{number}" for number in range(20)]})
    envs.step([fenced(SUM)] * 40)
    assert count == 20


def test_gymnasium_makes_it_by_name(source: Path) -> None:
    env = gymnasium.make("sdpo/LiveCodeBench-v0", source=source, sandbox=FakeSandbox())
    observation, info = env.reset(seed=0)
    assert observation.startswith("You are a coding expert.")
    assert info["task_id"] in ("one", "two", "three")


# The bundled problems.


@pytest.mark.timeout(240)
def test_the_environment_keeps_the_contract() -> None:
    wall()
    assert check_env("sdpo/LiveCodeBench-v0") == []


@pytest.mark.timeout(180)
def test_every_bundled_solution_passes_all_tests() -> None:
    env = LiveCodeBench(tests="all", sandbox=wall())
    with ThreadPoolExecutor(2) as threads:
        verdicts = list(threads.map(lambda task: env.judge(task, str(env.oracle(task))), env.tasks))
    failures = {task.id: explain(v).text for task, v in zip(env.tasks, verdicts, strict=True) if not v.passed}
    assert not failures


@pytest.mark.timeout(180)
def test_every_bundled_mistake_ends_as_it_should() -> None:
    patient = LiveCodeBench(tests="all", sandbox=wall())
    hasty = LiveCodeBench(tests="all", sandbox=wall(), time_limit_seconds=1.0)
    path = bundled("tasks", "livecodebench", "wrong_solutions.jsonl")
    mistakes = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]

    def outcome(mistake: dict[str, str]) -> str:
        env = hasty if mistake["outcome"] == "timed_out" else patient
        action = mistake["code"] if mistake["outcome"] == "malformed" else fenced(mistake["code"])
        return env.judge(env.find(mistake["question_id"]), action).outcome.value

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(outcome, mistakes))
    surprises = [(row, found) for row, found in zip(mistakes, outcomes, strict=True) if found != row["outcome"]]
    assert mistakes
    assert not surprises


# The real rows.


def rows_of(name: str) -> Iterable[dict[str, Any]]:
    path = DATA / name
    with gzip.open(path, "rt", encoding="utf-8") if name.endswith(".gz") else path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


INTERACTIVE = ("abc337_e", "abc355_e")
"""No fixed input tests these two; the second has no public test either."""


@needs_data
def test_every_real_row_loads_with_its_public_tests() -> None:
    first = load_problems(DATA / "lcb_release_v1_public.jsonl", tests="public")
    every = load_problems(DATA / "lcb_release_v6_questions.jsonl.gz", tests="public", exclude=["abc355_e"])
    sdpo = load_problems(DATA / "lcb_v6_sdpo131.jsonl", tests="public")
    assert [len(tasks) for tasks in (first, every, sdpo)] == [400, 1054, 131]
    for task in every:
        paper = exam(task.answer)
        assert paper.cases
        assert (paper.function is None) == (task.meta["platform"] != "leetcode")
        assert bool(paper.parameters) == (paper.function is not None)


@needs_data
def test_the_paper_s_window_of_release_v6_holds_its_131_questions() -> None:
    questions = DATA / "lcb_release_v6_questions.jsonl.gz"
    assert ids(questions, tests="public", window="sdpo-v6") == ids(DATA / "lcb_v6_sdpo131.jsonl", tests="public")
    with pytest.raises(RecordError, match=r"131 of 131 records have no tests .*tests='public'"):
        load_problems(questions, window="sdpo-v6")
    with pytest.raises(RecordError, match=r"1 of 1055 records .*\(abc355_e"):
        load_problems(questions, tests="public")


@needs_data
def test_a_whole_real_record_is_read_and_judges() -> None:
    env = LiveCodeBench(DATA / "lcb_full_record_1873_A.jsonl", tests="all", sandbox=wall())
    code = "for _ in range(int(input())):\n    word = input()\n    print('NO' if word in ('bca', 'cab') else 'YES')"
    assert len(exam(env.tasks[0].answer).cases) == 5
    assert play(env, fenced(code), "1873_A")[0] == 1.0
    reward, verdict, _ = play(env, fenced(code.replace("'cab'", "'acb'")), "1873_A")
    assert (reward, verdict.outcome) == (0.0, Outcome.WRONG)


KNOWN = {
    "1873_A": "for _ in range(int(input())):\n    print('NO' if input() in ('bca', 'cab') else 'YES')",
    "2727": "class Solution:\n    def countSeniors(self, details): return sum(d[11:13] > '60' for d in details)",
    "abc301_a": "n, s = int(input()), input()\nt, a = s.count('T'), s.count('A')\n"
    "print('T' if t > a or (t == a and s[-1] == 'A') else 'A')",
}


@needs_data
@pytest.mark.parametrize(("position", "question_id"), list(enumerate(KNOWN)))
def test_programs_of_ours_pass_every_real_hidden_test(tmp_path: Path, position: int, question_id: str) -> None:
    packed = list(rows_of("sandboxfusion_lcb_v1_3.jsonl"))[position]["test"]
    pickled = zlib.decompress(base64.b64decode(packed))
    texts = [str(text) for opcode, text, _ in pickletools.genops(pickled) if "UNICODE" in opcode.name]
    tests = json.loads(texts[1])
    kind = "functional" if tests["fn_name"] else "stdin"
    hidden = [
        {"input": given, "output": expected, "testtype": kind}
        for given, expected in zip(tests["inputs"], tests["outputs"], strict=True)
    ]
    (real,) = (each for each in rows_of("lcb_release_v1_public.jsonl") if each["question_id"] == question_id)
    path = write(tmp_path / "rows.jsonl", real | {"private_test_cases": pack(hidden)})
    assert play(LiveCodeBench(path, sandbox=wall()), fenced(KNOWN[question_id]), question_id)[0] == 1.0


@needs_data
@pytest.mark.timeout(240)
def test_programs_that_livecodebench_graded_right_pass_the_public_tests() -> None:
    tasks = load_problems(DATA / "lcb_release_v6_questions.jsonl.gz", tests="public", exclude=INTERACTIVE)
    by_id = {task.id: task for task in tasks}
    programs = [each for each in rows_of("solutions/qwen2.5-7b_codegen.jsonl.gz") if each["graded"]]

    grade = functools.partial(judge_code, sandbox=wall(), seconds=6.0, memory_mb=1024)

    def judge(program: dict[str, Any]) -> Verdict:
        task = by_id[program["question_id"]]
        return judge_problem(task, program["output"], grade=grade)

    with ThreadPoolExecutor(2) as threads:
        verdicts = list(threads.map(judge, programs))
    failures = {
        program["question_id"]: explain(verdict, reveal=True).text
        for program, verdict in zip(programs, verdicts, strict=True)
        if not verdict.passed
    }
    assert len(programs) == 252
    assert not failures
