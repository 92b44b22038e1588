"""The house rules, as far as a program can read them: who may import whom, and what no file may do."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sdpo_envs

ROOT = Path(__file__).parents[1]
PACKAGES = ("sdpo_envs", "sdpo_agent")

# A module may import what stands above it here, and its own row, except where one row says otherwise.
ROWS = (
    ("core", "errors"),
    ("files",),
    ("parsing", "feedback", "html", "tasks", "sandbox", "apidoc"),
    ("comparison", "lexicon", "oneliner", "pythoncode", "trials", "codejudge", "testcases", "retrieval"),
    ("textworker", "textengine", "alfredgame", "household"),
    ("exactmatch", "passages", "shop", "shopreward", "storefront"),
    ("endpoint", "rubric", "verdictcache", "llmjudge"),
    ("spaces", "env", "turns", "vector", "wrappers"),
)
FAMILIES = (
    "alfworld",
    "livecodebench",
    "microcode",
    "microhouse",
    "microtool",
    "sciknoweval",
    "searchqa",
    "tooluse",
    "webshop",
)
"""They import everything above, and never one another."""
APART = {
    "adapters": {
        *("core", "env", "errors", "feedback", "parsing", "record", "sandbox", "spaces", "tasks", "turns", "vector"),
    },
    "registry": set[str](),
    "agreement": {"core", "env", "errors"},
    "check": {"core", "errors", "env"},
    "record": {"core", "errors", "env", "html", "tasks", "vector"},
    "viewer": {"core", "env", "errors", "feedback", "html", "record", "tasks"},
    "bench": {"cli", "env", "errors", "record"},
    "cli": {
        "adapters",
        "agreement",
        "bench",
        "check",
        "core",
        "env",
        "errors",
        "feedback",
        "files",
        "llmjudge",
        "record",
        "registry",
        "rubric",
        "sandbox",
        "turns",
        "viewer",
        "wrappers",
    },
}
"""What stands beside the rows, and what of them it may import. Families are reached by `gymnasium.make`."""
LIBRARIES = {"gymnasium", "numpy"}
WITH_LIBRARIES = {"lexicon", "retrieval", *ROWS[-1], *FAMILIES, *APART}
"""What may import `LIBRARIES`; all else keeps to the standard library. Extras are imported by `errors.require`."""
OWN_LIBRARIES = {
    "adapters": {
        *("datasets", "fastapi", "httpx", "openai", "openenv", "pydantic", "reasoning_gym", "torch", "transformers"),
        *("starlette", "trl", "uvicorn", "verifiers", "verl", "websockets"),
    },
    "cli": {"packaging", "rich", "tyro"},
}
"""What a place imports that nobody imports unless they have these."""

FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "handler"}
FORBIDDEN_CALLS = {
    "logging.basicConfig",
    "np.random.seed",
    "numpy.random.seed",
    "random.seed",
    "random.setstate",
    "torch.manual_seed",
    "torch.set_default_dtype",
    "torch.set_num_threads",
    "warnings.filterwarnings",
    "warnings.simplefilter",
}
"""What changes the whole process. (Inside `warnings.catch_warnings` it does not.)"""


def _python(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


each_product_file = pytest.mark.parametrize("path", _python(*PACKAGES), ids=_name)
each_product_or_wall_file = pytest.mark.parametrize("path", _python(*PACKAGES, "sandboxes"), ids=_name)
each_module = pytest.mark.parametrize(
    "path", [path for path in _python("sdpo_envs") if path != ROOT / "sdpo_envs/__init__.py"], ids=_name
)
each_agent_file = pytest.mark.parametrize("path", _python("sdpo_agent"), ids=_name)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every import of a file, also inside functions: the module, and the name taken from it or ``""``."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            yield from ((node.module or "", alias.name) for alias in node.names)


def _place(path: Path) -> str:
    """The module's name in the table: a package stands for all of its files."""
    return path.relative_to(ROOT / "sdpo_envs").with_suffix("").parts[0]


def _allowed(place: str) -> set[str]:
    if place in APART:
        return APART[place]
    if place in FAMILIES:
        return {name for row in ROWS for name in row}
    row = next(number for number, row in enumerate(ROWS) if place in row)
    shown = {"html"} if place == "core" else set()  # how a noun looks is imported when a notebook asks
    return {name for above in ROWS[: row + 1] for name in above} | shown


def test_every_module_has_its_place_and_every_place_its_module() -> None:
    modules = {_place(path) for path in _python("sdpo_envs")} - {"__init__"}
    assert modules == {*(name for row in ROWS for name in row), *FAMILIES, *APART}


@each_module
def test_a_module_imports_only_what_its_place_allows(path: Path) -> None:
    ours = {module.split(".")[1] for module, _ in _imports(path) if module.startswith("sdpo_envs.")}
    assert ours <= _allowed(_place(path)) | {_place(path)}
    assert "sdpo_envs" not in {module for module, _ in _imports(path)}, "a module imports the module it needs"


@each_module
def test_a_module_imports_only_the_libraries_of_its_place(path: Path) -> None:
    libraries = {module.split(".")[0] for module, _ in _imports(path)} - sys.stdlib_module_names - {"sdpo_envs"}
    place = _place(path)
    assert libraries <= (LIBRARIES if place in WITH_LIBRARIES else set()) | OWN_LIBRARIES.get(place, set())


@each_agent_file
def test_the_agent_imports_only_public_names_of_the_environments(path: Path) -> None:
    taken = [(module, name) for module, name in _imports(path) if module.split(".")[0] == "sdpo_envs"]
    public = {"sdpo_envs", *(f"sdpo_envs.{name}" for name in ("bench", "cli", "endpoint", "errors", "html"))}
    assert {module for module, _ in taken} <= public
    assert {name for module, name in taken if module == "sdpo_envs"} <= set(sdpo_envs.__all__)


@each_agent_file
def test_a_library_is_known_where_it_belongs(path: Path) -> None:
    homes = {
        "accelerate": {"processes.py", "trackers.py"},
        "openai": {"server.py"},
        "tokenizers": {"small.py"},
        "transformers": {"cache.py", "policy.py", "small.py"},
        "tyro": {"__main__.py", "evaluation.py"},
    }
    known = {module.split(".")[0] for module, _ in _imports(path)}
    assert {library for library in known & set(homes) if path.name not in homes[library]} == set()


@pytest.mark.parametrize("path", _python("sandboxes"), ids=_name)
def test_a_program_inside_the_wall_needs_only_the_standard_library_and_its_neighbours(path: Path) -> None:
    neighbours = {neighbour.stem for neighbour in path.parent.glob("*.py")}
    libraries = {module.split(".")[0] for module, _ in _imports(path)} - sys.stdlib_module_names - neighbours
    assert libraries <= {"numpy"}


@each_product_file
def test_nothing_catches_everything(path: Path) -> None:
    """An ``except`` of everything is allowed where it always raises again, to clean up."""
    broad = {"Exception", "BaseException"}
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ExceptHandler):
            caught = {each.id for each in ast.walk(node.type) if isinstance(each, ast.Name)} if node.type else broad
            again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            assert again or not caught & broad, f"line {node.lineno} catches everything"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            assert not broad & {ast.unparse(each) for each in node.args}, f"line {node.lineno} suppresses everything"


@each_product_or_wall_file
def test_no_function_is_longer_than_60_lines(path: Path) -> None:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is too long"


@each_product_or_wall_file
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@each_product_file
def test_importing_defines_and_does_nothing_else(path: Path) -> None:
    for node in _tree(path).body:
        if ast.unparse(node) == "_register()":
            assert _name(path) == "sdpo_envs/__init__.py"
        elif isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), f"line {node.lineno} does something when it is imported"
        elif isinstance(node, ast.Assign):
            changed = [each for each in node.targets if isinstance(each, ast.Attribute | ast.Subscript)]
            assert not changed, f"line {node.lineno} changes something when it is imported"
        elif isinstance(node, ast.If):
            assert ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"), f"line {node.lineno}"
        else:
            assert not isinstance(node, ast.For | ast.While | ast.With | ast.Assert), f"line {node.lineno}"


@each_product_file
def test_nothing_changes_the_whole_process(path: Path) -> None:
    tree = _tree(path)
    guarded = {
        id(call)
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and "catch_warnings" in ast.unparse(block.items[0])
        for call in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and id(node) not in guarded:
            assert ast.unparse(node.func) not in FORBIDDEN_CALLS, f"line {node.lineno}: {ast.unparse(node)}"


@each_product_file
def test_randomness_is_passed_and_never_global(path: Path) -> None:
    if "random" not in {module for module, _ in _imports(path)}:
        return
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            assert node.attr in ("Random", "SystemRandom"), f"line {node.lineno} draws from the global generator"


@each_product_file
def test_numpys_global_generator_is_left_alone(path: Path) -> None:
    passed = {"BitGenerator", "Generator", "PCG64", "RandomState", "SeedSequence", "default_rng"}
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
            assert node.attr in passed, f"line {node.lineno} draws from the global generator"


@each_product_file
def test_nothing_takes_keywords_only_to_lose_them(path: Path) -> None:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.kwarg and not _inherited(node.name):
            used = {each.id for statement in node.body for each in ast.walk(statement) if isinstance(each, ast.Name)}
            assert node.args.kwarg.arg in used, f"{node.name} swallows unknown keywords"


def _inherited(name: str) -> bool:
    """Whether gymnasium dictates the signature."""
    return name == "close_extras"


def test_no_file_has_a_name_that_says_nothing() -> None:
    folders = (*PACKAGES, "sandboxes", "tasks", "tests", "examples", "benchmarks")
    assert [_name(path) for path in _python(*folders) if FORBIDDEN_NAMES & set(path.stem.split("_"))] == []
