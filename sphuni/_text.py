"""Text that strangers wrote (names of tensors, paths) made safe to show, and counts in words."""

import unicodedata

__all__ = ["plural", "shorten", "visible"]

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 layer`, `2 layers`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def visible(text: str) -> str:
    r"""Write characters that do not show, or that change how others show, as escapes.

    Control characters, direction overrides, lone surrogates and line separators become ``\x1b``,
    ``\u202e`` and so on; everything else is kept.

    Examples
    --------
    >>> print(visible("a\x1b[31m"))
    a\x1b[31m
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def shorten(text: str, limit: int, head: int | None = None) -> str:
    """Make `text` visible and at most `limit` characters long, keeping both ends.

    Of the first `head` characters are kept, by default a third of all.

    Examples
    --------
    >>> shorten("encoder.layer.0.attention.weight", 20)
    'encode…ention.weight'
    """
    if len(text) > 4 * limit:
        text = text[: 2 * limit] + text[-2 * limit :]
    text = visible(text)
    if len(text) <= limit:
        return text
    head = (limit - 1) // 3 if head is None else head
    return f"{text[:head]}…{text[head + 1 - limit :]}"


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
