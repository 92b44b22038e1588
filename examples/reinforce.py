"""REINFORCE by a stranger, who knows gymnasium and nothing else: a linear policy learns which letter to answer.

It reads a question as a bag of hashed words, so it can only learn its training questions by heart. That is enough to
see that rewards, groups and seeds serve any loop:  python examples/reinforce.py
"""

import zlib

import gymnasium
import numpy as np

LETTERS = np.array(["A", "B", "C", "D"])
TASKS, GROUP, FEATURES, RATE = 16, 8, 4096, 0.3


def features(question: str) -> np.ndarray:
    counts = np.zeros(FEATURES)
    for word in question.split():
        counts[zlib.crc32(word.encode()) % FEATURES] += 1
    return counts / np.linalg.norm(counts)


def main(steps: int = 150, seed: int = 0) -> list[float]:
    rng = np.random.default_rng(seed)
    weights = np.zeros((FEATURES, len(LETTERS)))
    envs = gymnasium.make_vec("sdpo_envs:sdpo/SciKnowEval-v0", num_envs=TASKS * GROUP, group_size=GROUP, split="train")
    history = []
    for step in range(steps):
        questions, _ = envs.reset(seed=seed * steps * TASKS + step * TASKS)
        inputs = np.stack([features(question) for question in questions])
        odds = np.exp(inputs @ weights)
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        choices = (probabilities.cumsum(axis=1) > rng.random((len(inputs), 1))).argmax(axis=1)
        _, rewards, *_ = envs.step([f"<answer>\n{letter}\n</answer>" for letter in LETTERS[choices]])
        advantages = rewards - rewards.reshape(TASKS, GROUP).mean(axis=1).repeat(GROUP)
        weights += RATE * inputs.T @ (advantages[:, None] * (np.eye(len(LETTERS))[choices] - probabilities))
        history.append(float(rewards.mean()))
        if (step + 1) % 25 == 0:
            print(f"step {step + 1:4}  mean reward of the last 25 steps {np.mean(history[-25:]):.3f}")
    envs.close()
    return history


if __name__ == "__main__":
    main()
