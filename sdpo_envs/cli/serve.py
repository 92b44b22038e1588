"""``sdpo serve``: an environment for the clients of OpenEnv."""

from dataclasses import dataclass, field

import tyro

from sdpo_envs.adapters.service import Service
from sdpo_envs.cli import parse_settings
from sdpo_envs.cli.world import EnvId, Settings
from sdpo_envs.errors import require


@dataclass(frozen=True)
class Serve:
    """Serve an environment to the clients of OpenEnv.

    Until it is interrupted; each connection is a session with an environment of its own. docs/openenv.md says what is
    said there.

    Examples:
        sdpo serve sdpo/ToolUse-v0
        sdpo serve sdpo/SciKnowEval-v0 --settings '{"domain": "physics"}' --port 8001 --sessions 256
    """

    env: EnvId
    settings: Settings = "{}"
    service: tyro.conf.OmitArgPrefixes[Service] = field(default_factory=Service)
    """Where to listen, and how much to take."""

    def __call__(self) -> None:
        """Run it.

        Raises:
            SettingError: `settings` is not a JSON object, or a number is out of range.
            MissingExtra: OpenEnv is not installed.
        """
        server = require("sdpo_envs.adapters.openenv_server", "openenv")
        server.serve(self.env, parse_settings(self.settings), self.service)
