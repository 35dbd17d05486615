"""The exchange between hosts: what each of them has added up goes to the others over TCP."""
