"""The router's recipe: gradients, data without the evaluation sets, and a small training end to end."""

from __future__ import annotations

import gzip
import json
import unicodedata
from pathlib import Path
from random import Random

import numpy as np
import pytest

from bench_edge.ranking import auc, calibration_error, ranks, spearman
from edge.think.logistic import fit_logistic
from edge.think.router import Router
from models.errors import UsageError
from models.router.bags import Prompts, make_batch, pooled, table_gradient
from models.router.data import LANGUAGES, Row, read_rows, training_rows
from models.router.deductions import draw_deduction
from models.router.errands import errand
from models.router.everyday import everyday
from models.router.puzzles import draw_puzzle
from models.router.reasoning import draw_reasoning
from models.router.school import draw_school
from models.router.train import train

PUBLIC = [
    *(
        Row(f"what is the {word} of my account {place}", "en", "clinc", word, 0.02)
        for place in range(20)
        for word in ("balance", "limit", "name")
    ),
    *(
        Row(f"Tom has {n} apples and buys {n + 3}, then eats {n % 5}. How many are left?", "en", "gsm8k", "2", 0.5)
        for n in range(40)
    ),
    *(
        Row(f"Which is true of item {n}?\nA. one\nB. two\nC. three", "en", "mmlu", f"subject{n % 6}", float(n % 3 == 0))
        for n in range(60)
    ),
]


def normalized(text: str) -> str:
    """Letters and digits only, in one case and one form of Unicode."""
    return "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())


def test_made_prompts_never_repeat_an_evaluation_prompt(repository: Path) -> None:
    """A problem of the evaluation in the training would make every figure worthless.

    The public evaluation files lie beside the repository where it was developed; elsewhere nothing can be compared.
    """
    folder = repository.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the evaluation sets are not here")
    kept = {
        normalized(json.loads(line).get("question") or json.loads(line)["input"])
        for name in ("gsm8k_test", "cmath_dev")
        for line in (folder / "eval" / f"{name}.jsonl").read_text("utf-8").splitlines()
    }
    kept |= {
        normalized(row.text)
        for row in read_rows(folder / "router" / "dev.jsonl.gz")
        if row.source in ("gsm8k", "cmath", "mmlu")
    }
    trained = read_rows(folder / "router" / "train.jsonl.gz")
    assert not kept & {normalized(row.text) for row in trained}
    rng = Random(1)
    for draw in (draw_school, draw_puzzle, draw_reasoning, draw_deduction):
        for language in LANGUAGES:
            assert not kept & {normalized(draw(rng, language)[0]) for _ in range(1500)}


def test_made_prompts_are_filled_in() -> None:
    """A brace left over in a prompt would be learned as a sign of its kind."""
    rng = Random(3)
    for language in LANGUAGES:
        for draw in (draw_school, draw_puzzle, draw_reasoning, draw_deduction):
            for _ in range(200):
                text, chance = draw(rng, language)[:2]
                assert text.strip() and 0.0 < chance < 1.0
        for _ in range(200):
            assert "{" not in everyday(rng, language) + errand(rng, language)


def test_training_rows_are_the_same_for_a_seed_and_only_public_or_made() -> None:
    """A training that cannot be repeated cannot be checked."""
    first, second = training_rows(PUBLIC, 5, 0.01), training_rows(PUBLIC, 5, 0.01)
    assert first == second
    assert first != training_rows(PUBLIC, 6, 0.01)
    assert {row.source for row in PUBLIC} < {row.source for row in first}


def test_rows_are_read_and_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """A dev row without a target must not become an easy one."""
    path = tmp_path / "rows.jsonl.gz"
    line = {"text": "x", "lang": "en", "source": "gsm8k", "group": "steps3", "target": None, "steps": 3}
    path.write_bytes(gzip.compress(json.dumps(line).encode()))
    (row,) = read_rows(path)
    assert (row.steps, row.target) == (3, 0.5)
    (tmp_path / "other.jsonl.gz").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="name their folder"):
        read_rows(tmp_path / "other.jsonl.gz")


def test_the_gradient_of_the_table_is_the_slope() -> None:
    """A wrong gradient still learns something, and hides."""
    prompts = Prompts.of(["how many apples are left", "play a song", "word " * 300])
    batch = make_batch(prompts, np.arange(3), None, 1.0)
    rng = np.random.default_rng(0)
    table = rng.standard_normal((1 << 16, 2)).astype(np.float32)
    at_pools = rng.standard_normal((3, 6)).astype(np.float32)
    gradient = table_gradient(at_pools, batch, 2)
    direction = rng.standard_normal(table.shape).astype(np.float32)
    moved = ((pooled(table + 0.5 * direction, batch) - pooled(table - 0.5 * direction, batch)) * at_pools).sum()
    assert moved == pytest.approx((gradient * direction).sum(), rel=1e-3)


def test_logistic_regression_finds_what_made_the_data() -> None:
    """The experts are this regression; a wrong step would only look like noise."""
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((4000, 3))
    true = np.array([1.5, -2.0, 0.0])
    chances = 1 / (1 + np.exp(-(inputs @ true + 0.3)))
    found, bias = fit_logistic(inputs, chances, np.ones(4000), 1e-6)
    assert found == pytest.approx(true, abs=1e-3) and bias == pytest.approx(0.3, abs=1e-3)


def test_a_small_training_learns_to_tell_and_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole recipe on a few rows; the same seed gives the same weights."""
    first, second = train(PUBLIC, 1, 0.01), train(PUBLIC, 1, 0.01)
    assert (first.table == second.table).all() and (first.layer == second.layer).all()
    router = Router(first)
    easy = router.route("what is the balance of my account 77").score
    assert easy < router.route("Tom has 31 apples and buys 9 more, then eats 2. How many are left?").score
    assert "prompts, of which" in capsys.readouterr().out


def test_ranks_areas_and_correlations_are_the_textbook_ones() -> None:
    """Ties that are not shared would make a constant score look skilled."""
    values = np.array([3.0, 1.0, 3.0, 2.0])
    assert ranks(values).tolist() == [3.5, 1.0, 3.5, 2.0]
    labels = np.array([1.0, 0.0, 0.0, 1.0])
    pairs = [(values[i] > values[j]) + 0.5 * (values[i] == values[j]) for i in (0, 3) for j in (1, 2)]
    assert auc(values, labels) == np.mean(pairs)
    assert auc(np.ones(4), labels) == 0.5
    assert spearman(values, -values) == -1.0 and spearman(values, np.ones(4)) == 0.0
    assert calibration_error(np.array([0.25, 0.25]), np.array([0.0, 1.0])) == pytest.approx(0.25)
