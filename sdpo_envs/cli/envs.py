"""``sdpo envs``: which environments are registered, what each has and what it needs."""

import functools
import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import gymnasium
import tyro

from sdpo_envs.cli.screen import screen, shown, table, write_json
from sdpo_envs.cli.world import ForScript, bring, creator, make
from sdpo_envs.env import FeedbackEnv, JudgedEnv
from sdpo_envs.errors import MissingExtra, SettingError
from sdpo_envs.registry import ADAPTED, ENVIRONMENTS, EXTRAS
from sdpo_envs.sandbox import Sandbox
from sdpo_envs.sandbox.doctor import Row, wall
from sdpo_envs.sandbox.local import LocalSandbox

_BELOW = f"""\
Tasks are those that come with it: to train on + to test on. `sdpo show ID` shows one.
{" and ".join(ADAPTED)} play tasks of others: docs/your-environment.md."""


@dataclass(frozen=True)
class Envs:
    """List the environments, what each has and what it needs.

    Examples:
        sdpo envs
        sdpo envs --json
        sdpo envs my_package
    """

    modules: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[MODULE ...]", help_behavior_hint="")
    ] = ()
    """What to import first; the environments that it registers are listed too."""
    json: ForScript = False

    def __call__(self) -> None:
        """Run it."""
        families, console = list(survey(self.modules)), screen()
        if self.json:
            write_json([asdict(each) for each in families])
            return
        rows = table("id", "what it is", "tasks", "turns", "needs", "here")
        for each in families:
            tasks = " + ".join(str(count) for count in (each.tasks, each.test_tasks) if count is not None)
            here = shown("no", "red") if each.missing else shown("yes", "green")
            needs = ", ".join(each.needs) or "-"
            rows.add_row(shown(each.id, "bold"), shown(each.about), tasks, str(each.turns or ""), needs, here)
        console.print(rows)
        for each in families:
            if each.missing:
                console.print(shown(f"{each.id}: {each.missing}", "red"))
        console.print(_BELOW)


@dataclass(frozen=True, slots=True)
class Family:
    """What is known about an environment.

    Attributes:
        id: As registered.
        about: What it is, in a sentence.
        tasks: How many tasks it has with the settings that it has by itself; None if it cannot be made here.
        test_tasks: How many there are in the split ``"test"``; None if it has no splits, or cannot be made here.
        turns: Most actions of one episode; None if nobody says, or it cannot be made here.
        needs: Extras, and ``"wall"`` where programs run.
        missing: Which of these is missing here, and what mends it; ``""`` if nothing is.
    """

    id: str
    about: str
    tasks: int | None = None
    test_tasks: int | None = None
    turns: int | None = None
    needs: tuple[str, ...] = ()
    missing: str = ""


def survey(modules: tuple[str, ...] = ()) -> Iterator[Family]:
    """Make every environment with feedback, and tell what was found.

    Args:
        modules: Imported first; what they register comes after what this package does.

    Raises:
        SettingError: as `bring`.
        ModuleNotFoundError: as `bring`.
    """
    before = set(gymnasium.registry)
    for module in modules:
        bring(module)
    local: Row | None = None
    for env_id in (*ENVIRONMENTS, *sorted(set(gymnasium.registry) - before - set(ENVIRONMENTS))):
        made = _class(env_id)
        if not (inspect.isclass(made) and issubclass(made, FeedbackEnv)):
            continue
        family = find(env_id)
        if "wall" in family.needs:
            local = local or wall("local wall", LocalSandbox)
            family = family if local.works else replace(family, missing=f"{local.found}; `sdpo doctor` tells more.")
        yield family


def find(env_id: str) -> Family:
    """Make an environment, and tell what was found; no program is run behind a wall.

    Raises:
        SdpoError: its tasks are damaged.
    """
    made = _class(env_id)
    about = (inspect.getdoc(made) or "").partition("\n")[0]
    needs = (EXTRAS[env_id],) if env_id in EXTRAS else ()
    if asked := _asked(creator(env_id)):
        return Family(env_id, about, needs=needs, missing=f"It asks for --settings: {', '.join(asked)}.")
    try:
        env: Any = make(env_id)[1]
    except MissingExtra as error:
        return Family(env_id, about, needs=needs, missing=str(error))
    walls = ("wall",) if isinstance(getattr(env, "sandbox", None), Sandbox) else ()
    count, turns = len(env.tasks), getattr(env, "turns", 1 if isinstance(env, JudgedEnv) else None)
    env.close()
    return Family(env_id, about, count, _test_tasks(env_id, made), turns, (*needs, *walls))


def _class(env_id: str) -> Any:
    """Return the class of an environment, also where some of its keywords are given already."""
    made = creator(env_id)
    return made.func if isinstance(made, functools.partial) else made


def _asked(made: Any) -> list[str]:
    """Return the keywords without which there is no such environment."""
    taken = inspect.signature(made).parameters.values()
    any_number = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in taken if each.default is each.empty and each.kind not in any_number]


def _test_tasks(env_id: str, made: Any) -> int | None:
    if "split" not in inspect.signature(made).parameters:
        return None
    try:
        env = make(env_id, split="test")[1]
    except SettingError:  # it calls its splits something else
        return None
    env.close()
    return len(env.tasks)
