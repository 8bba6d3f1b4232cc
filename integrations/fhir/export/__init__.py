"""Fetching a feed from a FHIR server: bulk export, or paged search where there is none. Both give the same files."""
