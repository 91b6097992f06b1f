"""What the rules must say, case by case, on both sides of every threshold. Shared by test_rules and test_mutations.

`expected_limits.csv` holds the intervals and critical limits a second time, copied from their sources; the conversion
factors below are copied likewise.
"""

import csv
from pathlib import Path

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
    ("TSH : <1,0 mUI/L (0,40 - 4,00)", "F", "valeur exacte"),
    ("Glycémie : 1,10 furlong/L (3,9 - 5,5 mmol/L)", "F", "unité commune"),
    ("Index d'hémolyse : 12 (≤ 20)", "F", ""),
]

CRITICAL = [
    ("Potassium : 6,8 mmol/L (3,5 - 5,0)", True),
    ("Potassium : 6,2 mmol/L (3,5 - 5,0)", True),
    ("Potassium : 6,1 mmol/L (3,5 - 5,0)", False),
    ("Potassium : 2,8 mmol/L (3,5 - 5,0)", True),
    ("Potassium : >6,2 mmol/L (3,5 - 5,0)", True),
    ("Potassium : <6,2 mmol/L (3,5 - 5,0)", False),
    ("Potassium : >2,8 mmol/L (3,5 - 5,0)", False),
    ("Potassium : 6,8 (3,5 - 5,0)", False),
    ("Hémoglobine : 6,5 g/dL (12,0 - 16,0)", True),
    ("Glycémie : 0,45 g/L (0,70 - 0,99)", True),
    ("Hémoglobine : 65 ng/L (120 - 160)", False),
    ("Hématies : 1,00 T/L (4,20 - 5,20)", False),
]

COMPARED_WITH_CRITICAL = [
    ("Potassium : 6,8 mmol/L (3,5 - 5,0)", "critique 6,2 ≤ 6,8"),
    ("Potassium : 6,2 mmol/L (3,5 - 5,0)", "critique 6,2 ≤ 6,2"),
    ("Potassium : 5,4 mmol/L (3,5 - 5,0)", "critique 6,2 > 5,4"),
    ("Potassium : 2,8 mmol/L (3,5 - 5,0)", "critique 2,8 ≥ 2,8"),
    ("Potassium : 3,4 mmol/L (3,5 - 5,0)", "critique 2,8 < 3,4"),
    ("Potassium : 4,2 mmol/L (3,5 - 5,0)", ""),
    ("Potassium : 4,2 mmol/L", "critique 2,8 < 4,2 < 6,2"),
    ("Potassium : 6,8 mmol/L", "critique 6,2 ≤ 6,8"),
    ("Urée : 6,0 mmol/L", "critique 6,0 < 37,1"),
    ("Albumine : 3,5 g/dL", "critique 20 < 35 g/L"),
    ("Potassium : 2,1 mmol/L (1,0 - 5,0)", "critique 2,8 ≥ 2,1"),
    ("Potassium : >7,0 mmol/L (3,5 - 5,0)", "critique 6,2 ≤ 7,0"),
    ("Potassium : >5,5 mmol/L (3,5 - 5,0)", ""),
    ("Potassium : >5,5 mmol/L", ""),
    ("Glycémie : <20 mg/dL", "critique 2,6 ≥ 1,1 mmol/L"),
    ("Hémoglobine : 6,5 g/dL (12,0 - 16,0)", "critique 66 ≥ 65 g/L"),
    ("Glycémie : 1,30 g/L (0,70 - 0,99)", "critique 26,9 > 7,2 mmol/L"),
    ("CRP : 12 mg/L (≤ 5)", "critique 300 > 12"),
    ("Hématies : 1,00 T/L (4,20 - 5,20)", ""),
    ("Index d'hémolyse : 32 (≤ 20)", ""),
]

GAS = "pH : {} (7,35 - 7,45)\nPaCO2 : {} mmHg (35 - 45)\nBicarbonates artériels : {} mmol/L (22,0 - 26,0)"
GAP = "Sodium : {} mmol/L (135 - 145)\nChlorures : {} mmol/L (95 - 105)\nBicarbonates : {} mmol/L (22 - 30)"
CALCIUM = "Calcium : {} mmol/L (2,20 - 2,60)\nAlbumine : {} g/L (5 - 50)"
THYROID = "TSH : {} mUI/L (0,40 - 4,00)\nT4 libre : {} pmol/L (10,0 - 23,0)"
COUNT = "Hb : 110 g/L (120 - 160)\nVGM : {} fL (80 - 100)"
CAUSE = COUNT + "\nFerritine : {} µg/L (15 - 150)\nCRP : {} mg/L (≤ 5)"
IRON = "Ferritine : {} µg/L (15 - 150)\nTransferrine : {} g/L (2,00 - 4,00)\nSaturation de la transferrine : {} % (20 - 40)"
POTASSIUM = "Potassium : {} mmol/L (3,5 - 5,0)"
LIVER = "PAL : {} UI/L (30 - 120)\nGGT : {} UI/L (≤ 38)"
FASTING, LOADED = "Glycémie : {} mmol/L (3,9 - 5,5)", "HGPO 2 h : {} mmol/L (≤ 7,7)"

PATTERNS = [
    (COUNT.format("79,9"), "anémie microcytaire"),
    (COUNT.format("80"), "anémie normocytaire"),
    (COUNT.format("100"), "anémie normocytaire"),
    (COUNT.format("100,1"), "anémie macrocytaire"),
    ("Hb : 110 g/L (120 - 160)", "anémie"),
    ("Hb : 161 g/L (120 - 160)", "hémoglobine élevée"),
    (CAUSE.format("70", "8", "3"), "anémie microcytaire compatible avec une carence martiale"),
    (CAUSE.format("70", "80", "50"), "anémie microcytaire compatible avec une inflammation ; syndrome inflammatoire"),
    (
        CAUSE.format("90", "200", "50"),
        "anémie normocytaire compatible avec une inflammation ; hyperferritinémie ; syndrome inflammatoire",
    ),
    (CAUSE.format("110", "80", "50"), "anémie macrocytaire ; syndrome inflammatoire"),
    ("Plaquettes : 149 G/L (150 - 400)", "thrombopénie"),
    ("Plaquettes : 401 G/L (150 - 400)", "thrombocytose"),
    ("Leucocytes : 3,9 G/L (4,0 - 10,0)", "leucopénie"),
    ("Leucocytes : 10,1 G/L (4,0 - 10,0)", "hyperleucocytose"),
    (IRON.format("14", "3,00", "25"), "réserves en fer basses"),
    (IRON.format("20", "4,01", "19"), "réserves en fer basses"),
    (IRON.format("20", "3,00", "19"), "fer peu disponible"),
    (IRON.format("151", "3,00", "41"), "surcharge en fer possible"),
    (IRON.format("151", "3,00", "30"), "hyperferritinémie"),
    (IRON.format("151", "1,80", "15"), "fer peu disponible ; hyperferritinémie"),
    ("Sodium : 134 mmol/L (135 - 145)", "hyponatrémie"),
    ("Sodium : 146 mmol/L (135 - 145)", "hypernatrémie"),
    (POTASSIUM.format("3,4"), "hypokaliémie"),
    (POTASSIUM.format("5,49"), "hyperkaliémie"),
    (POTASSIUM.format("5,5"), "hyperkaliémie légère"),
    (POTASSIUM.format("5,99"), "hyperkaliémie légère"),
    (POTASSIUM.format("6,0"), "hyperkaliémie modérée"),
    (POTASSIUM.format("6,49"), "hyperkaliémie modérée"),
    (POTASSIUM.format("6,5"), "hyperkaliémie sévère"),
    (POTASSIUM.format(">6,5"), "hyperkaliémie"),
    (CALCIUM.format("2,19", "40"), "hypocalcémie"),
    (CALCIUM.format("2,61", "40"), "hypercalcémie"),
    (CALCIUM.format("2,10", "39,9"), "hypocalcémie (calcium corrigé 2,10 mmol/L)"),
    (CALCIUM.format("2,10", "10"), "hypercalcémie (calcium corrigé 2,85 mmol/L)"),
    (CALCIUM.format("1,95", "30"), "calcium bas par hypoalbuminémie (calcium corrigé 2,20 mmol/L)"),
    (CALCIUM.format("2,35", "30"), ""),
    (GAP.format("140", "104", "20"), "bicarbonates bas à trou anionique normal (16)"),
    (GAP.format("140,1", "104", "20"), "bicarbonates bas à trou anionique élevé (16)"),
    (GAP.format("140", "100", "24"), ""),
    (GAS.format("7,30", "25", "10,0"), "acidose métabolique"),
    (GAS.format("7,30", "25,01", "10,0"), "acidose métabolique avec acidose respiratoire associée"),
    (GAS.format("7,30", "21", "10,0"), "acidose métabolique"),
    (GAS.format("7,30", "20,99", "10,0"), "acidose métabolique avec alcalose respiratoire associée"),
    (GAS.format("7,34", "46", "24,0"), "acidose respiratoire"),
    (GAS.format("7,46", "40", "26,1"), "alcalose métabolique"),
    (GAS.format("7,46", "34", "24,0"), "alcalose respiratoire"),
    (GAS.format("7,40", "40", "24,0"), ""),
    ("PaO2 : 80 mmHg (80 - 100)", ""),
    ("PaO2 : 79,9 mmHg (80 - 100)", "hypoxémie modérée"),
    ("PaO2 : 60 mmHg (80 - 100)", "hypoxémie modérée"),
    ("PaO2 : 59,9 mmHg (80 - 100)", "hypoxémie moyenne"),
    ("PaO2 : 40 mmHg (80 - 100)", "hypoxémie moyenne"),
    ("PaO2 : 39,9 mmHg (80 - 100)", "hypoxémie sévère"),
    ("Lactate : 2,1 mmol/L (0,5 - 2,0)", "hyperlactatémie"),
    ("TP : 69 % (70 - 100)", "TP abaissé"),
    ("INR : 1,21 (0,80 - 1,20)", "TP abaissé"),
    ("Fibrinogène : 1,99 g/L (2,00 - 4,00)", "hypofibrinogénémie"),
    ("Fibrinogène : 4,01 g/L (2,00 - 4,00)", "fibrinogène élevé"),
    ("D-dimères : 501 µg/L (≤ 500)", "D-dimères élevés"),
    ("CRP : 6 mg/L (≤ 5)\nFibrinogène : 4,01 g/L (2,00 - 4,00)", "syndrome inflammatoire"),
    ("CRP : 3 mg/L (≤ 5)\nVS : 30 mm/h (≤ 20)", "VS élevée à CRP normale"),
    ("VS : 30 mm/h (≤ 20)", "VS élevée"),
    ("Procalcitonine : 0,51 ng/mL (≤ 0,50)", "procalcitonine élevée, infection bactérienne possible"),
    (THYROID.format("9,00", "8,0"), "hypothyroïdie avérée"),
    (THYROID.format("9,00", "15,0"), "hypothyroïdie fruste"),
    (THYROID.format("<0,01", "30,0"), "hyperthyroïdie avérée"),
    (THYROID.format("0,10", "15,0"), "hyperthyroïdie fruste"),
    (THYROID.format("0,10", "8,0"), "atteinte centrale ou affection intercurrente"),
    ("TSH : 9,00 mUI/L (0,40 - 4,00)", "TSH élevée"),
    ("TSH : 0,10 mUI/L (0,40 - 4,00)", "TSH basse"),
    ("ASAT : 36 UI/L (≤ 35)", "cytolyse"),
    ("ASAT : 350 UI/L (≤ 35)", "cytolyse"),
    ("ASAT : 350,1 UI/L (≤ 35)", "cytolyse majeure"),
    ("ALAT : 350,1 UI/L (≤ 35)", "cytolyse majeure"),
    (LIVER.format("180", "39"), ""),
    (LIVER.format("180,1", "39"), "cholestase"),
    (LIVER.format("181", "38"), "PAL élevée à GGT normale"),
    ("PAL : 130 UI/L (30 - 120)", "PAL élevée"),
    ("Créatinine : 150 µmol/L (60 - 115)", "créatinine élevée"),
    ("DFG : 60 mL/min/1,73 m² (≥ 90)", ""),
    ("Créatinine : 150 µmol/L (60 - 115)\nDFG : 44 mL/min/1,73 m² (≥ 90)", "DFG abaissé (30 ≤ 44 < 45), stade G3b"),
    ("DFG : 59,9 mL/min/1,73 m² (≥ 90)", "DFG abaissé (45 ≤ 59,9 < 60), stade G3a"),
    ("Rapport kappa/lambda : 1,66 (0,26 - 1,65)", "excès de chaînes légères kappa"),
    ("Rapport kappa/lambda : 0,25 (0,26 - 1,65)", "excès de chaînes légères lambda"),
    (FASTING.format("7,0"), "glycémie compatible avec un diabète"),
    ("Glycémie : 1,26 g/L (0,70 - 0,99)", "glycémie compatible avec un diabète"),
    ("Glycémie : 1,25 g/L (0,70 - 0,99)", "hyperglycémie modérée à jeun"),
    (FASTING.format("6,99"), "hyperglycémie modérée à jeun"),
    (FASTING.format("6,1"), "hyperglycémie modérée à jeun"),
    (FASTING.format("6,09"), "glycémie au-dessus de l'intervalle"),
    (FASTING.format("3,8"), "hypoglycémie"),
    (LOADED.format("11,1"), "HGPO compatible avec un diabète"),
    (LOADED.format("11,09"), "intolérance au glucose"),
    (LOADED.format("7,8"), "intolérance au glucose"),
    (LOADED.format("7,79"), ""),
    ("Cholestérol total : 5,21 mmol/L (4,10 - 5,20)", "hypercholestérolémie"),
    ("Triglycérides : 1,71 mmol/L (0,40 - 1,70)", "hypertriglycéridémie"),
]

# The last line of the answer, where a threshold decides it.
NEXT_STEPS = [
    ("DFG : 29,9 mL/min/1,73 m² (≥ 90)", "Suite : avis néphrologique."),
    ("DFG : 30 mL/min/1,73 m² (≥ 90)", "Suite : contrôler le DFG et l'albuminurie à 3 mois."),
    (
        GAP.format("140", "100", "20"),
        "Suite : prévenir le médecin sans délai (trou anionique) ; faire des gaz du sang et doser le lactate.",
    ),
    (GAP.format("139,9", "100", "20"), "Suite : faire des gaz du sang et doser le lactate."),
    ("Potassium : 4,1", "Suite : demander l'intervalle et l'unité."),
]

STAGES = [
    ("G1", 90),
    ("G2", 89.9),
    ("G2", 60),
    ("G3a", 59.9),
    ("G3a", 45),
    ("G3b", 44.9),
    ("G3b", 30),
    ("G4", 29.9),
    ("G4", 15),
    ("G5", 14.9),
]

CONVERSIONS = {
    ("bilirubine_totale", "mg/dL"): 17.1, ("bilirubine_totale", "mg/L"): 1.71, ("creatinine", "mg/dL"): 88.4,
    ("creatinine", "mg/L"): 8.84, ("glucose", "mg/dL"): 0.0555, ("glucose", "g/L"): 5.551, ("hgpo_2h", "mg/dL"): 0.0555,
    ("cholesterol", "mg/dL"): 0.02586, ("cholesterol", "g/L"): 2.586, ("hdl", "g/L"): 2.586, ("ldl", "g/L"): 2.586,
    ("triglycerides", "mg/dL"): 0.0113, ("triglycerides", "g/L"): 1.13, ("uree", "g/L"): 16.65, ("calcium", "mg/dL"): 0.2495,
    ("calcium", "mg/L"): 0.02495, ("phosphore", "mg/L"): 0.03229, ("acide_urique", "mg/L"): 5.948, ("fer", "µg/dL"): 0.1791,
    ("albumine", "g/dL"): 10, ("proteines", "g/dL"): 10, ("hb", "g/dL"): 10, ("kappa_libre", "mg/dL"): 10,
    ("lambda_libre", "mg/dL"): 10, ("crp", "mg/dL"): 10, ("ferritine", "ng/mL"): 1, ("fibrinogene", "mg/dL"): 0.01,
    ("lactate", "mg/dL"): 0.111, ("paco2", "kPa"): 7.5006, ("pao2", "kPa"): 7.5006,
}  # fmt: skip


def expected_limits() -> list[dict[str, str]]:
    """The rows of expected_limits.csv: table (interval or critical), analyte, sex, low, high ("" for none)."""
    with open(Path(__file__).with_name("expected_limits.csv"), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ckd_epi_by_hand(creatinine: float, age: float, sex: str) -> float:
    """CKD-EPI 2009 as the four lines of the published table, creatinine in mg/dL: 141 or 144, 0.9 or 0.7."""
    mg = creatinine / 88.4
    if sex == "F":
        return 144 * (mg / 0.7) ** (-0.329 if mg <= 0.7 else -1.209) * 0.993**age
    return 141 * (mg / 0.9) ** (-0.411 if mg <= 0.9 else -1.209) * 0.993**age


def check(rules, references) -> None:
    """Every case above against the given modules.

    Raises:
        AssertionError: one of them says otherwise.
    """
    from medanalyzr.lab.report import parse_line, parse_report

    for line, expected in FLAGS:
        assert rules.flag(parse_line(line)) == expected, line
    for line, sex, expected in MISSING:
        assert rules.missing(parse_line(line), sex) == expected, line
    for line, expected in CRITICAL:
        assert rules.is_critical(parse_line(line)) is expected, line
    for line, expected in COMPARED_WITH_CRITICAL:
        assert rules.critical_comparison(parse_line(line)) == expected, line
    for report, expected in PATTERNS:
        assert " ; ".join(p.name for p in rules.patterns(parse_report(report))) == expected, report
    for report, expected in NEXT_STEPS:
        assert rules.interpret(parse_report(report)).splitlines()[-1] == expected, report
    for stage, rate in STAGES:
        assert rules.dfg_stage(rate)[1] == stage, rate
    for creatinine, age, sex in ((44, 30, "F"), (120, 55, "F"), (44, 30, "H"), (120, 55, "H"), (500, 80, "H")):
        expected = ckd_epi_by_hand(creatinine, age, sex)
        assert abs(rules.ckd_epi_2009(creatinine, age, sex) / expected - 1) < 1e-9, (creatinine, age, sex)
    check_tables(references)


def check_tables(references) -> None:
    """Intervals, critical limits and conversions of `references` against the second copies."""
    seen = 0
    for row in expected_limits():
        low, high = (float(row[side]) if row[side] else None for side in ("low", "high"))
        for sex in row["sex"]:
            if row["table"] == "interval":
                found = references.reference_interval(row["analyte"], sex)
            else:
                found = references.critical_limits(row["analyte"])
            assert (found.low, found.high) == (low, high), row
        seen += 1
    assert seen == len(references.read_table("reference_intervals")) + len(references.read_table("critical_values"))
    assert {key: c.factor for key, c in references.conversions().items()} == CONVERSIONS
