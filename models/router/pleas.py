"""What people write around a request, whatever it is worth: the answer must not depend on it.

Knows: wordings in two languages. Does not know: requests.
"""

from __future__ import annotations

from random import Random

BEFORE = {
    "en": ("Just answer: ", "Easy one: ", "Quick question: ", "No need to think, ", "Think very carefully. ",
        "This is extremely hard: ", "Please help me. ", "Hi! ", "You are a helpful assistant. ", "Question: ", "Hey, "),
    "zh": ("直接回答：", "简单的问题：", "快问快答：", "不用思考，", "请仔细思考。", "这道题非常难：", "请帮帮我。", "你好！",
        "你是一个有用的助手。", "问题：", "嗨，"),
}  # fmt: skip
AFTER = {
    "en": (" Just the answer.", " Answer briefly.", " Don't explain.", " Let's think step by step.", " Thanks!",
        " Answer:", " Explain in detail.", " Take your time.", "\nGive the final answer only.", " Please."),
    "zh": ("直接给答案。", "简短回答。", "不要解释。", "请一步一步思考。", "谢谢！", "答案：", "请详细解释。", "慢慢来。", "只给出最终答案。"),
}  # fmt: skip


def wrapped(rng: Random, language: str, text: str) -> str:
    """``text`` with a plea before or behind it that changes nothing."""
    before = rng.choice(BEFORE[language]) if rng.random() < 0.6 else ""
    after = rng.choice(AFTER[language]) if not before or rng.random() < 0.3 else ""
    return before + text + after
