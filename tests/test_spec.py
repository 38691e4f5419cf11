"""models.spec and models.families against the numbers of the real models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gguf
import pytest
from tiny_checkpoints import tiny_config, tiny_weights

from models.errors import CheckpointError, UnknownFamilyError
from models.families import FAMILIES
from models.spec import spec_from_config, spec_from_json

QWEN3_8B: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "attention_bias": False,
}
HUNYUAN_05B: dict[str, Any] = {
    "model_type": "hunyuan_v1_dense",
    "hidden_size": 1024,
    "intermediate_size": 3584,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "attention_head_dim": 128,
    "vocab_size": 120818,
    "max_position_embeddings": 262144,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": {"alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "type": "dynamic"},
    "tie_word_embeddings": True,
    "use_qk_norm": True,
    "num_experts": 1,
}


def test_qwen3_8b_has_its_published_numbers() -> None:
    spec = spec_from_config(QWEN3_8B)
    weights = sum(_size(place.shape) for place in spec.places())
    assert (spec.kv_bytes_per_token, spec.rope_base, spec.has_tied_head) == (147_456, 1e6, False)
    assert 8.18e9 < weights < 8.20e9


def test_hunyuan_takes_the_given_head_width_and_the_static_rope_base() -> None:
    """hidden / heads would be 64 here; and "dynamic" is a fixed base, not one that grows with the length."""
    spec = spec_from_config(HUNYUAN_05B)
    assert (spec.head_dim, spec.query_width, spec.kv_bytes_per_token) == (128, 2048, 98_304)
    assert spec.rope_base == pytest.approx(11158839.925, abs=0.01)


@pytest.mark.parametrize(
    ("hidden", "layers", "heads", "kv_heads", "feed_forward", "vocabulary", "kv_bytes", "billions"),
    [
        (1024, 24, 16, 8, 3584, 120818, 98_304, 0.54),
        (2048, 32, 16, 4, 6144, 120818, 65_536, 1.79),
        (3072, 36, 32, 8, 8192, 120818, 147_456, 4.22),
        (4096, 32, 32, 8, 14336, 128167, 131_072, 7.50),
    ],
    ids=["0.5B", "1.8B", "4B", "7B"],
)
def test_every_hunyuan_size_is_read(
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    feed_forward: int,
    vocabulary: int,
    kv_bytes: int,
    billions: float,
) -> None:
    """In two of them the queries are wider than the hidden states, which hidden / heads would get wrong."""
    config = HUNYUAN_05B | {
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
    }
    spec = spec_from_config(config)
    assert (spec.query_width, spec.kv_bytes_per_token) == (128 * heads, kv_bytes)
    assert sum(_size(place.shape) for place in spec.places()) / 1e9 == pytest.approx(billions, abs=0.01)


def test_newer_configs_keep_the_rotation_under_rope_parameters() -> None:
    """transformers 5 writes rope_parameters where older versions wrote rope_theta and rope_scaling."""
    newer = HUNYUAN_05B | {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "dynamic", "alpha": 1000.0}}
    del newer["rope_theta"], newer["rope_scaling"]
    assert spec_from_config(newer) == spec_from_config(HUNYUAN_05B)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_places_are_exactly_the_tensors_of_a_checkpoint(family: str, tied: bool) -> None:
    weights = tiny_weights(family, tied=tied)
    places = spec_from_config(tiny_config(family, tied=tied)).places()
    assert {place.checkpoint_name: place.shape for place in places} == {n: a.shape for n, a in weights.items()}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_gguf_names_agree_with_the_gguf_package(family: Any) -> None:
    """An independent table of the same names: a typing error here would give a file that no reader loads."""
    number = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family.gguf_architecture)
    known = gguf.get_tensor_name_map(number, 2)
    for place in spec_from_config(tiny_config(family.model_type, tied=False)).places():
        assert known.get_name(place.checkpoint_name, try_suffixes=(".weight",)) == place.gguf_name


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(UnknownFamilyError, match=r"'llama'.*qwen3, hunyuan_v1_dense"):
        spec_from_config(tiny_config(model_type="llama"))
    with pytest.raises(UnknownFamilyError, match="None"):
        spec_from_config(tiny_config(model_type=None))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hidden_size": None}, "no hidden_size"),
        ({"head_dim": None}, "no head_dim and no attention_head_dim"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers is 2.0"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"vocab_size": "many"}, "vocab_size is 'many'"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ({"rope_theta": -1}, "rope_theta is -1"),
        ({"rope_theta": None}, "no rope_theta"),
        ({"hidden_size": 80}, "hidden_size is 80, not a multiple of 32"),
        ({"intermediate_size": 100}, "feed_forward_size is 100"),
        ({"num_key_value_heads": 3}, "4 heads cannot share 3"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
        ({"hidden_act": "gelu"}, "hidden_act to 'gelu'"),
        ({"attention_bias": True}, "attention_bias to True"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope scaling 'yarn'"),
        ({"rope_scaling": {"type": "dynamic", "alpha": 1000.0}}, "rope scaling 'dynamic'"),
        ({"rope_scaling": "yarn"}, "rope_scaling is 'yarn'"),
    ],
)
def test_a_config_that_would_give_a_wrong_model_is_refused(changes: dict[str, Any], sentence: str) -> None:
    """Each of these was a silent wrong answer or a traceback deep inside a writer."""
    with pytest.raises(CheckpointError, match=sentence):
        spec_from_config(tiny_config(**changes))


def test_a_spec_survives_json() -> None:
    spec = spec_from_config(QWEN3_8B)
    assert spec_from_json(asdict(spec)) == spec
    for wrong in ({}, asdict(spec) | {"extra": 1}, asdict(spec) | {"num_heads": "32"}, [], None):
        with pytest.raises(CheckpointError):
            spec_from_json(wrong)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for width in shape:
        size *= width
    return size
