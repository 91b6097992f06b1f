import pytest
from medanalyzr.lab.references import (
    _critical,
    _intervals,
    analytes,
    convert,
    critical_limits,
    find_analyte,
    fold,
    read_table,
    reference_interval,
    sources,
)


def test_interval_depends_on_sex():
    assert (reference_interval("hb", "H").low, reference_interval("hb", "F").low) == (130, 120)
    assert reference_interval("hb", None) is None
    assert reference_interval("potassium", None) == reference_interval("potassium", "F")


def test_every_bound_is_ordered_and_sourced():
    for (analyte, _), bounds in _intervals().items():
        assert bounds.source, analyte
        assert bounds.low is None or bounds.high is None or bounds.low < bounds.high, analyte
    named = {key for bounds in (*_intervals().values(), *_critical().values()) for key in bounds.source.split(";")}
    assert named - {"(not sourced: textbook knowledge)"} <= set(sources())


def test_critical_limits_lie_outside_the_reference_interval():
    for analyte, limits in _critical().items():
        for sex in "HF":
            bounds = reference_interval(analyte, sex)
            if bounds is None:
                continue
            assert limits.low is None or bounds.low is None or limits.low < bounds.low, analyte
            assert limits.high is None or bounds.high is None or limits.high > bounds.high, analyte


def test_potassium_is_critical_from_6_0():
    assert critical_limits("potassium").high == 6.0


@pytest.mark.parametrize(
    ("analyte", "value", "unit", "expected"),
    [("creatinine", 1.0, "mg/dL", 88.4), ("glucose", 1.0, "g/L", 5.551), ("hb", 13.5, "g/dL", 135), ("hb", 135, "g/L", 135)],
)
def test_convert(analyte, value, unit, expected):
    assert convert(analyte, value, unit) == pytest.approx(expected)


def test_convert_refuses_an_unknown_unit():
    with pytest.raises(KeyError):
        convert("potassium", 4, "furlong")


def test_names_are_found_without_case_or_accents():
    assert find_analyte("HEMOGLOBINE").id == "hb"
    assert find_analyte("Kaliémie").id == "potassium"
    assert find_analyte("inconnu") is None


def test_no_alias_names_two_analytes():
    owner = {fold(analyte.name): analyte.id for analyte in analytes().values()}
    for row in read_table("names"):
        assert owner.setdefault(fold(row["alias"]), row["analyte"]) == row["analyte"], row["alias"]


def test_a_name_that_is_another_analyte_is_found_as_that_one():
    assert find_analyte("Calcium corrigé").id == "calcium_corrige" and find_analyte("CA 125").id == "ca125"
    assert find_analyte("Créatinine urinaire") is None and find_analyte("Vitamine K") is None
