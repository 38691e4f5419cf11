"""Answers with a shape: whatever the model wants, the document is valid, whole or completed, or said to be cut."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import jsonschema
import numpy as np
import pytest
from scripted_models import FakeClock, num_tokens, scripted_model

from bench_edge.simulated_device import SPEEDS, SimulatedClock, SimulatedDevice, simulated_model
from edge.answer import stream_answer
from edge.answer_shape import make_shape
from edge.backends.scripted import ScriptedBackend
from edge.chat_types import Answer, AnswerOptions, Message
from edge.cli_chat import text_of
from edge.engine import Engine, load
from edge.grammar_check import check_grammar_ends
from edge.loaded_model import LoadedModel
from edge.schema_check import check_schema_ends
from edge.shape_end import close_json
from edge.terminal import closing_line
from models.dialect import DIALECTS
from models.errors import UsageError
from models.tokenizer import BpeChatTokenizer, stop_token_ids

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TREE = {
    "type": "object",
    "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}, "note": {"$ref": "#"}, "v": {"type": "number"}},
    "required": ["v"],
    "additionalProperties": False,
}
SCHEMAS: list[dict[str, Any]] = [
    PERSON,
    TREE,
    {},
    {"enum": ["yes", "no", 3]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
    {"type": "string", "pattern": "^[a-c]{3,5}$"},
    {"type": ["string", "null"], "maxLength": 2},
    {"anyOf": [PERSON, {"type": "boolean"}]},
    {"type": "array", "minItems": 1, "items": {"anyOf": [{"$ref": "#"}, {"type": "object"}]}},
]
DEEP = "".join(random.Random(0).choices(['{"kids":[', '{"note":'], k=200))  # and so on, for ever
DOCUMENT = '{"name":"Ann","age":7}'


def asked(model: LoadedModel, **options: Any) -> Answer:
    wished = AnswerOptions(**{"temperature": 0.0, **options})
    events = stream_answer(model, 0, [Message("user", "Who?")], wished, stop=Event(), clock=FakeClock())
    result = list(events)[-1].result
    assert result is not None
    return result


def is_valid(answer: Answer, schema: dict[str, Any]) -> bool:
    jsonschema.validate(json.loads(answer.answer), schema)
    return answer.document in ("whole", "completed")


@pytest.mark.parametrize("has_tag_tokens", [True, False])
@pytest.mark.parametrize("dialect", ["hipo", "qwen3", "hunyuan"])
def test_the_document_follows_the_thoughts_of_every_dialect(dialect: str, has_tag_tokens: bool) -> None:
    """The constraint starts with the answer: the same braces in the thoughts are as free as ever."""
    opening = {"hipo": "\n</think>\n\n<answer>\n", "qwen3": "\n</think>\n\n", "hunyuan": "\n</think>\n<answer>\n"}
    reply = f'{{]: hm, a "name"?{opening[dialect]}{DOCUMENT} and so on'
    answer = asked(scripted_model(reply, dialect=dialect, has_tag_tokens=has_tag_tokens), think="on", schema=PERSON)
    assert answer.thinking == '{]: hm, a "name"?'
    assert (answer.answer, answer.document, answer.finish_reason) == (DOCUMENT, "whole", "stop")


def test_judged_thinking_is_followed_by_the_document() -> None:
    judged = f"hard\n</judge>\n\n<think_on>\n<think>\nhm\n</think>\n\n<answer>\n{DOCUMENT}\n</answer>"
    answer = asked(scripted_model(judged), schema=json.dumps(PERSON))
    assert (answer.decision.think, answer.thinking, answer.answer) == (True, "hm", DOCUMENT)
    answer = asked(scripted_model(f"easy\n</judge>\n\n<think_off>\n<answer>\n{DOCUMENT}"), schema=PERSON)
    assert (answer.decision.think, answer.answer, answer.document) == (False, DOCUMENT, "whole")


@pytest.mark.parametrize("dialect", ["hipo", "qwen3", "hunyuan", "plain"])
def test_a_model_that_says_something_else_is_kept_to_the_shape(dialect: str) -> None:
    answer = asked(scripted_model("The name is Ann, she is 7.", dialect=dialect), think="off", schema=PERSON)
    assert is_valid(answer, PERSON)


def test_a_judge_that_strays_into_an_answer_is_brought_back() -> None:
    """Text without its tags became an unshaped answer."""
    for reply in ("easy\n</judge>\n\nAnn is 7", "easy", "hm\n</judge>\n\n"):
        assert is_valid(asked(scripted_model(reply), schema=PERSON), PERSON)


def test_a_token_that_ends_the_thinking_and_begins_the_answer_is_not_taken() -> None:
    """The end of a tag and the first letters of an answer can be one token."""
    model = scripted_model("x", dialect="qwen3", has_tag_tokens=False)
    tokenizer = model.tokenizer
    lead = tokenizer.encode_control("hm\n</think")
    fused = model.tokenizer.token_id(">{") or model.tokenizer.encode_control(">Ann")[0]

    class Fused:
        vocab_size = tokenizer.vocab_size
        encode_control, encode_user, encode_prompt = (
            tokenizer.encode_control,
            tokenizer.encode_user,
            tokenizer.encode_prompt,
        )
        token_id = tokenizer.token_id

        def token_bytes(self, token: int) -> bytes:
            return b">Ann" if token == fused else tokenizer.token_bytes(token)

    def script(held: Sequence[int]) -> int:
        said = list(held[prompt_length:])
        return lead[len(said)] if said == lead[: len(said)] and len(said) < len(lead) else fused

    prompt = model.dialect.render([Message("user", "Who?")], "on")
    prompt_length = sum(map(len, tokenizer.encode_prompt(prompt)))
    backend = ScriptedBackend(script, vocab_size=model.backend.vocab_size)
    answer = asked(replace(model, tokenizer=Fused(), backend=backend), think="on", schema=PERSON, max_tokens=60)
    assert answer.thinking == "hm"
    assert is_valid(answer, PERSON)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:40])
def test_noise_makes_valid_documents(schema: dict[str, Any]) -> None:
    """Whatever the logits are, wherever the answer is cut: valid, read by another implementation."""
    model = scripted_model("x")
    for seed in range(6):
        noise = np.random.default_rng(seed)
        size = model.backend.vocab_size
        backend = ScriptedBackend(
            lambda _held, noise=noise, size=size: noise.normal(size=size).astype(np.float32), vocab_size=size
        )
        answer = asked(
            replace(model, backend=backend),
            think="off",
            schema=schema,
            max_tokens=1 + 7 * seed,
            temperature=1.0,
            seed=seed,
        )
        assert is_valid(answer, schema)
        assert answer.finish_reason in ("stop", "length")


def test_a_grammar_is_kept_the_same_way() -> None:
    grammar = 'start: "yes" | "no" ", because " /[a-z ]+/ "."'
    answer = asked(scripted_model("no, because it is late. And"), think="off", grammar=grammar)
    assert (answer.answer, answer.document) == ("no, because it is late.", "whole")
    assert asked(scripted_model("perhaps"), think="off", grammar=grammar).answer in ("yes", "no, because a.")


@pytest.mark.parametrize(
    ("grammar", "begun", "whole"),
    [
        ('start: "(" start ")" | "x"', "(" * 60, "(" * 60 + "x" + ")" * 60),
        ('start: item{30,60}\nitem: /[a-z]+/ " "', "two words and", "two words and " + "a " * 27),
    ],
)
def test_a_grammar_is_ended_where_no_search_gets_that_far(grammar: str, begun: str, whole: str) -> None:
    """A search over all ways gave up within the first few brackets or words."""
    model = scripted_model(begun)
    answer = asked(model, think="off", grammar=grammar, max_tokens=num_tokens(model, begun))
    assert (answer.answer, answer.document) == (whole, "completed")


def test_what_can_go_on_ends_where_the_model_ends_it() -> None:
    """A number can always have one more digit; the closing tag of the dialect is no part of it."""
    for reply in ("42\n</answer>", "42", "42 of them"):
        answer = asked(scripted_model(reply), think="off", schema={"type": "integer"})
        assert (answer.answer, answer.document, answer.finish_reason) == ("42", "whole", "stop")


def test_a_model_that_has_said_it_all_is_not_led_on() -> None:
    """Where more was allowed, one that went on to a new line was made to write names until the context ended."""
    open_schema = {key: value for key, value in PERSON.items() if key != "additionalProperties"}
    for reply in ('{"name":"Ann","age":7\n}', '{"name":"Ann","age":7'):
        answer = asked(scripted_model(reply), think="off", schema=open_schema)
        assert (answer.answer, answer.document) == (DOCUMENT, "whole")
    indented = asked(scripted_model('{\n"name":"Ann"'), think="off", schema={"type": "object"}, max_tokens=40)
    assert indented.answer != "{}"
    schema = {"type": "object", "properties": {"result": {"type": "integer"}}, "required": ["result"]}
    with load(num_threads=1) as engine:
        answer = engine.answer("12+30", AnswerOptions(think="on", temperature=0.0, schema=schema))
    assert (answer.answer, answer.document, answer.finish_reason) == ('{"result":42}', "whole", "stop")


def test_tags_inside_a_document_are_its_text() -> None:
    """A closing tag in a JSON string ended the answer in mid-string."""
    said = '{"name":"</answer> </think>","age":1}'
    answer = asked(scripted_model(said, has_tag_tokens=False), think="off", schema=PERSON)
    assert (answer.answer, answer.document) == (said, "whole")


def test_think_tags_stay_banned_inside_a_document() -> None:
    said = '{"name":"<think>","age":1}'
    other = '{"name":"<b","age":1}'
    answer = asked(scripted_model(said, other, has_tag_tokens=False), think="off", schema=PERSON)
    assert "<think>" not in answer.answer
    assert is_valid(answer, PERSON)


def test_a_model_that_stops_in_mid_thought_is_made_to_answer() -> None:
    assert is_valid(asked(scripted_model("hm"), think="on", schema=PERSON), PERSON)


@pytest.mark.parametrize("max_tokens", range(1, 12, 2))
def test_a_cut_document_is_completed_and_says_so(max_tokens: int) -> None:
    model = scripted_model(DOCUMENT)
    answer = asked(model, think="off", schema=PERSON, max_tokens=max_tokens)
    assert (answer.finish_reason, answer.document) == ("length", "completed")
    assert is_valid(answer, PERSON)
    assert answer.raw == answer.answer
    assert "and completed" in closing_line(answer)
    assert answer.usage.answer_tokens == max_tokens
    assert model.backend.length(0) <= answer.usage.prompt_tokens + answer.usage.forced_tokens + max_tokens


def test_a_full_context_is_completed() -> None:
    long = '{"name":"' + "so and so " * 300
    answer = asked(scripted_model(long, context_size=120), think="off", schema=PERSON)
    assert (answer.finish_reason, answer.document) == ("context", "completed")
    assert is_valid(answer, PERSON)


def test_a_character_that_was_cut_is_completed() -> None:
    model = scripted_model('{"name":"龘')
    size = num_tokens(model, '{"name":"龘')
    for cut in range(size - 3, size + 1):
        assert is_valid(asked(model, think="off", schema=PERSON, max_tokens=cut), PERSON)


def test_what_was_never_begun_is_not_passed_off_as_valid() -> None:
    """A request that ran out of time before its prompt was read has no document, and says so."""
    stop = Event()
    stop.set()
    events = stream_answer(scripted_model(DOCUMENT), 0, [Message("user", "?")], AnswerOptions(schema=PERSON), stop=stop)
    answer = list(events)[-1].result
    assert answer is not None
    assert (answer.document, answer.answer, answer.has_answer) == ("cut", "", False)
    assert "no valid document" in closing_line(answer)


@pytest.mark.parametrize("think", ["on", "off"])
@pytest.mark.parametrize("deadline_s", [0.7, 1.5, 4.0])
def test_a_deadline_is_kept_with_a_valid_document(think: str, deadline_s: float) -> None:
    """The device says nothing but noise and would go on for ever."""
    clock = SimulatedClock()
    device = SimulatedDevice(clock, SPEEDS["steady"](random.Random(0)))
    device.thinking_tokens, device.answer_tokens = 5000, 5000
    engine = Engine(simulated_model(device), clock=clock)
    asked_s = clock()
    answer = engine.answer("?", AnswerOptions(think=think, temperature=0.0, deadline_s=deadline_s, schema=TREE))  # type: ignore[arg-type]
    assert clock() - asked_s <= deadline_s
    assert is_valid(answer, TREE)


@pytest.mark.parametrize("deadline_s", [2.0, 3.0, 5.0])
def test_a_deadline_leaves_time_to_end_what_was_begun(monkeypatch: pytest.MonkeyPatch, deadline_s: float) -> None:
    """Deep in a document an end takes many times longer to find than it took to end an empty one."""
    clock = FakeClock(0.001)

    def close_slowly(matcher: Any, written: bytes, names: Sequence[str], order: bytes) -> bytes | None:
        end = close_json(matcher, written, names, order)
        clock.now_s += 0.004 * len(end or b"")
        return end

    monkeypatch.setattr("edge.answer_shape.close_json", close_slowly)
    engine = Engine(scripted_model(DEEP, context_size=4000), clock=clock)
    for _ in range(3):
        asked_s = clock.now_s
        answer = engine.answer("?", AnswerOptions(think="off", temperature=0.0, deadline_s=deadline_s, schema=TREE))
        assert clock.now_s - asked_s <= deadline_s
        assert (answer.finish_reason, answer.document) == ("deadline", "completed")
        assert is_valid(answer, TREE)
        assert answer.answer.count("{") > 5


def test_a_deep_document_is_completed() -> None:
    """The longest end that was looked for was too short for two hundred open brackets, and the document was cut."""
    answer = asked(scripted_model(DEEP, context_size=4000), think="off", schema=TREE, max_tokens=1500)
    assert answer.answer.count("{") > 100
    assert is_valid(answer, TREE)


def test_the_reserve_covers_the_shortest_document() -> None:
    """An answer's usual length says nothing of a document that cannot be shorter than it is."""
    names = [f"field_{number}" for number in range(40)]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
    model = scripted_model("1 2 3 4 5 6 7 8 9 " * 40, context_size=3000)
    shape = make_shape(model, AnswerOptions(schema=schema))
    assert shape is not None
    least = num_tokens(model, shape.shortest)
    answer = asked(model, think="on", schema=schema, max_tokens=least + 40, think_tokens=1000)
    assert answer.usage.thinking_tokens <= 40
    assert is_valid(answer, schema)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:40])
def test_the_shortest_document_is_valid_and_short(schema: dict[str, Any]) -> None:
    shape = make_shape(scripted_model("x"), AnswerOptions(schema=schema))
    assert shape is not None
    jsonschema.validate(json.loads(shape.shortest), schema)
    assert len(shape.shortest) <= 24
    assert " " not in shape.shortest


BAD_SCHEMAS: list[tuple[Any, str]] = [
    ("", "empty"),
    ("{", "not JSON"),
    ("[]", "is an object"),
    ("3", "is an object"),
    ({"hello": 1}, "none of JSON Schema's keywords"),
    ({"type": "thing"}, "Invalid type: thing"),
    ({"type": "object", "properties": 3}, "properties must be an object"),
    ({"not": {"type": "string"}}, "not"),
    ({"$ref": "#/nowhere"}, "does not exist"),
    ({"$ref": "http://example.org/x"}, "cannot be used"),
    ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable"),
    ({"x-guidance": {"lenient": True}}, "x-guidance"),
    ({"type": "object", "minProperties": 2}, "minProperties 2"),
    ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "ever ends"),
    ({"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "array", "minItems": 1,
                                                                 "items": {"$ref": "#/$defs/b"}}}}, "ever ends"),
    ({"$ref": "#"}, "ever ends"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "message"), BAD_SCHEMAS, ids=lambda value: str(value)[:40])
def test_a_bad_schema_is_refused_before_the_model_is_asked(schema: Any, message: str) -> None:
    model = scripted_model(DOCUMENT)
    with pytest.raises(UsageError, match=message):
        asked(model, schema=schema)
    assert isinstance(model.backend, ScriptedBackend)
    assert model.backend.calls == []


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ("  ", "empty"),
        ("hello", "cannot be used"),
        ("start: x", "unknown name"),
        ('start: "a" start', "'start' of the grammar can never end"),
        ("start: /a+/ start", "'start' of the grammar can never end"),
        ('start: "b" | more\nmore: ("c" more)', "'more' of the grammar can never end"),
        ('start: "x"{2,3} y // so\ny[max_tokens=3]: y "z"', "'y' of the grammar can never end"),
        ("start: <|im_end|>", "grammar"),
    ],
)
def test_a_bad_grammar_is_refused_before_the_model_is_asked(grammar: str, message: str) -> None:
    """A grammar that can only go on for ever sent the compiler into an endless loop."""
    model = scripted_model("yes")
    with pytest.raises(UsageError, match=message):
        asked(model, grammar=grammar)
    assert isinstance(model.backend, ScriptedBackend)
    assert model.backend.calls == []


@pytest.mark.parametrize(
    "grammar",
    [
        'start: "a" start | "b"',
        'start: "(" start? ")" ',
        'start: item*\nitem: "x" item*',
        '?start: a | [start "x"] "y"\na.2: "z"~2..3',
        'start: %json {"type": "integer"} | start "}"',
        "%import common.INT\nstart: INT",
        'start: /[/]+/ x{0,3}\nx: "a" | x x',
    ],
)
def test_grammars_that_end_are_let_through(grammar: str) -> None:
    check_grammar_ends(grammar)


def test_optional_parts_may_nest_as_they_like() -> None:
    check_schema_ends(TREE)
    check_schema_ends({"type": ["object", "null"], "properties": {"a": {"$ref": "#"}}, "required": ["a"]})
    check_schema_ends({"type": "object", "properties": {"a": False}})


def test_one_shape_at_a_time() -> None:
    with pytest.raises(UsageError, match="a schema and a grammar"):
        AnswerOptions(schema=PERSON, grammar='start: "a"')
    tool = {"type": "function", "function": {"name": "f"}}
    for shape in ({"schema": PERSON}, {"grammar": 'start: "a"'}):
        with pytest.raises(UsageError, match="there are tools"):
            AnswerOptions(tools=[tool], **shape)  # type: ignore[arg-type]


def test_steps_in_the_answer_and_a_shape_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="dialect plain"):
        asked(scripted_model("x", dialect="plain"), think="on", schema=PERSON)


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(UsageError, match=r"pip install 'llguidance>=1\.9,<2'"):
        asked(scripted_model("x"), schema=PERSON)


def test_files_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("\ufeff{}", encoding="utf-8")
    assert text_of(tmp_path / "s.json", "schema") == "{}"
    (tmp_path / "bad").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        text_of(tmp_path / "bad", "schema")
    with pytest.raises(UsageError, match="cannot be read"):
        text_of(tmp_path / "none", "grammar")


def test_the_vocabulary_of_spark_spells_documents(repository: Path) -> None:
    """Its tokens were chosen for sums and stories; tags and stop tokens are no text of a document."""
    dialect = DIALECTS["hipo"]
    path = repository / "models" / "spark" / "checkpoint" / "tokenizer.json"
    tokenizer = BpeChatTokenizer.from_file(path, dialect.control_texts)
    model = scripted_model("x")
    backend = ScriptedBackend(lambda _held: 0, vocab_size=tokenizer.vocab_size + 8)
    stop_ids = stop_token_ids(dialect, tokenizer)
    shape = make_shape(
        replace(model, tokenizer=tokenizer, backend=backend, stop_ids=stop_ids), AnswerOptions(schema=PERSON)
    )
    assert shape is not None
    for token in tokenizer.encode_control('{"name":"'):
        assert shape.allows(token)
        shape.take(token, tokenizer.token_bytes(token))
    mask = shape.mask()
    allowed = {token for token in range(len(mask)) if mask[token]}
    assert allowed
    assert allowed.isdisjoint(stop_ids)
    assert all(tokenizer.token_id(tag) not in allowed for tag in dialect.tags)
    assert all(tokenizer.token_bytes(token) for token in allowed)
    assert all(shape.allows(token) == (token in allowed) for token in range(0, tokenizer.vocab_size, 7))


def test_spark_itself_writes_valid_json() -> None:
    """It knows no JSON: the shape alone makes the document."""
    schema = {"type": "object", "properties": {"result": {"type": "integer"}}, "required": ["result"]}
    with load() as engine:
        for think in ("off", "on", "auto"):
            for deadline_s in (None, 2.0):
                options = AnswerOptions(
                    think=think,
                    temperature=0.0,
                    schema=schema,
                    max_tokens=150,  # type: ignore[arg-type]
                    deadline_s=deadline_s,
                )
                answer = engine.answer("12+30", options)
                assert is_valid(answer, schema)
