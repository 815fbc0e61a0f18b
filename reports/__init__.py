"""Records into tables, comparisons, figures, pages and a viewer."""
