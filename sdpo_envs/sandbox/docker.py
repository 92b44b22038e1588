"""The wall of a Docker engine: each worker has a hardened container, which is kept from program to program."""

import os
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any

from sdpo_envs.errors import SandboxError, choose, within
from sdpo_envs.sandbox import Program
from sdpo_envs.sandbox.container import ContainerChannel
from sdpo_envs.sandbox.engine import EngineGone, engine, image_id
from sdpo_envs.sandbox.pooled import PooledSandbox

LAYERS = ("landlock", "seccomp", "threads")
"""What a worker can put around itself and its programs, which are left with ``"threads"`` instead of processes."""

_ADVICE = "See python -m sdpo_envs.sandbox doctor."
_NOBODY = 65534
_PROCESSES = 512
_MORE_FOR_GVISOR = 1024  # threads of its own count too
_TMPFS = f"mode=0700,gid={_NOBODY},size=256m,nr_inodes=4096,noexec,nosuid,nodev"
_MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug"),
    *("/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys", "/dev/mqueue"),
)
_RESTART_SECONDS = 15.0  # an engine that has answered before may be starting again
_ROOM_MB = 1024  # for the worker, the files of programs, and what a run may take before the worker has looked
_ABREAST = 4  # runs that hang side by side may have so many times the memory of one


class DockerSandbox(PooledSandbox):
    """Runs Python programs in hardened containers of a Docker engine.

    A container has no network, a read-only root, no capabilities and no way to gain any, Docker's system call filter
    and those of `layers`, a user id of its own, one processor, and limits on processes and memory; all that it can
    write to is a small tmpfs. It lives as long as the connection to it, so that none is left when this process ends,
    in whatever way. What programs can do is the same as in `LocalSandbox`.

    Attributes:
        workers: How many programs can run at once; by default one per processor that this process may use.
        image: The image to run, made from the one of `build_image`; by default that one, built when it is missing.
        runtime: The engine's name for what runs containers, such as ``"runsc"`` (gVisor) or ``"crun"``; by default
            what the engine prefers.
        memory_mb: Limit on the memory of a container, in MiB: the worker, its runs, and all that these have written.
        layers: What a worker puts around itself besides, of `LAYERS`; by default ``"landlock"`` and ``"seccomp"``. In
            gVisor, which has no Landlock and lets programs signal the worker, ``"threads"``: seccomp and no processes.
    """

    def __init__(
        self,
        workers: int | None = None,
        image: str | None = None,
        runtime: str | None = None,
        memory_mb: int = 6144,
        layers: Sequence[str] | None = None,
    ) -> None:
        self.image, self.runtime = image, runtime
        self.memory_mb = int(within("memory_mb", memory_mb, 256))
        given = (LAYERS[2:] if _is_gvisor(runtime) else LAYERS[:2]) if layers is None else layers
        self.layers = tuple(choose("layers", layer, LAYERS) for layer in given)
        self._maker = _Maker(image, runtime, self.memory_mb, self.layers)
        super().__init__(workers, self._maker, _ADVICE)

    def __reduce__(self) -> tuple[type["DockerSandbox"], tuple[object, ...]]:
        return DockerSandbox, (self.workers, self.image, self.runtime, self.memory_mb, self.layers)

    def __repr__(self) -> str:
        return f"DockerSandbox(workers={self.workers}, image={self.image!r}, runtime={self.runtime!r})"

    def check(self, program: Program) -> None:
        """Refuse what the wall does not offer; see `PooledSandbox.check`."""
        super().check(program)
        needed = program.memory_mb * (_ABREAST if program.timeouts is None else 1) + _ROOM_MB
        if needed > self.memory_mb:
            raise SandboxError(
                f"A container of {self.memory_mb} MiB is too small for runs that may have {program.memory_mb} each; "
                f"give DockerSandbox(memory_mb={needed}) or more."
            )


class _Maker:
    """Makes the containers of one sandbox. It does not know that sandbox, which could then never be collected."""

    def __init__(self, image: str | None, runtime: str | None, memory_mb: int, layers: tuple[str, ...]) -> None:
        self._image, self._runtime, self._memory_mb, self._layers = image, runtime, memory_mb, layers
        self._worked = False
        self._preparing: dict[int, threading.Lock] = {}  # by process: one worker builds the image, the others wait

    def __call__(self) -> ContainerChannel:
        """Start a worker, and wait a little for an engine that has answered before."""
        until = time.monotonic() + (_RESTART_SECONDS if self._worked else 0.0)
        while True:
            try:
                channel = ContainerChannel(self.configuration())
                self._worked = True
                return channel
            except EngineGone:
                if time.monotonic() > until:
                    raise
            time.sleep(0.2)

    def configuration(self) -> dict[str, Any]:
        """Return the container as the engine's API describes one."""
        with self._preparing.setdefault(os.getpid(), threading.Lock()), engine() as client:
            facts, image = client.info(), image_id(client, self._image)
        if self._runtime is not None and self._runtime not in facts["Runtimes"]:
            raise SandboxError(
                f"The Docker engine has no runtime {self._runtime!r}, but {sorted(facts['Runtimes'])}. Install it and "
                "name it under 'runtimes' in the engine's daemon.json."
            )
        uid = _draw_uid(facts["SecurityOptions"])
        host = {
            "AutoRemove": True,
            "CapDrop": ["ALL"],
            "CgroupnsMode": "private",
            "Init": False,
            "IpcMode": "none",
            "LogConfig": {"Type": "none"},
            "MaskedPaths": _MASKED,
            "Memory": self._memory_mb << 20,
            "MemorySwap": self._memory_mb << 20,
            "NanoCpus": 10**9,
            "NetworkMode": "none",
            "PidsLimit": _PROCESSES + (_MORE_FOR_GVISOR if _is_gvisor(self._runtime) else 0),
            "ReadonlyRootfs": True,
            "SecurityOpt": ["no-new-privileges"],
            "Tmpfs": {"/tmp": f"{_TMPFS},uid={uid}"},
        }
        if self._runtime is not None:
            host["Runtime"] = self._runtime
        return {
            "Image": image,
            "Cmd": self._layers,
            "User": f"{uid}:{_NOBODY}",
            "Hostname": "sandbox",
            "NetworkDisabled": True,
            "StopSignal": "SIGKILL",
            **dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce"), True),
            "HostConfig": host,
        }


def _is_gvisor(runtime: str | None) -> bool:
    return (runtime or "").startswith("runsc")


def _draw_uid(security: Sequence[str]) -> int:
    """Return a user id for one container: the kernel counts a user's processes over all containers together.

    It is one that no distribution gives away, unless the engine has no more than 65536 to give to containers.
    """
    mapped = any(option.startswith(("name=rootless", "name=userns")) for option in security)
    return 1000 + secrets.randbelow(64000) if mapped else 1_900_000_000 + secrets.randbelow(100_000_000)
