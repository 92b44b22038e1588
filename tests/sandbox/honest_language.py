"""Correct programs that use one thing of the language or of a library each."""

PROGRAMS = {
    "main_guard": """
def main(): print(__name__, __file__.rpartition('/')[2])
if __name__ == '__main__': main()
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
    "finalizer": """
class A:
    def __del__(self): print('gone', X)
X = 7
a = A()
print('end')
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
    "numpy": """
import numpy as np
a = np.arange(12.0).reshape(3, 4)
print(a @ a.T, np.linalg.det(np.eye(3) * 2), np.sort(np.array(input().split(), int)))
""",
    "names_that_peers_leave_out": """
print(divmod(17, 5), bin(10), bytearray(b'ab'), super, type(1), hasattr('', 'join'), getattr(1, 'real'))
print(staticmethod, Exception, EOFError, memoryview(b'a')[0], frozenset([1]), callable(print), hash(()) == hash(()))
""",
    "sieve_in_a_bytearray": """
n = 10 ** 5
s = bytearray([1]) * (n + 1); s[:2] = b'\\0\\0'
for p in range(2, int(n ** 0.5) + 1):
    if s[p]: s[p * p :: p] = bytes(len(range(p * p, n + 1, p)))
print(sum(s))
""",
    "cached_functions": """
import functools
@functools.cache
def f(n): return 1 if n < 2 else n * f(n - 1)
class A:
    @functools.cached_property
    def p(self): print('once'); return 7
a = A()
print(f(30), f.cache_info().misses, a.p + a.p)
""",
    "global_state": """
seen, count = {}, 0
def visit(word):
    global count
    count += 1
    seen.setdefault(word, count)
visit(input()); visit('again')
print(count, list(seen.values()))
""",
    "mutable_default": """
def f(x, acc=[]):
    acc.append(x)
    return acc
f(1)
print(f(input()))
""",
    "class_attribute": """
class Counter:
    made = 0
    def __init__(self): Counter.made += 1
Counter(); Counter()
print(Counter.made)
""",
    "changed_builtin": """
import builtins
n = getattr(builtins, 'n_changes', 0)
builtins.n_changes = n + 1
print(n)
real, builtins.print = print, lambda *a, **k: None
print('not seen')
real('seen')
""",
    "changed_module": """
import math
math.pi = math.pi if hasattr(math, 'mine') else 3
math.mine = True
print(math.pi)
""",
    "changed_recursion_limit": """
import sys
print(sys.getrecursionlimit() < 2000)
sys.setrecursionlimit(12345)
print(sys.getrecursionlimit())
""",
    "changed_decimal_context": """
import decimal
print(decimal.getcontext().prec)
decimal.getcontext().prec = 50
print(decimal.Decimal(1) / 7)
""",
    "changed_random_state": """
import random
random.seed(input())
print(random.random(), random.getrandbits(80))
random.shuffle(x := list(range(9)))
print(x)
""",
    "changed_int_digits": """
import sys
sys.set_int_max_str_digits(0)
print(len(str(7 ** 9000)), int('9' * 6000) % 97)
""",
    "int_digits_refused": """
try: str(7 ** 9000)
except ValueError as e: print(str(e)[:40])
""",
    "changed_hooks": """
import sys
sys.displayhook = print
sys.settrace(None)
sys.stdout.flush()
sys.path.append('nowhere')
print(sys.path.count('nowhere'))
""",
    "own_module_object": """
import sys, types
m = sys.modules.get('mine')
print(m is None)
sys.modules['mine'] = types.ModuleType('mine')
import mine
print(mine.__name__)
""",
    "numbers_of_all_kinds": """
import cmath, decimal, fractions
print(decimal.Decimal('0.1') + decimal.Decimal('0.2'), fractions.Fraction('3/6'), (1 + 2j) * 1j, cmath.sqrt(-1))
print(0.1 + 0.2, 1e300 * 1e10, float('-inf'), round(2.5), -7 // 2, -7 % 3, 2 ** -1, pow(3, -1, 7), 1_000)
""",
    "pattern_matching": """
def f(x):
    match x:
        case {'a': [1, *rest]}: return rest
        case str(s) if s: return s.upper()
        case (a, b) | [a, b, _]: return a + b
        case _: return None
print(f({'a': [1, 2, 3]}), f(input()), f((1, 2)), f(0))
""",
    "walrus_and_comprehensions": """
print([y for x in range(5) if (y := x * x) % 2], {k: v for k, v in zip('ab', [1, 2])}, {*'aab'} == {'b', 'a'})
""",
    "star_imports": """
from math import *
from itertools import *
from collections import *
print(floor(pi), list(islice(count(), 3)), Counter('aab').most_common(1), pow(2, 3))
""",
    "future_annotations": """
from __future__ import annotations
class Node:
    def __init__(self, next: Node | None = None) -> None: self.next = next
    def tail(self) -> list[Undefined]: return []
print(Node(Node()).next.next, Node.tail.__annotations__)
""",
    "generic_types": """
from typing import Generic, List, Optional, Protocol, TypeVar
T = TypeVar('T')
class Stack(Generic[T]):
    def __init__(self) -> None: self.items: List[T] = []
class P(Protocol):
    def f(self) -> Optional[int]: ...
print(Stack[int]().items, List[int])
""",
    "metaclass_and_descriptors": """
class Meta(type):
    def __new__(m, name, bases, d): d['made'] = name; return super().__new__(m, name, bases, d)
class A(metaclass=Meta):
    __slots__ = ('x',)
    def __init_subclass__(cls): print('sub', cls.__name__)
class B(A): pass
print(B.made, B().__class__.__mro__[1].__name__)
""",
    "generator_cleanup": """
def g():
    try:
        while True: yield 1
    finally: print('closed')
i = g(); next(i)
print('end')
""",
    "cycle_with_a_finalizer": """
import gc, weakref
class A:
    def __init__(self): self.me = self
    def __del__(self): print('collected')
r = weakref.ref(A())
gc.collect()
print(r() is None)
""",
    "warnings_of_its_own": """
import warnings
warnings.warn('careful')
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always'); warnings.warn('again')
print(len(caught))
""",
    "locale": """
import locale
print(f'{1234567.891:,.2f}', f'{1234567:n}', locale.localeconv()['decimal_point'])
""",
    "heaps_and_bisection": """
import bisect, heapq
h = [5, 1, 4]; heapq.heapify(h)
print(heapq.heappop(h), heapq.nlargest(2, h), bisect.bisect_left([1, 2, 2, 3], 2))
bisect.insort(h, 9, key=lambda v: -v)
print(heapq.merge([1], [0]).__next__())
""",
    "dates_and_text": """
import datetime, re, string, textwrap
print(datetime.date(2024, 2, 28) + datetime.timedelta(2), re.sub(r'(?<=a)b+', lambda m: str(len(m[0])), 'abbb'))
print(string.ascii_lowercase[:3], textwrap.shorten('a long line', 8), '%05.1f|%-4s|' % (3.14159, 'x'), 'ß'.upper())
""",
    "operators_as_methods": """
class V:
    def __init__(s, x): s.x = x
    def __add__(s, o): return V(s.x + o.x)
    def __lt__(s, o): return s.x < o.x
    def __repr__(s): return f'V{s.x}'
    def __getitem__(s, i): return s.x * i
    def __bool__(s): return s.x > 1
    __radd__ = lambda s, o: s
print(sorted([V(3), V(1)]), sum([V(1), V(2)]), V(2)[4], [v for v in (V(1), V(2)) if v])
""",
    "closures": """
fs = [lambda i=i: i for i in range(3)]
def outer():
    n = 0
    def inner():
        nonlocal n
        n += 1
        return n
    return inner
f = outer(); f()
print([g() for g in fs], f())
""",
    "exception_with_notes": """
try:
    try: int(input())
    except ValueError as e: e.add_note('a note'); raise
except ValueError as e: print(e.__notes__)
try: raise ExceptionGroup('g', [ValueError(1), KeyError('k')])
except* ValueError as g: print('values', g.exceptions)
except* KeyError as g: print('keys', g.exceptions)
""",
    "names_of_the_driver": """
run, compiled, program, stdin, argv, input_, worker, script, main = range(9)
print(run + main, 'worker' in dir(), sorted(n for n in globals() if not n.startswith('__')))
""",
    "deep_recursion_caught": """
import sys
def f(n): return f(n + 1)
try: f(0)
except RecursionError: print('too deep')
sys.setrecursionlimit(5000)
def g(n): return n and 1 + g(n - 1)
print(g(4000))
""",
    "numpy_state": """
import numpy as np
np.random.seed(3); np.set_printoptions(precision=3, suppress=True); np.seterr(all='ignore')
print(np.random.rand(3), np.array([1.0]) / 0, np.cumsum(np.arange(5)), np.int64(2) ** 40)
""",
    "sorted_containers": """
from sortedcontainers import SortedDict, SortedList
l = SortedList([3, 1, 2]); l.add(0)
print(l, l.bisect_left(2), SortedDict(b=1, a=2).peekitem(0))
""",
}
