"""The API described for machines (`/openapi.json`, OpenAPI 3.2) and for people (`/docs`)."""
