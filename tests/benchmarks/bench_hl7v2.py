"""Laboratory messages a CPU second: files of ORU^R01 with six results each, to the staged rows in DuckDB.

No peer is installed (python-hl7 is none of our parts), so this is a plain figure.
"""

import resource
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from integrations.contract import load_contract
from integrations.duck import connect
from integrations.hl7v2.stage import stage_messages
from tests.benchmarks.row import Row

MESSAGES = 20_000
RESULTS = (
    ("2160-0^Creatinine [Mass/volume] in Serum or Plasma^LN", "1.10", "mg/dL^mg/dL^UCUM"),
    ("3094-0^Urea nitrogen [Mass/volume] in Serum or Plasma^LN", "14", "mg/dL^mg/dL^UCUM"),
    ("2823-3^Potassium [Moles/volume] in Serum or Plasma^LN", "4.1", "mmol/L^mmol/L^UCUM"),
    ("2951-2^Sodium [Moles/volume] in Serum or Plasma^LN", "139", "mmol/L^mmol/L^UCUM"),
    ("6690-2^Leukocytes [#/volume] in Blood by Automated count^LN", "<0.5", r"10\S\3/uL^^UCUM"),
    ("2345-7^Glucose [Mass/volume] in Serum or Plasma^LN", "98", "mg/dL^mg/dL^UCUM"),
)


def rows() -> Iterator[Row]:
    """Yield messages per CPU second, and what memory it took."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "oru.hl7"
        file.write_bytes("".join(_message(number) for number in range(MESSAGES)).encode())
        connection = connect(Path(folder))
        before, started = _peak_mb(), time.process_time()
        stage_messages(
            connection, [file], load_contract("demo_lis"), root=file.parent, extract_id="bench", known=lambda _: []
        )
        seconds = time.process_time() - started
        [(count,)] = connection.execute("select count(*) from staged_observation").fetchall()
        detail = f"{count:,} results, {file.stat().st_size / 1e6:.0f} MB, {_peak_mb() - before:.0f} MB more memory"
        connection.close()
    yield Row(
        what="HL7 v2: ORU messages of 6 results to staged rows",
        figure=MESSAGES / seconds,
        unit="/CPU s",
        bound=5_000,
        detail=detail,
    )


def _message(number: int) -> str:
    order, patient = f"A{number}", f"M{number % 5_000:07d}"
    segments = [
        rf"MSH|^~\&|LIS|DEMO|ROUNDS|DEMO|20240701014900||ORU^R01^ORU_R01|{number}|P|2.5.1|||||USA|UNICODE UTF-8",
        f"PID|1||{patient}^^^DEMO&2.16.840.1.113883.19.5&ISO^MR||Eriksen^Hugo||19940124|M",
        f"PV1|1|I|||||||||||||||||e{number}^^^DEMO^VN",
        f"OBR|1||{order}|BMP^BMP^L|||20240701011400|||||||||||||||20240701014900|||F",
        *(
            f"OBX|{place}|NM|{code}||{value}|{unit}|||||F|||20240701011400"
            for place, (code, value, unit) in enumerate(RESULTS, 1)
        ),
    ]
    return "".join(segment + "\r" for segment in segments)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
