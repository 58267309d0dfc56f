"""Sweeps: any number of cases, on many devices and machines, in a store that survives anything.

A sweep is a file of settings (`config`), which spans a plan of cases (`plan`), which are cut into batches of cases
that share their programs (`batches`). Workers run the batches (`worker`), each batch one part of the store
(`store`). Who runs which batch is the affair of an engine (`engines`).
"""
