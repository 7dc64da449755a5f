"""The native dialect: publish, stream, poll, history and topics under `/api/v1`."""
