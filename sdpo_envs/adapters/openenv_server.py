"""Serves any registered environment to OpenEnv 0.3's clients, over WebSocket and HTTP.

A WebSocket is a session, and each session has an environment of its own, a copy that shares tasks, judge and sandbox
with the others. It lives as long as its connection: neither a policy that generates for an hour nor a slow judge ends
it, and a client that is gone frees it. HTTP holds no session: there ``/reset`` shows a task, and ``/step`` judges a
first action at the task that it names.
"""

import contextlib
import functools
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import uvicorn
from fastapi import FastAPI, Request, WebSocketDisconnect
from fastapi.responses import JSONResponse
from openenv.core.env_server.http_server import HTTPEnvServer
from starlette.types import ASGIApp, Receive, Scope, Send

from sdpo_envs.adapters.made import made, turns
from sdpo_envs.adapters.openenv import FeedbackAction, FeedbackObservation
from sdpo_envs.adapters.openenv_session import ServedEnv
from sdpo_envs.adapters.service import Service
from sdpo_envs.errors import InfrastructureError, SdpoError

_PING_SECONDS = 20.0
_PATIENCE_SECONDS = 10
"""How long a server that ends waits for the steps that are being judged."""


def application(env_id: str, settings: Mapping[str, Any] | None = None, service: Service | None = None) -> FastAPI:
    """Return the application that serves an environment; it closes the environment when it ends.

    Args:
        env_id: As for `gymnasium.make`.
        settings: Keywords for the environment.
        service: How much it takes.

    Raises:
        SettingError: the environment gives no feedback, or refuses its settings.
    """
    service = service or Service()
    env = made(env_id, settings or {})
    app = FastAPI(title=f"{env_id}, an environment with feedback", max_body_size=service.message_bytes)
    app.add_middleware(_Parting)
    for kind in (SdpoError, gymnasium.error.Error):
        app.add_exception_handler(kind, _explained)
    factory = functools.partial(ServedEnv, env, turns(env), service.characters)
    server = HTTPEnvServer(factory, FeedbackAction, FeedbackObservation, max_concurrent_envs=service.sessions)
    server.register_routes(app)
    app.router.on_shutdown.append(env.close)
    return app


def serve(env_id: str, settings: Mapping[str, Any] | None = None, service: Service | None = None) -> None:
    """Serve an environment until the process is interrupted; see `application`."""
    service = service or Service()
    _server(application(env_id, settings, service), service, "info").run()


@contextlib.contextmanager
def served(env_id: str, settings: Mapping[str, Any] | None = None, service: Service | None = None) -> Iterator[str]:
    """Serve an environment in a thread, for as long as the context lasts; without a `service`, at a port that is free.

    Yields:
        The server's address.

    Raises:
        OSError: the port is taken.
        InfrastructureError: the server did not start.
    """
    service = service or Service(port=0)
    server = _server(application(env_id, settings, service), service, "warning")
    with socket.create_server((service.host, service.port)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), name="sdpo-envs-server", daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise InfrastructureError("The server ended before it began; its log says why.")
                time.sleep(0.01)
            yield f"http://{service.host}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _server(app: FastAPI, service: Service, log_level: str) -> uvicorn.Server:
    # A ping keeps the way open and finds out who is gone; who is only too busy to answer one stays.
    config = uvicorn.Config(
        app,
        host=service.host,
        port=service.port,
        log_level=log_level,
        ws_max_size=service.message_bytes,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=None,
        timeout_graceful_shutdown=_PATIENCE_SECONDS,
    )
    return uvicorn.Server(config)


async def _explained(request: Request, error: Exception) -> JSONResponse:
    status = 503 if isinstance(error, InfrastructureError) else 422
    return JSONResponse({"detail": f"{type(error).__name__}: {error}"}, status)


class _Parting:
    """Lets a client go that has left before OpenEnv says goodbye, which would be logged as an error."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            await self.app(scope, receive, send)
