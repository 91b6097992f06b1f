"""XML, YAML and HTML in a form of the sender's own: read as objects or rows, or not at all; never line by line."""

import pytest
from medanalyzr.inference.report_files import read_reports
from medanalyzr.inference.verify import verify
from medanalyzr.lab.reader import read_report

ROW = "<analyse><nom>{}</nom><valeur>{}</valeur><unite>mmol/L</unite><min>{}</min><max>{}</max></analyse>"
SODIUM, POTASSIUM = ROW.format("Sodium", "139", "136", "145"), ROW.format("Potassium", "7,1", "3,5", "5,1")
CANCELLED = POTASSIUM.replace("<analyse>", "<analyse statut='annulé'>")
XML = f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<bilan><patient sexe="F" age="54"/>{SODIUM}{POTASSIUM}</bilan>'
YAML = """patient: {sexe: F, age: 54}
resultats:
  - nom: Sodium
    valeur: 139
    unite: mmol/L
    ref: 136 - 145
  - nom: Potassium
    valeur: 7,1
    unite: mmol/L
    ref: {min: 3.5, max: 5.1}
"""
HTML = """<table><tr><th>Analyse</th><th>R&eacute;sultat</th><th>Unit&eacute;</th><th>Normes</th></tr>
<tr><td>Sodium</td><td><b>139</b></td><td>mmol/L</td><td>136 - 145</td></tr>
<tr><td>Potassium</td><td>7,1</td><td>mmol/L</td><td>3,5 - 5,1</td></tr></table>"""
ANSWER = "Potassium : 7,1 mmol/L (3,5 ≤ 5,1 < 7,1 ; critique 6,0 ≤ 7,1) : élevé, critique\nSodium : 139 mmol/L (136 ≤ 139 ≤ 145) : normal"


def read(text):
    return [(m.name, m.text, m.unit, m.low, m.high, m.specimen) for m in read_report(text).measurements]


BOTH = [("Sodium", "139", "mmol/L", 136, 145, "sang"), ("Potassium", "7,1", "mmol/L", 3.5, 5.1, "sang")]


@pytest.mark.parametrize(
    "text", [XML, YAML, HTML, XML.replace("<patient", "\n  <patient"), f"Voici le bilan :\n{XML}", XML.split("\n")[1]]
)
def test_a_plain_report_is_read_and_its_lines_verified(text):
    report = read_report(text)
    assert read(text) == BOTH
    assert [result.verified for result in verify(text, ANSWER).results] == [True, True]
    assert text.startswith("<table") or (report.sex, report.age) == ("F", 54)


def test_attributes_elements_and_intervals_by_sex():
    text = """<cr><patient><sexe>F</sexe></patient>
    <NFS><hemoglobine unite="g/L" ref="H : 130-170 F : 120-160">118</hemoglobine><Plaquettes v="1" valeur="250" unite="G/L"/></NFS></cr>"""
    assert read(text)[0] == ("hemoglobine", "118", "g/L", 120, 160, "sang")
    assert "Plaquettes" not in [name for name, *_ in read(text)]  # two values


@pytest.mark.parametrize(
    "text",
    [
        f"<bilan><historique>{POTASSIUM}</historique>{SODIUM}{SODIUM}</bilan>",
        f"<bilan>{SODIUM}<urines>{POTASSIUM}</urines></bilan>",
        f"<bilan>{SODIUM}{CANCELLED}</bilan>",
        f"<bilan>{SODIUM}<exemple>{POTASSIUM}</exemple></bilan>",
        f"<bilan><!-- d'un autre patient -->{POTASSIUM}</bilan>",
        f"<bilan>{POTASSIUM} voir la suite</bilan>",
        f"<!DOCTYPE x [<!ENTITY k 'Potassium'>]><bilan>{POTASSIUM}</bilan>",
        f"<bilan>{POTASSIUM}",
        f"<bilan>{POTASSIUM.replace('</valeur>', '</valeur><valeur>4,1</valeur>')}</bilan>",
        "<rapport>\n <historique>\n  Potassium : 7,1 mmol/L (3,5 - 5,1)\n </historique>\n Sodium : 139 mmol/L (136 - 145)\n</rapport>",
        YAML.replace("resultats:", "historique:"),
        YAML.replace("    valeur: 7,1", "    valeur: 7,1\n    valeur: 4,1"),
        YAML.replace("resultats:", "# du voisin\nresultats:"),
        YAML.replace("valeur: 7,1", "valeur: &k 7,1"),
        YAML.replace("    valeur: 7,1", "    prelevement: urines\n    valeur: 7,1"),
        HTML.replace("7,1", "<s>7,1</s> 4,0"),
        HTML.replace("<tr><td>Potassium", '<tr style="display:none"><td>Potassium'),
        HTML.replace("<table>", '<table class="historique">'),
        "resultats:\n  - {nom: Potassium, valeur: 7,1, unite: mmol/L}",
        HTML.replace("<tr><td>Potassium", '<tr style="DISPLAY: none"><td>Potassium'),
        f"Bilan antérieur :\n{XML}",
        f"Potassium 4,0 mmol/L ce jour\n{XML}",
    ],
)
def test_what_may_be_no_result_of_today_is_neither_read_nor_verified(text):
    assert "Potassium" not in [name for name, *_, specimen in read(text) if specimen == "sang"]
    assert read_report(text).unread or read(text)
    assert "Potassium" not in [result.name for result in verify(text, ANSWER).results if result.verified]


@pytest.mark.parametrize(
    "text",
    [
        f'<?xml version="1.0"?>\n<?xml-stylesheet href="a.xsl"?>\n<!-- export du laboratoire -->\n<bilan>{POTASSIUM}</bilan>',
        f"<bilan><service>N&eacute;phrologie</service>{POTASSIUM}</bilan>",
        YAML.replace("resultats:", "# export du laboratoire\nresultats:"),
        YAML.replace("    valeur: 7,1", "    valeur: 7,1\n    remarque: à jeun, RAS"),
        HTML.replace("<table>", '<p>Bonjour<o:p></o:p><img src="logo.png"></p><!--[if mso]>x<![endif]--><table>'),
    ],
)
def test_comments_entities_pictures_and_harmless_remarks_leave_the_results(text):
    assert ("Potassium", "7,1", "mmol/L", 3.5, 5.1, "sang") in read(text)


def test_lines_with_colons_are_no_yaml():
    text = "IONOGRAMME :\n  Sodium : 139 mmol/L (136 - 145)\n  Potassium : 7,1 mmol/L (3,5 - 5,1)"
    assert read(text) == BOTH


@pytest.mark.parametrize(("name", "text"), [("bilan.xml", XML), ("bilan.yaml", YAML), ("bilan.html", HTML)])
def test_files_of_these_forms_are_one_report(name, text):
    (received,) = read_reports(name, text.encode())
    assert received.text == text.strip() and not received.error


JSON = '{"resultats": [{"nom": "Potassium", "valeur": 7.1, "unite": "mmol/L", "norme": "3,5 - 5,1"}]}'


@pytest.mark.parametrize(
    "frame", ["```json\n{}\n```", "{}\nCordialement, le laboratoire", "Bonjour,\nvoici le bilan de Mme Martin :\n{}"]
)
def test_what_stands_around_objects_may_be_a_greeting(frame):
    assert read(frame.replace("{}", JSON)) == [("Potassium", "7,1", "mmol/L", 3.5, 5.1, "sang")]


@pytest.mark.parametrize(
    "text",
    [
        *(f"{line}\n{JSON}" for line in ("Urines", "Bilan d'hier :", "J-1", "Exemple fictif", "Mère :", "Sérum de contrôle :")),
        JSON.replace("{", '{"titre": "Bilan d\'hier", ', 1), JSON.replace("{", '{"note": "sérum de contrôle", ', 1),
        JSON.replace("Potassium", "Potassium (mère)"), f"{JSON}\nPotassium contrôlé à 4,1",
        XML.replace("<analyse>", "<patient nom='B'/><analyse>", 1),
        f"<style>.x {{display: none}}</style><p class='x'>{HTML}</p>", f"<p class='d-none'>{HTML}</p>",
    ],
)  # fmt: skip
def test_what_stands_around_objects_may_take_them_away(text):
    assert "Potassium" not in [name for name, *_ in read(text)] and read_report(text).unread


@pytest.mark.parametrize(
    "text",
    ["<p>Potassium : 4,2 mmol/L</p><![x[", "- nom: K\n  valeur: 4,2\n  unite: g/L\n  x: \ud800", "<p a " * 2000, "- " * 20000],
)
def test_texts_that_are_none_of_these_forms_cost_no_error_and_no_time(text):
    read_report(text)


HPRIM = """X
EXEMPLE
Camille
1 RUE DE L'EXEMPLE

00000 VILLE-FICTIVE



09/07/2043
LAB       LABORATOIRE FICTIF
DR        DOCTEUR EXEMPLE

****LAB****
TEX|Patient : Mme EXEMPLE, 53 ans
RES|SODIUM|NA|N|139|mmol/L|136|145|N|F||||
RES|CRP|CRP|A|négatif|mg/L||5|N|F||||
TEX|URINES
RES|POTASSIUM|K|N|28|mmol/L|20|80|N|F||||
****FIN****
****FINFICHIER****
"""
HL7 = """MSH|^~\\&|SIL|LABO|DPI||20430709||ORU^R01|EXEMPLE|P|2.5
PID|1||26^^^LABO||EXEMPLE^Camille|||F
OBR|1|||IONO^ionogramme|||20430709
OBX|1|NM|NA^Sodium||139|mmol/L|136 a 145||||F
OBX|2|NM|PLAQ^Plaquettes||25|10^9/L|150 - 400|L|||F
OBX|3|NM|K^Potassium||7.1|mmol/L|3.5 - 5.1|H|||X
"""


def test_a_message_pasted_as_text_is_read_as_the_message():
    report = read_report(HPRIM)
    blood = [(m.name, m.text, m.low, m.high) for m in report.measurements if m.specimen == "sang"]
    assert blood == [("SODIUM", "139", 136, 145), ("CRP", "négatif", None, 5)] and (report.sex, report.age) == ("F", 53)
    assert [result.verified for result in verify(HPRIM, "Sodium : 139 mmol/L (136 ≤ 139 ≤ 145) : normal").results] == [True]
    assert read(HL7) == [("Sodium", "139", "mmol/L", 136, 145, "sang"), ("Plaquettes", "25", "G/L", 150, 400, "sang")]
    assert [u.text for u in read_report(HL7).unread] == ["Potassium"]  # cancelled
    assert [result.verified for result in verify(HL7, ANSWER).results] == [False, True]


def test_a_word_with_an_interval_that_the_answer_leaves_out_has_no_flag():
    (left_out,) = [r for r in verify(HPRIM, "Sodium : 139 mmol/L (136 ≤ 139 ≤ 145) : normal").left_out if r.name == "CRP"]
    assert (left_out.value, left_out.flag) == ("négatif", "indéterminé")


@pytest.mark.parametrize(
    "text",
    [
        '{"colonnes": ["analyse", "resultat", "unite", "borne_inf", "borne_sup"], "lignes": [["Potassium", "7,1", "mmol/L", "3,5", "5,1"]]}',
        '<LabOrder><Sample type="Blood" fasting="no"/><Test><Name>Potassium</Name><Result>7.1</Result><Unit>mmol/L</Unit>'
        "<RefLow>3.5</RefLow><RefHigh>5.1</RefHigh></Test></LabOrder>",
        '<bilan prelevement="21/03/2046 06:50"><res lib="Potassium" val="7,1" unite="mmol/L" n="3,5-5,1"/></bilan>',
        '{"prelevement": {"date": "2046-02-11", "a_jeun": true}, "resultats": [{"analyse": "Potassium", "valeur": 7.1, "unite": "mmol/L", '
        '"bornes": "3,5-5,1", "ind": "H", "annule": false}], "commentaire": "RAS"}',
        "H|~^\\&|LABO.HPR||LBM|||ORU||CABINET|||P|2.1|204601151630\nP|1|77||26|EXEMPLE~Odette|||19610402|F\n"
        "OBR|1|26||BIO~Biochimie~L||204601150815\nOBX|1|NM|K~Potassium~L||7.1|mmol/L|3.5-5.1|H|||F\nL|1\n",
    ],
)
def test_rows_of_columns_and_words_of_other_software(text):
    assert [one[1:] for one in read(text)] == [("7,1", "mmol/L", 3.5, 5.1, "sang")]


def test_values_at_the_names_of_their_analytes():
    text = '{"dossier": "JH", "bilan": {"ionogramme": {"sodium": "139 mmol/L", "potassium": "7,1 mmol/L"}}, "date": "2046-03-01"}'
    assert [(name, value) for name, value, *_ in read(text)] == [("sodium", "139"), ("potassium", "7,1")]
    for word in ("seuils", "objectifs", "urines", "precedent"):
        assert not [one for one in read(text.replace("ionogramme", word)) if one[-1] == "sang"], word


def test_a_cancelled_result_is_none():
    text = '[{"nom": "Potassium", "valeur": "7,1", "unite": "mmol/L", "annule": true}]'
    assert read(text) == [] and read_report(text).unread
