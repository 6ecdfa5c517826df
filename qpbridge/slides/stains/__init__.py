"""What stains a picture is made of."""
