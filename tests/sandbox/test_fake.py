"""The fake sandbox: canned answers, and a memory."""

import pytest

from sdpo_envs.errors import ContractError, SandboxError
from sdpo_envs.sandbox import Program, Run, Sandbox, open_sandbox
from sdpo_envs.sandbox.fake import FakeSandbox

PROGRAM = Program({"main.py": "print(input())"}, ("python", "main.py"), ("a", "b"))


def echo(program: Program) -> list[Run]:
    return [Run(exit_code=0, stdout=stdin) for stdin in program.inputs]


def broken(program: Program) -> list[Run]:
    raise SandboxError("no disk")


def test_it_is_a_sandbox_and_can_be_handed_to_an_environment() -> None:
    sandbox = FakeSandbox(echo)
    assert isinstance(sandbox, Sandbox)
    assert open_sandbox(sandbox) is sandbox


def test_it_answers_from_its_function_and_remembers_the_programs() -> None:
    sandbox = FakeSandbox(echo)
    assert [run.stdout for run in sandbox.run(PROGRAM)] == ["a", "b"]
    assert len(sandbox.run_many([PROGRAM, PROGRAM])) == 2
    assert sandbox.programs == [PROGRAM] * 3
    sandbox.close()


def test_it_can_break() -> None:
    sandbox = FakeSandbox(broken)
    with pytest.raises(SandboxError, match="no disk"):
        sandbox.run(PROGRAM)
    assert sandbox.programs == [PROGRAM]


def test_an_answer_with_too_few_runs_is_refused() -> None:
    with pytest.raises(ContractError, match="1 runs for 2 inputs"):
        FakeSandbox(lambda program: [Run(exit_code=0)]).run(PROGRAM)
