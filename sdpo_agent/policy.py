"""The policy: a causal language model that samples actions and scores them.

Sampling pads prompts on the left, so that every row's next token stands last. Scoring pads on the right, where nothing
that is scored can see it, and picks the hidden states of the written tokens, laid end to end: what follows, from the
output layer on, knows no padding. Nothing is ever cut silently: what does not fit the model is a `ValueError`.
"""

import copy
import inspect
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import logging

from sdpo_agent.attempt import Conversation, Turn
from sdpo_agent.cache import is_plain, make_cache, spread
from sdpo_agent.chat import Chat, Script, families
from sdpo_agent.draw import draw, noise
from sdpo_agent.head import Hidden, head_of, pick, require_known_head
from sdpo_agent.small import byte_tokenizer, qwen3
from sdpo_envs.errors import require


class Policy:
    """A causal language model and its tokenizer.

    Args:
        model: Of the transformers library, or LoRA around it by peft. Moved to the first GPU, or the CPU, unless told
            where. Its dropout is turned off for good: with it, what is trained would not be what was sampled.
        tokenizer: Its own.
        device: Where to.
        autocast: The type to compute in, such as bfloat16, while the weights keep theirs; None for theirs.
        recompute: Whether activations are computed again in the backward pass, to save memory.

    Attributes:
        model: The model as it was given.
        chat: Writes conversations in its tokens.
        max_positions: The longest context and action together, in tokens; infinite where the model names no limit.

    Raises:
        ValueError: the model takes no position ids, so that prompts of unequal length cannot be read side by side; or
            what it does after its last layer is not known.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        device: str | torch.device | None = None,
        *,
        autocast: torch.dtype | None = None,
        recompute: bool = False,
    ) -> None:
        self.model: Any = model
        self.tokenizer = tokenizer
        self.autocast = autocast
        self.recompute = recompute
        nn.Module.to(model, device or ("cuda" if torch.cuda.is_available() else "cpu")).train(False)
        takes = inspect.signature(self.core.forward).parameters
        if "position_ids" not in takes:
            raise ValueError(f"{type(self.core).__name__} takes no position_ids; choose a model that does, like Qwen3.")
        self._cache = "cache" if "cache" in takes else "past_key_values"  # its name until transformers 5.24
        for module in self.core.modules():
            _turn_off_dropout(module)
        if recompute:
            renamed = getattr(
                self.core, "activation_checkpointing_enable", None
            )  # the only name from transformers 6 on
            (renamed or self.core.gradient_checkpointing_enable)({"use_reentrant": False})
        self._layers = [
            each for each in self.core.modules() if recompute and isinstance(each, GradientCheckpointingLayer)
        ]
        self.max_positions: float = getattr(self.core.config.get_text_config(), "max_position_embeddings", math.inf)
        ends = self.core.generation_config.eos_token_id if self.core.generation_config else None
        ends = ends if isinstance(ends, list) else [ends]
        stops = frozenset(token for token in [*ends, tokenizer.eos_token_id] if token is not None)
        self.chat = Chat(tokenizer, stops)
        with torch.no_grad(), self._precision():
            require_known_head(self.core, self.autocast)

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        autocast: torch.dtype | None = None,
        recompute: bool = False,
    ) -> Self:
        """Load a folder written by `save`, or a model of the Hugging Face hub, such as ``"Qwen/Qwen3-0.6B"``.

        The weights are float32 unless told otherwise: bfloat16 rounds the updates of a small learning rate away. To
        compute in bfloat16 and keep float32 weights, use `autocast`.
        """
        with _without_bars():
            if (Path(source) / "adapter_config.json").exists():
                lora = require("peft", "lora").AutoPeftModelForCausalLM
                model = lora.from_pretrained(source, is_trainable=True, dtype=dtype)
            else:
                model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
        return cls(model, AutoTokenizer.from_pretrained(source), device, autocast=autocast, recompute=recompute)

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
        tokenizer = byte_tokenizer(texts, vocab_size)
        size = {"hidden": hidden, "layers": layers, "heads": heads, "max_positions": max_positions}
        return cls(qwen3(len(tokenizer), tokenizer.eos_token_id, seed=seed, **size), tokenizer, device)

    def with_lora(
        self, rank: int, *, alpha: float | None = None, targets: str | list[str] = "all-linear", seed: int = 0
    ) -> Self:
        """Put low-rank adapters (arXiv 2106.09685) on the model, in place, and train nothing else.

        Args:
            rank: Of the adapters.
            alpha: Their scale is alpha / rank; None takes 2 * rank.
            targets: The layers, as peft names them; never the output layer.
            seed: Of the factor that is not zero; the global generator is left as it was.

        Returns:
            A policy around the same weights. They equal the model's until it is trained.
        """
        if self.adapters:
            raise ValueError("This policy has adapters already; train those, or merge them: policy.copy().")
        peft = require("peft", "lora")
        config = peft.LoraConfig(r=rank, lora_alpha=alpha or 2 * rank, target_modules=targets, task_type="CAUSAL_LM")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = peft.get_peft_model(self.model, config)
        return type(self)(model, self.tokenizer, self.device, autocast=self.autocast, recompute=self.recompute)

    @property
    def core(self) -> Any:
        """The causal language model itself, adapters in place."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    def save(self, folder: str | Path) -> None:
        """Write the model, or its adapters, and the tokenizer so that `load` reads them."""
        with _without_bars():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    def restore(self, folder: str | Path) -> None:
        """Take up the weights of a policy of the same kind that was saved."""
        if self.adapters:
            peft = require("peft", "lora")
            peft.set_peft_model_state_dict(self.model, peft.load_peft_weights(str(folder), device=str(self.device)))
        else:
            self.model.load_state_dict(type(self).load(folder, device=self.device).model.state_dict())

    def copy(self) -> Self:
        """Return a policy with weights of its own, equal now, adapters merged into them: where a teacher starts."""
        model = copy.deepcopy(self.model)
        model = model.merge_and_unload() if self.adapters else model
        return type(self)(model, self.tokenizer, self.device, autocast=self.autocast, recompute=self.recompute)

    @property
    def adapters(self) -> dict[str, Any]:
        """The layers that carry adapters, by name; none without LoRA."""
        return {name: layer for name, layer in self.core.named_modules() if hasattr(layer, "get_delta_weight")}

    def without_adapters(self) -> AbstractContextManager[Any]:
        """Return a context in which the adapters are off."""
        context: AbstractContextManager[Any] = self.model.disable_adapter() if self.adapters else nullcontext()
        return context

    def trainable(self) -> list[nn.Parameter]:
        """Return the weights that are trained: all, or the adapters alone."""
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    def merged(self) -> Iterator[Tensor]:
        """Yield the weights with the product of each adapter added, in the order of ``copy().merged()``."""
        for name, weight in self.core.named_parameters():
            place, _, last = name.rpartition(".base_layer.")
            if ".lora_" not in name:
                layer = self.core.get_submodule(place) if last == "weight" else None
                added = [layer.get_delta_weight(adapter) for adapter in layer.active_adapters] if layer else []
                yield sum(added, weight.detach())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(iter(self.model.parameters())).device
        return device

    def fits(self, conversation: Conversation, max_tokens: int) -> bool:
        """Return whether there is room for an action after `conversation`."""
        return len(self.chat.context_ids(conversation)) + max_tokens <= self.max_positions

    def write(
        self, conversations: Sequence[Conversation], *, max_tokens: int, temperature: float, seeds: Sequence[int]
    ) -> list[Turn]:
        """Sample one action per conversation, all in one batch, from the whole distribution.

        Args:
            conversations: What is read.
            max_tokens: The longest action, its end token included.
            temperature: Divides the logits; at 0 the likeliest token is taken, with log-probability 0.
            seeds: One per conversation. What is drawn follows from it, whatever stands beside it in the batch.

        Raises:
            ValueError: a conversation leaves no room for `max_tokens`, that is less than 1, `temperature` is negative,
                or there is not one seed per conversation.
        """
        prompts = [self.chat.context_ids(conversation) for conversation in conversations]
        drawn = self.sample(prompts, max_tokens, temperature, seeds)
        return [self._turn(*pair) for pair in zip(conversations, drawn, strict=True)]

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, temperature: float, seeds: Sequence[int]
    ) -> list[tuple[list[int], list[float]]]:
        """Sample tokens after each prompt, as `write` does; return them, and their log-probabilities, nats."""
        if max_tokens < 1 or temperature < 0:
            raise ValueError(f"max_tokens={max_tokens} must be at least 1, and temperature={temperature} at least 0.")
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts need as many seeds, not {len(seeds)}.")
        if not prompts:
            return []
        self._require_room(prompts, [max_tokens] * len(prompts))
        noise_BT = torch.stack([noise(seed, max_tokens) for seed in seeds]).to(self.device)
        stops = torch.tensor(sorted(self.chat.stop_ids), dtype=torch.long, device=self.device)
        token_BT, logprob_BT = torch.zeros_like(noise_BT, dtype=torch.long), torch.zeros_like(noise_BT)
        rows = torch.arange(len(prompts), device=self.device)  # those still in the batch
        running = torch.ones_like(rows, dtype=torch.bool)
        cache = make_cache(self.core.config, max_tokens)
        logits, mask, positions = self._read(prompts, cache)
        for step in range(max_tokens):
            token, logprob = draw(logits, temperature, noise_BT[rows, step])
            token_BT[rows, step], logprob_BT[rows, step] = token, logprob.double()
            running &= ~torch.isin(token, stops)  # a finished row runs on beside the others; `_cut` drops the rest
            left = int(running.sum())
            if not left or step + 1 == max_tokens:
                break
            if 2 * left <= len(running):  # the finished rows are the most: go on without them
                cache.reorder_cache(running.nonzero()[:, 0])  # type: ignore[arg-type]
                rows, token, positions, mask = (each[running] for each in (rows, token, positions, mask))
                running = running[running]
            positions, mask = positions + 1, torch.cat([mask, mask[:, -1:]], dim=1)
            logits = self._next_logits(token[:, None], mask, positions, cache)
        return [self._cut(*row) for row in zip(token_BT.tolist(), logprob_BT.tolist(), strict=True)]

    def scores(self, scripts: Sequence[Script], temperature: float = 1.0) -> Hidden:
        """Read `scripts` and return the scores of their written tokens, end to end.

        Args:
            scripts: Of any lengths. What neighbours begin with in common is read once, so those of one prompt belong
                side by side; of the others, those of like length waste the least.
            temperature: Divides the logits; that of the sampling.

        Returns:
            The scores of N tokens, with a gradient unless under `torch.no_grad`.

        Raises:
            ValueError: a script is empty or longer than the model reads, or `temperature` is not positive.
        """
        if temperature <= 0:
            raise ValueError(f"temperature={temperature} must be positive: at 0 one action has all the probability.")
        self._require_room([script.token_ids for script in scripts], [0] * len(scripts))
        for layer in self._layers:  # they recompute when they are training; nothing else is told that it is
            layer.training = torch.is_grad_enabled()
        shares = not self.recompute and is_plain(make_cache(self.core.config))
        hidden: dict[int, Tensor] = {}
        for numbers, shared in families(scripts) if shares else [(list(range(len(scripts))), 0)]:
            with self._precision():
                read = self._read_family([scripts[number] for number in numbers], shared)
            hidden.update(zip(numbers, read, strict=True))
        whole = torch.cat([hidden[number] for number in range(len(scripts))])
        return Hidden(whole, head_of(self.core, temperature, self.autocast))

    def logprobs(self, scripts: Sequence[Script], temperature: float = 1.0) -> Tensor:
        """Return the log-probabilities of the written tokens, end to end: logprobs_N, nats, with a gradient.

        It keeps the logits of all of them for the backward pass; a loss over a large vocabulary is `head.minimise`.
        """
        scores = self.scores(scripts, temperature)
        ids = [token for script in scripts for token in script.written_ids]
        return pick(scores.logits(slice(None)), torch.tensor(ids, dtype=torch.long, device=self.device))

    def _read(self, prompts: Sequence[Sequence[int]], cache: DynamicCache) -> tuple[Tensor, Tensor, Tensor]:
        """Read the prompts, equal ones once; return the logits after each, the mask and the last positions."""
        unique = {tuple(prompt): number for number, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        which_B = torch.tensor([unique[tuple(prompt)] for prompt in prompts], device=self.device)
        ids, mask = pad(list(unique), left=True, device=self.device)
        positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
        logits = self._next_logits(ids, mask, positions, cache)
        cache.reorder_cache(which_B)  # type: ignore[arg-type]
        return logits[which_B], mask[which_B], positions[which_B, -1:]

    def _read_family(self, scripts: Sequence[Script], shared: int) -> list[Tensor]:
        """Return, for each script, the hidden states that predict its written tokens; what is shared is read once."""
        read, past = self.core.get_decoder(), {}
        if shared:
            cache = make_cache(self.core.config)
            past = {self._cache: cache}
            read(input_ids=torch.tensor([scripts[0].token_ids[:shared]], device=self.device), use_cache=True, **past)
            spread(cache, len(scripts))
        ids, _ = pad([script.token_ids[shared:] for script in scripts], device=self.device)
        hidden = read(input_ids=ids, use_cache=bool(past), **past).last_hidden_state
        # Each state predicts the next token.
        return [row[[at - 1 - shared for at in script.written]] for row, script in zip(hidden, scripts, strict=True)]

    def _next_logits(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        with self._precision():
            output = self.core(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=1,
                **{self._cache: cache},
            )
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _precision(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.autocast is None else torch.autocast(self.device.type, self.autocast)

    def _require_room(self, prompts: Sequence[Sequence[int]], action_lengths: Sequence[int]) -> None:
        for row, (prompt, action) in enumerate(zip(map(len, prompts), action_lengths, strict=True)):
            if prompt == 0:
                raise ValueError(f"Prompt {row} is empty; the first action token needs at least one token to follow.")
            if prompt + action > self.max_positions:
                raise ValueError(
                    f"Row {row} has {prompt} tokens and an action of up to {action} more, but the model reads "
                    f"{self.max_positions} positions. Write a shorter prompt, or allow fewer action tokens."
                )

    def _cut(self, token_ids: list[int], logprobs: list[float]) -> tuple[list[int], list[float]]:
        """End a row after its first end token."""
        end = next((t for t, token in enumerate(token_ids, start=1) if token in self.chat.stop_ids), None)
        return token_ids[:end], logprobs[:end]

    def _turn(self, conversation: Conversation, drawn: tuple[list[int], list[float]]) -> Turn:
        ids, logprobs = drawn
        text = str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        cut_short = ids[-1] not in self.chat.stop_ids
        return Turn(conversation.observation, text, tuple(ids), tuple(logprobs), cut_short, conversation.system)


@contextmanager
def _without_bars() -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # its bars would tear the training loop's
    yield
    if shown:
        logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def pad(
    rows: Sequence[Sequence[int]], *, left: bool = False, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Stack rows of unequal length, with zeros after them, or before them if `left`. Returns them and a bool mask."""
    side = "left" if left else "right"
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    masks = [torch.ones(len(row), dtype=torch.bool) for row in rows]
    padded, mask = (pad_sequence(column, batch_first=True, padding_side=side) for column in (tensors, masks))
    return padded.to(device), mask.to(device)


def _turn_off_dropout(module: nn.Module) -> None:
    if isinstance(module, nn.Dropout):
        module.p = 0.0
    for name in ("attention_dropout", "dropout", "activation_dropout"):
        if isinstance(getattr(module, name, None), float):
            setattr(module, name, 0.0)
