"""The page about a study: one module for each question, with their figures and tables (see report.py)."""
