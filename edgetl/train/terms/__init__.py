"""What a recipe adds to the loss of the labelled images, one term a file."""
