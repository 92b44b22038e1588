"""How much memory and time distillation takes over a vocabulary of 151,936, beside TRL's own code and a plain loss.

The same small Qwen3 (one layer, the width and vocabulary of Qwen3-0.6B), the same teacher, the same tokens; forward and
backward of one micro-batch, student's top 100 with a tail, Jensen-Shannon, mean over sequences. Each measurement is a
process of its own; rounds are interleaved. Memory is the peak above what the process held before: the weights do not
count. What every path must hold in the end, the gradients of the weights, is told apart.

* ``ours``: `sdpo_agent.SDPO.loss`, which meets the vocabulary a chunk at a time and no padding.
* ``trl``: the methods of TRL's SDPOTrainer that make logits and loss, as they are, on a batch padded as it pads.
* ``plain``: the whole log-softmax of both, as one would write it down.

    python benchmarks/distillation.py --rounds 3            # needs: pip install '.[agent,trl]'
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import torch
from torch import Tensor

from sdpo_agent import SDPO, Policy, Sample, SDPOSettings, Turn
from sdpo_agent.losses import token_share
from sdpo_agent.policy import pad
from sdpo_agent.small import byte_tokenizer, qwen3

VOCABULARY, WIDTH, TOP = 151_936, 1024, 100
PROMPT = "How much is it? " * 4
HINDSIGHT = PROMPT + "It is not that. " * 4
WORK = {
    "4 x 128": [128] * 4,
    "4 x 256": [256] * 4,
    "4 x 512": [512] * 4,
    "8 x 32 to 512": [32, 64, 96, 128, 192, 256, 384, 512],
}
"""Lengths of the actions. The last is what attempts look like; a batch padded to the longest is 2.5 times as large."""
SETTINGS = SDPOSettings(top_k=TOP, importance_clip=None, aggregate="sequence-mean")
Loss = Callable[[Policy, SDPO, Sequence[Sample]], Tensor]


def ours(policy: Policy, algorithm: SDPO, samples: Sequence[Sample]) -> Tensor:
    """Return the loss as this package computes it."""
    shares = [token_share(sample.tokens, "sequence-mean", 0)[0] / len(samples) for sample in samples]
    return algorithm.loss(policy, samples, shares, 1.0)[0]


def trl(policy: Policy, algorithm: SDPO, samples: Sequence[Sample]) -> Tensor:
    """Return the loss as TRL's trainer computes it."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from trl.experimental.sdpo import SDPOTrainer

    trainer = SDPOTrainer.__new__(SDPOTrainer)  # its methods, without the loop around them
    trainer.temperature, trainer.model_kwarg_keys = 1.0, {"logits_to_keep"}
    trainer.accelerator = SimpleNamespace(gather=lambda value: value)
    trainer.args = SimpleNamespace(
        distillation_mode="topk_logits",
        distillation_topk=TOP,
        distillation_alpha=SETTINGS.alpha,
        distillation_add_tail=True,
        distillation_is_clip=None,
    )
    trainer._get_teacher_context_for_self_distillation = nullcontext
    trainer._log_self_distillation_metric = lambda mode, value: None
    inputs, shown = padded(policy, samples, hindsight=False), padded(policy, samples, hindsight=True)
    inputs["teacher_input_ids"] = torch.cat([shown["prompt_ids"], shown["completion_ids"]], dim=1)
    inputs["teacher_attention_mask"] = torch.cat([shown["prompt_mask"], shown["completion_mask"]], dim=1)
    logits = trainer._compute_teacher_student_logits(policy.model, algorithm.teacher.initial.model, inputs)
    return trainer._compute_self_distillation_loss(policy.model, inputs, logits)


def plain(policy: Policy, algorithm: SDPO, samples: Sequence[Sample]) -> Tensor:
    """Return the loss as one would write it down: both distributions over the whole vocabulary, then the top."""
    rows = []
    for sample in samples:
        scripts = policy.chat.script(sample.turns), policy.chat.script(sample.turns, sample.hindsight)
        student, teacher = (
            model(torch.tensor([script.token_ids], device=policy.device), logits_to_keep=sample.tokens + 1)
            .logits[0, :-1]
            .log_softmax(-1)
            for model, script in zip((policy.model, algorithm.teacher.initial.model), scripts, strict=True)
        )
        top = student.topk(TOP).indices
        s, t = student.gather(-1, top), teacher.gather(-1, top).detach()
        s, t = (torch.cat([each, (1 - each.exp().sum(-1, keepdim=True)).log()], dim=-1) for each in (s, t))
        m = torch.logaddexp(s, t) - torch.tensor(2.0).log()
        rows.append((0.5 * s.exp() * (s - m) + 0.5 * t.exp() * (t - m)).sum(-1).mean())
    return torch.stack(rows).mean()


PATHS: dict[str, Loss] = {"ours": ours, "trl": trl, "plain": plain}


def padded(policy: Policy, samples: Sequence[Sample], *, hindsight: bool) -> dict[str, Tensor]:
    """Pad prompts on the left and actions on the right."""
    scripts = [policy.chat.script(sample.turns, sample.hindsight if hindsight else None) for sample in samples]
    prompts = pad([script.token_ids[: script.written[0]] for script in scripts], left=True, device=policy.device)
    actions = pad([script.written_ids for script in scripts], device=policy.device)
    names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
    return dict(zip(names, (prompts[0], prompts[1].long(), actions[0], actions[1].long()), strict=True))


def make_work(lengths: Sequence[int], dtype: torch.dtype) -> tuple[Policy, SDPO, list[Sample]]:
    """Build the model, a teacher that differs from it, and attempts of some lengths."""
    size = {"hidden": WIDTH, "layers": 1, "heads": 8, "max_positions": 4096}
    policy = Policy(qwen3(VOCABULARY, 4, seed=0, **size).to(dtype), byte_tokenizer([], 512))
    algorithm = SDPO(policy, SETTINGS)
    algorithm.teacher.initial.model.to(dtype)
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for model in (policy.core, algorithm.teacher.initial.core):
            model.model.norm.weight.mul_(8)  # logits as far apart as a trained model's, not nearly equal
        for weight in algorithm.teacher.initial.model.parameters():
            weight.mul_(1 + 0.2 * torch.rand(weight.shape[-1:], generator=dice).to(weight))
    actions = [tuple(torch.randint(5, VOCABULARY, (length,), generator=dice).tolist()) for length in lengths]
    turns = [Turn(PROMPT, "", action, (0.0,) * len(action)) for action in actions]
    return policy, algorithm, [Sample((turn,), hindsight=HINDSIGHT, teacher_weight=1.0) for turn in turns]


def measure(path: str, lengths: Sequence[int], dtype: str, gradients: Path | None) -> None:
    """Run one path in this process; print seconds, the peak of memory in MB, and the loss; write the gradients."""
    policy, algorithm, samples = make_work(lengths, getattr(torch, dtype))
    PATHS[path](policy, algorithm, samples[:1]).backward()  # warm up
    policy.model.zero_grad(set_to_none=True)
    gpu = policy.device.type == "cuda"
    before = held_mb(gpu, reset=True)
    start = time.perf_counter()
    loss = PATHS[path](policy, algorithm, samples)
    loss.backward()
    seconds = time.perf_counter() - start if not gpu else (torch.cuda.synchronize(), time.perf_counter() - start)[1]
    told = {"seconds": seconds, "peak_mb": held_mb(gpu) - before, "loss": float(loss)}
    held = sum(weight.grad.nbytes for weight in policy.trainable()) / 1e6
    print(json.dumps({**told, "above_mb": told["peak_mb"] - held}))
    if gradients is not None:
        torch.save([weight.grad.double() for weight in policy.trainable()], gradients)


def held_mb(gpu: bool, *, reset: bool = False) -> float:
    """Return the most memory that was held since the last reset, in MB; with `reset` what is held now."""
    if gpu:
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 1e6
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def ask(path: str, work: str, dtype: str = "float32", gradients: Path | None = None) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--path", path, "--work", work, "--dtype", dtype]
    command += ["--gradients", str(gradients)] if gradients else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{path} failed on {work}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare_gradients() -> None:
    """Print how far each path's gradients are from those of the plain loss in float64, relative, over all weights."""
    work = next(iter(WORK))
    with TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in ("exact", *PATHS)}
        ask("plain", work, "float64", files["exact"])
        exact = torch.load(files["exact"])
        for name in PATHS:
            ask(name, work, "float32", files[name])
            pairs = list(zip(torch.load(files[name]), exact, strict=True))
            off = [float((mine - true).norm() / true.norm()) for mine, true in pairs]
            print(f"gradients of {name:6} on {work}: off by at most {max(off):.1e} of their norm, in any weight")


def main() -> None:
    """Measure, round by round, and print a row per work and path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--path", choices=PATHS, help="measure this one alone, in this process")
    parser.add_argument("--work", choices=WORK)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--gradients", type=Path)
    settings = parser.parse_args()
    if settings.path:
        measure(settings.path, WORK[settings.work], settings.dtype, settings.gradients)
        return
    compare_gradients()
    print(
        f"{'tokens':14} {'':6} {'seconds':>20} {'peak, MB':>9} {'above':>7}   ratio to trl: {'seconds':>17} peak above"
    )
    for work in WORK:
        measured = [{name: ask(name, work) for name in PATHS} for _ in range(settings.rounds)]
        for name in PATHS:
            mine = {key: [each[name][key] for each in measured] for key in ("seconds", "peak_mb", "above_mb")}
            ratios = {key: [each[name][key] / each["trl"][key] for each in measured] for key in mine}
            peak, above = (statistics.median(mine[key]) for key in ("peak_mb", "above_mb"))
            shares = [f"{statistics.median(ratios[key]):5.2f}" for key in ("peak_mb", "above_mb")]
            row = f"{work:14} {name:6} {spread(mine['seconds']):>20} {peak:9,.0f} {above:7,.0f}"
            print(f"{row}                 {spread(ratios['seconds']):>17} {' '.join(shares)}", flush=True)


def spread(values: Sequence[float]) -> str:
    """Return the median and the range."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


if __name__ == "__main__":
    main()
