"""How fast the environments step, against the least a text environment can do, on the same work in one run.

The peer is an environment that shows one constant prompt and rejects every action, made by `gymnasium.make` with the
same wrappers. Both are driven by `gymnasium.utils.performance.benchmark_step`, which samples an action, steps, and
resets when the episode ends, here after every step. Rounds are interleaved; printed are the median and the range.

    python benchmarks/stepping.py --rounds 5 --seconds 2
"""

import argparse
import statistics

import gymnasium
from gymnasium.utils.performance import benchmark_step

import sdpo_envs

TEXT_ENVIRONMENTS = [env_id for env_id in sdpo_envs.registry.ENVIRONMENTS if "LiveCodeBench" not in env_id]
PEER = "benchmark/Constant-v0"


class Constant(gymnasium.Env[str, str]):
    """Shows a constant and rejects everything."""

    def __init__(self) -> None:
        self.observation_space = self.action_space = sdpo_envs.FreeText()

    def reset(self, *, seed=None, options=None):
        """Show the constant."""
        super().reset(seed=seed)
        return "What is it?", {}

    def step(self, action):
        """Reject the action."""
        return "It is not that.", 0.0, True, False, {}


def main() -> None:
    """Print a row per environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    settings = parser.parse_args()
    gymnasium.register(PEER, entry_point=Constant)
    rates: dict[str, list[float]] = {env_id: [] for env_id in [PEER, *TEXT_ENVIRONMENTS]}
    for seed in range(settings.rounds):
        for env_id, measured in rates.items():
            env = gymnasium.make(env_id)
            measured.append(benchmark_step(env, settings.seconds, seed))
            env.close()
    print(f"{'environment':24} {'steps/s':>9} {'[min':>9} {'max]':>9}   share of the peer [min, max]")
    for env_id, measured in rates.items():
        shares = [mine / peer for mine, peer in zip(measured, rates[PEER], strict=True)]
        speed = f"{statistics.median(measured):9,.0f} {min(measured):9,.0f} {max(measured):9,.0f}"
        print(f"{env_id:24} {speed}   {statistics.median(shares):.2f} [{min(shares):.2f}, {max(shares):.2f}]")


if __name__ == "__main__":
    main()
