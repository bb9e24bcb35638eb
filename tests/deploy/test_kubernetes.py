"""The manifests for Kubernetes, held against published schemas; no cluster runs here.

Kubernetes' own kinds, and every pod that another kind describes, are checked by the schemas that
kubernetes-validate brings, strictly: an unknown field is an error. Of KubeRay's kinds and of the
gateway's, whose schemas no package holds, the fields are listed here as their projects publish
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSION = "1.37"
OWN = {"v1", "apps/v1", "policy/v1", "autoscaling/v2"}
Document = dict[str, Any]

_GROUP = {"template", "rayStartParams"}
_WORKERS = _GROUP | {"groupName", "replicas", "minReplicas", "maxReplicas"}
_CLUSTER = {"rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"}
FIELDS: dict[str, tuple[str, dict[str, set[str]]]] = {
    "RayService": (
        "ray.io/v1",
        {
            "spec": {
                "serviceUnhealthySecondThreshold",
                "deploymentUnhealthySecondThreshold",
                "serveConfigV2",
                "rayClusterConfig",
            },
            "spec.rayClusterConfig": _CLUSTER,
            "spec.rayClusterConfig.headGroupSpec": _GROUP,
            "spec.rayClusterConfig.workerGroupSpecs": _WORKERS,
        },
    ),
    "InferencePool": (
        "inference.networking.k8s.io/v1",
        {
            "spec": {"selector", "targetPorts", "endpointPickerRef"},
            "spec.selector": {"matchLabels"},
            "spec.targetPorts": {"number"},
            "spec.endpointPickerRef": {"group", "kind", "name", "port", "failureMode"},
            "spec.endpointPickerRef.port": {"number"},
        },
    ),
    "HTTPRoute": (
        "gateway.networking.k8s.io/v1",
        {
            "spec": {"parentRefs", "hostnames", "rules"},
            "spec.parentRefs": {"group", "kind", "name", "namespace", "sectionName", "port"},
            "spec.rules": {"name", "matches", "filters", "backendRefs", "timeouts"},
            "spec.rules.matches": {"path", "headers", "queryParams", "method"},
            "spec.rules.matches.path": {"type", "value"},
            "spec.rules.backendRefs": {"group", "kind", "name", "namespace", "port", "weight"},
            "spec.rules.timeouts": {"request", "backendRequest"},
        },
    ),
}


def documents() -> Iterator[tuple[str, Document]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield f"{path.name}: {document['kind']}", document


DOCUMENTS = dict(documents())


def at(document: Document, path: str) -> list[Document]:
    """Return the objects at a path, those of lists one by one."""
    found: list[Any] = [document]
    for name in path.split("."):
        below = [one[name] for one in found if name in one]
        found = [part for one in below for part in (one if isinstance(one, list) else [one])]
    return found


def faults(document: Document) -> list[str]:
    """Return the paths of fields that the kind does not have."""
    version, fields = FIELDS[document["kind"]]
    assert document["apiVersion"] == version
    assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
    return [
        f"{path}.{name}"
        for path, known in fields.items()
        for one in at(document, path)
        for name in set(one) - known
    ]


@pytest.mark.parametrize("name", [n for n, d in DOCUMENTS.items() if d["apiVersion"] in OWN])
def test_kubernetes_own_kinds_follow_their_schemas(name: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[name], VERSION, strict=True)


@pytest.mark.parametrize("name", [n for n, d in DOCUMENTS.items() if d["apiVersion"] not in OWN])
def test_other_kinds_have_no_unknown_fields(name: str) -> None:
    assert not faults(DOCUMENTS[name])


@pytest.mark.parametrize("name", [n for n in DOCUMENTS if "Ray" in n])
def test_the_pods_of_a_ray_cluster_follow_the_schema_of_pods(name: str) -> None:
    (cluster,) = at(DOCUMENTS[name], "spec.rayClusterConfig")
    pods = at(cluster, "headGroupSpec.template") + at(cluster, "workerGroupSpecs.template")
    assert len(pods) >= 2
    for pod in pods:
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}} | pod
        kubernetes_validate.validate(whole, VERSION, strict=True)


def test_a_wrong_field_is_found() -> None:
    server = yaml.safe_load(yaml.safe_dump(DOCUMENTS["server.yaml: Deployment"]))
    server["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(server, VERSION, strict=True)
    pool = yaml.safe_load(yaml.safe_dump(DOCUMENTS["inference-pool.yaml: InferencePool"]))
    pool["spec"]["targetPorts"][0]["port"] = 80
    assert faults(pool) == ["spec.targetPorts.port"]


def test_the_parts_name_each_other() -> None:
    server = DOCUMENTS["server.yaml: Deployment"]
    labels = server["spec"]["template"]["metadata"]["labels"]
    container = server["spec"]["template"]["spec"]["containers"][0]
    port = container["ports"][0]
    for name, path in (
        ("server.yaml: Service", "spec.selector"),
        ("server.yaml: PodDisruptionBudget", "spec.selector.matchLabels"),
        ("inference-pool.yaml: InferencePool", "spec.selector.matchLabels"),
    ):
        assert at(DOCUMENTS[name], path) == [labels]
    assert at(DOCUMENTS["server.yaml: Service"], "spec.ports.targetPort") == [port["name"]]
    pool = DOCUMENTS["inference-pool.yaml: InferencePool"]
    assert at(pool, "spec.targetPorts.number") == [port["containerPort"]]
    assert f"--port={port['containerPort']}" in container["args"]
    target = DOCUMENTS["server.yaml: HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", server["metadata"]["name"])
