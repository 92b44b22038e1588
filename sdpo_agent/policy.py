"""The policy: a causal language model that samples actions and scores them. The only file that knows transformers.

A name carries its axes: B rows, P prompt tokens, T action tokens, V vocabulary. Prompts are padded on the left and
actions on the right, so that every action begins in the same column; padding is masked and has no position of its own.
Nothing is ever cut silently: what does not fit the model is a `ValueError`.
"""

import copy
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import tokenizers
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import PreTrainedTokenizerFast as FastTokenizer
from transformers.utils import logging

from sdpo_agent.losses import inside

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}{{ message.role }}: {{ message.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""For a tokenizer without a chat template, as base models have."""

SMALL_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'system' %}<|system|>{% elif message.role == 'assistant' %}"
    "<|assistant|>{% else %}<|user|>{% endif %}{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""For `Policy.small`. Special tokens stand whole in it: sanitising finds no token that a template puts together."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled action: what a `sdpo_agent.attempt.Turn` remembers of it, and described there."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    cut_short: bool


class Policy:
    """A causal language model and its tokenizer.

    Attributes:
        model: Moved to the first GPU, or the CPU, unless told where. Always in evaluation mode: with dropout, what is
            trained would not be what was sampled.
        tokenizer: Its own.
        stop_ids: The tokens that end an action: those of the generation settings and the tokenizer's end token.
        max_positions: The longest prompt and action together, in tokens; infinite where the model names no limit.

    Raises:
        ValueError: the model takes no position ids, so that prompts of unequal length cannot be read side by side.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer, device: str | torch.device | None = None) -> None:
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if "position_ids" not in inspect.signature(model.forward).parameters:
            raise ValueError(f"{type(model).__name__} takes no position_ids; choose a model that does, such as Qwen3.")
        self.model = nn.Module.to(model, device).train(False)
        self.max_positions: float = getattr(model.config.get_text_config(), "max_position_embeddings", math.inf)
        self.tokenizer = tokenizer
        ends = model.generation_config.eos_token_id if model.generation_config else None
        ends = ends if isinstance(ends, list) else [ends]
        self.stop_ids = frozenset(token for token in [*ends, tokenizer.eos_token_id] if token is not None)

    @classmethod
    def load(
        cls, source: str | Path, *, device: str | torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> Self:
        """Load a folder written by `save`, or a model of the Hugging Face hub, such as ``"Qwen/Qwen3-0.6B"``.

        The weights are float32 unless told otherwise: bfloat16 rounds the updates of a small learning rate away.
        """
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
        return cls(model, AutoTokenizer.from_pretrained(source), device)

    @classmethod
    def small(
        cls,
        *,
        texts: Iterable[str] = (),
        vocab_size: int = 512,
        seed: int = 0,
        hidden: int = 128,
        layers: int = 3,
        heads: int = 4,
        max_positions: int = 4096,
        device: str | torch.device | None = None,
    ) -> Self:
        """Build an untrained Qwen3 decoder over bytes, to learn small tasks from nothing where no model can be loaded.

        Args:
            texts: What byte pairs are merged on, to shorten sequences; none leaves one token per byte.
            vocab_size: The most tokens; the bytes and the special tokens are 261 of them.
            seed: Of the weights; the global generator is left as it was.
            hidden: Width, a multiple of 2 * `heads`.
            layers: Number of decoder layers.
            heads: Number of attention heads.
            max_positions: The longest prompt and action together, in tokens.
            device: As for `load`.
        """
        tokenizer = _byte_tokenizer(texts, vocab_size)
        config = Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            head_dim=hidden // heads,
            max_position_embeddings=max_positions,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return cls(Qwen3ForCausalLM(config), tokenizer, device)

    def save(self, folder: str | Path) -> None:
        """Write the model and the tokenizer so that `load` reads them."""
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # its bars would tear the training loop's
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]

    def copy(self) -> Self:
        """Return a policy with weights of its own, equal now: where a teacher starts."""
        return type(self)(copy.deepcopy(self.model), self.tokenizer, self.device)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the weights, in an order that copies share."""
        yield from self.model.parameters()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def prompt_ids(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Write a conversation as tokens, up to where the policy's answer begins.

        The tokenizer's chat template is used, with thinking off where it can be turned off, and `PLAIN_TEMPLATE` if it
        has none. Special tokens inside a message are read as plain text, so that no output of a program can end a turn
        and speak for somebody else. Lone surrogates become ``?``.

        Args:
            messages: Each with a ``"role"`` (system, user or assistant) and its ``"content"``.
        """
        ids = self.tokenizer.apply_chat_template(
            [{key: _writable(text) for key, text in message.items()} for message in messages],
            chat_template=None if self.tokenizer.chat_template else PLAIN_TEMPLATE,
            add_generation_prompt=True,
            enable_thinking=False,
            sanitize_control_tokens=True,
            return_dict=False,
        )
        return cast(list[int], ids)

    def answer_ids(self, text: str) -> list[int]:
        """Write `text` as the tokens of a finished action, its end token last; special tokens in it are plain text."""
        ids = self.tokenizer.encode(_writable(text), add_special_tokens=False, split_special_tokens=True)
        return [*ids, cast(int, self.tokenizer.eos_token_id)]

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> list[Sampled]:
        """Sample one action per prompt, all in one batch, from the whole distribution.

        Args:
            prompts: Token ids, at least one each.
            max_tokens: The longest action, its end token included.
            temperature: Divides the logits; at 0 the likeliest token is taken, with log-probability 0.
            generator: The randomness, on the policy's device. None draws from the global one.

        Raises:
            ValueError: a prompt is empty or leaves no room for `max_tokens`, or that is less than 1.
        """
        if max_tokens < 1:
            raise ValueError(f"max_tokens={max_tokens} must be at least 1.")
        self._require_room(prompts, [max_tokens] * len(prompts))
        ids, mask = pad(prompts, left=True, device=self.device)
        positions, cache = _positions(mask), None
        stops = torch.tensor(sorted(self.stop_ids), dtype=torch.long, device=self.device)
        running_B = torch.ones(len(prompts), dtype=torch.bool, device=self.device)
        steps: list[tuple[Tensor, Tensor]] = []
        while len(steps) < max_tokens and running_B.any():
            output = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            token_B, logprob_B = _draw(output.logits[:, -1].float(), temperature, generator)
            steps.append((token_B, logprob_B))
            running_B &= ~torch.isin(token_B, stops)  # a finished row runs on beside the others; `_cut` drops the rest
            ids, positions, cache = token_B[:, None], positions[:, -1:] + 1, output.past_key_values
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        tokens_BT, logprobs_BT = (torch.stack(column, dim=1).tolist() for column in zip(*steps, strict=True))
        return [self._cut(*row) for row in zip(tokens_BT, logprobs_BT, strict=True)]

    def action_logits(
        self, prompts: Sequence[Sequence[int]], actions: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Score the whole vocabulary at each token of each action, as it follows its prompt.

        Args:
            prompts: Token ids, at least one each. A teacher reads other prompts before the same actions.
            actions: Token ids.
            temperature: Divides the logits; that of the sampling.

        Returns:
            logits_BTV, float32, with a gradient unless under `torch.no_grad`, and mask_BT, bool, where T is the longest
            action. Outside the mask the logits are finite and mean nothing.

        Raises:
            ValueError: a prompt is empty, a pair is longer than the model reads, or `temperature` is not positive.
        """
        if temperature <= 0:
            raise ValueError(f"temperature={temperature} must be positive: at 0 one action has all the probability.")
        self._require_room(prompts, list(map(len, actions)))
        ids_BP, prompt_mask_BP = pad(prompts, left=True, device=self.device)
        ids_BT, mask_BT = pad(actions, device=self.device)
        ids, mask = torch.cat([ids_BP, ids_BT], dim=1), torch.cat([prompt_mask_BP, mask_BT], dim=1)
        keep = ids_BT.shape[1] + 1  # a position predicts the token after it, so the first stands in the prompt
        output = self.model(
            input_ids=ids, attention_mask=mask, position_ids=_positions(mask), use_cache=False, logits_to_keep=keep
        )
        return output.logits[:, :-1].float() / temperature, mask_BT

    def logprobs(
        self, prompts: Sequence[Sequence[int]], actions: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Return the `token_logprobs` of `action_logits`, and mask_BT."""
        logits_BTV, mask_BT = self.action_logits(prompts, actions, temperature)
        return token_logprobs(logits_BTV, actions), mask_BT

    def _require_room(self, prompts: Sequence[Sequence[int]], action_lengths: Sequence[int]) -> None:
        limit = self.max_positions
        for row, (prompt, action) in enumerate(zip(map(len, prompts), action_lengths, strict=True)):
            if prompt == 0:
                raise ValueError(f"Prompt {row} is empty; the first action token needs at least one token to follow.")
            if prompt + action > limit:
                raise ValueError(
                    f"Row {row} has a prompt of {prompt} tokens and an action of up to {action}, but the model reads "
                    f"{limit} positions. Write a shorter prompt, or allow fewer action tokens."
                )

    def _cut(self, token_ids: list[int], logprobs: list[float]) -> Sampled:
        """End a row after its first end token."""
        end = next((t for t, token in enumerate(token_ids, start=1) if token in self.stop_ids), None)
        text = self.tokenizer.decode(token_ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Sampled(tuple(token_ids[:end]), tuple(logprobs[:end]), cast(str, text), cut_short=end is None)


def pad(
    rows: Sequence[Sequence[float]],
    *,
    left: bool = False,
    dtype: torch.dtype = torch.long,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """Stack rows of unequal length, with zeros after them, or before them if `left`. Returns them and a bool mask."""
    side = "left" if left else "right"
    tensors = [torch.tensor(row, dtype=dtype) for row in rows]
    masks = [torch.ones(len(row), dtype=torch.bool) for row in rows]
    padded, mask = (pad_sequence(column, batch_first=True, padding_side=side) for column in (tensors, masks))
    return padded.to(device), mask.to(device)


def token_logprobs(logits_BTV: Tensor, actions: Sequence[Sequence[int]]) -> Tensor:
    """Pick the log-probabilities of the action tokens out of `Policy.action_logits`.

    Returns:
        logprobs_BT, nats; 0, with a gradient of 0, after the end of an action.
    """
    ids_BT, mask_BT = pad(actions, device=logits_BTV.device)
    picked_BT = logits_BTV.gather(-1, ids_BT[..., None])[..., 0] - logits_BTV.logsumexp(-1)
    return inside(picked_BT, mask_BT)


def _writable(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes, by ``?``."""
    return text.encode(errors="replace").decode()


def _positions(mask: Tensor) -> Tensor:
    """Count the tokens of each row from 0, whatever padding stands around them."""
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)


def _draw(logits_BV: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Draw a token per row; return the tokens and their log-probabilities."""
    if temperature == 0:
        return logits_BV.argmax(-1), torch.zeros_like(logits_BV[:, 0])
    logprobs_BV = (logits_BV / temperature).log_softmax(-1)
    token_B1 = torch.multinomial(logprobs_BV.exp(), 1, generator=generator)
    return token_B1[:, 0], logprobs_BV.gather(1, token_B1)[:, 0]


def _byte_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train byte pairs on `texts`. Every byte is a token, so that any text can be written and read back."""
    bytes_ = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    names = ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=names, initial_alphabet=bytes_.alphabet(), show_progress=False
    )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = bytes_
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainer)
    return FastTokenizer(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", chat_template=SMALL_TEMPLATE
    )
