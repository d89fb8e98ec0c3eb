"""What all pages share that people look at: one look, one way to write, one way to draw.

base.html    the frame of every page: its look on a screen, at night, on paper and on a phone
pages.py     fills a template that extends it
plots.py     drawings inside a page, in the page's own colours

Templates, and what fills them, lie in the rooms whose pages they are.
"""
