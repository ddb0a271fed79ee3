"""deploy/kubernetes: what kustomize makes of each overlay, against itself, the programs and the published schemas.

No cluster runs here: the manifests are looked at, the configurations in them are read by the programs.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import dockerfile
from made_once import made_once
from relay import ROOT, run_to_end

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
IMAGES = dockerfile.read(ROOT / "deploy" / "container" / "Dockerfile")
NAMESPACE = "aphlict-relay"
CLUSTER_WIDE = {"Namespace"}
# Of the drain itself: what comes before it (the pod's preStop) is its own; the last time of clients, the goodbye, and some.
AFTER_THE_DRAIN = 3 + 3 + 10


def kustomize(overlay, folder):
    """The objects of an overlay, with a secret as docs/deploying.md has it made."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, and so nobody here can put an overlay together")
    version = json.loads(subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True).stdout)["clientVersion"]
    if (int(version["major"]), int(version["minor"].rstrip("+"))) < (1, 21):
        pytest.skip(f"kubectl {version['gitVersion']} is too old: docs/deploying.md asks for 1.21")
    copy = folder / "kubernetes"
    shutil.copytree(FOLDER, copy, dirs_exist_ok=True)
    (copy / "overlays" / overlay / "secret").write_text("0123456789abcdef0123456789abcdef\n")
    done = subprocess.run(["kubectl", "kustomize", copy / "overlays" / overlay], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return list(yaml.safe_load_all(done.stdout))


class Cluster:
    """The objects that an overlay makes."""

    def __init__(self, objects):
        self.objects = objects
        self.workloads = [each for each in objects if each["kind"] in ("StatefulSet", "Deployment")]

    def of(self, kind):
        return [each for each in self.objects if each["kind"] == kind]

    def named(self, kind, name):
        (found,) = [each for each in self.of(kind) if each["metadata"]["name"] == name]
        return found

    def selected(self, labels):
        """The workloads whose pods a selector matches."""
        return [each for each in self.workloads if labels.items() <= pod_labels(each).items()]

    def configuration(self, workload):
        """The JSON text that its program reads."""
        arguments = container(workload)["args"]
        path = Path(arguments[arguments.index("--config") + 1])
        (mount,) = [each for each in container(workload)["volumeMounts"] if each["mountPath"] == str(path.parent)]
        volume = volumes(workload)[mount["name"]]
        return self.named("ConfigMap", volume["configMap"]["name"])["data"][path.name]


def pod(workload):
    return workload["spec"]["template"]["spec"]


def pod_labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def container(workload):
    (only,) = pod(workload)["containers"]
    return only


def volumes(workload):
    claimed = {each["metadata"]["name"]: each for each in workload["spec"].get("volumeClaimTemplates", [])}
    return {**{each["name"]: each for each in pod(workload)["volumes"]}, **claimed}


def ports(workload):
    return {each["name"]: each["containerPort"] for each in container(workload)["ports"]}


def role(workload):
    return pod_labels(workload)["app.kubernetes.io/component"]


def settings(text):
    return json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))


@pytest.fixture(params=OVERLAYS)
def cluster(request, tmp_path):
    return Cluster(kustomize(request.param, tmp_path))


# --- the objects, among each other -------------------------------------------------------------------------


def test_every_file_belongs_to_an_overlay():
    """From the overlays on, by what each kustomization lists."""
    used = set()

    def walk(folder):
        path = folder / "kustomization.yaml"
        used.add(path)
        listed = yaml.safe_load(path.read_text())
        names = [*listed.get("resources", []), *(patch["path"] for patch in listed.get("patches", []))]
        names += [file for each in listed.get("configMapGenerator", []) for file in each["files"]]
        for name in names:
            target = (folder / name).resolve()
            if target.is_dir():
                walk(target)
            else:
                used.add(target)

    for overlay in OVERLAYS:
        walk(FOLDER / "overlays" / overlay)
    there = {path for path in FOLDER.rglob("*") if path.is_file() and path.name != "secret"}
    assert there == used


def test_everything_is_in_the_namespace_and_there_once(cluster):
    for each in cluster.objects:
        assert each["kind"] in CLUSTER_WIDE or each["metadata"]["namespace"] == NAMESPACE, each["metadata"]
    names = [(each["kind"], each["metadata"]["name"]) for each in cluster.objects]
    assert len(names) == len(set(names)) and cluster.named("Namespace", NAMESPACE)


def test_whatever_selects_pods_selects_those_of_one_workload(cluster):
    selectors = [each["spec"]["selector"] for each in cluster.of("Service")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in cluster.workloads + cluster.of("PodDisruptionBudget")]
    spreads = [spread for each in cluster.workloads for spread in pod(each).get("topologySpreadConstraints", [])]
    selectors += [spread["labelSelector"]["matchLabels"] for spread in spreads]
    assert len(selectors) >= 6
    for labels in selectors:
        assert len(cluster.selected(labels)) == 1, labels
    for each in cluster.workloads:
        assert cluster.selected(each["spec"]["selector"]["matchLabels"]) == [each]


def test_services_lead_to_ports_that_pods_have(cluster):
    for service in cluster.of("Service"):
        (workload,) = cluster.selected(service["spec"]["selector"])
        for port in service["spec"]["ports"]:
            assert ports(workload)[port["targetPort"]] == port["port"], service["metadata"]["name"]


def test_the_ports_are_those_on_which_the_programs_listen(cluster):
    names = {"admin": "admin", "client": "clients", "repeater": "feed"}
    for workload in cluster.workloads:
        servers = settings(cluster.configuration(workload))["servers"]
        assert {names[each["type"]]: each["port"] for each in servers} == ports(workload)
        assert {each["listen"] for each in servers} == {"0.0.0.0"}  # by what the kubelet and others reach


def test_volumes_and_what_mounts_them_are_both_there(cluster):
    for workload in cluster.workloads:
        mounted = {each["name"] for each in container(workload)["volumeMounts"]}
        assert mounted == set(volumes(workload))
        (secret,) = [each["secret"] for each in volumes(workload).values() if "secret" in each]
        assert set(cluster.named("Secret", secret["secretName"])["data"]) == {"secret"}
    master = cluster.named("StatefulSet", "aphlict-master")
    (claim,) = master["spec"]["volumeClaimTemplates"]
    (mount,) = [each for each in container(master)["volumeMounts"] if each["name"] == claim["metadata"]["name"]]
    assert settings(cluster.configuration(master))["state"] == mount["mountPath"]


def test_repeaters_follow_every_master_by_its_own_name(cluster):
    master = cluster.named("StatefulSet", "aphlict-master")
    service = cluster.named("Service", master["spec"]["serviceName"])
    assert service["spec"]["clusterIP"] == "None"
    (feed,) = [each["port"] for each in service["spec"]["ports"] if each["name"] == "feed"]
    urls = [[f"http://aphlict-master-{n}.{service['metadata']['name']}:{feed}"] for n in range(master["spec"]["replicas"])]
    assert settings(cluster.configuration(cluster.named("Deployment", "aphlict-repeater")))["upstream"] == urls


def test_only_repeaters_reach_the_feed(cluster):
    policies = cluster.of("NetworkPolicy")
    assert [each for each in policies if each["spec"]["podSelector"] == {} and "ingress" not in each["spec"]]
    reached = []
    for policy in policies:
        labels = policy["spec"]["podSelector"].get("matchLabels")
        for rule in policy["spec"].get("ingress", []):
            (workload,) = cluster.selected(labels)
            assert {each["port"] for each in rule["ports"]} <= set(ports(workload))
            if {"port": "feed"} in rule["ports"]:
                reached += rule["from"]
                assert rule["ports"] == [{"port": "feed"}]
    (peer,) = reached
    assert set(peer) == {"podSelector"}  # of this namespace
    assert [role(each) for each in cluster.selected(peer["podSelector"]["matchLabels"])] == ["repeater"]


# --- the objects and Kubernetes ----------------------------------------------------------------------------


def fetch_schemas(folder):
    shutil.copytree(Path(__file__).with_name("kubernetes"), folder, dirs_exist_ok=True)
    quietly = ["--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    try:
        done = subprocess.run(["npm", "install", *quietly], cwd=folder, capture_output=True, text=True, timeout=100)
    except subprocess.TimeoutExpired:
        pytest.skip("npm cannot install the schemas: no answer in 100 s")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install the schemas: {done.stderr.strip()[-200:]}")


@pytest.fixture
def validate(tmp_path_factory, tmp_path):
    """Holds objects against their schemas, and returns what is wrong with them."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, which has the schemas")
    schemas = made_once(tmp_path_factory, "schemas", fetch_schemas)

    def validate(objects):
        for name in ("node_modules", "validate.mjs"):
            (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / "node_modules").symlink_to(schemas / "node_modules")
        shutil.copy(schemas / "validate.mjs", tmp_path)
        done = subprocess.run(["node", "validate.mjs"], input=json.dumps(objects), cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert (done.returncode == 0) == (done.stdout.strip() == ""), done.stdout + done.stderr
        return done.stdout.strip()

    return validate


def test_the_objects_are_as_their_schemas_have_them(cluster, validate):
    assert validate(cluster.objects) == ""


@pytest.mark.parametrize(
    "kind, path, value, complaint",
    [
        ("StatefulSet", ["spec", "replicas"], "two", "must be integer"),
        ("Deployment", ["spec", "template", "spec", "terminationGracePeriod"], 5, "'\"terminationGracePeriod\"' does not exist"),
        ("ServiceMonitor", ["spec", "endpoints", 0, "path"], 5, "must be string"),
        ("NetworkPolicy", ["spec", "podSelectors"], {}, "'\"podSelectors\"' does not exist"),
    ],
)
def test_what_a_schema_has_not_is_found(tmp_path, validate, kind, path, value, complaint):
    objects = kustomize("zones", tmp_path)
    target = next(each for each in objects if each["kind"] == kind)
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    assert complaint in validate(objects)


# --- the objects and the programs --------------------------------------------------------------------------


def test_the_programs_take_the_configurations(cluster, relay):
    """As they are, but for what a container has and this machine has not: its folders, its name server."""
    for workload in cluster.workloads:
        text = cluster.configuration(workload)
        (relay.folder / "secret").write_text("0123456789abcdef0123456789abcdef\n")
        (relay.folder / "secret").chmod(0o400)
        text = text.replace("/run/secrets/aphlict-relay/secret", str(relay.folder / "secret"))
        text = text.replace("/var/lib/aphlict-master", str(relay.folder))
        text = re.sub(r"http://aphlict-master-\d\.aphlict-master:", "http://127.0.0.1:", text)
        done = run_to_end(role(workload), f"--config={relay.config_file(text)}", "--check-config")
        assert (done.returncode, done.stderr) == (0, "")


def test_a_probe_asks_what_a_node_answers(cluster, master):
    for workload in cluster.workloads:
        for probe in ("livenessProbe", "readinessProbe"):
            asked = container(workload)[probe]["httpGet"]
            assert asked["port"] in ports(workload)
            assert master.request("GET", asked["path"]).status == 200
        assert container(workload)["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container(workload)["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_a_pod_is_given_longer_than_the_drain(cluster):
    for workload in cluster.workloads:
        before = container(workload).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
        least = int(before[1]) + settings(cluster.configuration(workload))["drain.seconds"] + AFTER_THE_DRAIN
        assert pod(workload)["terminationGracePeriodSeconds"] >= least, role(workload)


def test_the_images_are_those_of_the_dockerfile(cluster):
    for workload in cluster.workloads:
        image = IMAGES[role(workload)]
        name, _, tag = container(workload)["image"].rpartition("/")[2].partition(":")
        assert name == f"aphlict-relay-{image.name}"
        # Between releases, that of the next one, whose images these will be.
        assert tag == re.search(r"version: '([\d.]+)(~\w+)?'", (ROOT / "meson.build").read_text())[1]
        context = pod(workload)["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == image.user == f"{context['fsGroup']}:{context['fsGroup']}"


def test_the_autoscaler_and_prometheus_ask_for_what_a_repeater_tells(tmp_path, relay, master):
    cluster = Cluster(kustomize("zones", tmp_path))
    repeater = relay.repeater(master)
    (scaler,) = cluster.of("HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    scaled = cluster.named(target["kind"], target["name"])
    assert target["apiVersion"] == scaled["apiVersion"] and "replicas" not in scaled["spec"]
    (metric,) = scaler["spec"]["metrics"]
    text = repeater.metrics_text()
    name = metric["pods"]["metric"]["name"]
    assert f"# TYPE {name} gauge" in text and re.search(rf"^{name} \d", text, re.M)
    relay.client(repeater).settle()
    assert repeater.metrics()["clients"] == 1
    (monitor,) = cluster.of("ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert master.request("GET", endpoint["path"]).status == 200
    labels = monitor["spec"]["selector"]["matchLabels"]
    watched = [each for each in cluster.of("Service") if labels.items() <= each["metadata"].get("labels", {}).items()]
    assert {each["metadata"]["name"] for each in watched} == {"aphlict-master", "aphlict-repeater"}
    for service in watched:
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


