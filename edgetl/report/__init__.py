"""The HTML report of a release and its plots."""
