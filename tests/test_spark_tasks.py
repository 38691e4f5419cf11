"""The embedded model's tasks: steps, answers, splits and the held-out test set."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.spark import arithmetic, expressions, outside, tasks
from models.spark.expressions import ImpossibleStep, Node, Product, Quotient, Sum, total
from models.spark.tasks import Problem

CLASSES = [(steps, kind, language) for steps in range(1, 6) for kind in ("sum", "story") for language in ("en", "zh")]


@pytest.fixture(scope="module")
def held_out() -> list[Problem]:
    return tasks.test_set()


def chain(first: Node, *rest: tuple[int, Node]) -> Sum:
    return Sum(((1, first), *rest))


@pytest.mark.parametrize(
    ("node", "value", "num_steps"),
    [
        (total(2, 3), 5, 1),
        (total(2, 1, 1, 3), 7, 1),
        (total(9, 9, 9, 9, 9, 9), 54, 1),
        (total(2, 1, 1, 3, 5, 6, 7), 25, 6),
        (total(12, 5, 3), 20, 2),
        (chain(654, (-1, 78)), 576, 1),
        (Product(7, 8), 56, 1),
        (Product(60, 7), 420, 1),
        (Quotient(56, 7), 8, 1),
        (Product(38, 7), 266, 2),
        (Product(87, 68), 5916, 3),
        (chain(Product(38, 47), (-1, 5), (1, 12)), 1793, 5),
        (Product(total(12, 25), 3), 111, 3),
        (chain(90, (-1, total(12, 25))), 53, 2),
    ],
)
def test_value_and_steps(node: Node, value: int, num_steps: int) -> None:
    """Steps are counted as the module says."""
    worked = expressions.work(node)
    assert (worked.value, worked.num_steps) == (value, num_steps)


def test_worked_lines_of_the_readme_example() -> None:
    """38*47-5+12 in elementary lines, with the check that undoes the last one."""
    worked = expressions.work(chain(Product(38, 47), (-1, 5), (1, 12)))
    assert worked.lines == (
        "38*40=1200+320=1520",
        "38*7=210+56=266",
        "1520+266:6871=1786",
        "1786-5:1871=1781",
        "1781+12:3971=1793",
    )
    assert worked.check == "1793-12=1781"


@pytest.mark.parametrize("node", [chain(3, (-1, 5)), Quotient(57, 7), Product(123, 45), Product(123, 4)])
def test_steps_outside_the_world_are_refused(node: Node) -> None:
    """Below zero, inexact and too wide."""
    with pytest.raises(ImpossibleStep):
        expressions.work(node)


def test_canonical_ignores_order_and_parentheses() -> None:
    """One computation has one form."""
    one = chain(Product(38, 47), (-1, 5), (1, 12))
    other = chain(12, (1, Product(47, 38)), (-1, 5))
    assert expressions.canonical(one) == expressions.canonical(other)
    assert expressions.canonical(chain(9, (-1, total(3, 2)))) == expressions.canonical(chain(9, (-1, 3), (-1, 2)))
    assert expressions.canonical(chain(9, (-1, 3))) != expressions.canonical(chain(3, (-1, 9)))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_drawn_expressions_agree_with_python(seed: int, num_steps: int) -> None:
    """Value, steps and every line of the work are right."""
    node = arithmetic.draw_expression(Random(seed), num_steps)
    worked = expressions.work(node)
    assert worked.num_steps == num_steps
    assert eval(expressions.text(node)) == worked.value
    assert_lines_hold([*worked.lines, worked.check])


def assert_lines_hold(lines: list[str]) -> None:
    """Every equation and comparison in the lines is true."""
    for line in lines:
        if ": " in line and "+" in line.split(": ")[0]:
            digits, running = line.split(": ")
            assert str(sum(map(int, digits.split("+")))) == running.split()[-1]
            continue
        if ":" in line:  # digits from the right, as many as the longer number has
            written, _, result = line.partition("=")
            line, _, digits = written.partition(":")
            assert int(digits[::-1]) == int(result) and len(digits) >= len(result)
            line += f"={result}"
        values = {eval(side) for side in line.split("=")}
        assert len(values) == 1, line


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(CLASSES))
def test_problems_hold_together(seed: int, wanted: tuple[int, str, str]) -> None:
    """A problem's class is the wanted one, its answer checks, its thinking is true and ends with a check line."""
    num_steps, kind, language = wanted
    problem = tasks.draw_problem(Random(seed), num_steps, kind, language, "train")
    assert (problem.num_steps, problem.kind, problem.language) == (num_steps, kind, language)
    assert problem.check(problem.answer)
    assert problem.check(f"  {problem.answer} \n")
    assert not problem.check("") and not problem.check("I do not know")
    *lines, last = problem.thinking.split("\n")
    assert last.startswith("check: " if language == "en" else "检查：")
    assert_lines_hold([line for line in lines if re.fullmatch(r"[\d+*/=: ()-]+", line) and "=" in line])
    has_chinese = bool(re.search(r"[\u4e00-\u9fff？]", problem.prompt))
    assert has_chinese == (language == "zh")
    assert "{" not in problem.prompt and "{" not in problem.answer


def test_sum_prompts_ask_for_their_value() -> None:
    """The expression in a prompt with signs has the answer as its value."""
    rng = Random(5)
    for _ in range(300):
        problem = tasks.draw_problem(rng, rng.randint(1, 5), "sum", "en", "train")
        written = max(
            re.findall(r"[\d+*×/÷()−\- ]+", problem.prompt), key=lambda part: len(re.findall(r"[+*×/÷−-]", part))
        )
        if not re.search(r"[+*×/÷−-]", written):
            continue
        plain = written.replace("×", "*").replace("÷", "/").replace("−", "-").strip(" -")
        assert eval(plain) == int(problem.answer), problem.prompt


@pytest.mark.parametrize(
    ("checker", "answer", "given_text", "is_right"),
    [
        ("number", "12 yuan", "12", True),
        ("number", "12 yuan", "12 yuan.", True),
        ("number", "12元", " 12 元\n", True),
        ("number", "12", "012", True),
        ("number", "12", "13", False),
        ("number", "12", "12 or 13", False),
        ("number", "12", "-12", False),
        ("clock", "9:05", "09:05", True),
        ("clock", "9:05", "9：05", True),
        ("clock", "9:05", "9:50", False),
        ("clock", "9:05", "905", False),
        ("text", "I only do sums.", "I only do sums.", True),
        ("text", "I only do sums.", "12", False),
    ],
)
def test_checker(checker: str, answer: str, given_text: str, is_right: bool) -> None:
    """Units and white space do not matter, the value does."""
    problem = Problem("sum", "en", 1, "?", answer, "", "", checker)
    assert problem.check(given_text) is is_right


def test_drawing_is_seeded() -> None:
    """The same seed gives the same problems."""

    def draw(seed: int) -> list[Problem]:
        rng = Random(seed)
        return [tasks.draw_problem(rng, *wanted, "train") for wanted in CLASSES]

    assert draw(4) == draw(4)
    assert draw(4) != draw(5)


def test_splits_are_disjoint_by_canonical_problem(held_out: list[Problem]) -> None:
    """No computation of the test set can be drawn for training, whatever its surface."""
    test_forms = {problem.canonical for problem in held_out}
    assert all(tasks.split_of(form) == "test" for form in test_forms)
    rng = Random(11)
    for split in ("train", "judge", "validation"):
        drawn = [tasks.draw_problem(rng, *rng.choice(CLASSES), split) for _ in range(2000)]
        assert not test_forms & {problem.canonical for problem in drawn}
        assert {tasks.split_of(problem.canonical) for problem in drawn} == {split}


def test_split_shares() -> None:
    """A tenth is test, a tenth the judge's, a twentieth validation, the rest training."""
    shares = Counter(tasks.split_of(f"sum:{number}") for number in range(20000))
    wanted = {"test": 0.10, "validation": 0.05, "judge": 0.10, "train": 0.75}
    assert {name: pytest.approx(count / 20000, abs=0.01) for name, count in shares.items()} == wanted


def test_the_test_set_has_its_shares(held_out: list[Problem]) -> None:
    """5,000 problems: 60 % one step, the rest in equal shares, half stories and a third Chinese in every class."""
    assert len(held_out) == len({problem.prompt for problem in held_out}) == 5000
    assert max(Counter(problem.canonical for problem in held_out).values()) <= 3
    assert Counter(problem.num_steps for problem in held_out) == {1: 3000, 2: 500, 3: 500, 4: 500, 5: 500}
    for steps in range(1, 6):
        part = [problem for problem in held_out if problem.num_steps == steps]
        assert sum(problem.kind == "story" for problem in part) == pytest.approx(len(part) / 2, abs=1)
        assert sum(problem.language == "zh" for problem in part) == pytest.approx(len(part) / 3, abs=2)


def test_the_test_set_never_changes(held_out: list[Problem]) -> None:
    """Drawn again it is the same; the first prompts are pinned."""
    assert tasks.test_set() == held_out
    assert tasks.test_set(size=100) == tasks.test_set(size=100)


def test_surface_does_not_tell_difficulty(held_out: list[Problem]) -> None:
    """Many easy prompts are longer, and hold more numbers, than many hard ones."""
    easy = sorted(len(problem.prompt) for problem in held_out if problem.num_steps == 1 and problem.language == "en")
    hard = sorted(len(problem.prompt) for problem in held_out if problem.num_steps >= 3 and problem.language == "en")
    assert easy[len(easy) * 3 // 4] > hard[len(hard) // 4]

    def numbers(problem: Problem) -> int:
        return len(re.findall(r"\d+", problem.prompt))

    many_but_easy = sum(numbers(problem) >= 4 for problem in held_out if problem.num_steps == 1)
    few_but_hard = sum(numbers(problem) <= 2 for problem in held_out if problem.num_steps >= 2)
    assert many_but_easy >= 400
    assert few_but_hard >= 100


def test_single_digit_products_are_a_small_share(held_out: list[Problem]) -> None:
    """The times table is tiny; it must not stand for the whole class."""
    tables = [problem for problem in held_out if re.fullmatch(r"sum:\(\d\*\d\)", problem.canonical)]
    assert len(tables) < 0.05 * len(held_out)


def test_outside_prompts_are_many_and_honest() -> None:
    """Varied prompts, one honest answer a language, no step counted."""
    rng = Random(2)
    for language in ("en", "zh"):
        drawn = [tasks.draw_outside(rng, language) for _ in range(1000)]
        assert len({problem.prompt for problem in drawn}) > 400
        assert {problem.answer for problem in drawn} == {outside.ANSWER[language]}
        assert {problem.num_steps for problem in drawn} == {0}


def test_story_names_and_units() -> None:
    """A clock answers with a time, the rest with a number and its unit."""
    rng = Random(8)
    drawn = [tasks.draw_problem(rng, rng.randint(1, 3), "story", "en", "train") for _ in range(800)]
    kinds = Counter(problem.checker for problem in drawn)
    assert set(kinds) == {"number", "clock"}
    for problem in drawn:
        if problem.checker == "number":
            assert re.match(r"\d+ [a-z]+", problem.answer)


def test_tasks_do_not_import_torch() -> None:
    """The evaluation reads the tasks on machines without torch or numpy."""
    code = (
        "import sys, models.spark.tasks; print(any(name in sys.modules for name in ('torch', 'numpy', 'tokenizers')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_drills_are_one_step_of_a_rare_kind() -> None:
    """Every drill adds digits, has a number of three digits, or finds a difference below ten; all kinds occur."""
    rng = Random(3)
    first_lines = [tasks.draw_drill(rng, "en", "train").thinking.split("\n")[0] for _ in range(300)]
    kinds = [bool(re.search(r": ", line)) + 2 * bool(re.search(r"\d{3}.*:\d|-\d{3}", line)) for line in first_lines]
    assert {kinds.count(kind) > 30 for kind in (0, 1, 2)} == {True}
    assert all(eval(line.split("=")[0]) < 10 for line, kind in zip(first_lines, kinds, strict=True) if kind == 0)
