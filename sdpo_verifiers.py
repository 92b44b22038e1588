"""The taskset ``sdpo-verifiers``: verifiers finds a taskset only by the name of a module at the top."""

from sdpo_envs.adapters.verifiers import (
    FeedbackData,
    FeedbackEpisodes,
    FeedbackEpisodesConfig,
    FeedbackTask,
    FeedbackTaskset,
    FeedbackTasksetConfig,
)
from sdpo_envs.adapters.verifiers_chat import ChatHarness

__all__ = [
    "ChatHarness",
    "FeedbackData",
    "FeedbackEpisodes",
    "FeedbackEpisodesConfig",
    "FeedbackTask",
    "FeedbackTaskset",
    "FeedbackTasksetConfig",
]
