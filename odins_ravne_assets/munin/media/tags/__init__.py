"""Tags inside media files: EXIF, XMP, maker notes, dates of RIFF, MP4 and H.264, texts of times.

Every reader takes bytes or a file, reads a bounded part of it, and returns what it finds: damage is
a remark or nothing, never an exception.
"""
