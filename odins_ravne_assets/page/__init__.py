"""The base of all HTML pages: layout, rendering and plots.

base.html    the base template: styles for screen, dark mode, print and phone
pages.py     renders a template that extends the base template
plots.py     inline SVG plots in the colours of the page

The templates of pages are in the packages that render them.
"""
