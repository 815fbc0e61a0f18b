"""The model-blind part of bench: data, tasks, metrics, statistics, records."""
