"""Where things are, secrets and switches. Frozen; built by an entry point, never at import."""

import difflib
import os
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from integrations.errors import WrongUsage

CHECKOUT = Path(__file__).resolve().parent.parent
PREFIX = "ROUNDS_"


class Settings(BaseModel):
    """Everything that differs between two installations. Read from ROUNDS_HOME/settings.yaml, then ROUNDS_<NAME>."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    records_url: SecretStr | None = None
    person: str = ""
    prefect_port: int = 4200
    bucket_count: int = 4  # fixed at the first ingest; about one for every 50,000 patients
    memory_limit_mb: int = 400
    write_back_target: Literal["file", "fhir"] = "file"
    fhir_base_url: str = ""
    fhir_token: SecretStr | None = None
    identifier_system: str = "urn:rounds:score"

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
    def temp(self) -> Path:
        return self.home / "tmp"

    @property
    def records(self) -> str:
        """The SQLAlchemy URL of the operational database."""
        return self.records_url.get_secret_value() if self.records_url else f"sqlite:///{self.home / 'records.db'}"


def load_settings(environment: dict[str, str] | None = None) -> Settings:
    """Build Settings from ROUNDS_HOME/settings.yaml and the environment, which wins. WrongUsage on an unknown key."""
    env = dict(os.environ) if environment is None else environment
    home = Path(env.get("ROUNDS_HOME") or CHECKOUT / "var").resolve()
    values = _file_values(home / "settings.yaml")
    for key, text in env.items():
        name = key.removeprefix(PREFIX).lower()
        if key.startswith(PREFIX) and name in Settings.model_fields and name != "home":
            values[name] = text
    try:
        return Settings(home=home, **values)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise WrongUsage(f"setting {name}: {first['msg']}", where=str(home / "settings.yaml")) from None


def _file_values(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    values = yaml.safe_load(text) or {}
    for number, line in enumerate(text.splitlines(), 1):
        name = line.split(":")[0].strip()
        if name and not line.startswith((" ", "#")) and name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(Settings.model_fields)}"
            raise WrongUsage(f"unknown setting {name}", where=f"{path}, line {number}", to_do=hint)
    return dict(values)
