"""What a run did: how many cases, by role, phase, status and check, and which breaks were found."""

from collections import Counter
from dataclasses import dataclass, field

from schemathesis.engine import events

__all__ = ["Counts"]

_SHOWN = 40


@dataclass
class Counts:
    """Adds up. A break is shown once for each operation and check, and counted each time."""

    cases: Counter[tuple[str, str, int]] = field(default_factory=Counter)  #: role, phase, status
    reached: Counter[tuple[str, str]] = field(default_factory=Counter)  #: phase, operation: answers 2xx
    rare: Counter[tuple[int, str]] = field(default_factory=Counter)  #: 429 and what is above: status, operation
    checks: Counter[str] = field(default_factory=Counter)
    breaks: Counter[tuple[str, str]] = field(default_factory=Counter)  #: operation, check
    examples: dict[tuple[str, str], str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many cases got an answer."""
        return self.cases.total()

    def count_status(self, status: int) -> int:
        """How many answers had this status."""
        return sum(count for (_, _, known), count in self.cases.items() if known == status)

    def count_reached(self, phase: str, part: str) -> int:
        """How many answers 2xx a phase got from operations whose address has this part."""
        return sum(count for (name, label), count in self.reached.items() if name == phase and part in label)

    def add(self, role: str, event: events.EngineEvent) -> None:
        """Count what an event of the engine tells."""
        if isinstance(event, events.NonFatalError):
            self.errors.append(f"{role}: {event.label}: {event.value}"[:2000])
        elif isinstance(event, events.ScenarioFinished) and event.is_test_scenario:
            self._add_scenario(role, event)

    def _add_scenario(self, role: str, event: events.ScenarioFinished) -> None:
        phase, recorder = event.phase.value, event.recorder
        for case_id, interaction in recorder.interactions.items():
            status = interaction.response.status_code if interaction.response is not None else 0
            self.cases[role, phase, status] += 1
            label = recorder.cases[case_id].value.operation.label
            if 200 <= status < 300:
                self.reached[phase, label] += 1
            elif status >= 429 or not status:
                self.rare[status, label] += 1
        for case_id, nodes in recorder.checks.items():
            label = recorder.cases[case_id].value.operation.label
            for node in nodes:
                self.checks[node.name] += 1
                if node.failure_info is not None:
                    self.breaks[label, node.name] += 1
                    shown = f"{role}, {phase}: {node.failure_info.failure.message}"
                    answer = recorder.interactions[case_id].response if case_id in recorder.interactions else None
                    told = f"{answer.status_code} {answer.content[:500]!r}" if answer is not None else "no answer"
                    text = f"{shown}\n{told}\n{node.failure_info.code_sample[:3000]}"
                    self.examples.setdefault((label, node.name), text)

    def render(self) -> str:
        """The tables, and the first breaks."""
        lines = [f"{self.total:,} cases"]
        lines += [f"  status {status}: {count:,}" for status, count in sorted(self._by(2).items())]
        lines += [f"  {status} of {label}: {count:,}" for (status, label), count in sorted(self.rare.items())]
        lines += [f"  {role}: {count:,}" for role, count in self._by(0).items()]
        lines += [f"  phase {phase}: {count:,}" for phase, count in self._by(1).items()]
        lines += [f"  check {name}: {count:,}" for name, count in sorted(self.checks.items())]
        lines.append(f"{self.breaks.total():,} breaks, {len(self.errors):,} errors of the harness")
        for (label, name), count in list(self.breaks.items())[:_SHOWN]:
            lines.append(f"* {label}: {name}, {count} times\n{self.examples[label, name]}")
        return "\n".join([*lines, *self.errors[:_SHOWN]])

    def _by(self, place: int) -> Counter[object]:
        found: Counter[object] = Counter()
        for key, count in self.cases.items():
            found[key[place]] += count
        return found
