"""Reading and verifying the logs of decisions that enclaves sign and hosts keep (``docs/spec/receipts.md``)."""

from .files import Placed, read_documents, read_log, read_receipts
from .report import ChainReport, Problem, Report
from .verify import Trust, verify_log

__all__ = [
    "ChainReport",
    "Placed",
    "Problem",
    "Report",
    "Trust",
    "read_documents",
    "read_log",
    "read_receipts",
    "verify_log",
]
