import pytest
from medanalyzr.lab.references import (
    _critical,
    _intervals,
    analytes,
    convert,
    critical_limits,
    find_analyte,
    fold,
    reference_interval,
    sources,
)


def test_interval_depends_on_sex():
    assert (reference_interval("hb", "H").low, reference_interval("hb", "F").low) == (130, 120)
    assert reference_interval("hb", None) is None
    assert reference_interval("potassium", None) == reference_interval("potassium", "F")


def test_every_bound_is_ordered_and_sourced():
    for (analyte, _), bounds in _intervals().items():
        assert bounds.source in sources()
        assert bounds.low is None or bounds.high is None or bounds.low < bounds.high, analyte
    for analyte, limits in _critical().items():
        assert limits.source in sources(), analyte


def test_critical_limits_lie_outside_the_reference_interval():
    for analyte, limits in _critical().items():
        for sex in "HF":
            bounds = reference_interval(analyte, sex)
            if bounds is None:
                continue
            assert limits.low is None or bounds.low is None or limits.low < bounds.low, analyte
            assert limits.high is None or bounds.high is None or limits.high > bounds.high, analyte


def test_potassium_of_6_8_is_beyond_its_critical_limit():
    assert critical_limits("potassium").high == 6.2


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
    owner = {}
    for analyte in analytes().values():
        for alias in {fold(name) for name in (analyte.name, *analyte.aliases)}:
            assert owner.setdefault(alias, analyte.id) == analyte.id, alias
