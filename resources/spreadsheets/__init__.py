"""Tables that people keep in spreadsheets: CSV and XLSX, read and written."""
