"""How a student is trained on what a teacher says."""
