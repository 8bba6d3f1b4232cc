"""What the watch can find: a closed list of kinds, how severe each is, and which results it holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Severity = Literal["note", "warning", "blocking"]
SEVERITIES: tuple[Severity, ...] = ("note", "warning", "blocking")

KINDS: dict[str, str] = {
    "code_new": "a code that was never sent before",
    "code_vanished": "a code that always came and does not any more",
    "code_renamed": "a new code in place of one that does not come any more, of like volume and spread",
    "scale_jump": "the values of a code lie on another scale than before",
    "unit_mix": "a code comes in another unit, or its units in other shares",
    "junk": "values of a code are words of nothing, such as NA",
    "ward_new": "a ward that was never named before",
    "ward_vanished": "a ward into which nobody is moved any more",
    "sender_new": "a sender (HL7 v2 MSH-3, MSH-4) that never sent before",
    "sender_vanished": "a sender that does not send any more",
    "volume": "fewer results of a ward than its patients let expect",
    "freshness": "an extract that came late, or with nothing new in it",
    "duplicates": "more records than before that say nothing new",
    "corrected": "more results than before that correct or withdraw another",
    "delay": "results take longer from collected to issued than before, or than the contract allows",
}
# A blocking one of these says that results arrived wrong: it holds the patients who have one from its extracts.
WRONG = ("scale_jump", "unit_mix")
# A blocking one of these says that results are missing, nobody knows whose: it holds every patient of the site.
MISSING = ("code_vanished", "code_renamed", "junk")


@dataclass(frozen=True, kw_only=True)
class Found:
    """One thing that an extract showed. `codes`: the LOINC codes it touches; `evidence`: figures, of no patient."""

    kind: str
    subject: str
    severity: Severity
    sentence: str
    to_do: str
    since_at: datetime
    codes: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)


def rank(severity: str) -> int:
    """Higher is more severe."""
    return [str(each) for each in SEVERITIES].index(severity)
