"""Refuses the system calls through which a program could reach past the wall, or its neighbours behind it.

A program shares its user id with the worker that starts it, so that the kernel's own checks would let it set the
worker's limits or priority; and some things outlive the process that made them, or reach around a network namespace.
"""

import ctypes
import errno
import os
import struct

# Name: (x86_64, aarch64).
_REFUSED = {
    # Other processes: their memory, their priority.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    # What a later run could find: keys, System V and POSIX objects, attributes of the shared working directory.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    # Memory outside of RLIMIT_AS, and sockets: vsock, for one, has no namespace. socketpair stays, asyncio needs it.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "socket": (41, 198),
    # The host's kernel log.
    "syslog": (103, 116),
    # Namespaces, mounts, and the parts of the kernel with the longest record of holes.
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}
# Allowed on the caller itself only: their first argument is a process id, and must be 0.
_ON_ITSELF = {
    "prlimit64": (302, 261),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_CLONE_NEW = 0x7E020080  # every CLONE_NEW* flag: time, mount, cgroup, uts, ipc, user, pid, network
_COLUMN_AND_ARCH = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000

_INSTRUCTION = struct.Struct("HBBI")  # struct sock_filter
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2


def _filter() -> bytes:
    """Return the BPF program for this machine."""
    column, arch = _COLUMN_AND_ARCH[os.uname().machine]
    refuse, absent = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    code = [(_LOAD, 0, 0, _ARCH), (_JUMP_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL)]
    code += [(_LOAD, 0, 0, _NUMBER), (_JUMP_GREATER_EQUAL, 0, 1, _X32), (_RETURN, 0, 0, absent)]
    for numbers in _REFUSED.values():
        code += [(_JUMP_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, refuse)]
    # glibc falls back from clone3, whose flags a filter cannot read, to clone.
    code += [(_JUMP_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, absent)]
    code += [(_JUMP_EQUAL, 0, 4, _CLONE[column]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_JUMP_SET, 1, 0, _CLONE_NEW)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, refuse)]
    for numbers in _ON_ITSELF.values():
        code += [(_JUMP_EQUAL, 0, 4, numbers[column]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_JUMP_EQUAL, 0, 1, 0)]
        code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, refuse)]
    code += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)


def refuse_system_calls() -> None:
    """Install the filter in this process and all that come from it. Needs no_new_privs."""
    code = ctypes.create_string_buffer(_filter())
    program = struct.pack("HxxxxxxP", len(code) // _INSTRUCTION.size, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())}: seccomp")
