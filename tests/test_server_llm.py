"""simonw's ``llm``, unmodified, with the server as one of its OpenAI-compatible models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from served import served

pytest.importorskip("llm")

MODELS = """
- model_id: here
  model_name: spark
  api_base: {url}/v1
  api_key_name: here
"""


@pytest.mark.parametrize("options", [(), ("--no-stream",)])
def test_llm_is_answered(tmp_path: Path, options: tuple[str, ...]) -> None:
    with served() as server:
        (tmp_path / "extra-openai-models.yaml").write_text(MODELS.format(url=server.url), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "llm",
            "-m",
            "here",
            "--key",
            "none",
            *options,
            "-o",
            "temperature",
            "0",
            "2+3=?",
        ]
        environment = os.environ | {"LLM_USER_PATH": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert (done.stdout.strip(), done.returncode) == ("5", 0), done.stderr
