"""What every number means: two functions per metric, and intervals over patients."""
