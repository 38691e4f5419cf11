"""Whole-number expressions as trees: value, number of steps, worked lines, canonical form.

Knows arithmetic and how its steps are counted; knows no language, no surface text and no model.

One step is: adding or subtracting two numbers, a sum of three to six single digits, a product of two numbers with one
non-zero digit each (7*8, 4*60), an exact division of the times table. A product with one two-digit factor (38*7) is
two steps, with two (38*47) three. Everything longer adds up.

Long additions and subtractions are worked from the right (726-693:330=33): a written digit then depends on two columns
and a carry that is visible, which small networks learn from far fewer samples (Lee et al. 2023, arXiv 2307.03381).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Product:
    """left * right."""

    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Quotient:
    """left / right, always exact."""

    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Sum:
    """Signed terms, worked from left to right; the first sign is +1. Inside another node it stands in parentheses."""

    terms: tuple[tuple[int, Node], ...]


Node: TypeAlias = int | Product | Quotient | Sum


class ImpossibleStep(ValueError):
    """A step that the tasks do not contain: below zero, an inexact division, a product that is too wide."""


@dataclass(frozen=True, slots=True)
class Worked:
    """A finished calculation: its value, its lines (one elementary step each), its number of steps, the check line."""

    value: int
    lines: tuple[str, ...]
    num_steps: int
    check: str


def total(*terms: Node) -> Sum:
    """The sum of all terms, each with a plus sign."""
    return Sum(tuple((1, term) for term in terms))


def work(node: Node) -> Worked:
    """Calculate step by step. Raises ImpossibleStep where an intermediate result leaves the tasks' world."""
    pad = _Pad()
    value = pad.work(node)
    return Worked(value, tuple(pad.lines), pad.num_steps, pad.check)


class _Pad:
    """The scratch pad of one calculation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.num_steps = 0
        self.check = ""

    def work(self, node: Node) -> int:
        if isinstance(node, int):
            return node
        if isinstance(node, Product):
            return self._multiply(self.work(node.left), self.work(node.right))
        if isinstance(node, Quotient):
            return self._divide(self.work(node.left), self.work(node.right))
        if is_digit_sum(node):
            return self._add_digits([term for _, term in node.terms if isinstance(term, int)])
        values = [(sign, self.work(term)) for sign, term in node.terms]
        result = values[0][1]
        for sign, value in values[1:]:
            result = self._add(result, sign, value)
        return result

    def _add(self, left: int, sign: int, right: int) -> int:
        result = left + sign * right
        if result < 0:
            raise ImpossibleStep(f"{left} - {right} is below zero")
        self.lines.append(_line(left, "+" if sign > 0 else "-", right, result))
        self.check = f"{result}{'-' if sign > 0 else '+'}{right}={left}"
        self.num_steps += 1
        return result

    def _add_digits(self, digits: list[int]) -> int:
        running = [sum(digits[: count + 1]) for count in range(len(digits))]
        self.lines.append("+".join(map(str, digits)) + ": " + " ".join(map(str, running[1:])))
        self.check = f"{running[-1]}-{digits[-1]}={running[-2]}"
        self.num_steps += 1
        return running[-1]

    def _divide(self, left: int, right: int) -> int:
        if not (2 <= right <= 9 and left % right == 0 and 1 <= left // right <= 10):
            raise ImpossibleStep(f"{left} / {right} is outside the times table")
        result = left // right
        self.lines.append(f"{left}/{right}={result}")
        self.check = f"{result}*{right}={left}"
        self.num_steps += 1
        return result

    def _multiply(self, left: int, right: int) -> int:
        left_parts, right_parts = place_values(left), place_values(right)
        num_partials = len(left_parts) * len(right_parts)
        if num_partials not in (1, 2, 4) or max(len(left_parts), len(right_parts)) > 2:
            raise ImpossibleStep(f"{left} * {right} is too wide a product")
        self.num_steps += {1: 1, 2: 2, 4: 3}[num_partials]
        result = left * right
        if num_partials < 4:
            partials = [one * other for one in left_parts for other in right_parts]
            middle = "+".join(map(str, partials)) + "=" if len(partials) > 1 else ""
            self.lines.append(f"{left}*{right}={middle}{result}")
            self.check = f"{result}/{right}={left}" if len(partials) == 1 else f"{result}-{partials[1]}={partials[0]}"
            return result
        rows = []
        for part in right_parts:
            high, low = left_parts[0] * part, left_parts[1] * part
            self.lines.append(f"{left}*{part}={high}+{low}={high + low}")
            rows.append(high + low)
        self.lines.append(_line(rows[0], "+", rows[1], result))
        self.check = f"{result}-{rows[1]}={rows[0]}"
        return result


def _line(left: int, sign: str, right: int, result: int) -> str:
    """An addition or a subtraction; a long one with the digits of its result as they are found, from the ones on."""
    if max(left, right) < 100:
        return f"{left}{sign}{right}={result}"
    digits = str(result).zfill(len(str(left)) if sign == "-" else 0)
    return f"{left}{sign}{right}:{digits[::-1]}={result}"


def place_values(number: int) -> list[int]:
    """47 -> [40, 7]; 300 -> [300]; 0 -> []."""
    digits = str(number)
    return [int(digit) * 10 ** (len(digits) - 1 - place) for place, digit in enumerate(digits) if digit != "0"]


def is_digit_sum(node: Sum) -> bool:
    """True for three to six single digits, all added."""
    return 3 <= len(node.terms) <= 6 and all(
        sign > 0 and isinstance(term, int) and term <= 9 for sign, term in node.terms
    )


def text(node: Node, times: str = "*", over: str = "/", minus: str = "-", plus: str = "+", gap: str = "") -> str:
    """The expression as written, with the given signs and `gap` on both sides of each."""

    def factor(part: Node) -> str:
        return f"({show(part)})" if isinstance(part, Sum) else show(part)

    def show(part: Node) -> str:
        if isinstance(part, int):
            return str(part)
        if isinstance(part, Product):
            return f"{factor(part.left)}{gap}{times}{gap}{factor(part.right)}"
        if isinstance(part, Quotient):
            right = f"({show(part.right)})" if not isinstance(part.right, int) else show(part.right)
            return f"{factor(part.left)}{gap}{over}{gap}{right}"
        written = factor(part.terms[0][1])
        for sign, term in part.terms[1:]:
            written += f"{gap}{plus if sign > 0 else minus}{gap}{factor(term)}"
        return written

    return show(node)


def canonical(node: Node) -> str:
    """The computation without its surface: parentheses of sums opened, terms and factors in a fixed order."""
    if isinstance(node, int):
        return str(node)
    if isinstance(node, Product):
        return "(" + "*".join(sorted((canonical(node.left), canonical(node.right)))) + ")"
    if isinstance(node, Quotient):
        return f"({canonical(node.left)}/{canonical(node.right)})"
    return "[" + ",".join(sorted(_signed_terms(node, 1))) + "]"


def _signed_terms(node: Sum, outer_sign: int) -> list[str]:
    found: list[str] = []
    for sign, term in node.terms:
        if isinstance(term, Sum):
            found += _signed_terms(term, sign * outer_sign)
        else:
            found.append(("+" if sign * outer_sign > 0 else "-") + canonical(term))
    return found
