"""Data sets on the disk: written once, checked by checksums, mapped into memory."""
