"""Confines a process, and all that come from it, to the files that it is shown: a second wall behind the namespaces.

It holds where a mount was forgotten, and where there are no namespaces it is what keeps the host's files apart.
"""

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Sequence

DEVICES = ("null", "zero", "full", "random", "urandom")

# From linux/landlock.h: the rights over files in the order of their bits, and how many of them each ABI knows.
_RIGHTS = (
    *("execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file", "make_char", "make_dir"),
    *("make_reg", "make_sock", "make_fifo", "make_block", "make_sym", "refer", "truncate", "ioctl_dev"),
)
_KNOWN = (0, 13, 14, 15, 15, 16)
_NOWHERE = ("execute", "ioctl_dev", "make_char", "make_block", "make_sock")
_OF_FILES = ("execute", "write_file", "read_file", "truncate", "ioctl_dev")  # the others are of folders
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2
_LOG_SAME_EXEC_OFF = 1

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION, _RULE_PATH_BENEATH = 1, 1
_PATH_BENEATH = struct.Struct("=Qi")  # rights, file descriptor
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """Return the version of Landlock that this kernel has, 0 for none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)))


def confine(writable: str, readable: Sequence[str] = ("/",), execute: bool = False) -> None:
    """Let this process read below `readable`, and write below `writable` and to the harmless devices; for good.

    It also connects to nothing over TCP (Linux 6.7), controls no device (6.10), and signals and reaches by name only
    what has been confined with it or by it (6.12): as much of that as this kernel knows. It can gain no privileges.

    Args:
        writable: A folder, in which files are also read, created, moved and removed.
        readable: Files and folders.
        execute: Whether what is readable may be executed, too: for a process that has an interpreter to start.

    Raises:
        OSError: the kernel has no Landlock, or one that is too old, or a path is not there.
    """
    version = abi()
    if version < 2:
        raise OSError(errno.ENOSYS, f"Landlock ABI 2 is needed (Linux 5.19), not {version}; see the boot option lsm=")
    known = {name: 1 << bit for bit, name in enumerate(_RIGHTS[: _KNOWN[min(version, 5)]])}
    read = known["read_file"] | known["read_dir"] | (known["execute"] if execute else 0)
    write = sum(right for name, right in known.items() if name not in _NOWHERE)
    with _ruleset(version, sum(known.values())) as rules:
        for path in readable:
            _allow(rules, path, read, known)
        _allow(rules, writable, write, known)
        for name in DEVICES:
            _allow(rules, f"/dev/{name}", known["read_file"] | known["write_file"], known)
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        # From ABI 7 on, what is denied would be logged: programs must not fill the host's log.
        flags = _LOG_SAME_EXEC_OFF if version >= 7 else 0
        _check(_libc.syscall(_RESTRICT_SELF, rules, flags), "landlock_restrict_self")


@contextlib.contextmanager
def _ruleset(version: int, rights: int) -> Iterator[int]:
    """Make a set of rules, which denies all that it handles and no rule allows."""
    network = _BIND_TCP | _CONNECT_TCP if version >= 4 else 0
    scoped = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL if version >= 6 else 0
    attributes = struct.pack("=QQQ", rights, network, scoped)  # older kernels take longer ones, if they end in zeros
    rules = _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    _check(rules, "landlock_create_ruleset")
    try:
        yield rules
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int, known: dict[str, int]) -> None:
    """Add a rule that allows these rights on `path` and below it."""
    file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):
            rights &= sum(known.get(name, 0) for name in _OF_FILES)
        rule = _PATH_BENEATH.pack(rights, file)
        _check(_libc.syscall(_ADD_RULE, rules, _RULE_PATH_BENEATH, rule, 0), f"landlock_add_rule {path}")
    finally:
        os.close(file)


def _check(result: int, what: str) -> None:
    """Raise the error that a C function has reported."""
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())}: {what}")
