"""The commands of the command line, one file each: what they add to the parser, and what they do."""
