"""The wall that needs nothing installed: namespaces of this machine around Python workers."""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from sdpo_envs.errors import SandboxError, SettingError, choose
from sdpo_envs.files import bundled
from sdpo_envs.sandbox.channel import PipeChannel
from sdpo_envs.sandbox.pooled import PooledSandbox

LAYERS = ("namespaces", "landlock", "seccomp")

_PACKAGES = ("numpy", "sortedcontainers")  # what programs may import besides the standard library, if the host has it

_ADVICE = """\
namespaces, which keep processes, files and the network of the host out of sight, need Linux 5.12 or later and the right
    to make them. Root has it; other users have it where user.max_user_namespaces is above 0 and, if the system knows
    them, kernel.unprivileged_userns_clone is 1 and kernel.apparmor_restrict_unprivileged_userns is 0 (see sysctl). A
    container needs --privileged, or --cap-add SYS_ADMIN --security-opt seccomp=unconfined, apparmor=unconfined.
landlock, which holds programs to the files that they are shown, needs Linux 5.19 or later with landlock among the
    security modules (boot option lsm=), and Linux 6.12 where there are no namespaces.
seccomp, which refuses the system calls that reach past the wall, needs CONFIG_SECCOMP_FILTER.
Nothing was run. Use DockerSandbox instead or, if you accept a weaker wall, name the layers that you can have:
    """


class LocalSandbox(PooledSandbox):
    """Runs Python programs behind namespaces, an unprivileged user, Landlock, a system call filter and limits.

    A worker is a Python interpreter, started once, that forks for a program or for each of its runs: a clean state at
    the cost of a fork. It offers ``("python", FILE, ...)`` and ``("call", FILE, FUNCTION)``; the working directory is
    ``/tmp``. Several programs run side by side.

    A run is `out_of_memory` when an uncaught ``MemoryError`` ended it, or its processes together reached the limit.
    `Program.memory_mb` holds for each process of a run on its own too, as address space, and what the interpreter maps
    from the start is not counted.

    Attributes:
        workers: How many programs can run at once; by default one per processor that this process may use.
        layers: What the wall is made of, all of it by default; exactly that, or no worker starts. Without
            ``"namespaces"`` programs have a private folder of this machine instead of ``/tmp``, may start threads but
            no processes, and can see which files exist. ``()`` is no wall: limits hold honest programs only.
    """

    def __init__(self, workers: int | None = None, layers: Sequence[str] = LAYERS) -> None:
        if isinstance(layers, str):
            raise SettingError(f"layers={layers!r} is not offered; give a tuple of {LAYERS}.")
        named = {choose("layers", layer, LAYERS) for layer in layers}
        self.layers = tuple(layer for layer in LAYERS if layer in named)
        super().__init__(workers, partial(_connect, self.layers), _advice(self.layers))

    def __reduce__(self) -> tuple[type["LocalSandbox"], tuple[int, tuple[str, ...]]]:
        return LocalSandbox, (self.workers, self.layers)

    def __repr__(self) -> str:
        return f"LocalSandbox(workers={self.workers}, layers={self.layers})"


def _connect(layers: Sequence[str]) -> PipeChannel:
    """Start a worker behind `layers`."""
    return PipeChannel(_command(layers))


def _command(layers: Sequence[str]) -> list[str | Path]:
    """Return the command that starts a worker: with the interpreter of which this one may be a virtual environment."""
    interpreter = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    if sys.platform != "linux" or not interpreter.exists():
        raise SandboxError(f"The local sandbox needs Linux and the interpreter {interpreter}, which is not there.")
    inside = bundled("sandboxes", "python")
    start: list[str | Path] = [interpreter, "-B", "-E", "-s", inside / "launch.py", inside / "worker.py"]
    return [*start, ",".join(layers), *(path for name in _PACKAGES for path in _places(name))]


def _places(name: str) -> Iterator[Path]:
    """Find the folders, or the file, of a package that the host may have."""
    spec = importlib.util.find_spec(name)
    if spec and spec.submodule_search_locations:
        for folder in map(Path, spec.submodule_search_locations):
            libraries = folder.with_name(f"{folder.name}.libs")  # where wheels keep shared libraries
            yield from (path for path in (folder, libraries) if path.exists())
    elif spec and spec.origin:
        yield Path(spec.origin)


def _advice(layers: Sequence[str]) -> str:
    """Return what to do when this wall cannot be built."""
    fewer = {missing: tuple(layer for layer in layers if layer != missing) for missing in layers}
    return _ADVICE + "\n    ".join(f"LocalSandbox(layers={rest}), without {missing}" for missing, rest in fewer.items())
