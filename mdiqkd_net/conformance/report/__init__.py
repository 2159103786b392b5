"""Reports of a conformance run: for machines (JSON), for CI (JUnit), for people (one HTML page)."""
