"""Odin pays: what a season's work cost, from the cost ledger, and what it will.

Knows neither Dagster nor boto3: it is handed tables and prices, and hands back sums and pages.
"""
