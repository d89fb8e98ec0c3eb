"""Resumable uploads and downloads of folders."""
