"""The manifests: what the API server would take, and what an operator may rely on."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import relay
from relay.settings import load_settings
from relay.word_lists import read_word_lists
from support.kubernetes_kit import COMPONENTS, K8S, OVERLAYS, Resource, build, parse_manifests, pick, pod_specs, run

OLDEST_KUBERNETES = "1.30"
FOREIGN_KINDS = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus Operator, of which the validator has no schema."""

README = (K8S / "README.md").read_text()

Validate = Callable[[list[Resource]], None]
overlays = pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)


@pytest.fixture
def validate(tmp_path: Path) -> Validate:
    """Judge resources strictly by the schemas of the newest and the oldest Kubernetes that is supported."""

    def judge(resources: list[Resource]) -> None:
        known = [each for each in resources if each["kind"] not in FOREIGN_KINDS]
        path = tmp_path / "resources.yaml"
        path.write_text(yaml.safe_dump_all(known))
        newest = run(sys.executable, "-m", "kubernetes_validate", "--strict", path)
        assert newest.count(" passed for resource ") == len(known), newest
        run(sys.executable, "-m", "kubernetes_validate", "--strict", "-k", OLDEST_KUBERNETES, path)

    return judge


@pytest.fixture
def everything(tmp_path: Path) -> list[Resource]:
    """The replicated overlay with every component."""
    return _build_own(tmp_path, OVERLAYS[1], COMPONENTS)


def _build_own(folder: Path, overlay: Path, components: tuple[Path, ...]) -> list[Resource]:
    folder = folder.resolve()
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(overlay, folder)],
        "components": [os.path.relpath(each, folder) for each in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return build(folder)


@overlays
def test_the_api_server_takes_an_overlay_as_it_stands(overlay: Path, validate: Validate) -> None:
    validate(build(overlay))


def test_the_api_server_takes_every_component(everything: list[Resource], validate: Validate) -> None:
    validate(everything)
    assert {each["kind"] for each in everything} >= {*FOREIGN_KINDS, "NetworkPolicy"}


@overlays
def test_every_pod_meets_the_restricted_security_standard(overlay: Path) -> None:
    for pod in pod_specs(build(overlay)):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@overlays
def test_no_pod_gets_a_token_or_the_addresses_of_its_neighbours(overlay: Path) -> None:
    resources = build(overlay)
    assert pick(resources, "ServiceAccount")["automountServiceAccountToken"] is False
    for pod in pod_specs(resources):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False


@overlays
def test_the_grace_period_holds_the_wait_and_every_send_in_flight(overlay: Path) -> None:
    pod = pick(build(overlay), "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    deadline = int(variables["RELAY_SENDING_NOTIFICATION_DEADLINE_SECONDS"])
    drain = int(variables["RELAY_SENDING_DRAIN_SECONDS"])
    assert drain >= deadline
    assert pod["terminationGracePeriodSeconds"] >= wait + max(drain, deadline) + 5


@overlays
def test_every_container_has_room_stated_and_no_throttle(overlay: Path) -> None:
    for pod in pod_specs(build(overlay)):
        for container in pod["containers"]:
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert set(container["resources"]["limits"]) == {"memory"}


@overlays
def test_probes_ask_the_addresses_that_the_contract_names(overlay: Path) -> None:
    container = pick(build(overlay), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["serve"]
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


@overlays
def test_no_secret_is_in_the_manifests_and_the_readme_makes_each_that_they_name(overlay: Path) -> None:
    resources = build(overlay)
    assert not [each for each in resources if each["kind"] == "Secret"]
    text = yaml.safe_dump_all(resources)
    named = set(re.findall(r"secretName: (\S+)", text)) | set(
        re.findall(r"secretKeyRef:\s+key: \S+\s+name: (\S+)", text)
    )
    assert named
    for name in named:
        assert f"create secret generic {name}" in README


@overlays
def test_settings_and_words_are_mounted_so_that_a_change_is_seen(overlay: Path) -> None:
    resources = build(overlay)
    container = pick(resources, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert not [mount for mount in container["volumeMounts"] if "subPath" in mount]
    assert pick(resources, "ConfigMap", "relay-settings")
    assert pick(resources, "ConfigMap", "relay-words")


def test_the_relay_may_ask_whose_a_token_is_and_nothing_else(everything: list[Resource]) -> None:
    [role] = [each for each in everything if each["kind"] == "ClusterRole"]
    [binding] = [each for each in everything if each["kind"] == "ClusterRoleBinding"]

    rule = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    assert role["rules"] == [rule]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == ["relay"]
    deployment = pick(everything, "Deployment")["spec"]["template"]["spec"]
    assert deployment["automountServiceAccountToken"] is True


def test_the_word_list_of_the_config_map_is_the_shipped_one() -> None:
    shipped = (Path(relay.__file__).parent / "domain/words/default_words.toml").read_bytes()
    assert (K8S / "base/blocked_words.toml").read_bytes() == shipped, "make k8s/base/blocked_words.toml"


@overlays
def test_the_relay_takes_the_settings_of_its_pods(overlay: Path, tmp_path: Path) -> None:
    environment = _lay_out(build(overlay), tmp_path)
    settings = load_settings(environment)
    assert settings.listen.metrics_port == 9464
    assert settings.sending.drain_seconds >= settings.sending.notification_deadline_seconds
    assert settings.journal.replicas == (1 if overlay.name == "single" else 3)
    assert read_word_lists(settings.prefilter.lists)


def _lay_out(resources: list[Resource], folder: Path) -> dict[str, str]:
    """Put what the pod mounts under /etc/relay into a folder, with made-up secrets, and give the pod's variables."""
    pod = pick(resources, "Deployment")["spec"]["template"]["spec"]
    for volume in pod["volumes"]:
        place = folder / volume["name"]
        place.mkdir()
        if "configMap" in volume:
            for name, text in pick(resources, "ConfigMap", volume["configMap"]["name"])["data"].items():
                (place / name).write_text(text.replace("/etc/relay/", f"{folder}/"))
        elif "secret" in volume:
            for name in ("username", "password"):
                (place / name).write_text("made-up\n")
    journal = "postgresql://relay:made-up@postgresql.db:5432/relay?sslmode=require&target_session_attrs=read-write"
    variables = {each["name"]: each.get("value", journal) for each in pod["containers"][0]["env"]}
    return {name: value.replace("/etc/relay/", f"{folder}/") for name, value in variables.items()}


@overlays
def test_every_image_is_the_plain_name_and_version_of_the_package(overlay: Path) -> None:
    images = {container["image"] for pod in pod_specs(build(overlay)) for container in pod["containers"]}
    assert images == {f"relay:{relay.__version__}"}


@overlays
def test_a_job_gets_no_traffic_of_the_service(overlay: Path) -> None:
    resources = build(overlay)
    selector = pick(resources, "Service")["spec"]["selector"].items()
    for each in resources:
        if each["kind"] in {"Deployment", "Job"}:
            labels = each["spec"]["template"]["metadata"]["labels"].items()
            assert (selector <= labels) is (each["kind"] == "Deployment")


def test_single_never_runs_two_processes_on_one_file() -> None:
    resources = build(OVERLAYS[0])
    deployment = pick(resources, "Deployment")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}
    assert pick(resources, "PersistentVolumeClaim", "relay-journal")["spec"]["accessModes"] == ["ReadWriteOncePod"]
    variables = {each["name"]: each.get("value") for each in deployment["template"]["spec"]["containers"][0]["env"]}
    assert variables["RELAY_JOURNAL_URL"] == "sqlite:////var/lib/relay/relay.db"
    mounts = {mount["mountPath"] for mount in deployment["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert "/var/lib/relay" in mounts


def test_replicated_keeps_three_on_different_nodes_and_rolls_without_a_gap() -> None:
    resources = build(OVERLAYS[1])
    deployment = pick(resources, "Deployment")["spec"]
    assert "replicas" not in deployment, "the autoscaler's number would be overwritten at every apply"
    scaler = pick(resources, "HorizontalPodAutoscaler")["spec"]
    assert scaler["minReplicas"] == 3
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert pick(resources, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    spread = {each["topologyKey"] for each in deployment["template"]["spec"]["topologySpreadConstraints"]}
    assert spread == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    variables = {each["name"]: each for each in deployment["template"]["spec"]["containers"][0]["env"]}
    assert variables["RELAY_JOURNAL_REPLICAS"]["value"] == str(scaler["minReplicas"])
    assert "secretKeyRef" in variables["RELAY_JOURNAL_URL"]["valueFrom"]


def test_replicated_migrates_with_the_settings_and_the_journal_of_the_pods() -> None:
    resources = build(OVERLAYS[1])
    job = pick(resources, "Job", "relay-migrate")["spec"]["template"]["spec"]["containers"][0]
    assert job["args"] == ["migrate"]
    server = pick(resources, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert {each["name"] for each in job["volumeMounts"]} == {each["name"] for each in server["volumeMounts"]}
    for variable in job["env"]:
        assert variable in server["env"]


def test_selectors_find_the_pods_they_mean(everything: list[Resource]) -> None:
    labels = pick(everything, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    for kind in ("PodDisruptionBudget", "ServiceMonitor"):
        assert pick(everything, kind)["spec"]["selector"]["matchLabels"].items() <= labels
    policies = [each for each in everything if each["kind"] == "NetworkPolicy"]
    assert len(policies) >= 5
    for policy in policies:
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels


def test_ports_are_named_alike_in_pod_service_monitor_and_policy(everything: list[Resource]) -> None:
    container = pick(everything, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in pick(everything, "Service")["spec"]["ports"]} == set(ports)
    service_ports = {port["name"] for port in pick(everything, "Service")["spec"]["ports"]}
    assert {each["port"] for each in pick(everything, "ServiceMonitor")["spec"]["endpoints"]} <= service_ports
    rules = pick(everything, "NetworkPolicy", "relay-ingress")["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} <= set(ports)
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["RELAY_LISTEN_PORT"] == str(ports["http"])
    assert variables["RELAY_LISTEN_METRICS_PORT"] == str(ports["metrics"])


def test_metadata_and_private_addresses_stay_shut_for_callbacks(everything: list[Resource]) -> None:
    targets = pick(everything, "NetworkPolicy", "relay-upstream")["spec"]["egress"][0]["to"]
    shut = {each["ipBlock"]["cidr"]: each["ipBlock"]["except"] for each in targets}
    assert {"10.0.0.0/8", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10"} <= set(shut["0.0.0.0/0"])


def test_the_overlay_that_the_readme_shows_can_be_applied(tmp_path: Path, validate: Validate) -> None:
    blocks = dict(re.findall(r"```(?:yaml|toml)\n# k8s/overlays/ours/(\S+)\n(.*?)```", README, re.DOTALL))
    assert set(blocks) == {"kustomization.yaml", "relay.toml"}
    folder = tmp_path / "k8s/overlays/ours"
    folder.mkdir(parents=True)
    for name, text in blocks.items():
        (folder / name).write_text(text)
    for part in ("base", "components", "overlays/replicated"):
        (tmp_path / "k8s" / part).parent.mkdir(exist_ok=True)
        _copy(K8S / part, tmp_path / "k8s" / part)
    resources = build(folder)
    validate(resources)
    assert {container["image"] for pod in pod_specs(resources) for container in pod["containers"]} == {
        "our-registry/relay:0.1.0"
    }
    (tmp_path / "pod").mkdir()
    assert [client.name for client in load_settings(_lay_out(resources, tmp_path / "pod")).clients] == ["billing"]
    narrowed = pick(resources, "NetworkPolicy", "relay-upstream")["spec"]["egress"][0]["to"]
    assert narrowed == [{"ipBlock": {"cidr": "203.0.113.0/24"}}]
    rules = [rule for group in pick(resources, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    urls = [rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule]
    assert {url.split("#")[0] for url in urls} == {"https://git.example.com/platform/relay/blob/main/k8s/runbook.md"}
    assert all("#relay" in url for url in urls)
    assert "relay-runbook" not in [each["metadata"]["name"] for each in resources]


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())


def test_the_patches_that_the_readme_shows_can_be_applied(tmp_path: Path, validate: Validate) -> None:
    shown = re.findall(r"```yaml\n# in the patches of your overlay\n(.*?)```", README, re.DOTALL)
    kustomization = {
        "resources": [os.path.relpath(OVERLAYS[1], tmp_path.resolve())],
        "components": [os.path.relpath(K8S / "components/network-policy", tmp_path.resolve())],
        "patches": [patch for block in shown for patch in yaml.safe_load(block)],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    resources = build(tmp_path.resolve())
    validate(resources)

    assert len(kustomization["patches"]) == 3
    container = pick(resources, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in [variable["name"] for variable in container["env"]]
    names = pick(resources, "NetworkPolicy", "relay-name-service")["spec"]["egress"]
    assert [port["port"] for port in names[0]["ports"]] == [5353, 5353]
    database = pick(resources, "NetworkPolicy", "relay-postgresql")["spec"]["egress"][0]["to"][0]
    assert database["podSelector"] == {"matchLabels": {"cnpg.io/cluster": "relay"}}


def test_every_yaml_block_of_the_readme_can_be_read() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        assert parse_manifests(block)
