"""Results that letters and notes state in sentences: name, at most a verb, number, unit of that analyte.

What a sentence says of the past, of targets or of other specimens is refused.
"""

import re

from medanalyzr.lab.reading.lines.results import meant, result
from medanalyzr.lab.reading.names import known, specimen_of
from medanalyzr.lab.reading.patient import Patient
from medanalyzr.lab.reading.tokens import Refused, Row, items
from medanalyzr.lab.references import analytes, fold
from medanalyzr.lab.report import Measurement, Unread
from medanalyzr.lab.units import known_unit

_LINK = re.compile(
    r"(?:[\s:=,]|\b(?:est|sont|reste|restent|ce jour|aujourd'hui|actuellement|a|à|de|dosee?s? a|mesuree?s? a|stable|toujours|encore|"
    r"egale? a|revenue? a)\b)*$"
)
_ARTICLE = re.compile(
    r"(?:^|[,.;/(:]|\s-|\b(?:la|le|les|l'|un|une|des|du|de|d'|et|avec|au|aux|bio|biologie|bilan|sang|soit|sa|son|a|que|une)\s?)\s*$"
)
_PAST = re.compile(
    r"objectif|cible|\bsous\b|passee? de|passe|etait|etaient|anterieur|preceden|ancien|janvier|fevrier|mars|avril|juin|juillet|aout|septembre|"
    r"octobre|novembre|decembre|a l'entree|hier|veille|normale?s?\b(?! \w+ a )|seuil|limite|baisse de|hausse de|augment|diminu|perdu|gagne|"
    r"mg/j|par jour|en \d{4}|contre"
)
_SENTENCE = re.compile(r"[.;!?](?=\s|$)")
_UNIT_END = re.compile(
    r"\s*(?:$|[,.;)/]|\s-|\(|\b(?:et|mais|avec|dont|stable|ce jour|soit|selon|sous|la|le|les|un|une|des)\b|[HLB*↑↓])", re.IGNORECASE
)


def paragraphs(prose: list[tuple[int, str, str | None]]) -> list[tuple[str, list[int], str | None]]:
    """Lines that follow each other as one text, with the number of the line that each character stands in."""
    texts: list[tuple[str, list[int], str | None]] = []
    last = None
    for n, line, specimen in prose:
        if not re.search(r"\d", line) and (last is None or n != last + 1):
            continue
        if last is not None and n == last + 1:
            text, where, kept = texts.pop()
            texts.append((f"{text} {line.strip()}", where + [n] * (len(line.strip()) + 1), specimen if specimen == kept else None))
        else:
            texts.append((line.strip(), [n] * len(line.strip()), specimen))
        last = n
    return texts


def sentences(
    text: str, where: list[int], specimen: str | None, who: Patient
) -> tuple[list[tuple[Row, Measurement]], list[Unread]]:
    """The results that a text of sentences or a note states: name, at most a verb, number, unit of that analyte."""
    read, unread, start = [], [], 0
    here = [i for i in items(text) if i.kind in ("value", "interval", "bad", "fraction", "date")]
    for k, item in enumerate(here):
        before, start = text[start : item.pos], item.end
        if item.kind not in ("value", "interval") or item.closed or (item.kind == "interval" and not item.sign):
            continue
        sentence = [m.end() for m in _SENTENCE.finditer(text, 0, item.pos)]
        begins = max([s for s in sentence if s <= item.pos], default=0)
        ended = re.split(r"[,;()]", before)[-1] if not before.rstrip().endswith((",", ";", "(")) else ""
        plain_text = fold(ended)
        link = _LINK.search(plain_text)
        stem = plain_text[: link.start()].strip()
        name = _last_name(stem)
        if name is None:
            continue
        line, near = where[min(item.pos, len(where) - 1)], text[max(0, item.pos - 40) : item.pos + 40].strip()
        row = Row(*name, line, near, [], specimen, None)
        after = here[k + 1] if k + 1 < len(here) and here[k + 1].kind == "interval" and here[k + 1].closed else None
        tail = text[item.end : here[k + 1].pos if k + 1 < len(here) else item.end + 30]
        try:
            if specimen != "sang" or specimen_of(fold(text[begins : item.pos])) or "veineu" in fold(text[begins : item.pos]):
                raise Refused("prélèvement inconnu")
            close = k + 1 < len(here) and here[k + 1].kind == "interval" and not re.search(r"[,;.]\s", tail)
            if close and here[k + 1] is not after:
                raise Refused("phrase non comprise")
            goes_on = re.match(r"\s*(?:a|à|en|le|puis|au|avant|\(?normal)\s", tail)
            if _PAST.search(fold(ended)) or goes_on or not _UNIT_END.match(tail):
                raise Refused("phrase non comprise")
            if analytes()[name[1]].unit and known_unit(item.unit, name[1]) is None:
                raise Refused("unité absente" if not item.unit else f"unité inconnue pour cet analyte : {item.unit}")
            if item.kind == "interval":
                item.low = item.high = None
            interval = meant([after], who) if after and re.fullmatch(r"[\s(:=nN]*(?:normale?s?)?[\s:=]*", tail) else []
            item.line = row.line
            read.append((row, result(row, name[1], item, interval[0] if interval else None, [item])))
        except Refused as reason:
            unread.append(Unread(row.line, row.text, str(reason)))
    return read, unread


def _last_name(stem: str) -> tuple[str, str] | None:
    """The longest name of an analyte that folded words end with, and the analyte; None where other words qualify it."""
    words = [m.start() for m in re.finditer(r"[^\s:]\S*", stem)][-7:]
    for at in words:
        if analyte := known(stem[at:]):
            return (stem[at:], analyte) if _ARTICLE.search(stem[:at]) else None
        cut = re.match(r"(?:l'|d'|qu'une )", stem[at:])
        if cut and (analyte := known(stem[at + cut.end() :])):
            return stem[at + cut.end() :], analyte
    return None
