"""The same problems on two machines: greedy answers of spark on one backend, and how many of them are the same.

Knows: the held-out problems, one JSON line for each answer. Does not know: which machine it runs on.

    python tests/arm/answers.py tell BACKEND FILE [PROBLEMS]        answer and write
    python tests/arm/answers.py compare FILE OTHER                  prints how many are the same, and of how many
    python tests/arm/answers.py route FILE                          the router's decisions on the held-out prompts
    python tests/arm/answers.py compare-routes FILE OTHER           likewise
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import edge
from edge.think.router import default_router
from models.spark.tasks import test_set

PROBLEMS, NUM_ROUTES = 200, 500
MAX_TOKENS = 320


def tell(backend: str, path: Path, num_problems: int = PROBLEMS) -> None:
    """Answer the first problems of the held-out kind as the model's own judge decides; thoughts are kept, too."""
    options = edge.AnswerOptions(think="auto", temperature=0.0, max_tokens=MAX_TOKENS)
    with edge.load(backend=backend, num_threads=1, context_size=1024) as engine, path.open("w") as file:
        for problem in test_set(num_problems):
            answer = engine.answer(problem.prompt, options)
            said = {"answer": answer.answer, "thinking": answer.thinking, "is_right": problem.check(answer.answer)}
            file.write(json.dumps({"prompt": problem.prompt, **said}, ensure_ascii=False) + "\n")


def compare(path: Path, other: Path) -> tuple[int, int]:
    """How many answers are the same, and of how many; the rest of what there is to say goes to standard error."""
    pairs = read_pairs(path, other)
    same, whole = (sum(one[field] == two[field] for one, two in pairs) for field in ("answer", "thinking"))
    right = [sum(said["is_right"] for said in side) for side in zip(*pairs, strict=True)]
    print(f"{whole} of {len(pairs)} thoughts are the same; right: {right[0]} and {right[1]}.", file=sys.stderr)
    return same, len(pairs)


def route(path: Path) -> None:
    """Decide about every held-out prompt."""
    router = default_router()
    with path.open("w") as file:
        for problem in test_set(NUM_ROUTES):
            found = router.route(problem.prompt)
            said = {"score": found.score, "choice": found.choice, "thinks": found.thinks, "reasons": found.reasons}
            file.write(json.dumps({"prompt": problem.prompt, **said}, ensure_ascii=False) + "\n")


def compare_routes(path: Path, other: Path) -> tuple[int, int]:
    """How many decisions are the same, scores to a billionth, and of how many."""
    pairs = read_pairs(path, other)
    fields = ("choice", "thinks", "reasons")
    same = [
        math.isclose(one["score"], two["score"], abs_tol=1e-9) and all(one[field] == two[field] for field in fields)
        for one, two in pairs
    ]
    return sum(same), len(pairs)


def read_pairs(path: Path, other: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The lines of both files, which are about the same prompts in the same order."""
    first, second = (
        [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in (path, other)
    )
    pairs = list(zip(first, second, strict=True))
    assert pairs and all(one["prompt"] == two["prompt"] for one, two in pairs)
    return pairs


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "tell":
        tell(rest[0], Path(rest[1]), *map(int, rest[2:]))
    elif verb == "route":
        route(Path(rest[0]))
    else:
        print(*(compare if verb == "compare" else compare_routes)(Path(rest[0]), Path(rest[1])))
