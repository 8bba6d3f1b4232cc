"""On what terms a score may still go to the EHR: the champion made it, and it is not too old to be of use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from integrations.fhir.risk_assessment import RiskDescription, RiskScore


@dataclass(frozen=True, kw_only=True)
class Permit:
    """What one use case may send for one site where it is live. `valid_for` counts from prediction_time."""

    description: RiskDescription
    champion: int | None
    valid_for: timedelta

    def void_because(self, score: RiskScore, as_of: datetime) -> str | None:
        """Return why a score may not be sent any more; None while it may."""
        if score.version != self.champion:
            return f"version {score.version} is not the champion any more"
        if score.prediction_time + self.valid_for < as_of:
            return f"older than {self.valid_for / timedelta(hours=1):g} h"
        return None


Permits = Mapping[tuple[str, str], Permit]  # by site_id and use case
