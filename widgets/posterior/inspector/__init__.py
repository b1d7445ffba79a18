"""The inspector of posteriors: why a step looks as it does."""
