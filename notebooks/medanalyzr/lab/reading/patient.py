"""The patient of a report: sex, age and pregnancy, and for whom a printed interval is meant.

What two lines say differently is not known. Lines on doctors, secretaries and laboratories speak of no patient.
"""

import re
from dataclasses import dataclass

from medanalyzr.lab.dates import age_on, day_of, day_of_sample
from medanalyzr.lab.references import fold

_STAFF = re.compile(
    r"\b(?:dr|docteur|pr|professeur|biologistes?|prescripteur|medecin|secretaire|contact|signe|valide|infirmier|ide|personne a prevenir|"
    r"(?:sa|son|ses|leur) (?:femme|fille|mari|fils|pere|mere|soeur|frere|epouse|epoux|conjointe?|voisine?))\b[^\t|]*"
)
_FEMALE = r"f|feminin|femme|fille|fillette|patiente"
_MALE = r"h|m|masculin|homme|garcon"
_ONE = rf"(?P<f>{_FEMALE})|(?P<m>{_MALE})"
_AGED = r"\d{1,3}\s*(?:ans?|a|mois|jours?|semaines?)\b"
_SEX = (
    re.compile(rf"\bsexe\b\W{{0,4}}(?:{_ONE})\b"),
    re.compile(rf"(?:^|[\s\t|;,(:#\-])(?:{_ONE})\s*[,;:\-(]?\s*(?:de |agee? de )?{_AGED}"),
    re.compile(rf"{_AGED}[\s,;|\-]*(?:sexe )?(?:{_ONE})(?![\w'])"),
    re.compile(rf"\bpatient(?!e)\w*\b\W{{0,4}}(?:{_ONE})\b"),
    re.compile(rf"^\s*#?(?:{_ONE})\s*[,:]?\s+(?:agee? )?{_AGED}"),
)
_BEFORE_BIRTH = re.compile(r"^\W*(?:(?P<f>f)|(?P<m>[hm]))(?![\w.])\W{1,6}(?:date de naissance|ddn)\b")
_TITLE = re.compile(
    r"\b(?P<f>mme|madame|mlle|mademoiselle|patiente|femme|fillette|fille|nee|enceinte)\b|(?:^|[\s,;:|\"(])(?P<m>m\.(?=\s*[a-z])|mr\b|monsieur|"
    r"homme\b|garcon\b)"
)
_FOR_WHOM = re.compile(
    r"\d\s*(?:-|a)\s*\d+\s*(?:ans|mois|jours)|^\W*(?:hommes?|femmes?|garcons?|filles?|[hf])\W*$|(?:\b[hf]|hommes?|femmes?|garcons?|filles?)\s*:?\s*"
    r"(?:[\[<>]|(?<=e)\(|(?<=s)\(|\d+(?:[.,]\d+)?\s*(?:-|a|;)\s*\d)|\b[hf] ?: ?\d|(?:ans|mois|jours)\s*(?:et \+|et plus)?\s*:|"
    r"(?:ans|mois) et (?:\+|plus)"
)
# What a line on the patient holds; other lines are passed over unread.
_HINTS = (
    "mois", "jour", "semaine", "sexe", "patient", "mme", "madame", "mlle", "mademois", "monsieur", "mascul", "femin", "fémin",
    "homme", "femme", "garç", "garc", "fill", "enceinte", "grossesse", "aménorr", "amenorr", "gestant", "prél", "prel", "age",
    "âge", "de vie", "naissance", "ddn",
)  # fmt: skip
_HINT = re.compile(r"\d ?a(?:ns?)?\b|\bn[ée]e?\b|\d ?sa\b|\bm\.|\bmr\b")
_NORMS = re.compile(r"adulte|\bnorme|\bref\b|valeurs")
_PARTS = re.compile(r"\s{2,}|\t|\||\s-\s")
_BORN = re.compile(r"\bnee?(?:\(e\))?\s*(?:le)?\s*:?\s*(\d{1,2}[/.]\d{1,2}[/.]\d{4})")
_AGE = re.compile(
    r"(?<![\d,.<>])(?<!-)(?<!<\s)(?<!>\s)(?<!\ba\s)(?<!depuis\s)(?<!il y a\s)(?<!enceinte de\s)(\d{1,3})\s*(ans|an|a|mois|semaines|jours?)\b"
    r"(?:\s*(?:et\s*)?(\d{1,2})\s*mois)?"
    r"(?!\s*(?:d.amenorr|de (?:grossesse|traitement)|et \+|et plus|:))|\bj(\d{1,2}) de vie|"
    r"\bage\s*[:;]\s*(\d{1,3})(?=\s|;|$)(?!\s*(?:mois|semaines?|jours?|j)\b)"
)
_SPOKEN = re.compile(r"patient|\bmme|madame|monsieur|\bm\.|age|sexe|^\W*[hf]\b|homme|femme|fill|garcon|enfant|\bnee?\b")
_PREGNANT = re.compile(r"\benceinte\b|\bgrossesse\b|\b\d{1,2} ?sa\b|amenorrhee|\bgestante?\b")
_NOT_PREGNANT = re.compile(
    r"(?:test|hors|sans|pas|non|valeurs|normes|seuils?|femme) (?:de |de la |d')?(?:grossesse|enceinte|femme enceinte)"
)
_PATIENT = re.compile(r"\W*patiente?\b")
_WEEKS = re.compile(r"\b(\d{1,2})\s*(?:sa\b|semaines d.amenorrhee)")
_TERM = re.compile(r"\b([123])(?:er|eme|e|ere|nd)? ?trim")


@dataclass(frozen=True)
class Patient:
    """Sex ("F", "H" or None), age in years (a fraction under two years; or None), pregnancy and its trimester (or None)."""

    sex: str | None = None
    age: float | None = None
    pregnant: bool = False
    trimester: int | None = None


_LETTERS = {"f": "F", "h": "H", "m": "H", "feminin": "F", "masculin": "H", "femme": "F", "homme": "H"}


def _record(text: str, head: str) -> list[str]:
    """What records of fields print under `head`, folded; [] where no line names such a field."""
    lines = [re.split(r"[;\t|]", line) for line in text.splitlines()]
    records = [[fold(cell).strip(' "') for cell in cells] for cells in lines if len(cells) > 1]
    first = next((n for n, cells in enumerate(records) if head in cells and len(cells) > 2), None)
    if first is None:
        return []
    place = records[first].index(head)
    return [cells[place] for cells in records[first + 1 :] if len(cells) == len(records[first])]


def _agreed(found: set) -> object | None:
    return found.pop() if len(found) == 1 else None


def _sexes(line: str, *patterns: re.Pattern) -> set[str]:
    return {"F" if m["f"] else "H" for pattern in patterns for m in pattern.finditer(line)}


def read_patient(text: str) -> Patient:
    """Sex, age and pregnancy as the report prints them; None for what it does not say or says in two ways."""
    told = [line for line in text.splitlines() if any(hint in line.lower() for hint in _HINTS) or _HINT.search(line.lower())]
    lines = [_STAFF.sub(" ", fold(part)) for line in told for part in _PARTS.split(line)]
    plain = [line for line in lines if not _FOR_WHOM.search(line)]
    sure, titles = set(), set()
    for line in map(fold, told):
        sure |= _sexes(line, _SEX[0], _SEX[3], _BEFORE_BIRTH)
    sure |= {sex for sex in map(_LETTERS.get, _record(text, "sexe")) if sex}
    for line in plain:
        sure |= _sexes(line, *_SEX)
        titles |= _sexes(line, _TITLE) if not _NORMS.search(line) else set()
    waiting = "\n".join(line if _PATIENT.match(line) else _NOT_PREGNANT.sub(" ", line) for line in lines)
    pregnant = bool(_PREGNANT.search(waiting))
    sex = _agreed(sure or titles)
    weeks, term = _WEEKS.search(waiting), _TERM.search(next((line for line in lines if _PREGNANT.search(line)), ""))
    trimester = (1 if int(weeks[1]) < 15 else 2 if int(weeks[1]) < 28 else 3) if weeks else None
    if term and len(set(_TERM.findall(term.string))) == 1:
        trimester = int(term[1])
    age, pregnant = _age(plain, text), pregnant and sex != "H"
    age = age if age is None or age < 2 else float(int(age))
    return Patient("F" if pregnant else sex, age, pregnant, trimester if pregnant else None)


def _age(lines: list[str], whole: str) -> float | None:
    ages = []
    for line in lines:
        for m in _AGE.finditer(line):
            if m[4] or m[5]:
                age = int(m[4]) / 365 if m[4] else float(m[5])
            else:
                count, unit = int(m[1]), m[2]
                if unit == "a" and not re.search(r"\b[hf]\s*,?\s*$", line[: m.start()]):
                    continue
                age = {"m": count / 12, "j": count / 365, "s": count / 52}.get(unit[0], float(count))
                age += int(m[3]) / 12 if m[3] and count < 2 else 0
            ages.append((_SPOKEN.search(line) is not None, age))
    ages += [(True, float(age)) for age in _record(whole, "age") if age.isdigit()]
    sure = {age for near, age in ages if near} or {age for _, age in ages}
    if sure:
        return _agreed(sure)
    whole = fold(whole)
    told, sampled = _BORN.search(whole), day_of_sample(whole)
    born = day_of(told[1]) if told else None
    return age_on(sampled, born) if born and sampled else None


# For whom an interval is printed --------------------------------------------------------------------------------------

_LIFE = {"adulte": (18, 200), "enfant": (0, 15), "nourrisson": (0, 2), "nouveau": (0, 28 / 365)}
_SPAN = re.compile(r"(\d{1,3})\s*(ans|mois|jours|j)?\s*(?:-|a)\s*(\d{1,3})\s*(ans|mois|jours|j)?")
_EDGE = re.compile(r"(<|>|moins de|plus de|jusqu'a)\s*(\d{1,3})\s*(ans|mois|jours)|(\d{1,3})\s*(ans|mois|jours)\s*et (?:\+|plus)")
_YEARS = {"ans": 1.0, "mois": 1 / 12, "jours": 1 / 365, "j": 1 / 365}


def meant_for(label: str, who: Patient) -> bool | None:
    """Whether the interval printed for `label` («Homme», «6 - 24 mois», «2ème trim.») is that of `who`; None: it cannot be told."""
    text, answers = fold(label), []
    if sex := re.search(r"\b(?:(h|m|hommes?|garcons?|masculin)|f|femmes?|filles?|feminin)\b", text):
        answers.append(None if who.sex is None else who.sex == ("H" if sex[1] else "F"))
    if term := _TERM.search(text):
        answers.append(who.trimester == int(term[1]) if who.trimester else None if who.pregnant else False)
    low, high = next((ages for word, ages in _LIFE.items() if word in text), (None, None))
    if span := _SPAN.search(text):
        last = span[4] or span[2] or "ans"
        low = int(span[1]) * _YEARS[span[2] or last]
        high = (int(span[3]) + (last == "ans" and "ans" in text or not span[4])) * _YEARS[last]
    elif edge := _EDGE.search(text):
        count, scale = float(edge[2] or edge[4]), _YEARS[edge[3] or edge[5]]
        low, high = (0, count * scale) if edge[1] and edge[1] not in (">", "plus de") else (count * scale, 200)
    if low is not None:
        answers.append(None if who.age is None else low <= who.age < high)
    if not answers or False in answers:
        return False if answers else None
    return None if None in answers else True
