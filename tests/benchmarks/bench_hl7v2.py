"""Laboratory messages a CPU second: ORU^R01 with six results each, beside python-hl7 parsing the same bytes."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from integrations.duck import connect
from integrations.hl7v2.stage import stage_messages
from integrations.ingest import ingest
from integrations.ingest.known import open_lake
from integrations.landing import arrival, settle
from tests.benchmarks.row import Row, peak_mb
from tests.integrations.hl7v2.feed import HeardFeed, open_feed

MESSAGES, PATIENTS = 20_000, 5_000
OF_A_PEER = 2_000  # messages: python-hl7 is slow
RESULTS = (
    ("2160-0^Creatinine [Mass/volume] in Serum or Plasma^LN", "1.10", "mg/dL^mg/dL^UCUM"),
    ("3094-0^Urea nitrogen [Mass/volume] in Serum or Plasma^LN", "14", "mg/dL^mg/dL^UCUM"),
    ("2823-3^Potassium [Moles/volume] in Serum or Plasma^LN", "4.1", "mmol/L^mmol/L^UCUM"),
    ("2951-2^Sodium [Moles/volume] in Serum or Plasma^LN", "139", "mmol/L^mmol/L^UCUM"),
    ("6690-2^Leukocytes [#/volume] in Blood by Automated count^LN", "5.5", "10*3/uL^^UCUM"),
    ("2345-7^Glucose [Mass/volume] in Serum or Plasma^LN", "98", "mg/dL^mg/dL^UCUM"),
)
CODES = "local_system,local_code,loinc,unit,reason,owner\n" + "".join(
    f"LN,{code},{code},{unit},,the laboratory\n"
    for code, unit in (
        ("2160-0", "mg/dL"),
        ("3094-0", "mg/dL"),
        ("2823-3", "mmol/L"),
        ("2951-2", "mmol/L"),
        ("6690-2", "10*3/uL"),
        ("2345-7", "mg/dL"),
    )
)


def rows() -> Iterator[Row]:
    """Yield messages per CPU second: to the staged rows, from landing to the table, and of python-hl7."""
    with TemporaryDirectory() as folder:
        feed = open_feed(Path(folder) / "home")
        (feed.home / "sources" / "lab" / "codes.csv").write_text(CODES, encoding="utf-8")
        file = Path(folder) / "oru.hl7"
        file.write_bytes("".join(_message(number) for number in range(MESSAGES)).encode())
        size = f"{MESSAGES * len(RESULTS):,} results, {file.stat().st_size / 1e6:.0f} MB"
        staged, memory = _staged(feed, file, Path(folder))
        yield Row(
            what="HL7 v2: ORU messages of 6 results to staged rows",
            figure=MESSAGES / staged,
            unit="/CPU s",
            detail=f"{size}, {memory:.0f} MB more memory",
        )
        whole = _whole(feed, file, Path(folder))
        peer = _python_hl7()
        yield Row(
            what="HL7 v2: ORU messages of 6 results, from landing to the table",
            figure=MESSAGES / whole,
            unit="/CPU s",
            bound=5_000,
            detail=f"{size}; python-hl7 only parses {OF_A_PEER / peer:,.0f} a CPU s",
        )


def _staged(feed: HeardFeed, file: Path, folder: Path) -> tuple[float, float]:
    with connect(folder) as connection:
        open_lake(connection, feed.places.lake, {})
        before, started = peak_mb(), time.process_time()
        stage_messages(connection, [file], feed.contract, root=file.parent, extract_id="bench", known=lambda _: [])
        return time.process_time() - started, peak_mb() - before


def _whole(feed: HeardFeed, file: Path, folder: Path) -> float:
    """CPU seconds from the landed file to the committed table; patients are known before."""
    admitted = folder / "adt.hl7"
    admitted.write_bytes("".join(_admission(number) for number in range(PATIENTS)).encode())
    _ingest(feed, admitted)
    started = time.process_time()
    _ingest(feed, file)
    seconds = time.process_time() - started
    copied = time.process_time()
    with arrival("copied", file, folder / "copied") as new:  # the way into landing is not what is measured
        settle(new, feed.now)
    seconds -= time.process_time() - copied
    [(count,)] = feed.rows("select count(*) from versions", "observation")
    if count != MESSAGES * len(RESULTS):
        raise AssertionError(f"{count} results are in the table")
    return seconds


def _ingest(feed: HeardFeed, file: Path) -> None:
    ingest("lab", file, as_of=feed.tick(), is_history=False, places=feed.places, records=feed.records)


def _python_hl7() -> float:
    import hl7

    texts = [_message(number) for number in range(OF_A_PEER)]
    started = time.process_time()
    for text in texts:
        hl7.parse(text)
    return time.process_time() - started


def _admission(number: int) -> str:
    return (
        rf"MSH|^~\&|ADT|DEMO|ROUNDS|DEMO|20240301014900||ADT^A04|A{number}|P|2.5.1" + "\r"
        f"PID|1||M{number:07d}^^^LAB&1.2.3&ISO^MR||||19500101|F\r"
        f"PV1|1|O|||||||||||||||||V{number}|||||||||||||||||||||||||20240301014900\r"
    )


def _message(number: int) -> str:
    order, patient = f"A{number}", f"M{number % PATIENTS:07d}"
    segments = [
        rf"MSH|^~\&|LIS|DEMO|ROUNDS|DEMO|20240301014900||ORU^R01^ORU_R01|{number}|P|2.5.1|||||USA|UNICODE UTF-8",
        f"PID|1||{patient}^^^LAB&1.2.3&ISO^MR||Eriksen^Hugo||19940124|M",
        f"PV1|1|O|||||||||||||||||V{number % PATIENTS}^^^DEMO^VN",
        f"OBR|1||{order}|BMP^BMP^L|||20240301011400|||||||||||||||20240301014900|||F",
        *(
            f"OBX|{place}|NM|{code}||{value}|{unit}|||||F|||20240301011400"
            for place, (code, value, unit) in enumerate(RESULTS, 1)
        ),
    ]
    return "".join(segment + "\r" for segment in segments)
