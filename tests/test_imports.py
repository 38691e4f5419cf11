"""The walls between the packages hold, and importing the runtime is cheap."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("bench_edge", "edge", "models", "quantize")
MAY_IMPORT = {
    "models": {"models"},
    "quantize": {"quantize", "models"},
    "edge": {"edge", "models"},
    "bench_edge": set(PACKAGES),
}
TORCH = {"torch", "transformers"}
FOREIGN_PROGRAMS = {"bench_edge/autoawq_worker.py"}  # run by another Python, imported by nobody
# Making the embedded models and the router: may import anything; only the benches may import from them.
RECIPES = ("models.spark", "models.router")


def imports_of(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Each module that is imported anywhere in ``tree``, by statement or import_module, and whether lazily."""
    lazy = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            name = node.args[0]
            names = [str(name.value)] if isinstance(name, ast.Constant) else []
        for name in names:
            yield name, id(node) in lazy


def violations(path: str, source: str) -> list[str]:
    """The imports in ``source``, the text of the file at ``path`` (relative to the repository), that break a rule."""
    package = path.split("/")[0]
    if path.startswith(tuple(f"{recipe.replace('.', '/')}/" for recipe in RECIPES)):
        return []
    found = []
    for name, is_lazy in imports_of(ast.parse(source)):
        top = name.split(".")[0]
        is_command = re.fullmatch(r"edge/cli(_\w+)?\.py", path) is not None and is_lazy
        if top in PACKAGES and top not in MAY_IMPORT[package] and not is_command:
            found.append(f"{path} imports {name}: {package} may import {sorted(MAY_IMPORT[package])} only")
        if f"{name}.".startswith(tuple(f"{recipe}." for recipe in RECIPES)) and package != "bench_edge":
            found.append(f"{path} imports {name}: nothing imports a recipe")
        if top in TORCH and path not in FOREIGN_PROGRAMS:
            found.append(f"{path} imports {name}: torch is for recipes only")
    return found


def test_imports_point_one_way(repository: Path) -> None:
    """A lazy import in a function would slip past a linter that looks at the head of a file."""
    files = [path for package in PACKAGES for path in sorted((repository / package).rglob("*.py"))]
    assert len(files) > len(PACKAGES)
    assert not [line for path in files for line in violations(str(path.relative_to(repository)), path.read_text())]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/spec.py", "import edge"),
        ("models/spec.py", "from quantize.int4 import Int4Tensor"),
        ("quantize/int4.py", "def f():\n    import edge.engine"),
        ("edge/engine.py", "def f():\n    from quantize import pipeline"),
        ("edge/engine.py", "def f():\n    importlib.import_module('quantize.pipeline')"),
        ("edge/engine.py", "def f():\n    import torch.nn"),
        ("edge/engine.py", "from models.spark.arithmetic import solve"),
        ("edge/engine.py", "from models import spark"),
        ("edge/think/router.py", "from models.router.data import read_rows"),
        ("edge/cli.py", "import bench_edge"),
        ("edge/cli_quantize.py", "from quantize.pipeline import quantize_checkpoint"),
        ("quantize/int4.py", "import bench_edge.shapes"),
    ],
)
def test_each_wall_is_seen(path: str, source: str) -> None:
    """The check above must not pass because it sees nothing."""
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("edge/cli.py", "def bench():\n    from bench_edge import run"),
        ("edge/cli_quantize.py", "def quantize():\n    from quantize.pipeline import quantize_checkpoint"),
        ("edge/engine.py", "from models.bundle import open_bundle"),
        ("bench_edge/think.py", "from models.spark.tasks import test_set"),
        ("models/spark/train.py", "import torch"),
        ("models/router/bags.py", "from edge.think.prompt_features import featurize"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    """A rule that is too strict would be switched off."""
    assert not violations(path, source)


@pytest.mark.parametrize("module", ["edge", "edge.cli"])
def test_import_is_light(module: str) -> None:
    """One heavy import at the head of any file makes every call of edge-chat slow."""
    heavy = {"huggingface_hub", "jinja2", "llama_cpp", "numpy", "tokenizers", "torch", "transformers"}
    heavy |= {"prometheus_client", "pydantic", "starlette", "uvicorn"}
    script = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
