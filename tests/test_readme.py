"""What the README shows is what happens."""

import doctest
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest
from sums import wall

import sdpo_envs
from sdpo_envs.codejudge import Case, Exam, judge_code

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no {language} block"
    return found


def what_differs(text: str) -> str:
    """Run the lines of a page that stand after >>> and tell where what they print is not what stands there."""
    session = "\n".join(re.findall(r"^```pycon\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    test = doctest.DocTestParser().get_doctest(session, {}, "page", "page", 0)
    told: list[str] = []
    doctest.DocTestRunner().run(test, out=told.append)
    return "".join(told)


def test_the_notebook_lines_print_what_stands_there() -> None:
    assert not what_differs(README)


def test_the_environment_of_your_own_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = blocks("python")
    (tmp_path / "readme_sum.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("readme_sum")
    try:
        left_out = sdpo_envs.check_env("my/Sum-v0")
        assert all(re.search("oracle|secrets|JSON", reason) for reason in left_out), left_out
        envs = gymnasium.make_vec("my/Sum-v0", num_envs=4, group_size=2)
        envs.reset(seed=0)
        assert len(envs.step(["1", "2", "3", "x"])[1]) == 4
    finally:
        del gymnasium.registry["my/Sum-v0"]


def test_an_environment_of_your_own_takes_fifteen_lines() -> None:
    (source,) = blocks("python")
    code = [line for line in source.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(code) <= 15


COMMANDS = [
    line
    for block in blocks("console")
    for line in block.splitlines()
    if re.match("sdpo (train|probe|discover|bench) ", line)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(command: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "sdpo_envs.cli", *shlex.split(command)[1:]]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    wrote = {
        "bench": "bench/report/report.html",
        "discover": "discover/discovery.png",
        "probe": "probe/probe.png",
        "train": "tools/metrics.jsonl",
    }
    assert (tmp_path / "runs" / wrote[arguments[3]]).exists()


DOCS = sorted((Path(__file__).parents[1] / "docs").rglob("*.md"))
TRAINED = {
    (page.stem, line)
    for page in DOCS
    for line in re.findall(
        r"^(?:accelerate launch .* -m sdpo_agent|sdpo) ((?:train|discover|probe|bench|warm-start) .*)$",
        page.read_text("utf-8").replace("\\\n", " "),
        re.M,
    )
    if "--help" not in line
}


@pytest.mark.parametrize(("page", "line"), sorted(TRAINED))
def test_the_commands_of_the_docs_are_understood(page: str, line: str) -> None:
    from sdpo_agent.__main__ import parse

    parse(shlex.split(line))


ALGORITHMS = (Path(__file__).parents[1] / "docs" / "algorithms.md").read_text("utf-8")


def test_the_page_about_algorithms_names_every_preset_and_their_pages_show_a_command() -> None:
    from sdpo_agent.presets import PRESETS

    rows = [row.split(" | ") for row in re.findall(r"^\| (.*) \|$", ALGORITHMS, re.MULTILINE)][1:]
    assert {name for *_, presets, _ in rows for name in re.findall(r"`([\w-]+)`", presets)} == set(PRESETS)
    pages = {page for *_, link in rows for page in re.findall(r"\((\S+)\.md\)", link)}
    assert pages <= {page for page, _ in TRAINED}


def test_the_map_names_every_folder_that_is_there() -> None:
    (tree,) = re.findall(r"^## Where things are\n\n```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for line in tree.splitlines():
        assert (Path(__file__).parents[1] / line.split()[0]).is_dir(), line


SNIPPETS = [snippet for page in DOCS for snippet in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_what_the_docs_show_runs(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})


JUDGING = (Path(__file__).parents[1] / "docs" / "judging.md").read_text(encoding="utf-8")
DOUBLE = Exam(tuple(Case(f"{number}\n", f"{2 * number}\n", public=True) for number in (1, 2, 3)))
JUDGED = re.findall(r"^```py\n(.*?)^```\n```text\n(.*?)^```", JUDGING, re.MULTILINE | re.DOTALL)


def test_the_lines_about_judging_print_what_stands_there() -> None:
    wall()
    assert not what_differs(JUDGING)


@pytest.mark.parametrize(("code", "words"), JUDGED, ids=[words.partition(":")[0] for _, words in JUDGED])
def test_a_program_is_told_what_the_page_about_judging_says(code: str, words: str) -> None:
    verdict = judge_code(code, DOUBLE, wall(), seconds=1.0, memory_mb=64)
    assert sdpo_envs.explain(verdict).text == words.rstrip("\n")


def test_the_page_about_judging_shows_each_way_to_fail() -> None:
    assert len(JUDGED) == JUDGING.count("```py\n") >= 8


def test_the_page_about_security_names_attacks_and_tests_that_there_are() -> None:
    page = (Path(__file__).parents[1] / "docs" / "security.md").read_text(encoding="utf-8")
    tests = Path(__file__).parent
    attacks = {path.stem for path in (tests / "sandboxes" / "attacks").glob("*.py")}
    (count,) = re.findall(r"\*\*more than (\d+) attacks\*\*", page)
    assert int(count) < len(attacks) < int(count) + 30
    sources = "".join(path.read_text(encoding="utf-8") for path in tests.rglob("test_*.py"))
    named = re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+)+)`", page.replace("`total_seconds`", ""))
    assert [name for name in named if name not in attacks and f"def {name}(" not in sources] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.stem)
def test_the_docs_lead_somewhere(page: Path) -> None:
    for target, _, heading in re.findall(r"\]\(([^)#]*)(#([^)]*))?\)", page.read_text()):
        made = target.rpartition("/")[2] in ("index.md", "gallery.md", "changelog.md")  # by docs/pages.py
        assert made or target.startswith("http") or (page.parent / target).exists()
        assert not heading or heading in headings(page.parent / target if target else page), heading


def headings(page: Path) -> set[str]:
    """The names by which the headings of a page are linked to."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in found}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(target: str) -> None:
    assert target.startswith("http") or (Path(__file__).parents[1] / target).exists()
