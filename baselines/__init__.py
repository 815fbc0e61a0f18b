"""Loading families, box codecs, control models and the cards of published models."""
