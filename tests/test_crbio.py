"""CR-BIO documents: what a laboratory sends, and what an attacker might."""

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.inference.report_files import Pending, load_reports
from medanalyzr.lab.crbio import LARGEST, read_crbio
from medanalyzr.lab.report import write_report

HEAD = '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
PATIENT = """<effectiveTime value="20251203083000+0100"/><recordTarget><patientRole><patient>
<administrativeGenderCode code="{sex}"/><birthTime value="{born}"/></patient></patientRole></recordTarget>"""


def result(name, value, bounds=""):
    return f"""<entry><observation classCode="OBS" moodCode="EVN"><code code="0" displayName="{name}"/>{value}
<referenceRange><observationRange>{bounds}<interpretationCode code="N"/></observationRange></referenceRange></observation></entry>"""


def quantity(value, unit):
    return f'<value xsi:type="PQ" value="{value}" unit="{unit}"/>'


def interval(low="", high="", unit=""):
    sides = [f'<{side} value="{value}" unit="{unit}"/>' for side, value in (("low", low), ("high", high)) if value]
    return f'<value xsi:type="IVL_PQ">{"".join(sides)}</value>'


def document(*results, sex="F", born="19600704"):
    return f"{HEAD}{PATIENT.format(sex=sex, born=born)}<component><section>{''.join(results)}</section></component></ClinicalDocument>".encode()


def test_a_report_is_read_into_french_units():
    data = document(
        result("Potassium [Moles/Volume] Sérum/Plasma ; Numérique", quantity("6.8", "mmol/L"), interval("3.5", "5.0", "mmol/L")),
        result("Créatinine", quantity("180", "umol/L"), interval("45", "105", "umol/L")),
        result("Leucocytes", quantity("12.4", "10*9/L"), interval("4.0", "10.0", "10*9/L")),
        result("ASAT", quantity("92", "[IU]/L"), interval(high="35", unit="[IU]/L")),
        result("CRP", interval(high="0.6", unit="mg/L"), interval(high="5", unit="mg/L")),
        result("DFG", quantity("45", "mL/min/{1.73_m2}"), interval(low="90", unit="mL/min/{1.73_m2}")),
        result("INR", quantity("2.5", "1"), interval("0.8", "1.2", "1")),
        result("Glycémie à jeun", quantity("1.10", "g/L"), interval("3.9", "5.5", "mmol/L")),
        result("Vitamine X", quantity("20", "ng/mL"), interval("30", "60", "ng/mL")),
    )
    assert write_report(read_crbio(data)).splitlines() == [
        "Patient : femme, 65 ans",
        "Potassium : 6,8 mmol/L (3,5 - 5,0)",
        "Créatinine : 180 µmol/L (45 - 105)",
        "Leucocytes : 12,4 G/L (4,0 - 10,0)",
        "ASAT : 92 UI/L (≤ 35)",
        "CRP : <0,6 mg/L (≤ 5,0)",
        "DFG : 45 mL/min/1,73 m² (≥ 90)",
        "INR : 2,5 (0,8 - 1,2)",
        "Glycémie à jeun : 1,10 g/L (3,9 - 5,5 mmol/L)",
        "Vitamine X : 20 ng/mL (30 - 60)",
    ]


def test_age_sex_and_what_is_no_number():
    data = document(
        result("Potassium", '<value xsi:type="PQ" nullFlavor="NI"/>'),
        result("Sodium", quantity("1e309", "mmol/L")),
        result("Commentaire", '<value xsi:type="ST">140</value>'),
        result("Chlorures", quantity("101", "mmol/L")),
        result("Chlorures", quantity("99", "mmol/L")),
        sex="M",
        born="19601204",
    )
    report = read_crbio(data)
    assert (report.sex, report.age) == ("H", 64)
    assert [(m.analyte, m.text, m.low, m.high) for m in report.measurements] == [("chlore", "101", None, None)]
    assert read_crbio(document(result("Sodium", quantity("140", "mmol/L")), sex="U", born="1960")).age is None


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no valid XML"),
        (b"\x00\xff\xfe" * 50, "no valid XML"),
        (b"Potassium : 6,8 mmol/L", "no valid XML"),
        ((BOMB + HEAD + "&b;</ClinicalDocument>").encode(), "document type or entities"),
        (
            f'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>{HEAD}&f;</ClinicalDocument>'.encode(),
            "document type or entities",
        ),
        (f'<!DOCTYPE x SYSTEM "http://example.org/x.dtd">{HEAD}</ClinicalDocument>'.encode(), "document type or entities"),
        (b"<html><script>alert(1)</script></html>", "no CR-BIO report"),
        (document(), "holds no numeric result"),
        (b" " * (LARGEST + 1), "more than a report can have"),
        ((HEAD + "<a>" * 50_000).encode(), "no valid XML"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "no valid XML"),
    ],
)
def test_hostile_documents_cost_one_sentence(data, sentence):
    with pytest.raises(MedAnalyzrError, match=sentence) as error:
        read_crbio(data)
    assert "\n" not in str(error.value)


def test_files_of_reports_come_out_as_they_came(tmp_path):
    xml, text = tmp_path / "bilan.xml", tmp_path / "bilans.txt"
    xml.write_bytes(document(result("Potassium", quantity("6.8", "mmol/L"), interval("3.5", "5.0", "mmol/L"))))
    assert load_reports(str(xml)) == [Pending("bilan.xml", "Patient : femme, 65 ans\nPotassium : 6,8 mmol/L (3,5 - 5,0)")]
    text.write_text("Labo Dupont\nPotassium\t6.8\tmmol/l\t3.5 - 5.0\n\nCommentaire : à jeun\nCRP 3 mg/L < 5", encoding="utf-8")
    assert [one.text for one in load_reports(str(text))] == [
        "Labo Dupont\nPotassium\t6.8\tmmol/l\t3.5 - 5.0",
        "Commentaire : à jeun\nCRP 3 mg/L < 5",
    ]
