"""Builds the wall on this machine and starts the worker behind it.

    python -s launch.py WORKER [PACKAGE ...]

WORKER is the program that is to run inside, with this script's standard streams; its folder is all that it sees of
ours. Each PACKAGE is a directory that programs may import. Root may start it, or anyone. Inside there is

    a process    that is nobody (uid 65534, no capabilities, no way to gain any), alone among processes (it is PID 1),
                 without a network, and without the system calls that reach past this (see syscalls.py)
    a root       of read-only binds: this interpreter with its standard library, the system's shared libraries, the
                 packages; and one writable place, a small tmpfs on /tmp. No /etc, no /home, no other site-packages
    environment  the few variables below
"""

import contextlib
import ctypes
import glob
import os
import signal
import socket
import sys
from collections.abc import Iterator

import syscalls

NOBODY = 65534
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",  # the same program prints the same twice
    "PYTHONPATH": "/packages",
    "OPENBLAS_NUM_THREADS": "1",  # threads do not survive the worker's fork, and would count as processes
    "OMP_NUM_THREADS": "1",
}
LIBRARIES = ("/lib", "/lib64", "/usr/lib64", "/etc/ld.so.cache", "/etc/alternatives")
NODES = ("null", "zero", "full", "random", "urandom")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
TMP = f"mode=0700,uid={NOBODY},gid={NOBODY},size=256m,nr_inodes=4096"

# From linux/sched.h, linux/mount.h and linux/prctl.h.
CLONE_NEWUSER = 0x10000000
NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # mnt cgroup uts ipc pid net
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = -100, 0x8000, 1, 2, 4
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_MOUNT_SETATTR = 442
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38

# The tmpfs that becomes the root is put here meanwhile: it exists everywhere, and nothing is bound from it.
ROOT = "/proc"

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise the error that a C function has reported."""
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())}: {what}")


@contextlib.contextmanager
def piece(name: str, purpose: str) -> Iterator[None]:
    """Say which piece of the wall could not be built, and what it is for."""
    try:
        yield
    except OSError as error:
        sys.exit(f"{name} could not be set up ({error}). Without it {purpose}.")


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
    for name in NODES:
        open(f"{ROOT}/dev/{name}", "ab").close()
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
    arguments = (AT_FDCWD, ROOT.encode(), AT_RECURSIVE, attributes, ctypes.sizeof(attributes))
    check(libc.syscall(SYS_MOUNT_SETATTR, *arguments), "mount_setattr, which needs Linux 5.12")
    for name in NODES:
        mount(f"/dev/{name}", f"{ROOT}/dev/{name}", flags=MS_BIND)
    mount("proc", f"{ROOT}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2,subset=pid")
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


def wait_for(pid: int) -> None:
    """Stay as the host's handle on the wall: all behind it has gone when this process ends after a SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGKILL))
    for descriptor in (0, 1):
        os.close(descriptor)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once reaped, the number may be another process's
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0)


def main() -> None:
    """Build the wall piece by piece and start the worker in it."""
    if os.uname().machine not in SYS_PIVOT_ROOT:
        sys.exit(f"The wall is built on {' and '.join(SYS_PIVOT_ROOT)}, not on {os.uname().machine}.")
    worker, *packages = sys.argv[1:]
    root = os.geteuid() == 0
    os.umask(0o022)
    with piece("The user namespace", "an ordinary user cannot build the wall"):
        if not root:
            become_nobody(os.geteuid(), os.getegid())
    with piece("The mount, pid, network, ipc, uts and cgroup namespaces", "programs share the host's"):
        check(libc.unshare(NAMESPACES), "unshare")
    if pid := os.fork():
        wait_for(pid)
    with piece("The read-only root", "programs could read the host's files"):
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        furnish(worker, packages)
        enter()
        socket.sethostname("sandbox")
    with piece(f"The change to uid {NOBODY}", "programs would run as root"):
        if root:
            give_up_root()
        become_nobody(
            NOBODY, NOBODY
        )  # once more for a user: in a namespace of its own a worker's processes are counted
    with piece("The system call filter", "programs could reach the worker that starts them"):
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")
        syscalls.refuse_system_calls()
    with piece("The interpreter", "nothing can run"):
        os.execve(sys.executable, [sys.executable, "-s", f"/sandbox/{os.path.basename(worker)}"], ENVIRONMENT)


if __name__ == "__main__":
    main()
