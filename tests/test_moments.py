"""Of which day a result is: those of another day, or of one that cannot be told, are neither read as today's nor verified."""

import pytest
from medanalyzr.inference.verify import verify
from medanalyzr.lab.reader import read_report
from medanalyzr.lab.reading.moments.days import before
from medanalyzr.lab.reading.moments.holding import EARLIER, OTHERS, UNSURE, WITHDRAWN, moments

OLD = ("Potassium : 7,1 mmol/L (3,5 - 5,1)", "Calcium : 1,70 mmol/L (2,20 - 2,60)")
NEW = ("Sodium : 139 mmol/L (136 - 145)", "Chlorures : 101 mmol/L (98 - 107)")
ANSWER = (
    "Potassium : 7,1 mmol/L (3,5 ≤ 5,1 < 7,1 ; critique 6,0 ≤ 7,1) : élevé, critique\n"
    "Calcium : 1,70 mmol/L (1,70 < 2,20 ≤ 2,60) : bas\n"
    "Sodium : 139 mmol/L (136 ≤ 139 ≤ 145) : normal\n"
    "Chlorures : 101 mmol/L (98 ≤ 101 ≤ 107) : normal"
)
EARLIER_HEADS = (
    "Antériorités", "Historique :", "--- Historique ---", "HISTORIQUE DES RÉSULTATS", "Résultats antérieurs", "Bilan précédent :",
    "Bilan de la veille", "Bilan d'hier :", "La veille", "J-1 :", "Il y a 3 mois", "Il y a un mois :", "Dernier bilan (octobre 2045)",
    "Pour mémoire", "Rappel :", "Rappel des résultats précédents", "Anciens résultats :", "Consultation précédente", "Bilan n-1",
    "Le mois dernier", "Bilan de la semaine dernière", "Ionogramme (antériorité)", "Antécédents biologiques :", "Préc. :",
    "Comparaison avec le bilan précédent", "Anciens résultats (labo extérieur, été 2045) :",
)  # fmt: skip
DATED_HEADS = (
    "Prélèvement du 02/03/2045", "Bilan du 02/03/2045 :", "02/03/2045", "Résultats du 2 mars 2045", "Mars 2045", "Le 2045-03-02 :",
    "Bilan de 2045", "Biologie (2045)", "Bilan du 02/03 :", "Nouveau bilan le 02/03/45",
)  # fmt: skip


def read(text):
    return [m.name for m in read_report(text).measurements]


def verified(text, answer=ANSWER):
    return [result.name for result in verify(text, answer).results if result.verified]


@pytest.mark.parametrize("head", [*EARLIER_HEADS, *DATED_HEADS])
def test_results_under_a_heading_of_another_day_are_not_read(head):
    top = ["Patient : M. EXEMPLE, 54 ans", "", "Bilan du 05/03/2046 :", *NEW, ""]
    below, above = "\n".join([*top, head, *OLD]), "\n".join([*top[:2], head, *OLD, "", *top[2:]])
    for text in (below, above, below.replace("Bilan du 05/03/2046 :", "Résultats de ce jour")):
        assert read(text) == verified(text) == ["Sodium", "Chlorures"]
        assert [u.why for u in read_report(text).unread] == [EARLIER] * 2


@pytest.mark.parametrize("head", EARLIER_HEADS)
def test_a_subheading_does_not_end_the_section_of_another_day(head):
    assert read("\n".join([*NEW, "", head, "BIOCHIMIE", *OLD])) == ["Sodium", "Chlorures"]


@pytest.mark.parametrize(
    "text",
    [
        "Hier : Potassium : 7,1 mmol/L (3,5 - 5,1)\nSodium : 139 mmol/L (136 - 145)",
        "Hier, potassium à 7,1 mmol/L. Ce jour, sodium à 139 mmol/L.",
        "Le 02/03/2045, potassium à 7,1 mmol/L. Le 05/03/2046, sodium à 139 mmol/L.",
        "Bilan du 02/03/2045 : potassium 7,1 mmol/L, calcium 1,70 mmol/L.\nBilan du 05/03/2046 : sodium 139 mmol/L.",
        "05/03/2046 : Sodium 139 mmol/L (136 - 145)\n02/03/2045 : Potassium 7,1 mmol/L (3,5 - 5,1)",
        "[05/03/46 08:00] Sodium 139 mmol/L (136 - 145)\n[02/03/46 19:22] Potassium 7,1 mmol/L (3,5 - 5,1)",
        "02/03/2045;Potassium;7,1;mmol/L;3,5 - 5,1\n05/03/2046;Sodium;139;mmol/L;136 - 145",
        "Potassium : 7,1 mmol/L (3,5 - 5,1) le 02/03/2045\nSodium : 139 mmol/L (136 - 145) le 05/03/2046",
        "Potassium : 7,1 mmol/L (3,5 - 5,1) [hier]\nSodium : 139 mmol/L (136 - 145)",
        "Potassium : 7,1 mmol/L (3,5 - 5,1) - résultat antérieur\nSodium : 139 mmol/L (136 - 145)",
        "Potassium (hier) : 7,1 mmol/L (3,5 - 5,1)\nSodium : 139 mmol/L (136 - 145)",
        "Potassium J-1 : 7,1 mmol/L (3,5 - 5,1)\nSodium : 139 mmol/L (136 - 145)",
        "Dernier potassium : 7,1 mmol/L (3,5 - 5,1)\nSodium : 139 mmol/L (136 - 145)",
        "J1 : potassium 7,1 mmol/L (3,5 - 5,1)\nJ3 : sodium 139 mmol/L (136 - 145)",
        "Lors de la précédente hospitalisation, potassium à 7,1 mmol/L. Ce jour, sodium à 139 mmol/L.",
        "Potassium 7,1 mmol/L hier, sodium 139 mmol/L ce jour.",
        "Bilan d'entrée : potassium 7,1 mmol/L, calcium 1,70 mmol/L. Bilan de sortie : sodium 139 mmol/L.",
        "ATCD : hyperkaliémie en 2043 (potassium 7,1 mmol/L).\nBILAN 23/03/2046\nSodium 139 mmol/L (136 - 145)",
        "Hospitalisé du 10/01/2046 au 22/01/2046 : potassium 7,1 mmol/L.\nConsultation du 11/04/2046, bilan du jour :\nSodium 139 mmol/L",
        "              Ce jour          Antériorités 14/02/46\nSodium        139 mmol/L       -\nPotassium     -                7,1 mmol/L",
        "De : Labo, le 20/04/2046\nSodium 139 mmol/L (136 - 145)\n> De : Labo, le 06/04/2046\n> Potassium 7,1 mmol/L (3,5 - 5,1)",
    ],
)
def test_results_of_another_day_beside_those_of_today(text):
    bare = "Potassium : 7,1 mmol/L (sans intervalle) : indéterminé, critique\nSodium : 139 mmol/L (sans intervalle) : indéterminé"
    assert "potassium" not in [name.lower() for name in read(text)]
    assert verified(text) + verified(text, bare) == ["Sodium"]


@pytest.mark.parametrize(
    "text",
    [
        "Né le 02/03/1990. Prescription du 01/02/2046. Édité le 06/03/2046\nPrélevé le 05/03/2046 à 08h10\n{}",
        "Hospitalisé le 02/03/2046 pour une pneumopathie.\nBIOLOGIE\n{}\nProchain contrôle le 12/04/2046",
        "{}\nLes antériorités sont disponibles sur demande.\nAucune antériorité connue.",
        "Dernières règles le 02/01/2046, dernière prise hier à 20 h\n{}",
        "Appendicectomie il y a 2 ans, fracture du poignet il y a 6 mois.\n{}",
        "Les résultats antérieurs sont rappelés pour mémoire.\n{}",
        "Biologie de ce matin :\n{}\nStable par rapport au contrôle précédent.",
        "L'échographie du 13/08/2044 est normale.\n{}",
        "Rappel des normes au verso\n{}\nValidé par Dr EXEMPLE le 06/03/2046",
        "Analyse          Résultat       Unité     Antériorité\n                                          04/09/2045\n{}",
    ],
)
def test_other_days_and_words_of_time_take_nothing_from_the_results(text):
    assert read(text.format("\n".join(NEW))) == ["Sodium", "Chlorures"]


def test_a_result_of_an_uncertain_day_makes_the_others_of_its_name_uncertain():
    text = "Potassium : 4,1 mmol/L (3,5 - 5,1)\nSodium : 139 mmol/L (136 - 145)\n\nContrôle du 05/03/2046 :\nPotassium : 7,1 mmol/L (3,5 - 5,1)"
    assert read(text) == ["Sodium"]
    assert [u.why for u in read_report(text).unread] == [UNSURE] * 2
    assert verified(text, ANSWER + "\nPotassium : 4,1 mmol/L (3,5 ≤ 4,1 ≤ 5,1) : normal") == ["Sodium"]


def test_an_earlier_value_beside_a_result_leaves_the_result():
    for earlier in (
        "(ant. 4,5)",
        "Antériorité : 4,5 (02/03/2045)",
        "[4,5 le 02/03/2045]",
        "02/03/2045 : 4,5",
    ):
        text = f"Prélevé le 05/03/2046\nPotassium : 7,1 mmol/L (3,5 - 5,1) {earlier}\nSodium : 139 mmol/L (136 - 145)"
        assert read(text) == ["Potassium", "Sodium"], earlier


def test_days_in_full_and_in_part_are_compared():
    assert before((2045, 3, 2), (2046, 3, 5)) and not before((2046, 3, 5), (2045, 3, 2))
    assert before((None, 3, 2), (2046, 3, 5)) and before((None, 3, 2), (None, 3, 5))
    assert before((2046, 3, 5), (2046, 3, 5)) is False and before((None, 3, 5), (2046, 3, 5)) is False
    assert before((2046, 3, None), (2046, 3, 5)) is None and before((None, 12, 28), (None, 1, 3)) is None


def test_a_text_of_very_many_moments_is_read_in_time():
    text = "\n".join(f"Le {n % 28 + 1:02}/03/2046 : Potassium : {n % 9},1 mmol/L (3,5 - 5,1), hier 4,2, J-1" for n in range(3000))
    assert moments(text).why(text.index("0,1"), text.index("0,1") + 3)


@pytest.mark.parametrize(
    "text",
    [
        "{}\nMÈRE : potassium 7,1 mmol/L, calcium 1,70 mmol/L",
        "{}\nSa voisine de chambre : potassium 7,1 mmol/L ; calcium 1,70 mmol/L.",
        "{}\n\nAutre patient : EXEMPLE Odette, 84 ans\nPotassium : 7,1 mmol/L (3,5 - 5,1)",
        "Sérum de contrôle (lot 4471) : potassium 7,1 mmol/L, calcium 1,70 mmol/L\n{}",
        "Exemple fictif : « potassium 7,1 mmol/L, calcium 1,70 mmol/L ».\n{}",
        "Seuils d'alerte : potassium 7,1 mmol/L\n{}",
        "Le traitement vise un potassium à 7,1 mmol/L et un calcium < 1,70 mmol/L.\n{}",
        "Hydratation : Ringer lactate (potassium 7,1 mmol/L, calcium 1,70 mmol/L).\n{}",
        "{}\nPotassium 7,1 -> 4,0 mmol/L",
    ],
)
def test_results_of_others_and_values_that_are_no_results_are_not_read(text):
    text = text.format("\n".join(NEW))
    bare = "Potassium : 7,1 mmol/L (sans intervalle) : indéterminé, critique\nCalcium : 1,70 mmol/L (sans intervalle) : indéterminé, critique"
    assert read(text) == ["Sodium", "Chlorures"]
    assert verified(text, bare) == []


def test_the_only_person_of_a_report_is_its_patient():
    text = "Bébé : Jules EXEMPLE, né ce jour\n" + "\n".join(NEW)
    assert read(text) == ["Sodium", "Chlorures"]


@pytest.mark.parametrize(
    "head",
    [
        "Bilan hépatique 02/03/2044", "NFS-plaquettes du 02/03/2044", "Kaliémie du 02/03/2044", "Labo Modèle 02/03/2044", "03/2044", "2044",
        "Consultation de cardiologie du 02/03/2044", "1er trimestre 2044", "2044.03.02", "J moins 7", "Vieux bilan", "Bilan d'avant",
        "Avant-dernier bilan", "Mars 44", "Semaine 12",
        "Bilan T0", "Bilan de lundi", "Bilan de l'été dernier", "Patient : M. AUTRE Jean, né le 01/01/1950", "Mme AUTRE",
        "Patient 2", "Chambre 12",
        "Frère du patient", "Témoin", "CQI", "Contrôle interne niveau 2", "Valeurs critiques", "Objectifs", "Exemple de résultat", "Père",
    ],
)  # fmt: skip
def test_a_short_line_that_may_part_other_results_from_those_above(head):
    text = "\n".join(["Bilan du 05/03/2046 :", *NEW, "", head, *OLD])
    assert read(text) == verified(text) == ["Sodium", "Chlorures"]


@pytest.mark.parametrize(
    "line",
    [
        "Chute hier au domicile.", "Vu hier aux urgences pour douleur.", "Patient opéré la veille d'une PTH.", "Ancien fumeur.",
        "Évolution : apyrétique depuis hier.", "Fracture ancienne du poignet.", "Nécrose antérieure à l'ECG.", "Médecin précédent : Dr X",
        "Rappel : HTA, diabète.", "Dernière consultation en septembre 2045.", "Patient sous perfusion de G5.", "Derniers résultats :",
        "Contrôle interne de qualité : conforme", "Laboratoire accrédité. Valeurs cibles : voir au verso.", "Voici mon dernier bilan :",
        "Dernier bilan (12/03/2046) :", "Prélèvement du 12/03/2046\nEdition du 20/05/2046", "<Dr Exemple>", "<image001.png>",
        "SELAS de biologie du Vieux Moulin", "Une femme de 54 ans a un magnésium à 0,80 mmol/L.",
        "Cf. compte rendu du 19/03/2044, dossier 82471.",
    ],
)  # fmt: skip
def test_lines_of_history_and_of_the_laboratory_are_no_headings_of_another_day(line):
    assert read("\n".join([line, *NEW]))[-2:] == ["Sodium", "Chlorures"]


def test_a_last_report_is_todays_unless_there_is_a_later_one():
    assert read("Avant-dernier bilan :\n" + OLD[0] + "\nDernier bilan :\n" + NEW[0]) == ["Sodium"]
    assert read("Dernier bilan :\n" + OLD[0] + "\nBilan de ce jour :\n" + NEW[0]) == ["Sodium"]


def test_days_without_a_year_and_years_without_a_day_before_results():
    for old, new in (("12/03", "14/03"), ("12/2044", "03/2046"), ("2044", "2046"), ("1er bilan", "2e bilan")):
        assert read(f"{old} :\n{OLD[0]}\n{new} :\n{NEW[0]}") == ["Sodium"], old


def test_the_sex_of_relatives_is_not_that_of_the_patient():
    for line in ("Patient de 80 ans vivant avec sa femme.", "Patient de 80 ans, accompagné de sa fille."):
        assert read_report(f"{line}\n{NEW[0]}").sex != "F"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("Potassium 7,1 mmol/L (3,5 - 5,1) chez son frère", OTHERS),
        ("Fœtus (cordocentèse) : potassium 7,1 mmol/L", OTHERS),
        ("Potassium 7,1 mmol/L (3,5 - 5,1) à l'époque", EARLIER),
        ("Potassium 7,1 mmol/L (3,5 - 5,1) au pic", EARLIER),
        ("Potassium : 7,1 mmol/L -> 4,0 mmol/L", EARLIER),
        ("Potassium 7,1 mmol/L (3,5 - 5,1) erroné", WITHDRAWN),
        ("Potassium 7,1 mmol/L (3,5 - 5,1), hémolysé, ininterprétable", WITHDRAWN),
        ("Potassium 7,1 mmol/L (3,5 - 5,1) [barré]", WITHDRAWN),
        ("Potassium 7,1 mmol/L (3,5 - 5,1), rectifié : 4,2", WITHDRAWN),
        ("Potassium 7,1 mmol/L (3,5 - 5,1) sur le premier tube", WITHDRAWN),
        ("Potassium 7,1 mmol/L (3,5 - 5,1), valeur aberrante", WITHDRAWN),
        ("Potassium 7,1 mmol/L (3,5 - 5,1) : à ignorer", WITHDRAWN),
        ("Potassium 7,1 mmol/L (3,5 - 5,1) douteux", WITHDRAWN),
        ("Potassium 7,1 mmol/L (3,5 - 5,1)\nContrôlé à 4,2 mmol/L", WITHDRAWN),
        ("Potassium 7,1 mmol/L (3,5 - 5,1)\nCommentaire : prélèvement contaminé par la perfusion", WITHDRAWN),
        ("Appel de 9h : ne pas tenir compte du potassium à 7,1 mmol/L.", WITHDRAWN),
    ],
)
def test_a_remark_behind_or_before_a_value_may_take_it_back(line, why):
    text = "\n".join((*NEW, line))
    bare = "Potassium : 7,1 mmol/L (sans intervalle) : indéterminé, critique"
    assert read(text) == ["Sodium", "Chlorures"] and verified(text) == ["Sodium", "Chlorures"] and verified(text, bare) == []
    at = text.index("7,1")
    assert moments(text).why(at, at + 3) == why and any(u["line"] == 3 for u in verify(text, "").unread)


@pytest.mark.parametrize(
    "line",
    [
        "Potassium : 7,1 mmol/L (3,5 - 5,1), contrôlé à 7,0 mmol/L sur le même tube",
        "Le potassium est contrôlé à 7,1 mmol/L.",
        "Potassium : 7,1 mmol/L (3,5 - 5,1)\nPlaquettes : annulé",
        "Potassium : 7,1 mmol/L (3,5 - 5,1)\nContrôlé à 7,2 mmol/L",
        "Potassium : 7,1 mmol/L (3,5 - 5,1)\nCe compte rendu annule et remplace le précédent.",
        "Potassium : 7,1 mmol/L (3,5 - 5,1)\nAbsence d'agrégats",
    ],
)
def test_words_of_correction_that_take_nothing_back(line):
    assert moments(line).why(line.index("7,1"), line.index("7,1") + 3) == ""


def test_a_value_with_thousands_is_found_in_its_section():
    for value in ("21 000", "21.000", "21000"):
        assert read(f"{NEW[0]}\n\nAntériorités\nPlaquettes : {value} /mm3 (150 000 - 400 000)\n") == ["Sodium"]


def test_days_with_spaces_and_patients_without_capitals_begin_sections():
    assert read(f"02 03 2045\n{OLD[0]}\n\n05 03 2046\n{NEW[0]}") == ["Sodium"]
    assert read(f"m. modèle jean, 54 ans\n{NEW[0]}\n\nmme exemple odette, 84 ans\n{OLD[0]}") == ["Sodium"]


def test_heads_of_columns_without_one_for_the_names_are_not_shifted():
    for rows in (
        "| 14/02/2046 | 07/02/2046 | Unité | Réf.\nPotassium | 7,1 | 4,0 | mmol/L | 3,5 - 5,1",
        "| 14/02/2046 | 07/02/2046 | Unité | Réf. |\nPotassium | 7,1 | 4,0 | mmol/L | 3,5 - 5,1 |",
    ):
        assert [m.text for m in read_report(rows).measurements] in (["7,1"], []), rows


def test_a_whole_report_may_be_withdrawn():
    assert read("\n".join(("COMPTE RENDU ANNULÉ", *NEW))) == []
    assert read("\n".join(("Ce compte rendu annule et remplace le précédent.", *NEW))) == ["Sodium", "Chlorures"]


@pytest.mark.parametrize(
    "text",
    [
        "| Analyse | Mère | Résultat | Unité |\n| Potassium | 7,1 | | mmol/L |",
        "| Analyse | N-1 | Résultat | Unité |\n| Potassium | 7,1 | | mmol/L |",
        "Analyse;Résultat;Unité;Statut\nPotassium;7,1;mmol/L;annulé\nCalcium;2,30;mmol/L;validé",
        "|Analyse|Résultat|Unité|Analyse|Résultat|Unité|\n|Potassium|7,1|mmol/L|Calcium|2,30|mmol/L|",
    ],
)
def test_values_in_columns_of_others_or_with_a_status_of_withdrawal_are_refused_and_named(text):
    assert "Potassium" not in read(text) and any("Potassium" in u.text for u in read_report(text).unread)
