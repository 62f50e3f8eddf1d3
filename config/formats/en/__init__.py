"""The forms for English, the only language of the back office."""
