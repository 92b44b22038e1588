"""Builds the wall on this machine and starts the worker behind it.

    python -B -E -s launch.py WORKER LAYERS [PACKAGE ...]

WORKER is the program that is to run inside, with this script's standard streams; its folder is all that it sees of
ours. Each PACKAGE is a folder or a file that programs may import. Root may start it, or anyone. LAYERS are parted by
commas; this script builds "namespaces", and names the others to the worker, which puts them around itself. Inside of
the namespaces there is

    a process    that is nobody (uid 65534, no capabilities, no way to gain any), alone among processes (it is PID 1)
                 and without a network
    a root       of read-only binds: this interpreter with its standard library, the system's shared libraries, the
                 packages; and one writable place, a small tmpfs on /tmp. No /etc, no /home, no other site-packages
    environment  the few variables below

Without them the process is nobody if root has started it, otherwise still its user, and has the environment and a
private folder that goes with it; the layer "landlock" then shows it the same files of the host, and nothing else.
"""

import contextlib
import ctypes
import errno
import glob
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

import landlock

NOBODY = 65534
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",  # the same program prints the same twice
    "LD_BIND_NOW": "1",  # before the forks, and once
    "OPENBLAS_NUM_THREADS": "1",  # threads do not survive the worker's fork, and would count as processes
    "OMP_NUM_THREADS": "1",
}
LIBRARIES = ("/lib", "/lib64", "/usr/lib64", "/etc/ld.so.cache", "/etc/alternatives")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
LINKS |= {"shm": "/tmp"}  # where semaphores are made, which multiprocessing needs
TMP = f"mode=0700,uid={NOBODY},gid={NOBODY},size=256m,nr_inodes=4096"

# From linux/sched.h, linux/mount.h, linux/prctl.h and linux/personality.h.
CLONE_NEWUSER = 0x10000000
NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # mnt cgroup uts ipc pid net
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = -100, 0x8000, 1, 2, 4
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_MOUNT_SETATTR = 442
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
ADDR_NO_RANDOMIZE = 0x0040000

# The tmpfs that becomes the root is put here meanwhile: it exists everywhere, and nothing is bound from it.
ROOT = "/proc"

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise the error that a C function has reported."""
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())}: {what}")


@contextlib.contextmanager
def piece(layer: str, name: str, purpose: str) -> Iterator[None]:
    """Say which piece of which layer could not be built, and what it is for."""
    try:
        yield
    except OSError as error:
        sys.exit(f"The layer {layer!r} cannot be had. {name} could not be set up ({error}). Without it {purpose}.")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount `source`, a file system or a path, at `target`."""
    result = libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    check(result, f"mount {target}")


def bind(source: str, target: str) -> None:
    """Show `source` at `target` inside, a directory or a file."""
    target = ROOT + target
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "ab").close()
    mount(source, target, flags=MS_BIND | MS_REC)


def show(path: str) -> None:
    """Show a path of the host at the same place inside, a link as a link, other people's packages not at all."""
    if os.path.islink(path):
        os.makedirs(os.path.dirname(ROOT + path), exist_ok=True)
        os.symlink(os.readlink(path), ROOT + path)
    elif os.path.exists(path):
        bind(path, path)
        for packages in glob.glob(f"{ROOT}{path}/python3*/*-packages") + glob.glob(f"{ROOT}{path}/*-packages"):
            mount("tmpfs", packages, "tmpfs", options="mode=0755")


def visible() -> list[str]:
    """Return the paths of the host that programs see: the system's shared libraries, and this interpreter's own."""
    system = [*LIBRARIES, *(glob.glob("/usr/lib/*-linux-gnu*") or ["/usr/lib"])]
    if sys.base_prefix == "/usr":
        return [*system, os.path.dirname(os.__file__)]
    return [*system, *{f"{prefix}/lib" for prefix in (sys.base_prefix, os.path.realpath(sys.base_prefix))}]


def furnish(worker: str, packages: list[str]) -> None:
    """Build the new root. The interpreter stays at its own path: it may look for its library at an absolute one."""
    mount("tmpfs", ROOT, "tmpfs", options="mode=0755")
    for path in visible():
        show(path)
    bind(sys.executable, sys.executable)
    bind(os.path.dirname(worker), "/sandbox")
    for package in packages:
        bind(package, f"/packages/{os.path.basename(package)}")
    for directory in ("/packages", "/dev", "/proc", "/tmp"):
        os.makedirs(ROOT + directory, exist_ok=True)
    for name, target in LINKS.items():
        os.symlink(target, f"{ROOT}/dev/{name}")
    for name in landlock.DEVICES:
        open(f"{ROOT}/dev/{name}", "ab").close()
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
    arguments = (AT_FDCWD, ROOT.encode(), AT_RECURSIVE, attributes, ctypes.sizeof(attributes))
    check(libc.syscall(SYS_MOUNT_SETATTR, *arguments), "mount_setattr, which needs Linux 5.12")
    for name in landlock.DEVICES:
        mount(f"/dev/{name}", f"{ROOT}/dev/{name}", flags=MS_BIND)
    mount("proc", f"{ROOT}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "subset=pid")
    mount("tmpfs", f"{ROOT}/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, TMP)


def enter() -> None:
    """Make the new root the only one."""
    os.chdir(ROOT)
    check(libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/tmp")


def become_nobody(uid: int, gid: int) -> None:
    """Enter a user namespace in which `uid` is nobody."""
    check(libc.unshare(CLONE_NEWUSER), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def give_up_root() -> None:
    """Become nobody outside of the user namespace too: the kernel never limits how many processes root has."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # cleared with the user id; /proc/self/uid_map would belong to root


def wait_for(pid: int) -> int:
    """Stay as the host's handle on the wall, ended by a SIGTERM; return whether the worker failed."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGKILL))
    for descriptor in (0, 1):
        os.close(descriptor)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once reaped, the number may be another process's
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


def end_orphans() -> None:
    """Kill and reap what a worker without a pid namespace has left running."""
    with contextlib.suppress(ChildProcessError):
        while True:
            with open("/proc/thread-self/children") as children:
                for pid in children.read().split():
                    os.kill(int(pid), signal.SIGKILL)
            os.waitpid(-1, 0)


def start(worker: str, layers: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the worker, which ends with this script."""
    # Where addresses are chosen at random a program that prints one, or orders by it, never prints the same twice; so
    # it seldom prints another. To know them helps to attack one's own interpreter only. Refused, it makes no difference
    # to the wall.
    libc.personality(ctypes.c_ulong(ADDR_NO_RANDOMIZE))
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")
    os.execve(sys.executable, [sys.executable, "-s", worker, *layers], ENVIRONMENT | environment)


def behind_namespaces(worker: str, layers: list[str], packages: list[str]) -> NoReturn:
    """Build the wall piece by piece and start the worker in it."""
    if os.uname().machine not in SYS_PIVOT_ROOT:
        sys.exit(f"The wall is built on {' and '.join(SYS_PIVOT_ROOT)}, not on {os.uname().machine}.")
    root = os.geteuid() == 0
    with piece("namespaces", "The user namespace", "an ordinary user cannot build the wall"):
        if not root:
            become_nobody(os.geteuid(), os.getegid())
    with piece("namespaces", "The mount, pid, network, ipc, uts and cgroup namespaces", "programs share the host's"):
        check(libc.unshare(NAMESPACES), "unshare")
    if pid := os.fork():
        sys.exit(wait_for(pid))
    with piece("namespaces", "The read-only root", "programs could read the host's files"):
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        furnish(worker, packages)
        enter()
        check(libc.sethostname(b"sandbox", ctypes.c_size_t(7)), "sethostname")
    with piece("namespaces", f"The change to uid {NOBODY}", "programs would run as root"):
        if root:
            give_up_root()
        # Once more for a user: in a namespace of its own a worker's processes are counted.
        become_nobody(NOBODY, NOBODY)
    with piece("namespaces", "The interpreter", "nothing can run"):
        start(f"/sandbox/{os.path.basename(worker)}", layers, {"HOME": "/tmp", "PYTHONPATH": "/packages"})


def on_the_host(worker: str, layers: list[str], packages: list[str]) -> NoReturn:
    """Start the worker in a folder of its own, and remove that when the worker has ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    home = f"{os.environ.get('TMPDIR', '/tmp')}/sandbox-{os.urandom(16).hex()}"
    os.makedirs(f"{home}/packages")
    os.mkdir(f"{home}/tmp", 0o700)
    os.chdir(f"{home}/tmp")
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if not (pid := os.fork()):
        move_in(worker, layers, home, packages)
    try:
        sys.exit(wait_for(pid))
    finally:
        end_orphans()
        importlib.import_module("processes").sweep()  # of this directory
        for link in os.scandir(f"{home}/packages"):
            os.unlink(link)
        for folder in (f"{home}/tmp", f"{home}/packages", home):
            os.rmdir(folder)


def move_in(worker: str, layers: list[str], home: str, packages: list[str]) -> NoReturn:
    """Show the packages, and confine this process to what is shown before it becomes the worker."""
    for package in packages:
        os.symlink(package, f"{home}/packages/{os.path.basename(package)}")
    with piece(" and ".join(layers), f"The change to uid {NOBODY}", "programs would run as root"):
        if layers and os.geteuid() == 0:
            os.chown(".", NOBODY, NOBODY)
            give_up_root()
        os.stat(sys.executable)  # the root's own interpreter may be out of sight now
    with piece("landlock", "The confinement to what is shown", "programs could read the host's files"):
        if "landlock" in layers:
            if landlock.abi() < 6:
                raise OSError(errno.ENOSYS, f"without namespaces ABI 6 is needed (Linux 6.12), not {landlock.abi()}")
            shown = [path for path in visible() if os.path.exists(path) and not os.path.islink(path)]
            shown += [sys.executable, os.path.dirname(worker), f"{home}/packages", *packages, "/proc/self"]
            landlock.confine(".", shown, execute=True)  # until the worker confines itself further
    with piece(" and ".join(layers), "The interpreter", "nothing can run"):
        start(worker, layers, {"HOME": os.getcwd(), "TMPDIR": os.getcwd(), "PYTHONPATH": f"{home}/packages"})


def main() -> None:
    """Build what is asked for."""
    worker, names, *packages = sys.argv[1:]
    layers = [name for name in names.split(",") if name]
    os.umask(0o022)
    if "namespaces" in layers:
        behind_namespaces(worker, layers, packages)
    on_the_host(worker, layers, packages)


if __name__ == "__main__":
    main()
