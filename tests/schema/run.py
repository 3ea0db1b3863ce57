"""Runs schemathesis against the stage as one role: all checks, and the phases examples, coverage, fuzzing, stateful."""

from dataclasses import dataclass
from typing import Any

import requests
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema

from mltm.contract import routes
from tests.schema.counts import Counts
from tests.schema.rules import hooks_in_place, sharpen
from tests.schema.stage import OTHER_CLUSTER, Role, Stage

__all__ = ["Size", "fetch_document", "run_role"]

# Wrong passwords of one user are answered more and more slowly, whatever address they come from.
_FEW_PASSWORDS = {
    "include-path": routes.PASSWORD,
    "phases": {"fuzzing": {"generation": {"max-examples": 3}}, "stateful": {"enabled": False}},
}
_LINKED = ("task_id", "job_id", "token_id", "username", "command_id", "file_name", "path")


@dataclass(frozen=True)
class Size:
    """How many cases: of each operation while fuzzing, and runs of the state machine. Coverage has a fixed number."""

    fuzzing: int
    stateful: int
    coverage: bool = True


def fetch_document(stage: Stage) -> dict[str, Any]:
    """The document as the gateway serves it."""
    answer = requests.get(stage.url + routes.OPENAPI, timeout=30)
    answer.raise_for_status()
    document: dict[str, Any] = answer.json()
    return document


def run_role(
    stage: Stage, role: Role, seed: int, size: Size, document: dict[str, Any] | None = None, *, own_only: bool = False
) -> Counts:
    """Run all phases as this caller. `own_only`: only operations that he may call."""
    whole = sharpen(document or fetch_document(stage))
    if own_only:
        _keep_own(whole, role)
    schema = schemathesis.openapi.from_dict(whole, config=_configure(stage, role, seed, size))
    counts = Counts()
    with hooks_in_place(stage.kept_tokens):
        for event in from_schema(schema).execute():
            counts.add(role, event)
    return counts


def _configure(stage: Stage, role: Role, seed: int, size: Size) -> SchemathesisConfig:
    secrets = {
        "user": {"token": stage.tokens["alice"]}, "admin": {"token": stage.tokens["root"]},
        "agent": {"agent": stage.agents[OTHER_CLUSTER].credential}, "anonymous": {},
    }[role]  # fmt: skip
    auth = {"auth": {"openapi": {name: {"bearer": secret} for name, secret in secrets.items()}}} if secrets else {}
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": stage.url,
            "continue-on-failure": True,
            "cache": {"enabled": False},  # each run starts from nothing
            "suppress-health-check": ["all"],  # one of them is for machines that have nothing else to do
            "request-timeout": 60,
            "generation": {"max-examples": size.fuzzing, "database": "none", "no-shrink": True},
            "phases": {
                "coverage": {"enabled": size.coverage},
                "stateful": {"enabled": size.stateful > 0, "generation": {"max-examples": size.stateful or 1}},
            },
            "dictionaries": {name: {"values": values} for name, values in stage.known.items()},
            "parameters": {f"path.{name}": {"dictionary": name, "probability": 0.6} for name in _LINKED},
            "operations": [_FEW_PASSWORDS],
            **auth,
        }
    )


def _keep_own(document: dict[str, Any], role: Role) -> None:
    """Leave out what is refused to this caller anyway, before anything else of the request counts."""
    for operations in document["paths"].values():
        for method, operation in list(operations.items()):
            needs = {name for scheme in operation.get("security", []) for name in scheme}
            if needs and ("agent" in needs) != (role == "agent"):
                del operations[method]
