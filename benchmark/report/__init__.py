"""What a race's scores look like: a table in the terminal, a page with plots, data files."""

from benchmark.report.table import MOST_ROWS, print_table
from benchmark.report.write import write_report

__all__ = ["MOST_ROWS", "print_table", "write_report"]
