"""A real server for the tests: `transformers serve`, with a model so small that it writes a and b."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import tokenizers
import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)
PROMPT = "<system\nBe brief.>\n<user\n2 + 2?>\n<assistant\n"
"""What is 2 + 2?, to be answered briefly, as `CHAT` writes it, with a character for each token."""
NO_THOUGHTS = "<think>\n\n</think>\n\n"


def save_model(folder: Path) -> None:
    """A Qwen3 that writes a, b and the end token, each with probability 1/3, and reads a byte per token."""
    bytes_ = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: number for number, token in enumerate([*special, *sorted(bytes_.alphabet())])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer, tokenizer.decoder = bytes_, tokenizers.decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=special[2], pad_token=special[0], chat_template=CHAT
    ).save_pretrained(folder)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen3Config(
        vocab_size=len(vocabulary), num_hidden_layers=1, head_dim=16, eos_token_id=2, tie_word_embeddings=False, **size
    )
    model = Qwen3ForCausalLM(config)
    torch.nn.init.zeros_(model.lm_head.weight)
    others = sorted(set(range(len(vocabulary))) - {2, vocabulary["a"], vocabulary["b"]})
    model.generation_config = GenerationConfig(do_sample=True, eos_token_id=2, pad_token_id=0, suppress_tokens=others)
    model.save_pretrained(folder)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str]]:
    """Give the name of a model and the url where `transformers serve` serves it, from `folder`."""
    save_model(folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder / "model")]
    own = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", port, "--device", "cpu"],
            env=os.environ | own,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/health", folder / "log")
        yield str(folder / "model"), f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 120) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        try:
            with opener.open(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"transformers serve did not start:\n{log.read_text()[-3000:]}")
