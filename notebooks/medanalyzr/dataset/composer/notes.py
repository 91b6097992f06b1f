"""Families of layouts in running text: the summary of a stay or a consultation, the short note of a ward or a practice.

Both are small grammars over the phrases of the tables: leads that announce a section or another specimen, constructions that hold
one result or several, and between them numbers that are no results.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from medanalyzr.dataset.composer.printing import TAG, Line, Style, Told, phrases, without_accents
from medanalyzr.dataset.composer.sentences import KEPT, capital, within, wrapped
from medanalyzr.lab.references import analytes, find_analyte

_GENDERS = {  # of abbreviations, as doctors say them
    "f": "hb hgb crp vs tsh tshus t4l t3l pct pth ggt ldh hba1c fsh lh afp tcmh ccmh paco2 pao2 sao2 pco2 po2 ferritine hcg a1c cpk ck",
    "m": "vgm vpm tp inr tca dfg dfge hdl ldl bnp nt-probnp psa ph idr ht hte hct cst c3 c4 ca-125 lactate glucose pic be",
    "mp": "gb gr pnn pne pnb d-dimères",
    "fp": "plt pal asat alat tgo tgp igg iga igm ige",
}
_SPELLED = {word: gender for gender, words in _GENDERS.items() for word in words.split()}
_ENDINGS = (  # of the first word of a name, without accents; the first that fits decides
    ("", r"toxoplasmose|rubeole|cmv|vzv|anti-?|ac|hco3-?|quick"),
    ("m", r"glucose|lactate|taux|temps|facteur|rapport|ratio|indice|acide|peptide|complement|volume|debit|coefficient|trou|exces"
          r"|zinc|fer|plomb|cuivre|chlore|phosphore|hematocrite|\w+(?:ium|ol|gene|ate|us)"),
    ("mp", r"anticorps|elements|facteurs|globules|leucocytes|hematocytes|d-?dimeres|acides|\w+(?:cytes|philes|nucleaires|blastes|ures"
           r"|ates|erides|cobalamines|meres|ides)"),
    ("fp", r"hematies|plaquettes|chaines|cellules|\w+(?:ines|ases|aminases|globulines)"),
    ("f", r"\w+(?:ine|ase|emie|urie|ite|tion|ose|ee|une|ese|one|ance|eur(?<=teneur)|vitesse|reserve)|vitesse|teneur|reserve|hormone"),
)  # fmt: skip
_PLACE = {"urine": "urine", "lcr": "lcr"}  # kinds of phrases for other specimens; of the rest the section names it


def gender(name: str) -> str:
    """How a name agrees: m, f, mp or fp; "" where nobody can tell."""
    first = without_accents(re.split(r"[ (/]", name)[0].lower())
    if find := _SPELLED.get(first):
        return find
    for found, pattern in _ENDINGS:
        if re.fullmatch(pattern, first):
            return found
    known = find_analyte(name)
    return analytes()[known.id].gender.replace("0", "") if known and known.name == name else ""


def _the(name: str, kind: str) -> str:
    """`name` with its definite article."""
    head = without_accents(name)[0]
    vowel = head in "aeiouhAEIO" or name.startswith(("Hb", "HB", "Hg", "HG", "Ht", "HT", "Hct", "HCT", "LDL", "LH", "FSH", "HDL"))
    if kind in ("m", "f") and vowel and not name.startswith(("LDL", "HDL")):
        return f"l'{name}"
    return {"m": "le ", "f": "la ", "mp": "les ", "fp": "les "}.get(kind, "") + name


class _Result:
    """The parts of one result that a sentence is made of; no line is broken within them."""

    def __init__(self, line: Line, style: Style):
        self.line, self.style = line, style
        self.kind = gender(line.name)
        name = within(line.name)
        self.name, self.the = name.replace(" ", KEPT), _the(name, self.kind).replace(" ", KEPT)
        self.a = {"m": "un ", "f": "une ", "mp": "des ", "fp": "des "}.get(self.kind, "").replace(" ", KEPT) + self.name
        self.value = f"{line.value} {line.unit}".strip().replace(" ", KEPT)
        bare = TAG.sub("", line.value)
        self.word, self.signed = bare[0].isalpha(), bare[0] in "<>"
        self.at = self.value if self.signed else f"à {self.value}"

    def filled(self, template: str, **more: str) -> str:
        """A template with this result in it: {le}, {av} (its value with «à»), {est}, {a} (an ending), and so on."""
        many = self.kind[1:] == "p"
        return template.format(le=self.the, Le=capital(self.the), v=self.value, av=self.at, est="sont" if many else "est",
                               nt="nt" if many else "", vaut="valent" if many else "vaut",
                               a={"f": "e", "mp": "s", "fp": "es"}.get(self.kind, ""), **more)  # fmt: skip

    def tail(self, past: bool = True) -> str:
        """What follows the value: interval, share, the same in another unit, an earlier value."""
        line, style, inner = self.line, self.style, self.line.interval.strip("()[]")
        text = ""
        if line.second[0] and style.chance(0.3):
            text += f" (soit {line.second[0]} {line.second[1]})"
        if line.share and style.chance(0.7):
            text += style.rng.choice((f" ({line.share} %)", f", soit {line.share} %,"))
        if inner:
            frame = style.kept["interval"] if style.chance(0.85) else style.rng.choice(phrases()["sum_i"])
            plain = re.fullmatch(r"-?[\d.,\s\u202f\xa0]+(?:-|–|à| - | – )\s*-?[\d.,\s\u202f\xa0]+", inner)
            frame = frame if plain else ("(N {})" if inner[0] in "<>≤≥" and frame[0] == "(" else "({})")
            text += " " + frame.format(re.sub(r"\s*[-–]\s*(?=\d)", " à ", inner) if "de {}" in frame else inner)
        if past and line.earlier and line.earlier[0] and style.chance(0.8):
            before, date = line.earlier[0], style.dates[0]
            text += style.rng.choice((f", contre {before} le {date}", f" ({before} le {date})", f" (vs {before})"))
        return text.rstrip(",").replace(" ", KEPT) if len(text) < 45 else text.rstrip(",")

    def nominal(self, form: str) -> str:
        """The result as a noun: `une hémoglobine à 81 g/L`, `l'ASAT à 35 UI/L`, `sodium 139 mmol/L`."""
        if self.word:
            return self.filled(self.style.phrase("sum_word", le="{le}", v="{v}")) + self.tail()
        head = {"un": self.a, "le": self.the}.get(form.split()[0], self.name)
        joint = form.split()[1]
        return head + {"à": f" {self.at}", "de": f" {'' if self.signed else 'de '}{self.value}", "-": f" {self.value}",
                       ":": f" : {self.value}", "=": f" = {self.value}"}[joint] + self.tail()  # fmt: skip

    def clause(self) -> str:
        """The result with a verb: `la natrémie s'élève à 139 mmol/L`."""
        line, style = self.line, self.style
        names = {key: f"{{{key}}}" for key in ("le", "Le", "v", "av", "est", "a", "nt", "vaut", "p")}
        if self.word:
            return self.nominal("le à")
        if self.signed:
            return self.filled("{le} {est} {v}") + self.tail()
        if line.earlier and line.earlier[0] and style.chance(0.7):
            return self.filled(style.phrase("sum_past", **names), p=line.earlier[0]) + self.tail(False)
        templates = [t for t in phrases()["sum_one"] if self.kind or "{a}" not in t]
        return self.filled(style.rng.choice(templates)) + self.tail()


def _joined(parts: Sequence[str], style: Style) -> str:
    """An enumeration: commas, and a word before its last part."""
    if len(parts) == 1:
        return parts[0]
    last = style.rng.choice((" et ", " et ", " et ", ", et ", " ainsi que ", ", puis ", ", ", *([", enfin "] * (len(parts) > 2))))
    last = " ainsi qu'" if last == " ainsi que " and parts[-1].startswith(("un ", "une ")) else last
    return style.kept["comma"].join(parts[:-1]) + last + parts[-1]


def _of(specimen: str, section: str) -> str:
    """The kind of the phrases that announce a run of results."""
    return section if specimen == "sang" else _PLACE.get(specimen, section if f"head:{section}" in phrases() else "autre")


def _lead(kind: str, where: str, style: Style, fallback: str = "") -> str:
    """A phrase that announces the section or the specimen `where`."""
    return style.phrase(f"{kind}:{where}" if f"{kind}:{where}" in phrases() else f"{kind}:{fallback}")


def _sentence(group: Sequence[Line], where: str, style: Style, fallback: str = "") -> str:
    """A sentence that holds the results of `group`; its head announces `where` unless that is empty."""
    rng, results = style.rng, [_Result(line, style) for line in group]
    shape = rng.choices(("list", "verb", "clauses", "bare", "first"), style.kept["shapes"])[0]
    form = rng.choice(("un à", "un à", "le à", "un de", "le à"))
    if shape == "bare":
        form = rng.choice(("nom -", "nom -", "nom à", "nom :", "nom =", "le à", "le -"))
        head = _lead("head", where, style, fallback) + rng.choice((" : ", " : ", " : ")) if where else ""
        return head + _joined([r.nominal(form) for r in results], style)
    if shape == "first" and not any(r.word for r in results):
        start = f"{_lead('adv', where, style, fallback)}, " if where else ""
        return start + _joined([f"{r.value} pour {r.the}{r.tail()}" for r in results], style)
    if shape == "clauses":
        start = f"{_lead('adv', where, style, fallback)}, " if where else ""
        short = style.chance(0.5)
        parts = [r.nominal("le à") if short and n else r.clause() for n, r in enumerate(results)]
        return start + _joined(parts, style).replace(" ainsi que ", " et ").replace(" ainsi qu'", " et ")
    listed = _joined([r.nominal(form) for r in results], style)
    if shape == "verb" and where:
        verb = style.phrase("sum_verb")
        return f"{_lead('subj', where, style, fallback)} {verb} {listed}"
    start = f"{_lead('adv', where, style, fallback)}, " if where else ""
    there = style.phrase("sum_there")
    return start + rng.choice((f"{there} {listed}", f"{there} {listed}", f"avec {listed}" if start else listed, listed))


def _runs(lines: Sequence[Line], headed: bool) -> Iterator[tuple[str, str, list[Line]]]:
    """Runs of lines of one specimen, and of one section where `headed`."""
    for (specimen, section), run in groupby(lines, lambda x: (x.specimen, x.section if headed or x.specimen != "sang" else "")):
        yield specimen, section, list(run)


def _fact(style: Style, told: Told) -> str:
    """A phrase with numbers that are no results; "" for one that begins as an earlier one."""
    kinds = ("sum_fact", "sum_fact", "sum_adult") if told.age is None or told.age >= 18 else ("sum_fact",)
    text, said = style.phrase(style.rng.choice(kinds)), style.kept["said"]
    new = text[:9] not in said
    said.add(text[:9])
    return text if new else ""


def summary(lines: Sequence[Line], style: Style, told: Told) -> str:
    """Running text of a stay, a consultation, a message: several results in a sentence, other numbers between the sentences."""
    rng = style.rng
    style.kept |= {"said": set(), "interval": rng.choice(phrases()["sum_i"]), "comma": rng.choice((", ", ", ", ", ", " ; ")),
                   "shapes": rng.choice(((3, 3, 3, 2, 1), (5, 3, 1, 0, 1), (1, 1, 6, 1, 0), (1, 1, 1, 6, 0)))}  # fmt: skip
    size, facts, apart = rng.choice((2, 3, 3, 4, 6)), rng.choice((0.05, 0.2, 0.4)), rng.choice((0.1, 0.4, 0.8))
    text = [style.phrase("sum_open", **told.words(style)) if told.text else style.phrase("sum_blank")]
    text += [_fact(style, told) for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))]
    before, first = "sang", True
    for specimen, section, run in _runs(lines, style.chance(0.65)):
        fluid = specimen != "sang"
        fallback = _of(specimen, section) if fluid else "sang" if first or before != "sang" or section == "" else ""
        where = _of(specimen, section) or "sang"
        if specimen == "sang" and before != "sang":
            where = "sang"  # a reader must see that the other specimen ends
        lead = specimen != before or first or style.chance(0.85)
        text.append("\n" if specimen != before or style.chance(apart) else "")
        while run:
            if run[0].m is None:
                result = _Result(run[0], style)
                lacking = style.phrase("sum_lacks", le=result.the, Le=capital(result.the), v=result.value) + "."
                if specimen != before:
                    lacking = f"{_lead('head', where, style, fallback)} : {within(lacking)}"
                text.append(lacking)
                run = run[1:]
                continue
            group = [*run[: rng.randint(1, size)]]
            group = group[: next((n for n, line in enumerate(group) if line.m is None), len(group))]
            run = run[len(group) :]
            text.append(capital(_sentence(group, where if lead or (fluid and style.chance(0.4)) else "", style, fallback)) + ".")
            lead = False
            if style.chance(facts) and not (fluid and run):
                text.append(_fact(style, told))
        before, first = specimen, False
    text += [f"{rng.choice((' ', chr(10)))}{comment.replace(' ', KEPT)}." for comment in told.comments]
    text += ["\n", style.phrase("sum_close")]
    return wrapped(re.sub(r" *\n *", "\n", " ".join(filter(None, text))).strip(), style)


def _who(style: Style, told: Told) -> str:
    """The patient at the head of a note."""
    rng, young = style.rng, told.age is not None and told.age < 18
    words = {"F": ("fille", "F", "patiente (F)") if young else ("Mme {}.", "♀", "patiente", "F", "femme", "dame"),
             "H": ("garçon", "M", "H") if young else ("M. {}.", "♂", "patient (H)", "H", "homme", "monsieur")}  # fmt: skip
    word = rng.choice(words.get(told.sex, ("patient",))).format(style.phrase("who").capitalize()[0])
    years = "" if told.age is None else told.years()
    parts = [capital(word) if style.chance(0.5) else word]
    parts.append(years.replace(" ans", "a") if style.chance(0.2) and len(word) == 1 else years)
    if word in ("F", "H", "M") and parts[1].endswith(" ans"):
        parts.reverse()
    joint = rng.choice((", ", " ", ", ")) if word[0].isalpha() else rng.choice((" ", ", "))
    term = rng.choice((", enceinte 24 SA", ", enceinte (24 SA)", ", grossesse 24 SA")) if told.pregnant else ""
    return joint.join(filter(None, parts)) + term


def _short(line: Line, style: Style) -> str:
    """One result of a note."""
    rng, kept = style.rng, style.kept
    joint = kept["joint"] if style.chance(0.92) else rng.choice((" ", " = ", ": "))
    value, unit, mark = line.value, line.unit, kept["arrows"].get(line.mark, "") if style.chance(0.85) else ""
    bare = TAG.sub("", value)
    if joint == " " and line.name[-1].isdigit():
        joint = " : "
    if joint == " à " and not bare[0].isdigit():
        joint = " "
    if line.m is None:
        return f"{line.name}{' : ' if joint == ' à ' else joint}{value}"
    glue = "" if kept["glue"] and unit[:1].isalpha() and bare[-1].isdigit() else " "
    text = f"{value}{glue}{unit}".rstrip()
    if mark and kept["mark"] == "before":
        text = f"{mark}{text}"
    elif mark:
        text = f"{value}{mark}{glue}{unit}".rstrip() if kept["mark"] == "value" else f"{text} {mark}"
    past = line.earlier[0] if line.earlier else ""
    if past and kept["past"] == "->" and bare[0].isdigit():
        text, past = f"{past} {rng.choice(('->', '→'))} {text}", ""
    inner = line.interval.strip("()[]")
    if inner and inner[0].isalpha():
        text += f" ({inner})"
    elif inner:
        text += " " + kept["bound"].format(inner.replace(" - ", "-"))
    if past:
        text += kept["past"].replace("->", "vs {p}").format(p=past, day=style.dates[0][:5])
    share = f" ({line.share} %)" if line.share and style.chance(0.6) else ""
    return f"{line.name}{joint}{text}{share}"


def _groups(lines: Sequence[Line], style: Style) -> list[str]:
    """The groups of results of a note, labelled where the specimen changes, and often with their section."""
    rng, between = style.rng, style.kept["between"]
    headed, before, found = style.chance(0.55), "sang", []
    after = rng.choice((" : ", ": ", " : ", " -> ", " "))
    for specimen, section, run in _runs(lines, headed):
        where = _of(specimen, section)
        known = f"group:{where}" in phrases()
        label = ""
        if specimen != "sang":
            label = f"{style.phrase(f'group:{where}')} : "
        elif before != "sang":
            label = f"{style.phrase('group:sang')} : "
        elif headed and (known or found):
            label = f"{style.phrase(f'group:{where}' if known else 'group:')}{after if known else ' : '}"
            label = f"[{label.rstrip(' :->')}] " if style.kept["box"] else label
        parts = [_short(line, style).replace(" ", KEPT) for line in run]
        text = parts[0]
        for part in parts[1:]:
            text += (", " if between == " " and part[0].isdigit() else between) + part
        if label and "\n" in between:
            label = label.rstrip() + between
        found.append(label + text)
        before = specimen
    return found


def note(lines: Sequence[Line], style: Style, told: Told) -> str:
    """A short note: vitals, treatments and results with little between them, under headings or under none."""
    rng = style.rng
    style.words["day"] = style.words["d"][:5]
    low, high = rng.choice((("↓", "↑"), ("↘", "↗"), ("*", "*"), ("(b)", "(h)"), ("↓↓", "↑↑"), ("!", "!")))
    style.kept |= {
        "between": rng.choice((" ", " ", " ", ", ", ", ", " ; ", " / ", "/", " // ", " · ", "\n", "\n- ", "  ", ". ")),
        "joint": rng.choice((" ", " ", " ", "=", " = ", ": ", " : ", " à ")), "glue": style.chance(0.12), "box": style.chance(0.1),
        "arrows": {style.marks.get("bas"): low, style.marks.get("élevé"): high}, "mark": rng.choice(("after", "value", "before")),
        "bound": rng.choice(("(N{})", "(N:{})", "[{}]", "n {}", "(n {})", "({})", "N={}", "(vn {})")),
        "past": rng.choice((" (vs {p} le {day})", " (vs {p})", " (était {p} le {day})", "->", " [{p} le {day}]", ", avant {p}")),
    }  # fmt: skip
    if style.kept["between"] == "/" and any("/" in line.name or "/" in TAG.sub("", line.value) for line in lines):
        style.kept["between"] = " / "

    def some(counts: Sequence[int], *kinds: str) -> list[str]:
        grown = told.age is None or told.age >= 18
        kinds = [kind for kind in kinds if grown or kind != "note_adult"]
        return list({text[:2]: text for text in (style.phrase(rng.choice(kinds)) for _ in range(rng.choice(counts)))}.values())

    who = [_who(style, told)] * bool(told.text)
    comments, groups = [c.replace(" ", KEPT) for c in told.comments], _groups(lines, style)
    vitals = ("note_vital", "note_vital", "note_vital", "note_adult")
    lined = "\n" in style.kept["between"]
    gap = rng.choice(("\n", "\n\n")) if lined else rng.choice(("\n", "\n- ", " // ", " ; ", ". ", " - ", ", "))
    small = rng.choice((" ", ", ", " - ", " / ", " ; "))
    day = [f"{style.phrase('note_bio')} :"] * style.chance(0.45)
    head = [f"{day[0]}{style.kept['between'] if lined else ' '}{groups[0]}", *groups[1:]] if day else groups
    kind = rng.choices(("plain", "fields", "soap"), (60, 20, 20))[0]
    if kind == "plain":
        body = [*who, *some((0, 1), "note_motif"), *some((0, 0, 1), "note_treat")]
        body += filter(None, [small.join(some((0, 0, 1, 2, 4), *vitals))])
        for group in head:
            body += [group, *([small.join(some((1, 2), *vitals, "note_treat", "note_sure"))] if style.chance(0.18) else [])]
        body += [*comments, *some((0, 1, 1, 2), "note_todo", "note_treat", "note_sure")]
        stamp = f"{style.words['t']} " if style.chance(0.15) else ""
        return wrapped(stamp + gap.join(body), style)
    labels = rng.choice((("S", "O", "A", "P"), ("Subj", "Obj", "Éval", "Plan"))) if kind == "soap" else rng.choice((
        ("Motif", "Ex", "Ccl", "CAT"), ("MH", "Clin", "Conclusion", "CAT"), ("MOTIF", "CLINIQUE", "AVIS", "CAT")))  # fmt: skip
    colon = rng.choice((" : ", ": ", " - ", " : "))
    start = rng.choice(("", "", "- ", "• "))
    first = small.join([*who, *some((1,), "note_motif"), *some((0, 0, 1), "note_treat")])
    rows = [(labels[0], first), ("ATCD", small.join(some((1, 2), "note_atcd"))), (labels[1], small.join(some((1, 2, 4), *vitals)))]
    rows = [row for n, row in enumerate(rows) if row[1] and (n != 1 or style.chance(0.5 if kind == "fields" else 0.15))]
    inner = gap if lined else rng.choice(("\n", " ; ", " // ", ". "))
    rows.append(("Bio" if not day else style.phrase("note_bio"), ("\n" if lined else "") + inner.join(groups)))
    rows.append((labels[2], small.join(some((1,), "note_sure"))))
    rows.append((labels[3], small.join(some((1, 2, 3), "note_todo", "note_treat"))))
    if style.chance(0.2):
        del rows[-2]
    return wrapped("\n".join([*(f"{start}{label}{colon}{text}" for label, text in rows), *comments]), style)
