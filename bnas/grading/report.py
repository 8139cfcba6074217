"""What a grading found: tasks, tests, points, as text and as JSON."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bnas.grading.confine import MEASURES


@dataclass
class Outcome:
    """One test. share: how much of it is right, 0 to 1; message: what is wrong, or was measured."""

    name: str
    description: str
    hidden: bool
    share: float = 0.0
    message: str = ""


@dataclass
class TaskResult:
    """One task. fault: why it earns nothing whatever its tests say, or ""."""

    name: str
    title: str
    points: int
    tests: list = field(default_factory=list)
    fault: str = ""

    @property
    def earned(self):
        """Points: the share of the tests, each alike, to one decimal; 0 with a fault."""
        if self.fault or not self.tests:
            return 0.0
        return round(self.points * sum(test.share for test in self.tests) / len(self.tests), 1)


@dataclass
class GradingReport:
    """A graded submission.

    tasks: of TaskResult. hidden: whether hidden tests were among the tests. in_force: what confined the process,
    a list of texts, or None if the file was not run.
    """

    assignment: str
    title: str
    tasks: list
    hidden: bool
    in_force: list | None

    @property
    def not_in_force(self):
        """What should have confined the process, and did not, a list of texts."""
        if self.in_force is None:
            return []
        return [
            text
            for name, text in MEASURES.items()
            if not any(told.startswith(f"{name}:") for told in self.in_force)
        ]

    @property
    def points(self):
        return sum(task.points for task in self.tasks)

    @property
    def earned(self):
        return round(sum(task.earned for task in self.tasks), 1)

    def as_dict(self):
        """The report as JSON has it."""
        tasks = [asdict(task) | {"earned": task.earned} for task in self.tasks]
        return asdict(self) | {"points": self.points, "earned": self.earned, "tasks": tasks}

    def write_json(self, path):
        """Write the report as JSON into a file."""
        text = json.dumps(self.as_dict(), indent=2) + "\n"
        Path(path).write_text(text, encoding="utf-8")

    def __str__(self):
        tests = [test for task in self.tasks for test in task.tests]
        lines = [f"{self.title}: {_number(self.earned)} of {self.points} points"]
        if not self.hidden:
            lines = [
                f"{self.title}: {_right(tests)} public tests are right",
                "(the public tests alone; points are given by these and by hidden tests)",
            ]
        faults = {task.fault for task in self.tasks}
        common = faults.pop() if len(faults) == 1 and not tests else ""  # of the whole file
        if common:
            lines += ["", f"Nothing earned: {common}"]
        for task in self.tasks:
            lines.append("")
            points = f"{_number(task.earned)} of {task.points} points, " if self.hidden else ""
            lines.append(f"{task.title}: {points}{_right(task.tests)} tests")
            if task.fault and not common:
                lines.append(f"  nothing earned: {task.fault}")
            for test in task.tests:
                mark = "right" if test.share == 1 else "wrong" if test.share == 0 else "partly"
                hidden = " (hidden)" if test.hidden else ""
                lines.append(f"  {mark}  {test.description}{hidden}")
                lines += [f"         {line}" for line in test.message.splitlines()]
        if self.not_in_force:
            lines += [
                "",
                f"The submission was not confined in full; missing: {'; '.join(self.not_in_force)}.",
            ]
        return "\n".join(lines)


def _right(tests):
    return f"{sum(test.share == 1 for test in tests)} of {len(tests)}"


def _number(value):
    return f"{value:g}"
