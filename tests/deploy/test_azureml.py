"""Azure ML's folder without Azure: the container's variables start a gateway, the figures fit each other."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from tests.deploy.full_artifact import build_full_artifact
from tests.support.running import running

from pointsman.artifact.store import Artifact
from pointsman.deploy.package.build import build_package
from pointsman.deploy.package.catalogue import target_named
from pointsman.serve.edge.keys import check_exposure, load_access
from pointsman.serve.settings_loader import load_settings


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build_full_artifact(tmp_path_factory.mktemp("full") / "full")


@pytest.fixture(scope="module")
def made(full: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packages")
    for name in ("docker", "azureml"):
        build_package(target_named(name), full, root / name)
    return root


def read(made: Path, name: str) -> dict[str, Any]:
    return yaml.safe_load((made / "azureml" / name).read_text(encoding="utf-8"))


def test_the_container_serves_behind_azures_endpoint(made: Path, full: Artifact) -> None:
    with (made / "docker" / "Dockerfile").open("rb") as file:
        image = DockerfileParser(fileobj=file, cache_content=True).envs
    deployment = read(made, "deployment-container.yml")
    said = {**image, **deployment["environment_variables"], "POINTSMAN_INFERENCE__ARTIFACT": str(full.path)}
    environment = {name: value for name, value in said.items() if name.startswith("POINTSMAN_")}
    settings = load_settings({}, None, environment)
    assert settings.server.host == "0.0.0.0"
    check_exposure(settings.server, load_access(settings.auth))
    here = {"POINTSMAN_SERVER__HOST": "127.0.0.1", "POINTSMAN_SERVER__PORT": "0"}
    routes = deployment["environment"]["inference_config"]
    assert {route["port"] for route in routes.values()} == {settings.server.port}
    # `running` has a client for the admin address too, so that one is given a port here.
    settings = load_settings({"server": {"admin_port": 0}}, None, {**environment, **here})
    with running(settings) as gateway:
        azures = {"authorization": "Bearer azures-own-key", "azureml-model-deployment": "gateway"}
        for name in ("liveness_route", "readiness_route"):
            assert gateway.http.get(routes[name]["path"], headers=azures).status_code == 200
        scoring = routes["scoring_route"]["path"]
        for body in ({"inputs": "plan"}, {"input_data": ["plan", "hi"]}):
            assert gateway.http.post(scoring, json=body, headers=azures).status_code == 200


def test_workers_threads_and_requests_fit_the_cores(made: Path) -> None:
    deployment = read(made, "deployment.yml")
    cores = int(re.fullmatch(r"Standard_F(\d+)s_v2", deployment["instance_type"])[1])  # type: ignore[index]
    variables = deployment["environment_variables"]
    assert int(variables["WORKER_COUNT"]) * int(variables["POINTSMAN_THREADS"]) == cores
    assert deployment["request_settings"]["max_concurrent_requests_per_instance"] == cores


def test_everything_belongs_to_one_endpoint(made: Path) -> None:
    endpoint = read(made, "endpoint.yml")["name"]
    for name in ("deployment.yml", "deployment-container.yml"):
        assert read(made, name)["endpoint_name"] == endpoint
    deployment = read(made, "deployment.yml")
    for kind in ("model", "environment"):
        assert deployment[kind] == f"azureml:{read(made, f'{kind}.yml')['name']}@latest"


def test_the_environment_has_what_the_light_runtime_needs(made: Path) -> None:
    (pip,) = [one["pip"] for one in read(made, "conda.yml")["dependencies"] if isinstance(one, dict)]
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert sorted(pip) == sorted(["azureml-inference-server-http", *project["dependencies"]])
