"""Where things are, secrets and switches. Frozen; built by an entry point, never at import."""

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from integrations.errors import WrongUsage
from integrations.hl7v2.address import Address
from integrations.web.endpoint import Endpoint

CHECKOUT = Path(__file__).resolve().parent.parent
PREFIX = "ROUNDS_"
POSTGRES = ("postgresql", "postgresql+psycopg")
OF_THE_TESTS = ("ROUNDS_PARTS", "ROUNDS_SOAK")  # switches that say how tests run; no installation has them


class Settings(BaseModel):
    """Everything that differs between two installations. Read from ROUNDS_HOME/settings.yaml, then ROUNDS_<NAME>."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    records_url: SecretStr | None = None
    person: str = ""
    prefect_port: int = 4200
    bucket_count: int = 4  # fixed at the first ingest; about one for every 50,000 patients
    memory_limit_mb: int = 400
    task_runner: str = "here"  # where parts of a large lake are worked: here, threads, processes, tls://HOST:PORT
    worker_count: int = 2  # how many parts at once, by threads or processes
    write_back_target: Literal["file", "fhir"] = "file"
    fhir_base_url: str = ""
    fhir_token: SecretStr | None = None
    identifier_system: str = "urn:rounds:score"
    endpoints: dict[str, Endpoint] = {}  # by feed; ROUNDS_ENDPOINTS holds them as JSON

    listeners: dict[str, Address] = {}  # by feed; ROUNDS_LISTENERS holds them as JSON

    online_store: Literal["sqlite", "redis", "postgres"] = "sqlite"  # sqlite lies beside the features
    online_store_url: SecretStr | None = Field(default=None, validate_default=True)
    feature_registry_url: SecretStr | None = None  # Postgres, where many workers share it; else a file

    @field_validator("endpoints", "listeners", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("task_runner")
    @classmethod
    def _known_runner(cls, value: str) -> str:
        if value not in ("here", "threads", "processes") and not re.fullmatch(r"tls://[\w.\-]+:\d+", value):
            raise ValueError("say here, threads, processes, or the address of a Dask scheduler: tls://HOST:PORT")
        return value

    @field_validator("online_store_url")
    @classmethod
    def _leads_to_the_online_store(cls, value: SecretStr | None, said: ValidationInfo) -> SecretStr | None:
        schemes = {"sqlite": (), "redis": ("redis", "rediss"), "postgres": POSTGRES}[
            said.data.get("online_store", "sqlite")
        ]
        return _with_scheme(value, schemes, is_needed=bool(schemes))

    @field_validator("feature_registry_url")
    @classmethod
    def _leads_to_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        return _with_scheme(value, POSTGRES, is_needed=False)

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def features(self) -> Path:
        return self.home / "features"

    @property
    def registry(self) -> Path:
        return self.home / "mlflow"

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def outgoing(self) -> Path:
        return self.home / "write_back"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def exports(self) -> Path:
        return self.home / "exports"

    @property
    def temp(self) -> Path:
        return self.home / "tmp"

    @property
    def records(self) -> str:
        """The SQLAlchemy URL of the operational database."""
        return self.records_url.get_secret_value() if self.records_url else f"sqlite:///{self.home / 'records.db'}"


def _with_scheme(url: SecretStr | None, schemes: tuple[str, ...], *, is_needed: bool) -> SecretStr | None:
    """Refuse a URL that leads elsewhere, without a word of what it says."""
    if url is None and not is_needed:
        return None
    if not schemes:
        raise ValueError("sqlite has no URL")
    named = " or ".join(f"{scheme}://" for scheme in schemes)
    if url is None or not url.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise ValueError(f"must begin with {named}")
    try:
        parts = urlsplit(url.get_secret_value())
        is_url = parts.port is None or bool(parts.hostname)
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError("is no URL; percent-encode what is special in it")
    return url


def load_settings(environment: dict[str, str] | None = None) -> Settings:
    """Build Settings from ROUNDS_HOME/settings.yaml and the environment, which wins. WrongUsage on an unknown key."""
    env = dict(os.environ) if environment is None else environment
    home = Path(env.get("ROUNDS_HOME") or CHECKOUT / "var").resolve()
    from_environment = _environment_values(env)
    try:
        return Settings(home=home, **{**_file_values(home / "settings.yaml"), **from_environment})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, place = str(first["loc"][0]), ".".join(map(str, first["loc"]))
        where = f"environment, {PREFIX}{name.upper()}" if name in from_environment else str(home / "settings.yaml")
        raise WrongUsage(f"setting {place}: {first['msg']}", where=where, to_do="mend the value") from None


def _environment_values(env: dict[str, str]) -> dict[str, Any]:
    """What ROUNDS_<NAME> says of each setting, home apart."""
    said = {key: text for key, text in env.items() if key.startswith(PREFIX) and key not in OF_THE_TESTS}
    values = {key.removeprefix(PREFIX).lower(): text for key, text in said.items()}
    for name in values:
        if name not in Settings.model_fields:
            raise WrongUsage(f"unknown setting {PREFIX}{name.upper()}", where="environment", to_do=_hint(name))
    return {name: text for name, text in values.items() if name != "home"}


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(Settings.model_fields)}"


def _file_values(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    values = yaml.safe_load(text) or {}
    for number, line in enumerate(text.splitlines(), 1):
        name = line.split(":")[0].strip()
        if name and not line.startswith((" ", "#")) and name not in Settings.model_fields:
            raise WrongUsage(f"unknown setting {name}", where=f"{path}, line {number}", to_do=_hint(name))
    return dict(values)
