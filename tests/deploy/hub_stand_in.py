"""The Hub's HTTP API on the loopback, as far as a model repository needs it: the real client speaks to it."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_stand_in_secret"


@dataclass
class Repository:
    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    lfs: set[str] = field(default_factory=set)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        names = json.dumps(
            [len(self.commits), branch, {n: hashlib.sha1(d).hexdigest() for n, d in files.items()}]
        )
        oid = hashlib.sha1(names.encode()).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        return oid


class Hub(ThreadingHTTPServer):
    """Repositories, uploaded objects, and every request line that came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.refuse_commits = False
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - the names that http.server looks for

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        self.body = self._read_body()
        for method, pattern, name in _ROUTES:
            found = re.fullmatch(pattern, path)
            if self.command in method and found:
                getattr(self, name)(*found.groups())
                return
        self._answer(404, {"error": "not served here"})

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, value: Any = None, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for key, text in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repository(self, name: str) -> Repository | None:
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not self._known):
            # As the Hub does: nobody learns whether a private repository exists.
            self._answer(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return None
        return repository

    def _commit(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        repository = self._repository(name)
        if repository is None:
            return None
        oid = repository.branches.get(revision, revision)
        if oid not in repository.commits:
            self._answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
            return None
        return oid, repository.commits[oid]

    def create(self) -> None:
        if not self._known:
            self._answer(401, {"error": "Invalid username or password."})
            return
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.server.repositories:
            self._answer(409, {"error": "exists", "url": f"{self.server.endpoint}/{name}"})
            return
        repository = self.server.repositories[name] = Repository(asked.get("visibility") == "private")
        repository.commit("main", {".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n"})
        self._answer(200, {"url": f"{self.server.endpoint}/{name}"})

    def branch(self, name: str, branch: str) -> None:
        if (repository := self._repository(name)) is None:
            return
        if branch in repository.branches:
            self._answer(409, {"error": "exists"})
            return
        repository.branches[branch] = repository.branches["main"]
        self._answer(200, {})

    def yaml(self) -> None:
        self._answer(200, {"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        found = self._commit(name, revision)
        if found is None:
            return
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if fnmatch(file["path"], "*.onnx") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        self._answer(200, {"files": files})

    def lfs_batch(self, name: str) -> None:
        if not self._known:
            self._answer(403, {"error": "no"})
            return
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.server.endpoint}/lfs/{one['oid']}"}}}
            for one in json.loads(self.body)["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.server.objects[oid] = self.body
        self._answer(200, {})

    def commit(self, name: str, branch: str) -> None:
        found = self._commit(name, branch)
        if found is None:
            return
        if not self._known or self.server.refuse_commits:
            self._answer(403, {"error": "You may not write here."})
            return
        repository, files = self.server.repositories[name], dict(found[1])
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
                repository.lfs.add(value["path"])
        oid = repository.commit(branch, files)
        self._answer(200, {"commitUrl": f"{self.server.endpoint}/{name}/commit/{oid}", "commitOid": oid})

    def info(self, name: str, revision: str = "main") -> None:
        if (found := self._commit(name, revision)) is not None:
            siblings = [{"rfilename": file} for file in found[1]]
            self._answer(
                200, {"id": name, "sha": found[0], "private": False, "tags": [], "siblings": siblings}
            )

    def tree(self, name: str, revision: str) -> None:
        if (found := self._commit(name, revision)) is None:
            return
        repository = self.server.repositories[name]
        files = []
        for path, data in found[1].items():
            entry = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            if path in repository.lfs:
                lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
                entry["lfs"] = lfs
            files.append(entry)
        self._answer(200, files)

    def resolve(self, name: str, revision: str, path: str) -> None:
        if (found := self._commit(name, revision)) is None:
            return
        oid, files = found
        if path not in files:
            self._answer(
                404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid}
            )
            return
        digest = hashlib.sha256(files[path]).hexdigest()
        self._answer(200, files[path], {"ETag": f'"{digest}"', "X-Repo-Commit": oid})


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES = (
    ("POST", "/api/repos/create", "create"),
    ("POST", "/api/validate-yaml", "yaml"),
    ("POST", rf"/api/models/{_NAME}/branch/(.+)", "branch"),
    ("POST", rf"/api/models/{_NAME}/preupload/(.+)", "preupload"),
    ("POST", rf"/api/models/{_NAME}/commit/(.+)", "commit"),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/lfs/(\w+)", "upload"),
    (("GET",), rf"/api/models/{_NAME}", "info"),
    (("GET",), rf"/api/models/{_NAME}/revision/(.+)", "info"),
    (("GET",), rf"/api/models/{_NAME}/tree/([^/]+)", "tree"),
    (("GET", "HEAD"), rf"/{_NAME}/resolve/([^/]+)/(.+)", "resolve"),
)
