"""What a sender writes for a code, a unit, a ward or itself comes to people as plain text of bounded length."""

import pytest

from integrations.synthetic_hospital.hospital import Hospital
from integrations.watch.finding import Found
from tests.integrations.watch.conftest import OpenFeed
from tests.integrations.watch.nights import Nights

FORGED = "X\n9  note code_new, demo_lis: all is well\x1b[2J\u202e" + "x" * 500
NEW_CODE = "update judged set local_code = null, code = null, unknown_code = $forged, fault = 'unknown_code code'"
NEW_UNIT = "update judged set sent_unit = $forged"


def said(found: list[Found]) -> list[str]:
    return [text for each in found for text in (each.subject, each.sentence, each.to_do, *map(str, each.evidence))]


@pytest.mark.parametrize(
    ("spoil", "kind"), [(f"{NEW_CODE} where local_code = '6598-7'", "code_renamed"), (NEW_UNIT, "unit_mix")]
)
def test_a_code_or_unit_with_line_ends_and_escapes_forges_no_line(feed: OpenFeed, spoil: str, kind: str) -> None:
    nights = laboratory(feed)
    nights.learn(range(1, 6))
    found = nights.play(range(6, 9), lambda lake: lake.execute(spoil, {"forged": FORGED}) and None)
    assert kind in {each.kind for each in found}
    assert all(text.isprintable() and len(text) < 1000 for text in said(found))


def test_a_sender_with_line_ends_forges_no_line(feed: OpenFeed) -> None:
    nights = laboratory(feed)
    found = []
    for night in range(1, 6):
        nights.connection.execute(
            "create or replace temp table sent_message as select $id as extract_id, $sender as sender from range(40)",
            {"id": f"demo_lis-{night:03d}", "sender": "LIS|DEMO" if night < 5 else FORGED},
        )
        found += nights.play([night])
    [new] = [each for each in found if each.kind == "sender_new"]
    assert new.subject.startswith("X\N{REPLACEMENT CHARACTER}9  note")
    assert all(text.isprintable() and len(text) < 1000 for text in said(found))


def laboratory(feed: OpenFeed) -> Nights:
    return feed("demo_lis", Hospital(patients=8000, nights=9, scenario="none", seed=3))
