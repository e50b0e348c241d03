"""What only the book needs: aggregation, tables and figures of the chapters.

A page, its notebook and a module here share a name where they can (``patchcore_tables``). Methods,
metrics and records know nothing of this package; notebooks, claims and the generated parts of pages
use it.
"""
