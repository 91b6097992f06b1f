"""Flags read out of free French text: «l'hémoglobine est abaissée», «natrémie dans les normes», «pas d'hyperkaliémie».

What is said counts, not what follows from a value: a number alone gives no flag. Every word between an analyte and its description
must be known; an unknown one parts them. Conditions, doubts, advice, questions, earlier values and other specimens give no flag,
and neither does an analyte of which two different things are said.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from medanalyzr.lab.prose.unsaid import block, mark, negate
from medanalyzr.lab.prose.words import ABNORMAL, END, HIGH, LOW, NORMAL, SIGNED, STATES, TURNS, Token, tokens_of
from medanalyzr.lab.report import CRITICAL

SAME = (("bicarbonates", "hco3_art", "hco3_v"), ("ph", "ph_v"), ("paco2", "pvco2"), ("pao2", "pvo2"), ("crp", "crp_us"),
        ("troponine", "troponine_t", "troponine_i"), ("calcium", "calcium_corrige"))  # fmt: skip
_SENTENCE = re.compile(r"(?:(?<!\.\w)[.!]+(?=\s|$)|;|\n)|(\?)")
_WRAPPED = re.compile(r"(?<=[^\W\d_,])[ \t]*\n[ \t]*(?=[a-zà-ÿ])(?![^\n]{0,60}:)")  # a line broken within a sentence
_DANGLING = re.compile(r"\b(hypo|hyper)-?(\s*/\s*|\s+(?:ou|et|ni)\s+(?:d'|de )?)(hypo|hyper)([- ]?)(\w+mie)\b", re.IGNORECASE)
_NAMED = {"analyte", "group", "pronoun"}
_BRIDGES = {"filler", "number", "of", "negation", "colon", "critical", "relative", "dash", "idle", "open", "close", "or"}


@dataclass
class _Said:
    """What a text says of each analyte: flags given and excluded, which values are critical, what it mentions, which groups are normal."""

    given: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    excluded: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    critical: set[str] = field(default_factory=set)
    mentioned: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)

    def add(self, analyte: str, flag: str, negated: bool) -> None:
        """Note that a clause gives `analyte` the flag, or denies it."""
        (self.excluded if negated else self.given)[analyte].add(flag)

    def flag(self, analyte: str) -> str | None:
        """The one flag that the text gives `analyte`; None where it gives none, or contradicts itself."""
        given, excluded = self.given[analyte] - {ABNORMAL}, self.excluded[analyte]
        if not given and (ABNORMAL in excluded or {HIGH, LOW} <= excluded) and NORMAL not in excluded:
            given = {NORMAL}
        contrary = given & excluded or NORMAL in given and ABNORMAL in self.given[analyte]
        return next(iter(given)) if len(given) == 1 and not contrary else None


def _without_brackets(tokens: Sequence[Token]) -> list[Token]:
    """The tokens without brackets that hold neither an analyte nor a description."""
    kept: list[Token] = []
    for token in tokens:
        kept.append(token)
        if token.kind == "close":
            start = max((i for i, t in enumerate(kept) if t.kind == "open"), default=len(kept))
            if not any(t.kind in STATES | _NAMED | {"term", "critical"} for t in kept[start:]):
                del kept[start:]
    return kept


def _apposition(tokens: Sequence[Token], comma: int) -> int:
    """The comma that opens the apposition closed at `comma` («la CRP, marqueur d'inflammation, est…»), or `comma`."""
    start = max((i for i in range(comma) if tokens[i].kind == "comma"), default=comma)
    said = any(t.kind in STATES | _NAMED | {"copula", "term"} and not t.blocked for t in tokens[start:comma])
    return comma if said else start


def _before(tokens: Sequence[Token], place: int) -> list[Token]:
    """The analytes that the description at `place` is said of, as far as they stand before it."""
    found: list[Token] = []
    kinds: set[str] = set()  # of what stands between the analytes
    joined, apart, verb, j = True, False, None, place - 1
    while j >= 0:
        token = tokens[j]
        if token.kind in _NAMED and joined and not (token.bound and (found or apart and not verb)):
            found.append(token)
            joined = False
        elif token.kind in STATES | {"term"} and not found and not token.blocked:
            return token.subjects
        elif token.kind == "copula" and not found:
            verb = token
        elif token.kind in ("comma", "and") or token.text == "ni":
            j = _apposition(tokens, j) if verb and not found else j
            joined, apart = True, apart or token.kind == "comma"
        elif token.kind == "or" and found:
            return []
        elif token.kind not in _BRIDGES:
            break
        if found:
            kinds.add(token.kind)
        j -= 1
    if not found and verb and verb.text.startswith("tout"):
        return [Token("group", "tout", ("*",))]
    return _agreeing(found, tokens[place], verb, kinds)


def _agreeing(found: list[Token], said: Token, verb: Token | None, kinds: Collection[str]) -> list[Token]:
    """Those of the analytes `found`, nearest first, with which a description agrees in number."""
    if len({t.value for t in found}) < 2 or verb and verb.plural:
        return found
    if verb or said.plural is False:
        return found[:1]
    linked = "and" in kinds and "number" not in kinds
    return found if linked or said.kind == "fixed" or not found[0].plural else found[:1]


def _after(tokens: Sequence[Token], place: int) -> list[Token]:
    """The analytes that the description at `place` is said of, as far as they stand after it («élévation de la CRP et de la VS»)."""
    rest = [t for t in tokens[place + 1 :] if t.kind not in ("filler", "number", "critical", "open", "close")] + [END, END, END]
    colon, j = rest[0].kind == "colon", 0
    found: list[Token] = []
    if rest[0].kind not in ("of", "colon") and not (rest[0].kind == "analyte" and tokens[place].text.startswith("faible")):
        return []
    while True:
        j += rest[j].kind in ("of", "colon")
        if rest[j].kind not in ("analyte", "group"):
            return found
        found.append(rest[j])
        link, following, then = (t.kind for t in rest[j + 1 : j + 4])
        last = (link, following) == ("and", "analyte") and then in ("end", "comma", "relative", *TURNS)
        if link not in ("comma", "and", "or", "negation") or not (colon or last or following == "of"):
            return found
        j += 2


def _foreign(tokens: Sequence[Token], place: int) -> bool:
    """Whether the analyte at `place` only belongs to an unknown noun («l'absorption du calcium»)."""
    of = next((i for i in range(place - 1, 0, -1) if tokens[i].kind != "filler"), 0)
    return tokens[of].text in ("de", "d'", "du") and tokens[of - 1].kind == "break"


def _alternative(tokens: Sequence[Token], place: int) -> bool:
    """Whether the term at `place` is one of two («alcalose ou hypercapnie») or the object of an unknown verb («classe l'anémie»)."""
    before, last = tokens[place - 2 : place] if place > 1 else (END, END)
    return before.kind == "break" and (last.kind == "or" or last.text in ("l'", "la", "le", "les"))


def _name(tokens: Sequence[Token], earlier: Sequence[Token], said: _Said) -> list[Token]:
    """Note what a sentence mentions, and what its pronouns stand for; returns what a pronoun of the next one may stand for.

    A pronoun stands for the one analyte since the last unknown word; `earlier` are those of the sentence before.
    """
    heard, inherited, excepted = list(earlier), True, False
    for i, token in enumerate(tokens):
        if token.kind == "analyte" and _foreign(tokens, i):
            token.kind = "break"
        if token.kind == "term":
            token.blocked |= _alternative(tokens, i)
            token.subjects = [Token("analyte", "", (analyte,)) for analyte, _ in token.value]
        named = [token] if token.kind == "analyte" else token.subjects
        if named:
            heard, inherited = [*(() if inherited else heard), *named], False
            said.mentioned |= {analyte for one in named for analyte in one.value}
        elif token.kind == "break":
            heard = []
        elif token.kind == "pronoun":
            token.value = heard[-1].value if len({t.value for t in heard}) == 1 else ()
            token.kind = "pronoun" if token.value else "break"
        excepted = token.kind == "except" or excepted and token.kind not in ("comma", "relative")
        token.bound = excepted
    return heard


def _tell(token: Token, said: _Said) -> None:
    """Add what a description or a term says of its subjects."""
    subjects = [] if token.blocked else [t for t in token.subjects if not t.blocked]
    flag = token.value[0]
    for subject in subjects:
        subject.bound |= token.kind != "critical"
        for analyte in subject.value:
            if subject.kind == "group":
                said.groups |= {analyte} if flag == NORMAL and not token.negated or flag == ABNORMAL and token.negated else set()
            elif token.kind == "critical":
                said.critical |= set() if token.negated else {analyte}
            elif token.kind == "term":
                said.add(analyte, dict(token.value)[analyte], token.negated)
            elif token.kind != "signed" or analyte in SIGNED:
                said.add(analyte, flag, token.negated)


def _read(sentence: str, question: bool, said: _Said, earlier: Sequence[Token]) -> list[Token]:
    """Add what one sentence says; returns what a pronoun of the next one may stand for."""
    tokens = tokens_of(sentence)
    block(tokens)
    negate(tokens)
    if question or any(t.kind == "sentence" for t in tokens):
        mark(tokens)
    tokens = _without_brackets(tokens)
    heard = _name(tokens, earlier, said)
    for i, token in enumerate(tokens):
        if token.kind in STATES | {"critical"}:
            token.subjects = [] if token.kind == "noun" else _before(tokens, i)
            if all(t.kind == "group" for t in token.subjects):
                token.subjects = [*token.subjects, *_after(tokens, i)]
        if token.kind in STATES | {"critical", "term"}:
            _tell(token, said)
    return heard


def flags_in_text(text: str, asked: Collection[str] = ()) -> dict[str, str]:
    """What `text` says of each analyte, by identifier: "bas", "normal" or "élevé", with ", critique" where it says so.

    `asked` are the analytes of the report: «le reste du bilan est normal» is said of those that the text does not mention, and a name
    that stands for several («pH») of the one that was asked for.
    """
    for written, plain in (("œ", "oe"), ("’", "'"), ("Œ", "Oe")):
        text = text.replace(written, plain)
    text = _DANGLING.sub(r"\1\4\5\2\3\4\5", _WRAPPED.sub(" ", re.sub(r"[*_#`]+|\bSources? ?:.*", "", text)))
    said, heard, start = _Said(), [], 0
    for end in (*_SENTENCE.finditer(text), None):
        heard = _read(text[start : end.start() if end else len(text)], bool(end and end[1]), said, heard)
        start = end.end() if end else start
    normal = {*asked} if "*" in said.groups else said.groups & {*asked}
    for analyte in normal - {same for one in said.mentioned for same in _same(one)}:
        said.add(analyte, NORMAL, False)
    found: dict[str, str] = {}
    for analyte in dict.fromkeys((*said.given, *said.excluded)):
        if flag := said.flag(analyte):
            meant = [same for same in _same(analyte) if same in asked]
            name = meant[0] if analyte not in asked and len(meant) == 1 else analyte
            found[name] = f"{flag}, {CRITICAL}" if analyte in said.critical and flag != NORMAL else flag
    return found


def _same(analyte: str) -> tuple[str, ...]:
    """The analytes that the name of `analyte` may stand for, too."""
    return next((group for group in SAME if analyte in group), (analyte,))
