"""What the judges of `judging.py` are given: twenty submissions with ten tests each, and LiveCodeBench's real ones.

Twelve submissions are right, three wrong, three crash, one hangs on every test and one on a single test. They are as
heavy as the public tests of contests are, some milliseconds at most, and use only what every judge offers: one rejects
programs that say ``Exception``, ``getattr`` or ``bytearray``. Expected outputs are what the right programs print.
"""

import contextlib
import gzip
import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdpo_envs.codejudge import Case, Exam
from sdpo_envs.livecodebench import exam, load_problems
from sdpo_envs.parsing import code_block

TESTS = 10


@dataclass(frozen=True)
class Submission:
    """A program, its tests, and which share of them it passes."""

    name: str
    code: str
    exam: Exam
    share: float = 1.0
    hangs: bool = False


@dataclass(frozen=True)
class Problem:
    """A right program, and what makes its inputs from a source of chance and a number that grows."""

    code: str
    draw: Callable[[random.Random, int], str]


@dataclass(frozen=True)
class Mistake:
    """What to replace in the right program of a problem, and how many of its tests the result passes."""

    problem: str
    right: str
    wrong: str
    passes: int
    hangs: bool = False


def _numbers(rng: random.Random, count: int, largest: int) -> str:
    return " ".join(str(rng.randint(1, largest)) for _ in range(count))


def _grid(rng: random.Random, size: int) -> str:
    rows = "\n".join("".join(rng.choice("...#") for _ in range(size)) for _ in range(size))
    return f"{size}\n{rows}\n"


def _edges(rng: random.Random, nodes: int, weight: int) -> str:
    edges = [[rng.randint(1, nodes), rng.randint(1, nodes)] for _ in range(nodes)]
    lines = [" ".join(map(str, [*edge, rng.randint(1, weight)] if weight else edge)) for edge in edges]
    return "\n".join([f"{nodes} {nodes}", *lines]) + "\n"


def _intervals(rng: random.Random, count: int) -> str:
    starts = [rng.randint(0, 20 * count) for _ in range(count)]
    return f"{count}\n" + "".join(f"{start} {start + rng.randint(1, 30)}\n" for start in starts)


def _word(rng: random.Random, length: int, letters: str) -> str:
    return "".join(rng.choice(letters) for _ in range(length))


PROBLEMS = {
    "pairs": Problem(
        """\
from collections import Counter

n, target = map(int, input().split())
seen, pairs = Counter(), 0
for number in map(int, input().split()):
    pairs += seen[target - number]
    seen[number] += 1
print(pairs)
""",
        lambda rng, size: f"{10 * size} 40\n{_numbers(rng, 10 * size, 39)}\n",
    ),
    "sieve": Problem(
        """\
n = int(input())
prime = [True] * (n + 1)
for number in range(2, int(n**0.5) + 1):
    if prime[number]:
        for multiple in range(number * number, n + 1, number):
            prime[multiple] = False
print(sum(prime[2:]))
""",
        lambda rng, size: f"{rng.randint(2, 100 * size)}\n",
    ),
    "brackets": Problem(
        """\
def balanced(text):
    stack = []
    for letter in text:
        if letter in "([{":
            stack.append(letter)
        elif not stack or stack.pop() + letter not in ("()", "[]", "{}"):
            return False
    return not stack


for _ in range(int(input())):
    print("Yes" if balanced(input().strip()) else "No")
""",
        lambda rng, size: "4\n" + "".join(f"{_word(rng, 2, '()')}{'([])' * size}\n" for _ in range(4)),
    ),
    "maze": Problem(
        """\
import sys
from collections import deque

lines = sys.stdin.read().split()
n, rows = int(lines[0]), lines[1:]
steps = {(0, 0): 0}
waiting = deque([(0, 0)])
while waiting:
    y, x = waiting.popleft()
    for there in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
        if there not in steps and 0 <= there[0] < n and 0 <= there[1] < n and rows[there[0]][there[1]] == ".":
            steps[there] = steps[y, x] + 1
            waiting.append(there)
print(steps.get((n - 1, n - 1), -1))
""",
        lambda rng, size: _grid(rng, size + 2),
    ),
    "roads": Problem(
        """\
import heapq
import sys

read = sys.stdin.readline
n, m = map(int, read().split())
roads = [[] for _ in range(n + 1)]
for _ in range(m):
    a, b, length = map(int, read().split())
    roads[a].append((b, length))
    roads[b].append((a, length))
best = [-1] * (n + 1)
queue = [(0, 1)]
while queue:
    distance, town = heapq.heappop(queue)
    if best[town] >= 0:
        continue
    best[town] = distance
    for other, length in roads[town]:
        heapq.heappush(queue, (distance + length, other))
print(*best[1:])
""",
        lambda rng, size: _edges(rng, 5 * size, 50),
    ),
    "rising": Problem(
        """\
from bisect import bisect_left

n = int(input())
ends = []
for number in map(int, input().split()):
    place = bisect_left(ends, number)
    if place == len(ends):
        ends.append(number)
    else:
        ends[place] = number
print(len(ends))
""",
        lambda rng, size: f"{12 * size}\n{_numbers(rng, 12 * size, 30)}\n",
    ),
    "knapsack": Problem(
        """\
n, room = map(int, input().split())
best = [0] * (room + 1)
for _ in range(n):
    weight, value = map(int, input().split())
    for load in range(room, weight - 1, -1):
        best[load] = max(best[load], best[load - weight] + value)
print(best[room])
""",
        lambda rng, size: f"{size} 50\n" + "".join(f"{_numbers(rng, 2, 20)}\n" for _ in range(size)),
    ),
    "edits": Problem(
        """\
first, second = input().strip(), input().strip()
row = list(range(len(second) + 1))
for i, left in enumerate(first, 1):
    above, row = row, [i]
    for j, right in enumerate(second, 1):
        row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (left != right)))
print(row[-1])
""",
        lambda rng, size: f"{_word(rng, 2 * size, 'abc')}\n{_word(rng, 2 * size, 'abc')}\n",
    ),
    "words": Problem(
        """\
from collections import Counter

counts = Counter(input().split())
for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
    print(word, count)
""",
        lambda rng, size: " ".join(_word(rng, 2, "abcd") for _ in range(10 * size)) + "\n",
    ),
    "fibonacci": Problem(
        """\
MODULUS = 998244353


def product(a, b):
    return [[sum(a[i][k] * b[k][j] for k in range(2)) % MODULUS for j in range(2)] for i in range(2)]


n = int(input())
result, power = [[1, 0], [0, 1]], [[1, 1], [1, 0]]
while n:
    if n % 2:
        result = product(result, power)
    power = product(power, power)
    n //= 2
print(result[0][1])
""",
        lambda rng, size: f"{rng.randint(1, 100**size)}\n",
    ),
    "intervals": Problem(
        """\
n = int(input())
merged = []
for start, end in sorted(tuple(map(int, input().split())) for _ in range(n)):
    if merged and start <= merged[-1][1]:
        merged[-1][1] = max(merged[-1][1], end)
    else:
        merged.append([start, end])
print(len(merged), sum(end - start for start, end in merged))
""",
        lambda rng, size: _intervals(rng, 4 * size),
    ),
    "islands": Problem(
        """\
class Islands:
    def __init__(self, size):
        self.parent = list(range(size))

    def find(self, node):
        while self.parent[node] != node:
            self.parent[node] = self.parent[self.parent[node]]
            node = self.parent[node]
        return node


n, m = map(int, input().split())
islands = Islands(n)
for _ in range(m):
    a, b = map(int, input().split())
    islands.parent[islands.find(a - 1)] = islands.find(b - 1)
print(len({islands.find(node) for node in range(n)}))
""",
        lambda rng, size: _edges(rng, 8 * size, 0),
    ),
}
"""Twelve, with a right program each."""

MISTAKES = (
    Mistake("rising", "bisect_left(ends, number)", "bisect_left(ends, number + 1)", passes=2),
    Mistake("edits", "(left != right)", "2 * (left != right)", passes=1),
    Mistake("pairs", "target - number", "number - target", passes=0),
    Mistake("maze", "rows = int(lines[0]), lines[1:]", "rows = int(lines[0]), lines[2:]", passes=1),
    Mistake("sieve", "print(", "assert n % 2, n\nprint(", passes=6),
    Mistake("words", "counts = ", "first = int(input())\ncounts = ", passes=0),
    Mistake("knapsack", "range(room, weight - 1, -1):", "iter(int, 1):", passes=0, hangs=True),
    Mistake("intervals", "merged = []", "merged = []\nwhile n == 24:\n    pass", passes=9, hangs=True),
)
"""Three wrong, three that crash, and two too slow."""


def submissions() -> tuple[Submission, ...]:
    """Return the twenty submissions, the right ones first."""
    rng = random.Random(3)
    exams = {}
    for name, problem in PROBLEMS.items():
        inputs = [problem.draw(rng, size) for size in range(1, TESTS + 1)]
        exams[name] = Exam(tuple(Case(text, _printed(problem.code, text)) for text in inputs))
    right = [Submission(name, problem.code, exams[name]) for name, problem in PROBLEMS.items()]
    return (*right, *(_mistaken(mistake, exams[mistake.problem]) for mistake in MISTAKES))


def _mistaken(mistake: Mistake, tests: Exam) -> Submission:
    code = PROBLEMS[mistake.problem].code.replace(mistake.right, mistake.wrong)
    name = f"{mistake.problem}, {'too slow' if mistake.hangs else 'mistaken'}"
    return Submission(name, code, tests, mistake.passes / TESTS, mistake.hangs)


def _printed(code: str, stdin: str) -> str:
    kept, output = sys.stdin, io.StringIO()
    sys.stdin = io.StringIO(stdin)
    try:
        with contextlib.redirect_stdout(output):
            exec(compile(code, "main.py", "exec"), {"__name__": "__main__"})
    finally:
        sys.stdin = kept
    return output.getvalue()


def real_submissions(data: Path, most: int) -> tuple[list[Submission], list[Submission]]:
    """Return programs that LiveCodeBench graded right, whole ones and functions, at most so many of each.

    Args:
        data: A folder with ``lcb_release_v6_questions.jsonl.gz``, whose tests are the public ones, and
            ``solutions/qwen2.5-7b_codegen.jsonl.gz``.
        most: How many of each kind; they are taken at even distances.
    """
    interactive = ("abc337_e", "abc355_e")  # no fixed input tests these
    problems = load_problems(data / "lcb_release_v6_questions.jsonl.gz", tests="public", exclude=interactive)
    tasks = {task.id: task for task in problems}
    kinds: tuple[list[Submission], list[Submission]] = [], []
    for row in _rows(data / "solutions" / "qwen2.5-7b_codegen.jsonl.gz"):
        if row["graded"]:
            tests = exam(tasks[row["question_id"]].answer)
            submission = Submission(row["question_id"], code_block(row["output"]) or "", tests)
            kinds[tests.function is not None].append(submission)
    whole, functions = ([kind[place * len(kind) // most] for place in range(most)] for kind in kinds)
    return whole, functions


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def dataset_row(submission: Submission) -> dict[str, str]:
    """Return a problem, with its tests as the hidden ones, in the form of LiveCodeBench's data set."""
    tests = [{"input": case.input, "output": case.output, "testtype": "stdin"} for case in submission.exam.cases]
    return {
        "question_title": submission.name,
        "question_content": "Print what is right.",
        "platform": "atcoder",
        "question_id": submission.name,
        "contest_date": "2025-02-15T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": "[]",
        "private_test_cases": json.dumps(tests),
        "metadata": "{}",
    }
