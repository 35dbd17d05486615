"""The processes of one host: shared memory, messages, the worker's and the server's loops, recovery decisions."""
