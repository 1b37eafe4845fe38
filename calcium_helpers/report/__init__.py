"""What a run leaves for people: one self-contained HTML page, and tables for other programs."""

from calcium_helpers.report.page import write_report
from calcium_helpers.report.tables import TablePaths, write_tables

__all__ = ["TablePaths", "write_report", "write_tables"]
