"""Where the documents of C4 come from: files or another package's data set, unit by unit."""
