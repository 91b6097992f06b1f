"""Days as reports print them, in full or in part: 02/03/2026, 2 mars, mars 2026, «le 02/03», 2026. Texts are `flat`."""

import re
from datetime import date

Day = tuple[int | None, int | None, int | None]  # year, month, day; None where it is not printed

_MONTHS = ("janv", "fevr", "mars", "avri", "mai", "juin", "juil", "aout", "sept", "octo", "nove", "dece")
_MONTH = r"janvier|fevrier|mars|avril|mai|juin|juillet|aout|septembre|octobre|novembre|decembre|(?:janv|fevr?|sept|oct|nov|dec)\."
_TIME = r"(?:\W{0,3}(?:a|vers)?\W{0,2}\d{1,2} ?[h:] ?(?:\d\d)?(?: ?mn)?\b)?"
DATE = (
    r"(?:^[^\w\n]{0,3}(?P<d5>\d{1,2})/(?P<m5>\d{1,2})(?= ?(?::|$))|(?<=  )(?P<d6>\d\d)/(?P<m6>\d\d)(?= *$)|"
    r"(?<![\w/])(?P<m7>\d{1,2})/(?P<y7>(?:19|20)\d\d)(?![\w/])|^[^\w\n]{0,3}(?P<y6>(?:19|20)\d\d)(?= ?(?::|$))|"
    r"^(?P<y8>(?:19|20)\d\d)(?P<m8>\d\d)(?P<d8>\d\d)\b)|"
    r"(?:(?<![\w/.,-])(?:(?P<d>\d{1,2})(?P<s>[/.-])(?P<m>\d{1,2})(?P=s)(?P<y>\d{4}|\d\d)|"
    r"(?<!\d )(?P<d7>\d\d) (?P<m9>\d\d) (?P<y9>(?:19|20)\d\d)(?! ?[a-zµ/%])|"
    r"(?P<y2>(?:19|20)\d\d)[-./](?P<m2>\d\d)[-./](?P<d2>\d\d))(?![\w/]|[.,-]\d)|"
    rf"\b(?:(?P<d3>\d{{1,2}}|1er) )?(?P<m3>{_MONTH})(?: (?P<y3>(?:19|20)\d\d|\d\d(?= ?(?::|$))))?(?!\w)|"
    r"(?:(?<=\b(?:du|le|au|en|de) )|(?<=jour )|(?<=veille )|(?<=hier )|(?<=\())"
    r"(?:(?P<d4>\d{1,2})/(?P<m4>\d{1,2})(?![\w/]|[.,]\d)|(?P<y4>(?:19|20)\d\d)\b)|"
    rf"(?:\b(?:annee|trimestre|ete|hiver|automne|printemps) |\(|, (?=\d{{4}}\)))(?P<y5>(?:19|20)\d\d)\b){_TIME}"
)
_HALF_A_YEAR, _ISSUED_WITHIN = 6, 31  # months, days


def day_of(m: re.Match) -> Day | None:
    """The day that a match of `DATE` prints; None where it is none, or no date was matched."""
    year = next((m[k] for k in ("y", "y2", "y3", "y4", "y5", "y6", "y7", "y8", "y9") if m[k]), None)
    word = (m["m3"] or "").rstrip(".")
    named = next((n for n, month in enumerate(_MONTHS, 1) if word and (word.startswith(month) or month.startswith(word))), None)
    month = named or next((m[k] for k in ("m", "m2", "m4", "m5", "m6", "m7", "m8", "m9") if m[k]), None)
    day = next((m[k] for k in ("d", "d2", "d3", "d4", "d5", "d6", "d7", "d8") if m[k]), None)
    parts = [None if part is None else int(str(part).replace("er", "")) for part in (year, month, day)]
    if parts == [None] * 3 or (parts[1] or 1) > 12 or (parts[2] or 1) > 31:
        return None
    return (parts[0] + 2000 if parts[0] is not None and parts[0] < 100 else parts[0], parts[1], parts[2])


def before(a: Day, b: Day) -> bool | None:
    """Whether day `a` lies before day `b`; None where what is printed does not tell. Without a year it is no later than `b`."""
    if a[0] is None and b[0] is not None:
        if a[1] != b[1] or None not in (a[2], b[2]) and a[2] != b[2]:
            return True
        return False if a[2] == b[2] and a[2] else None
    if a[0] is not None and b[0] is None:
        return None if a[1] is None or before(b, a) is None else False
    for x, y in zip(a, b, strict=True):
        if (x is None) != (y is None):
            return None
        if x != y:
            return x < y if a[0] is not None or abs(x - y) < _HALF_A_YEAR else None
    return False


def fits(day: Day, issued: Day) -> bool:
    """Whether results of a day may be in a report that was issued on another: on this day, or up to a month before it."""
    try:
        return None in (*day, *issued) or 0 <= (date(*issued) - date(*day)).days <= _ISSUED_WITHIN
    except ValueError:
        return True
