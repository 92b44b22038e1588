"""Gymnasium environments that explain themselves.

>>> import gymnasium
>>> env = gymnasium.make("sdpo_envs:sdpo/SciKnowEval-v0", domain="physics")
>>> observation, info = env.reset(seed=0)
>>> feedback, reward, terminated, truncated, info = env.step("It is B.")
>>> reward
0.0
"""

from sdpo_envs.bench.compare import compare
from sdpo_envs.bench.play import evaluate
from sdpo_envs.bench.scores import discovered_at, pass_at
from sdpo_envs.check import check_env
from sdpo_envs.core import Feedback, Finding, Judge, Outcome, Task, Verdict
from sdpo_envs.env import FeedbackEnv, JudgedEnv
from sdpo_envs.errors import (
    ActionError,
    ContractError,
    InfrastructureError,
    JudgeError,
    MissingExtra,
    RecordError,
    SandboxError,
    SdpoError,
    SettingError,
    TaskNotFound,
)
from sdpo_envs.feedback import explain
from sdpo_envs.files import bundled
from sdpo_envs.llmjudge import LLMJudge
from sdpo_envs.record import RecordedGroups, record
from sdpo_envs.record.recording import Recording
from sdpo_envs.record.replay import replay
from sdpo_envs.registry import register as _register
from sdpo_envs.rubric import Rubric
from sdpo_envs.sandbox import Program, Run, Sandbox, open_sandbox
from sdpo_envs.sandbox.fake import FakeSandbox
from sdpo_envs.spaces import FreeText
from sdpo_envs.tasks import Record, load_records, load_tasks
from sdpo_envs.turns import Move, Seen, TurnsEnv
from sdpo_envs.vector import GroupEnv
from sdpo_envs.wrappers import MultiAttempt

__version__ = "0.1.0"

__all__ = [
    "ActionError",
    "ContractError",
    "FakeSandbox",
    "Feedback",
    "FeedbackEnv",
    "Finding",
    "FreeText",
    "GroupEnv",
    "InfrastructureError",
    "Judge",
    "JudgeError",
    "JudgedEnv",
    "LLMJudge",
    "MissingExtra",
    "Move",
    "MultiAttempt",
    "Outcome",
    "Program",
    "Record",
    "RecordError",
    "RecordedGroups",
    "Recording",
    "Rubric",
    "Run",
    "Sandbox",
    "SandboxError",
    "SdpoError",
    "Seen",
    "SettingError",
    "Task",
    "TaskNotFound",
    "TurnsEnv",
    "Verdict",
    "bundled",
    "check_env",
    "compare",
    "discovered_at",
    "evaluate",
    "explain",
    "load_records",
    "load_tasks",
    "open_sandbox",
    "pass_at",
    "record",
    "replay",
]

_register()
