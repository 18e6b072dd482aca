"""Text that strangers wrote (names of tensors, paths) made safe to show, and counts in words."""

import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["plural", "shorten", "shorten_apart", "visible"]

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
    head = _usual_head(limit) if head is None else head
    return f"{text[:head]}…{text[head + 1 - limit :]}"


def shorten_apart(texts: Sequence[str], limit: int, head: int | None = None) -> list[str]:
    """Shorten every text, and those that would look alike at another place, to tell them apart.

    Examples
    --------
    >>> shorten_apart(["tower.layers.1.mlp.experts.dense", "tower.layers.2.mlp.experts.dense"], 20)
    ['…1.mlp.experts.dense', '…2.mlp.experts.dense']
    """
    usual = _usual_head(limit) if head is None else head
    groups: dict[str, dict[str, None]] = {}
    for text in texts:
        groups.setdefault(shorten(text, limit, usual), {})[text] = None
    shown = {text: short for short, alike in groups.items() for text in alike}
    for alike in groups.values():
        if len(alike) > 1:
            best = _telling_head(alike, limit, usual)
            shown |= {text: shorten(text, limit, best) for text in alike}
    return [shown[text] for text in texts]


def _telling_head(texts: Iterable[str], limit: int, usual: int) -> int:
    """The length of the head, as near the usual one as can be, that tells most texts apart."""
    heads = sorted(range(limit - 1), key=lambda head: abs(head - usual))
    return max(heads, key=lambda head: len({shorten(text, limit, head) for text in texts}))


def _usual_head(limit: int) -> int:
    return (limit - 1) // 3


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
