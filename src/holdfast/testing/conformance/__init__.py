"""The suites that hold every adapter to its port: subclass one in a test file and give it its fixtures.

Law: a suite uses the port alone, so whatever passes it may take another adapter's place.
"""
