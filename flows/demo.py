"""`rounds demo`: a synthetic hospital through the real flows, as any other installation would run them.

Only the hospital and its three people are for show. Its state is an ordinary ROUNDS_HOME: every command works on it
afterwards.
"""

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flows.house import House, clock, close_snapshot
from flows.screen import console, say
from flows.server import Server, environment, free_port, start_server, stop, wait_until_up
from integrations.errors import NotInOrder, Refused
from integrations.settings import CHECKOUT, Settings
from integrations.synthetic_hospital.ehr_server import EhrServer
from integrations.synthetic_hospital.ehr_shelf import Shelf
from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import HospitalFiles, Night, write_hospital

PEOPLE = (("Ada Osei", "governance"), ("Ben Ruiz", "clinician"), ("Cleo Park", "engineer"))
FOR_SHOW = "approved for the demo"
SITE = "demo"
EHR, LIS = "demo_ehr", "demo_lis"
LOOPBACK = "127.0.0.1"
SEAL_SECONDS, LISTENER_SECONDS = 0.2, 60
TRAINER = "Cleo Park"
# skops first: it looks for each ufunc of numpy and scipy in every module that is there by then.
LATER = ("skops.io", "models.estimators", "mlflow.sklearn", "mlflow.tracking", "shap", "evidently.presets")


@dataclass(frozen=True)
class Demo:
    """What the story is played with."""

    settings: Settings
    house: House
    files: HospitalFiles
    ehr: EhrServer
    progress: Progress


def play(settings: Settings, *, patients: int, nights: int, scenario: str, seed: int) -> None:
    """Play the whole story and show what came of it."""
    from flows.demo_screen import show_outcome

    began = time.monotonic()
    hospital = Hospital(patients=patients, nights=nights, scenario=scenario, seed=seed)
    start_clean(settings)
    with prefect_server(settings) as server, _progress() as progress, ExitStack() as open_parts:
        files = build_hospital(settings, hospital, progress)
        settings, ehr = open_parts.enter_context(ehr_server(settings, files))
        settings = open_parts.enter_context(listener(settings))
        with progress_step(progress, "start Prefect"):
            import_meanwhile()
            wait_until_up(server, settings)
        demo = Demo(settings, House(settings), files, ehr, progress)
        with _quick_flows():
            load_history(demo)
            versions = train_and_approve(demo)
            play_nights(demo)
    show_outcome(demo.house, hospital, files, versions, seconds=time.monotonic() - began)
    close_snapshot()
    _end_prefect()


def start_clean(settings: Settings) -> None:
    """Begin with an empty ROUNDS_HOME; what lay there is moved aside, never deleted."""
    home = settings.home
    if home.exists() and any(home.iterdir()):
        pid_file = home / "prefect" / "server.pid"
        if pid_file.exists() and _lives(int(pid_file.read_text(encoding="ascii"))):
            raise Refused("a Prefect server runs on this ROUNDS_HOME", where=str(home), to_do="make down, then again")
        aside = home.with_name(f"{home.name}-{clock():%Y%m%dT%H%M%SZ}")
        home.rename(aside)
        say(f"this demo starts clean; what was in {home} is now in {aside}")
    home.mkdir(parents=True, mode=0o700)


@contextmanager
def prefect_server(settings: Settings) -> Iterator[Server]:
    """Start the demo's own Prefect server, point this process to it, and stop it at the end."""
    server = start_server(settings, free_port())
    os.environ.update(environment(settings, server.url))
    os.environ["PREFECT_LOGGING_LEVEL"] = "WARNING"
    try:
        yield server
    finally:
        stop(server.pid)
        (settings.home / "prefect" / "server.pid").unlink(missing_ok=True)


def build_hospital(settings: Settings, hospital: Hospital, progress: Progress) -> HospitalFiles:
    """Write what its EHR and its laboratory would send."""
    task = progress.add_task("build the hospital", total=hospital.bucket_count)
    return write_hospital(
        hospital,
        settings.home / "demo_hospital",
        lambda done, total: progress.update(task, completed=done, total=total),
    )


@contextmanager
def ehr_server(settings: Settings, files: HospitalFiles) -> Iterator[tuple[Settings, EhrServer]]:
    """Start the hospital's FHIR server, which knows our key, and give settings that know its address."""
    from integrations.web.endpoint import Endpoint
    from integrations.web.smart import load_key, public_keys

    to_come = Endpoint(base_url="http://127.0.0.1", client_id="rounds")
    jwks = public_keys(load_key(to_come, settings.secrets / f"{EHR}.jwk"))
    shelf = Shelf([files.history, *(night.ehr for night in files.nights)])
    with EhrServer(shelf=shelf, now=files.history_taken_at, jwks=jwks, polls=0) as ehr:
        endpoint = to_come.model_copy(update={"base_url": ehr.base_url})
        os.environ["ROUNDS_ENDPOINTS"] = json.dumps({EHR: endpoint.model_dump(mode="json", exclude_defaults=True)})
        yield settings.model_copy(update={"endpoints": {EHR: endpoint}}), ehr


@contextmanager
def listener(settings: Settings) -> Iterator[Settings]:
    """Let `rounds listen` take what the laboratory sends, and give settings that know where."""
    from integrations.hl7v2.address import Address

    address = Address(host=LOOPBACK, port=free_port(), seal_seconds=SEAL_SECONDS)
    os.environ["ROUNDS_LISTENERS"] = json.dumps({LIS: address.model_dump(mode="json", exclude_defaults=True)})
    log = settings.home / "demo_listener.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "listen", LIS],
            env={**os.environ, "ROUNDS_HOME": str(settings.home)},
            cwd=CHECKOUT,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        yield settings.model_copy(update={"listeners": {LIS: address}})
    finally:
        process.terminate()
        process.wait()


def send_laboratory(demo: Demo, night: Night) -> None:
    """Let the laboratory send its messages of a night, and wait until an ingest can take them."""
    from integrations.hl7v2.inbox import is_sealed
    from integrations.synthetic_hospital.lis_sender import send_messages

    port, end = demo.settings.listeners[LIS].port, time.monotonic() + LISTENER_SECONDS
    is_sent = False
    while not (is_sent and is_sealed(LIS, demo.settings.landing)):
        if time.monotonic() > end:
            raise NotInOrder(
                "the listener does not take what the laboratory sends",
                where=str(demo.settings.home / "demo_listener.log"),
                to_do="read why, and run the demo again",
            )
        if not is_sent:
            with suppress(ConnectionRefusedError):  # it is still starting
                send_messages(night.lis / "oru.hl7", LOOPBACK, port)
                is_sent = True
        time.sleep(SEAL_SECONDS / 4)


def import_meanwhile() -> None:
    """Import what the flows will import where they first need it, while the server starts on the other core."""
    from features.feast_places import import_feast
    from models.registry import set_switches

    set_switches()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LATER:
            import_module(name)
    import_feast()


def load_history(demo: Demo) -> None:
    """Load two and a half years as one extract."""
    from flows.ingest import ingest

    with progress_step(demo.progress, "load the history"):
        ingest(EHR, is_history=True, as_of=demo.files.history_taken_at)


def train_and_approve(demo: Demo) -> dict[str, int]:
    """Train each use case that asks about patients of this hospital; what passed the gate, two people sign for."""
    from flows.train import plan, train
    from models.catalog import use_case_names

    keys = make_people(demo)
    approvers = {name: key for name, key in keys.items() if name != TRAINER}
    versions = {}
    for name in use_case_names():
        if not plan(demo.house, name, demo.files.history_taken_at)["rows"]:
            demo.progress.console.print(f"{name}: this hospital has nobody whom it asks about", markup=False)
            continue
        with progress_step(demo.progress, f"train {name}"):
            run = train(name, as_of=demo.files.history_taken_at, trained_by=TRAINER)
        versions[name] = run.version
        if run.evaluation.gate == "pass":
            approve_and_go_live(demo, name, run.version, approvers)
        else:
            demo.progress.console.print(
                f"{name}: the gate says {run.evaluation.gate}, so nobody is scored", markup=False
            )
    return versions


def make_people(demo: Demo) -> dict[str, Path]:
    """Register people with keys of their own. The keys lie side by side: fit for a show, not for a hospital."""
    from models.governance.people import add_person
    from models.governance.signing import load_signer

    folder = demo.settings.home / "demo_people"
    folder.mkdir(mode=0o700)
    keys: dict[str, Path] = {}
    for name, role in PEOPLE:
        first = next(iter(keys.items()), None)
        keys[name] = folder / f"{name.split()[0].lower()}.key"
        add_person(
            demo.house.records,
            name=name,
            role=role,
            key_out=keys[name],
            as_of=demo.files.history_taken_at,
            signer=load_signer(*first) if first else None,
            home=demo.settings.home,
        )
    return keys


def approve_and_go_live(demo: Demo, name: str, version: int, keys: dict[str, Path]) -> None:
    """Two signatures promote the version; two more take the use case live."""
    from flows.promote import promote
    from models.governance.approvals import approve
    from models.governance.signing import load_signer
    from models.governance.stages import set_stage

    at = demo.files.history_taken_at
    for person, key in keys.items():
        approve(
            demo.house.records,
            use_case=name,
            version=version,
            signer=load_signer(person, key),
            reason=FOR_SHOW,
            as_of=at,
        )
    promote(name, version, as_of=at)
    for person, key in keys.items():
        set_stage(
            demo.house.records,
            site_id=SITE,
            sites=(SITE,),
            use_case=name,
            stage="live",
            signer=load_signer(person, key),
            reason=FOR_SHOW,
            as_of=at,
        )


def play_nights(demo: Demo) -> None:
    """Night after night: ingest both feeds, features, score, write back, monitor."""
    task = demo.progress.add_task("play the nights", total=len(demo.files.nights))
    for number, night in enumerate(demo.files.nights, 1):
        play_night(demo, night, with_report=number == len(demo.files.nights))
        demo.progress.advance(task)


def play_night(demo: Demo, night: Night, *, with_report: bool) -> None:
    """One night as the schedules of prefect.yaml would run it."""
    from flows.build_features import build_features
    from flows.ingest import ingest
    from flows.monitor import monitor
    from flows.score import score
    from flows.write_back import write_back

    demo.ehr.now = night.taken_at
    ingest(EHR, as_of=night.taken_at)
    send_laboratory(demo, night)
    ingest(LIS, as_of=night.taken_at)
    live = _champions(demo.house)
    for name in live:
        build_features(name, as_of=night.round_at)
        score(name, as_of=night.round_at)
    write_back(as_of=night.round_at)
    for name in live:
        monitor(name, as_of=night.round_at, with_report=with_report)


@contextmanager
def progress_step(progress: Progress, name: str) -> Iterator[None]:
    """Show a step without a count of its own."""
    task = progress.add_task(name, total=None)
    yield
    progress.update(task, total=1, completed=1)


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<24}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


@contextmanager
def _quick_flows() -> Iterator[None]:
    """Let flows share one connection, without the heartbeat that each would end by waiting a second for its thread.

    Nobody needs the heartbeat here: this process lives as long as its flows do.
    """
    from prefect.context import SyncClientContext
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), SyncClientContext.get_or_create():
        yield


def _end_prefect() -> None:
    """End Prefect's threads before the process does, or DuckDB complains of them over the last screen."""
    from prefect._internal.concurrency.threads import get_global_loop, get_run_sync_loop
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=5)
    for loop in (get_global_loop(), get_run_sync_loop()):
        loop.shutdown()
        loop.thread.join(timeout=5)


def _champions(house: House) -> list[str]:
    from models.catalog import use_case_names
    from models.governance.promotion import champion

    with house.records.read() as connection:
        return [name for name in use_case_names() if champion(connection, name) is not None]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
