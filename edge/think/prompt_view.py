"""What of a prompt the router looks at: all of a short one, the two ends and some windows of a long one.

Knows: characters and bytes. Does not know: words, messages, or what is decided.
"""

from __future__ import annotations

WHOLE = 2400  # characters; a longer prompt is looked at in parts
END = 800  # characters of each end
WINDOWS, WINDOW = 4, 200  # between the ends, evenly spread, characters each


def view(prompt: str) -> bytes:
    """What is looked at of ``prompt``, as UTF-8 with what cannot be encoded replaced.

    Time and memory do not grow with a prompt beyond ``WHOLE``.
    """
    if len(prompt) > WHOLE:
        step = (len(prompt) - 2 * END - WINDOW) / (WINDOWS - 1)
        starts = [END + int(step * place) for place in range(WINDOWS)]
        middle = [prompt[start : start + WINDOW] for start in starts]
        prompt = "\n".join([prompt[:END], *middle, prompt[-END:]])
    return prompt.encode("utf-8", "replace")
