"""Settings: the file, then the environment, and no word that means nothing."""

from pathlib import Path

import pytest

from integrations.errors import WrongUsage
from integrations.settings import load_settings


def settings_file(home: Path, text: str) -> dict[str, str]:
    (home / "settings.yaml").write_text(text, encoding="utf-8")
    return {"ROUNDS_HOME": str(home)}


@pytest.mark.parametrize("address", ["tls://dask.hospital:8786", "tls://127.0.0.1:8786", "processes"])
def test_parts_may_be_spread_by_a_scheduler_that_speaks_tls(tmp_path: Path, address: str) -> None:
    assert load_settings({"ROUNDS_HOME": str(tmp_path), "ROUNDS_TASK_RUNNER": address}).task_runner == address


@pytest.mark.parametrize("address", ["tcp://dask.hospital:8786", "tcp://127.0.0.1:8786", "dask", "tls://dask.hospital"])
def test_a_scheduler_that_anybody_could_speak_to_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(WrongUsage, match="setting task_runner"):
        load_settings({"ROUNDS_HOME": str(tmp_path), "ROUNDS_TASK_RUNNER": address})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    environment = settings_file(tmp_path, "person: Ada\nbucket_count: 8\n")
    assert load_settings(environment).person == "Ada"
    settings = load_settings({**environment, "ROUNDS_PERSON": "Ben"})
    assert (settings.person, settings.bucket_count, settings.home) == ("Ben", 8, tmp_path)


def test_a_name_that_no_setting_has_is_refused_in_the_environment_too(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage) as refused:
        load_settings({"ROUNDS_HOME": str(tmp_path), "ROUNDS_WRITE_BAK_TARGET": "fhir"})
    assert refused.value.what == "unknown setting ROUNDS_WRITE_BAK_TARGET"
    assert refused.value.to_do == "did you mean write_back_target?"


def test_a_switch_of_the_tests_is_no_setting(tmp_path: Path) -> None:
    assert load_settings({"ROUNDS_HOME": str(tmp_path), "ROUNDS_PARTS": "required"}).home == tmp_path


@pytest.mark.parametrize(
    ("text", "variable", "where"),
    [("bucket_count: many\n", None, "settings.yaml"), ("", "many", "environment, ROUNDS_BUCKET_COUNT")],
)
def test_a_wrong_value_names_where_it_stands(tmp_path: Path, text: str, variable: str | None, where: str) -> None:
    environment = settings_file(tmp_path, text)
    if variable:
        environment["ROUNDS_BUCKET_COUNT"] = variable
    with pytest.raises(WrongUsage) as refused:
        load_settings(environment)
    assert refused.value.what.startswith("setting bucket_count: ")
    assert refused.value.where is not None
    assert refused.value.where.endswith(where)


REDIS, POSTGRES = "redis://:hush@store/0", "postgresql://ada:hush@store/features"


def test_the_online_store_and_the_registry_lie_where_settings_say(tmp_path: Path) -> None:
    here = {"ROUNDS_HOME": str(tmp_path)}
    assert load_settings(here).online_store == "sqlite"
    settings = load_settings(
        {
            **here,
            "ROUNDS_ONLINE_STORE": "redis",
            "ROUNDS_ONLINE_STORE_URL": REDIS,
            "ROUNDS_FEATURE_REGISTRY_URL": POSTGRES,
        }
    )
    assert settings.online_store_url is not None
    assert settings.online_store_url.get_secret_value() == REDIS
    assert "hush" not in f"{settings!r} {settings}"


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"ONLINE_STORE": "redis"}, "setting online_store_url: Value error, must begin with redis:// or rediss://"),
        (
            {"ONLINE_STORE": "postgres", "ONLINE_STORE_URL": REDIS},
            "setting online_store_url: Value error, must begin with postgresql:// or postgresql+psycopg://",
        ),
        ({"ONLINE_STORE_URL": REDIS}, "setting online_store_url: Value error, sqlite has no URL"),
        (
            {"FEATURE_REGISTRY_URL": "sqlite:///hush.db"},
            "setting feature_registry_url: Value error, must begin with postgresql:// or postgresql+psycopg://",
        ),
        (
            {"ONLINE_STORE": "redis", "ONLINE_STORE_URL": "redis://:hu/sh@store:6379"},
            "setting online_store_url: Value error, is no URL; percent-encode what is special in it",
        ),
    ],
)
def test_a_url_that_leads_elsewhere_is_refused_without_a_word_of_it(
    tmp_path: Path, said: dict[str, str], what: str
) -> None:
    with pytest.raises(WrongUsage) as refused:
        load_settings({"ROUNDS_HOME": str(tmp_path), **{f"ROUNDS_{name}": value for name, value in said.items()}})
    assert refused.value.what == what
    assert "hush" not in str(refused.value)
