"""Lets through the system calls that honest programs make, and refuses all others.

What is refused reaches past the wall, or a neighbour behind it: a program shares its user id with the worker that
starts it, so that the kernel's own checks would let it set the worker's limits or priority; and some things outlive the
process that made them, or reach around a namespace. Nothing is executed behind the wall, and there are no sockets but
pairs.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Sequence

# Name, number on x86_64, number on aarch64, which has only the newer of several calls that do the same.
_ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69, pwritev 296 70,
preadv2 327 286, pwritev2 328 287, lseek 8 62, sendfile 40 71, splice 275 76, copy_file_range 326 285, fallocate 285 47,
truncate 76 45, ftruncate 77 46, fsync 74 82, fdatasync 75 83, flock 73 32, open 2 -, openat 257 56, openat2 437 437,
creat 85 -, close 3 57, close_range 436 436, dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59,

stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291, statfs 137 43, fstatfs 138 44, access 21 -,
faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78, getdents 78 -, getdents64 217 61, getcwd 79 17,
chdir 80 49, fchdir 81 50, umask 95 166, mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35,
rename 82 -, renameat 264 38, renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36,
getxattr 191 8, lgetxattr 192 9, fgetxattr 193 10, listxattr 194 11, llistxattr 195 12, flistxattr 196 13,

brk 12 214, mmap 9 222, munmap 11 215, mprotect 10 226, mremap 25 216, msync 26 227, membarrier 324 283,
arch_prctl 158 -, futex 202 98, futex_waitv 449 449, futex_wake 454 454, futex_wait 455 455, futex_requeue 456 456,
set_robust_list 273 99, rseq 334 293, set_tid_address 218 96,

exit 60 93, exit_group 231 94, wait4 61 260, waitid 247 95, getpid 39 172, getppid 110 173, gettid 186 178,
getpgid 121 155, getpgrp 111 -, getsid 124 156, setpgid 109 154, getuid 102 174, geteuid 107 175,
getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150, getgroups 115 158, getrlimit 97 163,
setrlimit 160 164, getrusage 98 165, times 100 153, uname 63 160, getrandom 318 278, getcpu 309 168,
getpriority 140 141, sched_yield 24 124, sched_getaffinity 204 123, sched_getparam 143 121, sched_getscheduler 145 120,
sched_getattr 315 275, sched_get_priority_max 146 125, sched_get_priority_min 147 126, sched_rr_get_interval 148 127,

rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigpending 127 136, rt_sigsuspend 130 133, rt_sigtimedwait 128 137,
rt_sigreturn 15 139, sigaltstack 131 132, pause 34 -, restart_syscall 219 128, alarm 37 -, getitimer 36 102,
setitimer 38 103, timer_create 222 107, timer_settime 223 110, timer_gettime 224 108, timer_getoverrun 225 109,
timer_delete 226 111, timerfd_create 283 85, timerfd_settime 286 86, timerfd_gettime 287 87, eventfd 284 -,
eventfd2 290 19, signalfd 282 -, signalfd4 289 74, nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113,
clock_getres 229 114, gettimeofday 96 169, time 201 -,

select 23 -, pselect6 270 72, poll 7 -, ppoll 271 73, epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21,
epoll_wait 232 -, epoll_pwait 281 22, epoll_pwait2 441 441, sendto 44 206, recvfrom 45 207, sendmsg 46 211,
recvmsg 47 212, sendmmsg 307 269, recvmmsg 299 243, shutdown 48 210, getsockname 51 204, getpeername 52 205,
getsockopt 55 209,
"""
# Only where a pid namespace and a root of their own hold what they reach: a program could change the modes of the
# host's files, though it cannot open them.
_ALLOWED_IN_NAMESPACES = """
fork 57 -, vfork 58 -, kill 62 129, tkill 200 130, tgkill 234 131, chmod 90 -, fchmod 91 52, fchmodat 268 53,
fchmodat2 452 452, utime 132 -, utimes 235 -, utimensat 280 88, futimesat 261 -,
"""
# Allowed where each of these arguments has one of these values.
_ALLOWED_WITH = {
    # Not F_SETOWN and F_SETSIG, which signal others; not F_SETLEASE and F_NOTIFY, which watch the files of others.
    "fcntl 72 25": {1: (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)},
    # Terminals' TCGETS, TCGETS2 and TIOCGWINSZ; FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; FICLONE, to copy files.
    "ioctl 16 29": {1: (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x40049409)},
    # The name of a thread or of a memory area, the slack of its timers; what is set, except for the wall's own.
    "prctl 157 167": {0: (2, 3, 15, 16, 21, 29, 30, 38, 39, 0x53564D41)},
    # AF_UNIX, and SOCK_STREAM with or without its flags: a datagram socket could write to others that have a name.
    "socketpair 53 199": {0: (1,), 1: (1, 0x801, 0x80001, 0x80801)},
    # Not what would take pages from memory that others read too: MADV_COLD, MADV_PAGEOUT, POSIX_FADV_DONTNEED.
    "madvise 28 233": {2: (0, 1, 2, 3, 4, 8, 14, 15, 16, 17, 18, 19, 22, 23, 102, 103)},
    "fadvise64 221 223": {3: (0, 1, 2, 3, 5)},
    # The caller itself.
    "prlimit64 302 261": {0: (0,)},
    "sched_setaffinity 203 122": {0: (0,)},
    "sched_setscheduler 144 119": {0: (0,)},
    "sched_setparam 142 118": {0: (0,)},
}
_CLONE, _CLONE3 = "clone 56 220", "clone3 435 435"
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020080  # every CLONE_NEW* flag: time, mount, cgroup, uts, ipc, user, pid, network
_COLUMN_AND_ARCH = {"x86_64": (1, 0xC000003E), "aarch64": (2, 0xC00000B7)}

_LOAD, _EQUAL, _GREATER, _GREATER_EQUAL, _SET, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_Instruction = tuple[int, int, int, int]  # code, how many to skip if true, if false, operand
_ACCEPT, _END = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _KILL)
_REFUSE, _ABSENT = (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)

_INSTRUCTION = struct.Struct("HBBI")  # struct sock_filter
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38


def filter_system_calls(processes: bool = True) -> None:
    """Install the filter in this process and all that come from it, which can gain no privileges from now on.

    Args:
        processes: Whether programs may start processes and signal them, as behind a pid namespace of their own.
            Otherwise they have threads only, and change no file's mode or times; and it has to be called in the
            process that is to be held, which alone may then be signalled.

    Raises:
        OSError: the kernel has no such filter, or none is known for this machine.
    """
    code = ctypes.create_string_buffer(_filter(processes))
    program = struct.pack("HxxxxxxP", len(code) // _INSTRUCTION.size, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)):
        if libc.prctl(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{os.strerror(number)}: seccomp, which needs CONFIG_SECCOMP_FILTER")


def _filter(processes: bool) -> bytes:
    """Return the BPF program for this machine.

    The kernel remembers which numbers it allows whatever their arguments; the others come first.
    """
    machine = os.uname().machine
    if machine not in _COLUMN_AND_ARCH:
        raise OSError(errno.ENOSYS, f"system calls are known by number on {' and '.join(_COLUMN_AND_ARCH)} only")
    column, arch = _COLUMN_AND_ARCH[machine]
    code = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), _END, (_LOAD, 0, 0, _NUMBER)]
    checked = {name: _with(values) for name, values in _ALLOWED_WITH.items()}
    checked |= {"mknod 133 -": _node(1), "mknodat 259 33": _node(2)}
    checked |= {_CLONE: _clone(processes), _CLONE3: [_ABSENT]}  # glibc then uses clone, whose flags a filter can read
    if not processes:
        own = _with({0: (os.getpid(),)})
        checked |= {"kill 62 129": own, "tgkill 234 131": own}
    for names, verdict in checked.items():
        for number in _numbers(names, column):
            code += [(_EQUAL, 0, len(verdict), number), *verdict]
    for low, high in _ranges(_numbers(_ALLOWED + _ALLOWED_IN_NAMESPACES * processes, column)):
        code += [(_GREATER_EQUAL, 1, 0, low), _REFUSE, (_GREATER, 1, 0, high), _ACCEPT]
    code.append(_ABSENT)  # whoever knows of a newer call knows how to do without; x32 is up there too
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)


def _numbers(table: str, column: int) -> list[int]:
    """Return the numbers in one column of a table."""
    entries = [entry.split() for entry in table.split(",") if entry.strip()]
    return sorted(int(entry[column]) for entry in entries if entry[column] != "-")


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Join neighbours among ascending numbers: the first and the last of each range."""
    low = high = -1
    for number in numbers:
        if number != high + 1 and low >= 0:
            yield low, high
        if number != high + 1 or low < 0:
            low = number
        high = number
    yield low, high


def _with(values: dict[int, Sequence[int]]) -> list[_Instruction]:
    """Return instructions that allow a call whose arguments all have one of their values."""
    code: list[_Instruction] = []
    for argument, choices in values.items():
        code.append((_LOAD, 0, 0, _ARGUMENTS + 8 * argument))  # its lower half; the kernel looks at no more of these
        code += [(_EQUAL, len(choices) - index, 0, choice) for index, choice in enumerate(choices)]
        code.append(_REFUSE)
    return [*code, _ACCEPT]


def _node(argument: int) -> list[_Instruction]:
    """Return instructions that allow files and pipes to be made, whose mode is that argument, but no devices."""
    return [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument), (_SET, 1, 0, stat.S_IFCHR | stat.S_IFBLK), _ACCEPT, _REFUSE]


def _clone(processes: bool) -> list[_Instruction]:
    """Return instructions that allow new threads, and new processes without new namespaces."""
    load = (_LOAD, 0, 0, _ARGUMENTS)
    if processes:
        return [load, (_SET, 1, 0, _CLONE_NEW), _ACCEPT, _REFUSE]
    return [load, (_SET, 2, 0, _CLONE_NEW), (_SET, 0, 1, _CLONE_THREAD), _ACCEPT, _REFUSE]
