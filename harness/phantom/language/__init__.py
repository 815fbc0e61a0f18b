"""From drawn findings to words: mentions, English and Spanish, reports and single sentences."""
