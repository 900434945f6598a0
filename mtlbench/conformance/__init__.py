"""What every plugin must do: properties of any architecture, strategy or dataset, inside the repository or outside."""
