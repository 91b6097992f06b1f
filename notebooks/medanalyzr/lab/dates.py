"""Dates as reports print them: day, month, year, or year, month, day."""

import re
from datetime import date

DATE = re.compile(r"(?<!\w)(?:(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d\d)|(\d{4})-(\d\d)-(\d\d))(?!\w)")
_SAMPLED = re.compile(r"\bpr[ée]l[eè]\w*\D{0,12}(\d{1,2}[/.-]\d{1,2}[/.-]\d{4})", re.IGNORECASE)


def dates_in(text: str) -> list[date]:
    """The dates in `text`, in order, without those that do not exist; a year of two digits is one of this century."""
    days = []
    for m in DATE.finditer(text):
        year, month, day = (m[4], m[5], m[6]) if m[4] else (m[3] if len(m[3]) == 4 else f"20{m[3]}", m[2], m[1])
        try:
            days.append(date(int(year), int(month), int(day)))
        except ValueError:
            continue
    return days


def day_of(text: str) -> date | None:
    """The first date in `text`, or None."""
    return next(iter(dates_in(text)), None)


def day_of_sample(text: str) -> date | None:
    """The day on which a report says that its sample was taken, or None."""
    told = _SAMPLED.search(text)
    return day_of(told[1]) if told else None


def age_on(day: date, born: date) -> float | None:
    """Age in completed years on `day`, a fraction under two years; None for a day before the birth, or more than 130 years later."""
    years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    return (float(years) if years >= 2 else (day - born).days / 365.25) if 0 <= years <= 130 else None
