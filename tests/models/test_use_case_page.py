"""A use case's page says who is asked, what the model sees, and what a version must show."""

import dataclasses

from models.catalog import use_case
from models.use_case import Monitoring, PromotionGate
from models.use_case_page import use_case_page

AKI = use_case("aki_48h")


def test_a_feature_stands_with_unit_meaning_need_and_view() -> None:
    page = use_case_page(AKI)
    view = "[recent_labs](../../features/views/README.md#recent_labs)"
    assert f"| `creatinine_last_mg_dl` | mg/dL | last of 7 d | **required** | {view} |" in page
    assert f"| `bun_last_mg_dl` | mg/dL | last of 7 d | optional | {view} |" in page


def test_bands_cover_all_risks_and_say_where_someone_acts() -> None:
    page = use_case_page(AKI)
    assert "| low | 0 % to below 5 % |  |" in page
    assert "| high | 20 % to 100 % | someone acts |" in page


def test_every_figure_of_gate_and_monitoring_is_the_declared_one() -> None:
    changed = dataclasses.replace(
        AKI,
        gate=PromotionGate(min_auroc_lower=0.66, min_rows=501, min_outcomes=101, slope_range=(0.7, 1.3)),
        monitoring=Monitoring(
            window_nights=9, outcome_nights=91, min_rows=201, psi_threshold=0.3, breaches_of_last=(3, 4)
        ),
    )
    page = use_case_page(changed)
    for said in (
        "501 held-out rows and 101 outcomes",
        "at least 0.66",
        "| Calibration slope | 0.7 to 1.3 |",
        "| Window | 9 nights |",
        "in the last 91 nights, and after the training",
        "201 rows on",
        "PSI above 0.3",
        "3 of the last 4 windows",
    ):
        assert said in page
