"""One table of options makes the flags and reads the file, and nothing in either is ignored."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from bench_edge.readme import regenerate
from bench_edge.server_fields import PARTS, PATH
from edge import cli
from edge.server.fields import Fields, treatment_of
from edge.server.openapi import REQUESTS, description
from edge.server.serve import REQUIREMENTS, check_installed, listen
from edge.server.settings import Settings, flag_of, make_settings
from models.errors import UsageError


def file_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "serve.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    path = file_of(tmp_path, 'port = 9000\ndeadline = "3s"\nalias = ["a", "b"]\nlog-prompts = true\n')
    made = make_settings({"port": 9001, "host": None, "alias": ()}, path)
    assert (made.port, made.deadline_s, made.alias, made.log_prompts, made.host) == (
        *(9001, 3.0, ("a", "b"), True),
        "127.0.0.1",
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 1", "prot"),
        ("port = 'x'", "port"),
        ("port = true", "port"),
        ("port = -1", "port"),
        ("queue = 0", "queue"),
        ("deadline = 'soon'", "soon"),
        ("deadline = -1", "deadline"),
        ("insecure = 1", "insecure"),
        ("api-key = [1]", "api-key"),
        ("port = ", "TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        make_settings({}, file_of(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.toml"):
        make_settings({}, tmp_path / "no.toml")


def test_every_option_is_a_flag_and_a_line_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(cli.app, "edge", ["serve", "--help"]) == 0
    shown = capsys.readouterr().out
    lines = []
    for option in fields(Settings):
        assert f"--{flag_of(option)}" in shown
        if option.default is not None:
            value = [] if option.default == () else option.default
            lines.append(f"{flag_of(option)} = {json.dumps(value)}")
    text = "\n".join(lines)
    assert tomllib.loads(text)
    assert make_settings({}, file_of(tmp_path, text)) == Settings()


def test_the_packages_that_are_named_are_those_of_the_extra(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]
    assert tuple(project["optional-dependencies"]["serve"]) == REQUIREMENTS


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.server.serve.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=r"pip install .*'prometheus-client>="):
        check_installed()


def test_an_unsafe_address_stops_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(cli.app, "edge", ["serve", "--host", "0.0.0.0"]) == 2
    assert "--api-key" in capsys.readouterr().err


def test_a_taken_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert cli.run(cli.app, "edge", ["serve", "--port", str(port)]) == 2
    assert str(port) in capsys.readouterr().err


def test_the_documented_tables_are_fresh() -> None:
    """A table that says what a field does, and is wrong, is worse than none."""
    text = PATH.read_text("utf-8")
    assert regenerate(text, PARTS) == text


def objects_of(model: type[Fields]) -> list[type[Fields]]:
    from bench_edge.server_fields import _parts

    found = [model]
    for one in found:
        found += [part for part in _parts(one) if part not in found]
    return found


@pytest.mark.parametrize("path", sorted(REQUESTS))
def test_every_field_has_a_treatment(path: str) -> None:
    for model in objects_of(REQUESTS[path]):
        for name in model.model_fields:
            treatment_of(model, name)


def test_the_description_names_every_path() -> None:
    paths = description()["paths"]
    assert set(REQUESTS) <= set(paths)
    assert "/metrics" in paths
