"""What can be wrong with an image."""


class ImageError(ValueError):
    """An image that cannot be read: says which one, what was found, what to do."""
