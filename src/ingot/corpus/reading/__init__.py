"""Document reading: files, archives and hub datasets in, text documents out."""
