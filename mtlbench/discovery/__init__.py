"""Where plugins lie and what their files say about them, read without importing them: torch takes seconds to import."""
