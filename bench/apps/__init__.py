"""The applications under load: what a team would deploy with each engine."""
