"""`rounds listen` and `rounds ingest` as processes: what is heard comes into the tables."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.integrations.hl7v2.killed import free_port
from tests.integrations.hl7v2.listening import SECONDS, Sender

MESSAGE = "\r".join(
    [
        r"MSH|^~\&|LIS|DEMO|ROUNDS|DEMO|20240701014900||ORU^R01^ORU_R01|{number}|P|2.5.1",
        "PID|1||M0000001^^^DEMO&2.16.840.1.113883.19.5&ISO^MR",
        "OBR|1||A{number}|BMP^BMP^L|||20240701011400|||||||||||||||20240701014900|||F",
        "OBX|1|NM|2160-0^Creatinine^LN||1.10|mg/dL|||||F|||20240701011400",
    ]
)


def rounds(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *words], env=environment(home), capture_output=True, text=True, check=False
    )


def environment(home: Path) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("ROUNDS_", "PREFECT_"))}
    return {**kept, "ROUNDS_HOME": str(home), "NO_COLOR": "1"}


def connected(port: int) -> Sender:
    """Connect as soon as somebody listens."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return Sender(port)
        except ConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def test_what_is_heard_is_taken_in_once_and_a_listener_stops_when_told(home: Path) -> None:
    port = free_port()
    (home / "settings.yaml").write_text(f"listeners: {{demo_lis: {{port: {port}, seal_seconds: 0.1}}}}\n")
    listener = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "listen", "demo_lis"],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with connected(port) as sender:
            answers = [sender.send(MESSAGE.format(number=number).encode())[1:] for number in (1, 2, 2)]
        assert answers == [["AA", "1"], ["AA", "2"], ["AA", "2"]]
        second = rounds(home, "listen", "demo_lis")
        assert (second.returncode, "another process listens for demo_lis" in second.stderr) == (1, True)
        while list((home / "landing/demo_lis/.inbox/open").iterdir()):
            time.sleep(0.05)
        done = json.loads(rounds(home, "ingest", "demo_lis", "--json").stdout)
    finally:
        listener.send_signal(signal.SIGTERM)
        said, told = listener.communicate(timeout=SECONDS)
    assert listener.returncode == 0
    assert "answered: 3 AA, 0 AE, 0 AR; 1 of them had come before" in said
    assert f"listening for demo_lis on port {port}" in told
    assert "M0000001" not in said + told
    assert done["accounts"]["observation"]["received"] == 2
    assert "nothing was heard" in rounds(home, "ingest", "demo_lis").stdout


def test_a_feed_that_nobody_said_where_to_listen_for_says_what_to_set(home: Path) -> None:
    told = rounds(home, "listen", "demo_lis")
    assert told.returncode == 2
    assert "set listeners: {demo_lis: {port: 2575}}" in told.stderr
    assert rounds(home, "listen", "demo_ehr").returncode == 2
