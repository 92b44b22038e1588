"""Runs a program on its tests: all in one process, and then alone what failed there; or each alone from the start.

A run that has company may fail because of what others left behind. It cannot be right because of that: its output has
to be right. So a success counts at once, and a failure decides, or is told, once it has stood alone. (A run that timed
out had all the time that is its own.) Other failures are only counted, and stand as long as those that were run again
did again what they had done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sdpo_envs.core import Outcome
from sdpo_envs.errors import SettingError, choose
from sdpo_envs.sandbox import Program, Run, Sandbox

STOPS = ("failure", "timeout", "never")
"""After what the tests that are left are not run: the first that failed, the first time-out, or nothing."""

Telling = Callable[[Sequence["Trial"]], Sequence["Trial"]]
"""Chooses, of what is known of all tests, the trials that the feedback will tell of."""

Grade = Callable[[int, Run], tuple[Outcome, str]]
"""Tells how a run on the test at that place ended, and why, where there is more to say about that."""

_SKIPPED = Run(-1, skipped=True)


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a program on one test.

    Attributes:
        place: The test's, from 0 on.
        run: What the program did.
        outcome: How that ended.
        reason: Why, where there is more to say about it.
        final: It is not to be run again.
    """

    place: int
    run: Run
    outcome: Outcome
    reason: str = ""
    final: bool = True

    @property
    def failed(self) -> bool:
        """Whether it was run, and not passed."""
        return self.outcome not in (Outcome.PASSED, Outcome.NOT_RUN)


def stopping(stop: str | None, fraction: bool) -> str:
    """Return one of `STOPS`: `stop`, or where that is None ``"never"`` with `fraction`, and else ``"timeout"``.

    Raises:
        SettingError: `stop` is not offered, or not with `fraction`.
    """
    if stop is None:
        return "never" if fraction else "timeout"
    if choose("stop", stop, STOPS) != "never" and fraction:
        raise SettingError(f"stop={stop!r} leaves tests out, but the fraction of tests passed needs all; use 'never'.")
    return stop


@dataclass(slots=True)
class Sitting:
    """A program before its tests.

    Attributes:
        program: It, with the inputs of all tests. Its `total_seconds` hold for all runs of the sitting together.
        grade: Decides about each run.
        sandbox: Where it runs.
        stop: One of `STOPS`.
        trials: What is known so far, by the test's place.
    """

    program: Program
    grade: Grade
    sandbox: Sandbox
    stop: str
    trials: dict[int, Trial] = field(default_factory=dict)
    _spent: float = 0.0
    _repeats: int = 0

    def together(self) -> None:
        """Run all tests in one process.

        Raises:
            SandboxError: the wall broke.
        """
        self._run(range(len(self.program.inputs)), isolated=False)

    def alone(self, telling: Telling | None) -> None:
        """Run each test that has not been run, or failed in company, in a process of its own; give up the rest.

        With `telling`, of what failed in company only what it chooses is run again, while that makes no difference.

        Raises:
            SandboxError: the wall broke.
        """
        if self.stop == "failure":
            for place in self._doubtful():
                if any(trial.failed and trial.final and trial.place < place for trial in self.trials.values()):
                    break
                self._run([place], isolated=True)
        elif not self.trials:
            self._run(range(len(self.program.inputs)), isolated=True)
        self._give_up()
        while self.stop != "failure" and (doubtful := self._doubtful()):
            told = telling([self.trials[place] for place in sorted(self.trials)]) if telling else ()
            places = [trial.place for trial in told if not trial.final] if telling else doubtful
            if not places:
                break
            before = dict(self.trials)
            self._run(places, isolated=True)
            if any(self.trials[place].run != before[place].run for place in places):
                telling = None
            self._give_up()

    def _doubtful(self) -> list[int]:
        known = (self.trials.get(place) for place in range(len(self.program.inputs)))
        settled = [trial and (trial.final or trial.outcome is Outcome.PASSED) for trial in known]
        return [place for place, done in enumerate(settled) if not done]

    def _run(self, places: Sequence[int], isolated: bool) -> None:
        total = self.program.total_seconds
        left = None if total is None else total - self._spent
        inputs = tuple(self.program.inputs[place] for place in places)
        program = replace(self.program, inputs=inputs, isolated=isolated, total_seconds=left)
        self._repeats += bool(self.trials)
        never = self.stop == "never"
        # Each alone, up to one that hangs alone as well; then the rest beside one another, and that is that.
        program = replace(program, timeouts=None if never and self._repeats != 1 else 1)
        runs = self.sandbox.run(program) if left is None or left > 0 else (_SKIPPED,) * len(places)
        self._spent += _wall_clock(runs)
        for place, run in zip(places, runs, strict=True):
            waiting = run.skipped and never and self._repeats == 1
            final = run.timed_out or (run.alone and not waiting) or (never and self._repeats > 1)
            self.trials[place] = Trial(place, run, *self.grade(place, run), final=final)

    def _give_up(self) -> None:
        """Make the tests that come after the stop those that were not run, whatever is known of them."""
        over = False
        for place in range(len(self.program.inputs)):
            if over:
                self.trials[place] = Trial(place, _SKIPPED, Outcome.NOT_RUN)
            trial = self.trials[place]
            over |= self.stop == "failure" and trial.failed
            over |= self.stop == "timeout" and trial.outcome is Outcome.TIMED_OUT


def _wall_clock(runs: Sequence[Run]) -> float:
    """Return the seconds that `runs` took: one after the other, but side by side after the first that timed out."""
    first = next((count for count, run in enumerate(runs, start=1) if run.timed_out), len(runs))
    return sum(run.seconds for run in runs[:first]) + max((run.seconds for run in runs[first:]), default=0.0)
