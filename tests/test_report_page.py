"""models.summary, edge.inspection, quantize.report_page and quantize.report_plot: what a bundle tells a person."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import gguf
import numpy as np
import pytest
from packed_checkpoints import write_packed_checkpoint
from test_pipeline import QUICK, write_rough_checkpoint
from tiny_checkpoints import write_tiny_checkpoint

from edge.inspection import describe_model
from models.bundle import Bundle
from models.errors import BundleError
from models.manifest import Manifest
from models.summary import layer_errors, percent, summarize
from quantize.pipeline import quantize_checkpoint
from quantize.recipe import QuantRecipe
from quantize.report_page import report_page
from quantize.report_plot import nice_top

VOID = {"meta", "line", "circle", "polyline"}


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose every figure was measured."""
    folder = tmp_path_factory.mktemp("calibrated")
    return quantize_checkpoint(write_rough_checkpoint(folder / "source"), folder / "out", QUICK)


class _Page(HTMLParser):
    """Tags that are open, texts, and what would be fetched from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.foreign: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.foreign += [pair for pair in attrs if pair[0] in ("src", "href", "srcset", "action", "onclick", "style")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_of(bundle: Bundle) -> str:
    """The report that lies in the bundle."""
    return bundle.file("report").read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(calibrated: Bundle) -> None:
    """It is opened years later, offline, from a copied folder."""
    page = _Page(page_of(calibrated))
    assert page.open == []
    assert page.foreign == []
    assert {"script", "img", "link", "iframe", "object"}.isdisjoint(page.tags)
    assert "url(" not in page_of(calibrated) and "@import" not in page_of(calibrated)
    assert "prefers-color-scheme: dark" in page_of(calibrated) and "@media print" in page_of(calibrated)


def test_page_and_command_say_the_same(calibrated: Bundle) -> None:
    texts, told = _Page(page_of(calibrated)).texts, describe_model(calibrated.path)
    manifest = calibrated.manifest
    quality = manifest.report["quality"]
    for figure in (f"{quality['perplexity']:.5g}", f"{quality['divergence']:.3g}", manifest.files["model.gguf"].sha256):
        assert any(figure in text for text in texts)
        assert figure in told
    for section in summarize(replace(manifest, files={})):
        for words in (*section.facts, *section.table):
            assert all(word in told for word in words)
            assert all(not word or word in texts for word in words)


def test_every_layer_has_its_two_points(calibrated: Bundle) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page_of(calibrated), re.DOTALL)
    assert len(pictures) == 7
    circles = [circle for picture in pictures for circle in ElementTree.fromstring(picture).iter("circle")]
    titles = [circle[0].text for circle in circles]
    layers = calibrated.manifest.report["layers"]
    assert len(titles) == 2 * len(layers)
    for layer in layers:
        block = layer["tensor"].split(".")[1]
        assert f"block {block}: {percent(layer['plain_error'])} %" in titles
        assert f"block {block}: {percent(layer['error'])} %" in titles
    heights = [float(circle.get("cy", "nan")) for circle in circles]
    assert min(heights) > 0 and max(heights) < 190


def test_parts_are_those_of_the_file(calibrated: Bundle) -> None:
    """Sizes are counted again in the GGUF file; the recipe decides how embedding and head are stored."""
    tensors = gguf.GGUFReader(calibrated.gguf_path).tensors
    parts = {part["part"]: part for part in calibrated.manifest.report["parts"]}
    embedding = next(tensor for tensor in tensors if tensor.name == "token_embd.weight")
    assert parts["embedding"]["bytes"] == embedding.n_bytes
    assert parts["embedding"]["formats"] == {"Q8_0": 1}
    assert parts["embedding"]["error"] == calibrated.manifest.tensor_errors["token_embd.weight"]
    assert sum(part["bytes"] for part in parts.values()) == sum(tensor.n_bytes for tensor in tensors)
    assert parts["norms"]["error"] is None


@pytest.mark.parametrize("wide", [("embedding", "head"), ("head",), ()])
def test_embedding_and_head_tell_their_size_and_quality(tmp_path: Path, wide: tuple[str, ...]) -> None:
    source = write_tiny_checkpoint(tmp_path / "source", tied=False)
    bundle = quantize_checkpoint(source, tmp_path / "out", QuantRecipe(wide=wide))
    parts = {part["part"]: part for part in bundle.manifest.report["parts"]}
    for part in ("embedding", "head"):
        is_wide = part in wide
        assert parts[part]["formats"] == {"Q8_0" if is_wide else "Q4_0": 1}
        assert 8 * parts[part]["bytes"] / parts[part]["weights"] == (8.5 if is_wide else 4.5)
        assert (parts[part]["error"] < 0.01) == is_wide


def test_what_8_bits_for_embedding_and_head_buy_can_be_read(calibrated: Bundle, tmp_path: Path) -> None:
    """Two recipes, two reports: the bytes that int4 saves there, and the divergence that it costs."""
    source = write_rough_checkpoint(tmp_path / "source")
    narrow = quantize_checkpoint(source, tmp_path / "narrow", replace(QUICK, wide=())).manifest
    wide = calibrated.manifest
    sizes = [manifest.report["parts"][0]["bytes"] for manifest in (narrow, wide)]
    assert sizes[0] / sizes[1] == 4.5 / 8.5
    assert narrow.report["quality"]["divergence"] > 1.2 * wide.report["quality"]["divergence"]


def test_a_bundle_that_was_only_rounded_shows_what_it_has(tmp_path: Path) -> None:
    bundle = quantize_checkpoint(write_rough_checkpoint(tmp_path / "source"), tmp_path / "out")
    told = describe_model(bundle.path)
    assert "perplexity and divergence: not measured" in told
    assert "Error of each layer's weights in percent" in told
    assert [error.plain_error for error in layer_errors(bundle.manifest)] == [None] * 14
    assert page_of(bundle).count("<circle") == 14
    assert "rounded plainly" not in page_of(bundle)


def test_floats_and_imports_have_a_page_too(tmp_path: Path) -> None:
    whole = quantize_checkpoint(write_tiny_checkpoint(tmp_path / "a"), tmp_path / "whole", QuantRecipe(bits=32))
    assert "<svg" not in page_of(whole)
    imported = quantize_checkpoint(write_packed_checkpoint(tmp_path / "b", "symmetric").folder, tmp_path / "imported")
    assert "<dt>imported</dt><dd>compressed-tensors" in page_of(imported)
    assert all(error.error == 0 for error in layer_errors(imported.manifest))


def hostile(manifest: Manifest) -> Manifest:
    """Names as an attacker, or a careless person, may choose them."""
    return replace(manifest, name="<script>alert(1)</script>&", source='"><img src=x onerror=alert(1)>')


def test_a_name_is_text(calibrated: Bundle) -> None:
    """Names come from checkpoints that strangers made."""
    page = _Page(report_page(hostile(calibrated.manifest)))
    assert "script" not in page.tags and "img" not in page.tags
    assert page.foreign == []
    assert "<script>alert(1)</script>&" in page.texts


@pytest.mark.parametrize("num_blocks", [1, 36])
def test_any_number_of_blocks_is_drawn(calibrated: Bundle, num_blocks: int) -> None:
    spec = replace(calibrated.spec, num_layers=num_blocks)
    layers = [
        {"tensor": place.gguf_name, "plain_error": 0.02, "error": 0.01}
        for place in spec.places()
        if place.kind == "linear"
    ]
    page = report_page(replace(calibrated.manifest, spec=spec, report={"layers": layers}))
    assert page.count("<circle") == 14 * num_blocks
    assert len(re.findall(r'text-anchor="middle"', page)) == 7 * min(num_blocks, 9)


@pytest.mark.parametrize("largest", [0.0, 1e-9, 0.0101, 0.07, 0.09, 0.1, 3.0])
def test_an_axis_ends_at_a_round_number(largest: float) -> None:
    top = nice_top(largest)
    assert largest <= top <= max(2.1 * largest, 1.0 if largest == 0 else 0)


@pytest.mark.parametrize(
    "report",
    [
        {"layers": 5},
        {"layers": [{"tensor": "blk.0.attn_q.weight", "error": 1}]},
        {"layers": [{"plain_error": 1, "error": 1}]},
        {"layers": [{"tensor": "x", "plain_error": True, "error": 1}]},
        {"scale_groups": [{"kept": "plain"}]},
        {"quality": {"perplexity": "good"}},
        {"quality": []},
        {"calibration": ["x"]},
        {"calibration": {"text": "x", "distinct_tokens": "many"}},
        {"parts": [{"part": "head", "weights": 1, "bytes": 1}]},
        {"parts": [{"part": "head", "weights": 1, "bytes": 1, "formats": 7}]},
    ],
)
def test_a_report_of_another_form_is_one_sentence(calibrated: Bundle, report: Any) -> None:
    """bundle.json is checked when it is opened, its report only when somebody asks for it."""
    with pytest.raises(BundleError, match=r"bundle\.json has a report whose .* make it again\."):
        summarize(replace(calibrated.manifest, report=report))


def test_a_group_that_kept_plain_rounding_is_named(tmp_path: Path) -> None:
    """On weights that lie on the grid nothing beats plain rounding, and the report has to say so."""
    source = write_tiny_checkpoint(tmp_path / "source")
    bundle = quantize_checkpoint(source, tmp_path / "out", QUICK)
    assert {group["kept"] for group in bundle.manifest.report["scale_groups"]} == {"plain"}
    told = describe_model(bundle.path)
    assert "plain: 8 of 8" in told
    assert "kept plain rounding, which nothing beat: blk.0.ffn_up.weight, " in told
    values = {tensor.name: tensor.data for tensor in gguf.GGUFReader(bundle.gguf_path).tensors}
    plainly = quantize_checkpoint(source, tmp_path / "plain").gguf_path
    for tensor in gguf.GGUFReader(plainly).tensors:
        np.testing.assert_array_equal(values[tensor.name], tensor.data)
