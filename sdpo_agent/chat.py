"""From conversations to tokens. Knows a tokenizer and its chat template, and no model.

A conversation grows token by token: what was sampled stays as it was sampled, and only the turns between are written by
the template. So what is scored is what was read, also where a template would write an earlier answer differently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sdpo_agent.attempt import Conversation, Message, Turn

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}{{ message.role }}: {{ message.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""For a tokenizer without a chat template, as base models have."""


@dataclass(frozen=True, slots=True)
class Script:
    """A conversation as tokens.

    Attributes:
        token_ids: All of it. Each token attends to all before it.
        written: The positions of the tokens that the policy wrote, in order: those that are scored.

    Raises:
        ValueError: the first token is to be scored.
    """

    token_ids: tuple[int, ...]
    written: tuple[int, ...]

    def __post_init__(self) -> None:
        if 0 in self.written:
            raise ValueError("The first token of a script follows nothing, so it cannot be scored.")

    @property
    def written_ids(self) -> list[int]:
        """The tokens that the policy wrote."""
        return [self.token_ids[position] for position in self.written]


class Chat:
    """Writes conversations in the tokens of one tokenizer.

    Attributes:
        tokenizer: Of the transformers library.
        stop_ids: The tokens that end an action.
    """

    def __init__(self, tokenizer: Any, stop_ids: frozenset[int]) -> None:
        self.tokenizer = tokenizer
        self.stop_ids = stop_ids
        self._end = (tokenizer.eos_token_id,)
        self._remembered = lru_cache(512)(self._write)  # the attempts of a group read the same

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Write a conversation as tokens, up to where the policy's answer begins.

        The tokenizer's chat template is used, with thinking off where it can be turned off, and `PLAIN_TEMPLATE` if it
        has none. Special tokens inside a message are read as plain text, so that no output of a program can end a turn
        and speak for somebody else. Lone surrogates become ``?``.

        Args:
            messages: Each with a ``"role"`` (system, user or assistant) and its ``"content"``.
        """
        return list(self._remembered(tuple((message["role"], message["content"]) for message in messages)))

    def _write(self, messages: tuple[tuple[str, str], ...]) -> tuple[int, ...]:
        ids = self.tokenizer.apply_chat_template(
            [{"role": role, "content": _writable(content)} for role, content in messages],
            chat_template=None if self.tokenizer.chat_template else PLAIN_TEMPLATE,
            add_generation_prompt=True,
            enable_thinking=False,
            sanitize_control_tokens=True,
            return_dict=False,
        )
        return tuple(ids)

    def answer_ids(self, text: str) -> list[int]:
        """Write `text` as the tokens of a finished action, its end token last; special tokens in it are plain text."""
        ids = self.tokenizer.encode(_writable(text), add_special_tokens=False, split_special_tokens=True)
        return [*ids, cast(int, self.tokenizer.eos_token_id)]

    def script(self, turns: Sequence[Turn], opening: str | None = None) -> Script:
        """Write turns that were read together.

        Args:
            turns: At least one. What a server wrote has no tokens: it is written anew, and not scored.
            opening: What is read in place of the first observation, such as a hindsight; it stands inside that user
                turn, before everything that is scored.
        """
        first = turns[0]
        shown = first.observation if opening is None else opening
        ids, written = self.prompt_ids(Conversation(shown, first.system).messages()), list[int]()
        for earlier, turn in zip([None, *turns], turns, strict=False):
            ids += [] if earlier is None else self._between(earlier, turn.observation)
            written += range(len(ids), len(ids) + len(turn.token_ids))
            ids += turn.token_ids or self.answer_ids(turn.action)
        return Script(tuple(ids), tuple(written))

    def context_ids(self, conversation: Conversation) -> list[int]:
        """Write what is read before the next action."""
        turns = conversation.turns
        if not turns:
            return self.prompt_ids(conversation.messages())
        return [*self.script(turns).token_ids, *self._between(turns[-1], conversation.observation)]

    def _between(self, turn: Turn, observation: str) -> list[int]:
        """Write what stands between the action of `turn` and the next: its end, if cut short, and a user turn.

        It is what a template writes after the answer, whatever the answer is.
        """
        said = [{"role": "user", "content": "a"}, {"role": "user", "content": observation}]
        one, other = (
            self.prompt_ids([said[0], {"role": "assistant", "content": answer}, said[1]]) for answer in ("b", "c")
        )
        shared = _common(one[::-1], other[::-1])
        ids = one[len(one) - shared :]
        last = turn.token_ids[-1:] or self._end  # what a server wrote is written with an end
        return ids[1:] if last == (ids[0],) and self.stop_ids.issuperset(last) else ids


def families(scripts: Sequence[Script]) -> list[tuple[list[int], int]]:
    """Part scripts into runs of neighbours that begin alike, and one of those that begin like no neighbour.

    A script joins the run before it if they share at least half of what it reads before it writes, and of what the run
    had in common. What is shared ends before the token from which the first written one is predicted.

    Returns:
        For each run the numbers of its scripts, and how many tokens they have in common, 0 for the last.
    """
    runs: list[tuple[list[int], int]] = []
    for number, script in enumerate(scripts):
        context = min(script.written, default=len(script.token_ids))
        if runs:
            run, before = runs[-1]
            shared = min(before, context - 1, _common(scripts[run[0]].token_ids, script.token_ids))
            if 2 * shared >= max(context, before):
                runs[-1] = ([*run, number], shared)
                continue
        runs.append(([number], max(0, context - 1)))
    alone = [number for run, _ in runs if len(run) == 1 for number in run]
    return [*((run, shared) for run, shared in runs if len(run) > 1), *([(alone, 0)] if alone else [])]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with in common."""
    pairs = zip(one, other, strict=False)
    return next(
        (position for position, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other))
    )


def _writable(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes, by ``?``."""
    return text.encode(errors="replace").decode()
