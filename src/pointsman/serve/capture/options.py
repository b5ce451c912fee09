"""What a request wants beside its messages, as `/chat/completions` says it."""

from collections.abc import Mapping
from typing import Any

from pointsman.runtime.chat import options_of

LEFT_OUT = "tools_left_out"


def captured_options(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a chat, a response or Anthropic's protocol; tools that are no functions are counted.

    A choice of tools is written differently in each protocol: only a chat's own is kept.
    """
    tools = payload.get("tools")
    if not isinstance(tools, list) or ("input" not in payload and all(_is_chat_tool(tool) for tool in tools)):
        return options_of(payload)
    kept = [made for tool in tools if (made := _chat_tool(tool)) is not None]
    left_out = {LEFT_OUT: len(tools) - len(kept)} if len(kept) < len(tools) else {}
    return {**({"tools": kept} if kept else {}), **left_out}


def _is_chat_tool(tool: Any) -> bool:
    return isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping)


def _chat_tool(tool: Any) -> dict[str, Any] | None:
    """A function as a chat offers it; None for what is none."""
    if _is_chat_tool(tool):
        return dict(tool)
    name = tool.get("name") if isinstance(tool, Mapping) else None
    parameters = None if name is None else tool.get("parameters", tool.get("input_schema"))
    if not isinstance(name, str) or not isinstance(parameters, Mapping):
        return None
    told = {"description": tool["description"]} if isinstance(tool.get("description"), str) else {}
    return {"type": "function", "function": {"name": name, **told, "parameters": parameters}}
