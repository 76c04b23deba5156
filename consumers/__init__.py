"""Where frames become results: on the gateway, on the cluster; and the ledger that counts them.

``gateway`` and ``cluster`` are twins: the same file names, the same promises.
"""
