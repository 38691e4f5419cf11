"""What ``edge calibrate`` found for one model: a last layer for the router, its cut-points, and a probe.

Knows: these numbers and the JSON they are kept in. Does not know: where that is kept, or how they were found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edge.think.probe import Probe
from edge.think.router import CutPoints, LastLayer, Router, default_router
from edge.think.router_weights import NUM_INPUTS

FORMAT_VERSION = 4  # the first had a probe of one token, the second's and the third's one for three tokens at once


@dataclass(frozen=True, slots=True)
class Refit:
    """``layer`` turns the router's inputs into the chance that thinking pays with this model; ``probe`` is for where
    that is unsure. ``report`` says, for people, what was measured: counts, goal, and the curve."""

    layer: LastLayer
    cuts: CutPoints
    probe: Probe
    report: Mapping[str, Any] = field(default_factory=dict)

    def router(self) -> Router:
        """The package's router with this layer and these cut-points."""
        return default_router().with_layer(self.layer, self.cuts)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "format_version": FORMAT_VERSION,
            "weights": [float(weight) for weight in self.layer.weights],
            "bias": self.layer.bias,
            "cuts": asdict(self.cuts),
            "probe": self.probe.to_json(),
            "report": dict(self.report),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Refit:
        """What ``to_json`` gave. Raises ValueError, KeyError or TypeError for anything else, another version too."""
        if value["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {value['format_version']!r}")
        weights = np.array(value["weights"], np.float32)
        numbers = [float(value["bias"]), *(float(cut) for cut in value["cuts"].values())]
        if weights.shape != (NUM_INPUTS,) or not np.isfinite(weights).all() or not all(map(math.isfinite, numbers)):
            raise ValueError(f"{weights.shape} weights, of which {NUM_INPUTS} finite ones are needed")
        cuts = CutPoints(**{name: float(cut) for name, cut in value["cuts"].items()})
        return Refit(LastLayer(weights, numbers[0]), cuts, Probe.from_json(value["probe"]), dict(value["report"]))
