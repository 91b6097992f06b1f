"""What the rules must say, case by case, where no row of a table decides. Shared by test_rules and test_mutations.

`expected_limits.csv` holds the numbers of the tables a second time, copied from the clinical specification.
"""

import ast
import csv
import re
from pathlib import Path

from medanalyzr.lab.report import Report, parse_line, parse_report

FLAGS = [
    ("Potassium : 3,4 mmol/L (3,5 - 5,0)", "bas"),
    ("Potassium : 3,5 mmol/L (3,5 - 5,0)", "normal"),
    ("Potassium : 5,0 mmol/L (3,5 - 5,0)", "normal"),
    ("Potassium : 5,1 mmol/L (3,5 - 5,0)", "élevé"),
    ("Potassium : 5,1 (3,5 - 5,0)", "élevé"),
    ("ASAT : 35 UI/L (≤ 35)", "normal"),
    ("DFG : 89 mL/min/1,73 m² (≥ 90)", "bas"),
    ("DFG : 90 mL/min/1,73 m² (≥ 90)", "normal"),
    ("Potassium : 4,1 mmol/L", "indéterminé"),
    ("TSH : <0,1 mUI/L (0,40 - 4,00)", "bas"),
    ("TSH : <0,40 mUI/L (0,40 - 4,00)", "bas"),
    ("TSH : <1,0 mUI/L (0,40 - 4,00)", "indéterminé"),
    ("TSH : >1,0 mUI/L (0,40 - 4,00)", "indéterminé"),
    ("TSH : >4,00 mUI/L (0,40 - 4,00)", "élevé"),
    ("TSH : >150 mUI/L (0,40 - 4,00)", "élevé"),
    ("CRP : <5 mg/L (≤ 5)", "normal"),
    ("CRP : <6 mg/L (≤ 5)", "indéterminé"),
    ("CRP : <0,6 mg/L (0,0 - 5,0)", "normal"),
    ("Excès de base : <-2,0 mmol/L (-2,0 - 2,0)", "bas"),
    ("DFG : >90 mL/min/1,73 m² (≥ 90)", "normal"),
    ("DFG : >60 mL/min/1,73 m² (≥ 90)", "indéterminé"),
    ("Glycémie : 1,10 g/L (0,70 - 0,99)", "élevé"),
    ("Glycémie : 0,99 g/L (3,9 - 5,5 mmol/L)", "normal"),
    ("Glycémie : 1,10 g/L (3,9 - 5,5 mmol/L)", "élevé"),
    ("Glycémie : 5,2 mmol/L (0,70 - 0,99 g/L)", "normal"),
    ("Glycémie : 1,10 furlong/L (3,9 - 5,5 mmol/L)", "indéterminé"),
    ("Index : 1,10 g/L (3,9 - 5,5 mmol/L)", "indéterminé"),
]

MISSING = [
    ("Potassium : 4,1 mmol/L (3,5 - 5,0)", "F", ""),
    ("Potassium : 4,1 mmol/L", "F", "intervalle"),
    ("Potassium : 4,1", "F", "intervalle et unité"),
    ("Potassium : 4,1 (3,5 - 5,0)", "F", "unité"),
    ("INR : 1,10 (0,80 - 1,20)", "F", ""),
    ("Hb : 125 g/L", None, "sexe"),
    ("Hb : 125 g/L", "F", "intervalle"),
    ("TSH : <1,0 mUI/L (0,40 - 4,00)", "F", "mesure"),
    ("TSH : <0,1 mUI/L (0,40 - 4,00)", "F", ""),
    ("Glycémie : 1,10 furlong/L (3,9 - 5,5 mmol/L)", "F", "unité commune"),
    ("Index d'hémolyse : 12 (≤ 20)", "F", ""),
]

CRITICAL = [
    ("Potassium : 6,8 mmol/L (3,5 - 5,0)", True),
    ("Potassium : 6,0 mmol/L (3,5 - 5,0)", True),
    ("Potassium : 5,9 mmol/L (3,5 - 5,0)", False),
    ("Potassium : 2,8 mmol/L (3,5 - 5,0)", True),
    ("Potassium : 2,9 mmol/L (3,5 - 5,0)", False),
    ("Potassium : 6,0 mmol/L", True),
    ("Potassium : >6,0 mmol/L (3,5 - 5,0)", True),
    ("Potassium : <6,0 mmol/L (3,5 - 5,0)", False),
    ("Potassium : >2,8 mmol/L (3,5 - 5,0)", False),
    ("Potassium : <2,8 mmol/L (3,5 - 5,0)", True),
    ("Potassium : 6,8 (3,5 - 5,0)", False),
    ("Hémoglobine : 7,0 g/dL (12,0 - 16,0)", True),
    ("Hémoglobine : 7,1 g/dL (12,0 - 16,0)", False),
    ("Glycémie : 0,50 g/L (0,70 - 0,99)", True),
    ("Hémoglobine : 65 ng/L (120 - 160)", False),
    ("Hématies : 1,00 T/L (4,20 - 5,20)", False),
    ("Index d'hémolyse : 32 (≤ 20)", False),
]

COMPARED_WITH_CRITICAL = [
    ("Potassium : 6,8 mmol/L (3,5 - 5,0)", "critique 6,0 ≤ 6,8"),
    ("Potassium : 6,0 mmol/L (3,5 - 5,0)", "critique 6,0 ≤ 6,0"),
    ("Potassium : 5,4 mmol/L (3,5 - 5,0)", "appel dès 6,0"),
    ("Potassium : 2,8 mmol/L (3,5 - 5,0)", "critique 2,8 ≥ 2,8"),
    ("Potassium : 3,4 mmol/L (3,5 - 5,0)", "appel sous 2,8"),
    ("Potassium : 4,2 mmol/L (3,5 - 5,0)", ""),
    ("Potassium : 4,2 mmol/L", "appel sous 2,8 ou dès 6,0"),
    ("Potassium : 6,8 mmol/L", "critique 6,0 ≤ 6,8"),
    ("Urée : 6,0 mmol/L", "appel dès 30,0"),
    ("Albumine : 3,0 g/dL (3,5 - 5,2)", "appel sous 20 g/L"),
    ("Potassium : 2,1 mmol/L (1,0 - 5,0)", "critique 2,8 ≥ 2,1"),
    ("Potassium : >7,0 mmol/L (3,5 - 5,0)", "critique 6,0 ≤ 7,0"),
    ("Potassium : >5,5 mmol/L (3,5 - 5,0)", "appel dès 6,0"),
    ("Glycémie : <20 mg/dL", "critique 2,8 ≥ 1,1 mmol/L"),
    ("Hémoglobine : 6,5 g/dL (12,0 - 16,0)", "critique 70 ≥ 65 g/L"),
    ("Glycémie : 1,30 g/L (0,70 - 0,99)", "appel dès 20,0 mmol/L"),
    ("Potassium : 5,4 (3,5 - 5,0)", ""),
    ("Hématies : 1,00 T/L (4,20 - 5,20)", ""),
    ("Index d'hémolyse : 32 (≤ 20)", ""),
]

# Whole answers: report, conclusion, next steps ("" for none).
ANSWERS = [
    ("Sodium : 140 mmol/L (135 - 145)", "valeurs dans les intervalles", ""),
    ("Sodium : 140 mmol/L", "intervalle manquant : sodium", "demander l'intervalle du laboratoire"),
    ("Hb : 125 g/L", "sexe manquant : Hb", "préciser le sexe"),
    ("CRP : 3 (≤ 5)", "unité manquante : CRP ; valeurs dans les intervalles", "demander l'unité avant toute conclusion"),
    (
        "TSH : <1,0 mUI/L (0,40 - 4,00)",
        "TSH : limite de mesure de part et d'autre de la borne, non classable",
        "contrôler par une méthode plus sensible si la clinique le demande",
    ),
    ("CRP : <3 mg/L (≤ 5)", "valeurs dans les intervalles", ""),
    ("Hématies : 3,10 T/L (4,20 - 5,20)\nZinc : 20,1 µmol/L (11,0 - 18,0)", "autres valeurs hors intervalle : hématies basses, zinc élevé", ""),
    # Children: 17 years and below, the table of adults is not used.
    (
        "Patient : fille, 17 ans\nHématies : 3,10 T/L\nZinc : 12,1 µmol/L",
        "intervalles de l'adulte non applicables avant 18 ans",
        "demander les intervalles du laboratoire pour l'âge",
    ),
    (
        "Patient : nourrisson (garçon), 8 mois\nZinc : 12,1 µmol/L\nSodium : 139 mmol/L (133 - 142)",
        "intervalles de l'adulte non applicables avant 18 ans : zinc ; autres valeurs dans les intervalles",
        "demander l'intervalle du laboratoire pour l'âge",
    ),
    (
        "Patient : garçon, 4 ans\nHémoglobine : 102 g/L (115 - 145)\nPAL : 420 UI/L (140 - 380)",
        "autres valeurs hors intervalle : hémoglobine basse, PAL élevées",
        "faire interpréter par un pédiatre",
    ),
    ("Patient : femme, 18 ans\nZinc : 12,1 µmol/L", "intervalle manquant : zinc", "demander l'intervalle du laboratoire"),
    (
        "Patient : garçon, 4 ans\nLactate : 4,2 mmol/L (0,5 - 2,0)",
        "autres valeurs hors intervalle : lactate élevé",
        "prévenir le médecin sans délai (lactate 4,2 mmol/L) ; contrôler sans délai (lactate)",
    ),
    # Pregnancy.
    (
        "Patient : femme enceinte, 31 ans\nTSH : 3,20 mUI/L\nZinc : 8,1 µmol/L (11,0 - 18,0)",
        "intervalles hors grossesse non applicables : TSH ; autres valeurs hors intervalle : zinc bas",
        "demander les intervalles du trimestre (TSH) ; interpréter selon le terme de la grossesse",
    ),
    # Other specimens.
    (
        "Zinc : 12,1 µmol/L (11,0 - 18,0)\nURINES\nCréatinine : 9400 µmol/L\nPotassium : 61 mmol/L",
        "valeurs sanguines dans les intervalles ; résultats non sanguins non interprétés ici (urines)",
        "",
    ),
    (
        "LCR\nProtéines : 1,20 g/L (0,15 - 0,45)",
        "résultats non sanguins non interprétés ici (LCR) ; autres valeurs hors intervalle : protéines (LCR) élevées",
        "",
    ),
    # Haemolysis takes potassium, LDH and ASAT away from every other pattern.
    (
        "Prélèvement hémolysé\nPotassium : 5,9 mmol/L (3,5 - 5,0)",
        "potassium non interprétable : prélèvement hémolysé",
        "refaire le prélèvement (potassium)",
    ),
    (
        "Prélèvement hémolysé\nPotassium : 6,0 mmol/L (3,5 - 5,0)",
        "hyperkaliémie non interprétable, prélèvement hémolysé",
        "prévenir le médecin et refaire le potassium sans attendre",
    ),
    (
        "Prélèvement hémolysé\nPotassium : 6,0 mmol/L (3,5 - 5,0)\nLactate : 5,0 mmol/L (0,5 - 2,0)",
        "hyperkaliémie non interprétable, prélèvement hémolysé ; hyperlactatémie sévère",
        "prévenir le médecin sans délai (potassium 6,0 mmol/L, lactate 5,0 mmol/L) ; refaire le potassium sans attendre ; "
        "chercher choc, sepsis, ischémie, metformine",
    ),
    (
        "Index d'hémolyse : 80 (≤ 20)\nPotassium : 3,4 mmol/L (3,5 - 5,0)",
        "hypokaliémie malgré l'hémolyse, sous-estimée ; autres valeurs hors intervalle : index d'hémolyse élevé",
        "refaire le prélèvement et doser le magnésium",
    ),
    (
        "Prélèvement hémolysé\nPotassium : 2,8 mmol/L (3,5 - 5,0)",
        "hypokaliémie malgré l'hémolyse, sous-estimée",
        "prévenir le médecin sans délai (potassium 2,8 mmol/L) ; refaire le prélèvement et doser le magnésium",
    ),
    ("Hémolyse : absente\nZinc : 12,1 µmol/L (11,0 - 18,0)\nLDH : 200 UI/L (≤ 248)", "valeurs dans les intervalles", ""),
    ("Absence d'hémolyse\nLDH : 200 UI/L (≤ 248)", "valeurs dans les intervalles", ""),
    (
        "Sérum lactescent\nZinc : 12,1 µmol/L (11,0 - 18,0)",
        "résultats à lire avec l'interférence signalée (sérum lactescent) ; autres valeurs dans les intervalles",
        "contrôler à jeun ou par une autre méthode",
    ),
    (
        "Ferritine : non rendu, échantillon insuffisant\nZinc : 12,1 µmol/L (11,0 - 18,0)",
        "Ferritine non rendu (non rendu) ; valeurs dans les intervalles",
        "refaire le prélèvement (Ferritine)",
    ),
    # Impossible values.
    (
        "Potassium : 12,1 mmol/L (3,5 - 5,0)",
        "potassium : valeur impossible, saisie ou unité à vérifier",
        "prévenir le médecin sans délai (potassium 12,1 mmol/L) ; vérifier la saisie et l'unité",
    ),
]  # fmt: skip

# Findings as (rank, step), a report, and the steps that are due.
STEPS = [
    ([(3, "échographie"), (1, "ECG")], "", ["ECG", "échographie"]),
    ([(2, "bilan hépatique"), (2, "bilan hépatique, fibrinogène")], "", ["bilan hépatique, fibrinogène"]),
    ([(2, "bilan hépatique"), (3, "bilan hépatique, fibrinogène")], "", ["bilan hépatique", "bilan hépatique, fibrinogène"]),
    ([(2, "frottis et ECG"), (3, "ECG, frottis")], "", ["frottis et ECG"]),
    ([(2, "ECG"), (5, "règles de vie")], "", ["ECG"]),
    ([(3, "ECG"), (5, "règles de vie")], "", ["ECG", "règles de vie"]),
    ([(3, f"geste {i}") for i in range(4)] + [(4, "geste 4")], "", [f"geste {i}" for i in range(5)]),
    ([(3, f"geste {i}") for i in range(5)] + [(4, "geste 5")], "", [f"geste {i}" for i in range(5)]),
    ([(3, "ferritine, CRP, coefficient de saturation")], "CRP : 3 mg/L (≤ 5)", ["ferritine, coefficient de saturation"]),
    ([(3, "CRP, ferritine et frottis")], "CRP : 3 mg/L (≤ 5)\nFerritine : 80 µg/L (30 - 300)", ["frottis"]),
    ([(3, "CRP")], "CRP : 3 mg/L (≤ 5)", []),
    ([(3, "gaz du sang, lactate")], "pH : 7,40 (7,35 - 7,45)", ["lactate"]),
    ([(3, "TP sans délai, échographie")], "TP : 90 % (70 - 130)", ["échographie"]),
    ([(3, "contrôler TSH, T4 libre et T3 libre à 6 semaines")], "T4 libre : 14,0 pmol/L (12,0 - 22,0)", None),
    (
        [(3, "contrôler sans garrot, créatinine, revoir les AINS")],
        "Créatinine : 70 µmol/L (45 - 84)",
        ["contrôler sans garrot, revoir les AINS"],
    ),
    ([(3, "refaire le prélèvement (potassium, LDH et ASAT)")], "LDH : 200 UI/L (≤ 248)", None),
]

NAMES = [("SODIUM", "sodium"), ("PTHRP", "PTHRP"), ("Fer sérique", "fer sérique"), ("Hb", "Hb"), ("Potassium (K+)", "potassium"),
         ("T4 libre", "T4 libre"), ("PaCO2", "PaCO2"), ("Troponine I hs (Abbott)", "troponine I"), ("TSH us *", "TSH")]  # fmt: skip

EARLIER = [  # line, earlier value in the French unit, days since (the report is of 20/03/2039)
    ("Hémoglobine : 10,4 g/dL (13,0 - 17,0) antériorité : 13,1 (12/03/2039)", 131, 8),
    ("Hémoglobine : 104 g/L (130 - 170) ; précédent le 01/12/2038 : 131", 131, 109),
    ("Hémoglobine : 104 g/L (130 - 170) (ant. 131)", 131, None),
    ("Hémoglobine : 104 g/L (130 - 170)", None, None),
]


def said(answer: str, label: str) -> str:
    """What the answer says after `label`, without the full stop; "" where it has no such line."""
    lines = [line for line in answer.splitlines() if line.startswith(f"{label} : ")]
    return lines[0].removeprefix(f"{label} : ").removesuffix(".") if lines else ""


def expected_numbers() -> dict[tuple[str, str], str]:
    """The numbers of expected_limits.csv by table (interval, critical, conversion, analyte) and key, separated by spaces."""
    with open(Path(__file__).with_name("expected_limits.csv"), encoding="utf-8", newline="") as file:
        return {(row["table"], row["key"]): row["numbers"] for row in csv.DictReader(file)}


def ckd_epi_by_hand(creatinine: float, age: float, sex: str) -> float:
    """CKD-EPI 2009 as the four lines of the published table, creatinine in mg/dL: 141 or 144, 0.9 or 0.7."""
    mg = creatinine / 88.4
    if sex == "F":
        return 144 * (mg / 0.7) ** (-0.329 if mg <= 0.7 else -1.209) * 0.993**age
    return 141 * (mg / 0.9) ** (-0.411 if mg <= 0.9 else -1.209) * 0.993**age


def check(rules, facts) -> None:
    """Every case above against the given modules.

    Raises:
        AssertionError: one of them says otherwise.
    """
    for line, expected in FLAGS:
        assert facts.flag(parse_line(line)) == expected, line
    for line, sex, expected in MISSING:
        assert rules.missing(parse_line(line), sex) == expected, line
    for line, expected in CRITICAL:
        assert rules.is_critical(parse_line(line)) is expected, line
    for line, expected in COMPARED_WITH_CRITICAL:
        known = facts.Facts(Report(None, None, (parse_line(line),)))
        assert rules.critical_comparison(known.blood[0], known) == expected, line
    for creatinine, age, sex in ((44, 30, "F"), (120, 55, "F"), (44, 30, "H"), (120, 55, "H"), (500, 80, "H")):
        expected = ckd_epi_by_hand(creatinine, age, sex)
        assert abs(facts.ckd_epi_2009(creatinine, age, sex) / expected - 1) < 1e-9, (creatinine, age, sex)
    for report, conclusion, steps in ANSWERS:
        answer = rules.interpret(parse_report(report))
        assert (said(answer, "Conclusion"), said(answer, "Suite")) == (conclusion, steps), report
    check_steps(rules, facts)


def check_steps(rules, facts) -> None:
    """The merging of next steps, and what is read of earlier results."""
    for given, report, expected in STEPS:
        findings = [rules.patterns.Finding(rank, step=step) for rank, step in given]
        found = rules.patterns.next_steps(findings, facts.Facts(parse_report(report)))
        assert found == ([step for _, step in given] if expected is None else expected), given
    for name, expected in NAMES:
        assert facts.short_name(parse_line(f"{name} : 1,0 (1,0 - 2,0)")) == expected
    for line, value, days in EARLIER:
        known = facts.Facts(parse_report(f"Le 20/03/2039\n{line}"))
        assert (known.earlier("hb"), known.days_since("hb")) == (value and (value, value), days), line


def written(*numbers: float | None) -> str:
    """Numbers as expected_limits.csv has them."""
    return " ".join("" if number is None else f"{number:g}" for number in numbers)


def numbers_in(text: str) -> list[str]:
    """The numbers of a condition, as expected_limits.csv has them."""
    return [f"{float(number):g}" for number in re.findall(r"(?<![\w.{])\d+(?:\.\d+)?", text)]


def numbers_of_tables(references) -> dict[tuple[str, str], str]:
    """What `references` says now, in the form of `expected_numbers`."""
    found = {("interval", f"{a} {sex}"): written(b.low, b.high) for (a, sex), b in references._intervals().items()}
    found |= {("critical", a): written(b.low, b.high) for a, b in references._critical().items()}
    found |= {("conversion", f"{a} {u}"): written(c.factor, c.offset, c.decimals) for (a, u), c in references.conversions().items()}
    found |= {("analyte", a.id): str(a.decimals) for a in references.analytes().values()}
    for r in references.read_table("simulated_intervals"):
        ends = (float(r[end]) if r[end] else None for end in ("low", "high"))
        found["simulated", f"{r['who']} {r['analyte']} {r['sex']}"] = written(*ends)
    for r in references.read_table("conditional_intervals"):
        parts = [*numbers_in(r["condition"]), *numbers_in(r["low"]), "/", *numbers_in(r["high"])]
        found["conditional", f"{r['analyte']} {r['circumstance']} {r['sex']}"] = " ".join(parts)
    for file in sorted(path.stem for path in references.TABLES.glob("definitions*.csv")):
        defined = {r["name"]: numbers_in(r["condition"]) for r in references.read_table(file)}
        found |= {("definition", name): " ".join(numbers) for name, numbers in defined.items() if numbers}
    return found


def check_tables(references) -> None:
    """The numbers of every table of `references` against the second copies."""
    assert numbers_of_tables(references) == expected_numbers()


GAP = "Sodium : 140 mmol/L (135 - 145)\nChlorures : 100 mmol/L (98 - 107)\nBicarbonates : {} mmol/L (22 - 29)\nAlbumine : {} g/L (35 - 52)"
CALCIUM = "Calcium : {} mmol/L (2,20 - 2,60)\nAlbumine : {} g/L (35 - 52)"
# Names of definitions.csv: report, name, value.
DEFINED = [
    (CALCIUM.format("2,72", "28"), "corrige", 3.02),
    (CALCIUM.format("2,50", "39"), "corrige", 2.52),
    (CALCIUM.format("2,50", "40,5"), "corrige", 2.50),
    (CALCIUM.format("2,50", "10"), "corrige", 3.25),
    (CALCIUM.format("2,501", "35,1"), "corrige", 2.62),
    (CALCIUM.format("2,50", "20") + "\nCalcium corrigé : 2,91 mmol/L (2,20 - 2,60)", "corrige", 2.91),
    (GAP.format("23,5", "45"), "trou", 16),
    (GAP.format("24,55", "20"), "trou", 20),
    (GAP.format("24,45", "20"), "trou", 21),
    (GAP.format("24,55", "39,5"), "trou", 16),
    (GAP.format("24,45", "40,5"), "trou", 16),
    ("Trou anionique : 19 mmol/L (8 - 16)", "trou", 19),
]


def check_definitions(facts) -> None:
    """The names of definitions.csv that hold numbers."""
    for report, name, value in DEFINED:
        assert facts.Facts(parse_report(report)).defined(name) == (value, value), (report, name)


def expected_patterns() -> dict[str, dict[str, set[float]]]:
    """By pattern: the numbers its specification names (and those of its neighbours, `also`), and the ranks it may have."""
    with open(Path(__file__).with_name("expected_patterns.csv"), encoding="utf-8", newline="") as file:
        return {
            row["id"]: {
                "numbers": {float(n) for n in (row["numbers"] + " " + row["also_numbers"]).split()} | {0.0, 1.0},
                "ranks": {float(n) for n in (row["rank"] + " " + row["also_ranks"]).split()},
            }
            for row in csv.DictReader(file)
        }


def numbers_of_row(row: dict[str, str]) -> set[float]:
    """The numbers in the condition of a pattern row and in the expressions of its texts."""
    texts = [re.sub(r":\d$", "", part) for part in re.findall(r"\{([^{}]*)\}", row["wording"] + row["next_step"])]
    trees = [ast.parse(text.strip(), mode="eval") for text in (row["condition"], *texts)]
    constants = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {float(value) for value in constants if type(value) in (int, float)}


def check_row(row: dict[str, str], expected: dict[str, dict[str, set[float]]]) -> None:
    """One pattern row against `expected_patterns`."""
    known = expected[row["id"].rstrip("abcdefgh")]
    assert numbers_of_row(row) <= known["numbers"], row["id"]
    assert float(row["rank"]) in known["ranks"], row["id"]
