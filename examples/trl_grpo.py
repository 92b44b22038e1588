"""TRL's GRPOTrainer, rewarded by an environment: the small policy that comes with the project learns a home's tools.

It knows how errands are written, but not the names and habits of this home's tools. Less than a minute on one core:
python examples/trl_grpo.py
"""

from typing import Any

from trl import GRPOConfig, GRPOTrainer

from sdpo_envs import bundled
from sdpo_envs.adapters.trl import Reward

GROUP = 8


def main(steps: int = 20, output: str = "runs/trl-grpo") -> list[float]:
    reward = Reward("sdpo/MicroTool-v0", group_size=GROUP, split="train")
    args: Any = GRPOConfig(
        output,
        max_steps=steps,
        per_device_train_batch_size=32,
        gradient_accumulation_steps=2,
        num_generations=GROUP,
        max_completion_length=64,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
    )
    trainer = GRPOTrainer(str(bundled("tasks", "micro", "policy")), reward, args, reward.dataset())
    trainer.train()
    reward.close()
    return [told["env/passed"] for told in trainer.state.log_history if "env/passed" in told]


if __name__ == "__main__":
    passed = main()
    print(f"share of attempts that passed: first 5 steps {sum(passed[:5]) / 5:.2f}, last 5 {sum(passed[-5:]) / 5:.2f}")
