"""The sample company, its simulated customers and the small demo model."""
