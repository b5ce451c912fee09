"""What front-ends and coding agents send today, with a request inside, and what they send on their own.

Written for the tests after the public sources of each: Claude Code's reminders, Codex's context, Cline's and Roo's
details, Cursor's and Copilot's attachments, Continue's files, Open WebUI's retrieval and LibreChat's documents.
"""

# ruff: noqa: E501 - texts as they are sent

from collections.abc import Callable
from typing import Any

Wrap = Callable[[str], Any]

REMINDER = (
    "<system-reminder>\nAs you answer, the following context may help:\n# claudeMd\nFollow the style guide of the "
    "repository exactly, analyze each design trade-off and write comprehensive tests for every module.\n"
    "# currentDate\nToday's date is 2026-05-04.\nThis context may or may not be relevant.\n</system-reminder>"
)
DETAILS = (
    "<environment_details>\n# VSCode Visible Files\nsrc/app.ts\n\n# VSCode Open Tabs\nsrc/app.ts\nREADME.md\n\n# Current "
    "Time\n5/4/2026, 10:00:00 AM (UTC)\n\n# Current Working Directory (/home/me/app) Files\n.gitignore\nsrc/\n\n"
    "# Current Mode\nACT MODE\n</environment_details>"
)
AGENTS = (
    "# AGENTS.md instructions for /home/me/app\n\n<INSTRUCTIONS>\nRun the linters before each commit. Explain complex "
    "algorithms, prove invariants and compare alternatives.\n</INSTRUCTIONS>"
)
CONTEXT = (
    "<environment_context>\n  <cwd>/home/me/app</cwd>\n  <approval_policy>on-request</approval_policy>\n"
    "  <sandbox_mode>workspace-write</sandbox_mode>\n  <shell>bash</shell>\n</environment_context>"
)
FILE = (
    "```ts src/app.ts (1-40)\nexport function distribute(load: number[]): number[] {\n  return load;\n}\n```"
)


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


WRAPPED: dict[str, Wrap] = {
    "Claude Code, reminder before": lambda q: f"{REMINDER}\n{q}",
    "Claude Code, reminders as parts": lambda q: parts(REMINDER, REMINDER, q),
    "Claude Code, reminder behind": lambda q: parts(q, REMINDER),
    "Claude Code, after a command": lambda q: parts(
        "<local-command-caveat>Caveat: the messages below were made by local commands.</local-command-caveat>",
        "<command-name>/clear</command-name>\n<command-message>clear</command-message>",
        "<local-command-stdout></local-command-stdout>",
        q,
    ),
    "Claude Code, interrupted": lambda q: parts("[Request interrupted by user for tool use]", q),
    "Codex, context": lambda q: f"{CONTEXT}\n{q}",
    "Codex, instructions and context": lambda q: f"{AGENTS}\n\n{CONTEXT}\n\n{q}",
    "Codex, user instructions": lambda q: parts(
        "<user_instructions>\n\nBe brief.\n\n</user_instructions>", CONTEXT, q
    ),
    "Codex, from an editor": lambda q: (
        f"# Context from my IDE setup:\n\n## Active file: src/app.ts\n\n## Open tabs:\n- app.ts: src/app.ts\n\n"
        f"## My request for Codex:\n{q}\n"
    ),
    "Cline, first turn": lambda q: parts(f"<task>\n{q}\n</task>", DETAILS),
    "Cline, one text": lambda q: f"<task>\n{q}\n</task>\n\n{DETAILS}",
    "Cline, feedback": lambda q: parts(
        "[attempt_completion] Result:", f"<feedback>\n{q}\n</feedback>", DETAILS
    ),
    "Cline, feedback behind a tool's result": lambda q: parts(
        f"[read_file for 'src/app.ts'] Result:\nexport const a = 1\n<feedback>\n{q}\n</feedback>", DETAILS
    ),
    "Cline, a file mentioned": lambda q: parts(
        f'<task>\n{q}\n</task>\n\n<file_content path="src/app.ts">\nexport const a = 1\n</file_content>',
        DETAILS,
    ),
    "Roo, user message": lambda q: parts(f"<user_message>\n{q}\n</user_message>", DETAILS),
    "Cursor": lambda q: (
        f"<additional_data>\nBelow is data of the editor.\n<current_file>\nPath: a.py\n</current_file>\n"
        f"</additional_data>\n\n<user_query>\n{q}\n</user_query>"
    ),
    "Copilot": lambda q: (
        f'<attachments>\n<attachment id="a.py">\nprint(1)\n</attachment>\n</attachments>\n<context>\nToday is May 4.\n'
        f"</context>\n<reminderInstructions>\nPlan first.\n</reminderInstructions>\n<userRequest>\n{q}\n</userRequest>"
    ),
    "Continue, a file": lambda q: f"{FILE}\n\n{q}",
    "Continue, files as parts": lambda q: parts(FILE, FILE, q),
    "Open WebUI, retrieval": lambda q: (
        "### Task:\nRespond to the user query using the provided context, incorporating inline citations.\n\n"
        f'### Guidelines:\n- Be thorough.\n\n<context>\n<source id="1">A long paper.</source>\n</context>\n\n{q}'
    ),
    "Open WebUI, retrieval with the query": lambda q: (
        "### Task:\nRespond to the user query using the provided context, incorporating inline citations.\n\n"
        f'<context>\n<source id="1">A long paper.</source>\n</context>\n\n<user_query>\n{q}\n</user_query>'
    ),
    "LibreChat, a document": lambda q: (
        f'Attached document(s):\n```md\n# "plan.txt"\nA long plan.\n```\n\n{q}'
    ),
    "decision protocols": lambda q: f"System prompt: You are a careful analyst.\nBe complete.\nRequest: {q}",
}
"""A front-end, and how it wraps a request into the content of a message."""

BACKGROUND = {
    "Open WebUI, title": (
        "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n### Guidelines:\n"
        '- Be clear.\n### Output:\nJSON format: { "title": "..." }\n### Chat History:\n<chat_history>\n…</chat_history>'
    ),
    "Open WebUI, tags": (
        "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history.\n\n### Guidelines:\n"
        "- Short.\n\n### Output:\nJSON format\n\n### Chat History:\n<chat_history>\n…\n</chat_history>"
    ),
    "Open WebUI, follow-ups": (
        "### Task:\nSuggest 3-5 relevant follow-up questions that the user might ask next.\n### Guidelines:\n- Short.\n"
        "### Output:\nJSON format\n### Chat History:\n<chat_history>\n…\n</chat_history>"
    ),
    "Open WebUI, search queries": (
        "### Task:\nAnalyze the chat history to determine the necessity of generating search queries.\n\n"
        "### Guidelines:\n- JSON only.\n\n### Output:\nStrictly JSON\n\n### Chat History:\n<chat_history>…</chat_history>"
    ),
    "Open WebUI, completion": "### Task:\nYou are an autocompletion system. Continue the text in `<text>`.",
    "Open WebUI, emoji": "Your task is to reflect the speaker's likely facial expression through a fitting emoji.",
    "LibreChat, title": "Provide a concise, 5-word-or-less title for the conversation, using its same language.",
    "LibreChat, title with its language": (
        "Detect user language and write in the same language an extremely concise title for this conversation."
    ),
    "Claude Code, title": "Please write a 5-10 word title for the following conversation:\n\nUser: hi",
    "Claude Code, suggestion": "[SUGGESTION MODE: Suggest what the user might naturally type next.]",
    "Claude Code, summary": "Your task is to create a detailed summary of the conversation so far.",
    "Claude Code, warm-up": "Warmup",
    "Codex, compaction": "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary.",
    "Zed, title": "Generate a concise 3-7 word title for this conversation, omitting punctuation.",
    "Zed, summary": "Please create a detailed summary of our conversation.",
    "LangChain, summary": "Progressively summarize the lines of conversation provided, adding onto the previous one.",
    "Continue, completion": "<|fim_prefix|>def add(<|fim_suffix|>\n<|fim_middle|>",
}
"""What is asked of a model without a person asking."""

BACKGROUND_SYSTEM = {
    "OpenCode, title": "You are a title generator. You output ONLY a thread title.",
    "Claude Code, topic": "Analyze if this message indicates a new conversation topic. If it does, extract a title.",
    "Claude Code, title of a session": (
        "Generate a concise, sentence-case title (3-7 words) that captures the main goal of this coding session."
    ),
    "Claude Code, short summary": "Summarize this coding conversation in under 50 characters.",
}
"""The same in a system prompt."""

QUESTIONS = (
    "What is 2+2?",
    "thanks for your help",
    "play some music",
    "analyze the plan",
    "What time is it in Tokyo?",
    "Write a comprehensive business plan",
    "Compare both designs and prove which one terminates",
    "Fix the typo in README.md\nand nothing else",
    "Explain `<system-reminder>` tags",
    "你好",
)
"""What a person asks."""
