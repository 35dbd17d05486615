"""What a run leaves behind: its directory, metrics, checkpoints and the model. JSON and safetensors, no pickle."""
