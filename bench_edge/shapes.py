"""GGUF files of the true shapes of real models with random weights, for measuring speed and memory only.

Run `python -m bench_edge.shapes hunyuan-1.8b OUT.gguf`. Nothing is quantized: codes are drawn at random, with scales
that keep the activations near 1, so that logits are finite and sampling works. The vocabulary is synthetic but whole: a
byte-level BPE of the true size, with the family's chat marks at their true ids.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice, product
from pathlib import Path

import numpy as np

from models.errors import EdgeError
from models.families import family_of
from models.spec import ModelSpec, TensorPlace
from models.tokenizer import LETTER_OF_BYTE
from quantize.gguf_writer import GgufWriter
from quantize.int4 import Int4Tensor
from quantize.int8 import GROUP_SIZE, Int8Tensor
from quantize.onnx_writer import OnnxWriter
from quantize.recipe import QuantRecipe
from quantize.rounding import plan_formats
from quantize.stored import ModelFacts, Stored, TensorFormat
from quantize.vocabulary import TokenKind, Vocabulary
from quantize.writers import BundleWriter

CHUNK_WEIGHTS = 1 << 24
CODE_DEVIATION = {"Q4_0": 4.6, "Q8_0": 73.0}  # standard deviation of uniform codes


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's widths and what its vocabulary holds beside plain tokens; ids from ``first_mark`` on are no text."""

    spec: ModelSpec
    first_mark: int
    marks: Mapping[int, str]  # control tokens
    tags: Mapping[int, str]  # user-defined tokens
    stop_token_ids: tuple[int, ...]
    bos_token_id: int | None = None


HUNYUAN_MARKS = {
    120000: "<｜hy_begin▁of▁sentence｜>",
    120006: "<｜hy_User｜>",
    120007: "<｜hy_Assistant｜>",
    120020: "<｜hy_place▁holder▁no▁2｜>",
    120021: "<｜hy_place▁holder▁no▁3｜>",
    120026: "<｜hy_place▁holder▁no▁8｜>",
}
HUNYUAN_TAGS = {
    120029: "<think>",
    120030: "</think>",
    120031: "<answer>",
    120032: "</answer>",
    120039: "/think",
    120040: "/no_think",
}
QWEN3_MARKS = {151643: "<|endoftext|>", 151644: "<|im_start|>", 151645: "<|im_end|>"}
QWEN3_TAGS = {151667: "<think>", 151668: "</think>"}


def _hunyuan(hidden_size: int, num_layers: int, num_kv_heads: int, feed_forward_size: int) -> Shape:
    spec = ModelSpec(
        family="hunyuan_v1_dense",
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=16,
        num_kv_heads=num_kv_heads,
        head_dim=128,
        feed_forward_size=feed_forward_size,
        vocab_size=120818,
        context_length=262144,
        norm_eps=1e-5,
        rope_base=11158839.925,
        has_tied_head=True,
    )
    return Shape(spec, 120000, HUNYUAN_MARKS, HUNYUAN_TAGS, (120020, 120026), bos_token_id=120000)


SHAPES: dict[str, Shape] = {
    "hunyuan-0.5b": _hunyuan(1024, 24, 8, 3584),
    "hunyuan-1.8b": _hunyuan(2048, 32, 4, 6144),
    "qwen3-8b": Shape(
        ModelSpec(
            family="qwen3",
            hidden_size=4096,
            num_layers=36,
            num_heads=32,
            num_kv_heads=8,
            head_dim=128,
            feed_forward_size=12288,
            vocab_size=151936,
            context_length=40960,
            norm_eps=1e-6,
            rope_base=1e6,
            has_tied_head=False,
        ),
        151643,
        QWEN3_MARKS,
        QWEN3_TAGS,
        (151645, 151643),
    ),
}


def write_random_gguf(name: str, path: Path, seed: int = 0) -> None:
    """Write the model of shape ``name`` (a key of SHAPES) to ``path``, under another name until it is whole.

    Linear weights are Q4_0, embedding and head Q8_0; the file's ``general.name`` says that the weights are random.
    """
    write_random_model(SHAPES[name], f"{name} shape, random weights", path, seed)


def write_random_model(shape: Shape, name: str, path: Path, seed: int) -> None:
    """The same for a shape of one's own. Memory holds the bytes of one tensor and a chunk of its codes."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        _fill(shape, name, seed, lambda facts, formats: GgufWriter(partial, facts, formats))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_random_onnx(name: str, folder: Path, seed: int = 0) -> None:
    """The same weights as ``write_random_gguf`` writes, as a graph in ``folder``, which must not be there yet."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        title = f"{name} shape, random weights"
        _fill(SHAPES[name], title, seed, lambda facts, formats: OnnxWriter(partial, facts, formats))
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fill(
    shape: Shape,
    name: str,
    seed: int,
    open_writer: Callable[[ModelFacts, Mapping[TensorPlace, TensorFormat]], BundleWriter],
) -> None:
    """Write all tensors with a writer."""
    random = np.random.default_rng(seed)
    formats = plan_formats(shape.spec, QuantRecipe())
    facts = ModelFacts(name, shape.spec, synthetic_vocabulary(shape), shape.stop_token_ids)
    with closing(open_writer(facts, formats)) as writer:
        for place, tensor_format in formats.items():
            for rows in _random_chunks(random, place, tensor_format):
                writer.add(place, rows)
        writer.finish()


def synthetic_vocabulary(shape: Shape) -> Vocabulary:
    """All bytes, merges of two and of three bytes up to the marks, then marks and tags with unused ones between."""
    letters = [LETTER_OF_BYTE[byte] for byte in range(256)]
    pairs = (first + second for first, second in product(letters, repeat=2))
    merges = list(islice(chain(product(letters, repeat=2), product(pairs, letters)), shape.first_mark - 256))
    tokens = [*letters, *(left + right for left, right in merges)]
    kinds = [TokenKind.NORMAL] * len(tokens)
    for token in range(shape.first_mark, shape.spec.vocab_size):
        is_tag = token in shape.tags
        tokens.append(shape.tags[token] if is_tag else shape.marks.get(token, f"<|unused_{token}|>"))
        kinds.append(TokenKind.USER_DEFINED if is_tag else TokenKind.CONTROL)
    return Vocabulary(
        tokens=tuple(tokens),
        kinds=tuple(kinds),
        merges=tuple(f"{left} {right}" for left, right in merges),
        pre_tokenizer=family_of(shape.spec.family).gguf_pre_tokenizer,
        bos_token_id=shape.bos_token_id,
        adds_bos=shape.bos_token_id is not None,
        chat_template=None,  # the dialect is told from the marks
    )


def _random_chunks(random: np.random.Generator, place: TensorPlace, tensor_format: TensorFormat) -> Iterator[Stored]:
    if tensor_format == "F32":
        yield np.ones(place.shape, np.float32)
        return
    num_rows, num_columns = place.shape
    # an embedding's rows are looked up, not summed: a deviation of 1 / sqrt(K) suits both
    scale = 1 / (CODE_DEVIATION[tensor_format] * math.sqrt(num_columns))
    step = max(1, CHUNK_WEIGHTS // num_columns)
    for first in range(0, num_rows, step):
        shape = (min(step, num_rows - first), num_columns)
        spread = random.uniform(0.5, 1.5, (shape[0], num_columns // GROUP_SIZE))
        scales = (scale * spread).astype(np.float16)
        if tensor_format == "Q8_0":
            yield Int8Tensor(random.integers(-127, 128, shape, dtype=np.int8), scales)
        else:
            yield Int4Tensor(random.integers(0, 16, shape, dtype=np.uint8), scales, None, GROUP_SIZE)


def main(arguments: list[str]) -> int:
    """The command line; 0 when the file is written."""
    parser = argparse.ArgumentParser(prog="python -m bench_edge.shapes", description=__doc__, allow_abbrev=False)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("out", type=Path, help="the GGUF file to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        write_random_gguf(options.shape, options.out, options.seed)
    except (EdgeError, OSError) as exc:
        print(f"{options.out} could not be written: {exc}", file=sys.stderr)
        return 1
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
