"""What a column of a generated fact may hold: the tables' own words, and the codes of feature views and use cases.

A code that a new view names is drawn from the day on which the view is there.
"""

import csv
import re
from functools import cache

from features.definitions import VIEWS, view, view_names
from models.catalog import use_case, use_case_names

WORDS = {
    "sex": ("female", "male", "unknown"),
    "class": ("inpatient", "inpatient", "inpatient", "emergency", "observation", "ambulatory"),
    "admission_type": ("emergency", "urgent", "elective", None),
    "admission_source": ("home", "emergency_department", "acute_hospital", "skilled_nursing"),
    "discharge_disposition": ("home", "home_health", "skilled_nursing", "died", "hospice", "against_advice"),
    "service": ("medical_icu", "surgery"),
    "ward": ("icu", "4 north"),
    "kind": ("problem", "encounter", "billing"),
    "category": ("laboratory", "vital_signs", "survey"),
    "unit": (None,),
    "comparator": (None, None, None, "<"),
    "local_system": (None,),
    "local_code": (None,),
    "modality": ("CT", "MR", "CR", "US"),
    "body_site": ("chest", "head"),
}
STATUSES = {"observation": ("final", "preliminary", "corrected"), "medication": ("active", "completed", "stopped")}
CODE_SYSTEMS = {
    "condition": ("icd-10-cm", "icd-9-cm", "snomed"),
    "procedure": ("icd-10-pcs", "icd-9-pcs", "cpt", "snomed"),
    "medication": ("rxnorm", "ndc", "local"),
}


@cache
def texts() -> tuple[str, ...]:
    """The SQL of every feature view and every cohort."""
    return (*(view(name).sql for name in view_names()), *(use_case(name).cohort_sql for name in use_case_names()))


@cache
def literals() -> tuple[str, ...]:
    """Every word that stands in quotes in them."""
    return tuple(sorted({each for text in texts() for each in re.findall(r"'([^'\n]{1,40})'", text)}))


@cache
def loinc() -> tuple[str, ...]:
    """The LOINC codes that they name, as many of one view as of another, and those of cohorts the more often."""
    of_views = [codes for name in view_names() if (codes := view(name).codes)]
    most = max(map(len, of_views))
    evenly = [code for codes in of_views for code in codes * (most // len(codes))]
    of_use_cases = [use_case(name).cohort_sql for name in use_case_names()]
    of_cohorts = sorted({code for sql in of_use_cases for code in re.findall(r"'(\d{1,5}-\d)'", sql)})
    return (*sorted(evenly), *of_cohorts * (len(evenly) // 3))


@cache
def coded(table: str) -> tuple[tuple[str, str], ...]:
    """Pairs of code system and code: those of the reference tables, and every code in quotes under each system."""
    pairs = []
    for path in sorted(VIEWS.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("code_system") in CODE_SYSTEMS[table]:
                    pairs.append((row["code_system"], row.get("code") or row["prefix"]))
    codes = [word for word in literals() if re.fullmatch(r"[A-Z0-9]{3,9}", word)]
    spread = [(system, code) for system in CODE_SYSTEMS[table] for code in codes]
    return tuple(pairs + spread * max(1, len(pairs) // max(1, len(spread))))
