"""Writers of the on-disk layouts of the real data sets, one file per layout."""
