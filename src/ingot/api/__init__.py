"""Ingot from Python; the command line is a thin skin over this package.

Each phase is imported only when it is used: loading an ingot does not import
what training needs.
"""
