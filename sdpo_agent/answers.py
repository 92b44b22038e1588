"""A sampler as `sdpo_envs.bench.evaluate` takes a policy: any model behind a server, or one in this process."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

from sdpo_agent.attempt import Conversation, Turn
from sdpo_agent.rollout import Sampler
from sdpo_envs import SettingError
from sdpo_envs.bench import Message, Reply


class Answers:
    """Writes the actions of an evaluation.

    In one line::

        evaluate(Answers(Server("Qwen/Qwen3-0.6B", "http://localhost:8000/v1")), [("sdpo/ToolUse-v0", {})])

    The seed of each action follows from `seed`, from the chat that is answered, and from how often it was answered
    before: not from how many attempts are made side by side.

    Args:
        sampler: A `Server`, or a `Policy`.
        max_tokens: The longest action.
        temperature: Of the sampling.
        seed: Of the sampling.

    Attributes:
        written: How many actions it has written.
        cut_short: How many of them the token limit ended.
        tokens: How many tokens they have, as far as that is known.
        prompt_tokens: How many were read before them, as far as a server told.
    """

    def __init__(self, sampler: Sampler, *, max_tokens: int = 2048, temperature: float = 1.0, seed: int = 0) -> None:
        self.sampler, self.max_tokens, self.temperature, self.seed = sampler, max_tokens, temperature, seed
        self.written = self.cut_short = self.tokens = self.prompt_tokens = 0
        self._answered: Counter[bytes] = Counter()

    def __call__(self, chats: Sequence[Sequence[Message]]) -> list[Reply]:
        """Answer each chat.

        Raises:
            InfrastructureError: the server failed. The same call once more asks only for the rest.
            SettingError: a chat is not turns of user and assistant, after a system prompt or none, that end with the
                user's.
        """
        conversations = [_conversation(chat) for chat in chats]
        answered, seeds = self._answered.copy(), []
        for chat in chats:
            seeds.append(self._seed(digest := _digest(chat), answered[digest]))
            answered[digest] += 1
        turns = self.sampler.write(conversations, max_tokens=self.max_tokens, temperature=self.temperature, seeds=seeds)
        self._answered = answered
        self.written += len(turns)
        self.cut_short += sum(turn.cut_short for turn in turns)
        self.tokens += sum(turn.tokens for turn in turns)
        self.prompt_tokens += sum(turn.prompt_tokens for turn in turns)
        return [Reply(turn.action, turn.tokens, turn.prompt_tokens or None, turn.cut_short) for turn in turns]

    def _seed(self, digest: bytes, times: int) -> int:
        told = b"%d %d %s" % (self.seed, times, digest)
        return int.from_bytes(hashlib.sha256(told).digest()[:8]) >> 1


def _digest(chat: Sequence[Message]) -> bytes:
    return hashlib.sha256(json.dumps([dict(message) for message in chat]).encode()).digest()


def _conversation(chat: Sequence[Message]) -> Conversation:
    """Read a chat."""
    system = chat[0]["content"] if chat and chat[0]["role"] == "system" else ""
    said = chat[1:] if chat and chat[0]["role"] == "system" else chat
    roles = [message["role"] for message in said]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise SettingError(f"A chat of the roles {roles} cannot be answered; it is user, assistant, ..., user.")
    texts = [message["content"] for message in said]
    turns = tuple(Turn(asked, wrote, (), ()) for asked, wrote in zip(texts[::2], texts[1::2], strict=False))
    return Conversation(texts[-1], system, turns)
