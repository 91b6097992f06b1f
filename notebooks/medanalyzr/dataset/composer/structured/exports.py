"""What programs of laboratories hand over line by line: rows that repeat the patient, and the segments of HL7 version 2."""

import csv
import io
import re
from collections.abc import Sequence

from medanalyzr.dataset.composer.families import aside, bounds
from medanalyzr.dataset.composer.printing import Line, Style, Told
from medanalyzr.dataset.composer.structured.records import subject
from medanalyzr.lab.rules import flag


def export(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Rows of an extraction under a row of labels: each repeats the patient, before its result or after it; bounds in two columns."""
    rng, who = style.rng, {key: str(value) for key, value in subject(style, told).items()}
    kinds = rng.choice(("n v u low high", "n v u i", "n low high v u", "n v low high u", "code n u v low high"))
    if any(line.by_sex[0] for line in lines):
        kinds = kinds.replace(" i", " low high").replace("low", "men").replace("high", "women")
    elif any(line.m and line.m.interval_unit for line in lines):
        kinds = kinds.replace("high", "").replace("low", "i")
    order = kinds.split() + ["specimen"] * any(line.specimen != "sang" for line in lines)
    order += ["m"] * bool(style.marks) + ["date"] * style.small
    labels, rows = [style.phrase(f"label:{kind}") for kind in order], []
    for line in lines:
        low, high = bounds(line, style)
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


def segments(lines: Sequence[Line], style: Style, told: Told) -> str:
    """An HL7 message as text: the patient (PID), an order for each section (OBR), a result in each line (OBX), remarks (NTE)."""
    sex = {"F": "F", "H": "M"}.get(told.sex, "U") if told.text else ""
    day = "".join(reversed(style.words["d"].split("/")))
    said = [told.years()] if told.text and told.age is not None else []
    said += ["grossesse en cours"] * told.pregnant
    notes = [f"NTE|{n}|L|{text}" for n, text in enumerate([*said, *told.comments], 1)]
    body = [f"MSH|^~\\&|SIL|LABO|DPI||{day}||ORU^R01|{style.phrase('who')}{style.aside}|P|2.5",
            f"PID|1||{style.aside}^^^LABO||{style.phrase('who')}^{style.phrase('first')}|||{sex}"]  # fmt: skip
    body += notes if style.told_at != "foot" else []
    section, orders, n = None, 0, 0
    for line in lines:
        if (line.section, line.specimen) != section:
            orders, n = orders + 1, 0
            where = {"lcr": "liquide céphalo-rachidien", "sang": ""}.get(line.specimen, line.specimen)
            where = line.section if line.specimen == "autre" else where
            body.append(f"OBR|{orders}|||{line.section.upper()}^{line.section}|||{day}||||||||{where}")
        section, n = (line.section, line.specimen), n + 1
        mark = {"bas": "L", "élevé": "H"}.get(flag(line.m), "N" if style.small else "") if line.m else ""
        kind = "NM" if re.fullmatch(r".-?\d+(?:\.\d+)?", line.value) else "ST"
        code = f"{aside(line, 'code', style)}^{line.name}" + "^L" * style.tight
        body.append(f"OBX|{n}|{kind}|{code}||{line.value}|{line.unit}|{line.interval}|{mark}|||F")
    return "\n".join(body + (notes if style.told_at == "foot" else []))
