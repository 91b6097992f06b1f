"""Results as laboratories send them: the examples of the specification, and files that are wrong in every way."""

import json
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.lab.formats import LARGEST, read_document, sentence
from medanalyzr.lab.formats.results import spelled

EXAMPLES = Path(__file__).parent / "formats"
FILES = sorted(path for path in EXAMPLES.glob("*/*") if not path.name.endswith(".expected.json"))


def value(m):
    return m.text.replace(",", ".") if m.value is None or m.sign else m.value


def as_expected(reading):
    """A reading in the form of the examples' .expected.json."""
    report = reading.report
    fields = ("analyte", "name", "specimen", "unit", "low", "high", "interval_unit", "flag", "critical")
    results = [{field: getattr(m, field) for field in fields} | {"value": value(m)} for m in report.measurements]
    return {"sex": report.sex, "age": report.age, "results": results, "errors": sorted(reading.errors)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_example_is_read_as_its_expected_json_says(path):
    expected = json.loads(path.with_name(path.name + ".expected.json").read_text(encoding="utf-8"))
    for one in expected:
        one["errors"].sort()
    assert [as_expected(reading) for reading in read_document(path.read_bytes())] == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_cut_at_any_byte_costs_a_sentence_or_says_so(path):
    whole = path.read_bytes()
    for end in range(0, len(whole), 1 + len(whole) // 400):
        with suppress(MedAnalyzrError):
            readings = read_document(whole[:end]) or []
            assert all(sentence(code) for one in readings for code in one.errors)


@pytest.mark.parametrize(("name", "shown"), [("hprim/1_structured_latin1.hpr", 4), ("hl7v2/1_oru_ok.hl7", 3)])
def test_no_value_of_a_cut_file_is_another_than_that_of_the_whole(name, shown):
    whole = (EXAMPLES / name).read_bytes()
    right = {(m.name, m.text, m.unit, m.low, m.high, m.flag) for m in read_document(whole)[0].report.measurements}
    most = 0
    for end in range(len(whole)):
        try:
            found = [
                m
                for one in read_document(whole[:end]) or []
                for m in one.report.measurements
                if "no_structured_block" not in one.errors
            ]
        except MedAnalyzrError:
            continue
        most = max(most, len(found))
        assert {(m.name, m.text, m.unit, m.low, m.high, m.flag) for m in found} <= right
    assert most > shown


def test_plain_text_and_tables_are_left_to_others():
    for text in (
        "",
        "Potassium : 6,8 mmol/L (3,5 - 5,0)",
        "<5 mg/L de CRP",
        '{"report": "Sodium : 139"}',
        "input\nNa 139",
        "H. EXEMPLE",
    ):
        assert read_document(text.encode()) is None


def test_errors_are_put_into_words():
    assert sentence("no_unit: Sodium") == "Sodium: the value has no unit."
    assert sentence("comment: hémolyse : ++") == "The laboratory remarks: hémolyse : ++"


HEADER = "7\nEXEMPLE\nALIX\n1 RUE\n\n99999 VILLE\n{born}\n{number}\nEX\n{day}\nLAB\nDR\n"


def hprim(*lines, born="04/07/1960", day="26/11/2026", number="2999", end="****FIN****\n****FINFICHIER****\n"):
    return (HEADER.format(born=born, day=day, number=number) + "****LAB****\n" + "\n".join(lines) + "\n" + end).encode("cp1252")


def only(data):
    (reading,) = read_document(data)
    return reading


def read(data):
    """Name, specimen, analyte, printed value and unit of every result."""
    return [(m.name, m.specimen, m.analyte, m.text, m.unit) for m in only(data).report.measurements]


def test_the_text_of_a_report_has_a_line_for_each_result():
    data = hprim(
        "TEX|BIOCHIMIE", "RES|Potassium|K|N|6.8|mmol/L|3.5|5.0|HH|F", "RES|CRP|CRP|N|<0.6|mg/L||5|N|F",
        "TEX|URINES", "RES|Glucose|GLU|A|traces||||A|F", "TEX|Prélèvement hémolysé.",
    )  # fmt: skip
    report = only(data).report
    assert report.text.splitlines() == [
        "Patient : femme, 66 ans",
        "Potassium : 6,8 mmol/L (3,5 - 5,0)",
        "CRP : <0,6 mg/L (≤ 5,0)",
        "Glucose (urines) : traces",
        "Prélèvement hémolysé.",
    ]
    assert [report.text.splitlines()[m.line - 1].split()[0] for m in report.measurements] == ["Potassium", "CRP", "Glucose"]


def test_hprim_titles_say_the_specimen_until_the_next_one():
    data = hprim(
        "TEX|BIOCHIMIE DES URINES", "RES|Sodium|NA|N|60|mmol/L|||N|F", "TEX|Recueil de 24 heures.", "RES|Potassium|K|N|40|mmol/L|||N|F",
        "TEX|CYTOLOGIE", "RES|Leucocytes|GB|N|500|/mL|||N|F", "TEX|BIOCHIMIE", "RES|Urée|U|N|5|mmol/L|2.5|7.5|N|F",
        "RES|Créatinine urinaire|CU|N|8|mmol/L|||N|F",
    )  # fmt: skip
    assert [specimen for _, specimen, *_ in read(data)] == ["urine", "urine", "urine", "sang", "urine"]
    assert [analyte for _, _, analyte, *_ in read(data)] == [None, None, None, "uree", None]


@pytest.mark.parametrize("born", ["15/03/45", "15/03/1945", "1945-03-15"])
def test_hprim_dates_in_three_spellings(born):
    assert only(hprim("RES|Sodium|NA|N|139|mmol/L|||N|F", born=born)).report.age == 81
    assert only(hprim("RES|Sodium|NA|N|139|mmol/L|||N|F", born="15/03/20", day="26/11/26")).report.age == 6


def test_hprim_without_number_or_birth_date():
    report = only(hprim("RES|Sodium|NA|N|139|mmol/L|||N|F", born="", number="")).report
    assert (report.sex, report.age) == (None, None)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("1e309", "no_value"), ("NaN", "no_value"), ("inf", "no_value"), ("1.234,5", "no_value"), ("12345678901", "no_value"),
        ("6\u200b8", "no_value"), ("\u202e8,6", "no_value"), ("٦٨", "no_value"), ("", "no_value"), ("l3O", "text_value"),
        ("6,8 mmol/L", "text_value"), ("6,8 g/L", "unit_conflict"), ("coagulé", "text_value"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_never_made_one(value, code):
    reading = only(
        hprim(f"RES|Potassium|K|N|{value}|mmol/L|3.5|5.0||F").decode("cp1252").encode() if value.isascii() else utf8(value)
    )
    numbers = [m.value for m in reading.report.measurements if m.value is not None]
    assert reading.errors == (f"{code}: Potassium",)
    assert numbers == ([6.8] if value == "6,8 mmol/L" else [])


def utf8(value):
    return hprim("RES|Potassium|K|N|@|mmol/L|3.5|5.0||F").replace(b"@", value.encode())


def test_numbers_with_thousands_signs_and_stars():
    lines = [f"RES|Plaquettes|P|N|{value}|/mm3|150 000|400 000||F" for value in ("25 000", "*25000*", "+25000", "< 25000")]
    assert [read(hprim(line))[0][3] for line in lines] == ["25000", "25000", "25000", "<25000"]


def test_encodings_of_french_software():
    lines = "RES|Créatininémie|C|N|95|µmol/L|60|115|N|F", "TEX|À contrôler à jeun, s'il vous plaît."
    for encoding, codes in (
        ("cp1252", ()),
        ("cp850", ()),
        ("utf-8", ()),
        ("utf-8-sig", ()),
        ("utf-16", ()),
        ("mac_roman", ("encoding: mac_roman",)),
    ):
        reading = only(hprim(*lines).decode("cp1252").encode(encoding))
        assert [(m.name, m.unit) for m in reading.report.measurements] == [("Créatininémie", "µmol/L")]
        assert reading.errors == codes
    capitals = only(hprim("RES|URÉE|U|N|5|mmol/L||7|N|F", "TEX|LIQUIDE CÉPHALO-RACHIDIEN").decode("cp1252").encode("cp850"))
    assert capitals.report.measurements[0].name == "URÉE"


MSH = r"MSH|^~\&|S|L|S|L|202611260830||ORU^R01|1|P|2.5"
PID = "PID|1||1||ESSAI^LOU||19600704|F"


def hl7(*segments, head=(MSH, PID), end="\r"):
    return ("\r".join([*head, *segments]) + end).encode()


def obx(value, *, code="2823-3^Potassium^LN", kind="NM", unit="mmol/L", interval="3.5-5.0", flag="", status="F", day=""):
    return f"OBX|1|{kind}|{code}||{value}|{unit}|{interval}|{flag}|||{status}|||{day}"


@pytest.mark.parametrize(
    ("status", "code", "left"),
    [("F", None, 1), ("", None, 1), ("P", "preliminary", 1), ("R", "preliminary", 1), ("C", "corrected", 1), ("I", "pending", 0),
     ("X", "cancelled", 0), ("D", "cancelled", 0), ("W", "wrong", 0)],
)  # fmt: skip
def test_hl7_status_decides_what_is_a_result(status, code, left):
    reading = only(hl7(obx("4.4", status=status)))
    assert len(reading.report.measurements) == left
    assert reading.errors == ((f"{code}: Potassium",) if code else ())


def test_a_corrected_result_replaces_the_first_wherever_it_stands():
    for order in (("F", "C"), ("C", "F")):
        data = hl7(*(obx("4.4" if status == "C" else "5.9", status=status) for status in order))
        assert [m[3] for m in read(data)] == ["4.4".replace(".", ",")]
        assert only(data).errors == ("corrected: Potassium",)


def test_a_previous_value_is_never_that_of_today():
    order = "OBR|1|1|1|BIO^Biochimie^L|||202611260730"
    older = only(
        hl7(order, obx("5.9", day="20260502"), obx("4.4", day="20261126"), obx("101", code="2075-0^Chlorures^LN", day="2026"))
    )
    assert [m.text for m in older.report.measurements] == ["4,4", "101"]
    assert older.errors == ("previous_result: Potassium",)
    assert only(hl7(order, obx("5.9", day="20260502"))).report.measurements == ()
    same_day = hl7(order, obx("5.9", day="202611260730"), obx("4.4", day="202611261030"))
    assert [m[3] for m in read(same_day)] == ["5,9", "4,4"]


def test_two_different_results_of_one_time_are_not_read():
    order = "OBR|1|1|1|BIO^Biochimie^L|||202611260730"
    reading = only(hl7(order, obx("3.9"), obx("6.6"), obx("139", code="2951-2^Sodium^LN")))
    assert [m.analyte for m in reading.report.measurements] == ["sodium"] and reading.errors == ("two_results: Potassium",)
    assert [m[3] for m in read(hl7(order, obx("6.6"), obx("6.60")))] == ["6,6", "6,60"]


def test_hl7_separators_escapes_and_continued_lines():
    data = rb"MSH$*~!@$S$L$S$L$202611260830$$ORU*R01$1$P$2.5" + b"\rPID$1$$1$$A*B$$19600704$M\r"
    data += b"OBX$1$NM$2823-3*Potassium*LN$$6.8$mmol/L$3.5-5.0$H$$$F\rNTE$1$$a !F! b !S! c !T! d!.br!e\r"
    reading = only(data)
    assert (reading.report.sex, [m.analyte for m in reading.report.measurements]) == ("H", ["potassium"])
    assert reading.report.text.splitlines()[-1] == "a $ b * c @ d e"


def test_two_messages_two_patients_and_a_mute_one():
    data = (
        hl7(obx("6.8")) + hl7(obx("139", code="2951-2^Sodium^LN"), head=(MSH, PID.replace("|F", "|M"))) + hl7(obx("4"), head=(MSH,))
    )
    assert [(one.report.sex, one.report.measurements[0].analyte) for one in read_document(data)] == [
        ("F", "potassium"),
        ("H", "sodium"),
        (None, "potassium"),
    ]


def test_hl7_specimens_that_contradict_each_other_are_no_blood():
    urine = "OBR|1|1|1|BIO^Biochimie^L|||202611260730||||||||UR^Urine"
    assert [m[1:3] for m in read(hl7(urine, obx("68")))] == [("autre", None)]
    assert [m[1:3] for m in read(hl7(urine, obx("68", code="K^Potassium^L")))] == [("urine", None)]
    assert [m[1:3] for m in read(hl7(obx("68", code="K^Potassium^L"), "SPM|1|||PLR^Liquide^HL70487"))] == [("autre", None)]
    assert [m[1:3] for m in read(hl7(obx("6.8", code="K^Potassium^L"), "SPM|1|||SER^^HL70487"))] == [("sang", "potassium")]


def test_a_code_and_a_name_of_two_analytes_are_neither():
    reading = only(hl7(obx("139", code="2823-3^Sodium^LN")))
    assert [m.analyte for m in reading.report.measurements] == [None]
    assert reading.errors == ("code_conflict: Sodium",)
    assert read(hl7(obx("34", code="67151-1^Troponine^LN", unit="ng/L")))[0][2] == "troponine_t"


@pytest.mark.parametrize(
    ("interval", "bounds"),
    [("3.5-5.0", (3.5, 5)), ("3,5 à 5,0", (3.5, 5)), ("-2-2", (-2, 2)), ("<5", (None, 5)), ("≤ 5", (None, 5)),
     ("inf. à 190", (None, 190)),     (">90", (90, None)), ("sup. à 90", (90, None)), ("Négatif", (None, None)),
     ("1e5-2e5", (None, None)), ("5-5", (None, None)), ("5-3", (None, None))],
)  # fmt: skip
def test_intervals_as_laboratories_print_them(interval, bounds):
    (m,) = only(hl7(obx("4.4", interval=interval))).report.measurements
    assert (m.low, m.high) == bounds


def test_units_in_the_spelling_of_the_project():
    spellings = {
        "10*9/L": "G/L", "10*3/uL": "G/L", "Giga/l": "G/L", "10*12/L": "T/L", "Téra/L": "T/L", "[IU]/L": "UI/L", "U/L": "UI/L",
        "m[IU]/L": "mUI/L",        "k[IU]/L": "kUI/L", "umol/l": "µmol/L", "ug/mL": "µg/mL", "mL/min/{1.73_m2}": "mL/min/1,73 m²",
        "mL/min": "mL/min", "mm[Hg]": "mmHg",
        "{INR}": "", "1": "", "[pH]": "", "ug/L{FEU}": "µg/L", "/mm3": "/mm3", "g/dl": "g/dL", "%": "%",
        "mg/24h": "mg/24h", "UI/L": "UI/L", "furlong": "furlong",
    }  # fmt: skip
    assert {unit: spelled(unit) for unit in spellings} == spellings


@pytest.mark.parametrize(
    ("value", "flag", "contradicts"),
    [("4.4", "N", False), ("5.0", "N", False), ("5.1", "N", True), ("4.4", "H", True), ("3.4", "H", True), ("3.4", "LL", False),
     ("<3.0", "N", True), ("<4.0", "L", False), (">5.5", "H", False), (">4.0", "N", False), ("4.4", "", False), ("4.4", "A", False)],
)  # fmt: skip
def test_the_flag_of_the_laboratory_is_kept_and_compared(value, flag, contradicts):
    reading = only(hl7(obx(value, flag=flag)))
    assert reading.report.measurements[0].flag == {"N": "normal", "H": "élevé", "L": "bas", "LL": "bas"}.get(flag)
    assert reading.errors == (("flag_contradicts_interval: Potassium",) if contradicts else ())


def quantity(value, unit="mmol/L", **more):
    return {"value": value, "code": unit, "unit": unit} | more


def observation(value=None, *, loinc="2823-3", name="Potassium", **more):
    coding = [{"system": "http://loinc.org", "code": loinc, "display": name}] if loinc else []
    measured = {"valueQuantity": quantity(value)} if value is not None else {}
    return {"resourceType": "Observation", "status": "final", "code": {"coding": coding, "text": name}} | measured | more


def bundle(*resources):
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}).encode()


def reference_range(low, high, **more):
    return {"low": quantity(low), "high": quantity(high)} | more


def applies_to(code):
    return {"appliesTo": [{"coding": [{"code": code}]}]}


WOMAN = {"resourceType": "Patient", "id": "f", "gender": "female", "birthDate": "1960-07-04"}
MAN = {"resourceType": "Patient", "id": "m", "gender": "male", "birthDate": "1990-01-01"}


def test_an_observation_alone_is_a_report():
    reading = only(json.dumps(observation(6.8, effectiveDateTime="2026-11-26")).encode())
    assert [(m.analyte, m.text, m.specimen) for m in reading.report.measurements] == [("potassium", "6,8", "sang")]


def test_observations_of_two_patients_in_one_report_are_two_readings():
    report = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "subject": {"reference": "Patient/f"},
              "effectiveDateTime": "2026-11-26", "result": [{"reference": "Observation/a"}, {"reference": "Observation/b"}]}  # fmt: skip
    a, b = (
        observation(6.8, id="a", subject={"reference": "Patient/f"}),
        observation(4.4, id="b", subject={"reference": "Patient/m"}),
    )
    found = [
        (one.report.sex, one.report.age, one.report.measurements[0].text) for one in read_document(bundle(WOMAN, MAN, report, a, b))
    ]
    assert found == [("F", 66, "6,8"), ("H", 36, "4,4")]


@pytest.mark.parametrize(
    ("ranges", "bounds"),
    [
        ([reference_range(3.5, 5)], (3.5, 5)),
        ([reference_range(3, 4, **applies_to("male")), reference_range(3.5, 5, **applies_to("female"))], (3.5, 5)),
        ([reference_range(3, 4, **applies_to("male"))], (None, None)),
        ([reference_range(3, 4), reference_range(3.5, 5)], (None, None)),
        ([reference_range(3, 4), reference_range(3.5, 5, age={"low": quantity(60, "a")})], (3.5, 5)),
        ([reference_range(3, 4, age={"low": quantity(6, "mo")})], (None, None)),
        ([reference_range(3, 4, **applies_to("77386006"))], (None, None)),
        ([reference_range(3, 4, type={"coding": [{"code": "therapeutic"}]})], (None, None)),
        ([{"text": "3,5 à 5,0 mmol/L"}], (3.5, 5)),
    ],
)
def test_fhir_takes_the_range_that_is_for_this_patient(ranges, bounds):
    (m,) = only(bundle(WOMAN, observation(4.4, referenceRange=ranges, effectiveDateTime="2026-11-26"))).report.measurements
    assert (m.low, m.high) == bounds


def test_fhir_values_of_every_type():
    values = [
        {"valueQuantity": quantity(5, comparator="<=")}, {"valueInteger": 12}, {"valueString": "traces"}, {"valueString": "4.5 mmol/L"},
        {"valueRange": {"low": quantity(5), "high": quantity(10)}}, {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 80}}},
        {"valueCodeableConcept": {"text": "négatif"}}, {"valueBoolean": True}, {"valueQuantity": {"unit": "mmol/L"}},
    ]  # fmt: skip
    reading = only(bundle(*(observation(loinc="", name=f"Test {i}", **value) for i, value in enumerate(values))))
    assert [(m.text, m.value) for m in reading.report.measurements] == [
        ("<=5", 5), ("12", 12), ("traces", None), ("4,5", 4.5), ("5-10", None), ("1:80", None), ("négatif", None),
    ]  # fmt: skip
    assert reading.errors == ("text_value: Test 3", "no_value: Test 7", "no_value: Test 8")


def test_older_observations_and_those_of_no_report():
    report = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "effectiveDateTime": "2026-11-26", "result": []}
    new, old = (observation(v, effectiveDateTime=d) for v, d in ((4.4, "2026-11-26"), (5.9, "2026-05-02")))
    reading = only(bundle(WOMAN, report, new, old))
    assert ([m.text for m in reading.report.measurements], reading.errors) == (["4,4"], ("previous_result: Potassium",))
    assert only(bundle(WOMAN, report | {"status": "entered-in-error"}, new)).errors == ("entered_in_error: Observation",)


def test_panels_that_refer_to_each_other_end():
    one, two = (observation(id=i, hasMember=[{"reference": f"Observation/{j}"}]) for i, j in ("ab", "ba"))
    assert only(bundle(one, two, observation(4.4))).report.measurements[0].text == "4,4"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e309", "1E+999999999", "1" * 5000, '"six"', "null", "true", "{}"])
def test_numbers_that_json_allows_and_no_laboratory_sends(number):
    data = bundle(observation(424242), observation(139, loinc="2951-2", name="Sodium")).replace(b"424242", number.encode())
    reading = only(data)
    assert [m.analyte for m in reading.report.measurements if m.value is not None] == ["sodium"]
    assert reading.errors in (("no_value: Potassium",), ("text_value: Potassium",))


HEAD = '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
PATIENT = """<effectiveTime value="20251203083000+0100"/><recordTarget><patientRole><patient>
<administrativeGenderCode code="{sex}"/><birthTime value="{born}"/></patient></patientRole></recordTarget>"""


def result(name, value, bounds="", more=""):
    return f"""<entry><observation classCode="OBS" moodCode="EVN"><code code="0" displayName="{name}"/>{value}{more}
<referenceRange><observationRange>{bounds}<interpretationCode code="N"/></observationRange></referenceRange></observation></entry>"""


def pq(value, unit):
    return f'<value xsi:type="PQ" value="{value}" unit="{unit}"/>'


def interval(low="", high="", unit=""):
    sides = [f'<{side} value="{value}" unit="{unit}"/>' for side, value in (("low", low), ("high", high)) if value]
    return f'<value xsi:type="IVL_PQ">{"".join(sides)}</value>'


def document(*results, sex="F", born="19600704"):
    return f"{HEAD}{PATIENT.format(sex=sex, born=born)}<component><section>{''.join(results)}</section></component></ClinicalDocument>".encode()


def test_cr_bio_is_read_into_french_units():
    data = document(
        result("Potassium [Moles/Volume] Sérum/Plasma ; Numérique", pq("6.8", "mmol/L"), interval("3.5", "5.0", "mmol/L")),
        result("Créatinine", pq("180", "umol/L"), interval("45", "105", "umol/L")),
        result("Leucocytes", pq("12.4", "10*9/L"), interval("4.0", "10.0", "10*9/L")),
        result("ASAT", pq("92", "[IU]/L"), interval(high="35", unit="[IU]/L")),
        result("CRP", interval(high="0.6", unit="mg/L"), interval(high="5", unit="mg/L")),
        result("DFG", pq("45", "mL/min/{1.73_m2}"), interval(low="90", unit="mL/min/{1.73_m2}")),
        result("INR", pq("2.5", "1"), interval("0.8", "1.2", "1")),
        result("Glycémie à jeun", pq("1.10", "g/L"), interval("3.9", "5.5", "mmol/L")),
        result("Vitamine X", pq("20", "ng/mL"), interval("30", "60", "ng/mL")),
    )
    assert only(data).report.text.splitlines() == [
        "Patient : femme, 65 ans",
        "Potassium : 6,8 mmol/L (3,5 - 5,0)",
        "Créatinine : 180 µmol/L (45 - 105)",
        "Leucocytes : 12,4 G/L (4,0 - 10,0)",
        "ASAT : 92 UI/L (≤ 35)",
        "CRP : <0,6 mg/L (≤ 5,0)",
        "DFG : 45 mL/min/1,73 m² (≥ 90)",
        "INR : 2,5 (0,8 - 1,2)",
        "Glycémie à jeun : 1,10 g/L (3,90 - 5,50 mmol/L)",
        "Vitamine X : 20 ng/mL (30 - 60)",
    ]


def test_a_name_before_the_bracket_counts_only_without_a_method():
    names = ("Albumine [Masse/Volume] Sérum/Plasma ; Numérique", "Albumine [Masse/Volume] Sérum/Plasma ; Numérique ; Electrophorèse",
             "Leucocytes [Nombre/Volume] Liquide pleural ; Numérique", "Érythrocytes [Nombre/Volume] Urine ; Numérique")  # fmt: skip
    found = read(document(*(result(name, pq("45", "g/L")) for name in names)))
    assert [m[1:3] for m in found] == [("sang", "albumine"), ("sang", None), ("autre", None), ("urine", None)]


def test_words_of_the_narrative_take_the_place_of_a_reference():
    told = '<text><content ID="a">Sérum hémolysé</content><content ID="b">trouble</content></text>'
    note = '<entry><act><code code="48767-8"/><text><reference value="#a"/></text></act></entry>'
    value = '<value xsi:type="CD"><originalText><reference value="#b"/></originalText></value>'
    data = document(told, note, result("Aspect", value, more='<templateId root="1.3.6.1.4.1.19376.1.3.1.6"/>'))
    assert only(data).report.text.splitlines()[1:] == ["Aspect : trouble", "Sérum hémolysé"]


def test_what_cr_bio_says_of_status_and_flag():
    states = "completed", "aborted", "nullified", "active"
    parts = [
        result("Sodium", pq("139", "mmol/L"), more=f'<statusCode code="{state}"/><interpretationCode code="LL"/>')
        for state in states
    ]
    reading = only(document(*parts))
    assert [(m.flag, m.critical) for m in reading.report.measurements] == [("bas", True)]
    assert sorted(reading.errors) == ["cancelled: Sodium", "entered_in_error: Sodium", "pending: Sodium"]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((BOMB + HEAD + "&b;</ClinicalDocument>").encode(), "document type or entities"),
        (
            f'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>{HEAD}&f;</ClinicalDocument>'.encode(),
            "document type or entities",
        ),
        (f'<!DOCTYPE x SYSTEM "http://example.org/x.dtd">{HEAD}</ClinicalDocument>'.encode(), "document type or entities"),
        (b"<html><script>alert(1)</script></html>", "not a CR-BIO report"),
        (b"<a>" + b" " * LARGEST + b"</a>", "more than a report can have"),
        ((HEAD + "<a>" * 50_000).encode(), "not valid XML"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "not valid XML"),
        (document().replace(b"<component>", b"<recordTarget/><component>"), "names several patients"),
        (b'{"resourceType": "Bundle"', "not valid JSON"),
        (b'{"resourceType": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"a": {"resourceType": "Bundle"}}', "not a FHIR resource"),
        (b'{"resourceType": "Bundle", "entry": []}', "holds no report"),
        (MSH.encode(), "holds no report"),
    ],
)
def test_hostile_and_empty_files_cost_one_sentence(data, words):
    with pytest.raises(MedAnalyzrError, match=words) as error:
        read_document(data)
    assert "\n" not in str(error.value)


def test_deep_and_long_files_are_read():
    nested = document("<a>" * 20_000 + result("Sodium", pq("139", "mmol/L")) + "</a>" * 20_000)
    assert read(nested)[0][2] == "sodium"
    many = hprim(*["RES|Sodium|NA|N|139|mmol/L|135|145|N|F"] * 2_000)
    assert len(read(many)) == 2_000


def test_a_document_in_a_message_that_is_withdrawn_or_no_document():
    cda = b64encode(document(result("Sodium", pq("139", "mmol/L")))).decode()
    report = {"code": "11502-2^CR^LN", "kind": "ED"}
    assert [m[2] for m in read(hl7(obx(f"^TEXT^XML^Base64^{cda.rstrip('=')}", **report)))] == ["sodium"]
    assert only(hl7(obx(f"^TEXT^XML^Base64^{cda}", status="D", **report))).errors == ("cancelled: CR",)
    assert only(hl7(obx(f"^TEXT^XML^Base64^{b64encode(b'%PDF-1.4').decode()}", **report))).errors == ("pdf_only",)
    assert only(hl7(obx("^TEXT^XML^Base64^@@@", **report))).errors == ("no_value: CR",)


def test_invisible_characters_in_a_name_are_left_out():
    (m,) = only(utf8("6.8").replace(b"Potassium", "\u202ePotas\u200bsium".encode())).report.measurements
    assert (m.name, m.analyte) == ("Potassium", "potassium")
    lines = only(bundle(observation(4.4, name="Potassium\n: 9,9", loinc=""))).report.text.splitlines()
    assert lines == ["Potassium : 9,9 : 4,4 mmol/L"]
