"""The report a marketer reads: which letters sold, to whom not to write, and whether the figures can be trusted.

    from lettertrail.report import write_report

    write_report(warehouse_dsn, path, at=clock())

`collect` reads the warehouse, `render` draws one HTML file that works offline, `write_report` does both.
"""

from __future__ import annotations

from lettertrail.report.collect import collect
from lettertrail.report.data import ReportData
from lettertrail.report.render import MODEL_NAMES, render, write_report
from lettertrail.report.truth import TruthComparison, compare_with_truth

__all__ = ["MODEL_NAMES", "ReportData", "TruthComparison", "collect", "compare_with_truth", "render", "write_report"]
