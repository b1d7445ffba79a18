"""What distilled images teach, hold and look like."""
