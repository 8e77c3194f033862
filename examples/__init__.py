"""Example applications for Holdfast, and the outside world that they talk to."""
