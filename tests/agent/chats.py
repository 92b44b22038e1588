"""Chats in the manner of several families of models, over bytes: nothing is downloaded."""

from typing import Any

from tokenizers import AddedToken

from sdpo_agent import Conversation, Turn
from sdpo_agent.chat import Chat
from sdpo_agent.small import TEMPLATE, byte_tokenizer

END = "<|end|>"
TEXTS = ["the cat sat on the mat\n\n"] * 9


def chat(template: str | None, *special: str, ends: str = END, texts: Any = (), size: int = 300) -> Chat:
    """The small byte tokenizer with the manners of another model."""
    tokenizer = byte_tokenizer(texts, size)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.chat_template = template
    tokenizer.eos_token = ends
    return Chat(tokenizer, frozenset({tokenizer.eos_token_id}))


# As in Qwen/Qwen3-0.6B, but for tools. Neither <think> nor </think> is special there.
QWEN3 = """
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=messages|length - 1) %}
{%- for message in messages[::-1] if message.role == 'user' and ns.last == messages|length - 1 %}
    {%- set ns.last = (messages|length - 1) - loop.index0 %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
# As in meta-llama/Llama-3.1-8B-Instruct, but for tools.
LLAMA3 = """
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
# As in google/gemma-2-2b-it.
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
    "{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)


# As in THUDM/GLM-4-9B-0414: nothing ends an answer but the next turn.
GLM4 = (
    "[gMASK]<sop>{% for message in messages %}{% if message.role == 'user' %}<|user|>\n{{ message.content }}"
    "{% elif message.role == 'assistant' %}<|assistant|>\n{{ message.content }}{% else %}<|system|>\n"
    "{{ message.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def qwen3() -> Chat:
    made = chat(QWEN3, "<|im_start|>", "<|im_end|>", ends="<|im_end|>")
    made.tokenizer.add_tokens([AddedToken(each, normalized=False, special=False) for each in ("<think>", "</think>")])
    return made


def llama3() -> Chat:
    made = chat(LLAMA3, "<|bos|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", ends="<|eot_id|>")
    made.tokenizer.bos_token = "<|bos|>"
    return made


def gemma2() -> Chat:
    """Its end token is <eos>, but what ends a turn is <end_of_turn>: both stop."""
    made = chat(GEMMA2, "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", ends="<eos>")
    made.tokenizer.bos_token = "<bos>"
    return Chat(made.tokenizer, made.stop_ids | {made.tokenizer.convert_tokens_to_ids("<end_of_turn>")})


def glm4() -> Chat:
    """The token that begins a user turn stops, since it is what the model says when it has answered."""
    made = chat(GLM4, "[gMASK]", "<sop>", "<|endoftext|>", ends="<|endoftext|>")
    return Chat(made.tokenizer, made.stop_ids | {made.tokenizer.convert_tokens_to_ids("<|user|>")})


CHATS = {
    "small": chat(TEMPLATE),
    "merged": chat(TEMPLATE, texts=TEXTS),
    "plain": chat(None, "<|eos|>", ends="<|eos|>"),
    "qwen3": qwen3(),
    "llama3": llama3(),
    "gemma2": gemma2(),
    "glm4": glm4(),
}


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def turn(chat: Chat, observation: str, action: str, *, cut_short: bool = False, system: str = "") -> Turn:
    """A turn as a policy might have written it, with the end token that the template writes."""
    ids = chat.tokenizer.encode(action, add_special_tokens=False, split_special_tokens=True)
    ids += [] if cut_short else [end_of(chat)]
    return Turn(observation, action, tuple(ids), (-1.0,) * len(ids), cut_short, system)


def end_of(chat: Chat) -> int:
    """The token that the template writes after an answer, where it is not the only one that stops."""
    written = [token for token in chat.prompt_ids(user("a")) if token in chat.stop_ids]
    return written[0] if written else max(chat.stop_ids)


def told(chat: Chat, ids: Any) -> str:
    return str(chat.tokenizer.decode(ids))


def conversation(*turns: Turn, observation: str) -> Conversation:
    return Conversation(observation, turns[0].system, turns)
