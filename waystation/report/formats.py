"""What a report may be written as; apart, so that the command line starts fast."""

from __future__ import annotations

from enum import StrEnum


class ReportFormat(StrEnum):
    """What a report is written as."""

    HTML = "html"
    CSV = "csv"
    JSON = "json"
    PDF = "pdf"
