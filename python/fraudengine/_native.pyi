"""The native engine. This stub is the contract; stubtest holds it against the binary."""

__version__: str
