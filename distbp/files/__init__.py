"""Files that are whole or absent: atomic writes, JSON and safetensors with checksums, locks."""
