"""What has to stand twice, as one side of a wall cannot import the other: both places say the same."""

import ast
import json
import re
from pathlib import Path

from sdpo_envs.sandbox.engine import BASE_NEEDS

ROOT = Path(__file__).parents[2]
INSIDE, HOST = ROOT / "sandboxes/python", ROOT / "sdpo_envs/sandbox"


def assigned(path: Path) -> dict[str, ast.expr]:
    """Return what a file assigns to its names, without running it."""
    found: dict[str, ast.expr] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for target in node.targets if isinstance(node, ast.Assign) else []:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            found |= {name.id: value for name, value in pairs if isinstance(name, ast.Name)}
    return found


def structs(path: Path) -> dict[str, str]:
    """Return the formats of a file's structs."""
    calls = {name.strip("_"): node for name, node in assigned(path).items() if isinstance(node, ast.Call)}
    return {
        name: ast.literal_eval(node.args[0])
        for name, node in calls.items()
        if ast.unparse(node.func) == "struct.Struct"
    }


def value(node: ast.expr, **names: object) -> object:
    """Return what an expression of constants and `names` amounts to."""
    return eval(ast.unparse(node), {"__builtins__": {}}, names)


def test_host_and_worker_pack_what_they_say_alike() -> None:
    inside = structs(INSIDE / "worker.py") | structs(INSIDE / "script.py")
    assert structs(HOST / "frames.py") == inside
    assert inside.keys() == {"REQUEST", "ANSWER", "COUNTS", "MARK"}


def test_a_container_s_worker_has_the_environment_of_a_local_one() -> None:
    dockerfile = (INSIDE / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    [entry] = re.findall(r"^ENTRYPOINT (.*)", dockerfile, re.MULTILINE)
    given = dict(word.split("=") for word in json.loads(entry) if "=" in word)
    launched = ast.literal_eval(assigned(INSIDE / "launch.py")["ENVIRONMENT"])
    assert given == launched | {"HOME": "/tmp", "PYTHONPATH": "/packages"}
    launch = (INSIDE / "launch.py").read_text(encoding="utf-8")
    assert '{"HOME": "/tmp", "PYTHONPATH": "/packages"}' in launch


def test_a_container_s_folder_has_the_limits_of_a_local_one() -> None:
    local = value(assigned(INSIDE / "launch.py")["TMP"], NOBODY=65534)
    docker = value(assigned(HOST / "docker.py")["_TMPFS"], _NOBODY=65534)
    assert isinstance(local, str)
    assert isinstance(docker, str)
    flags = {"noexec", "nosuid", "nodev"}  # of mount(2), in a local wall
    assert {*docker.split(","), "uid=65534"} == {*local.split(","), *flags}


def test_a_process_ends_early_after_the_part_of_its_time_after_which_the_worker_loses_patience() -> None:
    patience = value(assigned(INSIDE / "processes.py")["PATIENCE"])
    [part] = re.findall(r"seconds / (\d+)", (INSIDE / "script.py").read_text(encoding="utf-8"))
    assert patience == 1 / int(part)


def test_the_doctor_asks_the_kernel_for_what_the_wall_needs() -> None:
    doctor, landlock, launch = (
        assigned(path) for path in (HOST / "doctor.py", INSIDE / "landlock.py", INSIDE / "launch.py")
    )
    for mine, theirs in (
        (doctor["_LANDLOCK_CREATE_RULESET"], landlock["_CREATE_RULESET"]),
        (doctor["_VERSION"], landlock["_CREATE_RULESET_VERSION"]),
        (doctor["_USER"], launch["CLONE_NEWUSER"]),
        (doctor["_OTHERS"], launch["NAMESPACES"]),
    ):
        assert value(mine) == value(theirs)
    [needed] = re.findall(r"if version < (\d+)", (INSIDE / "landlock.py").read_text(encoding="utf-8"))
    assert value(doctor["_LANDLOCK_ABI"]) == int(needed)


def test_what_the_image_is_built_on_is_said_alike() -> None:
    dockerfile, readme = (path.read_text(encoding="utf-8") for path in (INSIDE / "Dockerfile", INSIDE / "../README.md"))
    [base] = re.findall(r"^ARG BASE=(.*)", dockerfile, re.MULTILINE)
    assert base in readme
    for text in (dockerfile, readme):
        assert BASE_NEEDS in text.replace("`", "")
