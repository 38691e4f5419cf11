"""The wheel and the source package hold what is needed, all of it, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from edge.model_source import EMBEDDED_FOLDERS

PACKAGES = ("bench_edge", "edge", "models", "quantize")
MODEL_FOLDERS = ("checkpoint", "bundle")
MODEL_BYTES = 13_000_000  # of one embedded model, with room for its ONNX files


def build(repository: Path, hook: str, target: Path) -> Path:
    """Build with the hooks that pip calls, without the network; returns the path of what was made."""
    script = f"import sys, hatchling.build as build; print(build.{hook}(sys.argv[1]))"
    result = subprocess.run(
        [sys.executable, "-c", script, str(target)], cwd=repository, capture_output=True, text=True, check=True
    )
    return target / result.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel_names(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with zipfile.ZipFile(build(repository, "build_wheel", tmp_path_factory.mktemp("wheel"))) as wheel:
        return set(wheel.namelist())


@pytest.fixture(scope="module")
def source_names(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with tarfile.open(build(repository, "build_sdist", tmp_path_factory.mktemp("sdist"))) as source:
        return {name.partition("/")[2] for name in source.getnames()}


def shipped_files(repository: Path) -> set[str]:
    """Every file of the four packages, relative to the repository, but what Python itself left there."""
    paths = (path for package in PACKAGES for path in (repository / package).rglob("*"))
    return {str(path.relative_to(repository)) for path in paths if path.is_file() and "__pycache__" not in path.parts}


def test_wheel_holds_four_packages_and_no_tests(wheel_names: set[str]) -> None:
    """A package called `tests` in site-packages would shadow everyone else's."""
    assert {name.split("/")[0] for name in wheel_names} == {*PACKAGES, "edge_think-0.1.0.dist-info"}


def test_wheel_holds_every_file_of_the_packages(repository: Path, wheel_names: set[str]) -> None:
    """The builder leaves out what .gitignore names: a careless line there would ship a package without its model."""
    assert shipped_files(repository) <= wheel_names


def test_wheel_says_that_it_is_typed(wheel_names: set[str]) -> None:
    """Without this mark a type checker ignores every annotation of an installed package."""
    assert {f"{package}/py.typed" for package in PACKAGES} <= wheel_names


def test_source_package_builds_the_same(repository: Path, source_names: set[str]) -> None:
    """What is installed from source must not differ from what is installed from the wheel."""
    assert shipped_files(repository) | {"LICENSE", "README.md", "pyproject.toml"} <= source_names
    assert not [name for name in source_names if name.startswith("tests")]


def test_console_scripts_exist(repository: Path) -> None:
    """An entry point is only looked up when a user calls it."""
    from edge import cli

    scripts = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"edge": "edge.cli:main", "edge-chat": "edge.cli:chat_main"}
    assert callable(cli.main)
    assert callable(cli.chat_main)


@pytest.mark.parametrize("folder", EMBEDDED_FOLDERS.values())
def test_embedded_models_are_there_and_small(repository: Path, folder: str) -> None:
    """No weights are fetched, so they ship; and a clone should stay quick."""
    model = repository / "models" / folder
    sizes = [path.stat().st_size for name in MODEL_FOLDERS for path in (model / name).rglob("*") if path.is_file()]
    assert list((model / "checkpoint").glob("*.safetensors"))
    assert (model / "bundle" / "bundle.json").is_file()
    assert sum(sizes) <= MODEL_BYTES
