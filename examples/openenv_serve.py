"""An environment served to OpenEnv's clients, and eight of them at once, in one script.

Run it with ``python examples/openenv_serve.py``. Each client has a session of its own, tries one letter after the other
at its question until it is right, and so shows what a trainer elsewhere would read: text, reward, outcome and feedback.
No answer leaves the server.
"""

import asyncio

from sdpo_envs.adapters.openenv import FeedbackAction, FeedbackClient
from sdpo_envs.adapters.openenv_server import served

ENV, SETTINGS, CLIENTS = "sdpo/SciKnowEval-v0", {"domain": "physics"}, 8


async def play(url: str, seed: int) -> tuple[str, int, str]:
    """Return the task that the seed draws, how many attempts it took, and what the first was told."""
    async with FeedbackClient(url) as session:
        told = ""
        for attempt, letter in enumerate("ABCD", start=1):
            begun = await session.reset(seed=seed)  # the same seed, the same question
            result = await session.step(FeedbackAction(text=f"<answer>\n{letter}\n</answer>"))
            if result.reward == 1.0:
                return begun.observation.task_id, attempt, told
            told = told or result.observation.feedback
    return begun.observation.task_id, attempt, told


async def play_at_once(url: str) -> list[tuple[str, int, str]]:
    return await asyncio.gather(*(play(url, seed) for seed in range(CLIENTS)))


def main() -> list[tuple[str, int, str]]:
    with served(ENV, SETTINGS) as url:
        print(f"serving {ENV} at {url}")
        played = asyncio.run(play_at_once(url))
    for task_id, attempts, told in played:
        print(f"\n{task_id}: right at attempt {attempts}")
        if told:
            print(f"    the first was told: {told.splitlines()[0]}")
    return played


if __name__ == "__main__":
    main()
