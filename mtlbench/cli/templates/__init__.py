"""Plugin files that `mtlbench new` writes. They are plugins themselves, checked and tested as they stand."""
