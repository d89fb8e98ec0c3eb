"""The sandbox's wire formats, paging and errors."""
