"""TRL's SDPO with live feedback: the small policy that comes with the project learns from what the environment says.

As examples/trl_grpo.py, with as many attempts; but where an attempt failed, the self-teacher reads what was said of it,
or what a peer did that succeeded. Less than a minute on one core:  python examples/trl_sdpo.py
"""

from sdpo_envs import bundled
from sdpo_envs.adapters.trl import Reward
from sdpo_envs.adapters.trl_sdpo import LiveSDPOConfig, LiveSDPOTrainer

GROUP = 8


def main(steps: int = 20, output: str = "runs/trl-sdpo") -> list[float]:
    reward = Reward("sdpo/MicroTool-v0", group_size=GROUP, split="train")
    args = LiveSDPOConfig(
        output,
        distillation_mode="topk_logits",
        distillation_topk=20,
        distillation_add_tail=True,
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
    trainer = LiveSDPOTrainer(str(bundled("tasks", "micro", "policy")), reward, args)
    trainer.train()
    reward.close()
    name = "self_distillation/rewards/sdpo/MicroTool-v0"
    return [told[name] for told in trainer.state.log_history if name in told]


if __name__ == "__main__":
    passed = main()
    print(f"share of attempts that passed: first 5 steps {sum(passed[:5]) / 5:.2f}, last 5 {sum(passed[-5:]) / 5:.2f}")
