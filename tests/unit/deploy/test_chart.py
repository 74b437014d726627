"""The Helm chart through a real Helm: three values files, valid for Kubernetes, and true to what our programs read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from backend.config.edge_file import read_edge_file
from backend.config.fleet_file import parse_fleet_file
from backend.config.resolve import resolve
from backend.deploy import chart
from backend.deploy.compare import compare_documents
from backend.deploy.compose import edge_file
from backend.deploy.manifest import render_manifest
from backend.deploy.places import HELM
from backend.deploy.running_cluster import path_of
from backend.deploy.values import Values, read_values
from backend.edge import standalone
from backend.edge.discovery import Ports
from backend.edge.settings import find_haproxy
from backend.fleet.kube import kinds
from backend.fleet.kube.rights import Need, Review, limits_of, permits, rules_of
from tests.unit.deploy.helm_program import find_helm, run

VALUES = ("values.yaml", "values-staging.yaml", "values-production.yaml")
OLDEST, NEWEST = "1.25", "1.36"
CUSTOM = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator: not Kubernetes' own."""

Document = dict[str, Any]
Template = Callable[..., list[Document]]


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> str:
    return find_helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def template(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The rendered documents of the shipped chart with one of its values files, each file rendered once."""
    known: dict[tuple[str, ...], list[Document]] = {}

    def rendered(values: str, *arguments: str) -> list[Document]:
        key = (values, *arguments)
        if key not in known:
            words = ("template", "trinity", str(HELM), "--namespace", "ai", "--values", str(HELM / values))
            done = run(helm, *words, *arguments, home=tmp_path_factory.mktemp("home"))
            assert done.returncode == 0, done.stderr
            known[key] = [document for document in yaml.safe_load_all(done.stdout) if document]
        return known[key]

    return rendered


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def named(documents: list[Document], kind: str, name: str) -> Document:
    return next(d for d in of_kind(documents, kind) if d["metadata"]["name"] == name)


def pods(documents: list[Document]) -> list[Document]:
    """Every pod template."""
    found = [d["spec"]["template"] for d in of_kind(documents, "Deployment", "StatefulSet")]
    return found + [d["spec"]["jobTemplate"]["spec"]["template"] for d in of_kind(documents, "CronJob")]


@pytest.mark.parametrize("values", VALUES)
def test_every_document_is_valid_for_kubernetes(template: Template, values: str) -> None:
    for version in (NEWEST, OLDEST) if values == "values-production.yaml" else (NEWEST,):
        documents = template(values, "--kube-version", f"{version}.0")
        names = [(d["kind"], d["metadata"]["name"]) for d in documents]
        assert len(names) == len(set(names)) > 10
        for document in documents:
            if document["kind"] not in CUSTOM:
                kubernetes_validate.validate(document, version, strict=True)


def test_before_it_stops_a_pod_waits_without_a_program_where_kubernetes_can(template: Template) -> None:
    hooks = {
        version: [
            container["lifecycle"]["preStop"]
            for pod in pods(template("values-production.yaml", "--kube-version", f"{version}.0"))
            for container in pod["spec"]["containers"]
            if "lifecycle" in container
        ]
        for version in (NEWEST, OLDEST)
    }
    assert len(hooks[NEWEST]) == len(hooks[OLDEST]) >= 3
    assert all(set(hook) == {"sleep"} for hook in hooks[NEWEST]), "images need no `sleep`"
    assert all(hook["exec"]["command"][0] == "sleep" for hook in hooks[OLDEST])


def test_the_check_would_see_a_wrong_document(template: Template) -> None:
    document = dict(of_kind(template("values.yaml"), "Deployment")[0])
    document["spec"] = {**document["spec"], "replica": 2}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, NEWEST, strict=True)


@pytest.mark.parametrize("values", VALUES)
def test_helm_lint_has_nothing_to_say(helm: str, tmp_path: Path, values: str) -> None:
    done = run(helm, "lint", "--strict", "--quiet", str(HELM), "--values", str(HELM / values), home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "wrong", ["llm.replica=3", "llm.replicas=many", "edge.service.type=Public", "extraWorkloads[0].name=Web"]
)
def test_helm_refuses_values_that_the_schema_does_not_have(helm: str, tmp_path: Path, wrong: str) -> None:
    done = run(helm, "template", "trinity", str(HELM), "--set", wrong, home=tmp_path)
    assert done.returncode != 0 and "values" in done.stderr


@pytest.mark.parametrize("values", VALUES)
def test_every_pod_is_confined_and_has_limits(template: Template, values: str) -> None:
    for pod in pods(template(values)):
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            confined = container["securityContext"]
            assert not confined["allowPrivilegeEscalation"] and confined["capabilities"] == {"drop": ["ALL"]}
            assert confined.get("readOnlyRootFilesystem") or container["name"] == "admin", "admin is `writable`"
            assert set(container["resources"]) == {"requests", "limits"}
            assert all(port["containerPort"] > 1024 for port in container.get("ports", []))
        # What the profile `restricted` of Pod Security lets pods mount; and nothing of their node.
        kinds_of_volumes = {key for volume in pod["spec"]["volumes"] for key in volume} - {"name"}
        assert kinds_of_volumes <= {"configMap", "emptyDir", "persistentVolumeClaim"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])


@pytest.mark.parametrize("values", VALUES)
def test_updates_take_nothing_away_before_its_successor_serves(template: Template, values: str) -> None:
    for deployment in of_kind(template(values), "Deployment"):
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        if container["name"] in ("llm", "embedding", "edge"):
            assert set(container) >= {"startupProbe", "readinessProbe", "livenessProbe", "lifecycle"}
            paths = [container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")]
            assert paths == ["/health/startup", "/health/ready", "/health/live"]


def test_a_replica_has_longer_to_leave_than_it_gives_its_requests(template: Template) -> None:
    for values in VALUES:
        for name in ("trinity-llm", "trinity-embedding"):
            spec = named(template(values), "Deployment", name)["spec"]["template"]["spec"]
            grace = next(e["value"] for e in spec["containers"][0]["env"] if e["name"] == "STOP_GRACE")
            assert spec["terminationGracePeriodSeconds"] > int(grace)


@pytest.mark.parametrize("values", VALUES)
def test_selectors_find_their_pods_and_ports(template: Template, values: str) -> None:
    documents = template(values)
    for service in of_kind(documents, "Service"):
        selector = service["spec"]["selector"]
        chosen = [p for p in pods(documents) if selector.items() <= p["metadata"]["labels"].items()]
        assert len(chosen) == 1, service["metadata"]["name"]
        ports = {p["name"] for p in chosen[0]["spec"]["containers"][0]["ports"]}
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports
    for budget in of_kind(documents, "PodDisruptionBudget"):
        selector = budget["spec"]["selector"]["matchLabels"]
        assert any(selector.items() <= p["metadata"]["labels"].items() for p in pods(documents))
    for ingress in of_kind(documents, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                service = named(documents, "Service", backend["name"])
                assert backend["port"]["number"] in [p["port"] for p in service["spec"]["ports"]]


@pytest.mark.parametrize("values", VALUES)
def test_the_edge_discovers_services_that_exist_and_haproxy_takes_it(
    template: Template, values: str, tmp_path: Path
) -> None:
    documents = template(values)
    file = tmp_path / "edge.yaml"
    file.write_text(named(documents, "ConfigMap", "trinity-edge")["data"]["edge.yaml"])
    read = read_edge_file(file)
    assert set(read.workloads) >= {"llm", "embedding"}
    for workload in read.workloads.values():
        name, namespace, rest = workload.dns.split(".", 2)
        assert (namespace, rest) == ("ai", "svc.cluster.local")
        service = named(documents, "Service", name)["spec"]
        assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"]
        assert workload.port in [p["port"] for p in service["ports"]]
    written = standalone.prepare(file, tmp_path / "run", Ports(), checking=True)
    standalone.check(find_haproxy(), written, file)


@pytest.mark.parametrize("values", VALUES)
def test_chart_and_compose_configure_the_same_edge(template: Template, values: str) -> None:
    in_chart = yaml.safe_load(named(template(values), "ConfigMap", "trinity-edge")["data"]["edge.yaml"])
    in_compose = edge_file(read_values(HELM / values))
    for side in (in_chart, in_compose):
        for workload in side["workloads"].values():
            workload["dns"] = ""
    assert in_chart == in_compose


def test_the_daemon_reads_its_file_and_watches_this_release_only(template: Template) -> None:
    text = named(template("values.yaml"), "ConfigMap", "trinity-daemon")["data"]["trinity.yaml"]
    file = parse_fleet_file(text, "trinity.yaml")
    assert file.driver == "kubernetes" and file.kubernetes.namespace == "ai"
    assert file.kubernetes.selector == "app.kubernetes.io/instance=trinity"
    declared = resolve(file).workloads
    known = {f"deployment/{d['metadata']['name']}" for d in of_kind(template("values.yaml"), "Deployment")}
    assert {spec.of for spec in declared} <= known and not any(spec.routes for spec in declared)


def annotations(template: Template, name: str, *arguments: str) -> dict[str, str]:
    """Of the pods of the workload of that name."""
    documents = of_kind(template("values.yaml", *arguments), "Deployment", "StatefulSet")
    return next(d for d in documents if d["metadata"]["name"] == name)["spec"]["template"]["metadata"]["annotations"]


def test_pods_are_replaced_when_what_they_read_changes_and_only_then(template: Template) -> None:
    for name in ("trinity-edge", "trinity-daemon"):
        before = annotations(template, name)
        assert annotations(template, name, "--set", "embedding.enabled=false") != before
        assert annotations(template, name, "--set", "llm.threads=3") == before
    edge = annotations(template, "trinity-edge")
    assert annotations(template, "trinity-edge", "--set", "clusterDomain=example.org") != edge
    assert annotations(template, "trinity-edge", "--set", "secrets.apiKey=sk-another") != edge


@pytest.mark.parametrize("values", VALUES)
def test_what_is_reachable_from_outside_publishes_no_metrics(template: Template, values: str) -> None:
    for service in of_kind(template(values), "Service"):
        ports = [port["name"] for port in service["spec"]["ports"]]
        assert "metrics" not in ports or "http" not in ports, service["metadata"]["name"]


def peer_fits(peer: Document, pod: dict[str, str], namespace: str) -> bool:
    if "namespaceSelector" in peer:
        wanted = peer["namespaceSelector"].get("matchLabels", {}).get("kubernetes.io/metadata.name", namespace)
        if wanted != namespace:
            return False
    elif namespace != "ai":
        return False
    return bool(peer.get("podSelector", {}).get("matchLabels", {}).items() <= pod.items())


def lets(documents: list[Document], source: dict[str, str], part: str, port: str, namespace: str = "ai") -> bool:
    """Whether the policies let a pod with those labels, in that namespace, reach a port of a part of ours."""
    target = {"app.kubernetes.io/name": "trinity", "app.kubernetes.io/instance": "trinity"}
    target |= {"app.kubernetes.io/component": part}
    policies = [
        policy["spec"]
        for policy in of_kind(documents, "NetworkPolicy")
        if policy["spec"]["podSelector"]["matchLabels"].items() <= target.items()
    ]
    assert all(policy["policyTypes"] == ["Ingress"] for policy in policies), "DNS and the API server stay reachable"
    rules = [rule for policy in policies for rule in policy["ingress"]]
    return any(
        port in [p["port"] for p in rule["ports"]]
        and ("from" not in rule or any(peer_fits(peer, source, namespace) for peer in rule["from"]))
        for rule in rules
    )


@pytest.mark.parametrize("values", VALUES)
def test_the_network_lets_through_what_the_parts_need_of_each_other(template: Template, values: str) -> None:
    documents = template(values)
    ours = {"app.kubernetes.io/name": "trinity", "app.kubernetes.io/instance": "trinity"}
    edge, daemon = ({**ours, "app.kubernetes.io/component": part} for part in ("edge", "daemon"))
    for engine in ("llm", "embedding"):
        for port in ("http", "health"):
            assert lets(documents, edge, engine, port) and lets(documents, daemon, engine, port)
            assert not lets(documents, {"app": "stranger"}, engine, port)
    assert lets(documents, daemon, "edge", "metrics"), "it counts what the edge counted"
    production = values == "values-production.yaml"
    scraper, client = ("monitoring", "ingress-nginx") if production else ("ai", "anywhere")
    assert lets(documents, {"app": "prometheus"}, "edge", "metrics", scraper)
    assert lets(documents, {"app": "prometheus"}, "daemon", "metrics", scraper)
    assert lets(documents, {"app": "prometheus"}, "llm", "http", scraper) == production, "only who is named"
    assert lets(documents, {"app": "controller"}, "edge", "http", client)
    assert not lets(documents, {"app": "prometheus"}, "edge", "stats", scraper)


def test_archives_are_made_where_the_volume_is_used(template: Template) -> None:
    documents = template("values-production.yaml")
    claimed = {
        f"{claim['metadata']['name']}-{d['metadata']['name']}-0": d["spec"]["template"]["metadata"]["labels"]
        for d in of_kind(documents, "StatefulSet")
        for claim in d["spec"].get("volumeClaimTemplates", [])
    }
    jobs = of_kind(documents, "CronJob")
    assert len(jobs) == 2
    for job in jobs:
        spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        source = next(v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if v["name"] == "source")
        [term] = spec["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        selector = term["podAffinityTerm"]["labelSelector"]["matchLabels"]
        assert selector.items() <= claimed[source].items(), source
        assert len(job["metadata"]["name"]) <= 52, "a job's name has eleven more characters"


def test_a_run_archives_the_volume_and_removes_only_what_is_old_and_its_own(template: Template, tmp_path: Path) -> None:
    job = of_kind(template("values-production.yaml"), "CronJob")[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    source, backup = tmp_path / "volume", tmp_path / "archives"
    for folder in (source, backup):
        folder.mkdir()
    (source / "ledger").write_text("rows")
    others = "state-old-20200101T000000Z.tar.gz"
    mine = [f"state-2020010{day}T000000Z.tar.gz" for day in range(1, 5)]
    for age, name in enumerate([*reversed(mine), others, "state-20200101T000000Z.tar.gz.part"]):
        (backup / name).touch()
        os.utime(backup / name, (1e9 - age, 1e9 - age))
    script = job["containers"][0]["command"][-1].replace("/source", str(source)).replace("/backup", str(backup))
    environment = {"PATH": os.environ["PATH"], "BACKUP": "state", "KEEP": "2"}
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    left = sorted(path.name for path in backup.iterdir())
    assert left[0] == mine[-1] and left[2] == others and len(left) == 3
    with tarfile.open(backup / left[1]) as archive:
        assert "./ledger" in archive.getnames()


def test_an_ingress_finds_the_port_of_a_program_that_is_deployed_beside_ours(template: Template) -> None:
    hosts = '[{"host": "x", "paths": [{"path": "/", "service": "web"}]}]'
    documents = template("values-production.yaml", "--set-json", f"ingress.hosts={hosts}")
    [rule] = of_kind(documents, "Ingress")[0]["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "trinity-web", "port": {"number": 3000}}


def review_of(documents: list[Document]) -> Review:
    """What the API server would answer the daemon's account about its rights in the namespace."""
    bound = [d for d in of_kind(documents, "Role", "ClusterRole") if "trinity-daemon" in d["metadata"]["name"]]
    rules = [rule for document in bound for rule in document["rules"]]
    return rules_of({"status": {"resourceRules": rules, "incomplete": False}})


def test_the_daemon_sees_all_that_its_driver_watches_and_may_only_look(template: Template) -> None:
    review = review_of(template("values.yaml"))
    watched = [value for value in vars(kinds).values() if isinstance(value, kinds.Resource) and value.namespaced]
    assert len(watched) >= 8
    for resource in watched:
        for verb in ("list", "watch"):
            assert permits(review.rules, Need(verb, resource.plural, group=resource.group)), resource.kind
    assert permits(review.rules, Need("get", "pods", "log"))
    assert {verb for rule in review.rules for verb in rule.verbs} == {"get", "list", "watch"}
    assert not any({"secrets", "configmaps", "*"} & rule.resources for rule in review.rules)
    acting = {"scale", "rollout", "rollback", "restart", "kill", "evict", "exec", "forward", "cordon", "node-drain"}
    assert acting <= set(limits_of(review, "ai", minor=36)), "every verb is greyed out"


def test_with_write_the_daemon_may_do_every_verb_of_its_driver(helm: str, template: Template) -> None:
    staging = limits_of(review_of(template("values-staging.yaml")), "ai", minor=36)
    assert set(staging) == {"pause", "unpause", "cordon", "uncordon", "node-drain"}
    both = template("values-staging.yaml", "--set", "daemon.nodes=true")
    assert set(limits_of(review_of(both), "ai", minor=36)) == {"pause", "unpause"}


def test_no_pod_is_scraped_twice(template: Template) -> None:
    documents = template("values-production.yaml")
    selector = of_kind(documents, "ServiceMonitor")[0]["spec"]["selector"]
    absent = [e["key"] for e in selector["matchExpressions"]]
    chosen = [
        s["metadata"]["name"]
        for s in of_kind(documents, "Service")
        if selector["matchLabels"].items() <= s["metadata"]["labels"].items()
        and not any(key in s["metadata"]["labels"] for key in absent)
    ]
    assert {"trinity-llm", "trinity-edge", "trinity-daemon"} <= set(chosen)
    assert not [name for name in chosen if name.endswith("-replicas")]
    scraped = [
        p["name"]
        for s in of_kind(documents, "Service")
        if s["metadata"]["name"] in chosen
        for p in s["spec"]["ports"]
        if p["name"] == "metrics"
    ]
    assert len(scraped) == 2, "the edge's and the daemon's"


def test_rules_name_the_job_that_targets_get_whatever_the_release_is_called(template: Template) -> None:
    documents = template("values-production.yaml")
    monitor, rule = of_kind(documents, "ServiceMonitor")[0]["spec"], of_kind(documents, "PrometheusRule")[0]["spec"]
    service = named(documents, "Service", "trinity-daemon")
    job = service["metadata"]["labels"][monitor["jobLabel"]]
    [pattern] = re.findall(r'job=~"([^"]+)"', json.dumps(rule).replace("\\", ""))
    assert re.fullmatch(pattern, job)


def test_production_has_what_is_optional(template: Template) -> None:
    documents = template("values-production.yaml")
    kinds = {d["kind"] for d in documents}
    assert kinds >= {"HorizontalPodAutoscaler", "ServiceMonitor", "PrometheusRule", "CronJob", "NetworkPolicy"}
    assert kinds >= {"PersistentVolumeClaim", "ClusterRole", "Ingress", "PodDisruptionBudget", "StatefulSet"}
    assert "Secret" not in kinds, "it names a secret of its own"
    rule = of_kind(documents, "PrometheusRule")[0]["spec"]
    assert rule == yaml.safe_load((HELM / "files" / "alerts.yaml").read_text())
    scaled = named(documents, "Deployment", "trinity-llm")["spec"]
    assert "replicas" not in scaled, "the autoscaler owns the count"
    staging = of_kind(template("values-staging.yaml"), "Service")
    assert [p["nodePort"] for s in staging for p in s["spec"]["ports"] if "nodePort" in p] == [30080]


def test_a_chart_with_values_filled_in_renders_as_with_the_file(helm: str, template: Template, tmp_path: Path) -> None:
    for name, text in chart.render(read_values(HELM / "values-production.yaml")).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = run(helm, "template", "trinity", str(tmp_path / "trinity"), "--namespace", "ai", home=tmp_path)
    assert done.returncode == 0, done.stderr
    filled = [document for document in yaml.safe_load_all(done.stdout) if document]
    expected = template("values-production.yaml")
    checksums = [d["spec"]["template"]["metadata"].pop("annotations", None) for d in of_kind(filled, "Deployment")]
    assert any(checksums)
    assert [(d["kind"], d["metadata"]["name"]) for d in filled] == [
        (d["kind"], d["metadata"]["name"]) for d in expected
    ]
    same = [d for d in filled if d["kind"] not in ("Deployment", "StatefulSet")]
    assert same == [d for d in expected if d["kind"] not in ("Deployment", "StatefulSet")]


def test_a_comparison_renders_with_the_helm_on_path(
    helm: str, template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(Path(helm).parent))
    documents = render_manifest(read_values(HELM / "values-staging.yaml"), release="trinity", namespace="ai")
    expected = template("values-staging.yaml")
    assert [(d["kind"], d["metadata"]["name"]) for d in documents] == [
        (d["kind"], d["metadata"]["name"]) for d in expected
    ]
    assert compare_documents(documents, {(d["kind"], d["metadata"]["name"]): d for d in documents}) == []
    names = {path_of(d, "ai") for d in documents}
    assert "/apis/apps/v1/namespaces/ai/deployments/trinity-edge" in names and len(names) == len(documents)


def test_every_kind_of_the_chart_can_be_compared(template: Template) -> None:
    paths = [path_of(document, "ai") for document in template("values-production.yaml")]
    assert len(set(paths)) == len(paths)
    assert "/apis/rbac.authorization.k8s.io/v1/clusterroles/ai-trinity-daemon-nodes" in paths


def test_defaults_are_shipped_as_they_are_written() -> None:
    assert chart.render(Values())["trinity/values.yaml"] == (HELM / "values.yaml").read_text()
