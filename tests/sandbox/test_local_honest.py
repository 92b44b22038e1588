"""Correct programs, one feature each, do behind the wall what they do in a plain interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from wall import Execute

PROGRAMS = {
    "read_input": """
a, b = map(int, input().split())
print(a + b)
""",
    "iterate_over_stdin": """
import sys
print([len(line) for line in sys.stdin])
""",
    "read_all_of_stdin": """
import sys
print(sys.stdin.read().split())
""",
    "read_lines_from_the_buffer": """
import sys
r = sys.stdin.buffer.readline
print(r(), r(), r())
""",
    "open_descriptor_0": "print(open(0).read().upper())",
    "open_dev_stdin": "print(open('/dev/stdin').read().upper())",
    "read_and_write_descriptors": """
import os
os.write(1, os.read(0, 3))
""",
    "write_bytes": r"""
import sys
sys.stdout.buffer.write(b'\xc3\xa9\n')
sys.stdout.flush()
print('after')
""",
    "end_of_input": """
input(); input()
try: input()
except EOFError as e: print(repr(e))
""",
    "prompt": "print(input('name? '))",
    "print_to_stderr": """
import sys
print('x', file=sys.stderr)
print('y', end='', flush=True)
""",
    "unicode": r"""
print('é', '漢字', '\N{SNOWMAN}', input())
""",
    "carriage_returns": r"""
print(repr('a\r\nb'))
print('a\r\nb')
""",
    "main_guard": """
def main(): print(__name__, __file__.rpartition('/')[2])
if __name__ == '__main__': main()
""",
    "arguments": """
import sys
print(sys.argv)
""",
    "global_statement": """
n = 0
def f():
    global n
    n += 1
f(); f()
print(n)
""",
    "class_with_super": """
class A:
    def f(self): return 1
class B(A):
    def f(self): return super().f() + 1
print(B().f())
""",
    "dataclass": """
from dataclasses import dataclass
@dataclass(order=True)
class P:
    x: int = 0
print(sorted([P(2), P()]))
""",
    "enum_and_named_tuple": """
import enum, typing
class C(enum.Enum): R = 1
class N(typing.NamedTuple): a: int
print(C.R, N(3))
""",
    "generators": """
def g():
    x = yield 1
    yield from range(x)
i = g(); next(i)
print(i.send(3), list(i))
""",
    "decorator_and_cache": """
from functools import lru_cache
@lru_cache(None)
def f(n): return n if n < 2 else f(n-1) + f(n-2)
print(f(90))
""",
    "exceptions": """
try: [][1]
except IndexError as e: print(type(e), e)
else: print('no')
finally: print('end')
""",
    "context_manager": """
from contextlib import contextmanager
@contextmanager
def c():
    print(1); yield 2; print(3)
with c() as x: print(x)
""",
    "deep_recursion": """
import sys
sys.setrecursionlimit(10**6)
def f(n): return 0 if n == 0 else 1 + f(n - 1)
print(f(20000))
""",
    "recursion_in_a_large_thread": """
import sys, threading
sys.setrecursionlimit(10**6); threading.stack_size(2**27)
def f(n): return 0 if n == 0 else 1 + f(n - 1)
t = threading.Thread(target=lambda: print(f(50000))); t.start(); t.join()
""",
    "threads": """
import threading
out = []
ts = [threading.Thread(target=out.append, args=(i,)) for i in range(8)]
[t.start() for t in ts]
[t.join() for t in ts]
print(sorted(out))
""",
    "unjoined_thread": """
import threading, time
threading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()
print('early')
""",
    "thread_pool": """
from concurrent.futures import ThreadPoolExecutor as T
with T(4) as t: print(list(t.map(abs, [-1, -2])))
""",
    "asyncio": """
import asyncio
async def f(): await asyncio.sleep(0); return 5
print(asyncio.run(f()))
""",
    "atexit": """
import atexit
atexit.register(print, 'bye')
print('hi')
""",
    "finalizer": """
class A:
    def __del__(self): print('gone', X)
X = 7
a = A()
print('end')
""",
    "exit_builtin": """
print('a')
exit()
print('b')
""",
    "exit_code": """
import sys
print('a')
sys.exit(3)
""",
    "exit_code_wraps": """
import sys
sys.exit(-1)
""",
    "exit_with_a_message": """
import sys
sys.exit('no solution')
""",
    "immediate_exit": """
import os
print('lost')
os._exit(0)
""",
    "closed_stdout": """
import sys
print('kept')
sys.stdout.close()
""",
    "replaced_stdout": """
import io, sys
real, sys.stdout = sys.stdout, io.StringIO()
print('x'); sys.stdout, t = real, sys.stdout.getvalue()
print(repr(t))
""",
    "uncaught_exception": """
def f(): return {}['k']
f()
""",
    "exception_chain": """
try: 1 / 0
except ZeroDivisionError as e: raise ValueError('bad') from e
""",
    "exception_group": "raise ExceptionGroup('g', [ValueError(1), TypeError(2)])",
    "suggestion": """
counter = 1
print(countr)
""",
    "assertion": "assert 1 + 1 == 3, 'sums'",
    "syntax_error": """
x = 1
if x
    print(x)
""",
    "indentation_error": """
def f():
return 1
""",
    "custom_except_hook": """
import sys
sys.excepthook = lambda *a: print('hook', a[0])
1 / 0
""",
    "write_a_file": """
open('a.txt', 'w').write('x')
import os
print(os.listdir('.').count('a.txt'), open('a.txt').read())
""",
    "temporary_file": """
import tempfile
with tempfile.TemporaryFile() as f: f.write(b'1'); f.seek(0); print(f.read())
""",
    "pickle_own_class": """
import pickle
class A: pass
print(type(pickle.loads(pickle.dumps(A()))) is A)
""",
    "inspect_source": """
import inspect
def f(): return 1
print(inspect.getsource(f))
""",
    "annotations": """
import typing
x: int = 1
print(__annotations__, typing.get_type_hints(__import__('__main__')))
""",
    "exec_and_eval": """
ns = {}
exec('def f(): return eval("6*7")', ns)
print(ns['f']())
""",
    "seeded_random": """
import random
random.seed(5)
print(random.random(), random.sample(range(99), 5))
""",
    "big_integers": "print(3**500, (10**30).bit_length())",
    "standard_library": """
import bisect, collections, decimal, fractions, heapq, itertools, json, math, re, statistics, string
print(math.comb(9, 4), fractions.Fraction(3, 9), json.dumps(collections.Counter('aab')))
""",
    "compression_and_hashes": """
import bz2, hashlib, lzma, zlib
print(zlib.crc32(b'a'), hashlib.sha256(lzma.decompress(lzma.compress(b'b'))).hexdigest(), bz2.compress(b'')[:2])
""",
    "database": """
import sqlite3
print(sqlite3.connect(':memory:').execute('select 1 + 1').fetchall())
""",
    "alarm": """
import signal
signal.signal(signal.SIGALRM, lambda *a: print('ring'))
signal.setitimer(signal.ITIMER_REAL, 0.02)
signal.pause()
""",
    "fork": r"""
import os
if os.fork() == 0: os.write(1, b'child\n'); os._exit(0)
os.wait()
print('parent')
""",
    "numpy": """
import numpy as np
a = np.arange(12.0).reshape(3, 4)
print(a @ a.T, np.linalg.det(np.eye(3) * 2), np.sort(np.array(input().split(), int)))
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_honest_program_does_what_a_plain_interpreter_does(name: str, execute: Execute, tmp_path: Path) -> None:
    stdin = "3 4\nsecond é\n"
    (tmp_path / "main.py").write_text(PROGRAMS[name])
    command = [sys.executable, "main.py"]
    environment = {"LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    plain = subprocess.run(command, cwd=tmp_path, env=environment, input=stdin.encode(), capture_output=True)
    run = execute(PROGRAMS[name], stdin)
    assert run.stdout == plain.stdout.decode()
    assert run.exit_code == plain.returncode, run.stderr
    assert run.stderr == plain.stderr.decode().replace(f"{tmp_path}/", "")
