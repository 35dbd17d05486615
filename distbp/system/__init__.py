"""The machine and its operating system: BLAS threads, arithmetic, memory, limits, signals, private folders."""
