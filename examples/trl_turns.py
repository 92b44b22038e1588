"""TRL's GRPOTrainer over many turns: the small policy that comes with the project learns where a house keeps things.

The environment's tools are ``go``, ``open`` and ``take``. A policy this small writes a call as a bare command, so its
chat template says how a call is written and read: ``go shelf`` is ``go(name="shelf")``. One that was made for tools
brings a template of its own. About a minute on one core:  python examples/trl_turns.py
"""

from typing import Any

from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from sdpo_envs import bundled
from sdpo_envs.adapters.trl_turns import Episodes

WRITTEN = (
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}<|assistant|>{% else %}<|user|>{% endif %}"
    "{% for call in message.tool_calls or [] %}{{ call.function.name }}"
    "{% for name, value in call.function.arguments.items() %}"
    " {% if name != 'name' %}{{ name }}={% endif %}{{ value }}{% endfor %}{% endfor %}"
    "{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
READ = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "tool_calls": {
            "open_pattern": r"(?P<tool>go|open|take) ",
            "close_pattern": r"(?=<\|end\|>)",
            "content": "text",
            "repeats": True,
            "transform": {"type": "function", "function": {"name": "{tool}", "arguments": {"name": "{content}"}}},
        },
        "content": {"close_pattern": r"<\|end\|>", "content": "text"},
    },
}
GROUP = 8


def main(steps: int = 20, output: str = "runs/trl-turns") -> list[float]:
    policy = str(bundled("tasks", "microhouse", "policy"))
    tokenizer = AutoTokenizer.from_pretrained(policy)
    tokenizer.chat_template, tokenizer.response_template = WRITTEN, READ
    house = Episodes("sdpo/MicroHouse-v0", prompt="new", asks="")
    args: Any = GRPOConfig(
        output,
        max_steps=steps,
        per_device_train_batch_size=64,
        num_generations=GROUP,
        max_completion_length=256,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
    )
    trainer = GRPOTrainer(policy, None, args, house.dataset(), processing_class=tokenizer, environment_factory=house)
    trainer.train()
    house.close()
    return [told["reward"] for told in trainer.state.log_history if "reward" in told]


if __name__ == "__main__":
    rewards = main()
    print(f"mean reward: first 5 steps {sum(rewards[:5]) / 5:.2f}, last 5 {sum(rewards[-5:]) / 5:.2f}")
