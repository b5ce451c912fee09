"""Azure ML's folder under Azure's own packages: entities by the SDK, the script by the inference server."""

import contextlib
import json
import socket
import subprocess
import time
import urllib.request

from tests.targets.comparing import peer, runtime

from pointsman.runtime.router import Router

_ENTITIES = """
import pathlib, sys
from azure.ai.ml import load_environment, load_model, load_online_deployment, load_online_endpoint
folder = pathlib.Path(sys.argv[1])
loaders = {
    "model.yml": load_model,
    "environment.yml": load_environment,
    "endpoint.yml": load_online_endpoint,
    "deployment.yml": load_online_deployment,
    "deployment-container.yml": load_online_deployment,
}
for name, load in loaders.items():
    entity = load(folder / name)
    entity._to_dict()
    print(type(entity).__name__)
    # The check can fail: a key that the schema does not know is refused.
    wrong = folder / ("wrong-" + name)
    wrong.write_text((folder / name).read_text() + "\\nno_such_key: 1\\n")
    try:
        load(wrong)
    except Exception as error:
        assert "no_such_key" in str(error), error
    else:
        raise AssertionError(name + ": an unknown key was taken")
    finally:
        wrong.unlink()
"""

_DEPLOY = """
import importlib.util, sys
from types import SimpleNamespace
spec = importlib.util.spec_from_file_location("deploy", sys.argv[1] + "/deploy.py")
deploy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(deploy)
said = []

class Poller:
    def __init__(self, what, value):
        self.what, self.value = what, value
    def result(self):
        said.append("done " + self.what)
        return self.value

def begin(kind):
    def call(entity):
        # Azure refuses to deploy what it could not serialize.
        entity._to_dict()
        traffic = getattr(entity, "traffic", None) or ""
        said.append(f"begin {kind} {entity.name} {traffic}".rstrip())
        entity._scoring_uri = "https://azure.example/score"
        return Poller(kind, entity)
    return SimpleNamespace(begin_create_or_update=call)

def create(kind):
    def call(entity):
        said.append(f"register {kind} {entity.name}")
        return SimpleNamespace(id=f"azureml:{entity.name}:1")
    return SimpleNamespace(create_or_update=call)

client = SimpleNamespace(
    models=create("model"), environments=create("environment"),
    online_endpoints=begin("endpoint"), online_deployments=begin("deployment"),
)
print(deploy.deploy(client, "--container" in sys.argv))
print("\\n".join(said))
"""

_FIRST_CALL = """
import importlib.util, sys, time
from azure.core.credentials import AccessToken
import azure.identity, requests

class Credential:
    def get_token(self, *scopes, **options):
        return AccessToken("t", int(time.time()) + 3600)

azure.identity.DefaultAzureCredential = Credential

class Reached(BaseException):
    pass

def send(self, request, **kwargs):
    raise Reached(f"{request.method} {request.url} {request.headers['Authorization']}")

requests.Session.send = send
spec = importlib.util.spec_from_file_location("deploy", sys.argv[1] + "/deploy.py")
deploy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(deploy)
sys.argv = ["deploy.py", "sub", "group", "space"]
try:
    deploy.main()
except Reached as reached:
    print(reached)
"""


def test_the_sdk_takes_every_entity(packaged):
    assert peer("venv-sdk", _ENTITIES, packaged("azureml")).split() == [
        "Model", "Environment", "ManagedOnlineEndpoint", "ManagedOnlineDeployment", "ManagedOnlineDeployment",
    ]  # fmt: skip


def test_the_script_awaits_each_step_and_sends_traffic_last(packaged):
    assert peer("venv-sdk", _DEPLOY, packaged("azureml")).splitlines() == [
        "https://azure.example/score",
        "begin endpoint pointsman-router",
        "done endpoint",
        "register model pointsman-router",
        "register environment pointsman-router",
        "begin deployment blue",
        "done deployment",
        "begin endpoint pointsman-router {'blue': 100}",
        "done endpoint",
    ]


def test_the_script_deploys_the_gateways_image_instead(packaged):
    said = peer("venv-sdk", _DEPLOY, packaged("azureml"), "--container").splitlines()
    assert said[1:4] == ["begin endpoint pointsman-router", "done endpoint", "begin deployment gateway"]
    assert said[-2:] == ["begin endpoint pointsman-router {'gateway': 100}", "done endpoint"]


def test_the_script_runs_to_its_first_call_of_azure(packaged):
    method, url, *key = peer("venv-sdk", _FIRST_CALL, packaged("azureml")).splitlines()[-1].split(" ")
    path = (
        "/subscriptions/sub/resourceGroups/group/providers/Microsoft.MachineLearningServices/workspaces/space"
    )
    assert (method, key) == ("GET", ["Bearer", "t"])
    assert path in url


def test_azure_server_answers_as_python(packaged, texts, artifact):
    folder, program = packaged("azureml"), runtime("venv-az", "bin", "azmlinfsrv")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--entry_script", "code/score.py", "--model_dir", "model", "--port", str(port)]
    server = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        decisions = [one.to_dict() for one in Router.open(artifact.path).route_many(texts[:200])]
        assert ask(server, port, {"inputs": texts[:200]}) == {"decisions": decisions}
        assert ask(server, port, {"inputs": texts[0]}) == {"decisions": decisions[:1]}
        assert "expected a JSON object" in ask(server, port, {"query": "x"})["error"]
        assert "string" in ask(server, port, {"inputs": [1]})["error"]
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        server.kill()
        server.stdout.close()


def ask(server, port, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/score", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    for _ in range(60):
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.loads(answer.read())
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError) or server.poll() is not None:
                raise
            time.sleep(1)
    raise AssertionError("the Azure server did not start")
