#!/usr/bin/env bash
# GRPO in verl on an environment whose episodes are one action. Needs a GPU, vLLM and the extra 'verl'; docs/verl.md.
# What is given to this script is given to verl: `bash examples/verl_grpo.sh --cfg job` only shows what it understood.
set -euo pipefail
model=${MODEL:-Qwen/Qwen3-0.6B}
data=$PWD/data/verl

sdpo export-verl sdpo/ToolUse-v0 "$data/tools_train.parquet"
sdpo export-verl sdpo/ToolUse-v0 "$data/tools_test.parquet" --settings '{"split": "test"}'

python -m verl.trainer.main_ppo \
    algorithm.adv_estimator=grpo \
    reward.custom_reward_function.path=pkg://sdpo_envs.adapters.verl \
    data.train_files="$data/tools_train.parquet" \
    data.val_files="$data/tools_test.parquet" \
    data.train_batch_size=8 \
    data.max_prompt_length=1536 \
    data.max_response_length=1024 \
    actor_rollout_ref.model.path="$model" \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.n=8 \
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 \
    actor_rollout_ref.actor.ppo_mini_batch_size=8 \
    actor_rollout_ref.actor.use_dynamic_bsz=True \
    actor_rollout_ref.actor.optim.lr=1e-6 \
    trainer.n_gpus_per_node=1 \
    trainer.nnodes=1 \
    trainer.total_epochs=20 \
    trainer.test_freq=5 \
    trainer.save_freq=-1 \
    trainer.logger='["console"]' \
    "$@"
