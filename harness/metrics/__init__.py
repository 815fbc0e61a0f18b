"""A metric is two functions: what each outcome contributes, and how contributions become a number."""
