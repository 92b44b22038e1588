"""What is registered under which id. Strings only, so that importing stays light."""

import gymnasium

ENVIRONMENTS = {
    "sdpo/ALFWorld-v0": "sdpo_envs.alfworld:ALFWorld",
    "sdpo/LiveCodeBench-v0": "sdpo_envs.livecodebench:LiveCodeBench",
    "sdpo/MicroCode-v0": "sdpo_envs.microcode:MicroCode",
    "sdpo/MicroHouse-v0": "sdpo_envs.microhouse:MicroHouse",
    "sdpo/MicroTool-v0": "sdpo_envs.microtool:MicroTool",
    "sdpo/SciKnowEval-v0": "sdpo_envs.sciknoweval:SciKnowEval",
    "sdpo/SearchQA-v0": "sdpo_envs.searchqa:SearchQA",
    "sdpo/ToolUse-v0": "sdpo_envs.tooluse:ToolUse",
    "sdpo/WebShop-v0": "sdpo_envs.webshop:WebShop",
}
"""Id to ``module:Class``. The module also holds the class's group, ``<Class>Group``."""

EXTRAS = {"sdpo/ALFWorld-v0": "alfworld", "sdpo/SearchQA-v0": "retrieval", "sdpo/WebShop-v0": "webshop"}
"""Id to the extra that it needs; the others need none."""

ADAPTED = {
    "sdpo/GymnasiumText-v0": "sdpo_envs.adapters.gymnasium_text:GymnasiumText",
    "sdpo/ReasoningGym-v0": "sdpo_envs.adapters.reasoning_gym:ReasoningGym",
}
"""The same for what has no tasks of its own: a keyword says which of somebody else's, ``env_id`` or ``family``."""


def register() -> None:
    """Tell gymnasium of every environment in the tables."""
    for env_id, entry_point in (ENVIRONMENTS | ADAPTED).items():
        gymnasium.register(env_id, entry_point=entry_point, vector_entry_point=f"{entry_point}Group")
