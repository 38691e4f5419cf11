"""The same problems on two machines: greedy answers of spark on one backend, and how many of them are the same.

Knows: the held-out problems, one JSON line for each answer. Does not know: which machine it runs on.

    python tests/arm/answers.py tell BACKEND FILE [PROBLEMS]        answer and write
    python tests/arm/answers.py compare FILE OTHER LEAST            exit code 1 where a smaller share is the same
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import edge
from models.spark.tasks import test_set

PROBLEMS = 200
MAX_TOKENS = 320


def tell(backend: str, path: Path, num_problems: int = PROBLEMS) -> None:
    """Answer the first problems of the held-out kind as the model's own judge decides; thoughts are kept, too."""
    options = edge.AnswerOptions(think="auto", temperature=0.0, max_tokens=MAX_TOKENS)
    with edge.load(backend=backend, num_threads=1, context_size=1024) as engine, path.open("w") as file:
        for problem in test_set(num_problems):
            answer = engine.answer(problem.prompt, options)
            said = {"answer": answer.answer, "thinking": answer.thinking, "is_right": problem.check(answer.answer)}
            file.write(json.dumps({"prompt": problem.prompt, **said}, ensure_ascii=False) + "\n")


def compare(path: Path, other: Path, least: float) -> bool:
    """Print how many answers are the same, and whether their share is at least ``least``."""
    first, second = (
        [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in (path, other)
    )
    pairs = list(zip(first, second, strict=True))
    assert pairs and all(one["prompt"] == two["prompt"] for one, two in pairs)
    same, whole = (sum(one[field] == two[field] for one, two in pairs) for field in ("answer", "thinking"))
    right = [sum(said["is_right"] for said in side) for side in (first, second)]
    print(f"{same} of {len(pairs)} answers and {whole} thoughts are the same; right: {right[0]} and {right[1]}.")
    return same >= least * len(pairs)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "tell":
        tell(rest[0], Path(rest[1]), *map(int, rest[2:]))
    else:
        sys.exit(not compare(Path(rest[0]), Path(rest[1]), float(rest[2])))
