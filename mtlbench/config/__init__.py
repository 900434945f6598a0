"""What a trial can be configured with: plugins, methods by name, settings."""
