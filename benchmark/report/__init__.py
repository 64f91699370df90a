"""What a race's scores look like: a table in the terminal, a page with plots, data files."""

from benchmark.report.table import print_table
from benchmark.report.write import write_report

__all__ = ["print_table", "write_report"]
