"""A sender is told of a time exactly where the tables could not take it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.hl7v2.times import is_time
from integrations.ingest.instants import instant_sql, make_macros
from tests.integrations.hl7v2.conftest import contract

TIMES = [
    *("20240301", "2024030108", "202403010800", "20240301080000", "20240301080000.1234", "20240301080000.5-0600"),
    *("202403010800+0530", "20240301080000Z", "20240301240000", "20240301080060", "20240230080000", "202403010860"),
    *("2024", "202403", "20240301 080000", "today", "20240301080000-06", "20240301080000-06:00", "20240301080000+2500"),
    *("00000101000000", "99991231235959", "20240301080000.", "20240301080000-0660"),
]
WRITTEN = st.from_regex(
    r"(20\d\d)(0[0-9]|1[0-3])([0-3]\d)([0-2]\d[0-6]\d([0-6]\d)?)?([+-][01]\d[0-6]\d)?", fullmatch=True
)


@pytest.fixture(scope="module")
def reader(connection):
    make_macros(connection, contract())
    return connection


def is_taken(reader, text, dates_alone=None):
    """Whether the tables read it."""
    [(found,)] = reader.execute(
        f"select {instant_sql('sent', dates_alone)} from (select $text as sent)", {"text": text}
    ).fetchall()
    return found is not None


@pytest.mark.parametrize("text", TIMES)
def test_a_time_is_told_as_the_tables_take_it(reader, text):
    assert is_time(text) == is_taken(reader, text)
    assert is_time(text, may_be_a_day=True) == is_taken(reader, text, "start_of_day")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=WRITTEN)
def test_whatever_digits_a_sender_writes(reader, text):
    assert is_time(text) == is_taken(reader, text)
