"""Cost reports and plans as data and text, from tables and prices.

Imports neither Dagster nor boto3; `costs` provides its inputs.
"""
