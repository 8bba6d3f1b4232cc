"""The feeds of generated histories: a hospital, its laboratory, and the past of another site with its dates moved."""

from datetime import timedelta

from integrations.snapshot import Feed
from integrations.tables import TABLES
from models.cases import SITE

FEEDS = (
    Feed(source="ehr", site_id=SITE, time_zone="America/Chicago", lateness=timedelta(days=1)),
    Feed(
        source="lis",
        site_id=SITE,
        time_zone="America/Chicago",
        lateness=timedelta(days=1),
        is_authoritative_for=("observation",),
    ),
)
# Of a site of its own, as a research extract is; it brings no studies, and does not tell of every visit and procedure.
SHIFTED = Feed(
    source="old",
    site_id="moved",
    time_zone="Etc/GMT+5",
    lateness=timedelta(days=1),
    is_date_shifted=True,
    tables=tuple(name for name in TABLES if name != "imaging_study"),
    not_told=("encounter:emergency", "procedure:of_this_stay"),
)
