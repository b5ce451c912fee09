"""What front-ends and coding agents wrap around a request, and the prompts that they send on their own.

A router reads what a person asks: behind a reminder of a thousand words `What is 2+2?` looks hard.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_BLOCKS = """
    system-reminder local-command-stdout local-command-stderr local-command-caveat command-name
    command-message task-notification bash-stdout bash-stderr ide_opened_file ide_selection new-diagnostics
    environment_context user_instructions INSTRUCTIONS permissions collaboration_mode recommended_plugins
    turn_aborted skills_instructions apps_instructions skill subagent_notification
    environment_details file_content folder_content url_content explicit_instructions workspace_diagnostics
    terminal_output git_working_state final_file_content
    additional_data current_file open_files attached_files project_layout git_status user_info recent_edits
    attachments attachment context editorContext reminderInstructions reminder workspace_info environment_info
    document documents file files rules memories sources source tool_result
"""
"""Elements that are not the request: of Claude Code, Codex, Cline and Roo, Cursor, Copilot, and of many."""
_REQUESTS = "task|feedback|user_message|user_query|userRequest|command-args|user_input"
"""Elements that hold the request."""
_NAMES = frozenset(_BLOCKS.split())
_OPENING = re.compile(r"\s*<([A-Za-z][\w-]*)(?: [^<>\n]*)?>")
_CLOSING = re.compile(r"</([A-Za-z][\w-]*)(?: [^<>\n]*)?>\Z")
_REQUEST = re.compile(rf"\s*<({_REQUESTS})>(.*?)</\1>", re.DOTALL)
_SAID = re.compile(rf"^<({_REQUESTS})>\n?(.*?)\n?</\1>", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"\s*```[^\n`]*[/.][^\n`]*\n.*?\n```[ \t]*(?:\n|\Z)", re.DOTALL)
"""A leading block of code that is named after a file: attached, not written."""
_TOOL_RESULT = re.compile(r"\[\w+(?: for [^\n]*)?\] Result:")
_HEADS = (
    re.compile(r"# AGENTS\.md instructions[^\n]*\n+(?=<)"),
    re.compile(r"# Context from my IDE setup:.*?^## My request for Codex:", re.DOTALL | re.MULTILINE),
    re.compile(r"System prompt:.*?^Request:", re.DOTALL | re.MULTILINE),
    re.compile(r"System prompt:[^\n]*?\bRequest:"),
    re.compile(
        r"(?:(?:Caller system prompt, quoted|Recent conversation \(context only|Conversation so far: ~).*?)?"
        r"^Classify this message:\n",
        re.DOTALL | re.MULTILINE,
    ),
    re.compile(r"### Task:\s+Respond to the user query using the provided context.*?</context>", re.DOTALL),
    re.compile(r"Attached document\(s\):\s*```.*?\n```", re.DOTALL),
    re.compile(r"\[Request interrupted by user[^\]\n]*\]"),
)
"""Beginnings that end where the request begins: of Codex, LiteLLM, Open WebUI and LibreChat."""
_TALK = r"(?:this|the|our|following)(?:\ [\w-]+)?\ (?:conversation|chat|session|thread|discussion)\b"
_MAKE = r"(?:please\ )?(?:generate|write|create|provide|suggest|give|extract|reply\ with|come\ up\ with)\b"
_TASKS = re.compile(
    rf"""
      {_MAKE}[^\n]{{0,90}}\btitle\b[^\n]{{0,160}}{_TALK}(?!\ (?:app|bot|room|client|server|widget))
    | \#\#\#\ Task:\s+(?!Respond\ to\ the\ user\ query).{{0,4000}}?
        (?:<chat_history>|\#\#\#\ (?:\*\*)?Output|JSON\ format)
    | \#\#\#\ Task:\s+You\ are\ an\ autocompletion\ system
    | (?:detect\ (?:the\ )?user\ language|analyze\ this\ conversation)\b.{{0,400}}?\bconcise\ title\b
    | you\ are\ a\ title\ generator
    | analyze\ if\ this\ message\ indicates\ a\ new\ conversation\ topic
    | (?:please\ )?summari[sz]e\ this\ (?:coding\ )?conversation\ in\ under
    | \[SUGGESTION\ MODE:
    | (?:your\ task\ is\ to|please)\ create\ a\ detailed\ summary\ of\ (?:the|our)\ conversation
    | (?:progressively\ )?summari[sz]e\ the\ (?:lines\ of\ )?conversation\ (?:provided|by\ integrating)
    | you\ are\ performing\ a\ context\ checkpoint\ compaction
    | provide\ a\ detailed\ prompt\ for\ continuing\ our\ conversation
    | your\ task\ is\ to\ reflect\ the\ speaker's\ likely\ facial\ expression
    | warmup\Z
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
"""How prompts begin that front-ends send for titles, tags, follow-ups, topics, completions and summaries."""
_FILL_IN = re.compile(r"<\|?fim[_▁](?:prefix|begin|suffix|hole)\|?>|<｜fim▁begin｜>|\A\s*<PRE> |\[SUFFIX\]")
_HEAD_CHARS, _TAIL_CHARS = 6_000, 4_000
_LONGEST_TAG, _LONGEST_WRAPPER = 1_000, 1 << 18
"""Characters that an expression searches at once: it holds the interpreter's lock, and other threads wait."""
_MOST_LAYERS = 4


def unwrapped(text: str) -> str:
    """What a person asks in a text of a front-end; empty where the text is nothing but wrapping.

    A tag in the middle of the text is left alone: there it is quoted.
    """
    for _ in range(_MOST_LAYERS):
        kept = _without_wrappers(text)
        request = _REQUEST.match(kept, 0, _LONGEST_WRAPPER)
        if request is None:
            break
        text = f"{request[2].strip()}\n{kept[request.end() :]}"
    if _TOOL_RESULT.match(kept, 0, _LONGEST_TAG):
        return "\n".join(said[2].strip() for said in _SAID.finditer(kept[-_TAIL_CHARS:]))
    return kept


def is_background_task(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a front-end asks on its own: for a title, tags, follow-ups, a completion or a summary.

    Args:
        messages: OpenAI-style messages; the last one of the user counts, and a system prompt. Of several
            parts each may be the task: Claude Code's first ones are reminders, or say who it is.
    """
    spoken = (message for message in reversed(messages) if message.get("role") == "user" and text_of(message))
    asked = texts_of(next(spoken, {}))
    told = [
        text
        for message in messages
        if message.get("role") in ("system", "developer")
        for text in texts_of(message)
    ]
    begins = [text.lstrip()[:_HEAD_CHARS] for text in (*asked, *map(unwrapped, asked), *told)]
    ends = [end for text in asked for end in (text[:_HEAD_CHARS], text[-_TAIL_CHARS:])]
    return any(_TASKS.match(text) for text in begins) or any(_FILL_IN.search(text) for text in ends)


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, whose content is a string or a list of parts; of parts the text ones."""
    return "\n".join(texts_of(message)).strip()


def texts_of(message: Mapping[str, Any]) -> list[str]:
    """The texts of a message, one a part."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    if not isinstance(content, Sequence):
        return []
    return [
        part["text"]
        for part in content
        if isinstance(part, Mapping)
        and part.get("type") in ("text", "input_text")
        and isinstance(part.get("text"), str)
    ]


def _without_wrappers(text: str) -> str:
    start, end = 0, len(text)
    while (after := _after_wrapper(text, start)) is not None:
        start = after
    while (before := _before_wrapper(text, start, end)) is not None:
        end = before
    return text[start:end].strip()


def _after_wrapper(text: str, start: int) -> int | None:
    """Where a wrapper that stands at a place ends."""
    while start < len(text) and text[start].isspace():
        start += 1
    opening = _OPENING.match(text, start, start + _LONGEST_TAG)
    if opening is not None and opening[1] in _NAMES:
        end = text.find(f"</{opening[1]}", opening.end())
        closed = text.find(">", end) + 1 if end >= 0 else 0
        return closed or None
    for head in (*_HEADS, _FENCE):
        if (match := head.match(text, start, start + _LONGEST_WRAPPER)) is not None:
            return match.end()
    return None


def _before_wrapper(text: str, start: int, end: int) -> int | None:
    """Where a wrapper begins that ends at a place, on a line of its own."""
    while end > start and text[end - 1].isspace():
        end -= 1
    if end <= start or text[end - 1] != ">":
        return None
    slash = text.rfind("</", start, end)
    closing = _CLOSING.match(text[max(slash, end - _LONGEST_TAG, start) : end])
    if slash < 0 or closing is None or closing[1] not in _NAMES:
        return None
    begin = text.rfind(f"<{closing[1]}", start, slash)
    before = begin
    while before > start and text[before - 1] in " \t":
        before -= 1
    is_on_own_line = before == start or text[before - 1] == "\n"
    return begin if begin >= 0 and is_on_own_line else None
