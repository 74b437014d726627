"""`make certify`: everything that is promised of drills, measured and written into a dated report."""
