"""A checkpoint's way to the NPU of an RK3588: the folder that Rockchip's converter needs.

Knows: the files that go with ``rk_convert``, and that RKLLM has 8 bits on this chip and no 4. Does not know: the
converter's calls, or what it does; nothing here was run with it, nor on a board.

The folder is a bundle without weights: the converted file joins it later (models.attachment).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from string import Template
from typing import Any

from models.bundle import Bundle, write_bundle
from models.checkpoint import Checkpoint, open_checkpoint
from models.dialect import Dialect
from models.errors import CheckpointError, UsageError
from models.families import family_of
from models.files import json_bytes
from models.manifest import Manifest
from models.tokenizer import BpeChatTokenizer
from quantize import rk_convert
from quantize.calibration_text import BUILT_IN_TEXT, Sample, read_samples
from quantize.identity import TOKENIZER_NAME, identify

RK3588 = "rk3588"
CONVERT_NAME, README_NAME = "convert.py", "README.md"
README_TEMPLATE = Path(__file__).with_name("rk_readme.md")

# Families that the toolkit must be told of, with the class of their blocks in transformers. It knows Qwen3 by itself.
CUSTOM_BLOCKS = {"hunyuan_v1_dense": "HunYuanDenseV1DecoderLayer"}
# What the toolkit calls a tensor -> its role here; names that it has and these families do not need are empty.
_CUSTOM_ROLES = {
    "TOKEN_EMBD": "embedding",
    "ATTN_NORM": "attention_norm",
    "ATTN_Q": "query",
    "ATTN_K": "key",
    "ATTN_V": "value",
    "ATTN_QKV": "",
    "ATTN_KV": "",
    "ATTN_Q_NORM": "query_norm",
    "ATTN_K_NORM": "key_norm",
    "ATTN_OUT": "attention_output",
    "ATTN_POST_NORM": "",
    "FFN_NORM": "feed_forward_norm",
    "FFN_GATE": "gate",
    "FFN_UP": "up",
    "FFN_DOWN": "down",
    "FFN_POST_NORM": "",
    "OUTPUT_NORM": "final_norm",
    "OUTPUT": "head",
}
KNOWN_FAMILY = "The toolkit's own list of models has this family, so that it needs no custom config."
CUSTOM_FAMILY = """\
The toolkit's own list of models lacks this family. `{file}` tells it where the tensors are, in the form of Rockchip's
published examples of a custom config: the names are those of this checkpoint's tensors, the class `{block}` is the one
in transformers.

**Not known, and able to spoil every answer:**

- whether the toolkit's names for the norms of queries and keys (`ATTN_Q_NORM`, `ATTN_K_NORM`) are right: no example of
  Rockchip's shows them, a user's example for Qwen3 does;
- whether it then takes these norms *behind* the rotation, as this family has them. Qwen3 has them before it;
- whether it computes this family's rotation (`rope_scaling` of type `dynamic` with an `alpha`).

Rockchip's maintainers say that version 1.2.3 converts this family with `config_hunyuan.json`, a custom config that they
attached to a public thread of `airockchip/rknn-llm` (its contents were not seen). Should this file fail, or the answers
make no sense, take theirs in its place."""


def write_rk3588_folder(
    source: Path,
    out: Path,
    *,
    name: str | None = None,
    dialect_name: str | None = None,
    origin: str | None = None,
    calibration: Path | None = None,
    replace: bool = False,
) -> Bundle:
    """Write what turns the float checkpoint in ``source`` into a .rkllm file to ``out``, whole or not at all.

    ``calibration`` is a text as quantize.calibration_text reads it (None: the built-in one).
    Raises ModelError for a source or a target that cannot be used, UsageError for a calibration text that cannot be
    read or a dialect that needs more than a bundle's tokenizer.
    """
    checkpoint = open_checkpoint(source)
    _check_floats(checkpoint)
    identity = identify(checkpoint, name, dialect_name, origin)
    if identity.dialect.name == "plain":
        raise UsageError(
            f"{source} speaks through a chat template of its own, which a bundle without GGUF does not hold; make a "
            "GGUF bundle for its CPU, or name its dialect with --dialect."
        )
    samples = read_samples(calibration or BUILT_IN_TEXT, identity.dialect)
    dataset = _dataset(samples, identity.dialect, identity.tokenizer)
    custom_config = _custom_config(checkpoint.spec.family)
    readme = Template(README_TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=identity.name,
        family=checkpoint.spec.family,
        dialect=identity.dialect.name,
        samples=len(dataset),
        text="the built-in text" if calibration is None else calibration.name,
        custom=_custom_paragraph(checkpoint.spec.family),
    )

    def fill(folder: Path) -> Manifest:
        shutil.copyfile(source / TOKENIZER_NAME, folder / TOKENIZER_NAME)
        shutil.copyfile(rk_convert.__file__, folder / CONVERT_NAME)
        (folder / README_NAME).write_text(readme, encoding="utf-8")
        (folder / rk_convert.CALIBRATION_NAME).write_bytes(json_bytes(dataset))
        if custom_config is not None:
            (folder / rk_convert.CUSTOM_CONFIG_NAME).write_text(json.dumps(custom_config, indent=4) + "\n")
        return identity.manifest(checkpoint.spec, _recipe(len(dataset), calibration))

    roles = {TOKENIZER_NAME: "tokenizer", CONVERT_NAME: "script", README_NAME: "text"}
    roles |= {rk_convert.CALIBRATION_NAME: "calibration", rk_convert.CUSTOM_CONFIG_NAME: "config"}
    return write_bundle(out, roles, fill, replace=replace)


def _check_floats(checkpoint: Checkpoint) -> None:
    if checkpoint.packing is not None:
        raise CheckpointError(
            f"{checkpoint.folder} is {checkpoint.packing.name} already, which RKLLM does not take, and it has no int4 "
            "on an RK3588; name the float checkpoint, or use `edge quantize` without --target for the CPU."
        )


def _recipe(num_samples: int, calibration: Path | None) -> dict[str, Any]:
    """What a bundle says of how it was quantized, by the toolkit's own defaults where it says nothing."""
    return {
        "target": RK3588,
        "quantized_dtype": rk_convert.DTYPE,
        "npu_cores": rk_convert.NUM_NPU_CORES,
        "calibration": "built-in" if calibration is None else calibration.name,
        "samples": num_samples,
    }


def _dataset(samples: list[Sample], dialect: Dialect, tokenizer: BpeChatTokenizer) -> list[dict[str, str]]:
    """The toolkit's form of a calibration text: what the model reads and what it then says, stop mark included.

    Raises UsageError where there is none.
    """
    stop = next((text for text in dialect.stop_tokens if tokenizer.token_id(text) is not None), "")
    dataset = [
        {"input": sample.said, "target": ""}
        if sample.prompt is None
        else {"input": sample.prompt.text, "target": sample.said + stop}
        for sample in samples
        if sample.said.strip()
    ]
    if not dataset:
        raise UsageError("The calibration text is empty; give another file.")
    return dataset


def _custom_paragraph(family: str) -> str:
    if family not in CUSTOM_BLOCKS:
        return KNOWN_FAMILY
    return CUSTOM_FAMILY.format(block=CUSTOM_BLOCKS[family], file=rk_convert.CUSTOM_CONFIG_NAME)


def _custom_config(family: str) -> dict[str, str] | None:
    """Where the toolkit finds each tensor of a family that it does not know by itself; None for one that it knows."""
    if family not in CUSTOM_BLOCKS:
        return None
    names = {row.role: row.checkpoint_name for row in family_of(family).rows}

    def place(role: str) -> str:
        return names[role].removeprefix("model.").removeprefix("layers.{layer}.").removesuffix(".weight")

    places = {key: place(role) if role else "" for key, role in _CUSTOM_ROLES.items()}
    return {"BLOCKNAME": CUSTOM_BLOCKS[family], **places, "KV_CONTINUOUS": "false", "ACT_TYPE": "silu"}
