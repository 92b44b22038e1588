"""A process that judges with somebody else's judge, unchanged: called as its own training or evaluation calls it.

    python peer.py NAME PATH

PATH is a checkout of the judge's repository, of which only the judge is imported: no torch, no ray. It reads one job a
line, as JSON, and answers the share of the tests that passed.
"""

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Grade = Callable[[dict[str, Any]], float]


def sdpo(path: Path) -> Grade:
    """The official SDPO judge: a process for each test, all tests of a submission at once."""
    compute_score = _module("sdpo_code", path / "verl/utils/reward_score/feedback/code.py").compute_score

    def grade(job: dict[str, Any]) -> float:
        kind = "stdin" if job["function"] is None else "functional"
        tests = {"inputs": job["inputs"], "outputs": job["outputs"], "testtype": kind, "fn_name": job["function"] or ""}
        truth = json.dumps({**tests, "time_limit": job["seconds"]})
        answer = f"```python\n{job['code']}\n```"
        result = compute_score(answer, truth, {"split": "train"}, sparse_rewards=True, max_test_cases=None)
        return float(result["acc"])

    return grade


def livecodebench(path: Path) -> Grade:
    """LiveCodeBench's own judge: a process and a manager for each submission; it stops at the first failure."""
    sys.path.insert(0, str(path))
    check = importlib.import_module("lcb_runner.evaluation.compute_code_generation_metrics").check_correctness

    def grade(job: dict[str, Any]) -> float:
        sample = {"inputs": job["inputs"], "outputs": job["outputs"], "fn_name": job["function"]}
        results, _ = check({"input_output": json.dumps(sample)}, job["code"], timeout=job["seconds"], debug=False)
        return _share(results, len(job["inputs"]))

    return grade


def prime_code(path: Path) -> Grade:
    """The judge of verl, called as for APPS, TACO and Codeforces: a process and a manager for each submission."""
    compute_score = _module("prime_code", path / "verl/utils/reward_score/prime_code/__init__.py").compute_score

    def grade(job: dict[str, Any]) -> float:
        tests = {"inputs": job["inputs"], "outputs": job["outputs"]}
        return float(compute_score(f"```python\n{job['code']}\n```", json.dumps(tests), continuous=True)[0])

    return grade


PEERS = {"sdpo": sdpo, "livecodebench": livecodebench, "prime_code": prime_code}


def _share(results: Sequence[Any], count: int) -> float:
    """Return how many results are true; codes of failure are negative numbers."""
    return sum(bool(result > 0) for result in results) / count


def _module(name: str, path: Path) -> Any:
    """Import one file or package of a larger one without what surrounds it."""
    folders = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        sys.exit(f"{path} cannot be imported; give the checkout of the repository that holds it.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Answer jobs until there are no more. What the judge itself prints is dropped."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    grade = PEERS[sys.argv[1]](Path(sys.argv[2]))
    print("ready", file=answers)
    for line in sys.stdin:
        print(grade(json.loads(line)), file=answers)


if __name__ == "__main__":
    main()
