"""What the manifests of infra owe: they fit the code they run, run it with few rights, and hold no secret."""

import importlib.util
from typing import Any

import pytest
import yaml

from integrations.settings import CHECKOUT, PREFIX, load_settings

ROLES = ("scheduler", "worker")
DOCUMENTS: list[dict[str, Any]] = [
    document
    for path in sorted((CHECKOUT / "infra" / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in DOCUMENTS if document["kind"] == kind]


def pods() -> list[Any]:
    """The pod of every role of a cluster."""
    return [
        pytest.param(cluster["spec"][role]["spec"], id=role) for cluster in of_kind("DaskCluster") for role in ROLES
    ]


def test_the_settings_of_a_manifest_are_settings_of_rounds() -> None:
    (config,) = of_kind("ConfigMap")
    settings = load_settings({key: text for key, text in config["data"].items() if key.startswith(PREFIX)})
    assert str(settings.home) == config["data"]["ROUNDS_HOME"]
    (cluster,) = of_kind("DaskCluster")
    (port,) = cluster["spec"]["scheduler"]["service"]["ports"]
    scheduler = f"{cluster['metadata']['name']}-scheduler.{cluster['metadata']['namespace']}.svc:{port['port']}"
    assert settings.task_runner == f"tls://{scheduler}"
    assert f"tls://{scheduler}" in cluster["spec"]["worker"]["spec"]["containers"][0]["args"]
    assert config["data"]["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "true"


@pytest.mark.parametrize("pod", pods())
def test_a_pod_runs_a_module_that_exists_as_nobody_on_a_file_system_that_it_cannot_change(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    (container,) = pod["containers"]
    assert container["args"][:2] == ["python", "-m"]
    assert importlib.util.find_spec(container["args"][2])
    closed = container["securityContext"]
    assert closed["readOnlyRootFilesystem"]
    assert not closed["allowPrivilegeEscalation"]
    assert closed["capabilities"]["drop"] == ["ALL"]
    assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
    assert container["image"].rpartition(":")[2] not in ("", "latest")


def test_nobody_else_may_speak_to_a_cluster_that_runs_what_it_is_sent() -> None:
    (policy,) = of_kind("NetworkPolicy")
    (cluster,) = of_kind("DaskCluster")
    mine = {"matchLabels": {"dask.org/cluster-name": cluster["metadata"]["name"]}}
    assert policy["spec"]["podSelector"] == mine
    (rule,) = policy["spec"]["ingress"]
    assert [sorted(each) for each in rule["from"]] == [["podSelector"]] * 2


def test_a_manifest_holds_no_secret() -> None:
    assert of_kind("Secret") == []
    (config,) = of_kind("ConfigMap")
    secret = [name for name in config["data"] if any(word in name for word in ("PASSWORD", "TOKEN", "RECORDS_URL"))]
    assert secret == []
