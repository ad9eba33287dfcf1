"""One file, one strategy; the file's name is the strategy's name, there is no list."""
