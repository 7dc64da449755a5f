"""The Python client: reads and publishes over HTTP, resumes by itself. Imports core and wire only."""
