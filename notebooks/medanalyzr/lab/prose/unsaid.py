"""What a sentence of free French text does not state: conditions, doubts, advice, what was, what holds in general; and negations."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from medanalyzr.lab.prose.words import END, STATES, TURNS, Token

_SCOPES = {"rest": set(), "after": TURNS, "sign": TURNS | {"colon"}}  # what ends that of which nothing is stated
_IS = re.compile(r"(?:n'|ne )?(?:est|sont)$|(?:est|sont) (?:l[ea]s?|l'|une?|des)$")  # but not «est notée», «sont retrouvées»


def _parts(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens between commas and conjunctions that begin another statement; what brackets hold is a part of its own."""
    parts: list[list[Token]] = [[]]  # the one that goes on, after those around it
    for token, after in pairwise([*tokens, END]):
        verb = token.kind in ("and", "or") and after.kind in ("part", "may", "generic", "copula", "pronoun")
        if verb or token.kind in ("comma", "colon", "close", "relative", *TURNS):
            yield parts.pop()
            parts = parts if token.kind == "close" and parts else [*parts, []]
        if token.kind == "open":
            parts.append([])
        parts[-1].append(token)
    yield from reversed(parts)


def block(tokens: Sequence[Token]) -> None:
    """Mark the tokens that make no statement."""
    depth = 0
    for i, token in enumerate(tokens):
        depth += (token.kind == "open") - (token.kind == "close")
        if token.kind in _SCOPES:
            ends = _SCOPES[token.kind] | ({"close"} if depth > 0 else set())
            end = next((j for j in range(i, len(tokens)) if tokens[j].kind in ends), len(tokens))
            mark(tokens[max(i - (token.kind == "rest" and tokens[i - 1].kind in STATES), 0) : end])
        span = token.kind == "number" and re.search(r"\d\s*(?:-|–|a)\s*\d", token.text) and tokens[i - 1].text in ("de", "entre")
        if span or token.kind == "or" and "copula" in [t.kind for t in tokens[i:] if t.kind not in ("comma", "contrast")]:
            mark(tokens)  # what values are called in general, or one of two statements
    before: list[Token] = []  # an enumeration whose verb may come later: «une anémie, une thrombopénie peuvent…»
    goes_on = False  # or whose verb came: «peut provoquer une anémie, une thrombopénie»
    for part in _parts(tokens):
        kinds = [t.kind for t in part]
        if kinds and kinds[0] in ("relative", "open", "colon", *TURNS):
            before, goes_on = [], goes_on and kinds[0] == "open"
        goes_on = goes_on and "copula" not in kinds or "may" in kinds or _general(part)
        if goes_on or "part" in kinds:
            mark(part)
        if any(t.kind == "may" or t.kind == "part" and t.text.endswith("ent") for t in part):
            mark(before)
        counted = {"copula", "number", "close"} & {*kinds}
        before = [] if counted else [*before, *(t for t in part if t.kind in STATES | {"term"})]


def mark(tokens: Sequence[Token]) -> None:
    """Let `tokens` make no statement."""
    for token in tokens:
        token.blocked = True


def _general(part: Sequence[Token]) -> bool:
    """Whether a part says what holds in general: «une glycémie élevée est le signe…», «l'hypernatrémie traduit…»."""
    kinds = [t.kind for t in part]
    any_one = next((t.text for t in part if t.kind not in ("comma", "and")), "") in ("un", "une", "des", "tout", "toute")
    verbs = {"generic", "sign"} if any_one else {"generic"} if {"term", "noun"} & {*kinds} else set()
    verb = next((i for i, kind in enumerate(kinds) if kind in verbs), 0)
    stated = any_one and any(t.kind == "rest" or _IS.match(t.text) for t in part)
    return stated or any(kind in STATES | {"term"} for kind in kinds[:verb])


def negate(tokens: Sequence[Token]) -> None:
    """Mark the tokens that a negation reaches: to the next comma or «et», unless the list goes on («ni», «ou», «et de»)."""
    on = False
    for token, after in pairwise([*tokens, END]):
        ends = token.kind in ("comma", "and") and after.kind not in ("negation", "or") and after.text not in ("de", "d'")
        ends = ends or token.kind in ("relative", "with", "open", "close", "colon", *TURNS)
        token.negated = on = token.kind == "negation" or on and not ends
