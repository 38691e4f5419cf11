"""What a bundle says about itself, as sections for people: `edge models inspect` prints them, report.html draws them.

Knows: which facts of a manifest belong together, their units and their words. Does not know: terminals, HTML, files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from models.errors import BundleError
from models.manifest import MANIFEST_NAME, Manifest

Row = tuple[str, ...]

_NOT_MEASURED = "not measured: nothing was calibrated, or no text was held out"


@dataclass(frozen=True, slots=True)
class Section:
    """A title, and either facts as (name, value) or a table whose first row is its header."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    table: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerError:
    """The relative error of one linear layer; ``plain_error``, of plain rounding, is None where nothing was calibrated.

    Calibrated: of its output, |X (W' - W)| / |X W|. Otherwise: of its weights, |W' - W| / |W|.
    """

    role: str
    block: int
    plain_error: float | None
    error: float


def layer_errors(manifest: Manifest) -> tuple[LayerError, ...]:
    """Every linear layer that was measured, in file order. Raises BundleError for a report of another form."""
    records = _records(manifest, "layers", ("plain_error", "error"))
    measured = {str(_field(record, "layers", "tensor")): record for record in records}
    found = []
    for place in manifest.spec.places():
        if place.kind != "linear" or place.layer is None:
            continue
        if record := measured.get(place.gguf_name):
            found.append(LayerError(place.role, place.layer, record["plain_error"], record["error"]))
        elif not measured and place.gguf_name in manifest.tensor_errors:
            found.append(LayerError(place.role, place.layer, None, manifest.tensor_errors[place.gguf_name]))
    return tuple(found)


def summarize(manifest: Manifest) -> tuple[Section, ...]:
    """All of a bundle's facts. Raises BundleError for a report of another form than this program writes."""
    sections = (
        Section("Model", tuple(_model_facts(manifest))),
        Section("Quality on held-out text", tuple(_quality_facts(manifest))),
        Section("Recipe", tuple(_words(manifest.recipe))),
        Section("Body", tuple(_words(asdict(manifest.spec)))),
        Section("Scale groups", tuple(_group_facts(manifest))),
        Section("Size and error by part", table=tuple(_part_rows(manifest))),
        Section(layers_title(manifest), table=tuple(_layer_rows(layer_errors(manifest)))),
        Section("Files", table=tuple(_file_rows(manifest))),
    )
    return tuple(section for section in sections if section.facts or section.table)


def layers_title(manifest: Manifest) -> str:
    """What the errors of the layers are shares of."""
    if manifest.report.get("layers"):
        return "Error of each layer's output in percent, rounded plainly > as kept"
    return "Error of each layer's weights in percent"


def percent(error: float) -> str:
    """A relative error with three digits, without the sign: ``4.70``."""
    return f"{100 * error:#.3g}".rstrip(".")


def _model_facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    sampling = manifest.sampling
    yield "name", manifest.name
    yield "dialect", f"{manifest.dialect} ({manifest.dialect_reason})"
    yield "begins with", "no token of its own" if manifest.bos_token_id is None else f"token {manifest.bos_token_id}"
    yield "ends with", f"token {', '.join(map(str, manifest.stop_token_ids))}"
    yield "sampling", f"temperature {sampling.temperature:g}, top_k {sampling.top_k}, top_p {sampling.top_p:g}"
    yield "KV cache", f"{manifest.spec.kv_bytes_per_token:,} bytes a token"
    yield "source", manifest.source
    yield "made by", manifest.created_by


def _words(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in record.items():
        yield name.removeprefix("num_").removeprefix("has_").replace("_", " "), _word(value)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)


def _quality_facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    if calibration := manifest.report.get("calibration"):
        num_tokens = _number(calibration, "calibration", "distinct_tokens")
        yield "calibrated on", f"{_field(calibration, 'calibration', 'text')}, {num_tokens:,} distinct tokens"
    quality = manifest.report.get("quality")
    if quality is None:
        yield "perplexity and divergence", _NOT_MEASURED
        return
    names = ("perplexity_float", "perplexity", "divergence", "same_top", "num_tokens")
    before, after, divergence, same, num_tokens = (_number(quality, "quality", name) for name in names)
    yield "perplexity", f"{after:.5g} (the float model's {before:.5g})"
    yield "KL divergence to the float model", f"{divergence:.3g} nats a token"
    if quality.get("reply_divergence") is not None:
        yield "the same on the model's own words", f"{_number(quality, 'quality', 'reply_divergence'):.3g} nats a token"
    yield "same likeliest token", f"{100 * same:.2f} %"
    yield "measured on", f"{num_tokens:,.0f} tokens that were not calibrated on"


def _part_rows(manifest: Manifest) -> Iterator[Row]:
    parts = _records(manifest, "parts", ("weights", "bytes"))
    if parts:
        yield "part", "format", "weights", "bytes", "bits a weight", "error of weights %"
    for part in parts:
        formats = _field(part, "parts", "formats")
        if not isinstance(formats, dict):
            raise _foreign("parts.formats")
        bits = 8 * part["bytes"] / max(1, part["weights"])
        error = part.get("error")
        yield (
            _word(part.get("part")).replace("_", " "),
            ", ".join(f"{count} {name}" for name, count in formats.items()),
            f"{part['weights']:,}",
            f"{part['bytes']:,}",
            f"{bits:.3g}",
            "" if error is None else percent(_number(part, "parts", "error")),
        )


def _group_facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    groups = _records(manifest, "scale_groups", ("ratio", "error_share"))
    if not groups:
        return
    for kept, some in groupby(
        sorted(groups, key=lambda group: str(group.get("kept"))), lambda group: group.get("kept")
    ):
        yield _word(kept), f"{len(list(some))} of {len(groups)}"
    plain = [_word(group.get("producer")) for group in groups if group.get("kept") == "plain"]
    yield "kept plain rounding, which nothing beat", ", ".join(plain) or "none"
    scaled = [group for group in groups if group["ratio"] > 0]
    yield "with a scale of their own", f"{len(scaled)} of {len(groups)}"


def _layer_rows(errors: tuple[LayerError, ...]) -> Iterator[Row]:
    """A row a block, a column a role."""
    roles = tuple(dict.fromkeys(error.role for error in errors))
    if errors:
        yield "block", *(role.replace("_", " ") for role in roles)
    for block, some in groupby(errors, lambda error: error.block):
        cells = {
            layer.role: percent(layer.error)
            if layer.plain_error is None
            else f"{percent(layer.plain_error)} > {percent(layer.error)}"
            for layer in some
        }
        yield str(block), *(cells.get(role, "") for role in roles)


def _file_rows(manifest: Manifest) -> Iterator[Row]:
    if manifest.files:
        yield "file", "role", "bytes", "sha256"
    for name, record in manifest.files.items():
        yield name, record.role, f"{record.bytes:,}", record.sha256


def _records(manifest: Manifest, name: str, numbers: tuple[str, ...]) -> list[dict[str, Any]]:
    """A list of the report, whose entries have these numbers; empty where the report has none of that name."""
    records = manifest.report.get(name, [])
    if not isinstance(records, list):
        raise _foreign(name)
    for record in records:
        for number in numbers:
            _number(record, name, number)
    return records


def _field(record: Any, name: str, field: str) -> Any:
    if not isinstance(record, dict) or field not in record:
        raise _foreign(f"{name}.{field}")
    return record[field]


def _number(record: Any, name: str, field: str) -> float:
    value = _field(record, name, field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _foreign(f"{name}.{field}")
    return value


def _foreign(name: str) -> BundleError:
    return BundleError(f"{MANIFEST_NAME} has a report whose {name} is not as this program writes it; make it again.")
