"""Trains an embedded model: `python -m models.spark.train --out DIR`.

Stage 1 teaches both modes, stage 2 (hybrid.py) teaches a dialect's judge from measured outcomes, stage 3 (broken.py)
teaches to answer from thoughts that were broken off.
Resumable: run the same command again. Knows the loop, its checkpoints and its log; the data comes from samples.py.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch

from models.spark import broken, evaluate, hybrid, samples, tasks
from models.spark.kinds import KINDS
from models.spark.network import SparkConfig, SparkNetwork, save_folder
from models.spark.optimizer import make_optimizers, rate
from models.spark.rendering import Renderer
from models.spark.rounding import rounded
from models.spark.samples import Rows
from models.spark.shards import BATCH_ROWS, ShardStream
from models.spark.tokenizer import SparkTokenizer, adopt_tokenizer, train_tokenizer
from models.spark.transplant import transplant


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One training run; the command line has the same fields.

    `kind` is one of KINDS. `stage` 0 is all, one after the other, without the second where there is no judge.
    `tokens` and `lr` are stage 1's, `judge_tokens` and `judge_lr` stage 2's, for which `problems` are measured,
    `broken_tokens` and `broken_lr` stage 3's. Every `rounded_every`-th step sees weights rounded to 4 bits (0: none),
    in stages 2 and 3 every second. `weights` is what a new stage 1, or a stage 3 without a stage before it, starts
    from: a training state of this kind, or the shipped folder of any.
    """

    out: Path
    kind: str = "spark"
    stage: int = 0
    device: str = "cpu"
    tokens: int = 45_000_000
    judge_tokens: int = 4_700_000
    seed: int = 1
    lr: float = 3e-3
    judge_lr: float = 1e-3
    broken_tokens: int = 5_800_000
    broken_lr: float = 1e-3
    optimizer: str = "muon"
    warm_up: int = 100
    save_s: float = 180.0
    validate_s: float = 3600.0
    validation_size: int = 300
    problems: int = 4000
    rounded_every: int = 0
    weights: Path = Path()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train an embedded model.")
    defaults = TrainOptions(Path())
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, log and result")
    for name, value in asdict(defaults).items():
        if name != "out":
            parser.add_argument(
                f"--{name.replace('_', '-')}", type=Path if isinstance(value, Path) else type(value), default=value
            )
    options = TrainOptions(**vars(parser.parse_args()))
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    renderer = Renderer(open_tokenizer(options), KINDS[options.kind])
    network = new_network(options, renderer).to(options.device)
    if options.stage in (0, 1):
        run_stage_1(network, options, renderer)
    if options.stage == 2 or (options.stage == 0 and renderer.kind.dialect.has_judge):
        judge = replace(options, tokens=options.judge_tokens, lr=options.judge_lr, warm_up=10, rounded_every=2)
        run_stage_2(network, judge, renderer)
    if options.stage in (0, 3):
        broken_off = replace(options, tokens=options.broken_tokens, lr=options.broken_lr, warm_up=10, rounded_every=2)
        run_stage_3(network, broken_off, renderer)


def open_tokenizer(options: TrainOptions) -> SparkTokenizer:
    """The run's tokenizer: on first use that of the weights to start from, if they have one, else a new one."""
    folder, kind = options.out / "tokenizer", KINDS[options.kind]
    if not (folder / "tokenizer.json").exists():
        if options.weights.name and options.weights.is_dir():
            adopt_tokenizer(options.weights, kind).save(folder, kind)
        else:
            train_tokenizer(samples.tokenizer_texts(), kind).save(folder, kind)
    return SparkTokenizer.load(folder)


def new_network(options: TrainOptions, renderer: Renderer) -> SparkNetwork:
    """What stage 1 starts from."""
    if options.weights.name and options.weights.is_dir():
        return transplant(options.weights, renderer.tokenizer, renderer.kind)
    network = SparkNetwork(SparkConfig(vocab_size=renderer.tokenizer.vocab_size, body=renderer.kind.body))
    if options.weights.name:
        load_state(options.weights, network, [])
    return network


def run_stage_1(network: SparkNetwork, options: TrainOptions, renderer: Renderer) -> None:
    """Both modes; the result is the folder `stage1`."""
    with ShardStream(options.out / "tokenizer", renderer.kind, options.seed) as shards:
        train(network, options, renderer, shards.rows, "stage1")
    save_result(network, renderer, options.out / "stage1")


def run_stage_2(network: SparkNetwork, options: TrainOptions, renderer: Renderer) -> None:
    """The judge, from the stage-1 model's own outcomes; the result is the folder `stage2`."""
    load_state(options.out / "stage1.pt", network, [])
    judged = measure_judged(network, options, renderer)
    rows = hybrid.make_rows(renderer, judged, options.tokens // samples.ROW_TOKENS, options.seed)
    train(network, options, renderer, lambda step: hybrid.batches(rows, BATCH_ROWS, step), "stage2")
    save_result(network, renderer, options.out / "stage2")


def run_stage_3(network: SparkNetwork, options: TrainOptions, renderer: Renderer) -> None:
    """Broken thoughts, from the stage before or else from `weights`; the result is the folder `checkpoint`."""
    stages = ("stage2", "stage1") if renderer.kind.dialect.has_judge else ("stage1",)
    before = next((options.out / f"{stage}.pt" for stage in stages if (options.out / f"{stage}.pt").exists()), None)
    if before is not None:
        load_state(before, network, [])
    judged = measure_judged(network, options, renderer) if renderer.kind.dialect.has_judge else []
    rows = broken.make_rows(renderer, judged, options.tokens // samples.ROW_TOKENS, options.seed + 1)
    train(network, options, renderer, lambda step: hybrid.batches(rows, BATCH_ROWS, step), "stage3")
    save_result(network, renderer, options.out / "checkpoint")


def measure_judged(network: SparkNetwork, options: TrainOptions, renderer: Renderer) -> list[hybrid.Judged]:
    """What the network's own outcomes teach the judge; they are measured once a run and kept."""
    outcomes = hybrid.measure(network, renderer, options.out / "outcomes.jsonl", options.problems, options.seed)
    rng = Random(options.seed)
    judged = [found for found in (hybrid.label(outcome, rng) for outcome in outcomes) if found]
    print(
        f"{len(judged)} judged, {sum(one.think for one in judged) / len(judged):.3f} of them with thinking", flush=True
    )
    return judged


def save_result(network: SparkNetwork, renderer: Renderer, folder: Path) -> None:
    """Write the Hugging Face folder."""
    kind, token_id = renderer.kind, renderer.tokenizer.token_id
    renderer.tokenizer.save(folder, kind)
    save_folder(network, folder, token_id(kind.end), token_id(kind.pad), token_id(kind.start) if kind.start else None)


def train(
    network: SparkNetwork,
    options: TrainOptions,
    renderer: Renderer,
    rows_from: Callable[[int], Iterator[Rows]],
    name: str,
) -> None:
    """Run `options.tokens` tokens. `rows_from(step)` yields one batch a step from that step on."""
    optimizers = make_optimizers(network, options.lr, options.optimizer == "muon")
    checkpoint = options.out / f"{name}.pt"
    step = load_state(checkpoint, network, optimizers)
    num_steps = options.tokens // (BATCH_ROWS * samples.ROW_TOKENS)
    watch = Watch(network, options, renderer, name, step, num_steps)
    for ids, weights in rows_from(step):
        if step >= num_steps:
            break
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(step, num_steps, options.warm_up)
        batch_ids = torch.from_numpy(ids.astype("int64")).to(options.device)
        batch_weights = torch.from_numpy(weights.astype("float32")).to(options.device)
        is_rounded = options.rounded_every > 0 and step % options.rounded_every == 0
        with rounded(network) if is_rounded else nullcontext():
            with torch.autocast(options.device, torch.bfloat16):
                loss = network.loss(batch_ids, batch_weights)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        watch.tick(step, loss.item())
        if watch.is_save_due():
            save_state(checkpoint, network, optimizers, step)
    save_state(checkpoint, network, optimizers, step)
    watch.validate(step)


def save_state(path: Path, network: SparkNetwork, optimizers: list[torch.optim.Optimizer], step: int) -> None:
    """Write everything a resumed run needs, whole or not at all."""
    state = {"network": network.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "step": step}
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_state(path: Path, network: SparkNetwork, optimizers: list[torch.optim.Optimizer]) -> int:
    """Continue from a checkpoint if there is one (without optimizers: weights only); the step to go on with."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location=network.embed_tokens.weight.device, weights_only=True)
    network.load_state_dict(state["network"])
    if optimizers:
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    return int(state["step"])


class Watch:
    """Progress on the terminal, the log, and validation on problems never trained on."""

    def __init__(
        self,
        network: SparkNetwork,
        options: TrainOptions,
        renderer: Renderer,
        name: str,
        step: int,
        num_steps: int,
    ) -> None:
        self.network, self.options, self.name, self.num_steps = network, options, name, num_steps
        self.renderer = renderer
        self.problems = tasks.draw_set(options.validation_size, options.seed, "validation")
        self.modes = renderer.kind.modes if name == "stage1" else ("off", "on", "auto", "closed")
        self.start_s = self.saved_s = self.validated_s = time.monotonic()
        self.start_step = step
        self.losses: list[float] = []

    def tick(self, step: int, loss: float) -> None:
        """Note one step; every 50 steps a line, now and then a validation."""
        self.losses.append(loss)
        now = time.monotonic()
        if step % 50 == 0 or step == self.num_steps:
            seconds = (now - self.start_s) / max(1, step - self.start_step)
            left_s = seconds * (self.num_steps - step)
            speed = BATCH_ROWS * samples.ROW_TOKENS / seconds
            mean = sum(self.losses) / len(self.losses)
            self.losses.clear()
            print(
                f"step {step}/{self.num_steps} loss {mean:.4f} {speed:.0f} tokens/s, {left_s / 60:.1f} min left",
                flush=True,
            )
            self.log({"step": step, "loss": round(mean, 5), "tokens_per_s": round(speed), "left_s": round(left_s)})
        if now - self.validated_s > self.options.validate_s:
            self.validate(step)
            self.validated_s = time.monotonic()

    def validate(self, step: int) -> None:
        """Greedy answers in every mode."""
        if not self.problems:
            return
        for mode in self.modes:
            found = evaluate.summarise(self.problems, evaluate.ask(self.network, self.renderer, self.problems, mode))
            print(f"  {mode}: {found}", flush=True)
            self.log({"step": step, "mode": mode, "validation": found})

    def is_save_due(self) -> bool:
        """True every `save_s` seconds."""
        if time.monotonic() - self.saved_s < self.options.save_s:
            return False
        self.saved_s = time.monotonic()
        return True

    def log(self, entry: dict[str, Any]) -> None:
        """One JSON line."""
        with (self.options.out / f"{self.name}.jsonl").open("a") as file:
            file.write(json.dumps({"time": round(time.time()), **entry}) + "\n")


if __name__ == "__main__":
    main()
