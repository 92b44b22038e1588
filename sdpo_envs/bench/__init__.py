"""The benchmark: evaluate a policy, compare runs, and show what is known with its interval. Start reading here.

`evaluate` (`play`) has any policy at all attempt a suite of environments; its numbers are in `scores`. `compare` reads
what runs have recorded, whatever loop made them: how one run learned is in `learning`, what an algorithm reached over
its seeds, and how that stands beside a baseline, in `standing`. The resampling behind every interval is in
`intervals`, and `report` shows it all, with `page`, `figure`, `chart` and `cell`. From a shell::

    sdpo report runs/ --baseline grpo --out report

A generation is one attempt of training; evaluations are not counted.
"""

from sdpo_envs.bench.compare import LEVELS, Comparison, compare
from sdpo_envs.bench.play import SUITES, Generate, Message, Reply, Suite, evaluate
from sdpo_envs.bench.report import save, show
from sdpo_envs.bench.scores import Score, Scores

__all__ = [
    "LEVELS",
    "SUITES",
    "Comparison",
    "Generate",
    "Message",
    "Reply",
    "Score",
    "Scores",
    "Suite",
    "compare",
    "evaluate",
    "save",
    "show",
]
