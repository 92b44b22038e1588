"""What an LLM judge answered, kept by the content of what it was asked: in this process, and on disk if wished.

A file per answer, ``<folder>/<two digits>/<key>.json``, written whole or not at all. Several processes may share a
folder: of two that ask the same at once, both go on with the answer that was there first. A file that cannot be read
counts as none, and is replaced.
"""

import hashlib
import json
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, TypeVar

from sdpo_envs.errors import JudgeError

T = TypeVar("T")

_REMEMBERED = 4096


def content_key(*content: Any) -> str:
    """Return the SHA-256 of some JSON values, in hexadecimal: the name of what is known of them."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()


class VerdictCache(Generic[T]):
    """Asks once for each key, and remembers the last 4096 answers; on disk, all.

    Args:
        folder: Where to keep answers, made when it is needed; None keeps none on disk. It holds what judges said, with
            what they withheld from policies.
        read: Turns the text of an answer into what is wanted, or raises ValueError where it is not one.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, read: Callable[[str], T]) -> None:
        self.folder = None if folder is None else Path(folder)
        self._read = read
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, Future[T]] = OrderedDict()

    def get(self, key: str, ask: Callable[[], str]) -> T:
        """Return what is known of `key`, or `ask` for it. Threads that want the same wait for one answer.

        Raises:
            JudgeError: the folder cannot be used; or what `ask` raises, of which nothing is remembered.
        """
        with self._lock:
            future = self._asked.get(key)
            mine = future is None
            if future is None:
                future = self._asked[key] = Future()
            self._asked.move_to_end(key)
            if len(self._asked) > _REMEMBERED:
                self._asked.popitem(last=False)
        if mine:
            try:
                future.set_result(self._found(key, ask))
            except BaseException as error:
                with self._lock:
                    self._asked.pop(key, None)
                future.set_exception(error)
                raise
        return future.result()

    def _found(self, key: str, ask: Callable[[], str]) -> T:
        if self.folder is None:
            return self._read(ask())
        path = self.folder / key[:2] / f"{key}.json"
        answer = self._kept(path)
        return self._read(self._keep(path, ask()) if answer is None else answer)

    def _kept(self, path: Path) -> str | None:
        """Return the text that is kept in a file, or None if that is not an answer."""
        try:
            answer = json.loads(path.read_text(encoding="utf-8"))["answer"]
            self._read(answer)
        except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        except OSError as error:
            raise self._unusable(error) from error
        return str(answer)

    def _keep(self, path: Path, answer: str) -> str:
        """Put a file in its place, unless another process was first; return the text that stands there."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=path.parent, suffix=".new")
            try:
                with open(number, "w", encoding="utf-8") as file:
                    json.dump({"answer": answer}, file)
                return answer if _linked(name, path) else self._settled(name, path, answer)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _settled(self, name: str, path: Path, answer: str) -> str:
        """Return the answer that is there already, or replace what is none."""
        other = self._kept(path)
        if other is None:
            os.replace(name, path)
        return answer if other is None else other

    def _unusable(self, error: OSError) -> JudgeError:
        return JudgeError(
            f"Answers of the judge cannot be kept in {self.folder}: {error}. Give a folder that can be written to."
        )


def _linked(name: str, path: Path) -> bool:
    """Give a file its final name, if no other has it and the file system can."""
    try:
        os.link(name, path)
    except OSError:
        return False
    return True
