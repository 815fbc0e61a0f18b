import pytest

from harness.datasets.findings import is_fixed, kind_of, view_name
from harness.phantom.vocabulary import FINDINGS


@pytest.mark.parametrize("name", FINDINGS)
def test_the_names_of_the_phantoms_findings_say_which_are_fixed(name: str) -> None:
    assert is_fixed(FINDINGS[name].padchest) == FINDINGS[name].fixed


def test_devices_are_told_from_findings_of_the_same_organ() -> None:
    devices = (
        "NSG tube",
        "artificial mitral heart valve",
        "dual chamber device",
        "Support Devices",
    )
    assert [kind_of(name) for name in devices] == ["device"] * 4
    findings = ("heart valve calcified", "kerley lines", "Pneumothorax", "metastasis", "")
    assert [kind_of(name) for name in findings] == ["finding"] * 5


def test_movable_findings_are_not_fixed() -> None:
    for name in ("Pleural Effusion", "nodule", "rib fracture", "Lung Opacity", "atelectasis"):
        assert not is_fixed(name)


@pytest.mark.parametrize(
    ("written", "view"),
    [
        *[("PA", "PA"), ("AP", "AP"), ("ap", "AP"), ("AP_SUPINE", "AP"), ("LL", "LATERAL")],
        *[("LATERAL", "LATERAL"), ("", ""), ("FRONTAL", ""), ("AP AXIAL", ""), ("PA LLD", "")],
        *[("XTABLE LATERAL", ""), ("LPO", ""), ("L5 S1", "")],
    ],
)
def test_only_plain_views_have_a_name(written: str, view: str) -> None:
    assert view_name(written) == view
