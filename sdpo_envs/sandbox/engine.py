"""A Docker engine, and on it the image of the wall. The SDK is imported when it is needed."""

import contextlib
import hashlib
import io
import os
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sdpo_envs.errors import SandboxError, require
from sdpo_envs.files import bundled

DIGEST = "sdpo-envs.digest"
"""The label of an image that tells from which files it was built."""

BASE_NEEDS = "coreutils, findutils and, as python3, Python 3.11 or newer with pip or venv"
"""What has to be in an image that the wall's is built on."""

_SECONDS = 60
_PASSED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
_TRUSTED = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")

_NO_ENGINE = """\
No Docker engine answers at {address}: {reason}.
Start one (systemctl start docker), see that this user may speak to it (group docker), or set DOCKER_HOST.
The local sandbox needs none."""


class EngineGone(SandboxError):
    """No engine answers."""


@contextlib.contextmanager
def engine() -> Iterator[Any]:
    """Connect to the engine that DOCKER_HOST names, or this machine's, and give the low-level client of the SDK.

    Raises:
        MissingExtra: the SDK is not installed.
        SandboxError: no engine answers, or it refuses what it is asked within the block.
    """
    errors = require("docker.errors", "docker")
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    with contextlib.ExitStack() as stack:
        try:
            _knock(address)
            client = require("docker", "docker").from_env(timeout=_SECONDS).api
            stack.callback(client.close)
            yield client
        except errors.APIError as error:
            raise SandboxError(f"The Docker engine answers: {error.explanation or error}") from error
        except (errors.DockerException, OSError) as error:
            raise EngineGone(_NO_ENGINE.format(address=address, reason=_root(error))) from error


def _knock(address: str) -> None:
    """Raise an OSError if nobody listens at a local address: the SDK would leave a socket open."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(address.removeprefix("unix://"))


def _root(error: BaseException) -> BaseException:
    """Return what came first of an error and all that it led to."""
    while error.__context__:
        error = error.__context__
    return error


def image_id(client: Any, image: str | None) -> str:
    """Return the id of `image`, or else of the one that belongs to this installation, which is built if it is missing.

    Raises:
        SandboxError: the engine does not have it or cannot build it, or it holds other programs than this installation.
    """
    try:
        found = client.inspect_image(image or tag())
    except require("docker.errors", "docker").ImageNotFound:
        if image:
            raise SandboxError(f"The Docker engine has no image {image!r}. Build it, or leave out image=.") from None
        found = client.inspect_image(build_image())
    if (found["Config"].get("Labels") or {}).get(DIGEST) != digest():
        raise SandboxError(
            f"The image {image or tag()!r} does not hold the programs of this installation. Build it again, from what "
            "python -m sdpo_envs.sandbox build has built."
        )
    return str(found["Id"])


def build_image(base: str | None = None) -> str:
    """Build the image from the bundled Dockerfile, and return its name, which changes with the files in it.

    It is built on the host's network. Proxies, pip's index and a file of trusted certificates are taken over from the
    environment; the image does not keep them.

    Args:
        base: An image that has `BASE_NEEDS`; by default the one that the Dockerfile names.

    Raises:
        SandboxError: it could not be built; the message has the last lines that were written.
    """
    arguments = {name: value for name in _PASSED_ON if (value := os.environ.get(name) or os.environ.get(name.lower()))}
    if base:
        arguments["BASE"] = base
    written: list[str] = []
    with engine() as client:
        for line in client.build(
            fileobj=_context(),
            custom_context=True,
            tag=tag(),
            buildargs=arguments,
            labels={DIGEST: digest()},
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
            timeout=None,
        ):
            written.append(line.get("stream") or line.get("error") or "")
            if "error" in line:
                lines = "".join(written).splitlines()[-15:]
                raise SandboxError("\n".join([f"The image {tag()} could not be built:", *lines, _advice(base)]))
    return tag()


def tag() -> str:
    """Return the name of the image that belongs to this installation."""
    return f"sdpo-sandbox:{digest()[:12]}"


def digest() -> str:
    """Return a digest of all that the image is built from, but the base."""
    content = hashlib.sha256()
    for path in _files():
        data = path.read_bytes()
        content.update(f"{path.name} {len(data)} ".encode() + data)
    return content.hexdigest()


def _files() -> list[Path]:
    folder = bundled("sandboxes", "python")
    return sorted([*folder.glob("*.py"), folder / "Dockerfile", folder / "requirements.txt"])


def _context() -> io.BytesIO:
    """Return what is sent to the engine: the files, and the certificates that this machine trusts."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in _files():
            tar.add(path, path.name)
        if trusted := next((os.environ[name] for name in _TRUSTED if os.environ.get(name)), None):
            tar.add(os.path.realpath(trusted), "ca-certificates.crt")
    archive.seek(0)
    return archive


def _advice(base: str | None) -> str:
    if base:
        return f"The base {base!r} needs {BASE_NEEDS}."
    return "Where there is no registry, give a base of your own: python -m sdpo_envs.sandbox build --base IMAGE"
