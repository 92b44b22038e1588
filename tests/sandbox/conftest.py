"""One local sandbox for all tests of this folder, and a short way to run one source text in it."""

from collections.abc import Iterator

import pytest
from wall import Execute, namespaces_missing

from sdpo_envs.sandbox import Program, Run
from sdpo_envs.sandbox.local import LocalSandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[LocalSandbox]:
    if reason := namespaces_missing():
        pytest.skip(f"The local wall is not tested: this machine refuses namespaces ({reason}).")
    with LocalSandbox(workers=1) as sandbox:
        yield sandbox


@pytest.fixture
def fresh(sandbox: LocalSandbox) -> Iterator[LocalSandbox]:
    """A sandbox of one worker that a test may break; it starts without processes."""
    with LocalSandbox(workers=1) as fresh:
        yield fresh


@pytest.fixture
def execute(sandbox: LocalSandbox) -> Execute:
    """Run one source text on one input, within small limits."""

    def execute(source: str, stdin: str = "", seconds: float = 5.0, **limits: int) -> Run:
        program = Program({"main.py": source}, ("python", "main.py"), (stdin,), seconds, **limits)
        return sandbox.run(program)[0]

    return execute
