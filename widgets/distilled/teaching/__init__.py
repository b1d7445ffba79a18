"""What a distilled set teaches: trainings, the change that images make, calibration by temperature."""
