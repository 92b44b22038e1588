"""Correct programs that use one thing of the system each: streams, files, threads, signals, ways to end."""

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
    "arguments": """
import sys
print(sys.argv)
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
    "atexit": """
import atexit
atexit.register(print, 'bye')
print('hi')
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
    "write_a_file": """
open('a.txt', 'w').write('x')
import os
print(os.listdir('.').count('a.txt'), open('a.txt').read())
""",
    "temporary_file": """
import tempfile
with tempfile.TemporaryFile() as f: f.write(b'1'); f.seek(0); print(f.read())
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
    "fast_input_and_output": r"""
import io, os, sys
data = io.BytesIO(os.read(0, os.fstat(0).st_size or 1 << 16)).readline
out = io.StringIO()
print(len(data()), file=out)
sys.stdout.write(out.getvalue())
""",
    "replaced_stdin": """
import io, sys
sys.stdin = io.TextIOWrapper(sys.stdin.buffer, newline='')
input = sys.stdin.readline
print(input().strip(), sys.stdin.readline())
""",
    "read_input_twice": """
import sys
first = sys.stdin.read()
print(len(first), repr(sys.stdin.read()), sys.stdin.readlines())
""",
    "closed_stdin": """
import sys
word = input()
sys.stdin.close()
try: sys.stdin.read()
except ValueError as e: print(word, e)
""",
    "file_input": """
import fileinput
for line in fileinput.input(): print(fileinput.lineno(), line, end='')
""",
    "redirected_descriptor": """
import os, sys
print('before', flush=True)
keep = os.dup(1)
os.dup2(os.open('out.txt', os.O_CREAT | os.O_WRONLY, 0o600), 1)
print('into the file', flush=True)
os.dup2(keep, 1)
print('after', open('out.txt').read())
""",
    "print_without_a_newline": "print(1, 2, sep='-', end=''); print(end=''); print(*[], sep='x', end='.')",
    "write_lines": """
import sys
sys.stdout.writelines(f'{i}\\n' for i in range(3))
print(sys.stdout.write('four'), file=sys.stderr)
""",
    "much_output": "print('x' * 300_000); print(*range(20_000))",
    "reconfigured_stdout": r"""
import sys
sys.stdout.reconfigure(line_buffering=True, encoding='ascii', errors='backslashreplace')
print('é')
""",
    "redirect_stdout": """
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as f: print('quiet')
print(len(f.getvalue()))
""",
    "immediate_exit_after_a_flush": """
import os
print('kept', input(), flush=True)
os._exit(0)
""",
    "exit_with_zero": """
import sys
def main():
    print(input())
    sys.exit(0)
main()
""",
    "quit_builtin": "print(input()); quit()",
    "exit_with_nothing": "raise SystemExit",
    "caught_exit": """
import sys
try: sys.exit(5)
except SystemExit as e: print('still here', e.code)
""",
    "killed_by_itself": """
import os, signal
print('sent', flush=True)
os.kill(os.getpid(), signal.SIGKILL)
""",
    "atexit_in_reverse_order": """
import atexit
state = [input()]
@atexit.register
def last(): print('last', state)
atexit.register(state.append, 'added')
""",
    "daemon_thread": """
import threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print('does not wait')
""",
    "timer_thread": """
import threading
threading.Timer(0.02, lambda: print('ring')).start()
print('set')
""",
    "thread_locals_and_queue": """
import queue, threading
q, local = queue.Queue(), threading.local()
def work(n):
    local.n = n
    q.put(local.n * 2)
threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
for t in threads: t.start()
for t in threads: t.join()
print(sorted(q.get() for _ in range(5)), hasattr(local, 'n'))
""",
    "multiprocessing": """
import multiprocessing
def work(word): print('child', word, flush=True)
if __name__ == '__main__':
    p = multiprocessing.get_context('fork').Process(target=work, args=(input(),))
    p.start(); p.join()
    print(p.exitcode)
""",
    "pipe_to_a_child": r"""
import os
r, w = os.pipe()
if os.fork() == 0:
    os.close(r); os.write(w, b'from the child\n'); os._exit(7)
os.close(w)
print(open(r).read(), os.waitstatus_to_exitcode(os.wait()[1]))
""",
    "alarm_of_its_own": """
import signal
class Late(Exception): pass
def ring(*_): raise Late
signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    while True: pass
except Late: print('gave up', input())
""",
    "folders_and_files": """
import os, pathlib, shutil
os.makedirs('a/b'); pathlib.Path('a/b/c.txt').write_text(input())
print(sorted(str(p) for p in pathlib.Path('a').rglob('*')), open('a/b/c.txt').read())
shutil.rmtree('a')
print(os.path.exists('a'))
""",
    "counter_in_a_file": """
import os
n = int(open('n.txt').read()) if os.path.exists('n.txt') else 0
open('n.txt', 'w').write(str(n + 1))
print(n)
""",
    "change_of_directory": """
import os
os.mkdir('deep'); os.chdir('deep'); open('x', 'w').close()
print(os.listdir('.'), os.path.basename(os.getcwd()))
""",
    "environment_variable": """
import os
print(os.environ.get('MINE'))
os.environ['MINE'] = 'set'
print(os.getenv('MINE'))
""",
    "limits_of_its_own": """
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
print(resource.getrlimit(resource.RLIMIT_CORE), isinstance(soft, int))
""",
    "resource_warning_ignored": "open('x', 'w'); print(input())",
    "clocks": """
import time
t = time.perf_counter(); time.sleep(0.01)
print(time.perf_counter() - t >= 0.01, time.time() > 1.6e9, len(time.strftime('%Y')), time.monotonic() > 0)
""",
    "asyncio": """
import asyncio
async def f(): await asyncio.sleep(0); return 5
print(asyncio.run(f()))
""",
    "async_generators": """
import asyncio
async def count(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i
async def main():
    print([i async for i in count(3)], await asyncio.gather(*[asyncio.sleep(0, i) for i in range(3)]))
asyncio.run(main())
""",
}
