"""Sweeps: any number of cases, on many devices and machines, in a store that survives anything.

A file of settings (`config`) spans a plan of cases (`plan`), which is cut into batches of cases that share
their programs (`batches`). Workers run the batches (`worker`), each one into a part of the store (`store`).
Who runs which batch is the affair of an engine (`engines`).
"""
