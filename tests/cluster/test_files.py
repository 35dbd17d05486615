"""The files in cluster/ pass the schemas of their programs and do what the README promises."""

import json
import re
import subprocess
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parents[2] / "cluster"
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (it comes with Ray)")

LAUNCHED = sorted(path.name for path in CLUSTER.glob("ray-*.yaml"))
KUBERNETES = sorted(path.name for path in CLUSTER.glob("kuberay-*.yaml"))


def documents(name):
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


@pytest.mark.ray
@pytest.mark.parametrize("name", LAUNCHED)
def test_launcher_files_pass_rays_schema_and_preparation(name):
    import jsonschema
    import ray.autoscaler
    from ray.autoscaler._private.util import prepare_config

    (config,) = documents(name)
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    jsonschema.validate(prepare_config(config), schema)


@pytest.mark.parametrize("name", LAUNCHED)
def test_launcher_files_use_the_token_and_open_no_ports(name):
    text = (CLUSTER / name).read_text()
    (config,) = documents(name)
    for command in [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]:
        assert "RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0" in command
    assert "--dashboard-host=127.0.0.1" in text
    assert "0.0.0.0" not in text
    assert "ray[default]==2.60.0" in text
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@pytest.mark.parametrize("name", LAUNCHED)
@pytest.mark.parametrize("commands", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_jobs_find_the_python_of_the_launcher_files(name, commands, tmp_path):
    (config,) = documents(name)
    programs = tmp_path / "distbp-venv" / "bin"
    assert any(f"~/{programs.relative_to(tmp_path)}/pip install" in command for command in config["setup_commands"])
    programs.mkdir(parents=True)
    for program, words in (("ray", "python job"), ("python", 'echo "$RAY_AUTH_MODE $0 $1"')):
        (programs / program).write_text(f"#!/bin/sh\n{words}\n")
        (programs / program).chmod(0o700)
    environment = {"HOME": str(tmp_path), "PATH": str(tmp_path / "nothing"), "RAY_HEAD_IP": "10.0.0.1"}
    for command in config[commands]:
        done = subprocess.run(["/bin/bash", "-c", command], env=environment, capture_output=True, text=True)
        assert (done.stdout, done.returncode) == (f"token {programs}/python job\n", 0), done.stderr


def pods(document):
    spec = document["spec"].get("rayClusterSpec", document["spec"])
    yield spec, spec["headGroupSpec"]["template"]["spec"]
    for group in spec["workerGroupSpecs"]:
        assert {"groupName", "minReplicas", "maxReplicas", "template"} <= set(group)
        yield spec, group["template"]["spec"]


@pytest.mark.parametrize("name", KUBERNETES)
def test_kubernetes_files_do_what_the_readme_promises(name):
    clusters = [document for document in documents(name) if document["apiVersion"] == "ray.io/v1"]
    assert len(clusters) == 1
    for spec, pod in pods(clusters[0]):
        assert spec["rayVersion"] == "2.60.0"
        assert spec["authOptions"] == {"mode": "token", "secretName": "distbp-ray-token"}
        assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert {"readinessProbe", "livenessProbe", "resources"} <= set(container)
        assert re.fullmatch(r"IMAGE/distbp:\d+\.\d+\.\d+", container["image"])
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        (memory,) = [volume for volume in pod["volumes"] if volume["name"] == mounted["/dev/shm"]]
        assert memory["emptyDir"]["medium"] == "Memory"


@pytest.mark.parametrize("name", KUBERNETES)
def test_kubernetes_files_are_small_enough_to_read_and_name_known_kinds(name):
    kinds = {document["kind"] for document in documents(name)}
    assert kinds <= {"RayCluster", "RayJob", "PersistentVolumeClaim"}


def test_the_slurm_script_is_a_script_and_asks_for_its_data():
    subprocess.run(["bash", "-n", CLUSTER / "slurm.sh"], check=True)
    done = subprocess.run(["bash", CLUSTER / "slurm.sh"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: sbatch" in done.stderr


@pytest.mark.parametrize("name", [*LAUNCHED, "Dockerfile"])
def test_versions_that_change_the_bits_are_pinned(name):
    assert re.search(r"'ray\[default\]==2\.60\.0' numpy==\d+\.\d+\.\d+ ", (CLUSTER / name).read_text())


def test_versions_are_those_of_the_package():
    from distbp import __version__

    for path in CLUSTER.iterdir():
        for number in re.findall(r"distbp:(\d+\.\d+\.\d+)", path.read_text()):
            assert number == __version__
