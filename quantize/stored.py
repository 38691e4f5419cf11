"""What passes from whoever rounds to whoever writes: a tensor's rows, their format, and the facts beside them.

Knows: the types. Does not know: how rows are rounded, or any file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.dialect_base import Sampling
from models.spec import ModelSpec
from quantize.int4 import Int4Tensor
from quantize.int8 import Int8Tensor
from quantize.vocabulary import Vocabulary

# Named as GGUF does; every writer has its own layout for them.
TensorFormat = Literal["F32", "Q4_0", "Q4_1", "Q8_0"]
Stored = Int4Tensor | Int8Tensor | NDArray[np.float32]  # rows (N, K), or a norm's (K,)

_GREEDY = Sampling(temperature=0.0, top_k=0, top_p=1.0)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model's files say beside its weights. Of the stop ids the first is EOS, the second EOT.

    ``config`` is the checkpoint's own config.json, ``sampling`` what a caller gets who asks for nothing else.
    """

    name: str
    spec: ModelSpec
    vocabulary: Vocabulary
    stop_token_ids: tuple[int, ...]
    sampling: Sampling = _GREEDY
    config: Mapping[str, Any] = field(default_factory=dict)


def format_of(rows: Stored) -> TensorFormat:
    """The format of rows that are there."""
    if isinstance(rows, Int8Tensor):
        return "Q8_0"
    if isinstance(rows, Int4Tensor):
        return "Q4_0" if rows.zeros is None else "Q4_1"
    return "F32"
