"""A report as it is stored: its digest, and its JSON without the config of its manifest, which the task's row has.

Nothing here touches the database: a large report is prepared outside its thread.
"""

import hashlib
import json
from dataclasses import dataclass

from gateway.store.damaged import read_report
from gateway.store.models import StoredReport
from mltm.contract.base_models import render_canonical
from mltm.contract.reports import Report, digest_report

__all__ = ["PreparedReport", "digest_stored", "prepare_report", "render_body"]


@dataclass(frozen=True)
class PreparedReport:
    """What is stored of a report. weight: bytes that its transaction handles. problem: why it cannot be stored."""

    report: Report
    digest: str = ""
    body: str = ""
    weight: int = 0
    problem: str = ""


def prepare_report(report: Report) -> PreparedReport:
    """Compute what costs time. A report that is not JSON (NaN, a number of thousands of digits) has a problem."""
    try:
        config = render_canonical(report.manifest.config) if report.manifest else b""
        digest, body = digest_report(report), _render(report, config)
    except (ValueError, RecursionError) as error:
        return PreparedReport(report, problem=f"The report cannot be stored: {error}.")
    return PreparedReport(report, digest, body, len(body) + len(config))


def render_body(report: Report) -> str:
    """The JSON to store. `config_sha256` stands for the config. Raises ValueError."""
    return _render(report, render_canonical(report.manifest.config) if report.manifest else b"")


def _render(report: Report, config: bytes) -> str:
    if report.manifest is None:
        return report.model_dump_json(exclude_defaults=True)
    bare = report.model_copy(update={"manifest": report.manifest.model_copy(update={"config": {}})})
    known = bare.model_dump(mode="json", exclude_defaults=True)
    fields = {**known, "config_sha256": hashlib.sha256(config).hexdigest()}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def digest_stored(row: StoredReport, report: Report) -> str:
    """The digest that the stored report would have now, by the limits of now, if its config is that of `report`."""
    kept = read_report(row)
    if kept is None:
        return ""
    sha256 = json.loads(row.body).get("config_sha256")
    if sha256 is not None and kept.manifest is not None and report.manifest is not None:
        if sha256 != hashlib.sha256(render_canonical(report.manifest.config)).hexdigest():
            return ""
        manifest = kept.manifest.model_copy(update={"config": report.manifest.config})
        kept = kept.model_copy(update={"manifest": manifest})
    return digest_report(kept)
