"""Fly.io and Cloudflare: files that their programs can read, with a key before everything public."""

from __future__ import annotations

import tomllib
from pathlib import Path

import kubernetes_validate
import yaml

from backend.config.edge_file import read_edge_file
from backend.deploy import tunnels
from backend.deploy.values import Values, parse_values
from backend.edge import standalone
from backend.edge.discovery import Ports
from backend.edge.settings import find_haproxy


def test_only_the_edge_is_public_on_fly() -> None:
    tree = tunnels.fly(Values())
    apps = {name: tomllib.loads(text) for name, text in tree.items() if name.endswith(".toml")}
    assert set(apps) == {"fly.toml", "fly.llm.toml", "fly.embedding.toml"}
    assert [name for name, app in apps.items() if "http_service" in app or "services" in app] == ["fly.toml"]
    for app in apps.values():
        assert app["checks"] and app["vm"][0]["memory"] and app["build"]["image"]
        assert app["build"]["image"].startswith(f"registry.fly.io/{app['app']}:"), "Fly cannot pull from this machine"
    assert apps["fly.llm.toml"]["env"]["HOST"] == "::"


def test_fly_s_edge_writes_where_it_may_and_waits_as_long_as_the_edge_does() -> None:
    edge = tomllib.loads(tunnels.fly(parse_values("edge: {deadlineSeconds: 900}\n", "v"))["fly.toml"])
    assert edge["processes"] == {"app": "--run /tmp/trinity"}, "/run is root's there"
    assert edge["http_service"]["http_options"]["idle_timeout"] == 900


def test_only_a_model_of_one_s_own_needs_a_volume_on_fly() -> None:
    values = parse_values("llm: {modelPath: /models/own.gguf}\nimage: {registry: registry.example.com}\n", "v")
    for given, mounted in ((Values(), False), (values, True)):
        tree = tunnels.fly(given)
        assert (
            ("mounts" in tomllib.loads(tree["fly.llm.toml"])) == ("fly volumes create" in tree["fly.toml"]) == mounted
        )
        assert ("docker push" in tree["fly.toml"]) != mounted, "images of a registry are there already"
    assert tomllib.loads(tree["fly.llm.toml"])["build"]["image"].startswith("registry.example.com/trinity-llm:")
    assert tomllib.loads(tree["fly.llm.toml"])["mounts"][0]["destination"] == "/models"


def test_the_edge_finds_fly_s_engines_by_their_internal_names(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(tunnels.fly(parse_values("fly: {app: shop}\n", "v"))["edge.yaml"])
    read = read_edge_file(file)
    assert {w.dns for w in read.workloads.values()} == {"shop-llm.internal", "shop-embedding.internal"}
    assert read.listen == "::" and not read.open
    written = standalone.prepare(file, tmp_path / "run", Ports(), checking=True)
    standalone.check(find_haproxy(), written, file)
    assert "resolve-prefer ipv6" in written.read_text()


def test_text_in_values_cannot_break_out_of_a_toml_file() -> None:
    values = parse_values('llm: {env: {NAME: "a\\"b\\nc"}}\n', "v")
    assert tomllib.loads(tunnels.fly(values)["fly.llm.toml"])["env"]["NAME"] == 'a"b\nc'


def test_a_tunnel_leads_to_the_edge_and_nowhere_else() -> None:
    tree = tunnels.cloudflared(Values())
    config = yaml.safe_load(tree["config.yaml"])
    assert [rule["service"] for rule in config["ingress"]] == ["http://edge:8080", "http_status:404"]
    documents = list(yaml.safe_load_all(tree["kubernetes.yaml"]))
    for document in documents:
        kubernetes_validate.validate(document, "1.36", strict=True)
    pod = documents[1]["spec"]["template"]["spec"]
    grace = int(config["grace-period"].removesuffix("s"))
    assert pod["terminationGracePeriodSeconds"] > grace, "streams are not cut by an update"
    laid_over = yaml.safe_load(tree["compose.cloudflared.yaml"])["services"]["cloudflared"]
    assert int(laid_over["stop_grace_period"].removesuffix("s")) > grace
    inside = yaml.safe_load(documents[0]["data"]["config.yaml"])
    assert inside["ingress"][0]["service"] == "http://trinity-edge:80"
