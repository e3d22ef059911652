"""A project directory that knows how every file in it was made, for cryo-ET subtomogram averaging."""

__version__ = "0.1.0"
