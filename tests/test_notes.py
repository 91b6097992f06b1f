"""Reports in running text: summaries of a stay and short notes say what their answers say, and borrow nothing from what is held out."""

import re
from random import Random

import pytest
from medanalyzr.dataset.composer.notes import gender
from medanalyzr.dataset.composer.printing import phrases
from medanalyzr.dataset.layouts import TRAINED, compose
from medanalyzr.lab.references import find_analyte
from test_composer import REPORTS, SPECIAL, holds, plain

NEW = ("summary", "note")
HELD = r"le bilan trouve|on note |on retrouve|le contrôle montre|[Cc]h(?:er|ère) (?:confrère|consœur)|Mon cher ami|SpO2 94|TA 13/7\b|1 L/12 h"


def composed(family, seeds=150):
    for seed in range(seeds):
        yield seed, *compose(REPORTS[seed * 17 % len(REPORTS)], Random(f"{family} notes {seed}"), family)


@pytest.mark.parametrize("family", NEW)
def test_the_same_seed_gives_the_same_text(family):
    assert list(composed(family, 15)) == list(composed(family, 15))
    assert len({text for _, text, _ in composed(family, 100)}) == 100 and family in TRAINED


@pytest.mark.parametrize("family", NEW)
def test_every_value_and_name_stands_in_the_text(family):
    for seed, text, report in composed(family):
        whole = plain(text)
        for m in report.measurements:
            assert plain(m.name) in whole and holds(whole, m.text.lstrip("<>")), (seed, m, text)


@pytest.mark.parametrize("family", NEW)
def test_no_frame_of_the_held_out_families_is_used(family):
    for _, text, _ in composed(family, 300):
        assert not re.search(HELD, plain(text)), text
        assert not re.search(r"^[FH] \d+ ?a(?:ns)? (?:-|/)", text), text


@pytest.mark.parametrize("family", NEW)
def test_the_patient_is_told_as_the_answer_takes_it(family):
    sure = {"F": r"\bMme\b|\b[Pp]atiente|\b[Ff]emme|\b[Dd]ame\b|♀", "H": r"\bM\. [A-ZÉ]\.|\b[Hh]omme|[Mm]onsieur|♂"}
    words = {"F": sure["F"] + r"|la jeune|\b[Ff]ille|\bF\b", "H": sure["H"] + r"|le jeune|[Gg]arçon|\(H\)|\b[HM]\b"}
    for seed, text, report in composed(family, 200):
        for sex in "FH":
            assert report.sex != sex or re.search(words[sex], text), (seed, text)
            assert report.sex == sex or not re.search(sure[sex], text), (seed, text)
        assert report.age is None or re.search(rf"\b{report.age:.0f} ?a", plain(text)), (seed, text)


@pytest.mark.parametrize("family", NEW)
def test_another_specimen_is_announced(family):
    words = {"urine": "urin", "lcr": r"LCR|c[ée]phalo|\bPL\b", "autre": "ponction|ascite|pleural|selles"}
    seen = set()
    for seed, text, report in composed(family, 400):
        kinds = [m.specimen for m in report.measurements]
        for kind in set(kinds) - {"sang"}:
            assert re.search(words[kind], text, re.IGNORECASE), (seed, text)
            seen.add(kind)
        if "sang" in kinds and kinds[0] != "sang":
            assert re.search(r"sang|biologi|prise de sang", text, re.IGNORECASE), (seed, text)
    assert seen == set(words)
    text, _ = compose(SPECIAL, Random(1), family, most=2)
    assert "raitement : fluindione" in text


def test_labels_of_groups_are_no_analytes():
    for kind, texts in phrases().items():
        if kind.startswith(("group:", "head:")):
            assert not [text for text in texts if find_analyte(text)], kind


def test_names_agree():
    known = {"Hémoglobine": "f", "Sodium": "m", "Plaquettes": "fp", "Leucocytes": "mp", "Glucose": "m", "Glycémie à jeun": "f", "CRP": "f",
             "ASAT": "fp", "D-dimères": "mp", "Chlorures": "mp", "Urée": "f", "Bilirubine totale": "f", "Acide urique": "m",
             "Anticorps anti-TPO": "mp", "Phosphatases alcalines": "fp", "Triglycérides": "mp", "Natrémie": "f", "Protéinurie des 24 h": "f",
             "Créatinine": "f", "Cholestérol total": "m", "Hématies": "fp", "Taux de prothrombine": "m", "Xk-7": ""}  # fmt: skip
    assert {name: gender(name) for name in known} == known
