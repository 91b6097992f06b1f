"""The condition language of the pattern rows."""

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.lab import references
from medanalyzr.lab.engine import conditions, patterns
from medanalyzr.lab.engine.conditions import expression, fill
from medanalyzr.lab.engine.facts import Facts
from medanalyzr.lab.report import parse_report
from medanalyzr.lab.rules import interpret

FACTS = Facts(
    parse_report(
        "Patient : femme, 60 ans\nTraitement : fluindione\nPas d'amas plaquettaires\n"
        "Potassium : 6,2 mmol/L (3,5 - 5,0)\nTSH : <0,10 mUI/L (0,40 - 4,00)\nDFG : >60 mL/min/1,73 m² (≥ 60)\n"
        "ALAT : 102 UI/L (≤ 34)\nGlucose : 1,26 g/L\nLactate : 4,5 mmol/L"
    )
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("potassium >= 6.0", True),
        ("6.0 <= potassium < 6.5", True),
        ("6.0 <= potassium < 6.2", False),
        ("sodium > 100 or sodium <= 100", False),
        ("not sodium > 100", True),
        ("tsh < 0.1", True),
        ("tsh <= 0.05 or tsh > 0.05", False),
        ("dfg > 60", True),
        ("dfg > 61", False),
        ("dfg == 60", False),
        ("glucose >= 7.0 and glucose <= 7.0", True),
        ("potassium - sodium > 0", False),
        ("abs(potassium - 7) <= 0.8 and max(potassium, 7) == 7 and min(potassium, 7) < 7", True),
        ("log10(potassium * 100) > 2.79", True),
        ("log10(potassium - potassium) < 5 or potassium / (potassium - potassium) > 0", False),
        ("eleve(alat) + eleve(potassium) + bas(tsh) + bas(dfg) >= 3", True),
        ("fois(alat) >= 3 and borne(alat, 'haut') == 34", True),
        ("borne(alat, 'bas') <= 0", False),
        ("critique_haut(potassium) and critique(lactate) and not critique_bas(potassium)", True),
        ("eleve(lactate)", True),
        ("normal(dfg) and anormal(alat) and rendu(alat) and not rendu(asat)", True),
        ("sexe == 'F' and age >= 60 and adulte and not enfant and not enceinte", True),
        ("avk and not amas", True),
        ("dit('fluindione') and not dit('plaquettaires')", True),
        ("dfg_calcule > 0", False),
        ("(1 if potassium > 6 else 2) == 1", True),
        ("-potassium < 0", True),
    ],
)
def test_a_condition(condition, expected):
    assert bool(expression(condition, "here").evaluate(FACTS)) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "potassium >",
        "kalium > 5",
        "open('x')",
        "potassium.real > 5",
        "[potassium]",
        "bas(3)",
        "bas()",
        "borne(alat)",
        "borne(alat, 'milieu')",
        "dit('(')",
        "dit(potassium)",
        "__import__('os')",
        "(lambda: 1)()",
        "potassium in (1, 2)",
    ],
)
def test_a_row_that_is_not_in_the_language_is_named(condition):
    with pytest.raises(MedAnalyzrError, match=r"tables/patterns_x.csv, K-01: «.*» is not a valid condition: .+\.$"):
        expression(condition, "tables/patterns_x.csv, K-01")


def test_texts_are_filled_with_values_as_reports_print_them():
    assert fill("K {potassium}, TSH {tsh}, {glucose} mmol/L", FACTS, "") == "K 6,2, TSH <0,10, 7,0 mmol/L"
    assert fill("({potassium * 2:0}) {potassium * 2:2} {dfg - 10}", FACTS, "") == "(12) 12,40 >50"
    assert fill("hyponatrémie (corrigé {sodium + 1:0} mmol/L)", FACTS, "") == "hyponatrémie"
    assert fill("{noms(potassium, sodium, tsh, alat)} ; {noms_eleves(tsh, alat)}", FACTS, "") == "potassium, TSH et ALAT ; ALAT"
    assert fill("{'AVK' if avk else ''}{texte(tsh)}", FACTS, "") == "AVK<0,10"


def test_a_wrong_row_of_a_table_is_named(monkeypatch):
    good = references.read_table("patterns_a")[0]
    for change in (
        {"rank": "6"},
        {"critical": "kalium+"},
        {"critical": "potassium"},
        {"explains": "kalium"},
        {"wording": "{kalium}"},
    ):
        with pytest.raises(MedAnalyzrError, match="here"):
            patterns._row(good | change, "here")


def test_a_name_is_defined_once(monkeypatch):
    conditions.definitions.cache_clear()
    monkeypatch.setattr(conditions, "read_table", lambda file: [{"name": "potassium", "condition": "sodium"}])
    with pytest.raises(MedAnalyzrError, match="potassium: this name is taken"):
        conditions.definitions()
    monkeypatch.undo()
    assert "corrige" in conditions.definitions()


def test_every_row_and_definition_compiles_and_every_id_it_replaces_exists():
    rows = patterns.rows()
    known = {row.id for row in rows} | {row.id.rstrip("abcdefgh") for row in rows} | set(references.analytes())
    assert len(rows) > 300
    assert not {(row.id, name) for row in rows for name in row.replaces if name not in known}
    for name in conditions.definitions():
        conditions.definition(name)
    for table in ("conditional_intervals", "critical_exceptions"):
        assert all(expression(row["condition"], table) for row in references.read_table(table))


def test_every_source_of_a_row_is_known():
    files = [path.stem for path in references.TABLES.glob("*.csv")]
    named = {
        (file, key)
        for file in files
        for row in references.read_table(file)
        if file not in ("sources", "loinc", "bundled_values") and row.get("source")
        for key in row["source"].split(";")
    }
    unknown = {(file, key) for file, key in named if key not in references.sources() and not key.startswith("(not sourced")}
    assert not unknown


def test_every_critical_limit_has_a_row_that_serves_it():
    """For each limit alone, on its value and without an interval: the call, a next step of its own, and a phrase."""
    for analyte, limits in references._critical().items():
        for bound in (limits.low, limits.high):
            if bound is None:
                continue
            known = references.analytes()[analyte]
            text = f"{known.name} : {bound:.{known.decimals}f} {known.unit}".replace(".", ",")
            answer = interpret(parse_report(f"Patient : homme, 40 ans\n{text}"))
            assert "indéterminé, critique" in answer, answer
            assert "prévenir le médecin sans délai (" in answer and " ; " in answer.splitlines()[-1], answer
            assert "contrôler sans délai (" not in answer and "dans les intervalles" not in answer, answer
