"""verifiers' own evaluation of an environment with feedback.

With ``python examples/verifiers_eval.py`` a policy that picks letters at random answers, behind OpenAI's protocol on
this machine. To ask a model of yours:

    python examples/verifiers_eval.py --base-url http://127.0.0.1:8000/v1 --model NAME
"""

import argparse
import asyncio
import contextlib
import json
import random
import tempfile
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import verifiers.v1 as vf
from verifiers.v1.cli.eval.runner import run_eval
from verifiers.v1.configs.cli.eval import EvalConfig

TASKSET = {"id": "sdpo-verifiers", "env": "sdpo/SciKnowEval-v0", "settings": {"domain": "physics"}}
TASKS, ROLLOUTS = 8, 4


class RandomLetters(BaseHTTPRequestHandler):
    """A policy that cannot read."""

    rng = random.Random(0)

    def do_POST(self) -> None:
        """Answer, whatever was asked."""
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": f"<answer>\n{self.rng.choice('ABCD')}\n</answer>"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        about = {"id": "0", "object": "chat.completion", "created": 0, "model": "letters"}
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({**about, "choices": [choice], "usage": usage}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def letters():
    server = ThreadingHTTPServer(("127.0.0.1", 0), RandomLetters)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def evaluate(base_url: str, model: str) -> list[vf.Trace]:
    with tempfile.TemporaryDirectory() as folder:
        config = EvalConfig.model_validate(
            {
                "env": {"taskset": TASKSET},
                "model": model,
                "client": {"base_url": base_url, "api_key_var": "OPENAI_API_KEY"},
                "select": {"limit": TASKS},
                "num_rollouts": ROLLOUTS,
                "output_dir": folder,
                "push": False,
                "rich": None,
            }
        )
        return [trace for episode in asyncio.run(run_eval(config)) for trace in episode.traces]


def report(traces: list[vf.Trace]) -> None:
    judged = [trace for trace in traces if trace.ok]
    if not judged:
        raise SystemExit(f"Nothing was judged; the last attempt says: {traces[-1].last_error}")
    print(
        f"{len(judged)} of {len(traces)} attempts judged, mean reward {sum(t.reward for t in judged) / len(judged):.2f}"
    )
    groups = defaultdict(list)
    for trace in judged:
        groups[trace.task.key].append(trace.info)
    for group in groups.values():
        peers = [info["attempt"] for info in group if info["outcome"] == "passed"]
        failed = [info for info in group if info["outcome"] != "passed"]
        print(f"\n{group[0]['task_id']}: {len(peers)} of {len(group)} right")
        if failed:
            print(f"    one was told: {failed[0]['feedback'].splitlines()[0]}")
        if failed and peers:
            print(f"    and may be shown its peer: {peers[0]!r}")


def main(base_url: str | None = None, model: str = "letters") -> list[vf.Trace]:
    with letters() if base_url is None else contextlib.nullcontext(base_url) as url:
        traces = evaluate(url, model)
    report(traces)
    return traces


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url")
    parser.add_argument("--model", default="letters")
    arguments = parser.parse_args()
    main(arguments.base_url, arguments.model)
