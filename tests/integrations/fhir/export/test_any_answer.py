"""Whatever JSON a server says, it is read, or refused with a sentence; nothing else comes of it."""

import json
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.asking import Export
from integrations.errors import RoundsError
from integrations.fhir.export.look import doubts
from integrations.fhir.export.manifest import read_manifest
from integrations.fhir.export.outcomes import serious_count
from integrations.fhir.export.pages import NoBundle, read_page
from integrations.web.ask import Answer
from integrations.web.origin import resolved
from integrations.web.patience import LONGEST_RETRY_AFTER, retry_after

BASE = httpx.URL("https://ehr.example.org/fhir/")
NAMES = "resourceType entry link relation url total rest resource type interaction code operation name issue severity"
NAMES += " output deleted error transactionTime requiresAccessToken count request method search mode fhirVersion"
WORDS = ["Bundle", "Patient", "next", "DELETE", "2024-01-01T00:00:00Z", "https://ehr.example.org/f", "error", "read"]
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
ANY = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=5),
    max_leaves=25,
)
OBJECT = st.dictionaries(st.sampled_from(NAMES.split()), ANY, max_size=8)


def as_json(value: Any) -> bytes:
    """Numbers of any size, as JSON allows them."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@given(OBJECT)
def test_any_manifest(said: dict[str, Any]) -> None:
    with suppress(RoundsError):
        manifest = read_manifest([{"transactionTime": "2024-01-01T00:00:00Z"} | said], BASE, 10)
        assert all(link.url.scheme == "https" for link in manifest.links)


@given(OBJECT)
def test_any_page(said: dict[str, Any]) -> None:
    with suppress(NoBundle):
        page = read_page(as_json({"resourceType": "Bundle"} | said))
        assert all(isinstance(entry.text, str) and "\n" not in entry.text for entry in page.entries)


@given(st.binary(max_size=60))
def test_any_bytes_for_a_page(content: bytes) -> None:
    with suppress(NoBundle):
        read_page(content)


@given(OBJECT)
def test_any_capability_statement(said: dict[str, Any]) -> None:
    for method in ("bulk", "search"):
        assert all(isinstance(each, str) for each in doubts(said, Export(types=("Patient",), method=method)))  # type: ignore[arg-type]


@given(OBJECT)
def test_any_outcome(said: dict[str, Any]) -> None:
    assert isinstance(Answer(400, httpx.Headers(), as_json(said)).issues, str)


@given(ANY)
def test_any_line_of_an_error_file(tmp_path_factory: pytest.TempPathFactory, said: Any) -> None:
    file = tmp_path_factory.mktemp("errors") / "error.000.ndjson"
    file.write_bytes(as_json(said) + b"\n")
    assert serious_count(file) in (0, 1)


@given(ANY | st.text())
def test_any_link(link: Any) -> None:
    with suppress(RoundsError):
        assert resolved(BASE, link).scheme == "https"


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126))
DATES = st.sampled_from(["", "Mon, 01 Jan 2024 00:00:00 GMT", "x"])


@given(PRINTABLE, DATES)
def test_any_retry_after(text: str, date: str) -> None:
    wait = retry_after(httpx.Headers({"Retry-After": text, "Date": date}))
    assert 0 <= wait.total_seconds() <= LONGEST_RETRY_AFTER.total_seconds()


def test_a_page_keeps_the_text_of_each_resource_as_it_was_written() -> None:
    written = b'{"resourceType":"Observation","id":"o1","valueQuantity":{"value":1.50,\r\n"unit":"\\u00b5"},'
    written += b'"big":12345678901234567890.10}'
    page = read_page(b'{"resourceType":"Bundle","total":1,"entry":[ {"resource": ' + written + b' } ],"link":[]}')
    assert page.entries[0].text == written.decode().replace("\r\n", "  ")
