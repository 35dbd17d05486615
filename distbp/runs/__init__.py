"""The files of a run: settings, records, step log, timeline, checkpoints. JSON and binary arrays, no pickle."""
