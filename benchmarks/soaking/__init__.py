"""What the soak is made of: mixed traffic, a look at memory, and the slope of what was seen."""
