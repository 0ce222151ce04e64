"""Transcripts: what was typed, and what was answered. One file is read as it would be on a screen.

    ## A sentence: one test, in a namespace of its own
    $ kubectl get cm
    > -o name                 # the command goes on
    configmap/settings        # what it prints, both streams as they come
    [1]                       # its exit code, where that is not 0

Rules: a line that begins with ``#`` outside of an answer is a remark. What differs from run to run
(times, ages, generated names, addresses, versions of objects) is made equal by `normal` before
anything is compared. ``MOTORPOOL_TRANSCRIPTS=write`` writes the answers into the files instead;
then read the difference as you would read code.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

GENERATED = "bcdfghjklmnpqrstvwxz2456789"

_EQUAL = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000", "TIME"),
    (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
    (r'(resourceVersion"?: ?)"\d+"', r'\1"VERSION"'),
    (r"(Resource Version: +)\d+", r"\1VERSION"),
    (r"\b([a-z0-9-]+)\.[0-9a-f]{14,16}\b", r"\1.ID"),
    (r"\S*/kubectl-edit-\d+", "kubectl-edit"),
    (r"\S*/(LIVE|MERGED)-\d+/", r"\1/"),
    (r"[WE]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ (\S+?):\d+\]", r"\1:"),
    (rf"\b([a-z0-9-]+)-[{GENERATED}]{{7,10}}-[{GENERATED}]{{5}}\b", r"\1-HASH-ID"),
    (rf"\b([a-z0-9-]+)-[{GENERATED}]{{8,10}}\b", r"\1-HASH"),
    (rf"(hash[=:] ?\"?)[{GENERATED}]{{8,10}}\b", r"\1HASH"),
    (rf"\b([a-z0-9]+)-[{GENERATED}]{{5}}\b", r"\1-ID"),
    (r"https://127\.0\.0\.1:\d+", "https://SERVER"),
    (r"\b10\.217\.\d+\.\d+\b|\b127\.\d+\.\d+\.\d+\b", "ADDRESS"),
    (r"(?<=\s)(\d+[smhd]){1,2}(?=\s|$)", "AGE"),
    (r"(?<=\S) {2,}", "  "),
    (r"[ \t]+$", ""),
]
_PATTERNS = [(re.compile(pattern, re.MULTILINE), to) for pattern, to in _EQUAL]


def normal(text: str, names: dict[str, str]) -> str:
    """*text* as it is on every run; *names* says what this run calls the things of all runs."""
    for here, everywhere in names.items():
        text = re.sub(rf"(?<![\w-]){re.escape(here)}(?![\w-])", everywhere, text)
    for pattern, to in _PATTERNS:
        text = pattern.sub(to, text)
    return text


@dataclass
class Step:
    command: str
    answer: str = ""
    code: int = 0

    def text(self) -> str:
        lines = ["$ " + self.command.replace("\n", "\n> "), *self.answer.splitlines()]
        return "\n".join([*lines, f"[{self.code}]"] if self.code else lines)


@dataclass
class Scene:
    title: str
    steps: list[Step] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read(path: Path) -> list[Scene]:
    scenes: list[Scene] = []
    step: Step | None = None
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            scenes.append(Scene(line[3:]))
            step = None
        elif line.startswith("$ "):
            step = Step(line[2:])
            scenes[-1].steps.append(step)
        elif step is None:
            if line.startswith("# "):
                scenes[-1].remarks.append(line)
        elif line.startswith("> ") and not step.answer:
            step.command += "\n" + line[2:]
        elif re.fullmatch(r"\[\d+\]", line):
            step.code = int(line[1:-1])
        else:
            step.answer += line + "\n"
    for scene in scenes:
        for step in scene.steps:
            step.answer = step.answer.rstrip("\n")
    return scenes


def write(path: Path, scenes: list[Scene]) -> None:
    parts = []
    for scene in scenes:
        head = "\n".join([f"## {scene.title}", *scene.remarks])
        parts.append("\n".join([head, *(step.text() for step in scene.steps)]))
    path.write_text("\n\n".join(parts) + "\n")
