"""Files: atomic writes, JSON and safetensors with checksums, and locks that work between hosts."""
