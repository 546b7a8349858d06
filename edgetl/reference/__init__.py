"""The PyTorch reference as a worker process that speaks the backend protocol.

Importing this package, or `edgetl.reference.client`, imports no torch: the network lives in the
worker's process (`edgetl.reference.worker`). `network` and `checkpoint` do import it.
"""
