"""The live views: their Python half, their browser half and the style they share."""
