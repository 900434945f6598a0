"""The datasets: one file or one package each. Names that start with an underscore hold helpers and are no datasets."""
