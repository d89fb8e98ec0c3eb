"""Inputs of cost reports and plans: read from ledgers and AWS, handed to odin."""
