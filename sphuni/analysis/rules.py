"""Rules that a model must not break: the language of `sphuni analyze --fail-on`.

A rule compares keys of the layer report with numbers, joined by ``and`` and ``or``::

    max_cosine > 0.99
    excess[half:2] > 1.5 and p_adjusted[rayleigh] < 0.01
    verdict == "collapsed pair" or (n >= 64 and effective_rank_ratio < 0.5)
"""

import dataclasses
import difflib
import math
import operator
import re
from collections.abc import Callable
from typing import NoReturn

from sphuni.analysis.report import ENERGY_KEYS, TESTS, VERDICTS, LayerReport, ModelReport

__all__ = ["Rule", "parse_rule"]

_MAX_LENGTH = 4096
_MAX_DEPTH = 50
_NUMBERS = (
    "n", "d", "norm_min", "norm_max", "max_cosine", "separation_deg", "effective_rank",
    "effective_rank_ratio", "stable_rank", "mean_resultant_length", "smallest_p", "seconds",
)  # fmt: skip
_MAPPINGS = {
    **dict.fromkeys(("energy", "optimum", "excess", "excess_upper", "z"), ENERGY_KEYS),
    **dict.fromkeys(
        ("statistic", "effect_size", "p", "p_lower", "p_adjusted", "p_lower_adjusted"), TESTS
    ),
}
_WORDS = {
    "verdict": VERDICTS[:-1],
    "status": ("analysed", "skipped", "failed"),
    "kind": None,
    "name": None,
}
_KEYS = (*_NUMBERS, "dead", *_MAPPINGS, *_WORDS)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf\b)
    | (?P<op><=|>=|==|!=|<|>)
    | (?P<text>"[^"]*"|'[^']*')
    | (?P<paren>[()])
    | (?P<key>[A-Za-z_]\w*(?:\[[^\]]*\])?)
    )""",
    re.VERBOSE,
)
_Test = Callable[[LayerReport], bool]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A parsed rule.

    Attributes
    ----------
    text : str
        The rule as it was given.
    matches : callable
        Tells whether one layer breaks the rule. A number that a layer does not have (NaN, or
        anything of a layer that was not analysed) matches no comparison, and a skipped tensor no
        comparison of verdicts.
    """

    text: str
    matches: Callable[[LayerReport], bool]

    def fired(self, report: ModelReport) -> tuple[LayerReport, ...]:
        """Return the layers of a report that match, in the order of the model."""
        return tuple(layer for layer in report.layers if self.matches(layer))


def parse_rule(text: str) -> Rule:
    """Parse a rule.

    Parameters
    ----------
    text : str
        Comparisons ``key op value`` joined by ``and`` and ``or``, with parentheses; ``and`` binds
        tighter. ``op`` is one of ``< <= > >= == !=``. Keys are the numbers of `LayerReport`, its
        mappings with an index (``excess[half:2]``, ``p_adjusted[rayleigh]``), ``excess_upper`` (the
        excess where it is over a bound that may not be attained), ``dead`` (how many),
        ``smallest_p``, and the words ``verdict``, ``status``, ``kind`` and ``name``, which are
        compared with quoted text by ``==`` or ``!=``.

    Returns
    -------
    Rule
        ``rule.fired(report)`` lists the layers for which the whole expression is true.

    Raises
    ------
    ValueError
        If the text is not a rule; an unknown key is answered with the nearest one.

    Examples
    --------
    >>> layer = LayerReport(name="a", kind="Linear", status="analysed", max_cosine=0.995)
    >>> parse_rule("max_cosine > 0.99 and n < 5").matches(layer)
    True
    """
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"a rule may be {_MAX_LENGTH} characters long; got {len(text)}")
    parser = _Parser(text)
    test = parser.alternatives()
    parser.expect_end()
    return Rule(text, test)


class _Parser:
    """Recursive descent over the tokens of one rule."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokenize(text))
        self.place = 0
        self.depth = 0

    def alternatives(self) -> _Test:
        """Parse terms joined by `or`."""
        tests = [self.conjunction()]
        while self.accept("key", "or"):
            tests.append(self.conjunction())
        return tests[0] if len(tests) == 1 else lambda layer: any(test(layer) for test in tests)

    def conjunction(self) -> _Test:
        """Parse terms joined by `and`."""
        tests = [self.term()]
        while self.accept("key", "and"):
            tests.append(self.term())
        return tests[0] if len(tests) == 1 else lambda layer: all(test(layer) for test in tests)

    def term(self) -> _Test:
        """Parse a comparison or an expression in parentheses."""
        if not self.accept("paren", "("):
            return self.comparison()
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise ValueError(f"parentheses may be nested {_MAX_DEPTH} deep in a rule")
        test = self.alternatives()
        if not self.accept("paren", ")"):
            self.fail("a closing parenthesis")
        self.depth -= 1
        return test

    def comparison(self) -> _Test:
        """Parse `key op value`."""
        name, index = _split_key(self.take("key", "a key such as max_cosine"))
        sign = self.take("op", f"one of {' '.join(_COMPARE)} after {name!r}")
        if name in _WORDS:
            return _word_test(name, sign, self.take("text", f"quoted text after {name} {sign}"))
        value = float(self.take("number", f"a number after {name} {sign}"))
        read, compare = _reader(name, index), _COMPARE[sign]

        def test(layer: LayerReport) -> bool:
            found = read(layer)
            return not math.isnan(found) and compare(found, value)

        return test

    def accept(self, kind: str, word: str) -> bool:
        """Step over the next token if it is this one."""
        if self.place < len(self.tokens) and self.tokens[self.place] == (kind, word):
            self.place += 1
            return True
        return False

    def take(self, kind: str, expected: str) -> str:
        """Return the next token, which must be of this kind."""
        if self.place == len(self.tokens) or self.tokens[self.place][0] != kind:
            self.fail(expected)
        self.place += 1
        return self.tokens[self.place - 1][1]

    def expect_end(self) -> None:
        """Complain about anything after the rule."""
        if self.place < len(self.tokens):
            self.fail("'and', 'or' or the end of the rule")

    def fail(self, expected: str) -> NoReturn:
        """Raise the error that says what was expected and what came."""
        came = self.tokens[self.place][1] if self.place < len(self.tokens) else "the end"
        raise ValueError(
            f"rule {_quoted(self.text)}: expected {expected}; got {came}. "
            'Write rules such as "max_cosine > 0.99 and n >= 10".'
        )


def _tokenize(text: str) -> list[tuple[str, str]]:
    tokens = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:].lstrip()
            raise ValueError(f"rule {_quoted(text)}: cannot read {_quoted(rest[:20])}")
        kind = str(match.lastgroup)
        tokens.append((kind, match[kind]))
        position = match.end()
    return tokens


def _quoted(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:79] + "…")


def _split_key(token: str) -> tuple[str, str]:
    """Check a key and its index, and name the nearest ones where they do not exist."""
    name, _, index = token.rstrip("]").partition("[")
    index = index.strip().strip("\"'")
    if name not in _KEYS:
        raise ValueError(f"unknown key {name!r} in a rule{_nearest(name, _KEYS)}")
    choices = _MAPPINGS.get(name, ())
    if not choices and "[" in token:
        raise ValueError(f"key {name!r} takes no index; got {token!r}")
    if choices and index not in choices:
        example = " or ".join(f"{name}[{choice}]" for choice in choices)
        what = f"unknown index {index!r} of {name!r}" if index else f"key {name!r} needs an index"
        raise ValueError(f"{what}; write {example}")
    return name, index


def _nearest(word: str, choices: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; the keys are {', '.join(choices)}"


def _reader(name: str, index: str) -> Callable[[LayerReport], float]:
    """Return the function that reads a number from a layer."""

    def read(layer: LayerReport) -> float:
        if layer.status != "analysed":
            return math.nan
        if name == "excess_upper":
            is_upper = layer.excess_is_upper.get(index, False)
            return layer.excess.get(index, math.nan) if is_upper else math.nan
        value = getattr(layer, name)
        if name in _MAPPINGS:
            return float(value.get(index, math.nan))
        return float(len(value) if name == "dead" else value)

    return read


def _word_test(name: str, sign: str, quoted: str) -> _Test:
    """Return the comparison of a word with text."""
    if sign not in ("==", "!="):
        raise ValueError(f"{name} is text: compare it with == or !=; got {sign}")
    word, choices = quoted[1:-1], _WORDS[name]
    if choices is not None and word not in choices:
        raise ValueError(f"no {name} is called {word!r}{_nearest(word, choices)}")

    def test(layer: LayerReport) -> bool:
        applies = name != "verdict" or layer.status != "skipped"
        return applies and (getattr(layer, name) == word) == (sign == "==")

    return test
