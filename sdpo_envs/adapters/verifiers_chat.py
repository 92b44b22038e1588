"""A harness of verifiers 0.4 that only talks: the one that environments with feedback need."""

from collections.abc import Mapping

import httpx
import verifiers.v1 as vf
from openai import AsyncOpenAI
from verifiers.v1.dialects.chat import message_to_wire


class ChatHarness(vf.Harness[vf.HarnessConfig]):  # type: ignore[misc]
    """Asks the model for one reply a turn from this very process: nothing is installed, and nothing else runs."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: Mapping[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Send the conversation so far to the endpoint, where verifiers records the reply."""
        system, prompt = self.resolve_prompt(data)
        messages = [vf.UserMessage(content=prompt)] if isinstance(prompt, str) else list(prompt or ())
        if system:
            messages.insert(0, vf.SystemMessage(content=system))
        async with (
            httpx.AsyncClient(timeout=None, trust_env=False) as http,
            AsyncOpenAI(base_url=endpoint, api_key=secret, http_client=http) as client,
        ):
            await client.chat.completions.create(model=ctx.model, messages=[message_to_wire(each) for each in messages])
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")
