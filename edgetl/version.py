"""The one place that says which edgetl this is."""

__version__ = "0.1.0"
