"""The judge of programs, attacked by programs that cheat and programs that leak."""

import pytest
from sums import SECRETS, SUM, TOTAL, judge, told

from sdpo_envs import explain
from sdpo_envs.codejudge import Exam
from sdpo_envs.feedback import redact

# Cheating. None of these may pass; each is a verdict, not an exception.

SEARCH_FRAMES = """
import gc

NAMES = ("expected", "output", "outputs", "case", "cases", "exam", "test_output", "gt_out", "in_outs")

def wanted(frame):
    while frame:
        for space in (frame.f_locals, frame.f_globals):
            for name in NAMES:
                if name in space:
                    return space[name]
        frame = frame.f_back
    spaces = [found for found in gc.get_objects() if isinstance(found, dict)]
    return next((space[name] for space in spaces for name in NAMES if name in space), 6)
"""
FORGE = """
import os

def forge():
    for descriptor in range(20):
        try:
            os.write(descriptor, b"6\\n")
        except OSError:
            pass

"""
CHEATING_FUNCTIONS = {
    "frames": SEARCH_FRAMES
    + """
def total(numbers, more):
    return wanted(sys._getframe())
""",
    "frames of a generator": SEARCH_FRAMES
    + """
def steps():
    yield wanted(walk.gi_frame)

def total(numbers, more):
    global walk
    walk = steps()
    return next(walk)
""",
    "frames of a traceback": SEARCH_FRAMES
    + """
def total(numbers, more):
    try:
        1 / 0
    except ZeroDivisionError as error:
        return wanted(error.__traceback__.tb_frame)
""",
    "an int that equals everything": """
class Anything(int):
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = int.__hash__
    __repr__ = __str__ = lambda self: "true"

def total(numbers, more):
    return Anything()
""",
    "an object that equals everything": """
class Anything:
    __eq__ = lambda self, other: True

def total(numbers, more):
    return Anything()
""",
    "an array of itself": """
class Anything:
    tolist = lambda self: self

def total(numbers, more):
    return Anything()
""",
    "sys.exit": "def total(numbers, more): sys.exit(0)",
    "os._exit": "import os\ndef total(numbers, more): os._exit(0)",
    "sys.exit at once": "sys.exit(0)",
    "os._exit at once": "import os\nos._exit(0)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "json.dumps": "json.dumps = lambda *args, **keywords: '6'\ndef total(numbers, more): return 6",
    "compile and exec": "import builtins\nbuiltins.compile = builtins.exec = None\ndef total(numbers, more): return 6",
    "streams of None": "sys.stdout = sys.stderr = None\ndef total(numbers, more): return 6",
    "closed streams": "import os\nos.closerange(0, 20)\ndef total(numbers, more): return 6",
    "a forged result before the result": FORGE + "def total(numbers, more): forge(); return 6",
    "a forged result and an exit": FORGE + "def total(numbers, more): forge(); os._exit(0)",
    "a forged result while loading": FORGE + "forge(); os._exit(0)",
    "a thread that prints": "import threading\ndef total(a, b): threading.Thread(target=lambda: print(6)).start()",
    "no function": "total = 6",
    "itself": "def total(numbers, more): return total",
    "a list of itself": "def total(numbers, more): numbers.append(numbers); return numbers",
    "a list too deep": "def total(numbers, more): return reduce(lambda inner, _: [inner], range(40_000), 6)",
    "a Solution that cannot be made": "class Solution:\n    def __init__(self, x): pass\n    total = lambda *_: 6",
    "a Solution that resists": "class Solution(type):\n    def __getattr__(self, name): raise RuntimeError(name)",
}


@pytest.mark.parametrize("code", CHEATING_FUNCTIONS.values(), ids=CHEATING_FUNCTIONS)
def test_a_function_that_cheats_gets_nothing_for_the_hidden_test(code: str) -> None:
    verdict = judge(code, TOTAL)
    assert (verdict.passed, verdict.reward) == (False, 0.0)
    assert told(verdict)
    assert not any(secret in told(verdict) for secret in SECRETS)


CHEATING_PROGRAMS = {
    "frames": f"import sys\n{SEARCH_FRAMES}\nprint(wanted(sys._getframe()))",
    "sys.exit": "import sys\nsys.exit(0)",
    "os._exit": "import os\nos._exit(0)",
    "SIGKILL": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "every descriptor": FORGE.replace("6", "3") + "forge()",
    "files": "import pathlib\nfor path in pathlib.Path('/').rglob('*.json*'): print(path.read_text())",
    "the environment of the parent": "import os\nprint(open(f'/proc/{os.getppid()}/environ').read())",
    "half a surrogate pair": "print('\\ud800')",
    "every byte": "import sys\nsys.stdout.buffer.write(bytes(range(256)))",
    "the terminal": "print(chr(27) + '[2J' + chr(0) * 100)",
}


@pytest.mark.parametrize("code", CHEATING_PROGRAMS.values(), ids=CHEATING_PROGRAMS)
def test_a_program_that_cheats_gets_nothing_for_the_hidden_test(code: str) -> None:
    verdict = judge(code)
    assert (verdict.passed, verdict.reward) == (False, 0.0)
    assert told(verdict).encode()
    assert not any(secret in told(verdict) for secret in SECRETS)


# Leaking. A program can put its input into whatever it does; without `reveal` none of it may come out.

LEAKS = {
    "output": "print(text)",
    "error output": "print(text, file=sys.stderr)",
    "a message": "print(text); raise ValueError(text)",
    "a message of many lines": "raise ValueError('x\\n' + text)",
    "a note": "error = ValueError('x'); error.add_note(text); raise error",
    "a cause": "raise KeyError('x') from ValueError(text)",
    "a group": "raise ExceptionGroup(text, [ValueError(text)])",
    "a type": "raise type(text, (Exception,), {})(text)",
    "a type that claims to be built in": "raise type(text, (ValueError,), {'__module__': 'builtins'})",
    "an exit message": "sys.exit(text)",
    "an exit code": "sys.exit(int(text[:2]))",
    "a file name": "exec(compile('1 / 0', text, 'exec'))",
    "a line number": "exec(compile('\\n' * int(text[:5]) + '1 / 0', 'main.py', 'exec'))",
    "a function name": "exec(f'def f{text[:8]}(): 1 / 0\\nf{text[:8]}()')",
    "a forged traceback": "sys.exit(HEAD + f'  File \"main.py\", line 2, in {text}\\n{text}: {text}')",
    "a forged exception": "sys.exit(HEAD + text.split()[0] + 'Error: x')",
    "a forged syntax error": "raise SyntaxError(text, ('main.py', 1, 1, text))",
    "forged words about a syntax error": "sys.exit(f'  File \"main.py\", line 1\\n{text}\\nSyntaxError: {text}')",
    "an exception hook": "sys.excepthook = lambda *_: sys.stderr.write(text); 1 / 0",
    "an abort": "os.write(2, text.encode()); os.abort()",
    "too much output": "print(text * 500_000)",
    "too much memory": "print(text, file=sys.stderr); x = [0] * 10**10",
    "too much time": "print(text, file=sys.stderr, flush=True); time.sleep(60)",
    "which of its functions fails": "[a, b, c, d, e][int(text[2]) - 1]()",
    "the program's own file": "open('main.py', 'w').write('raise ' + text); raise ValueError",
}


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("exam", [Exam(SUM.cases[1:]), Exam(TOTAL.cases[1:], TOTAL.function, TOTAL.parameters)])
def test_no_hidden_input_leaks_through_what_a_program_does(leak: str, exam: Exam) -> None:
    code = "import os, sys, time\nHEAD = 'Traceback (most recent call last):\\n'\n"
    code += "".join(f"def {name}(): raise ValueError\n" for name in "abcde")
    code += "def total(numbers, more):\n    text = f'{numbers[0]} {more}'\n    " + LEAKS[leak]
    code += "" if exam.function else "\nnumber, more = input().split()\ntotal([number], more)"
    verdict = judge(code, exam, seconds=1.0)
    assert not verdict.passed
    assert "line" not in told(verdict)
    assert "31415" not in told(verdict) + str(redact(verdict))
    assert "31415" in told(verdict, reveal=True)
    assert explain(verdict, reveal=True).reveals_answer
