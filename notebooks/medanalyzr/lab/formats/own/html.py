"""HTML texts as lines: a row of a table as its cells between bars, each paragraph and item of a list on a line of its own."""

import re
from html.parser import HTMLParser

from medanalyzr.lab.formats.own.documents import Unclear
from medanalyzr.lab.formats.own.fields import changes, words_of
from medanalyzr.lab.references import vocabulary

_TAGS = frozenset((
    "html", "head", "body", "table", "thead", "tbody", "tfoot", "tr", "td", "th", "div", "p", "ul", "ol", "li", "dl", "dt", "dd", "h1",
    "h2", "h3", "h4", "h5", "h6", "br", "hr", "b", "strong", "i", "em", "u", "span", "font", "center", "pre", "section", "article",
    "header", "footer", "main", "meta", "title", "link", "a", "small", "sup", "sub", "caption", "colgroup", "col", "label", "script",
    "style", "img",
))  # fmt: skip
_LINES = frozenset((
    "html", "body", "table", "tr", "div", "p", "ul", "ol", "li", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "br", "hr", "pre",
    "section", "article", "header", "footer", "main", "title", "caption",
))  # fmt: skip
_START = re.compile(rf"\s*<(?:!doctype html|(?:{'|'.join(sorted(_TAGS))})(?=[\s>/]))", re.IGNORECASE)
_HIDDEN = re.compile(r"display|visibility|opacity|line-through|font-size\s*:\s*0|color\s*:\s*(?:white|#fff|transparent)")
_ASIDE = frozenset(
    ("exemple", "modele", "annule", "barre", "cancelled", "deleted", "strike", "obsolete", "hidden", "none", "invisible", "only")
)  # in the name of a class
_LESS_THAN = 50  # signs < in an HTML text that begin no tag, at most


class _Lines(HTMLParser):
    """Collects the lines; `unclear` is set by what is struck out, hidden, named as something else, or not known."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.lines, self.unclear = [""], False
        self._cells, self._tag, self._kept = 0, "", 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: text or "" for name, text in attrs}
        named = set(words_of([told.get(name, "") for name in ("class", "id", "title")]))
        self.unclear |= (
            (tag not in _TAGS and ":" not in tag)
            or "hidden" in told
            or _HIDDEN.search(told.get("style", "").lower()) is not None
            or "rowspan" in told
        )
        self.unclear |= not named.isdisjoint(vocabulary("earlier") | vocabulary("other") | _ASIDE)
        self._tag, self._kept = tag, self._kept + (tag == "pre")
        if tag in _LINES:
            self.lines.append("")
            self._cells = 0
        elif tag in ("td", "th", "dd"):
            self.lines[-1] += " : " if tag == "dd" else " | " if self._cells else ""
            self._cells += 1

    def handle_endtag(self, tag: str) -> None:
        self._tag, self._kept = "", self._kept - (tag == "pre")
        if tag in _LINES and tag != "dt":
            self.lines.append("")

    def handle_comment(self, data: str) -> None:
        self.unclear |= changes(re.sub(r"<[^>]*>", " ", data))

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style"):
            self.unclear |= self._tag == "style" and _HIDDEN.search(data) is not None
            return
        first, *more = data.split("\n") if self._kept else [re.sub(r"\s+", " ", data)]
        self.lines[-1] += f"^{first.strip()}" if self._tag == "sup" and self.lines[-1][-1:].isdigit() else first
        self.lines += more


def html_lines(text: str) -> str | None:
    """The lines of an HTML text; None where it is none. Raises Unclear."""
    if not _START.match(text):
        return None
    if text.count("<") > text.count(">") + _LESS_THAN:
        raise Unclear("HTML non valable")
    parser = _Lines()
    try:
        parser.feed(text)
        parser.close()
    except AssertionError as error:  # of html.parser, for a declaration that it does not know
        raise Unclear("HTML non valable") from error
    if parser.unclear:
        raise Unclear("HTML avec des parties barrées, masquées ou inconnues")
    return "\n".join(line.strip() for line in parser.lines if line.strip())
