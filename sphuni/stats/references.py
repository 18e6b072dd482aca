"""The papers behind each test, read from the docstrings, as text and as BibTeX."""

import dataclasses
import inspect
import re
import unicodedata

from sphuni.stats import _registry
from sphuni.stats._base import UniformityTest

__all__ = ["Reference", "references"]

_ENTRY = re.compile(r'^(?P<authors>[^"]+?), "(?P<title>.+?)", (?P<rest>.+)$')
_ARTICLE = re.compile(
    r"^(?P<journal>.+?)(?: (?P<volume>[\dA-Z][\d.]*))? \((?P<year>\d{4})\)"
    r"(?: (?P<pages>[\w.]+(?:-+\w+)?))?\b"
)
_YEAR = re.compile(r"\b(1[89]\d\d|20\d\d)\b")
_DOI = re.compile(r"doi:(\S+?)[.,]?(?:\s|$)")
_ARXIV = re.compile(r"arXiv:(\S+?)[.,]?(?:\s|$)")
_LATEX = {
    "́": "'", "̀": "`", "̂": "^", "̈": '"', "̃": "~", "̌": "v", "̇": ".",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reference:
    """One publication.

    Attributes
    ----------
    text : str
        The reference in words, one line.
    """

    text: str

    @property
    def doi(self) -> str | None:
        """Digital object identifier, without ``doi:``; None where there is none."""
        found = _DOI.search(self.text)
        return found[1].rstrip(".") if found else None

    @property
    def year(self) -> int | None:
        """Year of publication."""
        plain = _ARXIV.sub("", _DOI.sub("", self.text))
        found = re.findall(r"\((\d{4})\)", plain) or _YEAR.findall(plain)
        return int(found[-1]) if found else None

    @property
    def authors(self) -> tuple[str, ...]:
        """Authors in order, initials first."""
        found = _ENTRY.match(self.text)
        return tuple(found["authors"].split(", ")) if found else ()

    @property
    def title(self) -> str | None:
        """Title, None where the text has no quoted one."""
        found = _ENTRY.match(self.text)
        return found["title"] if found else None

    @property
    def key(self) -> str:
        """Key of the BibTeX entry: family name of the first author and the year.

        Examples
        --------
        >>> references("bingham")[0].key
        'bingham1974'
        """
        name = self.authors[0].split()[-1] if self.authors else "reference"
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        return f"{plain.lower()}{self.year or ''}"

    def bibtex(self) -> str:
        """The reference as a BibTeX entry.

        Examples
        --------
        >>> print(references("bingham")[0].bibtex())
        @article{bingham1974,
          author = {C. Bingham},
          title = {{An antipodally symmetric distribution on the sphere}},
          journal = {Annals of Statistics},
          volume = {2},
          pages = {1201--1225},
          year = {1974},
          doi = {10.1214/aos/1176342874}
        }
        """
        kind, fields = "misc", {"note": self.text}
        entry = _ENTRY.match(self.text)
        if entry is not None:
            fields = {"author": " and ".join(self.authors), "title": f"{{{entry['title']}}}"}
            article = _ARTICLE.match(entry["rest"])
            if article is not None:
                kind = "article"
                fields |= {"journal": article["journal"], "volume": article["volume"] or ""}
                fields["pages"] = (article["pages"] or "").replace("-", "--")
            else:
                fields["howpublished"] = _plain_rest(entry["rest"])
        arxiv = _ARXIV.search(self.text)
        fields |= {"year": str(self.year or ""), "doi": self.doi or ""}
        fields["eprint"] = arxiv[1].rstrip(".") if arxiv else ""
        body = ",\n".join(f"  {name} = {{{_latex(v)}}}" for name, v in fields.items() if v)
        return f"@{kind}{{{self.key},\n{body}\n}}"


def references(test: str | UniformityTest) -> tuple[Reference, ...]:
    """List the publications that a test comes from.

    Parameters
    ----------
    test : str
        A name or alias listed by `available_tests`.

    Returns
    -------
    tuple of Reference
        Those of the test itself, then those of the family it belongs to.

    Examples
    --------
    >>> [reference.doi for reference in references("kuiper")]
    ['10.1016/S1385-7258(60)50006-0']
    """
    kind = type(_registry.build(test, {}))
    found: dict[str, None] = {}
    for base in kind.__mro__:
        if issubclass(base, UniformityTest):
            found |= dict.fromkeys(_entries(base.__doc__))
    if not found:
        found[kind.reference] = None
    return tuple(Reference(text) for text in found)


def _entries(docstring: str | None) -> list[str]:
    """Paragraphs of the section References of a docstring."""
    parts = re.split(r"\nReferences\n-+\n", inspect.cleandoc(docstring or ""))
    if len(parts) < 2:
        return []
    section = re.split(r"\n\n[A-Z]\w+\n-{3,}\n", parts[1])[0]
    return [" ".join(entry.split()) for entry in section.split("\n\n") if entry.strip()]


def _plain_rest(rest: str) -> str:
    return re.sub(r",?\s*(doi|arXiv):\S+", "", rest).rstrip(". ,")


def _latex(text: str) -> str:
    """Accented letters in the notation that every BibTeX reads."""
    letters: list[str] = []
    for letter in unicodedata.normalize("NFD", text):
        if letter in _LATEX and letters:
            letters[-1] = f"{{\\{_LATEX[letter]}{{{letters[-1]}}}}}"
        else:
            letters.append(letter)
    return unicodedata.normalize("NFC", "".join(letters)).replace("&", r"\&")
