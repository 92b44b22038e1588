"""A sandbox for tests: it runs nothing."""

from collections.abc import Callable, Sequence

from sdpo_envs.errors import ContractError
from sdpo_envs.sandbox import Program, Run


class FakeSandbox:
    """Answers from a function and remembers what it was asked.

    To test what happens when the wall breaks, let the function raise `SandboxError`.

    >>> sandbox = FakeSandbox(lambda program: [Run(exit_code=0, stdout="4") for _ in program.inputs])
    >>> sandbox.run(Program({"main.py": "print(2 + 2)"}, ("python", "main.py")))[0].stdout
    '4'

    Attributes:
        programs: The programs that it was given, in order.
    """

    def __init__(self, answer: Callable[[Program], Sequence[Run]]) -> None:
        self.programs: list[Program] = []
        self._answer = answer

    def run(self, program: Program) -> tuple[Run, ...]:
        """Return the answer to `program`.

        Raises:
            ContractError: the answer does not have one run for each input.
        """
        self.programs.append(program)
        runs = tuple(self._answer(program))
        if len(runs) != len(program.inputs):
            raise ContractError(f"The answer has {len(runs)} runs for {len(program.inputs)} inputs; give one for each.")
        return runs

    def run_many(self, programs: Sequence[Program]) -> list[tuple[Run, ...]]:
        """Return the answers to `programs`.

        Raises:
            ContractError: as `run`.
        """
        return [self.run(program) for program in programs]

    def close(self) -> None:
        """Do nothing: there is nothing to end."""
