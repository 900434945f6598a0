"""The search for hyper-parameters: what is searched, which configurations are tried, and which of them wins on val."""
