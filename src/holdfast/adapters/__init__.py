"""The products behind the ports; each adapter passes its port's conformance suite."""
