"""The words of the hospital: its diseases, services, wards, tests and the codes that stand for them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Condition:
    """A chronic disease: log odds of having it at 55, and what a year of age adds."""

    key: str
    icd10: str
    display: str
    log_odds: float
    per_year: float


CONDITIONS = (
    Condition("heart_failure", "I50.9", "Heart failure, unspecified", -3.2, 0.055),
    Condition("kidney_disease", "N18.30", "Chronic kidney disease, stage 3 unspecified", -2.9, 0.050),
    Condition("lung_disease", "J44.9", "Chronic obstructive pulmonary disease, unspecified", -2.8, 0.035),
    Condition("diabetes", "E11.9", "Type 2 diabetes mellitus without complications", -1.9, 0.030),
    Condition(
        "cancer", "C34.90", "Malignant neoplasm of unspecified part of unspecified bronchus or lung", -3.2, 0.030
    ),
    Condition("atrial_fibrillation", "I48.91", "Unspecified atrial fibrillation", -3.4, 0.060),
    Condition("hypertension", "I10", "Essential (primary) hypertension", -0.8, 0.050),
    Condition("dementia", "F03.90", "Unspecified dementia without behavioral disturbance", -5.0, 0.090),
    Condition("old_infarction", "I25.2", "Old myocardial infarction", -3.2, 0.045),
)
CONDITION = {condition.key: row for row, condition in enumerate(CONDITIONS)}
END_STAGE = ("N18.6", "End stage renal disease")
ON_DIALYSIS = ("Z99.2", "Dependence on renal dialysis")
STAGE_FIVE = ("N18.5", "Chronic kidney disease, stage 5")
CHEST_PAIN = ("R07.9", "Chest pain, unspecified")
KIDNEY_INJURY = ("N17.9", "Acute kidney failure, unspecified")


@dataclass(frozen=True)
class Service:
    """A clinical service: its share of admissions, the log of its usual days, its ward and what it admits for."""

    code: str
    display: str
    share: float
    log_days: float
    ward: int
    reason: tuple[str, str]


SERVICES = (
    Service("MED", "General medicine", 0.45, 1.32, 0, ("J18.9", "Pneumonia, unspecified organism")),
    Service("CARD", "Cardiology", 0.18, 1.22, 1, ("I21.4", "Non-ST elevation (NSTEMI) myocardial infarction")),
    Service("SURG", "General surgery", 0.22, 1.15, 2, ("K80.00", "Calculus of gallbladder with acute cholecystitis")),
    Service("NEPH", "Nephrology", 0.06, 1.45, 0, ("E87.5", "Hyperkalemia")),
    Service("ONC", "Oncology", 0.09, 1.45, 3, ("Z51.11", "Encounter for antineoplastic chemotherapy")),
)
MEDICINE, CARDIOLOGY, SURGERY, NEPHROLOGY, ONCOLOGY = range(5)
WARDS = ("4 West", "5 Cardiac", "6 Surgical", "7 Oncology", "Intensive Care", "Emergency", "Observation Unit", "Clinic")
INTENSIVE_CARE, EMERGENCY_ROOM, OBSERVATION_UNIT, CLINIC = 4, 5, 6, 7

CLASSES = (
    ("IMP", "inpatient encounter"),
    ("EMER", "emergency"),
    ("OBSENC", "observation encounter"),
    ("AMB", "ambulatory"),
)
PRIORITIES = (("EM", "emergency"), ("UR", "urgent"), ("EL", "elective"), ("R", "routine"))
EMERGENT, URGENT, ELECTIVE, ROUTINE = range(4)
SOURCES = ("emd", "nursing", "hosp-trans", "outp", "gp")
FROM_EMERGENCY, FROM_NURSING, FROM_HOSPITAL, FROM_OUTPATIENT, FROM_PRACTITIONER = range(5)
DISPOSITIONS = ("home", "snf", "rehab", "02", "hosp", "aadvice", "exp")  # FHIR hosp is hospice; NUBC 02 is a hospital
TO_HOME, TO_NURSING, TO_REHAB, TO_HOSPITAL, TO_HOSPICE, AGAINST_ADVICE, DIED = range(7)
NOT_ELIGIBLE = (TO_HOSPITAL, TO_HOSPICE, AGAINST_ADVICE, DIED)


@dataclass(frozen=True)
class Item:
    """A laboratory test or vital sign: LOINC, unit (UCUM), the limits a device can show, decimals and panel."""

    key: str
    loinc: str
    display: str
    unit: str
    low: float
    high: float
    decimals: int
    panel: str


LABORATORY = (
    Item("creatinine", "2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", 0.2, 18, 2, "BMP"),
    Item("bun", "3094-0", "Urea nitrogen [Mass/volume] in Serum or Plasma", "mg/dL", 2, 180, 0, "BMP"),
    Item("potassium", "2823-3", "Potassium [Moles/volume] in Serum or Plasma", "mmol/L", 2.2, 8, 1, "BMP"),
    Item("sodium", "2951-2", "Sodium [Moles/volume] in Serum or Plasma", "mmol/L", 112, 165, 0, "BMP"),
    Item("glucose", "2345-7", "Glucose [Mass/volume] in Serum or Plasma", "mg/dL", 30, 800, 0, "BMP"),
    Item("hemoglobin", "718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", 4, 19, 1, "CBC"),
    Item("leukocytes", "6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", 0.3, 60, 1, "CBC"),
    Item("albumin", "1751-7", "Albumin [Mass/volume] in Serum or Plasma", "g/dL", 1.2, 5.2, 1, "HEP"),
    Item("lactate", "2524-7", "Lactate [Moles/volume] in Serum or Plasma", "mmol/L", 0.4, 20, 1, "LACT"),
    Item("troponin", "6598-7", "Troponin T.cardiac [Mass/volume] in Serum or Plasma", "ng/mL", 0.01, 15, 2, "TROP"),
)
VITAL_SIGNS = (
    Item("heart_rate", "8867-4", "Heart rate", "/min", 35, 190, 0, "VITAL"),
    Item("systolic", "8480-6", "Systolic blood pressure", "mm[Hg]", 60, 230, 0, "VITAL"),
    Item("breathing", "9279-1", "Respiratory rate", "/min", 8, 45, 0, "VITAL"),
    Item("oxygen", "59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry", "%", 70, 100, 0, "VITAL"),
    Item("temperature", "8310-5", "Body temperature", "Cel", 34, 41, 1, "VITAL"),
)
ITEMS = LABORATORY + VITAL_SIGNS
ITEM = {item.key: row for row, item in enumerate(ITEMS)}
PANELS = tuple(sorted({item.panel for item in ITEMS}))
PANEL_OF_ITEM = np.array([PANELS.index(item.panel) for item in ITEMS])
CREATININE_IN_UMOL = 88.42  # umol/L in 1 mg/dL, by a molar mass of 113.12 g/mol
UPGRADED_CODES = {"potassium": "6298-4", "sodium": "2947-0", "glucose": "2339-0", "hemoglobin": "20509-6"}

# RxNorm, name, service that orders it (None: any)
MEDICATIONS = (
    ("1361577", "heparin sodium 5000 UNT/ML Injectable Solution", None),
    ("313988", "furosemide 40 MG Oral Tablet", CARDIOLOGY),
    ("314076", "lisinopril 10 MG Oral Tablet", MEDICINE),
    ("1665060", "cefazolin 1000 MG Injection", SURGERY),
    ("312086", "ondansetron 4 MG Oral Tablet", ONCOLOGY),
    ("1807627", "vancomycin 1000 MG Injection", NEPHROLOGY),
)
HEMODIALYSIS = ("5A1D70Z", "Performance of urinary filtration, intermittent, less than 6 hours per day")
CHOLECYSTECTOMY = ("0FT44ZZ", "Resection of gallbladder, percutaneous endoscopic approach")
IMAGING = (("DX", "51185008", "Thorax", 4), ("CT", "818981001", "Abdomen", 12))  # modality, SNOMED CT site, one stay in
GIVEN_NAMES = (
    "Ada",
    "Ben",
    "Clara",
    "David",
    "Elena",
    "Frank",
    "Grace",
    "Hugo",
    "Iris",
    "Jonas",
    "Kira",
    "Leo",
    "Mara",
    "Nils",
)
FAMILY_NAMES = (
    "Abbott",
    "Brandt",
    "Castillo",
    "Duval",
    "Eriksen",
    "Fischer",
    "Grant",
    "Hoffman",
    "Ivanov",
    "Jansen",
    "Keller",
)
