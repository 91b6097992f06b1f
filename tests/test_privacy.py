"""Personal data in French text: found by kind, counted, never shown. Every person and number here is made up."""

import json

import pytest
from medanalyzr import MedAnalyzrError
from medanalyzr.dataset.bundled import load_bundled
from medanalyzr.dataset.prepare import prepare
from medanalyzr.dataset.privacy import scan


def kinds(text):
    return set(scan([{"instruction": "", "input": text, "output": ""}], [1]))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("NIR 2 69 05 49 588 157 80", "social security number"),
        ("sécurité sociale : 269054958815780", "social security number"),
        ("Mme Dupont-Martin, adressée ce jour", "name"),
        ("Adressé par le Dr Lefèvre", "name"),
        ("Monsieur DURAND, 54 ans", "name"),
        ("Nom : Petit\nPrénom : Claire", "name"),
        ("Patient : MARTIN Paul", "name"),
        ("né le 12/03/1961", "date of birth"),
        ("née le 1er avril 1970", "date of birth"),
        ("Date de naissance : 03.11.1955", "date of birth"),
        ("DDN 3/11/55", "date of birth"),
        ("Tél. 06 12 34 56 78", "phone number"),
        ("joindre le +33 1 42 68 53 00", "phone number"),
        ("ecrire a paul.martin@exemple.fr", "e-mail address"),
        ("12 bis, rue de la République", "postal address"),
        ("4 avenue Foch, 69006 Lyon", "postal address"),
        ("Dossier n° 4471203", "file number"),
        ("IPP : 8001234567", "file number"),
    ],
)
def test_what_is_found(text, kind):
    assert kind in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "Patient : femme, 63 ans\nPotassium : 6,8 mmol/L (3,5 - 5,0)",
        "Créatinine : 1234567 µmol/L, plaquettes 910 000",
        "Leucocytes : 12 345 678 901 234 /L",
        "Patient : homme",
        "Chez M. X, hémoglobine à 110 g/L",
        "Le patient est né avec une cardiopathie ; contrôle le 12/03/2024",
        "Maladie de Crohn, syndrome de Gilbert, test de Coombs",
        "1 dose toutes les 8 heures, place de la biopsie",
        "2 69 05 49 588 157 81",
    ],
)
def test_what_is_no_personal_data(text):
    assert kinds(text) == set()


def test_the_bundled_set_is_clean():
    rows = load_bundled()
    assert scan(rows, range(1, len(rows) + 1)) == {}


def rows_with_a_phone():
    letters = "abcdefghijklmnopqrst"
    rows = [{"instruction": "Commentez.", "input": f"Bilan {a}", "output": f"Avis {a}."} for a in letters]
    rows[1]["output"] = ""
    rows[6]["input"] += " Tél. 06 12 34 56 78, et encore 06 12 34 56 79"
    return rows


def test_stop_is_the_default_for_a_file_and_nothing_is_written(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows_with_a_phone()), encoding="utf-8")
    with pytest.raises(MedAnalyzrError, match=r"phone number in 1 \(first: row 7\)") as caught:
        prepare(str(path), tmp_path / "run", 0.05, 0.1, 1)
    assert "06 12" not in str(caught.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("column", ["prompt", "patient", "category", "kind", "origin", "source"])
def test_every_column_that_is_written_is_searched(tmp_path, column):
    rows = [row | {column: "x"} for row in rows_with_a_phone()[:6] if row["output"]]
    rows[3][column] = "2 69 05 49 588 157 80"
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(MedAnalyzrError, match=r"social security number in 1 \(first: row 4\)"):
        prepare(str(path), tmp_path / "run", 0, 0, 1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("mode", "found"), [("warn", {"phone number": {"count": 2, "rows": [7]}}), ("off", None)])
def test_warn_counts_and_off_does_not_look(tmp_path, mode, found):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows_with_a_phone()), encoding="utf-8")
    assert prepare(str(path), tmp_path / "run", 0.05, 0.1, 1, mode)["privacy"] == {"mode": mode, "found": found}
    stored = (tmp_path / "run" / "data_report.json").read_text(encoding="utf-8")
    assert "06 12" not in stored
