"""An independent reader of the server's own OpenAPI document, schemathesis, sends what it allows and what it does not.

Knows: the program, which runs in a process of its own. Does not know: any path.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from served import served
from slow_models import slow_engine

pytest.importorskip("schemathesis")
# Fields are refused by name, and a conversation out of order: a schema cannot say all of that, docs/server.md does.
LEFT_OUT = "positive_data_acceptance"


def test_every_reply_is_as_the_document_says(tmp_path: Path) -> None:
    """Server errors, statuses, methods, content types, headers and bodies."""
    with served(slow_engine("4", step_s=0.0), deadline_s=10.0) as server:
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--generation-deterministic"),
            *("--exclude-checks", LEFT_OUT, "--no-color"),
        ]
        found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert "Tested: 13" in found.stdout and " failure" not in found.stdout
