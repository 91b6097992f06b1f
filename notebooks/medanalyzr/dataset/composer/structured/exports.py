"""What programs of laboratories hand over line by line: rows that repeat the patient, the segments of HL7 version 2, and the records of
ASTM E1394 or of a program of their own."""

import csv
import io
import re
from collections.abc import Sequence

from medanalyzr.dataset.composer.asides import aside, title
from medanalyzr.dataset.composer.printing import Line, Style, Told, phrases
from medanalyzr.dataset.composer.structured.records import printed_ends, subject
from medanalyzr.lab.rules import flag


def export(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Rows of an extraction under a row of labels: each repeats the patient, before its result or after it; bounds in two columns."""
    rng, who = style.rng, {key: str(value) for key, value in subject(style, told).items()}
    kinds = rng.choice(("n v u low high", "n v u i", "n low high v u", "n v low high u", "code n u v low high"))
    if style.leant and "code" not in kinds and style.chance(0.5):
        kinds = kinds.replace("n", rng.choice(("n code", "code n", "n code", "part n code", "n part")), 1)
    if any(line.by_sex[0] for line in lines):
        kinds = kinds.replace(" i", " low high").replace("low", "men").replace("high", "women")
    elif any(line.m and line.m.interval_unit for line in lines):
        kinds = kinds.replace("high", "").replace("low", "i")
    order = kinds.split() + ["specimen"] * any(line.specimen != "sang" for line in lines)
    order += ["m"] * bool(style.marks) + ["date"] * style.small
    labels, rows = [style.phrase(f"label:{kind}") for kind in order], []
    for line in lines:
        low, high = printed_ends(line, style)
        known = {"n": line.name, "v": line.value, "u": line.unit, "i": line.interval, "low": low, "high": high, "m": line.mark,
                 "men": line.by_sex[0], "women": line.by_sex[1],
                 "specimen": line.section if line.specimen == "autre" else line.specimen}  # fmt: skip
        rows.append([known[kind] if kind in known else aside(line, kind, style) for kind in order])
    after = style.told_at == "foot"
    first, later = list(who.values()), list(who.values()) if style.chance(0.6) else [""] * len(who)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=rng.choice(";;,\t|"), lineterminator="\n")
    writer.writerow([*labels, *who] if after else [*who, *labels])
    for n, row in enumerate(rows):
        mine = later if n else first
        writer.writerow([*row, *mine] if after else [*mine, *row])
    return out.getvalue().rstrip("\n")


def _said(told: Told) -> list[str]:
    """What the remarks tell: age, pregnancy, comments."""
    age = [told.years()] if told.text and told.age is not None else []
    return [*age, *["grossesse en cours"] * told.pregnant, *told.comments]


def _where(line: Line) -> str:
    """The specimen in words; "" for blood."""
    return {"sang": "", "autre": line.section, "lcr": "liquide céphalo-rachidien"}.get(line.specimen, line.specimen)


def segments(lines: Sequence[Line], style: Style, told: Told) -> str:
    """An HL7 message as text: the patient (PID), an order for each section (OBR), a result in each line (OBX), remarks (NTE)."""
    sex = {"F": "F", "H": "M"}.get(told.sex, "U") if told.text else ""
    day = "".join(reversed(style.words["d"].split("/")))
    notes = [f"NTE|{n}|L|{text}" for n, text in enumerate(_said(told), 1)]
    body = [f"MSH|^~\\&|SIL|LABO|DPI||{day}||ORU^R01|{style.phrase('who')}{style.aside}|P|2.5",
            f"PID|1||{style.aside}^^^LABO||{style.phrase('who')}^{style.phrase('first')}|||{sex}"]  # fmt: skip
    body += notes if style.told_at != "foot" else []
    section, orders, n = None, 0, 0
    for line in lines:
        if (line.section, line.specimen) != section:
            orders, n = orders + 1, 0
            body.append(f"OBR|{orders}|||{title(line).upper()}^{title(line)}|||{day}||||||||{_where(line)}")
        section, n = (line.section, line.specimen), n + 1
        mark = {"bas": "L", "élevé": "H", "normal": "N" * style.small}.get(flag(line.m), "") if line.m else ""
        kind = "NM" if re.fullmatch(r".-?\d+(?:\.\d+)?", line.value) else "ST"
        code, also = aside(line, "code", style), aside(line, "code", style) if style.leant and style.chance(0.3) else ""
        code = "^".join((code, line.name, *["L"] * style.tight, *[also] * bool(also)))
        body.append(f"OBX|{n}|{kind}|{code}||{line.value}|{line.unit}|{line.interval}|{mark}|||F")
    return "\n".join(body + (notes if style.told_at == "foot" else []))


def frames(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Records that begin with their kind: those of ASTM E1394, or of a program of the laboratory, with the code beside the name."""
    rng, day = style.rng, "".join(reversed(style.words["d"].split("/")))
    who, sex = style.phrase("who"), {"F": "F", "H": "M"}.get(told.sex, "") if told.text else ""
    if astm := style.chance(0.5):
        mark, kinds = "|", ("H", "P", "O", "R", "C", "L")
        head = [rf"H|\^&|||SIL^{style.aside}|||||||P|1|{day}", f"P|1||{style.aside}||{who}^{style.phrase('first')}|||{sex}"]
    else:
        mark, kinds = rng.choice((";", "~", "\t", "!")), rng.choice(phrases()["frame_kinds"]).split()
        head = [mark.join((kinds[0], "LABO", day)), mark.join((kinds[1], str(style.aside), who, sex))]
    notes = [mark.join((kinds[4], *[str(n)] * astm, text)) for n, text in enumerate(_said(told), 1)]
    order = rng.choice(("code n v u i m", "n code v u low high m", "code n u v low high", "n code u v i", "code n v low high u",
                        "t code n v u i", "code t n v u low high", "n code low high v u"))  # fmt: skip
    empty, body, section = rng.choice((0, 0, 1, 2)), [], None
    kinds_of = rng.choice((("N", "T"), ("NUM", "TXT"), ("1", "2"), ("Q", "L"), ("NM", "ST")))
    for n, line in enumerate(lines, 1):
        if (line.section, line.specimen) != section:
            body.append(mark.join((kinds[2], *["1"] * astm, title(line).upper(), _where(line))))
        section = (line.section, line.specimen)
        low, high = printed_ends(line, style)
        state = {"bas": "L", "élevé": "H", "normal": "N"}.get(flag(line.m), "") if line.m else ""
        known = {"t": kinds_of[line.m is None], "code": aside(line, "code", style), "n": line.name, "v": line.value,
                 "u": line.unit, "i": line.interval, "m": state, "low": low, "high": high}  # fmt: skip
        if line.m and line.m.interval_unit:
            known |= {"low": line.interval, "high": ""}
        if astm:
            named = "^".join(known[kind] for kind in order.split() if kind in ("code", "n"))
            body.append(mark.join(("R", str(n), f"^^^{named}", line.value, line.unit, line.interval, state, "", "F")))
        else:
            body.append(mark.join((kinds[3], *(known[kind] for kind in order.split()), *[""] * empty)))
    after = style.told_at == "foot"
    return "\n".join([*head, *notes * (not after), *body, *notes * after, mark.join((kinds[5], "1", "N"))])
