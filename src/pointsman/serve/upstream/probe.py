"""Whether an upstream answers as it is configured: it is asked for its models, the way requests will go."""

import asyncio
import difflib

import httpx

from pointsman.errors import UpstreamError
from pointsman.serve.edge.strict_json import object_or_none
from pointsman.serve.upstream.connection import MalformedError
from pointsman.serve.upstream.headers import ANTHROPIC_VERSION, own_headers
from pointsman.serve.upstream.transport import HttpTransport, NotConnectedError
from pointsman.serve.upstream_settings import UpstreamSettings

_WAIT_S = 10.0
_MOST_BYTES = 2**22


async def probe(name: str, settings: UpstreamSettings) -> str:
    """One line about an upstream that answers, also where its list is without the model that it is set to.

    Raises:
        UpstreamError: it does not answer, or as no model's service does; the message says what to look at.
    """
    where = f"upstreams.{name}"
    status, headers, body = await _ask(where, settings, settings.url)
    found = _models(body)
    if 200 <= status < 300 and found is not None:
        return f"{where}: answers; {_about(found, settings)}"
    has_v1 = settings.api == "azure" or settings.url.endswith("/v1")
    if not has_v1 and _models((await _ask(where, settings, f"{settings.url}/v1"))[2]) is not None:
        why = f"lacks /v1? There is no list of models at this address, but one at {settings.url}/v1"
    elif status in (401, 403):
        has_key = settings.api_key or settings.api_key_env or settings.api_key_file
        why = f"its key is {'refused' if has_key else 'missing'}; look at {where}.api_key_env"
    elif 300 <= status < 400:
        why = f"it redirects to {headers.get('location', '')[:200]!a}; set the final address"
    elif status == 404:
        why = "there is no list of models at this address; " + ("is it complete?" if has_v1 else "lacks /v1?")
    elif b"https" in body.lower() and status == 400:
        why = "it wants https://"
    elif status < 300:
        kind = headers.get("content-type", "").partition(";")[0].strip()
        why = f"its answer is no list of models, but {kind[:50]!a}; is this the address of its API?"
    else:
        why = "it answers with an error; see its own log"
    raise UpstreamError(f"{where}.url: status {status}: {why}.")


async def _ask(where: str, settings: UpstreamSettings, url: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer to the question for models."""
    path = "/models?limit=1000" if settings.api == "anthropic" else "/models"
    if settings.api == "azure":
        path = f"/openai/models?api-version={settings.api_version}"
    headers = {
        b"anthropic-version": ANTHROPIC_VERSION,
        **dict(own_headers(settings, where.partition(".")[2])),
    }
    transport = HttpTransport(url)
    try:
        async with asyncio.timeout(_WAIT_S):
            target = httpx.URL(url + path).raw_path
            response = await transport.send(target, headers.items(), b"", settings.connect_timeout_s, "GET")
            body = bytearray()
            while len(body) < _MOST_BYTES and (piece := await response.read()):
                body += piece
            response.close()
    except TimeoutError:
        why = f"no answer within {_WAIT_S:.0f} s"
    except NotConnectedError as error:
        is_plain = str(error).startswith("TLS") and "certificate" not in str(error)
        why = f"no connection: {error}{'; is it http://?' if is_plain else ''}"
    except MalformedError:
        why = "its answer is not HTTP/1.1; is it https://?"
    except OSError as error:
        why = f"the connection broke: {error}"
    else:
        return response.status, response.headers, bytes(body)
    finally:
        transport.close()
    raise UpstreamError(f"{where}.url: {why}.")


def _models(body: bytes) -> list[str] | None:
    """The names in a list of models; None where it is none."""
    data = (object_or_none(body) or {}).get("data")
    if not isinstance(data, list):
        return None
    return [str(item["id"]) for item in data if isinstance(item, dict) and "id" in item]


def _about(found: list[str], settings: UpstreamSettings) -> str:
    model = settings.model
    # Azure lists what it could deploy, not the deployments; Ollama completes a name without a tag.
    if model is None or settings.api == "azure" or {model, f"{model}:latest"} & set(found):
        return f"models: {len(found)}"
    near = difflib.get_close_matches(model, found, cutoff=0.4) or found[:3]
    return f"warning: its models are without {model!r}; the nearest: {', '.join(near) or 'none at all'}"
