"""Seeded texts of everything that tokenizers split differently: English, Chinese, code, emoji, digits, white space.

Knows: fragments and how they are mixed. Does not know: tokenizers.
"""

from __future__ import annotations

import random

ENGLISH = (
    "the quick brown fox jumps over it; don't, can't, we'LL, I'VE, O'Neill's — naïve café, coöperate, re-use, "
    "Mr. Smith's e-mail: a.b@c.org, $5.00, 50%, 3rd, U.S.A., (see p. 12), “quoted”, 'single', THE END. "
    "antidisestablishmentarianism pneumonoultramicroscopic supercalifragilistic"
)
CHINESE = (
    "你好世界。今天天气怎么样？我们一起去吃饭吧！人工智能、机器学习，深度思考；「引号」『書』（括号）一二三百千万亿"
)
CODE = (
    "def f(x): return x**2\n",
    "    if (a != b) {\n\t\treturn a->b[0];\n    }\n",
    "for i in range(10):\n    print(f'{i:>3}')\n",
    "#include <stdio.h>\r\n",
    "SELECT * FROM t WHERE id=1;",
    "https://example.org/a?b=c&d=%20#e",
    "{'key': [1, 2.5e-3, null]}",
    "x_1 += 0xFF << 2; // comment",
    '<div class="a">&nbsp;</div>',
    "\\frac{1}{2} $\\alpha$",
)
EMOJI = ("😀", "👍🏽", "👨‍👩‍👧‍👦", "🇨🇳", "❤️", "🤖💡", "1️⃣", "☃", "🧑🏿‍🚀")
OTHER = (
    "ภาษาไทย",
    "नमस्ते",
    "한국어",
    "日本語です",
    "Привет",
    "مرحبا",
    "שלום",
    "e\u0301",
    "ﬁ",
    "Ⅷ",
    "½",
    "\u3000",
    "\u00a0",
    "\u200b",
)
SPACE = (" ", "  ", "   ", "\n", "\n\n", "\t", " \n", "\r\n", "\n  ")


def _piece(rng: random.Random) -> str:
    kind = rng.randrange(7)
    if kind == 0:
        return " ".join(rng.choices(ENGLISH.split(), k=rng.randint(1, 8)))
    if kind == 1:
        return "".join(rng.choices(CHINESE, k=rng.randint(1, 12)))
    if kind == 2:
        return rng.choice(CODE)
    if kind == 3:
        return "".join(rng.choices(EMOJI, k=rng.randint(1, 3)))
    if kind == 4:
        digits = "".join(rng.choices("0123456789", k=rng.randint(1, 9)))
        return rng.choice(
            (digits, f"{digits}.{digits}", f"-{digits}", f"{digits}+{digits}=", f"{digits[:2]}:{digits[2:]}")
        )
    if kind == 5:
        return rng.choice(OTHER)
    return rng.choice(SPACE)


def mixed_texts(count: int, seed: int = 0) -> list[str]:
    """``count`` texts of 1 to 12 fragments, some joined by a space and some by nothing; never empty."""
    rng = random.Random(seed)
    return [rng.choice(("", " ")).join(_piece(rng) for _ in range(rng.randint(1, 12))) for _ in range(count)]
