"""The desk: the admin's pages, one file each."""
