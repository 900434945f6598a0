"""Datasets, one file each; a file whose name starts with an underscore is a helper of its neighbours."""
