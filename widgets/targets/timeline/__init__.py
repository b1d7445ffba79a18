"""What runs on the timeline: noise levels, and what is measured of a run at each step."""
