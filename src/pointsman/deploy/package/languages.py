"""Programs in other languages around the one file that takes text: no tokenizer of their own."""

from pointsman.deploy.package.target import Target
from pointsman.deploy.package.text_in import FILE, write

_UNTRIED = "written from the interface's description; neither compiled nor run"


def _program(name: str, language: str, needs: str, tested: str) -> Target:
    return Target(
        name=name,
        page="other-languages",
        purpose=f"a small program in {language} around the one file that takes text",
        needs=f"{needs}, the library of onnxruntime-extensions; onnx where it is packaged",
        tested=tested,
        variants={FILE: ("int8", "plain")},
        step=write,
    )


TARGETS = (
    _program(
        "cpp",
        "C++",
        "a C++17 compiler, ONNX Runtime's headers and library",
        "compiled by g++ and run: 1,000 texts and odd ones against Python",
    ),
    _program("java", "Java", "Java 17, onnxruntime's jar", "compiled against the library's classes; not run"),
    _program("csharp", "C#", ".NET 8, Microsoft.ML.OnnxRuntime", _UNTRIED),
)
